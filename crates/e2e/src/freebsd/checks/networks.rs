//! The three types of networks.

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::report::{Done, fails, want};
use crate::freebsd::seen::Link;
use crate::freebsd::trial::{SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("net-loopback", "an interface is made for a loopback network and goes with it", loopback),
    check("net-bridge", "a bridge is made, with the gateway's addresses, and goes", bridge),
    check("net-custom", "an existing interface gets containers' addresses and no others", custom),
    check("net-families", "IPv4 alone, IPv6 alone: the other family is not there", families),
    check("net-link", "an interface of the host is linked into a bridge, and taken out", link),
    check("net-refused", "what is taken, unknown or overlapping is refused by name", refused),
];

fn subnets(number: u8) -> [String; 2] {
    [format!("10.213.{number}.0/24"), format!("fd00:213:{number}::/64")]
}

/// Makes a network with both families; gives its interface as the system has it.
fn made(trial: &mut Trial, name: &str, kind: &str, number: u8) -> Done<(String, Link)> {
    let [v4, v6] = subnets(number);
    let options = ["-t", kind, "--no-nat", "--subnet", &v4, "--subnet6", &v6];
    let Some(interface) = trial.network(name, &options)? else {
        return fails(format!("an interface of a {kind} network"), "none is new");
    };
    match trial.links(None)?.remove(&interface) {
        Some(link) => Ok((interface, link)),
        None => fails(format!("{interface} is there"), "it is gone"),
    }
}

fn removed(trial: &mut Trial, name: &str, interface: &str) -> Done {
    trial.klee_done(&["network", "rm", name])?;
    let answer = trial.tool(Tool::Ifconfig, &[interface])?;
    let gone = answer.status != 0 && answer.stderr.contains("does not exist");
    want(gone, format!("{interface} is gone with its network"), answer.words())
}

fn is_ours(interface: &str, link: &Link) -> Done {
    let grouped = ["kleene", "kleene_net"].iter().all(|name| link.groups.iter().any(|g| g == name));
    let marked = link.description.as_ref().is_some_and(|mark| mark.contains("kleene"));
    let what = format!("{interface} is up, marked, and in Kleene's groups");
    want(grouped && marked && link.up, what, format!("{link:?}"))
}

fn loopback(trial: &mut Trial) -> Done {
    let (interface, link) = made(trial, "t1", "loopback", 21)?;
    is_ours(&interface, &link)?;
    want(link.groups.iter().any(|group| group == "lo"), "a loopback", format!("{link:?}"))?;
    let lo0 = trial.links(None)?.remove("lo0").unwrap_or_default();
    let keeps = lo0.addresses.iter().any(|address| address.to_string() == "::1");
    want(keeps, "lo0 keeps ::1", format!("{lo0:?}"))?;
    removed(trial, "t1", &interface)
}

fn bridge(trial: &mut Trial) -> Done {
    let (interface, link) = made(trial, "t1", "bridge", 21)?;
    is_ours(&interface, &link)?;
    let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
    let gateways = ["10.213.21.1", "fd00:213:21::1"];
    let what = format!("{interface} has the gateways {gateways:?} alone");
    want(addresses == gateways, what, format!("{addresses:?}"))?;
    want(link.ether.is_some(), "a bridge", format!("{link:?}"))?;
    removed(trial, "t1", &interface)
}

fn custom(trial: &mut Trial) -> Done {
    let wire = trial.unlisted().to_owned();
    let of =
        |trial: &Trial| -> Done<Link> { Ok(trial.links(None)?.remove(&wire).unwrap_or_default()) };
    let before = of(trial)?;
    let options = ["-t", "custom", "--no-nat", "-i", &wire];
    let subnets = ["--subnet", "198.51.100.0/24", "--subnet6", "2001:db8:8::/64"];
    let new = trial.network("t1", &[&options[..], &subnets].concat())?;
    want(new.is_none(), "no interface is made", format!("{new:?}"))?;
    let own = ["--ip", "198.51.100.60", "--ip6", "2001:db8:8::60"];
    trial.idle("t1a", &[&["-n", "t1"][..], &own].concat())?;
    let more: Vec<String> =
        of(trial)?.addresses.difference(&before.addresses).map(ToString::to_string).collect();
    let expected = ["198.51.100.60", "2001:db8:8::60"];
    want(more == expected, format!("{expected:?} besides"), format!("{more:?}"))?;
    trial.klee_done(&["network", "rm", "t1"])?;
    let after = of(trial)?;
    let back = after.addresses == before.addresses && after.ether == before.ether;
    want(back, format!("{before:?}"), format!("{after:?}"))
}

fn families(trial: &mut Trial) -> Done {
    let cases = [
        ("t4", "--subnet", "10.213.24.0/24", ["--ip", "10.213.24.9"], ["--ip6", "fd00:213:24::9"]),
        (
            "t6",
            "--subnet6",
            "fd00:213:25::/64",
            ["--ip6", "fd00:213:25::9"],
            ["--ip", "10.213.25.9"],
        ),
    ];
    for (name, option, subnet, own, other) in cases {
        for driver in ["ipnet", "vnet"] {
            let kind = if driver == "vnet" { "bridge" } else { "loopback" };
            let (network, container) = (format!("{name}{driver}"), format!("{name}{driver}a"));
            trial.network(&network, &["-t", kind, "--no-nat", option, subnet])?;
            let id = trial.idle(&container, &["-l", driver, "-n", &network, own[0], own[1]])?;
            let links = trial.links(Some(&id))?;
            let lo0 = |name: &str| driver == "vnet" && name == "lo0";
            let inside = links.iter().filter(|(name, _)| !lo0(name));
            let inside: Vec<String> = inside
                .flat_map(|(_, link)| link.addresses.iter().map(ToString::to_string))
                .collect();
            want(inside == own[1..], format!("{} alone", own[1]), format!("{inside:?}"))?;
            trial.klee_done(&["network", "disconnect", &network, &container])?;
            let family = if other[0] == "--ip" { "IPv4" } else { "IPv6" };
            let words = format!("there is no {family} subnet defined for this network");
            let join = ["network", "connect", other[0], other[1], &network, &container];
            trial.klee_refused(&join, &words)?;
            trial.klee_done(&["network", "rm", &network])?;
        }
    }
    Ok(())
}

fn link(trial: &mut Trial) -> Done {
    let (bridge, _) = made(trial, "t1", "bridge", 21)?;
    let pair = trial.cable()?;
    let held = linked(trial, &bridge, &pair);
    trial.remove_cable(&pair)?;
    held
}

fn linked(trial: &mut Trial, bridge: &str, pair: &str) -> Done {
    let is_member = |trial: &Trial| -> Done<bool> {
        let link = trial.links(None)?.remove(bridge).unwrap_or_default();
        Ok(link.members.iter().any(|member| member == pair))
    };
    trial.klee_done(&["network", "link", "t1", pair])?;
    want(is_member(trial)?, format!("{pair} is a member of {bridge}"), "it is not")?;
    trial.klee_done(&["network", "unlink", "t1", pair])?;
    want(!is_member(trial)?, format!("{pair} is no member any more"), "it is one")?;
    trial.klee_refused(&["network", "link", "t1", "lo0"], "lo0")
}

fn refused(trial: &mut Trial) -> Done {
    let (interface, _) = made(trial, "t1", "loopback", 21)?;
    let create = |name: &'static str, subnet: &'static str, options: &[&'static str]| {
        [&["network", "create", "--no-nat", "--subnet", subnet], options, &[name]].concat()
    };
    let taken = "network name is already taken";
    trial.klee_refused(&create("t1", "10.213.22.0/24", &[]), taken)?;
    trial.klee_refused(&create("t2", "10.213.21.128/25", &[]), "t1")?;
    trial.klee_refused(&create("t2", "10.213.22.0/24", &["-t", "loopback", "-i", "lo0"]), "lo0")?;
    let unknown = ["-t", "custom", "-i", "nosuch0"];
    trial.klee_refused(&create("t2", "10.213.22.0/24", &unknown), "nosuch0")?;
    trial.klee_refused(&["network", "rm", "t2"], "network not found")?;
    // The twin: the same name, subnet and kind where nothing is in the way.
    trial.network("t2", &["--no-nat", "--subnet", "10.213.22.0/24"])?;
    trial.wait(SOON, "both interfaces", || {
        let links = trial.links(None)?;
        let ours = links.values().filter(|link| link.groups.iter().any(|g| g == "kleene_net"));
        Ok(links.contains_key(&interface) && ours.count() >= 2)
    })
}
