//! netstat(1): the routing table, interfaces, TCP sockets.

use std::net::IpAddr;

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::{Address, Entry, Gateway, Kind, Link};

#[derive(Debug, Default)]
struct Options<'a> {
    json: bool,
    routes: bool,
    interfaces: bool,
    sockets: bool,
    numeric: bool,
    bytes: bool,
    only: Option<&'a str>,
    family: Option<&'a str>,
}

/// Runs netstat.
pub(crate) fn netstat(s: &mut Session<'_>, args: &[&str]) -> Done {
    let mut options = Options::default();
    let mut rest = args.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "--libxo" => match rest.next() {
                Some("json") => options.json = true,
                _ => return unknown("the format of --libxo"),
            },
            "-I" => options.only = rest.next(),
            "-f" => options.family = rest.next(),
            "-p" => match rest.next() {
                Some("tcp") => {}
                _ => return unknown("a protocol of netstat"),
            },
            word => {
                let Some(letters) = word.strip_prefix('-') else { return unknown(word) };
                for letter in letters.chars() {
                    match letter {
                        'r' => options.routes = true,
                        'n' => options.numeric = true,
                        // Names are never cut here.
                        'W' => {}
                        'i' => options.interfaces = true,
                        'b' => options.bytes = true,
                        'a' => options.sockets = true,
                        letter => return unknown(letter),
                    }
                }
            }
        }
    }
    match (options.routes, options.interfaces, options.sockets, options.json) {
        (true, false, false, json) => routes(s, options.family, json),
        (false, true, false, true) => {
            interfaces(s, &options);
            Ok(())
        }
        (false, false, true, false) if options.numeric => {
            sockets(s);
            Ok(())
        }
        _ => unknown("options of netstat together"),
    }
}

/// Who has no stack of his own sees the routes to his own addresses only.
fn visible(s: &Session<'_>, entry: &Entry) -> bool {
    s.confined().is_none_or(|jail| entry.prefix.is_none() && jail.sees(entry.destination))
}

fn routes(s: &mut Session<'_>, family: Option<&str>, json: bool) -> Done {
    let families: &[bool] = match family {
        None => &[false, true],
        Some("inet") => &[false],
        Some("inet6") => &[true],
        Some(family) => return unknown(family),
    };
    let table: Vec<Entry> =
        s.state.table(s.vnet()).into_iter().filter(|entry| visible(s, entry)).collect();
    if !json {
        s.say("Routing tables");
    }
    let mut parts = Vec::new();
    for six in families {
        let entries: Vec<&Entry> =
            table.iter().filter(|entry| entry.destination.is_ipv6() == *six).collect();
        if entries.is_empty() {
            continue;
        }
        if json {
            parts.push(json_family(s, *six, &entries));
        } else {
            text_family(s, *six, &entries);
        }
    }
    if json {
        s.say(format_args!(
            "{{\"statistics\": {{\"route-information\": {{\"route-table\": {{\"rt-family\": \
             [{}]}}}}}}}}",
            parts.join(", ")
        ));
    }
    Ok(())
}

fn text_family(s: &mut Session<'_>, six: bool, entries: &[&Entry]) {
    let (name, first, second) = if six { ("Internet6", 33, 29) } else { ("Internet", 18, 18) };
    s.say("");
    s.say(format_args!("{name}:"));
    s.say(format_args!(
        "{:first$} {:second$} {:6} {:>8} Expire",
        "Destination", "Gateway", "Flags", "Netif"
    ));
    for entry in entries {
        let (to, by) = (destination(s, entry), gateway(s, entry));
        s.say(format_args!("{to:first$} {by:second$} {:6} {:>8}", entry.flags, entry.shown));
    }
}

fn json_family(s: &Session<'_>, six: bool, entries: &[&Entry]) -> String {
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| {
            let pretty: Vec<&str> = entry
                .flags
                .chars()
                .map(|flag| match flag {
                    'U' => "\"up\"",
                    'G' => "\"gateway\"",
                    'H' => "\"host\"",
                    _ => "\"static\"",
                })
                .collect();
            format!(
                "{{\"destination\":\"{}\",\"gateway\":\"{}\",\"flags\":\"{}\", \"flags_pretty\": \
                 [{}],\"weight\":1,\"interface-name\":\"{}\"}}",
                destination(s, entry),
                gateway(s, entry),
                entry.flags,
                pretty.join(","),
                entry.shown
            )
        })
        .collect();
    let family = if six { "Internet6" } else { "Internet" };
    format!("{{\"address-family\":\"{family}\", \"rt-entry\": [{}]}}", lines.join(", "))
}

fn scoped(s: &Session<'_>, entry: &Entry, ip: IpAddr) -> String {
    let local = matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80);
    let scope = if local { format!("%{}", s.state.link(entry.link).name) } else { String::new() };
    format!("{ip}{scope}")
}

fn destination(s: &Session<'_>, entry: &Entry) -> String {
    let ip = scoped(s, entry, entry.destination);
    match entry.prefix {
        Some(0) => "default".to_owned(),
        Some(prefix) => format!("{ip}/{prefix}"),
        None => ip,
    }
}

fn gateway(s: &Session<'_>, entry: &Entry) -> String {
    match entry.gateway {
        Gateway::Link(index) => format!("link#{index}"),
        Gateway::Router(ip) => scoped(s, entry, ip),
    }
}

fn interfaces(s: &mut Session<'_>, options: &Options<'_>) {
    let mut lines = Vec::new();
    for (_, link) in s.state.links_of(s.vnet()) {
        if options.only.is_some_and(|only| only != link.name) {
            continue;
        }
        let flags = format!("\"flags\":\"{:#x}\"", link.flags().0);
        let (received, sent) =
            if options.bytes { (",\"received-bytes\":0", ",\"sent-bytes\":0") } else { ("", "") };
        let own = link.ether.map_or_else(|| link.name.clone(), |mac| mac.to_string());
        lines.push(format!(
            "{{\"name\":\"{0}\",{flags},\"mtu\":{1},\"network\":\"<Link#{2}>\",\
             \"address\":\"{own}\",\"received-packets\":0,\"received-errors\":0,\
             \"dropped-packets\":0{received},\"sent-packets\":0,\"send-errors\":0{sent},\
             \"collisions\":0}}",
            link.name, link.mtu, link.index
        ));
        for addr in &link.addresses {
            let (network, ip) = named(link, addr, options.numeric);
            lines.push(format!(
                "{{\"name\":\"{}\",{flags},\"network\":\"{network}\",\"address\":\"{ip}\",\
                 \"received-packets\":0{received},\"sent-packets\":0{sent}}}",
                link.name
            ));
        }
    }
    s.say(format_args!("{{\"statistics\": {{\"interface\": [{}]}}}}", lines.join(", ")));
}

/// The network and the address; without `-n` those that `/etc/hosts` knows by name.
fn named(link: &Link, addr: &Address, numeric: bool) -> (String, String) {
    let scope = if addr.is_link_local() { format!("%{}", link.name) } else { String::new() };
    let network = format!("{}{scope}/{}", addr.network(), addr.prefix);
    let ip = format!("{}{scope}", addr.ip);
    let local = addr.ip.is_loopback() && matches!(link.kind, Kind::Loopback) && !numeric;
    match (local, addr.ip.is_ipv6()) {
        (true, true) => ("localhost".to_owned(), "localhost".to_owned()),
        (true, false) => (network, "localhost".to_owned()),
        (false, _) => (network, ip),
    }
}

fn sockets(s: &mut Session<'_>) {
    let confined = s.confined().map(|jail| jail.jid);
    let vnet = s.vnet();
    let seen = |jail: Option<u32>| match confined {
        Some(jid) => jail == Some(jid),
        None => {
            jail.map_or(crate::freebsd::simulated::state::HOST, |jid| s.state.vnet_of(jid)) == vnet
        }
    };
    let tcp: Vec<_> = s
        .state
        .sockets
        .iter()
        .filter(|socket| socket.protocol.starts_with("tcp") && seen(socket.jail))
        .cloned()
        .collect();
    if tcp.is_empty() {
        return;
    }
    s.say("Active Internet connections (including servers)");
    s.say("Proto Recv-Q Send-Q Local Address          Foreign Address        (state)    ");
    for socket in tcp {
        let local = match socket.local.rsplit_once(':') {
            Some((ip, port)) => format!("{ip}.{port}"),
            None => socket.local,
        };
        s.say(format_args!(
            "{:5}      0      0 {local:22} {:22} LISTEN     ",
            socket.protocol, "*.*"
        ));
    }
}
