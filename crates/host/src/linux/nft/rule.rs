//! Chains and rules. A rule is a list of expressions, which work on the kernel's
//! registers from left to right until one does not match.

use std::borrow::Cow;

use super::attributes::Writer;
use super::layout::{comment, described};
use super::translate::Translate;

pub(super) const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;
/// Go on in another chain, then come back.
const JUMP: u32 = (-3_i32).cast_unsigned();
/// Go on in another chain.
const GOTO: u32 = (-4_i32).cast_unsigned();

/// What a chain that a hook calls may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Let packets pass or not.
    Filter,
    /// Translate the first packet of a flow, and so all others.
    Translate,
}

/// Where the kernel calls a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) does: Does,
    /// Its number.
    pub(super) number: u32,
    /// The place among all that are called there.
    pub(super) priority: i32,
}

impl Hook {
    pub(super) fn filter(number: u32, priority: i32) -> Option<Self> {
        Some(Self { does: Does::Filter, number, priority })
    }

    pub(super) fn translate(number: u32, priority: i32) -> Option<Self> {
        Some(Self { does: Does::Translate, number, priority })
    }
}

/// A chain of rules.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) name: Cow<'static, str>,
    /// What calls it; `None` for one that only others go to.
    pub(super) hook: Option<Hook>,
    pub(super) about: Option<String>,
}

impl Chain {
    pub(super) fn new(name: &'static str, hook: Option<Hook>) -> Self {
        Self { name: Cow::Borrowed(name), hook, about: None }
    }

    pub(super) fn bytes(&self, table: &str) -> Vec<u8> {
        const HOOK: u16 = 4;
        const POLICY: u16 = 5;
        const TYPE: u16 = 7;
        described(table, |w| {
            w.text(CHAIN_NAME, &self.name);
            if let Some(hook) = self.hook {
                w.nest(HOOK, |w| {
                    w.number(1, hook.number);
                    w.number(2, hook.priority.cast_unsigned());
                });
                w.number(POLICY, ACCEPT);
                w.text(
                    TYPE,
                    match hook.does {
                        Does::Filter => "filter",
                        Does::Translate => "nat",
                    },
                );
            }
            if let Some(about) = &self.about {
                w.put(CHAIN_USERDATA, &comment(0, about));
            }
        })
    }
}

/// Where a chain's description has its name.
pub(super) const CHAIN_NAME: u16 = 3;
/// Where a chain's description has its comment.
pub(super) const CHAIN_USERDATA: u16 = 12;

/// A rule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) chain: Cow<'static, str>,
    pub(super) about: &'static str,
    pub(super) expressions: Vec<Expression>,
}

impl Rule {
    pub(super) fn bytes(&self, table: &str) -> Vec<u8> {
        const CHAIN: u16 = 2;
        const EXPRESSIONS: u16 = 4;
        const USERDATA: u16 = 7;
        described(table, |w| {
            w.text(CHAIN, &self.chain);
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
    Unequal = 1,
    AtMost = 3,
    AtLeast = 5,
}

/// A place of 4 bytes among those that expressions work on. What is longer
/// begins there and goes on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(pub(super) u8);

impl Register {
    pub(super) const FIRST: Self = Self(0);
    pub(super) const SECOND: Self = Self(4);

    /// The kernel's number: of those at the beginning of 16 bytes, and else of
    /// those of 4 bytes. It tells them so, too.
    pub(super) fn number(self) -> u32 {
        let number = u32::from(self.0);
        if number.is_multiple_of(4) { number / 4 + 1 } else { number + 8 }
    }
}

/// Where in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// What is known about a packet besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// The type of what a frame holds.
    Holds = 1,
    Mark = 3,
    InName = 6,
    OutName = 7,
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

/// What is known about a packet's flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Whether it is new, goes on, or comes from another.
    State = 0,
    /// What was done to it.
    Status = 2,
}

/// Which of a packet's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source = 1,
    Destination = 2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads into the first register.
    Meta(Meta),
    /// The same into that register.
    Know {
        what: Meta,
        to: Register,
    },
    /// Marks the packet with what is in a register.
    Mark(Register),
    /// Loads into the first register whether the packet's socket is bound to no
    /// address. Matches when there is a socket.
    Wildcard,
    /// Loads a part of the packet.
    Payload {
        header: Header,
        offset: u32,
        length: u32,
        to: Register,
    },
    /// Writes a part of the header of the network layer, and makes checksums
    /// right: that of UDP, and that of the header where it has one.
    Write {
        offset: u32,
        length: u32,
        from: Register,
        checksum: Option<u32>,
    },
    /// Loads a number of four bytes, never 0, that stands for what is in a
    /// register, in its place: the same for the same.
    Hash {
        register: Register,
        length: u32,
    },
    /// Matches the first byte of the first register.
    Is(Compare, u8),
    /// Matches the bytes at the beginning of the first register.
    Reads(Compare, Vec<u8>),
    /// Clears the bits of the first register that are not in the mask.
    And(Vec<u8>),
    /// Loads into the first register what is known of the flow.
    Flow(Flow),
    /// Loads into the first register what the source, or the destination, is to
    /// the host.
    Type {
        of: End,
    },
    /// Matches when the set has what begins in the first register, or has not.
    Lookup {
        set: &'static str,
        has: bool,
    },
    /// Does what a map says for what begins in the first register.
    Dispatch {
        map: &'static str,
    },
    /// The same for what begins in that register.
    Among {
        set: &'static str,
        from: Register,
    },
    /// Loads what a map has for what begins in a register.
    Map {
        map: &'static str,
        key: Register,
        to: Register,
    },
    /// Changes an element of a set, or of a map.
    Keep {
        keep: Keep,
        set: &'static str,
        key: Register,
        value: Option<Register>,
    },
    /// Counts packets and bytes.
    Counter,
    /// Loads a number into the first register.
    Number(u32),
    /// Matches so many times in a second, and as many more at once.
    Limit {
        rate: u32,
        burst: u32,
    },
    /// Tells who listens to the group of a packet: so many of its bytes.
    Log {
        group: u16,
        length: u32,
    },
    /// Ends the chain.
    Verdict(u32),
    /// Goes through another chain.
    Jump(&'static str),
    /// Goes on in another chain.
    Goto(&'static str),
    /// Tells the sender that it may not: by a reset of its connection, or by
    /// ICMP.
    Reject {
        reset: bool,
    },
    Translate(Translate),
}

impl Expression {
    /// Writes one that does something.
    fn write_deed(&self, w: &mut Writer) {
        match *self {
            Self::Write { offset, length, from, checksum } => expression(w, "payload", |w| {
                place(w, Header::Network, offset, length);
                w.number(5, from.number());
                w.number(6, u32::from(checksum.is_some()));
                w.number(7, checksum.unwrap_or(0));
                // That of the transport layer sums up addresses, too.
                w.number(8, 1);
            }),
            Self::Keep { keep, set, key, value } => expression(w, "dynset", |w| {
                w.text(1, set);
                w.number(3, keep as u32);
                w.number(4, key.number());
                value.into_iter().for_each(|value| w.number(5, value.number()));
            }),
            Self::Counter => expression(w, "counter", |_| {}),
            Self::Number(number) => expression(w, "immediate", |w| {
                w.number(1, Register::FIRST.number());
                w.nest(2, |w| w.put(1, &number.to_ne_bytes()));
            }),
            Self::Limit { rate, burst } => expression(w, "limit", |w| {
                w.put(1, &u64::from(rate).to_be_bytes());
                // In seconds.
                w.put(2, &1_u64.to_be_bytes());
                w.number(3, burst);
            }),
            Self::Log { group, length } => expression(w, "log", |w| {
                w.put(1, &group.to_be_bytes());
                w.number(3, length);
            }),
            Self::Verdict(code) => verdict(w, |w| w.number(1, code)),
            Self::Jump(chain) => verdict(w, |w| {
                w.number(1, JUMP);
                w.text(2, chain);
            }),
            Self::Goto(chain) => verdict(w, |w| {
                w.number(1, GOTO);
                w.text(2, chain);
            }),
            Self::Reject { reset } => expression(w, "reject", |w| {
                // A reset, or what both families call prohibited by somebody.
                w.number(1, if reset { 1 } else { 2 });
                if !reset {
                    w.put(2, &[3]);
                }
            }),
            Self::Translate(translate) => translate.write(w),
            // What only looks is written before.
            _ => {}
        }
    }

    fn write(&self, w: &mut Writer) {
        let first = Register::FIRST.number();
        match *self {
            Self::Meta(what) => Self::Know { what, to: Register::FIRST }.write(w),
            Self::Know { what, to } => expression(w, "meta", |w| {
                w.number(1, to.number());
                w.number(2, what as u32);
            }),
            Self::Mark(from) => expression(w, "meta", |w| {
                w.number(2, Meta::Mark as u32);
                w.number(3, from.number());
            }),
            Self::Wildcard => expression(w, "socket", |w| {
                w.number(1, 2);
                w.number(2, first);
            }),
            Self::Payload { header, offset, length, to } => expression(w, "payload", |w| {
                w.number(1, to.number());
                place(w, header, offset, length);
            }),
            Self::Hash { register, length } => expression(w, "hash", |w| {
                w.number(1, register.number());
                w.number(2, register.number());
                w.number(3, length);
                w.number(4, u32::MAX);
                w.number(6, 1);
            }),
            Self::Is(compare, byte) => expression(w, "cmp", |w| {
                w.number(1, first);
                w.number(2, compare as u32);
                w.nest(3, |w| w.put(1, &[byte]));
            }),
            Self::Reads(compare, ref bytes) => expression(w, "cmp", |w| {
                w.number(1, first);
                w.number(2, compare as u32);
                w.nest(3, |w| w.put(1, bytes));
            }),
            Self::And(ref mask) => expression(w, "bitwise", |w| {
                w.number(1, first);
                w.number(2, first);
                w.number(3, u32::try_from(mask.len()).expect("registers are short"));
                w.nest(4, |w| w.put(1, mask));
                w.nest(5, |w| w.put(1, &vec![0; mask.len()]));
            }),
            Self::Flow(what) => expression(w, "ct", |w| {
                w.number(1, first);
                w.number(2, what as u32);
            }),
            Self::Type { of } => expression(w, "fib", |w| {
                w.number(1, first);
                // The type of an address.
                w.number(2, 3);
                w.number(3, of as u32);
            }),
            Self::Lookup { set, has } => lookup(w, set, first, |w| w.number(5, u32::from(!has))),
            Self::Dispatch { map } => lookup(w, map, first, |w| w.number(3, 0)),
            Self::Among { set, from } => lookup(w, set, from.number(), |_| ()),
            Self::Map { map, key, to } => {
                lookup(w, map, key.number(), |w| w.number(3, to.number()))
            }
            _ => self.write_deed(w),
        }
    }
}

/// The value of an element that leads to a chain.
pub(super) fn goto(w: &mut Writer, chain: &str) {
    const DATA_VERDICT: u16 = 2;
    w.nest(DATA_VERDICT, |w| {
        w.number(1, GOTO);
        w.text(2, chain);
    });
}

pub(super) fn expression(w: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
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
