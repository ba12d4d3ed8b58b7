//! Why packets do not pass. Each rule that blocks has one: it is the rule's
//! comment, it stands beside what the rule has counted, and a packet that is told
//! of carries its number as a mark.

use std::borrow::Cow;

use super::rule::{ACCEPT, Compare, DROP, Expression, Meta, Register, Rule};
use super::set::Set;

/// Why a packet does not pass. The numbers in front are those of the policy's
/// rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    SameNoIcc,
    OtherNetwork,
    NotByNat,
    NotPublished,
    PublishedElsewhere,
    Internal,
    OwnAddresses,
    OthersAddress,
    OwnMac,
    NothingElse,
    Extensions,
    NoRouter,
    NotForContainer,
    NotAsContainer,
    Loopback,
    Redirect,
}

impl Reason {
    const ALL: [Self; 16] = [
        Self::SameNoIcc,
        Self::OtherNetwork,
        Self::NotByNat,
        Self::NotPublished,
        Self::PublishedElsewhere,
        Self::Internal,
        Self::OwnAddresses,
        Self::OthersAddress,
        Self::OwnMac,
        Self::NothingElse,
        Self::Extensions,
        Self::NoRouter,
        Self::NotForContainer,
        Self::NotAsContainer,
        Self::Loopback,
        Self::Redirect,
    ];

    /// The comment of the rule.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::SameNoIcc => "2: same network, no icc",
            Self::OtherNetwork => "3: other network",
            Self::NotByNat => "5: outside, not by the nat interface",
            Self::NotPublished => "9: not published",
            Self::PublishedElsewhere => "11: published elsewhere",
            Self::Internal => "13: internal",
            Self::OwnAddresses => "14, 15: a container has only its own addresses",
            Self::OthersAddress => "14: nobody else has a container's address",
            Self::OwnMac => "14: its own MAC address only",
            Self::NothingElse => "14: nothing else",
            Self::Extensions => "14: neighbour discovery without extensions",
            Self::NoRouter => "14: it is no router and knows no better way",
            Self::NotForContainer => "16: the host does not answer for a container",
            Self::NotAsContainer => "16: the host does not speak as a container",
            Self::Loopback => "127.0.0.0/8 is the host's own",
            Self::Redirect => "the way through the host is the only one",
        }
    }

    /// What a packet is marked with that does not pass: nobody looks at the mark
    /// but who tells of it.
    pub(super) fn mark(self) -> u32 {
        MARK | self as u32
    }

    pub(super) fn of_mark(mark: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.mark() == mark)
    }
}

/// How a packet is kept from passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Who asks is told at once.
    Refuse,
    /// Nobody is told.
    Drop,
}

impl Block {
    /// The chain that does it.
    pub(super) fn chain(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Drop => "discard",
        }
    }
}

/// A rule that lets pass what matches, and counts it.
pub(super) fn passes(
    chain: impl Into<Cow<'static, str>>,
    about: &'static str,
    mut when: Vec<Expression>,
) -> Rule {
    when.extend([Expression::Counter, Expression::Verdict(ACCEPT)]);
    Rule { chain: chain.into(), about, expressions: when }
}

/// A rule that blocks what matches, and counts it.
pub(super) fn blocks(
    chain: impl Into<Cow<'static, str>>,
    reason: Reason,
    how: Block,
    mut when: Vec<Expression>,
) -> Rule {
    when.extend([
        Expression::Counter,
        Expression::Number(reason.mark()),
        Expression::Mark(Register::FIRST),
        Expression::Goto(how.chain()),
    ]);
    Rule { chain: chain.into(), about: reason.text(), expressions: when }
}

/// The rules of the chains that block: what is asked for is told, then it ends.
pub(super) fn ends(how: Block, logged: Set) -> Vec<Rule> {
    let rule = |about, expressions| Rule { chain: how.chain().into(), about, expressions };
    let log = vec![
        Expression::Meta(Meta::Family),
        Expression::Lookup { set: logged.name(), has: true },
        Expression::Limit { rate: LOG_RATE, burst: LOG_BURST },
        Expression::Log { group: LOG_GROUP, length: LOG_LENGTH },
    ];
    let mut rules = vec![rule("told while somebody wants to know", log)];
    match how {
        Block::Drop => {
            rules.push(rule("nobody is told", vec![Expression::Verdict(DROP)]));
        }
        Block::Refuse => {
            const TCP: u8 = 6;
            let about = "who asks is told at once";
            let tcp = vec![
                Expression::Meta(Meta::Protocol),
                Expression::Is(Compare::Equal, TCP),
                Expression::Reject { reset: true },
            ];
            rules.push(rule(about, tcp));
            rules.push(rule(about, vec![Expression::Reject { reset: false }]));
        }
    }
    rules
}

/// How many blocked packets are told of in a second, by each of the chains, and
/// how many more at once.
const LOG_RATE: u32 = 10;
const LOG_BURST: u32 = 20;
/// The group of netfilter's log that they go to: "KL".
pub(super) const LOG_GROUP: u16 = 0x4b4c;
/// How much of a packet is told: headers with their options, and no content.
const LOG_LENGTH: u32 = 128;

/// "KL" in front of the number, for who looks at packets by other means.
const MARK: u32 = 0x4b4c_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_reasons_apart() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of_mark(reason.mark()), Some(reason));
        }
        assert_eq!(Reason::of_mark(0), None);
        assert_eq!(Reason::of_mark(MARK | 0xffff), None);
    }
}
