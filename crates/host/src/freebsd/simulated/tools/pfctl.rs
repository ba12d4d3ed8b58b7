//! pfctl(8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{pfctl_show, pfctl_tables};
use crate::freebsd::simulated::pf::{Class, Failed, Pf, Resolver, parse_network, read};
use crate::freebsd::simulated::quirk::Quirk;
use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};

const USAGE: &str = "\
usage: pfctl [-AdeghMmNnOPqRrvz] [-a anchor] [-D macro=value] [-F modifier]
\t[-f file] [-i interface] [-K host | network]
\t[-k host | network | gateway | label | id] [-o level] [-p device]
\t[-s modifier] [-t table -T command [address ...]] [-x level]";

const SHOWN: &[&str] = &[
    "Anchors",
    "nat",
    "rules",
    "Sources",
    "states",
    "info",
    "labels",
    "timeouts",
    "memory",
    "Tables",
    "osfp",
    "Running",
    "Interfaces",
    "all",
];

const FLUSHED: &[&str] =
    &["nat", "queue", "rules", "Sources", "states", "info", "Tables", "osfp", "all"];

/// The longest name of an anchor below another, in bytes.
const LONGEST_ANCHOR: usize = 63;

/// What pfctl is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) anchor: String,
    /// `-a "*"` or `-a "x/*"`: with all that is below.
    pub(crate) recursive: bool,
    pub(crate) no_action: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) zero: bool,
    enable: bool,
    disable: bool,
    file: Option<String>,
    pub(crate) show: Option<&'static str>,
    flush: Option<&'static str>,
    kill: Vec<String>,
    pub(crate) table: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) rest: Vec<String>,
}

/// Runs pfctl.
pub(crate) fn pfctl(s: &mut Session<'_>, args: &[&str]) -> Done {
    let told = told(s, args)?;
    if is_hidden(s) {
        return s.refuse("pfctl: /dev/pf: No such file or directory");
    }
    if told.verbose > 0 && !told.no_action {
        s.warn("No ALTQ support in kernel");
        s.warn("ALTQ related functions disabled");
    }
    let mut failed = false;
    if told.disable {
        failed |= switch(s, &told, false);
    }
    if let Some(what) = told.show {
        pfctl_show::show(s, &told, what)?;
    } else if told.zero && !told.quiet {
        return unknown("-z without -q or -s");
    }
    if let Some(what) = told.flush {
        flush(s, &told, what)?;
    }
    if !told.kill.is_empty() {
        kill(s, &told)?;
    }
    if told.command.is_some() {
        return pfctl_tables::command(s, &told);
    }
    if let Some(file) = &told.file {
        load(s, &told, file)?;
    }
    if told.enable {
        failed |= switch(s, &told, true);
    }
    if failed { Err(Stop::Status(1)) } else { Ok(()) }
}

fn told(s: &mut Session<'_>, args: &[&str]) -> Done<Told> {
    let mut told = Told::default();
    let mut args = args.iter().copied();
    while let Some(word) = args.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            told.rest.push(word.to_owned());
            told.rest.extend(args.by_ref().map(str::to_owned));
            break;
        };
        for (at, letter) in letters.char_indices() {
            if simple(&mut told, letter) {
                continue;
            }
            let inline = &letters[at + letter.len_utf8()..];
            let value = if inline.is_empty() { args.next() } else { Some(inline) };
            let Some(value) = value else {
                s.warn(format_args!("pfctl: option requires an argument -- {letter}"));
                return s.refuse(USAGE);
            };
            valued(s, &mut told, letter, value)?;
            break;
        }
    }
    // `-T add -f -` names the file of addresses after the command.
    if told.command.is_some() {
        told.rest.extend(told.file.take().map(|file| format!("file:{file}")));
        let at = told.rest.iter().position(|word| word == "-f");
        if let Some(at) = at.filter(|at| at + 1 < told.rest.len()) {
            let file = told.rest.remove(at + 1);
            told.rest[at] = format!("file:{file}");
        }
    }
    Ok(told)
}

fn simple(told: &mut Told, letter: char) -> bool {
    match letter {
        'd' => told.disable = true,
        'e' => told.enable = true,
        'n' => told.no_action = true,
        'q' => told.quiet = true,
        'v' => told.verbose += 1,
        'z' => told.zero = true,
        _ => return false,
    }
    true
}

fn valued(s: &mut Session<'_>, told: &mut Told, letter: char, value: &str) -> Done {
    match letter {
        'a' => {
            let path = value.trim_start_matches('/');
            let below = path.strip_suffix("/*").or_else(|| path.strip_suffix('*'));
            told.recursive = below.is_some();
            below.unwrap_or(path).clone_into(&mut told.anchor);
        }
        'f' => told.file = Some(value.to_owned()),
        'k' => told.kill.push(value.to_owned()),
        't' => told.table = Some(value.to_owned()),
        'T' => told.command = Some(value.to_owned()),
        's' => told.show = Some(modifier(s, SHOWN, value, "show modifier")?),
        'F' => told.flush = Some(modifier(s, FLUSHED, value, "flush modifier")?),
        'x' if !["none", "urgent", "misc", "loud"].contains(&value) => {
            s.warn(format_args!("pfctl: Unknown debug level '{value}'"));
            return s.refuse(USAGE);
        }
        letter => return unknown(format_args!("-{letter}")),
    }
    Ok(())
}

/// Modifiers may be cut short.
fn modifier(
    s: &mut Session<'_>,
    list: &[&'static str],
    text: &str,
    what: &str,
) -> Done<&'static str> {
    match list.iter().find(|one| !text.is_empty() && one.starts_with(text)) {
        Some(found) => Ok(found),
        None => {
            s.warn(format_args!("pfctl: Unknown {what} '{text}'"));
            s.refuse(USAGE)
        }
    }
}

/// Whether the rules of devfs keep `/dev/pf` from the jail.
fn is_hidden(s: &Session<'_>) -> bool {
    let Some(jail) = s.jail.and_then(|jid| s.state.jails.get(&jid)) else { return false };
    let dev = format!("{}/dev", jail.path.trim_end_matches('/'));
    let mounted = s.state.mounts.iter().rev().find(|one| one.at == dev && one.kind == "devfs");
    let rules = mounted.and_then(|one| s.state.rulesets.get(&one.ruleset));
    let mut hidden = false;
    for rule in rules.into_iter().flat_map(|rules| rules.values()) {
        match rule.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["hide"] | ["path", "pf", "hide"] => hidden = true,
            ["unhide"] | ["path", "pf", "unhide"] => hidden = false,
            _ => {}
        }
    }
    hidden
}

impl Session<'_> {
    pub(crate) fn pf(&mut self) -> &mut Pf {
        let vnet = self.vnet();
        &mut self.state.vnet_mut(vnet).pf
    }

    pub(crate) fn note(&mut self, told: &Told, line: impl std::fmt::Display) {
        if !told.quiet {
            self.warn(line);
        }
    }
}

/// `-e`, `-d`; whether it failed.
fn switch(s: &mut Session<'_>, told: &Told, on: bool) -> bool {
    if s.pf().enabled == on {
        s.warn(if on { "pfctl: pf already enabled" } else { "pfctl: pf not enabled" });
        return true;
    }
    s.pf().enabled = on;
    s.pf().was_enabled = true;
    s.note(told, if on { "pf enabled" } else { "pf disabled" });
    false
}

fn resolver(s: &Session<'_>) -> Resolver {
    let mut interfaces: BTreeMap<String, Vec<(IpAddr, u8)>> = BTreeMap::new();
    for (_, link) in s.state.links_of(s.vnet()) {
        let names = std::iter::once(&link.name).chain(link.groups.iter().map(|(name, _)| name));
        for name in names {
            let all = interfaces.entry(name.clone()).or_default();
            all.extend(link.addresses.iter().map(|addr| (addr.ip, addr.prefix)));
        }
    }
    Resolver { interfaces }
}

fn load(s: &mut Session<'_>, told: &Told, file: &str) -> Done {
    const NOT_LOADED: &str = "pfctl: Syntax error in config file: pf rules not loaded";
    let (text, name) = match file {
        "-" => (s.stdin.to_owned(), "stdin"),
        file => match s.state.files.get(file) {
            Some(text) => (text.clone(), file),
            None => {
                s.warn(format_args!("pfctl: {file}: No such file or directory"));
                s.warn("pfctl: cannot open the main config file!: No such file or directory");
                return s.refuse(NOT_LOADED);
            }
        },
    };
    if told.recursive {
        return unknown("a text for several anchors");
    }
    let loaded = match read(&text, name, &resolver(s)) {
        Ok(loaded) => loaded,
        Err(Failed::Unknown(what)) => return unknown(what),
        Err(Failed::Refused(lines)) => {
            for line in lines {
                s.warn(line);
            }
            return s.refuse(NOT_LOADED);
        }
    };
    if told.anchor.split('/').any(|part| part.len() > LONGEST_ANCHOR) {
        return s.refuse("pfctl: pfctl_add_rule: strlcpy");
    }
    if told.verbose > 0 {
        for line in &loaded.echo {
            s.say(line);
        }
    }
    if told.no_action {
        return Ok(());
    }
    if told.anchor.is_empty() {
        skip(s, &loaded.skip);
    }
    let anchor = told.anchor.clone();
    s.pf().load(&anchor, loaded);
    warn_of_collisions(s, None);
    Ok(())
}

/// What `set skip` of a main ruleset does: names that it names get the flag, with
/// their members; groups that it no longer names lose it, with their members of now,
/// even those that it names. Whatever left its group keeps it.
fn skip(s: &mut Session<'_>, names: &[String]) {
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, link) in s.state.links_of(s.vnet()) {
        for (group, _) in &link.groups {
            members.entry(group.clone()).or_default().insert(link.name.clone());
        }
    }
    let sticks = s.state.has(Quirk::SkipStays);
    let skipped = &mut s.pf().skipped;
    let before = if sticks { skipped.clone() } else { std::mem::take(skipped) };
    for name in names {
        skipped.insert(name.clone());
        skipped.extend(members.get(name).into_iter().flatten().cloned());
    }
    for (group, of) in members {
        if before.contains(&group) && !names.contains(&group) {
            skipped.remove(&group);
            skipped.retain(|name| !of.contains(name));
        }
    }
}

/// A table of the main ruleset and one of an anchor have the same name.
pub(crate) fn warn_of_collisions(s: &mut Session<'_>, only: Option<&str>) {
    match s.pf().collisions(only).as_slice() {
        [] => {}
        [one] => {
            let line = format!("pfctl: warning: namespace collision with <{one}> global table.");
            s.warn(line);
        }
        several => {
            let number = several.len();
            s.warn(format_args!(
                "pfctl: warning: namespace collisions with {number} global tables."
            ));
        }
    }
}

fn flush(s: &mut Session<'_>, told: &Told, what: &str) -> Done {
    if told.recursive {
        return unknown("-F with all anchors below");
    }
    let main = told.anchor.is_empty();
    match what {
        "rules" => flush_rules(s, told),
        "nat" => flush_nat(s, told),
        "Tables" => flush_tables(s, told),
        "states" => flush_states(s, told),
        "all" => {
            flush_rules(s, told);
            flush_nat(s, told);
            flush_tables(s, told);
            if main {
                flush_states(s, told);
                s.note(told, "source tracking entries cleared");
                s.note(told, "pf: statistics cleared");
                s.pf().skipped.clear();
                s.note(told, "pf: interface flags reset");
            }
        }
        what => return unknown(format_args!("-F {what}")),
    }
    Ok(())
}

fn flush_rules(s: &mut Session<'_>, told: &Told) {
    s.pf().flush(&told.anchor, &[Class::Filter]);
    s.note(told, "rules cleared");
}

fn flush_nat(s: &mut Session<'_>, told: &Told) {
    s.pf().flush(&told.anchor, &[Class::Nat, Class::Rdr]);
    s.note(told, "nat cleared");
}

fn flush_tables(s: &mut Session<'_>, told: &Told) {
    let known = told.anchor.is_empty() || s.pf().paths(true).contains(&told.anchor);
    if !known {
        // An error that is none: the status is 0.
        s.warn("pfctl: Anchor or Ruleset does not exist.");
        return;
    }
    let anchor = s.pf().anchor_mut(&told.anchor);
    let number = anchor.tables.len();
    anchor.tables.clear();
    s.note(told, format_args!("{number} tables deleted."));
}

fn flush_states(s: &mut Session<'_>, told: &Told) {
    let number = s.pf().flows.len();
    s.pf().flows.clear();
    s.note(told, format_args!("{number} states cleared"));
}

fn kill(s: &mut Session<'_>, told: &Told) -> Done {
    let words: Vec<&str> = told.kill.iter().map(String::as_str).collect();
    let before = s.pf().flows.len();
    match words.as_slice() {
        ["label", label] => s.pf().flows.retain(|flow| flow.label != *label),
        // States have no number here.
        ["id", _] => {}
        [source] => {
            let source = network(s, source)?;
            s.pf().flows.retain(|flow| !within(flow.source, source));
            let killed = before - s.pf().flows.len();
            s.note(told, format_args!("killed {killed} states from 1 sources and 0 destinations"));
            return Ok(());
        }
        [source, target] => {
            let (source, target) = (network(s, source)?, network(s, target)?);
            s.pf()
                .flows
                .retain(|flow| !(within(flow.source, source) && within(flow.target, target)));
            let killed = before - s.pf().flows.len();
            s.note(told, format_args!("killed {killed} states from 1 sources and 1 destinations"));
            return Ok(());
        }
        _ => return unknown("-k more than twice"),
    }
    let killed = before - s.pf().flows.len();
    s.note(told, format_args!("killed {killed} states"));
    Ok(())
}

fn network(s: &mut Session<'_>, text: &str) -> Done<(IpAddr, u8)> {
    match parse_network(text) {
        Some(network) => Ok(network),
        None => s.refuse("pfctl: getaddrinfo: Name does not resolve"),
    }
}

fn within(ip: IpAddr, (network, prefix): (IpAddr, u8)) -> bool {
    ip.is_ipv4() == network.is_ipv4()
        && crate::freebsd::simulated::state::network(ip, prefix) == network
}
