//! Parameters of jails: their names, and what they are for a jail.

use std::net::IpAddr;

use crate::freebsd::simulated::state::{Ip, Jail, State};

/// A parameter of the kernel that is a switch, and whether it is on by default.
const SWITCHES: &[(&str, bool)] = &[
    ("allow.chflags", false),
    ("allow.mlock", false),
    ("allow.mount", false),
    ("allow.mount.devfs", false),
    ("allow.mount.fdescfs", false),
    ("allow.mount.nullfs", false),
    ("allow.mount.procfs", false),
    ("allow.mount.tmpfs", false),
    ("allow.mount.zfs", false),
    ("allow.quotas", false),
    ("allow.raw_sockets", false),
    ("allow.read_msgbuf", false),
    ("allow.reserved_ports", true),
    ("allow.set_hostname", true),
    ("allow.socket_af", false),
    ("allow.suser", true),
    ("allow.sysvipc", false),
    ("allow.unprivileged_proc_debug", true),
    ("ip4.saddrsel", true),
    ("ip6.saddrsel", true),
];

/// Parameters of the kernel that are kept as text, with their defaults.
const TEXTS: &[(&str, &str)] = &[
    ("children.max", "0"),
    ("devfs_ruleset", "0"),
    ("enforce_statfs", "2"),
    ("host", "new"),
    ("host.domainname", ""),
    ("host.hostid", "0"),
    ("host.hostname", ""),
    ("host.hostuuid", "00000000-0000-0000-0000-000000000000"),
    ("osreldate", "1302001"),
    ("osrelease", "13.2-RELEASE"),
    ("securelevel", "-1"),
    ("sysvmsg", "disable"),
    ("sysvsem", "disable"),
    ("sysvshm", "disable"),
];

/// Parameters that jail(8) handles by itself.
const PSEUDO: &[&str] = &[
    "allow.dying",
    "exec.clean",
    "exec.created",
    "exec.jail_user",
    "exec.poststart",
    "exec.poststop",
    "exec.prestart",
    "exec.prestop",
    "exec.start",
    "exec.stop",
    "exec.system_jail_user",
    "exec.system_user",
    "exec.timeout",
    "interface",
    "mount",
    "mount.devfs",
    "mount.fdescfs",
    "mount.procfs",
    "stop.timeout",
    "vnet.interface",
];

/// Those that need more than to be kept.
const OTHERS: &[&str] =
    &["command", "ip4", "ip4.addr", "ip6", "ip6.addr", "jid", "name", "path", "persist", "vnet"];

/// The order in which `jls -n all` shows them.
const ALL: &[&str] = &[
    "devfs_ruleset",
    "dying",
    "enforce_statfs",
    "host",
    "ip4",
    "ip6",
    "jid",
    "name",
    "osreldate",
    "osrelease",
    "parent",
    "path",
    "persist",
    "securelevel",
    "sysvmsg",
    "sysvsem",
    "sysvshm",
    "vnet",
    "allow.chflags",
    "allow.mlock",
    "allow.mount",
    "allow.mount.devfs",
    "allow.mount.fdescfs",
    "allow.mount.nullfs",
    "allow.mount.procfs",
    "allow.mount.tmpfs",
    "allow.mount.zfs",
    "allow.quotas",
    "allow.raw_sockets",
    "allow.read_msgbuf",
    "allow.reserved_ports",
    "allow.set_hostname",
    "allow.socket_af",
    "allow.suser",
    "allow.sysvipc",
    "allow.unprivileged_proc_debug",
    "children.cur",
    "children.max",
    "cpuset.id",
    "host.domainname",
    "host.hostid",
    "host.hostname",
    "host.hostuuid",
    "ip4.addr",
    "ip4.saddrsel",
    "ip6.addr",
    "ip6.saddrsel",
];

/// What jail(8) would set by them, so that `jls -s` leaves the others out.
const READ_ONLY: &[&str] = &["dying", "parent", "children.cur", "cpuset.id"];

/// What a parameter is for a jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Switch(bool),
    Text(String),
    List(Vec<IpAddr>),
}

/// What a word of jail(8) names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// A switch of the kernel, and what it is to be.
    Switch(&'static str, bool),
    /// Text of the kernel.
    Text(&'static str),
    /// Something of jail(8)'s own.
    Pseudo(&'static str),
    /// What needs a closer look.
    Other(&'static str),
}

/// Finds a parameter; `a.nob` and `nob` switch `a.b` and `b` off.
pub(crate) fn named(name: &str) -> Option<Named> {
    let find = |list: &[&'static str], name: &str| list.iter().copied().find(|one| *one == name);
    let switch = |name: &str| SWITCHES.iter().map(|(one, _)| *one).find(|one| *one == name);
    let positive = match name.rsplit_once('.') {
        Some((before, last)) => last.strip_prefix("no").map(|last| format!("{before}.{last}")),
        None => name.strip_prefix("no").map(str::to_owned),
    };
    if let Some(name) = switch(name) {
        return Some(Named::Switch(name, true));
    }
    if let Some(name) = positive.as_deref().and_then(switch) {
        return Some(Named::Switch(name, false));
    }
    if let Some((name, _)) = TEXTS.iter().find(|(one, _)| *one == name) {
        return Some(Named::Text(name));
    }
    if name == "nopersist" {
        return Some(Named::Other("nopersist"));
    }
    let pseudo = find(PSEUDO, name).or_else(|| find(PSEUDO, positive.as_deref()?));
    pseudo.map(Named::Pseudo).or_else(|| find(OTHERS, name).map(Named::Other))
}

/// The parameters that `jls all` and `jls -s` show.
pub(crate) fn all(state: &State, settable: bool) -> Vec<&'static str> {
    let shown = |name: &&str| {
        // Modules bring their own parameters.
        let module = name.strip_prefix("allow.mount.").filter(|fs| ["fdescfs", "zfs"].contains(fs));
        let loaded = module.is_none_or(|fs| state.modules.iter().any(|one| one == fs));
        let listed = name.starts_with("ip4.") || name.starts_with("ip6.");
        loaded && !(settable && (READ_ONLY.contains(name) || listed))
    };
    ALL.iter().copied().filter(shown).collect()
}

/// What a parameter is for a jail; `None` is no parameter.
pub(crate) fn get(jail: &Jail, name: &str) -> Option<Value> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let mode = |ip: Ip| text(if ip == Ip::Inherit { "inherit" } else { "disable" });
    if let Some((name, default)) = SWITCHES.iter().find(|(one, _)| *one == name) {
        return Some(Value::Switch(default ^ jail.switched.contains(*name)));
    }
    if let Some((name, default)) = TEXTS.iter().find(|(one, _)| *one == name) {
        return text(jail.set.get(*name).map_or(default, |set| set.as_str()));
    }
    match name {
        "jid" => text(&jail.jid.to_string()),
        "name" => text(&jail.name),
        "path" => text(&jail.path),
        "ip4" => mode(jail.ip4),
        "ip6" => mode(jail.ip6),
        "ip4.addr" => Some(Value::List(jail.of_family(false))),
        "ip6.addr" => Some(Value::List(jail.of_family(true))),
        "vnet" => text(if jail.vnet.is_some() { "new" } else { "inherit" }),
        "persist" => Some(Value::Switch(jail.persist)),
        "dying" => Some(Value::Switch(jail.dying)),
        "parent" | "children.cur" => text("0"),
        "cpuset.id" => text(&jail.cpuset.to_string()),
        _ => None,
    }
}

/// Sets a switch of a jail.
pub(crate) fn switch(jail: &mut Jail, name: &str, on: bool) {
    let default = SWITCHES.iter().any(|(one, default)| *one == name && *default);
    if on == default {
        jail.switched.remove(name);
    } else {
        jail.switched.insert(name.to_owned());
    }
}
