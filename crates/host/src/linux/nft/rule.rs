//! Chains and rules. A rule is a list of expressions, which work on the kernel's
//! registers from left to right until one does not match.

use super::attributes::Writer;
use super::layout::{comment, described};

pub(super) const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;
/// Go on in another chain, then come back.
const JUMP: u32 = (-3_i32).cast_unsigned();

/// A chain that a hook of the kernel calls, or a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// The hook and the place among all that it calls.
    pub(super) hook: Option<(u32, i32)>,
}

impl Chain {
    pub(super) fn bytes(self, table: &str) -> Vec<u8> {
        const NAME: u16 = 3;
        const HOOK: u16 = 4;
        const POLICY: u16 = 5;
        const TYPE: u16 = 7;
        described(table, |w| {
            w.text(NAME, self.name);
            let Some((hook, priority)) = self.hook else { return };
            w.nest(HOOK, |w| {
                w.number(1, hook);
                w.number(2, priority.cast_unsigned());
            });
            w.number(POLICY, ACCEPT);
            w.text(TYPE, "filter");
        })
    }
}

/// A rule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) chain: &'static str,
    pub(super) about: &'static str,
    pub(super) expressions: Vec<Expression>,
}

impl Rule {
    pub(super) fn bytes(&self, table: &str) -> Vec<u8> {
        const CHAIN: u16 = 2;
        const EXPRESSIONS: u16 = 4;
        const USERDATA: u16 = 7;
        described(table, |w| {
            w.text(CHAIN, self.chain);
            w.nest(EXPRESSIONS, |w| {
                self.expressions.iter().for_each(|expression| expression.write(w));
            });
            w.put(USERDATA, &comment(0, self.about));
        })
    }
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal = 0,
    AtMost = 3,
    AtLeast = 5,
}

/// Registers of 16 bytes, and parts of 4 of them, which the kernel numbers from
/// 8 on. What has several parts begins in the first and goes on in those behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Register {
    First = 1,
    Second = 2,
    Third = 3,
    FirstB = 9,
    FirstC = 10,
    SecondB = 13,
    ThirdB = 17,
}

/// Where in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

/// What is known about a packet besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    Mark = 3,
    InName = 6,
    Family = 15,
    Protocol = 16,
    /// Whom its frame is for.
    FrameTo = 19,
}

/// What is done to an element of a set by a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is there, as it is or new.
    Add = 0,
    /// It is there, as it is or new, and its time begins again.
    Update = 1,
    /// It is there no longer.
    Delete = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads into the first register.
    Meta(Meta),
    /// The same into that register.
    Know { what: Meta, to: Register },
    /// Marks the packet with what is in a register.
    Mark(Register),
    /// Loads into the first register whether the packet's socket is bound to no
    /// address. Matches when there is a socket.
    Wildcard,
    /// Loads a part of the packet.
    Payload { header: Header, offset: u32, length: u32, to: Register },
    /// Writes a part of the header of the network layer, and makes checksums
    /// right: that of UDP, and that of the header where it has one.
    Write { offset: u32, length: u32, from: Register, checksum: Option<u32> },
    /// Loads a number of four bytes, never 0, that stands for what is in a
    /// register, in its place: the same for the same.
    Hash { register: Register, length: u32 },
    /// Matches the first byte of the first register.
    Is(Compare, u8),
    /// Matches when the set has what begins in a register, or has not.
    Lookup { set: &'static str, has: bool },
    /// The same for what begins in that register.
    Among { set: &'static str, from: Register },
    /// Loads what a map has for what begins in a register.
    Map { map: &'static str, key: Register, to: Register },
    /// Changes an element of a set, or of a map.
    Keep { keep: Keep, set: &'static str, key: Register, value: Option<Register> },
    /// Counts packets and bytes.
    Counter,
    /// Ends the chain.
    Verdict(u32),
    /// Goes through another chain.
    Jump(&'static str),
}

impl Expression {
    fn write(self, w: &mut Writer) {
        let first = Register::First as u32;
        match self {
            Self::Meta(what) => Self::Know { what, to: Register::First }.write(w),
            Self::Know { what, to } => expression(w, "meta", |w| {
                w.number(1, to as u32);
                w.number(2, what as u32);
            }),
            Self::Mark(from) => expression(w, "meta", |w| {
                w.number(2, Meta::Mark as u32);
                w.number(3, from as u32);
            }),
            Self::Wildcard => expression(w, "socket", |w| {
                w.number(1, 2);
                w.number(2, first);
            }),
            Self::Payload { header, offset, length, to } => expression(w, "payload", |w| {
                w.number(1, to as u32);
                place(w, header, offset, length);
            }),
            Self::Write { offset, length, from, checksum } => expression(w, "payload", |w| {
                place(w, Header::Network, offset, length);
                w.number(5, from as u32);
                w.number(6, u32::from(checksum.is_some()));
                w.number(7, checksum.unwrap_or(0));
                // That of the transport layer sums up addresses, too.
                w.number(8, 1);
            }),
            Self::Hash { register, length } => expression(w, "hash", |w| {
                w.number(1, register as u32);
                w.number(2, register as u32);
                w.number(3, length);
                w.number(4, u32::MAX);
                w.number(6, 1);
            }),
            Self::Is(compare, byte) => expression(w, "cmp", |w| {
                w.number(1, first);
                w.number(2, compare as u32);
                w.nest(3, |w| w.put(1, &[byte]));
            }),
            Self::Lookup { set, has } => lookup(w, set, first, |w| w.number(5, u32::from(!has))),
            Self::Among { set, from } => lookup(w, set, from as u32, |_| ()),
            Self::Map { map, key, to } => lookup(w, map, key as u32, |w| w.number(3, to as u32)),
            Self::Keep { keep, set, key, value } => expression(w, "dynset", |w| {
                w.text(1, set);
                w.number(3, keep as u32);
                w.number(4, key as u32);
                value.into_iter().for_each(|value| w.number(5, value as u32));
            }),
            Self::Counter => expression(w, "counter", |_| {}),
            Self::Verdict(code) => verdict(w, |w| w.number(1, code)),
            Self::Jump(chain) => verdict(w, |w| {
                w.number(1, JUMP);
                w.text(2, chain);
            }),
        }
    }
}

fn expression(w: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    w.nest(1, |w| {
        w.text(1, name);
        w.nest(2, fill);
    });
}

fn place(w: &mut Writer, header: Header, offset: u32, length: u32) {
    w.number(2, header as u32);
    w.number(3, offset);
    w.number(4, length);
}

fn lookup(w: &mut Writer, set: &str, from: u32, fill: impl FnOnce(&mut Writer)) {
    expression(w, "lookup", |w| {
        w.text(1, set);
        w.number(2, from);
        fill(w);
    });
}

fn verdict(w: &mut Writer, fill: impl FnOnce(&mut Writer)) {
    expression(w, "immediate", |w| {
        w.number(1, 0);
        w.nest(2, |w| w.nest(2, fill));
    });
}
