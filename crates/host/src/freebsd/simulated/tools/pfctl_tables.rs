//! Tables by pfctl(8) (`-t`, `-T`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::pfctl::{Told, warn_of_collisions};
use crate::freebsd::simulated::pf::parse_network;
use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};

/// The status of pfctl where a table or an address is wrong.
const WRONG: i32 = 255;

/// The status of `-T test` where not all match.
const NO_MATCH: i32 = 2;

type Entry = (IpAddr, u8);

/// Does what `-T` says.
pub(crate) fn command(s: &mut Session<'_>, told: &Told) -> Done {
    let (Some(name), Some(command)) = (&told.table, &told.command) else {
        return unknown("-T without a table");
    };
    if told.recursive {
        return unknown("tables of several anchors");
    }
    let exists = s.pf().anchor_mut(&told.anchor).tables.contains_key(name);
    match command.as_str() {
        "add" => add(s, told, name),
        "show" if !exists => wrong(s, "pfctl: Unknown error: -1."),
        "show" => show(s, told, name),
        "kill" => {
            let removed = s.pf().anchor_mut(&told.anchor).tables.remove(name);
            let (number, plural) = if removed.is_some() { (1, "") } else { (0, "s") };
            s.note(told, format_args!("{number} table{plural} deleted."));
            Ok(())
        }
        "replace" => replace(s, told, name),
        "delete" | "flush" | "test" if !exists => wrong(s, "pfctl: Table does not exist."),
        "delete" => {
            let entries = entries(s, told)?;
            let table = table(s, told, name);
            let gone = entries.iter().filter(|entry| table.remove(entry)).count();
            let all = entries.len();
            s.note(told, format_args!("{gone}/{all} addresses deleted."));
            Ok(())
        }
        "flush" => {
            let number = table(s, told, name).len();
            table(s, told, name).clear();
            s.note(told, format_args!("{number} addresses deleted."));
            Ok(())
        }
        "test" => test(s, told, name),
        command => unknown(format_args!("-T {command}")),
    }
}

fn wrong<T>(s: &mut Session<'_>, line: &str) -> Done<T> {
    s.warn(line);
    Err(Stop::Status(WRONG))
}

fn table<'a>(s: &'a mut Session<'_>, told: &Told, name: &str) -> &'a mut BTreeSet<Entry> {
    let anchor = s.pf().anchor_mut(&told.anchor);
    anchor.stuck = true;
    &mut anchor.tables.entry(name.to_owned()).or_default().entries
}

/// The addresses of the arguments and of `-f FILE`.
fn entries(s: &mut Session<'_>, told: &Told) -> Done<Vec<Entry>> {
    let mut words = Vec::new();
    for word in &told.rest {
        let Some(file) = word.strip_prefix("file:") else {
            words.push(word.clone());
            continue;
        };
        let text = match file {
            "-" => s.stdin.to_owned(),
            file => match s.state.files.get(file) {
                Some(text) => text.clone(),
                None => return wrong(s, &format!("pfctl: {file}: No such file or directory")),
            },
        };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        words.extend(lines.flat_map(str::split_whitespace).map(str::to_owned));
    }
    let mut entries = Vec::new();
    for word in words {
        match parse_network(&word) {
            Some(entry) => entries.push(entry),
            None if word.starts_with('!') => return unknown("negated addresses in a table"),
            None => return wrong(s, &format!("no IP address found for {word}")),
        }
    }
    Ok(entries)
}

/// Makes the table where it is missing; one that was made so persists.
fn make(s: &mut Session<'_>, told: &Told, name: &str) {
    let new = !s.pf().anchor_mut(&told.anchor).tables.contains_key(name);
    table(s, told, name);
    if let Some(table) = s.pf().anchor_mut(&told.anchor).tables.get_mut(name) {
        (table.persist, table.defined) = (true, false);
    }
    if new {
        warn_of_collisions(s, Some(name));
        s.note(told, "1 table created.");
    }
}

fn add(s: &mut Session<'_>, told: &Told, name: &str) -> Done {
    let entries = entries(s, told)?;
    make(s, told, name);
    let table = table(s, told, name);
    let added = entries.iter().filter(|entry| table.insert(**entry)).count();
    let all = entries.len();
    s.note(told, format_args!("{added}/{all} addresses added."));
    Ok(())
}

fn replace(s: &mut Session<'_>, told: &Told, name: &str) -> Done {
    let new: BTreeSet<Entry> = entries(s, told)?.into_iter().collect();
    make(s, told, name);
    let table = table(s, told, name);
    let (added, deleted) = (new.difference(table).count(), table.difference(&new).count());
    *table = new;
    for (number, word) in [(added, "added"), (deleted, "deleted")] {
        if number > 0 {
            s.note(told, format_args!("{number} addresses {word}."));
        }
    }
    if added + deleted == 0 {
        s.note(told, "no changes.");
    }
    Ok(())
}

fn test(s: &mut Session<'_>, told: &Told, name: &str) -> Done {
    let entries = entries(s, told)?;
    let table = table(s, told, name);
    let covers = |(ip, prefix): &Entry| {
        table.iter().any(|(network, length)| {
            network.is_ipv4() == ip.is_ipv4()
                && length <= prefix
                && crate::freebsd::simulated::state::network(*ip, *length) == *network
        })
    };
    let (matched, all) = (entries.iter().filter(|entry| covers(entry)).count(), entries.len());
    s.note(told, format_args!("{matched}/{all} addresses match."));
    if matched == all { Ok(()) } else { Err(Stop::Status(NO_MATCH)) }
}

fn show(s: &mut Session<'_>, told: &Told, name: &str) -> Done {
    for (ip, prefix) in table(s, told, name).clone() {
        let whole = prefix == if ip.is_ipv4() { 32 } else { 128 };
        if whole {
            s.say(format_args!("   {ip}"));
        } else {
            s.say(format_args!("   {ip}/{prefix}"));
        }
        if told.verbose > 0 {
            s.say("\tCleared:     Tue Nov 24 11:20:18 2026");
        }
    }
    Ok(())
}
