//! devfs(8): rulesets.

use crate::freebsd::simulated::session::{Done, Session, unknown};

/// The distance between the numbers of rules that are added without one.
const STEP: u32 = 100;

/// Runs devfs.
pub(crate) fn devfs(s: &mut Session<'_>, args: &[&str]) -> Done {
    match args {
        ["rule", "showsets"] => {
            let sets: Vec<u32> = s.state.rulesets.keys().copied().collect();
            for set in sets {
                s.say(set);
            }
            Ok(())
        }
        ["rule", "-s", set, "show"] => show(s, number(set)?),
        ["rule", "-s", set, "delset"] => {
            s.state.rulesets.remove(&number(set)?);
            Ok(())
        }
        ["rule", "-s", set, "add", rule @ ..] => add(s, number(set)?, rule),
        ["-m", at, "rule", "-s", set, "applyset"] => apply(s, at, number(set)?),
        ["-m", at, "ruleset", set] => apply(s, at, number(set)?),
        _ => unknown("options of devfs together"),
    }
}

fn number(text: &str) -> Done<u32> {
    text.parse().or_else(|_| unknown(format_args!("the ruleset {text}")))
}

fn show(s: &mut Session<'_>, set: u32) -> Done {
    let rules = s.state.rulesets.get(&set).cloned().unwrap_or_default();
    for (number, rule) in rules {
        s.say(format_args!("{number} {rule}"));
    }
    Ok(())
}

fn add(s: &mut Session<'_>, set: u32, rule: &[&str]) -> Done {
    let (at, rule) = match rule {
        [first, rest @ ..] if first.parse::<u32>().is_ok() => (first.parse().ok(), rest),
        rule => (None, rule),
    };
    match rule {
        ["hide" | "unhide"] | ["path", _, "hide" | "unhide"] | ["include", _] => {}
        ["path", _, "mode" | "user" | "group", _] => {}
        _ => return unknown(format_args!("the rule {}", rule.join(" "))),
    }
    let rules = s.state.rulesets.entry(set).or_default();
    let next = rules.keys().next_back().map_or(STEP, |last| (last / STEP + 1) * STEP);
    rules.insert(at.unwrap_or(next), rule.join(" "));
    Ok(())
}

/// A set of no rules is not there.
fn apply(s: &mut Session<'_>, at: &str, set: u32) -> Done {
    if !s.state.rulesets.contains_key(&set) {
        return s.refuse("devfs rule: ioctl DEVFSIO_SAPPLY: No such process");
    }
    match s.state.mounts.iter_mut().rev().find(|one| one.at == at && one.kind == "devfs") {
        Some(mounted) => {
            mounted.ruleset = set;
            Ok(())
        }
        None => unknown(format_args!("{at}, where no devfs is")),
    }
}
