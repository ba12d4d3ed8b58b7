//! Networks in more than one piece: several in one container, a host interface in a
//! bridge, link-local addresses.

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::layout::{BEHIND, OUT};
use crate::freebsd::probe::Protocol;
use crate::freebsd::report::{Done, fails, want};
use crate::freebsd::trial::{Asker, SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("two-ipnet", "an ipnet container in two networks has both, and leaves one", two_ipnet),
    check("two-vnet", "a vnet container in two networks has both, and leaves one", two_vnet),
    check("behind-link", "who is behind a linked host interface is in the network", behind),
    check("link-local", "members of a bridge reach each other by link-local addresses", link_local),
    check("dad", "no address of a cable is tentative or duplicated", dad),
];

fn network(trial: &mut Trial, name: &str, kind: &str, number: u8) -> Done<Option<String>> {
    let [v4, v6] = [format!("10.213.{number}.0/24"), format!("fd00:213:{number}::/64")];
    trial.network(name, &["-t", kind, "--no-nat", "--subnet", &v4, "--subnet6", &v6])
}

/// A container in two networks, which serves in both; then it leaves the first.
fn two(trial: &mut Trial, driver: &str, kinds: [&str; 2]) -> Done {
    network(trial, "t1", kinds[0], 21)?;
    network(trial, "t2", kinds[1], 22)?;
    let first = ["10.213.21.9", "fd00:213:21::9"];
    let second = ["10.213.22.9", "fd00:213:22::9"];
    let options = ["-l", driver, "-n", "t1", "--ip", first[0], "--ip6", first[1]];
    let id = trial.idle("t1a", &options)?;
    trial.klee_done(&["network", "connect", "--ip", second[0], "--ip6", second[1], "t2", "t1a"])?;
    let asker = Asker::Container(id);
    let all = [first, second].concat();
    let _server = trial.serve(&asker, "T1A", "8099", &all)?;
    let answers = |trial: &Trial, to: [&str; 2]| -> Done<[bool; 2]> {
        let ask = |to| trial.ask(&Asker::Host, Protocol::Tcp, (to, 8099), None);
        Ok([ask(to[0])?.is_answer(), ask(to[1])?.is_answer()])
    };
    for to in [first, second] {
        let heard = answers(trial, to)?;
        want(heard == [true; 2], format!("answers at {to:?}"), format!("{heard:?}"))?;
    }
    let own = ["--ip", "10.213.22.8", "--ip6", "fd00:213:22::8"];
    let kind = if kinds[1] == "bridge" { "vnet" } else { "ipnet" };
    let neighbour = trial.idle("t2a", &[&["-l", kind, "-n", "t2"][..], &own].concat())?;
    let _neighbour = trial.serve(&Asker::Container(neighbour), "T2A", "8099", &[own[1], own[3]])?;
    for (to, source) in [(own[1], second[0]), (own[3], second[1])] {
        let heard = trial.ask(&asker, Protocol::Tcp, (to, 8099), None)?;
        let seen = heard.seen().map(|seen| seen.ip().to_string());
        let what = format!("a neighbour in the second network sees {source}");
        want(seen.as_deref() == Some(source), what, heard.to_string())?;
    }
    trial.klee_done(&["network", "disconnect", "t1", "t1a"])?;
    let heard = answers(trial, first)?;
    want(
        heard == [false; 2],
        format!("no answer at {first:?} after it left"),
        format!("{heard:?}"),
    )?;
    let heard = answers(trial, second)?;
    want(heard == [true; 2], format!("answers at {second:?}"), format!("{heard:?}"))
}

fn two_ipnet(trial: &mut Trial) -> Done {
    two(trial, "ipnet", ["loopback", "loopback"])
}

fn two_vnet(trial: &mut Trial) -> Done {
    two(trial, "vnet", ["bridge", "bridge"])
}

fn behind(trial: &mut Trial) -> Done {
    network(trial, "t1", "bridge", 21)?;
    let own = ["--ip", "10.213.21.9", "--ip6", "fd00:213:21::9"];
    let id = trial.idle("t1a", &[&["-l", "vnet", "-n", "t1"][..], &own].concat())?;
    let _server = trial.serve(&Asker::Container(id.clone()), "T1A", "8099", &[own[1], own[3]])?;
    let host = trial.cable()?;
    let inner = trial.jail_behind(&host, BEHIND)?;
    let held = is_in(trial, &host, &inner, &id);
    trial.remove_cable(&host)?;
    held
}

fn is_in(trial: &Trial, host: &str, inner: &str, id: &str) -> Done {
    trial.done(Tool::Ifconfig, &[host, "up"])?;
    trial.inside(BEHIND, &["/sbin/ifconfig", inner, "inet", "10.213.21.200/24", "up"])?;
    let v6 = ["/sbin/ifconfig", inner, "inet6", "fd00:213:21::200/64", "no_dad"];
    trial.inside(BEHIND, &v6)?;
    let at = ["10.213.21.200", "fd00:213:21::200"];
    let _server = trial.serve(&Asker::Outside(BEHIND), "BEHIND", "8099", &at)?;
    let ask = |asker: &Asker, to| trial.ask(asker, Protocol::Tcp, (to, 8099), None);
    let container = Asker::Container(id.to_owned());
    let apart = ask(&container, at[0])?;
    want(!apart.is_answer(), "no answer before it is linked", apart.to_string())?;
    trial.klee_done(&["network", "link", "t1", host])?;
    for (from, to, name) in [
        (&container, at[0], "BEHIND"),
        (&container, at[1], "BEHIND"),
        (&Asker::Outside(BEHIND), "10.213.21.9", "T1A"),
        (&Asker::Outside(BEHIND), "fd00:213:21::9", "T1A"),
    ] {
        let heard = ask(from, to)?;
        want(heard.name() == Some(name), format!("{name} answers at {to}"), heard.to_string())?;
    }
    trial.klee_done(&["network", "unlink", "t1", host])?;
    let apart = ask(&container, at[0])?;
    want(!apart.is_answer(), "no answer after it is taken out", apart.to_string())
}

/// The one interface of a container that has a link-local address and is no loopback.
fn local(trial: &Trial, id: &str) -> Done<(String, String)> {
    let links = trial.links(Some(id))?;
    let found = links.iter().find_map(|(name, link)| {
        let local = link.local.clone()?;
        (name.starts_with("epair")).then(|| (name.clone(), local))
    });
    match found {
        Some(found) => Ok(found),
        None => fails("a link-local address", format!("{links:?}")),
    }
}

fn link_local(trial: &mut Trial) -> Done {
    network(trial, "t1", "bridge", 21)?;
    let one = trial.idle("t1a", &["-l", "vnet", "-n", "t1"])?;
    let two = trial.idle("t1b", &["-l", "vnet", "-n", "t1"])?;
    let (_, own) = local(trial, &one)?;
    let (_, other) = local(trial, &two)?;
    let _server = trial.serve(&Asker::Container(two), "T1B", "8099", &[&other])?;
    // The number of the interface is the asker's.
    let scope = own.split_once('%').map(|(_, scope)| scope).unwrap_or_default();
    let address = other.split_once('%').map(|(address, _)| address).unwrap_or_default();
    let to = format!("{address}%{scope}");
    for protocol in Protocol::BOTH {
        let heard = trial.ask(&Asker::Container(one.clone()), protocol, (&to, 8099), None)?;
        want(heard.name() == Some("T1B"), format!("T1B answers at {to}"), heard.to_string())?;
    }
    // Beyond its link it has no meaning.
    let heard = trial.ask(&Asker::Outside(OUT), Protocol::Tcp, (&to, 8099), None)?;
    want(!heard.is_answer(), "nobody outside gets an answer there", heard.to_string())
}

fn dad(trial: &mut Trial) -> Done {
    network(trial, "t1", "bridge", 21)?;
    let id = trial.idle("t1a", &["-l", "vnet", "-n", "t1", "--ip6", "fd00:213:21::9"])?;
    let (interface, _) = local(trial, &id)?;
    let show = ["/sbin/ifconfig", &interface, "inet6"];
    let usable = |text: &str| !text.contains("tentative") && !text.contains("duplicated");
    let shown = trial.inside(&id, &show)?;
    want(usable(&shown) && shown.contains("fd00:213:21::9"), "usable at once", shown)?;
    // With detection: what a container does itself (FreeBSD 13.2: no_dad is set for the
    // whole interface until -no_dad).
    trial.inside(&id, &["/sbin/ifconfig", &interface, "inet6", "-no_dad"])?;
    trial.inside(&id, &["/sbin/ifconfig", &interface, "inet6", "fd00:213:21::10/128", "alias"])?;
    trial.wait(SOON, "its own address passes detection", || {
        let shown = trial.inside(&id, &show)?;
        Ok(shown.contains("fd00:213:21::10") && usable(&shown))
    })
}
