//! What is in a set, as the kernel has it.

use kleene_model::LinkName;
use std::net::IpAddr;

use super::attributes::{Writer, values};
use super::rule::goto;
use super::set::{Keys, Part, Set, Value};

/// An element: a key, or all from one to another, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    /// The last key, where a set of several parts has ranges.
    pub(super) last: Option<Vec<u8>>,
    /// Whether it is the end of a range of single parts: the first key behind it.
    pub(super) ends: bool,
    pub(super) value: Option<Held>,
    /// What it was made of, where that cannot be told from it.
    pub(super) about: Option<String>,
}

/// What an element leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    Bytes(Vec<u8>),
    Chain(String),
}

const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_USERDATA: u16 = 6;
const ELEM_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CHAIN: u16 = 2;
const INTERVAL_END: u32 = 1;
/// Where a message has its elements.
pub(super) const ELEMENTS: u16 = 3;

impl Entry {
    /// One key.
    pub(super) fn exact(key: Vec<u8>) -> Self {
        Self { key, last: None, ends: false, value: None, about: None }
    }

    /// All from one key to another, of several parts.
    pub(super) fn range(first: Vec<u8>, last: Vec<u8>) -> Self {
        Self { last: Some(last), ..Self::exact(first) }
    }

    pub(super) fn with(self, value: Held) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Appends it to the elements of a message.
    pub(super) fn write(&self, w: &mut Writer) {
        w.nest(LIST_ELEM, |w| {
            if self.ends {
                w.number(ELEM_FLAGS, INTERVAL_END);
            }
            w.nest(ELEM_KEY, |w| w.put(DATA_VALUE, &self.key));
            if let Some(last) = &self.last {
                w.nest(ELEM_KEY_END, |w| w.put(DATA_VALUE, last));
            }
            match &self.value {
                None => {}
                Some(Held::Bytes(bytes)) => w.nest(ELEM_DATA, |w| w.put(DATA_VALUE, bytes)),
                Some(Held::Chain(chain)) => w.nest(ELEM_DATA, |w| goto(w, chain)),
            }
            if let Some(about) = &self.about {
                w.put(ELEM_USERDATA, &super::layout::comment(0, about));
            }
        });
    }

    /// An element as the kernel lists it; `None` when nothing of ours is like
    /// it.
    fn read(element: &[u8]) -> Option<Self> {
        let one = |kind| values(element, kind).next();
        let bytes = |nested| Some(values(nested, DATA_VALUE).next()?.to_vec());
        let flags = one(ELEM_FLAGS)
            .map_or(Some(0), |flags| Some(u32::from_be_bytes(flags.try_into().ok()?)))?;
        let value = match one(ELEM_DATA) {
            None => None,
            Some(data) => Some(match values(data, DATA_VERDICT).next() {
                Some(verdict) => Held::Chain(text(values(verdict, VERDICT_CHAIN).next()?)?),
                None => Held::Bytes(bytes(data)?),
            }),
        };
        Some(Self {
            key: bytes(one(ELEM_KEY)?)?,
            last: one(ELEM_KEY_END).map_or(Some(None), |last| bytes(last).map(Some))?,
            ends: flags & INTERVAL_END != 0,
            value,
            about: one(ELEM_USERDATA).map_or(Some(None), |data| read_comment(data).map(Some))?,
        })
    }
}

/// The elements in one message of a list; `None` when one of them is like none
/// of ours.
pub(super) fn read(set: Set, attributes: &[u8]) -> Option<Vec<Entry>> {
    let spec = set.spec();
    let fits = |entry: &Entry| match (spec.value, &entry.value) {
        (Value::None, None) | (Value::Chain, Some(Held::Chain(_))) => true,
        (Value::Parts(_) | Value::Ranges(_), Some(Held::Bytes(_))) => true,
        // The end of a range leads nowhere.
        (Value::Chain | Value::Parts(_) | Value::Ranges(_), None) => {
            entry.ends && spec.keys == Keys::Ranges
        }
        _ => false,
    };
    let list = values(attributes, ELEMENTS).flat_map(|list| values(list, LIST_ELEM));
    list.map(|element| Entry::read(element).filter(fits)).collect()
}

/// A text, with the zero byte at its end or without.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

/// A comment, as `nft` and [`super::layout::comment`] write it.
pub(super) fn read_comment(userdata: &[u8]) -> Option<String> {
    let [0, length, rest @ ..] = userdata else { return None };
    text(rest.get(..usize::from(*length))?)
}

/// Bytes of an interface's name in a key.
const NAME: usize = 16;

/// A piece of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    Name(&'a LinkName),
    Addr(IpAddr),
    Mac([u8; 6]),
    Protocol(u8),
    Port(u16),
}

/// The key of several fields, of which each fills whole registers.
pub(super) fn key(fields: &[Field<'_>]) -> Vec<u8> {
    let alone = fields.len() == 1;
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Field::Name(name) => {
                let end = bytes.len() + NAME;
                bytes.extend_from_slice(name.as_str().as_bytes());
                bytes.resize(end, 0);
            }
            Field::Addr(IpAddr::V4(v4)) => bytes.extend(v4.octets()),
            Field::Addr(IpAddr::V6(v6)) => bytes.extend(v6.octets()),
            Field::Mac(mac) => bytes.extend(mac),
            Field::Protocol(number) => bytes.push(*number),
            Field::Port(port) => bytes.extend(port.to_be_bytes()),
        }
        if !alone {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

/// Takes a key apart again.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    alone: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], alone: bool) -> Self {
        Self { rest: bytes, alone }
    }

    fn take(&mut self, part: Part) -> Option<&'a [u8]> {
        let length = part.length();
        let filled = if self.alone { length } else { length.next_multiple_of(4) };
        let (field, rest) = self.rest.split_at_checked(filled)?;
        let (value, padding) = field.split_at_checked(length)?;
        self.rest = rest;
        padding.iter().all(|byte| *byte == 0).then_some(value)
    }

    pub(super) fn name(&mut self) -> Option<LinkName> {
        let name = std::str::from_utf8(self.take(Part::Name)?).ok()?.trim_end_matches('\0');
        LinkName::parse(name).ok()
    }

    pub(super) fn v4(&mut self) -> Option<IpAddr> {
        Some(IpAddr::from(<[u8; 4]>::try_from(self.take(Part::V4)?).ok()?))
    }

    pub(super) fn v6(&mut self) -> Option<IpAddr> {
        Some(IpAddr::from(<[u8; 16]>::try_from(self.take(Part::V6)?).ok()?))
    }

    pub(super) fn mac(&mut self) -> Option<[u8; 6]> {
        self.take(Part::Mac)?.try_into().ok()
    }

    pub(super) fn protocol(&mut self) -> Option<u8> {
        self.take(Part::Protocol)?.first().copied()
    }

    pub(super) fn port(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(Part::Port)?.try_into().ok()?))
    }

    /// What was read, if nothing is left.
    pub(super) fn done<T>(self, read: T) -> Option<T> {
        self.rest.is_empty().then_some(read)
    }
}
