//! ifconfig(8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ifconfig_bridge;
use super::ifconfig_show::{self, Format};
use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};
use crate::freebsd::simulated::state::{Errno, LinkId, Mac};

const USAGE: &str = "\
usage: ifconfig [-f type:format] [-g groupname] [-C] [-L] interface address_family
                [address [dest_address]] [parameters]
       ifconfig interface create
       ifconfig -a [-g groupname] [-C] [-L] [-d] [-m] [-u] [-v] [address_family]
       ifconfig -l [-d] [-u] [address_family]
       ifconfig [-g groupname] [-C] [-L] [-d] [-m] [-u] [-v]";

/// The longest name of a group, in bytes.
const LONGEST_GROUP: usize = 15;

/// Runs ifconfig.
pub(crate) fn ifconfig(s: &mut Session<'_>, args: &[&str]) -> Done {
    let mut format = Format::default();
    let (mut list, mut all, mut group) = (false, false, None);
    let mut rest = args.iter().copied();
    let name = loop {
        match rest.next() {
            Some("-a") => all = true,
            Some("-l") => list = true,
            Some("-g") => group = rest.next(),
            Some("-f") => format = format_of(rest.next().unwrap_or_default())?,
            Some("-j") => {
                s.warn("ifconfig: illegal option -- j");
                return s.refuse(USAGE);
            }
            Some(option) if option.starts_with('-') => return unknown(option),
            name => break name,
        }
    };
    let rest: Vec<&str> = rest.collect();
    match (name, group) {
        (None, Some(group)) if !list && !all => show_group(s, group),
        (None, None) if list => {
            let names: Vec<&str> =
                s.state.links_of(s.vnet()).map(|(_, link)| link.name.as_str()).collect();
            let names = names.join(" ");
            s.say(names);
            Ok(())
        }
        (None, None) => {
            let links: Vec<LinkId> = s.state.links_of(s.vnet()).map(|(id, _)| id).collect();
            for id in links {
                ifconfig_show::show(s, id, format, None);
            }
            Ok(())
        }
        (Some(name), None) if !list && !all => interface(s, name, &rest, format),
        _ => unknown("options of ifconfig together"),
    }
}

fn format_of(text: &str) -> Done<Format> {
    let mut format = Format::default();
    for part in text.split(',') {
        match part {
            "inet:cidr" => format.cidr4 = true,
            "inet6:cidr" => format.cidr6 = true,
            _ => return unknown(part),
        }
    }
    Ok(format)
}

fn show_group(s: &mut Session<'_>, group: &str) -> Done {
    let mut members: Vec<(u32, String)> = Vec::new();
    for (_, link) in s.state.links_of(s.vnet()) {
        let here = link.groups.iter().filter(|(name, _)| name == group);
        members.extend(here.map(|(_, number)| (*number, link.name.clone())));
    }
    members.sort();
    for (_, name) in members {
        s.say(name);
    }
    Ok(())
}

fn interface(s: &mut Session<'_>, name: &str, args: &[&str], format: Format) -> Done {
    match args {
        ["create", rest @ ..] => return create(s, name, rest),
        ["-vnet", jail, rest @ ..] => {
            reclaim(s, name, jail)?;
            return if rest.is_empty() { Ok(()) } else { unknown("more after -vnet") };
        }
        _ => {}
    }
    let Some(id) = s.find(name) else {
        return s.refuse(format_args!("ifconfig: interface {name} does not exist"));
    };
    match args {
        [] => {
            ifconfig_show::show(s, id, format, None);
            Ok(())
        }
        ["addr"] if s.state.link(id).bridge().is_some() => {
            ifconfig_show::entered(s, id);
            Ok(())
        }
        [family @ ("inet" | "inet6" | "ether" | "link" | "lladdr")] => {
            ifconfig_show::show(s, id, format, Some(family));
            Ok(())
        }
        args => change(s, id, args),
    }
}

fn create(s: &mut Session<'_>, asked: &str, rest: &[&str]) -> Done {
    let cloner = asked.trim_end_matches(|c: char| c.is_ascii_digit());
    let unit = &asked[cloner.len()..];
    if !["lo", "bridge", "epair"].contains(&cloner) {
        return unknown(format_args!("interfaces of the kind {cloner}"));
    }
    if s.confined().is_some() {
        return s.refuse("ifconfig: SIOCIFCREATE2: Operation not permitted");
    }
    let vnet = s.vnet();
    let made = s.state.create(vnet, cloner, unit.parse().ok());
    let id = match made {
        Ok(id) => id,
        Err(Errno::Exists) => {
            return s.refuse(format_args!("ifconfig: interface {asked} already exists"));
        }
        Err(errno) => {
            return s.refuse(format_args!("ifconfig: SIOCIFCREATE2 ({asked}): {errno}"));
        }
    };
    let done = if rest.is_empty() { Ok(()) } else { change(s, id, rest) };
    let name = s.state.link(id).name.clone();
    if name != asked && !rest.contains(&"name") {
        s.say(&name);
    }
    if matches!(done, Err(Stop::Status(_))) && rest.contains(&"name") {
        s.say(&name);
        if !s.state.has(crate::freebsd::simulated::Quirk::FailedNameLeavesLink) {
            s.state.remove(id);
        }
    }
    done
}

/// `-vnet`: the interface comes back from a jail.
fn reclaim(s: &mut Session<'_>, name: &str, jail: &str) -> Done {
    let (jid, from) = jail_of(s, jail)?;
    let vnet = s.vnet();
    let refused = |errno| format!("ifconfig: SIOCSIFRVNET({jid}, {name}): {errno}");
    let Some(id) = s.state.find(from, name).filter(|_| from != vnet) else {
        return s.refuse(refused(Errno::NoDevice));
    };
    if s.find(name).is_some() {
        return s.refuse(refused(Errno::Exists));
    }
    s.state.move_to(id, vnet);
    Ok(())
}

fn jail_of(
    s: &mut Session<'_>,
    name: &str,
) -> Done<(u32, crate::freebsd::simulated::state::VnetId)> {
    let Some(jail) = s.state.jail_or_dying(name).map(|jail| (jail.jid, jail.dying)) else {
        return s.refuse(format_args!("ifconfig: jail \"{name}\" not found"));
    };
    match jail {
        (_, true) => s.refuse(format_args!("ifconfig: jail \"{name}\" is dying")),
        (jid, false) => Ok((jid, s.state.vnet_of(jid))),
    }
}

/// What is set at the end of the arguments, as ifconfig does it.
#[derive(Default)]
struct Wanted {
    six: bool,
    address: Option<(IpAddr, u8)>,
    alias: bool,
    remove: bool,
}

fn change(s: &mut Session<'_>, id: LinkId, args: &[&str]) -> Done {
    if let Some(jail) = s.confined() {
        let six = args.first() == Some(&"inet6");
        if !jail.has_family(six) {
            let family = if six { 28 } else { 2 };
            return s.refuse(format_args!(
                "ifconfig: socket(family {family},SOCK_DGRAM): Protocol not supported"
            ));
        }
        return refuse_in_jail(s, args);
    }
    let mut wanted = Wanted::default();
    let mut args = args.iter().copied();
    while let Some(word) = args.next() {
        match word {
            "inet" => wanted.six = false,
            "inet6" => wanted.six = true,
            "alias" | "add" => wanted.alias = true,
            "-alias" | "delete" | "remove" => wanted.remove = true,
            "no_dad" => s.state.link_mut(id).nd6.no_dad = true,
            "-no_dad" => s.state.link_mut(id).nd6.no_dad = false,
            "ifdisabled" => s.state.link_mut(id).nd6.disabled = true,
            "-ifdisabled" => s.state.link_mut(id).nd6.disabled = false,
            "auto_linklocal" => s.state.link_mut(id).nd6.auto_linklocal = true,
            "-auto_linklocal" => s.state.link_mut(id).nd6.auto_linklocal = false,
            "accept_rtadv" => s.state.link_mut(id).nd6.accept_rtadv = true,
            "-accept_rtadv" => s.state.link_mut(id).nd6.accept_rtadv = false,
            "up" => s.state.bring_up(id),
            "down" => s.state.bring_down(id),
            "destroy" => {
                let done = s.state.destroy(id);
                return s.check("ifconfig: SIOCIFDESTROY", done);
            }
            "prefixlen" | "netmask" => {
                let value = value(s, word, args.next())?;
                set_prefix(&mut wanted, value)?;
            }
            "-description" => s.state.link_mut(id).description = None,
            // Learned addresses are not kept here.
            "flush" if s.state.link(id).bridge().is_some() => {}
            "static" | "ifmaxaddr" => {
                let name = value(s, word, args.next())?;
                let with = value(s, word, args.next())?;
                ifconfig_bridge::set_with(s, id, word, name, with)?;
            }
            "name" | "mtu" | "group" | "-group" | "description" | "ether" | "link" | "lladdr"
            | "addm" | "deletem" | "private" | "-private" | "learn" | "-learn" | "discover"
            | "-discover" | "sticky" | "-sticky" | "deladdr" | "vnet" => {
                let value = value(s, word, args.next())?;
                set(s, id, word, value)?;
            }
            address => wanted.address = Some(address_of(s, address, wanted.six)?),
        }
    }
    finish(s, id, &wanted)
}

fn refuse_in_jail(s: &mut Session<'_>, args: &[&str]) -> Done {
    match args {
        ["destroy"] => s.refuse("ifconfig: SIOCIFDESTROY: Operation not permitted"),
        [word @ ("up" | "down")] => s.refuse(format_args!("ifconfig: {word}: permission denied")),
        [.., "alias"] | ["alias", ..] => {
            s.refuse("ifconfig: ioctl (SIOCAIFADDR): permission denied")
        }
        [.., "-alias"] => s.refuse("ifconfig: ioctl (SIOCDIFADDR): permission denied"),
        _ => unknown("how this is refused in a jail"),
    }
}

fn value<'a>(s: &mut Session<'_>, word: &str, value: Option<&'a str>) -> Done<&'a str> {
    match value {
        Some(value) => Ok(value),
        None => s.refuse(format_args!("ifconfig: '{word}' requires argument")),
    }
}

/// Sets something that has a value.
fn set(s: &mut Session<'_>, id: LinkId, word: &str, value: &str) -> Done {
    match word {
        "name" => {
            let done = s.state.rename(id, value);
            s.check("ifconfig: ioctl SIOCSIFNAME (set name)", done)?;
            s.say(value);
        }
        "mtu" => {
            let Ok(mtu) = value.parse() else { return unknown(value) };
            s.state.link_mut(id).mtu = mtu;
        }
        "description" => {
            let text = Some(value.to_owned()).filter(|text| !text.is_empty());
            s.state.link_mut(id).description = text;
        }
        "group" => {
            if value.ends_with(|c: char| c.is_ascii_digit()) {
                return s.refuse("ifconfig: setifgroup: group names may not end in a digit");
            }
            if value.len() > LONGEST_GROUP {
                return s.refuse("ifconfig: setifgroup: group name too long");
            }
            s.state.join(id, value);
        }
        "-group" => s.state.leave(id, value),
        "ether" | "link" | "lladdr" => {
            let Some(mac) = Mac::parse(value) else {
                return s.refuse("ifconfig: ioctl (SIOCAIFADDR): Invalid argument");
            };
            let link = s.state.link_mut(id);
            // A bridge has no hardware that could keep another.
            if !matches!(link.kind, crate::freebsd::simulated::state::Kind::Bridge(_)) {
                let first = link.hwaddr.or(link.ether);
                link.hwaddr = first.filter(|first| *first != mac);
            }
            link.ether = Some(mac);
        }
        "vnet" => {
            let (_, vnet) = jail_of(s, value)?;
            let name = s.state.link(id).name.clone();
            if s.state.find(vnet, &name).is_some() {
                return s.refuse("ifconfig: SIOCSIFVNET: File exists");
            }
            s.state.move_to(id, vnet);
        }
        "deladdr" => {
            let mac = Mac::parse(value);
            let entered = s.state.link_mut(id).bridge_mut().map(|bridge| &mut bridge.entered);
            let (Some(mac), Some(entered)) = (mac, entered) else { return unknown(value) };
            entered.retain(|(_, one)| *one != mac);
        }
        member => return ifconfig_bridge::set(s, id, member, value),
    }
    Ok(())
}

fn address_of(s: &mut Session<'_>, text: &str, six: bool) -> Done<(IpAddr, u8)> {
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    // A scope only repeats the interface.
    let host = host.split('%').next().unwrap_or(host);
    let parsed = if six {
        host.parse::<Ipv6Addr>().ok().map(|ip| (IpAddr::V6(ip), 64, 128))
    } else {
        host.parse::<Ipv4Addr>().ok().map(|ip| (IpAddr::V4(ip), class_prefix(ip), 32))
    };
    let prefix = prefix.map(str::parse::<u8>);
    match (parsed, prefix) {
        (Some((ip, default, _)), None) => Ok((ip, default)),
        (Some((ip, _, longest)), Some(Ok(prefix))) if prefix <= longest => Ok((ip, prefix)),
        // A word that is neither a parameter nor an address.
        _ if !text.contains(['.', ':']) => unknown(text),
        _ => s.refuse(format_args!("ifconfig: {host}: bad value")),
    }
}

fn class_prefix(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

fn set_prefix(wanted: &mut Wanted, value: &str) -> Done {
    let mask = match value.parse::<Ipv4Addr>() {
        Ok(mask) => u8::try_from(u32::from(mask).leading_ones()).ok(),
        Err(_) => value.parse().ok(),
    };
    let longest = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
    match (mask, wanted.address.as_mut()) {
        (Some(mask), Some((ip, prefix))) if mask <= longest(ip) => {
            *prefix = mask;
            Ok(())
        }
        _ => unknown(format_args!("the netmask {value}")),
    }
}

/// Removes or sets the address, after everything else.
fn finish(s: &mut Session<'_>, id: LinkId, wanted: &Wanted) -> Done {
    let Some((ip, prefix)) = wanted.address else {
        let alone = wanted.alias || wanted.remove;
        return if alone { unknown("alias without an address") } else { Ok(()) };
    };
    if wanted.remove {
        let done = s.state.remove_address(id, ip);
        return s.check("ifconfig: ioctl (SIOCDIFADDR)", done);
    }
    if !wanted.alias && ip.is_ipv4() {
        s.state.remove_first4(id);
    }
    let done = s.state.add_address(id, ip, prefix);
    s.check("ifconfig: ioctl (SIOCAIFADDR)", done)
}
