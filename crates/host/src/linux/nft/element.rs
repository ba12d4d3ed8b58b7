//! Kleene's sets, and what can be in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kleene_model::LinkName;

use super::attributes::{Writer, values};

/// Bytes of an interface's name in a key.
const NAME: usize = 16;

/// One element of Kleene's sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A container's address that stands on the host: the host neither answers
    /// on it nor speaks from it.
    Guarded(IpAddr),
    /// The host's end of a routed cable: what comes in there needs a
    /// [`Source`](Self::Source).
    Cable(LinkName),
    /// An address that may be the source of what comes in by a cable.
    Source {
        /// The cable's end on the host.
        cable: LinkName,
        /// The source.
        addr: IpAddr,
    },
}

impl Element {
    /// The set that it belongs to.
    pub(super) fn set(&self) -> Set {
        match self {
            Self::Guarded(IpAddr::V4(_)) => Set::Addresses4,
            Self::Guarded(IpAddr::V6(_)) => Set::Addresses6,
            Self::Cable(_) => Set::Cables,
            Self::Source { addr: IpAddr::V4(_), .. } => Set::Sources4,
            Self::Source { addr: IpAddr::V6(_), .. } => Set::Sources6,
        }
    }

    /// Its key: every part fills whole registers, so that an interface's name
    /// is padded.
    fn key(&self) -> Vec<u8> {
        match self {
            Self::Guarded(addr) => ip_bytes(*addr),
            Self::Cable(cable) => name_bytes(cable),
            Self::Source { cable, addr } => [name_bytes(cable), ip_bytes(*addr)].concat(),
        }
    }

    /// Appends it to the elements of a message.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.nest(LIST_ELEM, |w| w.nest(ELEM_KEY, |w| w.put(DATA_VALUE, &self.key())));
    }
}

const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const DATA_VALUE: u16 = 1;
/// Where a message has its elements.
pub(super) const ELEMENTS: u16 = 3;

fn name_bytes(name: &LinkName) -> Vec<u8> {
    let mut bytes = name.as_str().as_bytes().to_vec();
    bytes.resize(NAME, 0);
    bytes
}

fn ip_bytes(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// One of Kleene's sets, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    Addresses4,
    Addresses6,
    Cables,
    Sources4,
    Sources6,
}

impl Set {
    pub(super) const ALL: [Self; 5] =
        [Self::Addresses4, Self::Addresses6, Self::Cables, Self::Sources4, Self::Sources6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Addresses4 => "addresses4",
            Self::Addresses6 => "addresses6",
            Self::Cables => "cables",
            Self::Sources4 => "sources4",
            Self::Sources6 => "sources6",
        }
    }

    /// The element with that key, if it is one that this set may have.
    fn element(self, key: &[u8]) -> Option<Element> {
        let v4 = |key: &[u8]| Some(Ipv4Addr::from(<[u8; 4]>::try_from(key).ok()?).into());
        let v6 = |key: &[u8]| Some(Ipv6Addr::from(<[u8; 16]>::try_from(key).ok()?).into());
        let source = |addr: fn(&[u8]) -> Option<IpAddr>| {
            let (name, rest) = key.split_at_checked(NAME)?;
            Some(Element::Source { cable: link(name)?, addr: addr(rest)? })
        };
        match self {
            Self::Addresses4 => v4(key).map(Element::Guarded),
            Self::Addresses6 => v6(key).map(Element::Guarded),
            Self::Cables if key.len() == NAME => link(key).map(Element::Cable),
            Self::Cables => None,
            Self::Sources4 => source(v4),
            Self::Sources6 => source(v6),
        }
    }

    /// The elements in one message of a list; `None` when one of them is not
    /// of ours.
    pub(super) fn read(self, attributes: &[u8]) -> Option<Vec<Element>> {
        let keys = values(attributes, ELEMENTS).flat_map(|list| values(list, LIST_ELEM));
        keys.map(|element| {
            let key = values(element, ELEM_KEY).next()?;
            self.element(values(key, DATA_VALUE).next()?)
        })
        .collect()
    }
}

/// The name in a padded key, if nothing stands behind its end.
fn link(bytes: &[u8]) -> Option<LinkName> {
    let name = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    LinkName::parse(name).ok()
}

/// The elements by their sets, each once.
pub(super) fn by_set<'a>(
    elements: impl IntoIterator<Item = &'a Element>,
) -> BTreeMap<Set, Vec<&'a Element>> {
    let mut sets: BTreeMap<Set, Vec<&Element>> = BTreeMap::new();
    for element in elements {
        sets.entry(element.set()).or_default().push(element);
    }
    sets
}
