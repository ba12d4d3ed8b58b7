//! route(8).

use std::net::IpAddr;

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::{Errno, LinkId, Static, network};

struct Asked {
    six: bool,
    host: bool,
    /// As it was typed.
    name: String,
    destination: IpAddr,
    prefix: u8,
    gateway: Option<String>,
}

/// Runs route.
pub(crate) fn route(s: &mut Session<'_>, args: &[&str]) -> Done {
    let args = args.strip_prefix(&["-n"]).unwrap_or(args);
    let args = args.strip_prefix(&["-q"]).unwrap_or(args);
    let [verb, rest @ ..] = args else { return unknown("route without a command") };
    let asked = asked(rest)?;
    if s.confined().is_some() && *verb != "get" {
        return s.refuse("route: writing to routing socket: Operation not permitted");
    }
    match *verb {
        "add" => add(s, &asked),
        "delete" | "del" => delete(s, &asked),
        "change" => change(s, &asked),
        "get" => get(s, &asked),
        verb => unknown(verb),
    }
}

fn asked(args: &[&str]) -> Done<Asked> {
    let (mut six, mut host, mut net) = (false, false, false);
    let mut plain = Vec::new();
    for word in args {
        match *word {
            "-inet" | "-4" => six = false,
            "-inet6" | "-6" => six = true,
            "-host" => host = true,
            "-net" => net = true,
            option if option.starts_with('-') => return unknown(option),
            word => plain.push(word),
        }
    }
    let [name, gateway @ ..] = plain.as_slice() else { return unknown("no destination") };
    if gateway.len() > 1 {
        return unknown("more than a destination and a gateway");
    }
    let gateway = gateway.first().map(|word| (*word).to_owned());
    let name = (*name).to_owned();
    if name == "default" {
        let destination = if six { "::".parse() } else { "0.0.0.0".parse() };
        let Ok(destination) = destination else { return unknown(name) };
        return Ok(Asked { six, host: false, name, destination, prefix: 0, gateway });
    }
    let (ip, prefix) = match name.split_once('/') {
        Some((ip, prefix)) => (ip, prefix.parse().ok()),
        None => (name.as_str(), None),
    };
    let Ok(destination) = ip.parse::<IpAddr>() else { return unknown(name) };
    let whole = if destination.is_ipv4() { 32 } else { 128 };
    let host = host || !net && prefix.is_none();
    let prefix = prefix.unwrap_or(whole);
    if prefix > whole {
        return unknown(name);
    }
    let six = destination.is_ipv6();
    Ok(Asked { six, host, name, destination: network(destination, prefix), prefix, gateway })
}

fn words(verb: &str, asked: &Asked) -> String {
    let kind = if asked.host { "host" } else { "net" };
    let gateway = asked.gateway.as_ref().map(|to| format!(": gateway {to}")).unwrap_or_default();
    format!("{verb} {kind} {}{gateway}", asked.name)
}

/// The router that is asked for, and the interface to it.
fn router(s: &Session<'_>, asked: &Asked) -> Done<Option<(IpAddr, LinkId)>> {
    let Some(text) = &asked.gateway else { return unknown("a route without a gateway") };
    let (ip, scope) = match text.split_once('%') {
        Some((ip, scope)) => (ip, Some(scope)),
        None => (text.as_str(), None),
    };
    let Ok(ip) = ip.parse::<IpAddr>() else { return unknown(text) };
    if ip.is_ipv6() != asked.six {
        return unknown("a gateway of the other family");
    }
    Ok(s.state.reached_by(s.vnet(), ip, scope).map(|link| (ip, link)))
}

fn add(s: &mut Session<'_>, asked: &Asked) -> Done {
    let said = words("add", asked);
    let Some((gateway, link)) = router(s, asked)? else {
        s.say(format_args!("{said} fib 0: {}", Errno::Unreachable));
        return s.refuse("route: writing to routing socket: Network is unreachable");
    };
    let route = Static {
        destination: asked.destination,
        prefix: asked.prefix,
        host: asked.host,
        gateway,
        link,
    };
    let vnet = s.vnet();
    if s.state.add_route(vnet, route).is_err() {
        s.say(format_args!("{said} fib 0: route already in table"));
        return Err(crate::freebsd::simulated::session::Stop::Status(1));
    }
    s.say(said);
    Ok(())
}

fn position(s: &Session<'_>, asked: &Asked) -> Option<usize> {
    let same = |route: &Static| {
        (route.destination, route.prefix, route.host)
            == (asked.destination, asked.prefix, asked.host)
    };
    s.state.vnet(s.vnet()).routes.iter().position(same)
}

fn delete(s: &mut Session<'_>, asked: &Asked) -> Done {
    let said = words("delete", asked);
    match position(s, asked) {
        Some(at) => {
            let vnet = s.vnet();
            s.state.vnet_mut(vnet).routes.remove(at);
            s.say(said);
            Ok(())
        }
        None => {
            s.say(format_args!("{said} fib 0: not in table"));
            s.refuse("route: route has not been found")
        }
    }
}

fn change(s: &mut Session<'_>, asked: &Asked) -> Done {
    let said = words("change", asked);
    let Some((gateway, link)) = router(s, asked)? else {
        s.say(format_args!("{said} fib 0: {}", Errno::Unreachable));
        return s.refuse("route: writing to routing socket: Network is unreachable");
    };
    match position(s, asked) {
        Some(at) => {
            let vnet = s.vnet();
            let route = &mut s.state.vnet_mut(vnet).routes[at];
            (route.gateway, route.link) = (gateway, link);
            s.say(said);
            Ok(())
        }
        None => {
            s.say(format_args!("{said} fib 0: not in table"));
            s.refuse("route: route has not been found")
        }
    }
}

/// What leads to an address: its own route, a network, the default.
fn get(s: &mut Session<'_>, asked: &Asked) -> Done {
    let table = s.state.table(s.vnet());
    let covers = |entry: &&crate::freebsd::simulated::state::Entry| {
        entry.destination.is_ipv6() == asked.six
            && match entry.prefix {
                Some(prefix) => network(asked.destination, prefix) == entry.destination,
                None => entry.destination == asked.destination,
            }
    };
    let best = table.iter().filter(covers).max_by_key(|entry| entry.prefix.map_or(255, u32::from));
    let Some(best) = best else {
        return s.refuse("route: route has not been found");
    };
    let (name, mtu) = (best.shown.clone(), s.state.link(best.link).mtu);
    let target = if asked.name == "default" { "default" } else { asked.name.as_str() };
    s.say(format_args!("   route to: {}", if asked.six { target } else { shown(target) }));
    s.say(format_args!("destination: {}", destination(best)));
    if let (Some(prefix), true) = (best.prefix, best.destination.is_ipv4()) {
        let mask = std::net::Ipv4Addr::from(crate::freebsd::simulated::state::mask4(prefix));
        s.say(format_args!("       mask: {mask}"));
    }
    let gateway = match best.gateway {
        crate::freebsd::simulated::state::Gateway::Router(ip) => Some(ip),
        crate::freebsd::simulated::state::Gateway::Link(_) => None,
    };
    if let Some(gateway) = gateway {
        s.say(format_args!("    gateway: {gateway}"));
    }
    s.say("        fib: 0");
    s.say(format_args!("  interface: {name}"));
    let flags = match (best.prefix, gateway) {
        (None, None) if best.flags == "UH" => "UP,HOST,DONE,PINNED",
        (None, None) => "UP,HOST,DONE,STATIC,PINNED",
        (Some(_), None) => "UP,DONE,PINNED",
        (None, Some(_)) => "UP,GATEWAY,HOST,DONE,STATIC",
        (Some(_), Some(_)) => "UP,GATEWAY,DONE,STATIC",
    };
    s.say(format_args!("      flags: <{flags}>"));
    s.say(" recvpipe  sendpipe  ssthresh  rtt,msec    mtu        weight    expire");
    s.say(format_args!("       0         0         0         0     {mtu:5}         1         0 "));
    Ok(())
}

fn shown(target: &str) -> &str {
    if target == "default" { "0.0.0.0" } else { target }
}

fn destination(entry: &crate::freebsd::simulated::state::Entry) -> String {
    entry.destination.to_string()
}
