//! jail(8).

use std::net::IpAddr;

use super::jail_file;
use super::jail_params::{self, Named};
use super::programs;
use crate::freebsd::simulated::quirk::Quirk;
use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};
use crate::freebsd::simulated::state::{Ip, Jail, Mounted, VnetId};

/// What is told of one jail, in words as `name=value` or `name`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) words: Vec<(String, Option<String>)>,
    pub(crate) command: Vec<String>,
}

impl Told {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.words.iter().filter(move |(one, _)| one == name);
        of.filter_map(|(_, value)| value.as_deref())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().rev().find(|(one, _)| one == name).and_then(|(_, v)| v.as_deref())
    }

    fn says(&self, name: &str) -> bool {
        let set = |(one, value): &(String, Option<String>)| {
            one == name && value.as_deref().is_none_or(|value| value == "true")
        };
        self.words.iter().any(set)
    }

    fn name(&self) -> Option<&str> {
        self.value("name").or_else(|| self.value("jid"))
    }
}

/// Runs jail.
pub(crate) fn jail(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (mut verb, mut file, mut show_jid) = (None, None, false);
    let mut rest = args;
    while let [option, more @ ..] = rest
        && option.starts_with('-')
    {
        rest = more;
        match *option {
            "-c" | "-m" | "-r" | "-R" if verb.is_none() => verb = Some(*option),
            "-i" => show_jid = true,
            // Nothing is said of what is not there.
            "-q" => {}
            "-f" => {
                let [name, more @ ..] = more else { return unknown("-f without a file") };
                (file, rest) = (Some(jail_file::read(s, name)?), more);
            }
            option => return unknown(option),
        }
    }
    match (verb, file) {
        (Some("-c"), Some(file)) => jail_file::create(s, &file, rest),
        (Some("-r"), Some(file)) => jail_file::remove(s, &file, rest),
        (Some("-c"), None) => {
            let told = told(rest);
            let jid = create(s, &told)?;
            if show_jid {
                s.say(jid);
            }
            Ok(())
        }
        (Some("-m"), None) => modify(s, &told(rest)),
        (Some(verb @ ("-r" | "-R")), None) => remove(s, verb == "-R", rest),
        _ => unknown("what jail is to do"),
    }
}

/// Splits words; `command=` takes all that follows.
fn told(args: &[&str]) -> Told {
    let mut told = Told::default();
    for (at, word) in args.iter().enumerate() {
        if let Some(first) = word.strip_prefix("command=") {
            told.command.push(first.to_owned());
            told.command.extend(args[at + 1..].iter().map(|word| (*word).to_owned()));
            break;
        }
        let pair = word.split_once('=').map(|(name, value)| (name, Some(value.to_owned())));
        let (name, value) = pair.unwrap_or((word, None));
        told.words.push((name.to_owned(), value));
    }
    told
}

/// Checks words before anything is done: names of parameters and addresses.
fn check(s: &mut Session<'_>, told: &Told) -> Done<Vec<IpAddr>> {
    for (name, _) in &told.words {
        if jail_params::named(name).is_none() {
            return s.refuse(format_args!("jail: unknown parameter: {name}"));
        }
    }
    let mut addresses = Vec::new();
    for (name, family) in [("ip4.addr", "IPv4"), ("ip6.addr", "IPv6")] {
        for text in told.values(name).flat_map(|list| list.split(',')) {
            // `interface|address/prefix` is a word for jail(8) itself.
            let bare = text.rsplit('|').next().unwrap_or(text);
            let bare = bare.split('/').next().unwrap_or(bare);
            match bare.parse::<IpAddr>() {
                Ok(ip) if ip.is_ipv6() == (name == "ip6.addr") => addresses.push(ip),
                _ if text.is_empty() => {}
                _ => {
                    return s.refuse(format_args!("jail: {name}: not an {family} address: {text}"));
                }
            }
        }
    }
    Ok(addresses)
}

fn twice(addresses: &[IpAddr]) -> bool {
    addresses.iter().enumerate().any(|(at, ip)| addresses[..at].contains(ip))
}

/// `jail -c`: makes a jail and runs what is to be run. Its number.
pub(crate) fn create(s: &mut Session<'_>, told: &Told) -> Done<u32> {
    let addresses = check(s, told)?;
    let name = told.name().unwrap_or_default().to_owned();
    let alive = s.state.jail(&name).is_some();
    if alive {
        return s.refuse(format_args!("jail: \"{name}\" already exists"));
    }
    prerun(s, told, "exec.prestart")?;
    let jid = make(s, told, &name, addresses)?;
    let done = furnish(s, told, jid);
    if done.is_err() {
        s.state.remove_jail(jid);
    }
    done?;
    s.state.reap(jid);
    Ok(jid)
}

/// Makes the jail in the kernel.
fn make(s: &mut Session<'_>, told: &Told, name: &str, addresses: Vec<IpAddr>) -> Done<u32> {
    let path = told.value("path").unwrap_or("/").to_owned();
    if !s.state.has_directory(&path) {
        return s.refuse(format_args!("jail: path {path}: No such file or directory"));
    }
    let vnet = told.says("vnet") || told.value("vnet") == Some("new");
    let listed = |family: &str| told.value(&format!("{family}.addr")).is_some();
    if vnet && (listed("ip4") || listed("ip6")) {
        return s.refuse("jail: vnet jails cannot have IP address restrictions");
    }
    if twice(&addresses) {
        return s.refuse("jail: jail_set: Invalid argument");
    }
    if !told.says("persist") && told.command.is_empty() {
        return s.refuse("jail: new jail must persist or attach");
    }
    if let Some((parent, _)) = name.rsplit_once('.') {
        if s.state.jail(parent).is_none() {
            return s.refuse(format_args!("jail: jail \"{parent}\" not found"));
        }
        return unknown(format_args!("jails in a jail ({parent})"));
    }
    let jid = match name.parse() {
        Ok(jid) if s.state.has(Quirk::DigitsAreJid) => jid,
        _ => s.state.free_jid(),
    };
    let mode = |family: &str| match told.value(family) {
        Some("inherit") => Ip::Inherit,
        None if vnet => Ip::Inherit,
        _ => Ip::Listed,
    };
    let cpuset = (3..).find(|set| s.state.jails.values().all(|jail| jail.cpuset != *set));
    let mut jail = Jail {
        jid,
        name: if name.is_empty() { jid.to_string() } else { name.to_owned() },
        path,
        ip4: mode("ip4"),
        ip6: mode("ip6"),
        addresses,
        vnet: None,
        // Whoever runs a command in it keeps it meanwhile.
        persist: true,
        dying: false,
        switched: std::collections::BTreeSet::new(),
        set: std::collections::BTreeMap::new(),
        cpuset: cpuset.unwrap_or(3),
        processes: Vec::new(),
        stop: told.values("exec.stop").map(str::to_owned).collect(),
        connections: 0,
    };
    keep(&mut jail, told);
    if vnet {
        let id = VnetId(s.state.fresh());
        s.state.new_vnet(id);
        jail.vnet = Some(id);
    }
    s.state.jails.insert(jid, jail);
    Ok(jid)
}

/// Keeps what has no more meaning than that it can be asked.
fn keep(jail: &mut Jail, told: &Told) {
    for (word, value) in &told.words {
        match (jail_params::named(word), value) {
            (Some(Named::Switch(name, on)), None) => jail_params::switch(jail, name, on),
            (Some(Named::Switch(name, _)), Some(value)) => {
                jail_params::switch(jail, name, value == "true" || value == "1");
            }
            (Some(Named::Text(name)), Some(value)) => {
                jail.set.insert(name.to_owned(), value.clone());
            }
            _ => {}
        }
    }
}

/// What jail(8) does after the kernel made the jail.
fn furnish(s: &mut Session<'_>, told: &Told, jid: u32) -> Done {
    let (name, path) = match s.state.jails.get(&jid) {
        Some(jail) => (jail.name.clone(), jail.path.clone()),
        None => return unknown("a jail that went meanwhile"),
    };
    prerun(s, told, "exec.created")?;
    let interfaces: Vec<&str> =
        told.values("vnet.interface").flat_map(|list| list.split(',')).collect();
    for interface in interfaces {
        let id = s.find(interface);
        let Some(id) = id else {
            s.warn(format_args!("ifconfig: interface {interface} does not exist"));
            return s.refuse(format_args!("jail: /sbin/ifconfig {interface} vnet {name}: failed"));
        };
        let vnet = s.state.vnet_of(jid);
        s.state.move_to(id, vnet);
    }
    add_aliases(s, told)?;
    mount(s, told, &path)?;
    for command in told.values("exec.start") {
        execute(s, Some(jid), &programs::split(command))?;
    }
    if !told.command.is_empty() {
        execute(s, Some(jid), &told.command)?;
    }
    prerun(s, told, "exec.poststart")?;
    if let Some(jail) = s.state.jails.get_mut(&jid) {
        jail.persist = told.says("persist");
    }
    Ok(())
}

/// Commands that run on the host.
fn prerun(s: &mut Session<'_>, told: &Told, which: &str) -> Done {
    for command in told.values(which) {
        execute(s, None, &programs::split(command))?;
    }
    Ok(())
}

/// Runs a command; jail(8) makes 1 of every status.
pub(crate) fn execute(s: &mut Session<'_>, jail: Option<u32>, argv: &[String]) -> Done {
    let status = programs::run(s, jail, argv)?;
    if status == 0 {
        return Ok(());
    }
    s.refuse(format_args!("jail: {}: failed", argv.join(" ")))
}

/// `interface=`: the addresses become aliases of it, and stay.
fn add_aliases(s: &mut Session<'_>, told: &Told) -> Done {
    let default = told.value("interface");
    for (list, longest) in [("ip4.addr", 32), ("ip6.addr", 128)] {
        let texts: Vec<&str> = told.values(list).flat_map(|list| list.split(',')).collect();
        for text in texts {
            let (interface, rest) = match text.split_once('|') {
                Some((interface, rest)) => (Some(interface), rest),
                None => (default, text),
            };
            let (ip, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(interface) = interface else { continue };
            let Some(id) = s.find(interface) else {
                return unknown("an alias on an interface that is not there");
            };
            let prefix = prefix.parse().unwrap_or(longest);
            let Some(ip) = ip.parse().ok().filter(|_| prefix <= longest) else {
                return unknown(text);
            };
            let done = s.state.add_address(id, ip, prefix);
            s.check("ifconfig: ioctl (SIOCAIFADDR)", done)?;
        }
    }
    Ok(())
}

/// `mount=` and `mount.devfs`; they stay when the jail goes.
fn mount(s: &mut Session<'_>, told: &Told, path: &str) -> Done {
    for line in told.values("mount") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [source, at, kind, options, ..] = words.as_slice() else { return unknown(line) };
        s.state.mounts.push(Mounted {
            source: (*source).to_owned(),
            at: (*at).to_owned(),
            kind: (*kind).to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
            ruleset: 0,
            fstab: (0, 0),
        });
    }
    if told.says("mount.devfs") {
        let ruleset = told.value("devfs_ruleset").and_then(|text| text.parse().ok());
        s.state.mounts.push(Mounted {
            source: "devfs".to_owned(),
            at: format!("{}/dev", path.trim_end_matches('/')),
            kind: "devfs".to_owned(),
            read_only: false,
            ruleset: ruleset.unwrap_or(0),
            fstab: (0, 0),
        });
    }
    Ok(())
}

/// `jail -m`.
fn modify(s: &mut Session<'_>, told: &Told) -> Done {
    let addresses = check(s, told)?;
    let name = told.name().unwrap_or_default().to_owned();
    let Some(mut jail) = s.state.jail(&name).cloned() else {
        return s.refuse(format_args!("jail: \"{name}\" not found"));
    };
    let stack = |(word, _): &&(String, Option<String>)| word == "vnet";
    if told.words.iter().any(|word| stack(&word)) {
        return s.refuse("jail: vnet cannot be changed after creation");
    }
    for (family, mode) in [("ip4", jail.ip4), ("ip6", jail.ip6)] {
        let lists = told.value(&format!("{family}.addr")).is_some();
        if lists && jail.vnet.is_some() {
            return s.refuse("jail: vnet jails cannot have IP address restrictions");
        }
        if told.value(family).is_some() || lists && mode == Ip::Inherit {
            return s.refuse(format_args!("jail: {family} cannot be changed after creation"));
        }
    }
    if twice(&addresses) {
        return s.refuse("jail: jail_set: Invalid argument");
    }
    for six in [false, true] {
        let list = if six { "ip6.addr" } else { "ip4.addr" };
        if told.value(list).is_some() {
            jail.addresses.retain(|ip| ip.is_ipv6() != six);
            jail.addresses.extend(addresses.iter().filter(|ip| ip.is_ipv6() == six));
        }
    }
    jail.persist |= told.says("persist");
    jail.persist &= !told.says("nopersist");
    keep(&mut jail, told);
    let jid = jail.jid;
    s.state.jails.insert(jid, jail);
    s.state.reap(jid);
    Ok(())
}

/// What somebody who remembered would run.
fn stop(s: &mut Session<'_>, jid: u32) -> Done {
    let commands = s.state.jails.get(&jid).map(|jail| jail.stop.clone());
    for command in commands.unwrap_or_default() {
        execute(s, Some(jid), &programs::split(&command))?;
    }
    Ok(())
}

/// `jail -r` and `-R`. Several are removed from the last to the first.
fn remove(s: &mut Session<'_>, plain: bool, names: &[&str]) -> Done {
    let noted = names.len() > 1 || names.iter().any(|name| name.contains('*'));
    let mut failed = false;
    for name in names.iter().rev() {
        if !plain && *name == "*" && s.state.has(Quirk::RemoveStarDoesNothing) {
            continue;
        }
        match s.state.jail_or_dying(name).map(|jail| (jail.jid, jail.dying)) {
            // It is on its way.
            Some((_, true)) => {}
            Some((jid, false)) => {
                if !s.state.has(Quirk::StopForgotten) {
                    stop(s, jid)?;
                }
                s.state.remove_jail(jid);
                if noted {
                    s.say(format_args!("{name}: removed"));
                }
            }
            None => {
                s.warn(format_args!("jail: \"{name}\" not found"));
                failed = true;
            }
        }
    }
    if failed { Err(Stop::Status(1)) } else { Ok(()) }
}
