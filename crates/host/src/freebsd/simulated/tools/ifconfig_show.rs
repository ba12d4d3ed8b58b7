//! What ifconfig(8) shows of an interface.

use std::net::IpAddr;

use crate::freebsd::simulated::Quirk;
use crate::freebsd::simulated::session::Session;
use crate::freebsd::simulated::state::{Address, Kind, Link, LinkId, mask4};

/// How many members of a bridge fit into the first answer of the kernel, which
/// ifconfig takes for the whole.
const MEMBERS_SHOWN: usize = 102;

/// How addresses are written (`-f`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Format {
    pub(crate) cidr4: bool,
    pub(crate) cidr6: bool,
}

/// Shows an interface; with a family only what is of it.
pub(crate) fn show(s: &mut Session<'_>, id: LinkId, format: Format, family: Option<&str>) {
    let link = s.state.link(id).clone();
    let (flags, names) = link.flags();
    s.say(format_args!(
        "{}: flags={flags:x}<{}> metric 0 mtu {}",
        link.name,
        names.join(","),
        link.mtu
    ));
    if let Some(text) = &link.description {
        s.say(format_args!("\tdescription: {text}"));
    }
    if let Some(options) = link.kind.options() {
        s.say(format_args!("\toptions={options}"));
    }
    if matches!(family, None | Some("ether" | "link" | "lladdr")) {
        for (word, mac) in [("ether", link.ether), ("hwaddr", link.hwaddr)] {
            if let Some(mac) = mac {
                s.say(format_args!("\t{word} {mac}"));
            }
        }
    }
    addresses(s, &link, format, family);
    if family.is_none() {
        rest(s, &link);
    }
    if matches!(family, None | Some("inet6")) {
        nd6(s, &link);
    }
}

/// The family of the first address comes first.
fn addresses(s: &mut Session<'_>, link: &Link, format: Format, family: Option<&str>) {
    let confined = s.confined().cloned();
    let seen = |addr: &&Address| confined.as_ref().is_none_or(|jail| jail.sees(addr.ip));
    let mut shown: Vec<&Address> = link.addresses.iter().filter(seen).collect();
    let six_first = shown.first().is_some_and(|addr| addr.ip.is_ipv6());
    shown.sort_by_key(|addr| addr.ip.is_ipv6() != six_first);
    for addr in shown {
        let of = if addr.ip.is_ipv6() { "inet6" } else { "inet" };
        if family.is_none_or(|family| family == of) {
            let line = address(link, addr, format);
            s.say(line);
        }
    }
}

fn address(link: &Link, addr: &Address, format: Format) -> String {
    let prefix = addr.prefix;
    match addr.ip {
        IpAddr::V4(ip) => {
            let mut line = if format.cidr4 {
                format!("\tinet {ip}/{prefix}")
            } else {
                format!("\tinet {ip} netmask {:#010x}", mask4(prefix))
            };
            let broadcast = addr.broadcast().filter(|_| link.kind.is_broadcast());
            if let Some(broadcast) = broadcast {
                line += &format!(" broadcast {broadcast}");
            }
            line
        }
        IpAddr::V6(ip) => {
            let (scope, scope_id) = if addr.is_link_local() {
                (format!("%{}", link.name), format!(" scopeid {:#x}", link.index))
            } else {
                (String::new(), String::new())
            };
            let length =
                if format.cidr6 { format!("/{prefix}") } else { format!(" prefixlen {prefix}") };
            let tentative = if addr.tentative { " tentative" } else { "" };
            format!("\tinet6 {ip}{scope}{length}{tentative}{scope_id}")
        }
    }
}

fn rest(s: &mut Session<'_>, link: &Link) {
    match &link.kind {
        Kind::Bridge(of) => bridge(s, link, of.started),
        Kind::Pfsync => {
            s.say("\tsyncpeer: 0.0.0.0 maxupd: 128 defer: off");
            s.say("\tsyncok: 1");
        }
        Kind::Loopback | Kind::Epair { .. } | Kind::Ethernet | Kind::Pflog => {}
    }
    if !link.groups.is_empty() {
        let groups: Vec<&str> = link.groups.iter().map(|(name, _)| name.as_str()).collect();
        s.say(format_args!("\tgroups: {}", groups.join(" ")));
    }
    let media = match link.kind {
        Kind::Epair { .. } => "10Gbase-T (10Gbase-T <full-duplex>)",
        Kind::Ethernet => "autoselect (1000baseT <full-duplex>)",
        Kind::Loopback | Kind::Bridge(_) | Kind::Pflog | Kind::Pfsync => return,
    };
    s.say(format_args!("\tmedia: Ethernet {media}"));
    s.say("\tstatus: active");
}

fn bridge(s: &mut Session<'_>, link: &Link, started: bool) {
    let priority = if started { 32768 } else { 0 };
    s.say("\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15");
    s.say("\tmaxage 20 holdcnt 6 proto rstp maxaddr 2000 timeout 1200");
    s.say(format_args!("\troot id 00:00:00:00:00:00 priority {priority} ifcost 0 port 0"));
    let all = link.members();
    let shown = if s.state.has(Quirk::MembersShown) { MEMBERS_SHOWN } else { all.len() };
    for member in all.iter().take(shown) {
        let (name, index, cost) = {
            let of = s.state.link(member.link);
            let cost = if matches!(of.kind, Kind::Ethernet) { 20000 } else { 2000 };
            (of.name.clone(), of.index, cost)
        };
        let flags = [
            (0x1, "LEARNING", member.learning),
            (0x2, "DISCOVER", member.discover),
            (0x10, "STICKY", member.sticky),
            (0x800, "PRIVATE", member.private),
            (0x40, "AUTOEDGE", true),
            (0x100, "AUTOPTP", true),
        ];
        let set = || flags.iter().filter(|(_, _, set)| *set);
        let bits: u32 = set().map(|(bit, _, _)| bit).sum();
        let names: Vec<&str> = set().map(|(_, name, _)| *name).collect();
        s.say(format_args!("\tmember: {name} flags={bits:x}<{}>", names.join(",")));
        let most = member.most;
        s.say(format_args!(
            "\t        ifmaxaddr {most} port {index} priority 128 path cost {cost}"
        ));
    }
}

/// The addresses of a bridge that somebody entered; learned ones are not kept.
pub(crate) fn entered(s: &mut Session<'_>, id: LinkId) {
    let entered = s.state.link(id).bridge().map(|bridge| bridge.entered.clone());
    for (member, mac) in entered.unwrap_or_default() {
        let name = s.state.link(member).name.clone();
        s.say(format_args!("{mac} Vlan1 {name} 0 flags=1<STATIC>"));
    }
}

/// Nobody without IPv6 is told of it.
fn nd6(s: &mut Session<'_>, link: &Link) {
    let blind = s.confined().is_some_and(|jail| !jail.has_family(true));
    if blind || matches!(link.kind, Kind::Pflog | Kind::Pfsync) {
        return;
    }
    let nd6 = link.nd6;
    let options = [
        (0x1, "PERFORMNUD", true),
        (0x2, "ACCEPT_RTADV", nd6.accept_rtadv),
        (0x8, "IFDISABLED", nd6.disabled),
        (0x20, "AUTO_LINKLOCAL", nd6.auto_linklocal),
        (0x100, "NO_DAD", nd6.no_dad),
    ];
    let set = || options.iter().filter(|(_, _, set)| *set);
    let bits: u32 = set().map(|(bit, _, _)| bit).sum();
    let names: Vec<&str> = set().map(|(_, name, _)| *name).collect();
    s.say(format_args!("\tnd6 options={bits:x}<{}>", names.join(",")));
}
