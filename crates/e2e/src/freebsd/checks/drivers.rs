//! The four drivers: what each sees, may use, and may not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::layout::OUT;
use crate::freebsd::probe::{Heard, Protocol};
use crate::freebsd::report::{Done, want};
use crate::freebsd::trial::{Asker, SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("driver-host", "sees and uses every address, and changes none", host),
    check("driver-ipnet", "sees every interface, and uses its own addresses only", ipnet),
    check("driver-vnet", "has a stack of its own, which nobody else sees", vnet),
    check("driver-disabled", "sees every interface, no address, and reaches nothing", disabled),
    check("driver-raw", "ping and raw sockets come with allow.raw_sockets", raw),
    check("driver-reach", "ipnet and vnet on one bridge reach each other", reach),
];

const LOOP: [&str; 6] =
    ["--no-nat", "--subnet", "10.213.21.0/24", "--subnet6", "fd00:213:21::/64", "t1"];

/// The names of interfaces, as the host or a container has them.
fn names(trial: &Trial, jail: Option<&str>) -> Done<BTreeSet<String>> {
    Ok(trial.links(jail)?.into_keys().collect())
}

fn addresses(trial: &Trial, jail: Option<&str>) -> Done<BTreeSet<IpAddr>> {
    Ok(trial.links(jail)?.into_values().flat_map(|link| link.addresses).collect())
}

/// A tool in a container that has to be refused there, as root.
fn refused(trial: &Trial, jail: &str, args: &[&str]) -> Done {
    let answer = trial.tool(Tool::Jexec, &[&[jail], args].concat())?;
    let words = ["ermission denied", "not permitted", "not supported"];
    let refused = answer.status != 0 && words.iter().any(|words| answer.stderr.contains(words));
    let what = format!("'{}' is refused in the container", args.join(" "));
    want(refused, what, format!("status {}: {}", answer.status, answer.words()))
}

fn changes_nothing(trial: &Trial, id: &str, interface: &str) -> Done {
    refused(trial, id, &["/sbin/ifconfig", interface, "inet", "10.213.99.9/32", "alias"])?;
    refused(trial, id, &["/sbin/route", "add", "10.213.98.0/24", "127.0.0.1"])?;
    refused(trial, id, &["/sbin/ifconfig", interface, "destroy"])?;
    let ip: IpAddr = [10, 213, 99, 9].into();
    let there = addresses(trial, None)?.contains(&ip);
    want(!there, "the host's addresses are unchanged", format!("{ip} is there"))?;
    // The host itself may.
    trial.done(Tool::Ifconfig, &[interface, "inet", "10.213.99.9/32", "alias"])?;
    trial.done(Tool::Ifconfig, &[interface, "inet", "10.213.99.9", "-alias"])?;
    Ok(())
}

fn host(trial: &mut Trial) -> Done {
    let id = trial.idle("t1a", &["-l", "host"])?;
    let (host, inside) = (addresses(trial, None)?, addresses(trial, Some(&id))?);
    want(host == inside, format!("every address of the host: {host:?}"), format!("{inside:?}"))?;
    let asker = Asker::Container(id.clone());
    let _server = trial.serve(&asker, "T1A", "8099", &["192.0.2.1", "2001:db8:9::1"])?;
    for to in ["192.0.2.1", "2001:db8:9::1"] {
        let heard = trial.ask(&Asker::Outside(OUT), Protocol::Tcp, (to, 8099), None)?;
        want(
            heard.name() == Some("T1A"),
            format!("the outside reaches it at {to}"),
            heard.to_string(),
        )?;
    }
    changes_nothing(trial, &id, trial.listed())?;
    let publishes = ["create", "-l", "host", "-p", "8098:80", "--name", "t1b", "host-usr"];
    trial.made.0.push("t1b".to_owned());
    let words = "cannot publish ports of a container using the 'host' network driver";
    trial.klee_refused(&[&publishes[..], &["true"]].concat(), words)
}

fn ipnet(trial: &mut Trial) -> Done {
    let (options, name) = LOOP.split_at(5);
    let made = trial.network(name[0], options)?;
    let interface = made.unwrap_or_default();
    let own = ["--ip", "10.213.21.1", "--ip6", "fd00:213:21::1"];
    let id = trial.idle("t1a", &[&["-n", "t1"][..], &own].concat())?;
    let (host, inside) = (names(trial, None)?, names(trial, Some(&id))?);
    want(host == inside, format!("every interface: {host:?}"), format!("{inside:?}"))?;
    let own: BTreeSet<IpAddr> =
        ["10.213.21.1", "fd00:213:21::1"].iter().filter_map(|text| text.parse().ok()).collect();
    let inside = addresses(trial, Some(&id))?;
    want(inside == own, format!("its own addresses only: {own:?}"), format!("{inside:?}"))?;
    let link = trial.links(None)?.remove(&interface).unwrap_or_default();
    want(
        link.addresses == own,
        format!("{interface} shows them on the host"),
        format!("{link:?}"),
    )?;
    let asker = Asker::Container(id.clone());
    let _mine = trial.serve(&asker, "T1A", "8099", &["10.213.21.1", "fd00:213:21::1"])?;
    let _host = trial.serve(&Asker::Host, "HOST", "8098", &["127.0.0.1"])?;
    let ask = |asker: &Asker, to: &str, port| trial.ask(asker, Protocol::Tcp, (to, port), None);
    let heard = ask(&Asker::Host, "127.0.0.1", 8098)?;
    want(heard.name() == Some("HOST"), "the host reaches its loopback", heard.to_string())?;
    let heard = ask(&asker, "127.0.0.1", 8098)?;
    want(!heard.is_answer(), "the container does not", heard.to_string())?;
    for to in ["10.213.21.1", "fd00:213:21::1"] {
        let heard = ask(&Asker::Host, to, 8099)?;
        want(heard.name() == Some("T1A"), format!("the host reaches {to}"), heard.to_string())?;
    }
    let line = ["serve", "T1A", "8097", "192.0.2.1"];
    let said = trial.start_probe(&asker, &line)?.line(SOON).unwrap_or_default();
    want(said.contains("cannot have"), "it cannot bind the host's 192.0.2.1", said)?;
    changes_nothing(trial, &id, &interface)
}

fn vnet(trial: &mut Trial) -> Done {
    let subnets = ["--subnet", "10.213.22.0/24", "--subnet6", "fd00:213:22::/64"];
    let made = trial.network("t2", &[&["-t", "bridge", "--no-nat"][..], &subnets].concat())?;
    let bridge = made.unwrap_or_default();
    let before = names(trial, None)?;
    let own = ["--ip", "10.213.22.5", "--ip6", "fd00:213:22::5"];
    let id = trial.idle("t2a", &[&["-l", "vnet", "-n", "t2"][..], &own].concat())?;
    let new: Vec<String> = names(trial, None)?.difference(&before).cloned().collect();
    let cable = new.first().cloned().unwrap_or_default();
    let is_cable = new.len() == 1 && cable.starts_with("epair") && cable.ends_with('a');
    want(is_cable, "one end of a cable on the host", format!("{new:?}"))?;
    let member = trial.links(None)?.remove(&bridge).unwrap_or_default().members;
    want(member == [cable.clone()], format!("{cable} is in {bridge}"), format!("{member:?}"))?;
    let inner = format!("{}b", cable.trim_end_matches('a'));
    let links = trial.links(Some(&id))?;
    let of = |name: &str| links.get(name).map(|link| &link.addresses).cloned().unwrap_or_default();
    let own: BTreeSet<IpAddr> =
        ["10.213.22.5", "fd00:213:22::5"].iter().filter_map(|text| text.parse().ok()).collect();
    want(of(&inner) == own, format!("{inner} has {own:?} inside"), format!("{links:?}"))?;
    let lo0 = of("lo0");
    let loopback = ["127.0.0.1", "::1"].iter().filter_map(|text| text.parse::<IpAddr>().ok());
    want(
        loopback.into_iter().all(|ip| lo0.contains(&ip)),
        "a loopback inside",
        format!("{lo0:?}"),
    )?;
    for (family, gateway) in [("-inet", "10.213.22.1"), ("-inet6", "fd00:213:22::1")] {
        let told = trial.inside(&id, &["/sbin/route", "-n", "get", family, "default"])?;
        let line = format!("gateway: {gateway}");
        want(told.contains(&line), format!("the default route: {line}"), told)?;
    }
    let known = names(trial, None)?;
    let lo = trial.inside(&id, &["/sbin/ifconfig", "lo", "create"])?;
    trial.inside(&id, &["/sbin/ifconfig", lo.trim(), "inet", "10.213.97.1/32", "up"])?;
    let seen = names(trial, None)?;
    want(known == seen, "nobody else sees what it configures", format!("{seen:?}"))
}

fn disabled(trial: &mut Trial) -> Done {
    let id = trial.idle("t1a", &["-l", "disabled"])?;
    let (host, inside) = (names(trial, None)?, names(trial, Some(&id))?);
    want(host == inside, format!("every interface: {host:?}"), format!("{inside:?}"))?;
    let inside = addresses(trial, Some(&id))?;
    want(inside.is_empty(), "no address", format!("{inside:?}"))?;
    let _server = trial.serve(&Asker::Host, "HOST", "8098", &["127.0.0.1", "::1"])?;
    for to in ["127.0.0.1", "::1"] {
        let ask = |asker: &Asker| trial.ask(asker, Protocol::Tcp, (to, 8098), None);
        let heard = ask(&Asker::Container(id.clone()))?;
        let refused = matches!(&heard, Heard::Refused { .. });
        want(refused, format!("the container cannot reach {to}"), heard.to_string())?;
        let heard = ask(&Asker::Host)?;
        want(heard.name() == Some("HOST"), "the host can", heard.to_string())?;
    }
    trial.made.0.push("t1b".to_owned());
    let publishes = ["create", "-l", "disabled", "-p", "8098:80", "--name", "t1b", "host-usr"];
    let words = "cannot publish ports of a container using the 'disabled' network driver";
    trial.klee_refused(&[&publishes[..], &["true"]].concat(), words)
}

fn raw(trial: &mut Trial) -> Done {
    let (options, name) = LOOP.split_at(5);
    trial.network(name[0], options)?;
    let none = trial.idle("t1a", &["-n", "t1", "--ip", "10.213.21.1"])?;
    let raw = ["-n", "t1", "--ip", "10.213.21.2", "-J", "allow.raw_sockets=true"];
    let raw = trial.idle("t1b", &raw)?;
    let echoes = trial.echoes(&Asker::Container(none), "10.213.21.2")?;
    want(!echoes, "no ping without allow.raw_sockets", "an echo")?;
    let echoes = trial.echoes(&Asker::Container(raw.clone()), "10.213.21.1")?;
    want(echoes, "ping with it", "no echo")?;
    let foreign = ["/sbin/ping", "-c1", "-t2", "-S", "10.213.21.1", "10.213.21.1"];
    let answer = trial.tool(Tool::Jexec, &[&[raw.as_str()], &foreign[..]].concat())?;
    let refused = answer.stderr.contains("assign requested address");
    want(refused, "no ping with a source that it does not have", answer.words())
}

fn reach(trial: &mut Trial) -> Done {
    trial.flows(
        "d1 -> d3:81  D3 sees d1
         d3 -> d1:81  D1 sees d3
         d3 -> c1:81  refused
         d1 -> c3:81  refused",
    )?;
    trial.pings(&[("d1", "d3", true), ("out", "d3", false)])
}
