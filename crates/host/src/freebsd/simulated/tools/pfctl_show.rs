//! What pfctl(8) shows (`-s`).

use std::collections::BTreeSet;

use super::pfctl::Told;
use crate::freebsd::simulated::pf::Rule;
use crate::freebsd::simulated::quirk::Quirk;
use crate::freebsd::simulated::session::{Done, Session, unknown};

/// The counters of `-s info`, none of which counts here.
const COUNTERS: [&str; 16] = [
    "match",
    "bad-offset",
    "fragment",
    "short",
    "normalize",
    "memory",
    "bad-timestamp",
    "congestion",
    "ip-option",
    "proto-cksum",
    "state-mismatch",
    "state-insert",
    "state-limit",
    "src-limit",
    "synproxy",
    "map-failed",
];

/// The timeouts of `-s timeouts`. The first five are recorded, the others are from
/// pf.conf(5).
const TIMEOUTS: [(&str, u32, &str); 20] = [
    ("tcp.first", 120, "s"),
    ("tcp.opening", 30, "s"),
    ("tcp.established", 86_400, "s"),
    ("tcp.closing", 900, "s"),
    ("tcp.finwait", 45, "s"),
    ("tcp.closed", 90, "s"),
    ("tcp.tsdiff", 30, "s"),
    ("udp.first", 60, "s"),
    ("udp.single", 30, "s"),
    ("udp.multiple", 60, "s"),
    ("icmp.first", 20, "s"),
    ("icmp.error", 10, "s"),
    ("other.first", 60, "s"),
    ("other.single", 30, "s"),
    ("other.multiple", 60, "s"),
    ("frag", 30, "s"),
    ("interval", 10, "s"),
    ("adaptive.start", 60_000, " states"),
    ("adaptive.end", 120_000, " states"),
    ("src.track", 0, "s"),
];

/// Shows something.
pub(crate) fn show(s: &mut Session<'_>, told: &Told, what: &str) -> Done {
    match what {
        "rules" => rules(s, told),
        "nat" => nat(s, told),
        "labels" => labels(s, told),
        "Anchors" => {
            anchors(s, told);
            Ok(())
        }
        "Tables" => {
            tables(s, told);
            Ok(())
        }
        "Interfaces" => {
            interfaces(s, told);
            Ok(())
        }
        "states" => {
            states(s);
            Ok(())
        }
        "info" => {
            info(s);
            Ok(())
        }
        "memory" => {
            for (name, limit) in [("states", 100_000), ("src-nodes", 10_000), ("frags", 5_000)] {
                s.say(format_args!("{name:13} hard limit {limit:8}"));
            }
            s.say(format_args!("{:13} hard limit {:8}", "table-entries", 200_000));
            Ok(())
        }
        "timeouts" => {
            for (name, time, unit) in TIMEOUTS {
                s.say(format_args!("{name:20} {time:>10}{unit}"));
            }
            Ok(())
        }
        what => unknown(format_args!("-s {what}")),
    }
}

/// Whether the anchor is known; where not, the error that is none.
fn known(s: &mut Session<'_>, told: &Told) -> Done<bool> {
    if told.anchor.is_empty() || s.pf().paths(true).contains(&told.anchor) {
        return Ok(true);
    }
    s.warn("pfctl: DIOCGETRULES: Invalid argument");
    if s.state.has(Quirk::UnknownAnchorIsNoError) {
        return Ok(false);
    }
    Err(crate::freebsd::simulated::session::Stop::Status(1))
}

fn rules(s: &mut Session<'_>, told: &Told) -> Done {
    if !known(s, told)? {
        return Ok(());
    }
    let rules = s.pf().anchor(&told.anchor).map(|anchor| anchor.rules.clone()).unwrap_or_default();
    for (number, rule) in rules.iter().enumerate() {
        if told.recursive && rule.call.is_some() {
            nested(s, &told.anchor, rule, "");
        } else {
            one(s, told, number, rule);
        }
    }
    Ok(())
}

fn one(s: &mut Session<'_>, told: &Told, number: usize, rule: &Rule) {
    let mut text = rule.to_string();
    if told.verbose > 1 {
        // The number of addresses is not known to the one who prints.
        text = format!("@{number} {}", text.replace('>', ":*>").replace("-:*>", "->"));
    }
    s.say(text);
    if told.verbose > 0 {
        let (zero, pid) = (0, 100);
        s.say(format_args!(
            "  [ Evaluations: {zero:<8}  Packets: {zero:<8}  Bytes: {zero:<10}  States: {zero:<6}]"
        ));
        s.say(format_args!("  [ Inserted: uid 0 pid {pid} State Creations: {zero:<6}]"));
    }
}

/// An anchor with what is in it, and in it, and so on.
fn nested(s: &mut Session<'_>, path: &str, rule: &Rule, indent: &str) {
    let call = rule.call.clone().unwrap_or_default();
    s.say(format_args!("{indent}{rule} {{"));
    let inner = format!("{indent}  ");
    match call.strip_suffix('*') {
        None => contents(s, &crate::freebsd::simulated::pf::join(path, &call), &inner),
        Some(above) => {
            let above = above.trim_end_matches('/');
            let above = crate::freebsd::simulated::pf::join(path, above);
            for child in children(s, above.trim_end_matches('/')) {
                let name = child.rsplit('/').next().unwrap_or(&child);
                s.say(format_args!("{inner}anchor \"{name}\" all {{"));
                contents(s, &child, &format!("{inner}  "));
                s.say(format_args!("{inner}}}"));
            }
        }
    }
    s.say(format_args!("{indent}}}"));
}

fn contents(s: &mut Session<'_>, path: &str, indent: &str) {
    let rules = s.pf().anchor(path).map(|anchor| anchor.rules.clone()).unwrap_or_default();
    for rule in rules {
        if rule.call.is_some() {
            nested(s, path, &rule, indent);
        } else {
            s.say(format_args!("{indent}{rule}"));
        }
    }
}

fn nat(s: &mut Session<'_>, told: &Told) -> Done {
    if !known(s, told)? {
        return Ok(());
    }
    let anchor = s.pf().anchor(&told.anchor).cloned().unwrap_or_default();
    for (number, rule) in anchor.nat.iter().chain(&anchor.rdr).enumerate() {
        one(s, told, number, rule);
    }
    Ok(())
}

fn labels(s: &mut Session<'_>, told: &Told) -> Done {
    if !known(s, told)? {
        return Ok(());
    }
    let rules = s.pf().anchor(&told.anchor).map(|anchor| anchor.rules.clone()).unwrap_or_default();
    for label in rules.iter().filter_map(|rule| rule.label.as_ref()) {
        s.say(format_args!("{label} 0 0 0 0 0 0 0 0"));
    }
    Ok(())
}

fn paths(s: &mut Session<'_>) -> BTreeSet<String> {
    let sticks = s.state.has(Quirk::AnchorWithTableStays);
    s.pf().paths(sticks)
}

/// The anchors right below one.
fn children(s: &mut Session<'_>, path: &str) -> Vec<String> {
    let all = paths(s).into_iter();
    all.filter(|one| match one.rsplit_once('/') {
        Some((above, _)) => above == path,
        None => path.is_empty(),
    })
    .collect()
}

fn anchors(s: &mut Session<'_>, told: &Told) {
    for path in children(s, &told.anchor) {
        s.say(format_args!("  {path}"));
        if told.verbose > 0 {
            let mut below = told.clone();
            below.anchor = path;
            anchors(s, &below);
        }
    }
}

fn tables(s: &mut Session<'_>, told: &Told) {
    let anchor = s.pf().anchor(&told.anchor).cloned().unwrap_or_default();
    let named = anchor.named();
    for (name, table) in &anchor.tables {
        if told.verbose == 0 {
            s.say(name);
            continue;
        }
        let flag = |letter: char, set: bool| if set { letter } else { '-' };
        let flags = [flag('p', table.persist), 'a', '-', flag('r', named.contains(name)), '-', '-'];
        let flags: String = flags.iter().collect();
        let path =
            if told.anchor.is_empty() { String::new() } else { format!("\t{}", told.anchor) };
        s.say(format_args!("-{flags}\t{name}{path}"));
    }
}

/// All that pf knows: interfaces, their groups, names in rules, what carries a flag.
fn interfaces(s: &mut Session<'_>, told: &Told) {
    let mut names = BTreeSet::from(["all".to_owned()]);
    for (_, link) in s.state.links_of(s.vnet()) {
        names.insert(link.name.clone());
        names.extend(link.groups.iter().map(|(name, _)| name.clone()));
    }
    let pf = s.pf();
    for anchor in pf.anchors.values() {
        let all = anchor.rules.iter().chain(&anchor.nat).chain(&anchor.rdr);
        names.extend(all.flat_map(Rule::interfaces));
    }
    names.extend(pf.lingering.iter().cloned());
    let skipped = pf.skipped.clone();
    names.extend(skipped.iter().cloned());
    for name in names {
        let skip = told.verbose > 0 && skipped.contains(&name);
        s.say(format_args!("{name}{}", if skip { " (skip)" } else { "" }));
    }
}

fn states(s: &mut Session<'_>) {
    for flow in s.pf().flows.clone() {
        s.say(format_args!(
            "all tcp {} -> {}       ESTABLISHED:ESTABLISHED",
            flow.source, flow.target
        ));
    }
}

fn info(s: &mut Session<'_>) {
    let status = match (s.pf().enabled, s.pf().was_enabled) {
        (true, _) => "Status: Enabled for 0 days 00:00:00",
        (false, true) => "Status: Disabled for 0 days 00:00:00",
        (false, false) => "Status: Disabled",
    };
    s.say(format_args!("{status:44}{:>15}", "Debug: Urgent"));
    s.say("");
    s.say(format_args!("{:27} {:>14} {:>16}", "State Table", "Total", "Rate"));
    let entries = s.pf().flows.len();
    s.say(format_args!("  {:25} {entries:>14} {:14}", "current entries", ""));
    for name in ["searches", "inserts", "removals"] {
        s.say(format_args!("  {name:25} {:>14} {:>14}/s", 0, "0.0"));
    }
    s.say("Counters");
    for name in COUNTERS {
        s.say(format_args!("  {name:25} {:>14} {:>14}/s", 0, "0.0"));
    }
}
