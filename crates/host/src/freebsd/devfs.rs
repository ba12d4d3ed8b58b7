//! The device files that a container sees.
//!
//! Without a ruleset a jail's `/dev` shows every device of the host, and one that
//! shows `pf` or `bpf` owns the host's firewall and its traffic. A ruleset that
//! nobody has defined hides nothing, and mounting with it is no error (FreeBSD
//! 13.2). So ours is defined when it is missing, under a number of our own range
//! that nobody else uses, and is read again before each use.
//!
//! What is told to `devfs`: [`VECTORS`]. All of it is recorded from FreeBSD 13.2, with
//! other numbers and names.

use std::fmt;

use super::run::{Call, Tool, ToolError, Tools};

/// The forms of all that is told to tools here; `{…}` is a place for a text.
pub const VECTORS: &[&str] = &[
    "devfs rule -s {number} show",
    "devfs rule -s {number} add hide",
    "devfs rule -s {number} add path {pattern} unhide",
];

/// The numbers that are looked at for a ruleset of ours. Rulesets of
/// `/etc/defaults/devfs.rules` begin at 1, those of administrators at 10 by custom;
/// the largest number is 65535.
const NUMBERS: std::ops::RangeInclusive<u16> = 48300..=48363;

/// What is shown; everything else is hidden. Patterns are those of fnmatch(3): `*`
/// stops at `/`.
const SHOWN: [&str; 14] = [
    "null", "zero", "random", "urandom", "full", "stdin", "stdout", "stderr", "fd", "fd/*", "pts",
    "pts/*", "ptmx", "tty",
];

/// A ruleset of device files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruleset {
    /// Ours.
    Own(u16),
    /// One that the user of a container names.
    Given(u16),
}

impl Ruleset {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Own(number) | Self::Given(number) => number,
        }
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// Why there is no ruleset for a container's device files.
#[derive(Debug, thiserror::Error)]
pub enum DevfsError {
    /// `devfs` refused.
    #[error("cannot {what} the ruleset {number} of device files")]
    Tool {
        /// What was wanted.
        what: &'static str,
        /// Of which ruleset.
        number: u16,
        /// What it said.
        #[source]
        source: ToolError,
    },
    /// A ruleset does not say what it should.
    #[error(
        "the ruleset {number} of device files is not as it was defined: nothing is mounted with it"
    )]
    Changed {
        /// Its number.
        number: u16,
    },
    /// A ruleset has no rules, and would show all devices.
    #[error(
        "there is no ruleset {number} of device files: with it a container would see all devices"
    )]
    Missing {
        /// Its number.
        number: u16,
    },
    /// Every number of our range is somebody else's.
    #[error(
        "the rulesets {} to {} of device files are all in use by others",
        NUMBERS.start(),
        NUMBERS.end()
    )]
    NoneFree,
}

/// Finds our ruleset, or defines it under the first number of our range that has no
/// rules. One whose rules are others is somebody else's, and is passed over.
///
/// # Errors
/// When `devfs` refuses, no number is free, or somebody else defines the same one
/// meanwhile.
pub fn ensure(tools: &dyn Tools) -> Result<Ruleset, DevfsError> {
    for number in NUMBERS {
        let there = show(tools, number)?;
        if there.is_empty() {
            define(tools, number)?;
            let ruleset = Ruleset::Own(number);
            return verify(tools, ruleset).map(|()| ruleset);
        }
        if there == rules() {
            return Ok(Ruleset::Own(number));
        }
    }
    Err(DevfsError::NoneFree)
}

/// Looks again that a ruleset hides what it should: before each use of it.
///
/// # Errors
/// When ours is not as it was defined, a given one has no rules, or `devfs` refuses.
pub fn verify(tools: &dyn Tools, ruleset: Ruleset) -> Result<(), DevfsError> {
    let there = show(tools, ruleset.number())?;
    match ruleset {
        Ruleset::Own(number) if there != rules() => Err(DevfsError::Changed { number }),
        Ruleset::Given(number) if there.is_empty() => Err(DevfsError::Missing { number }),
        Ruleset::Own(_) | Ruleset::Given(_) => Ok(()),
    }
}

/// Our rules, as `devfs rule show` prints them after their numbers.
fn rules() -> Vec<String> {
    let shown = SHOWN.iter().map(|pattern| format!("path {pattern} unhide"));
    std::iter::once("hide".to_owned()).chain(shown).collect()
}

fn define(tools: &dyn Tools, number: u16) -> Result<(), DevfsError> {
    for rule in rules() {
        let set = number.to_string();
        let words = ["rule", "-s", &set, "add"].into_iter().chain(rule.split(' '));
        tools.run(&Call::new(Tool::Devfs, words)).map_err(|source| DevfsError::Tool {
            what: "define",
            number,
            source,
        })?;
    }
    Ok(())
}

/// The rules of a set, without their numbers; one that nobody has defined has none.
fn show(tools: &dyn Tools, number: u16) -> Result<Vec<String>, DevfsError> {
    let call = Call::new(Tool::Devfs, ["rule", "-s", &number.to_string(), "show"]);
    let answer =
        tools.run(&call).map_err(|source| DevfsError::Tool { what: "read", number, source })?;
    Ok(parse(&answer.stdout))
}

/// Reads what `devfs rule show` prints: a number and a rule on each line. What has
/// no number is taken whole, so that it is never one of ours.
fn parse(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once(' ') {
            Some((number, rule)) if number.bytes().all(|b| b.is_ascii_digit()) => rule.to_owned(),
            _ => line.to_owned(),
        })
        .collect()
}

#[cfg(test)]
#[path = "devfs_tests.rs"]
mod tests;
