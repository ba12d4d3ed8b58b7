//! sysctl(8).

use std::fmt::Write as _;

use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};

/// How a variable can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// By anybody who is root on the host.
    Host,
    /// By root of each network stack, for that.
    Stack,
    /// Not at all.
    Never,
    /// In `/boot/loader.conf` only.
    Tunable,
}

/// Variables with their first values (FreeBSD 13.2), in the kernel's order as far as
/// it was seen.
const VARIABLES: &[(&str, &str, Change)] = &[
    ("kern.osreldate", "1302001", Change::Never),
    ("kern.osrelease", "13.2-RELEASE", Change::Never),
    ("kern.ostype", "FreeBSD", Change::Never),
    ("kern.version", "FreeBSD 13.2-RELEASE GENERIC\n", Change::Never),
    // When it started, by a clock that stands still here.
    (
        "kern.boottime",
        "{ sec = 1795519218, usec = 388587 } Tue Nov 24 11:20:18 2026",
        Change::Never,
    ),
    ("kern.bootfile", "/boot/kernel/kernel", Change::Host),
    ("kern.hostname", "", Change::Host),
    ("kern.hostid", "0", Change::Host),
    ("kern.hostuuid", "00000000-0000-0000-0000-000000000000", Change::Host),
    ("kern.maxfiles", "97935", Change::Host),
    ("kern.features.vimage", "1", Change::Never),
    ("kern.racct.enable", "1", Change::Tunable),
    ("kern.racct.pcpu_threshold", "1", Change::Never),
    // Of the recordings' host, by what its kernel was built for.
    ("hw.machine", "amd64", Change::Never),
    ("net.inet.ip.forwarding", "0", Change::Stack),
    ("net.inet.tcp.msl", "30000", Change::Host),
    ("net.inet.tcp.nolocaltimewait", "0", Change::Host),
    ("net.inet6.ip6.forwarding", "0", Change::Stack),
    ("net.inet6.ip6.accept_rtadv", "0", Change::Stack),
    ("net.inet6.ip6.auto_linklocal", "1", Change::Stack),
    ("net.inet6.ip6.dad_count", "1", Change::Stack),
    ("net.inet6.ip6.v6only", "1", Change::Stack),
    ("net.link.bridge.ipfw", "0", Change::Stack),
    ("net.link.bridge.allow_llz_overlap", "0", Change::Stack),
    ("net.link.bridge.inherit_mac", "0", Change::Stack),
    ("net.link.bridge.log_stp", "0", Change::Stack),
    ("net.link.bridge.pfil_local_phys", "0", Change::Stack),
    ("net.link.bridge.pfil_member", "1", Change::Stack),
    ("net.link.bridge.ipfw_arp", "0", Change::Stack),
    ("net.link.bridge.pfil_bridge", "1", Change::Stack),
    ("net.link.bridge.pfil_onlyip", "1", Change::Stack),
    ("security.jail.jailed", "0", Change::Never),
    ("security.jail.vnet", "0", Change::Never),
    ("vm.kmem_size", "3126898688", Change::Tunable),
];

/// A variable of bytes; `sysctl -n` shows nothing of it.
const BOOT_ID: &str = "kern.boot_id";

/// Runs sysctl.
pub(crate) fn sysctl(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (mut bare, mut hex, mut failed) = (false, false, false);
    for word in args {
        match *word {
            "-n" => bare = true,
            "-x" => hex = true,
            option if option.starts_with('-') => return unknown(option),
            word => {
                let done = match word.split_once('=') {
                    Some((name, value)) => set(s, bare, word, name, value),
                    None => show(s, bare, hex, word),
                };
                match done {
                    Err(Stop::Status(_)) => failed = true,
                    done => done?,
                }
            }
        }
    }
    if failed { Err(Stop::Status(1)) } else { Ok(()) }
}

fn line(bare: bool, name: &str, value: &str) -> String {
    if bare { value.to_owned() } else { format!("{name}: {value}") }
}

fn show(s: &mut Session<'_>, bare: bool, hex: bool, name: &str) -> Done {
    if name == BOOT_ID {
        show_boot_id(s, bare, hex);
        return Ok(());
    }
    if hex {
        return unknown("-x for a number");
    }
    let below = format!("{name}.");
    let of = |one: &&(&str, &str, Change)| one.0 == name || one.0.starts_with(&below);
    let found: Vec<_> = VARIABLES.iter().filter(of).collect();
    if found.is_empty() {
        // The real one has some fifteen thousand; only those are known here.
        let kernel = ["kern.", "net.", "vm.", "security.", "hw.", "debug.", "vfs.", "dev."];
        if kernel.iter().any(|root| name.starts_with(root)) && !name.contains("nosuch") {
            return unknown(format_args!("the variable {name}"));
        }
        return s.refuse(format_args!("sysctl: unknown oid '{name}'"));
    }
    for (name, first, change) in found {
        let value = value(s, name, first, *change);
        s.say(line(bare, name, &value));
    }
    Ok(())
}

fn value(s: &Session<'_>, name: &str, first: &str, change: Change) -> String {
    let jail = s.jail.and_then(|jid| s.state.jails.get(&jid));
    match (name, jail) {
        ("security.jail.jailed", Some(_)) => "1".to_owned(),
        ("security.jail.vnet", Some(jail)) => u8::from(jail.vnet.is_some()).to_string(),
        ("kern.hostname", Some(jail)) => jail.set.get("host.hostname").cloned().unwrap_or_default(),
        _ => {
            let set = match change {
                Change::Stack => s.state.vnet(s.vnet()).sysctls.get(name),
                Change::Host | Change::Never | Change::Tunable => s.state.sysctls.get(name),
            };
            set.map_or(first, String::as_str).to_owned()
        }
    }
}

fn show_boot_id(s: &mut Session<'_>, bare: bool, hex: bool) {
    if !hex {
        // Without -x or -b its bytes are not shown, nor is its name.
        return;
    }
    let mut dump = format!("Format: Length:{} Dump:0x", s.state.boot_id.len());
    for byte in s.state.boot_id {
        // Writing to a string never fails.
        let _ = write!(dump, "{byte:02x}");
    }
    s.say(line(bare, BOOT_ID, &dump));
}

fn set(s: &mut Session<'_>, bare: bool, word: &str, name: &str, new: &str) -> Done {
    let known = VARIABLES.iter().find(|(one, _, _)| *one == name);
    let Some((name, first, change)) = known else {
        return unknown(format_args!("the variable {name}"));
    };
    let old = value(s, name, first, *change);
    match change {
        Change::Never => {
            return s.refuse(format_args!("sysctl: oid '{name}' is read only"));
        }
        Change::Tunable => {
            s.warn(format_args!("sysctl: oid '{name}' is a read only tunable"));
            return s.refuse("sysctl: Tunable values are set in /boot/loader.conf");
        }
        Change::Host | Change::Stack => {}
    }
    if s.confined().is_some() || s.jail.is_some() && *change == Change::Host {
        s.say(line(bare, name, &old));
        return s.refuse(format_args!("sysctl: {word}: Operation not permitted"));
    }
    let vnet = s.vnet();
    let all = match change {
        Change::Stack => &mut s.state.vnet_mut(vnet).sysctls,
        _ => &mut s.state.sysctls,
    };
    all.insert((*name).to_owned(), new.to_owned());
    s.say(line(bare, name, &format!("{old} -> {new}")));
    Ok(())
}
