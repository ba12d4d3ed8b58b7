//! arp(8) and ndp(8): the stack's own addresses, and what it has learned.

use std::net::IpAddr;

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::{Kind, Mac};

struct Seen {
    ip: IpAddr,
    mac: Mac,
    name: String,
    kind: &'static str,
    own: bool,
}

/// What the caller sees; a jail without a stack of its own sees nothing.
fn seen(s: &Session<'_>, six: bool) -> Vec<Seen> {
    if s.confined().is_some() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (id, link) in s.state.links_of(s.vnet()) {
        let Some(mac) = link.ether else { continue };
        let kind = if matches!(link.kind, Kind::Bridge(_)) { "bridge" } else { "ethernet" };
        let own = link.addresses.iter().map(|addr| (addr.ip, mac, true));
        let learned = s.state.neighbours.iter().filter(|one| one.link == id);
        let learned = learned.map(|one| (one.ip, one.mac, false));
        for (ip, mac, own) in own.chain(learned).filter(|(ip, _, _)| ip.is_ipv6() == six) {
            all.push(Seen { ip, mac, name: link.name.clone(), kind, own });
        }
    }
    all
}

/// Runs arp.
pub(crate) fn arp(s: &mut Session<'_>, args: &[&str]) -> Done {
    let json = match args {
        ["-an"] | ["-a", "-n"] => false,
        ["-an", "--libxo", "json"] | ["--libxo", "json", "-an"] => true,
        _ => return unknown("options of arp together"),
    };
    let all = seen(s, false);
    if json {
        let lines: Vec<String> = all.iter().map(arp_json).collect();
        s.say(format_args!(
            "{{\"__version\": \"1\", \"arp\": {{\"arp-cache\": [{}]}}}}",
            lines.join(", ")
        ));
        return Ok(());
    }
    for one in all {
        let until = if one.own { "permanent" } else { "expires in 1200 seconds" };
        s.say(format_args!("? ({}) at {} on {} {until} [{}]", one.ip, one.mac, one.name, one.kind));
    }
    Ok(())
}

fn arp_json(one: &Seen) -> String {
    let until = if one.own { "\"permanent\":true" } else { "\"expires\":1200" };
    format!(
        "{{\"hostname\":\"?\",\"ip-address\":\"{}\",\"mac-address\":\"{}\",\"interface\":\"{}\",\
         {until},\"type\":\"{}\"}}",
        one.ip, one.mac, one.name, one.kind
    )
}

/// Runs ndp.
pub(crate) fn ndp(s: &mut Session<'_>, args: &[&str]) -> Done {
    if !matches!(args, ["-an"] | ["-a", "-n"]) {
        return unknown("options of ndp together");
    }
    s.say("Neighbor                             Linklayer Address  Netif Expire    1s 5s");
    for one in seen(s, true) {
        let local = matches!(one.ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80);
        let scope = if local { format!("%{}", one.name) } else { String::new() };
        let to = format!("{}{scope}", one.ip);
        let until = if one.own { "permanent R " } else { "23h59m59s S " };
        s.say(format_args!("{to:36} {} {:>7} {until}", one.mac, one.name));
    }
    Ok(())
}
