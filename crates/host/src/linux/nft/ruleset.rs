//! Rulesets as data, read from what the kernel lists: those of others, and what our
//! own has counted. No byte sequence makes it panic.

use std::collections::BTreeMap;

use super::attributes::{attributes, values};
use super::entry::text;

/// A table by its family and name.
pub(super) type TableKey = (u8, String);

/// A table that is not ours.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) chains: BTreeMap<String, Chain>,
    pub(super) sets: BTreeMap<String, Set>,
}

/// A chain with its rules.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

/// What a chain has that the kernel calls itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hook: u32,
    pub(super) priority: i32,
    pub(super) drops: bool,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) handle: u64,
    pub(super) expressions: Vec<Expression>,
}

/// What a rule is made of: its kind, and its own attributes.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) kind: String,
    data: Vec<u8>,
}

impl Expression {
    /// An attribute.
    pub(super) fn value(&self, kind: u16) -> Option<&[u8]> {
        values(&self.data, kind).next()
    }

    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        self.value(kind).and_then(number)
    }

    pub(super) fn text(&self, kind: u16) -> Option<String> {
        self.value(kind).and_then(text)
    }

    /// Bytes to compare with.
    pub(super) fn bytes(&self, kind: u16) -> Option<&[u8]> {
        self.value(kind).and_then(bytes)
    }

    /// What is to become of the packet.
    pub(super) fn verdict(&self, kind: u16) -> Option<Verdict> {
        self.value(kind).and_then(verdict)
    }
}

/// What a rule or an element decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    Continue,
    /// Somebody else decides, in the kernel or outside.
    Any,
}

/// A set or map.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) flags: u32,
    /// The lengths of what its keys are made of, where they are made of several.
    pub(super) fields: Vec<usize>,
    /// `None` when they were not read.
    pub(super) elements: Option<Vec<Element>>,
}

impl Set {
    const INTERVAL: u32 = 0x4;
    const CONCATENATION: u32 = 0x80;
    /// Packets add to it, or take away.
    const EVALUATED: u32 = 0x20;

    pub(super) fn is_interval(&self) -> bool {
        self.flags & Self::INTERVAL != 0
    }

    pub(super) fn is_concatenation(&self) -> bool {
        self.flags & Self::CONCATENATION != 0
    }

    pub(super) fn is_changing(&self) -> bool {
        self.flags & Self::EVALUATED != 0
    }
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) last: Option<Vec<u8>>,
    /// The first that is not in the interval before it.
    pub(super) ends: bool,
    pub(super) catches_all: bool,
    pub(super) verdict: Option<Verdict>,
    pub(super) data: Option<Vec<u8>>,
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn bytes(value: &[u8]) -> Option<&[u8]> {
    const VALUE: u16 = 1;
    values(value, VALUE).next()
}

fn verdict(value: &[u8]) -> Option<Verdict> {
    const VERDICT: u16 = 2;
    let value = values(value, VERDICT).next()?;
    let code = number(values(value, 1).next()?)?.cast_signed();
    let chain = || values(value, 2).next().and_then(text);
    Some(match code {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        _ => Verdict::Any,
    })
}

/// A table's name, and whether it sleeps.
pub(super) fn table(listed: &[u8]) -> Option<(String, bool)> {
    const DORMANT: u32 = 1;
    let name = values(listed, 1).next().and_then(text)?;
    let flags = values(listed, 2).next().and_then(number).unwrap_or(0);
    Some((name, flags & DORMANT != 0))
}

/// A chain: of which table, its name, and what calls it.
pub(super) fn chain(listed: &[u8]) -> Option<(String, String, Option<Base>)> {
    let of = values(listed, 1).next().and_then(text)?;
    let name = values(listed, 3).next().and_then(text)?;
    let base = values(listed, 4).next().and_then(|hook| {
        let hook_number = values(hook, 1).next().and_then(number)?;
        let priority = values(hook, 2).next().and_then(number)?.cast_signed();
        let policy = values(listed, 5).next().and_then(number);
        Some(Base { hook: hook_number, priority, drops: policy == Some(0) })
    });
    Some((of, name, base))
}

/// A rule: in which chain.
pub(super) fn rule(listed: &[u8]) -> Option<(String, Rule)> {
    let chain = values(listed, 2).next().and_then(text)?;
    let handle = values(listed, 3).next()?;
    let handle = u64::from_be_bytes(handle.try_into().ok()?);
    let list = values(listed, 4).next().unwrap_or_default();
    let expressions = values(list, 1).map(|one| Expression {
        // One that cannot be read is one that nobody knows.
        kind: values(one, 1).next().and_then(text).unwrap_or_default(),
        data: values(one, 2).next().unwrap_or_default().to_vec(),
    });
    Some((chain, Rule { handle, expressions: expressions.collect() }))
}

/// A set, still without elements, and its name.
pub(super) fn set(listed: &[u8]) -> Option<(String, Set)> {
    let name = values(listed, 2).next().and_then(text)?;
    let flags = values(listed, 3).next().and_then(number).unwrap_or(0);
    let list = values(listed, 9).next().and_then(|about| values(about, 2).next());
    let fields = values(list.unwrap_or_default(), 1).filter_map(|field| {
        let length = values(field, 1).next().and_then(number)?;
        usize::try_from(length).ok().filter(|length| *length <= 64)
    });
    Some((name, Set { flags, fields: fields.collect(), elements: None }))
}

/// Elements of a set; `None` when one cannot be read.
pub(super) fn elements(listed: &[u8]) -> Option<Vec<Element>> {
    let lists = values(listed, 3);
    lists.flat_map(|list| values(list, 1)).map(element).collect()
}

fn element(listed: &[u8]) -> Option<Element> {
    const ENDS: u32 = 1;
    const CATCHES_ALL: u32 = 2;
    let found = |kind| attributes(listed).find(|one| one.kind == kind).map(|one| one.value);
    let flags = found(3).and_then(number).unwrap_or(0);
    let catches_all = flags & CATCHES_ALL != 0;
    let key = found(1).and_then(bytes).map(<[u8]>::to_vec);
    Some(Element {
        key: if catches_all { key.unwrap_or_default() } else { key? },
        last: found(10).and_then(bytes).map(<[u8]>::to_vec),
        ends: flags & ENDS != 0,
        catches_all,
        verdict: found(2).and_then(verdict),
        data: found(2).and_then(bytes).map(<[u8]>::to_vec),
    })
}
