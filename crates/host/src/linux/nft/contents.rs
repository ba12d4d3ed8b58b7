//! Reads what the tables hold.
//!
//! Each element is told by one of its entries. What all elements are made of is
//! then compared with what is there: nothing may be missing, and nothing too
//! much.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kleene_engine::piece::{Gate, Piece};
use kleene_model::policy::NetworkRules;
use kleene_model::{Family, MacAddress, Ports, Protocol, Subnet};

use super::entry::{Entry, Held, Reader};
use super::families::FAMILIES;
use super::pieces::entries;
use super::set::Set;

/// What every set holds, as it was listed.
pub(super) type Listed = BTreeMap<Set, Vec<Entry>>;

/// What the tables hold, with these networks; `None` when that is not what any
/// elements are made of.
pub(super) fn elements(networks: &[NetworkRules], listed: &Listed) -> Option<BTreeSet<Piece>> {
    let mut elements: BTreeSet<Piece> =
        networks.iter().cloned().map(|rules| Piece::Rules { rules }).collect();
    for (set, entries) in listed {
        elements.extend(decode(*set, entries)?);
    }
    let there: BTreeSet<(Set, &Entry)> =
        listed.iter().flat_map(|(set, all)| all.iter().map(|entry| (*set, entry))).collect();
    let wanted = entries(&elements);
    let wanted: BTreeSet<(Set, &Entry)> = wanted.iter().map(|(set, entry)| (*set, entry)).collect();
    (there == wanted).then_some(elements)
}

/// What the entries of one set tell of; `None` when they tell nothing that could
/// be ours.
fn decode(set: Set, entries: &[Entry]) -> Option<Vec<Piece>> {
    match set {
        Set::Near4 => near(Family::V4, entries),
        Set::Near6 => near(Family::V6, entries),
        _ => {
            let read = entries.iter().map(|entry| one(set, entry)).collect::<Option<Vec<_>>>()?;
            Some(read.into_iter().flatten().collect())
        }
    }
}

/// `Some(None)` for an entry that belongs to an element that another one tells
/// of.
fn one(set: Set, entry: &Entry) -> Option<Option<Piece>> {
    let alone = set.spec().key.len() == 1;
    let mut key = Reader::new(&entry.key, alone);
    let told = match set {
        Set::Addresses4 => key.v4().and_then(|addr| key.done(Piece::Guard { addr })),
        Set::Addresses6 => key.v6().and_then(|addr| key.done(Piece::Guard { addr })),
        Set::Cables => key.name().and_then(|cable| key.done(Piece::Check { cable })),
        Set::Sources4 | Set::Sources6 => {
            let cable = key.name()?;
            let addr = addr(&mut key, set == Set::Sources4)?;
            key.done(Piece::Admit { cable, addr })
        }
        Set::Uplink4 | Set::Uplink6 => {
            let family = if set == Set::Uplink4 { Family::V4 } else { Family::V6 };
            key.name().and_then(|link| key.done(Piece::Uplink { family, link }))
        }
        Set::Nat4 | Set::Nat6 => {
            let link = key.name()?;
            let Some(Held::Bytes(source)) = &entry.value else { return None };
            let mut source = Reader::new(source, true);
            let addr = addr(&mut source, set == Set::Nat4)?;
            key.done(source.done(Piece::Way { link, addr })?)
        }
        Set::Round4 | Set::Round6 => {
            let v4 = set == Set::Round4;
            let from = addr(&mut key, v4)?;
            let addr = addr(&mut key, v4)?;
            key.done(Piece::Round { from, addr })
        }
        // The others come with it.
        Set::Logged if key.protocol()? == FAMILIES[0].number => key.done(Piece::LogDrops),
        Set::WireMacs => {
            let cable = key.name()?;
            let mac = MacAddress(key.mac()?);
            key.done(Piece::Fence { cable, mac })
        }
        Set::WireSources4 | Set::WireSources6 => {
            let cable = key.name()?;
            let addr = addr(&mut key, set == Set::WireSources4)?;
            // That of a MAC address comes with it.
            if is_link_local(addr) {
                return Some(None);
            }
            key.done(Piece::Speak { cable, addr })
        }
        _ => match port_set(set) {
            Some((what, gate, v4)) => port(what, gate, v4, entry, key),
            None => return Some(None),
        },
    };
    told.map(Some)
}

fn addr(reader: &mut Reader<'_>, v4: bool) -> Option<IpAddr> {
    if v4 { reader.v4() } else { reader.v6() }
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// What a set of ports is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Lead,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Nobody,
    Uplink,
    Link,
}

fn port_set(set: Set) -> Option<(What, By, bool)> {
    use By::{Link, Nobody, Uplink};
    use What::{Lead, Open};
    Some(match set {
        Set::Lead4 | Set::LeadRanges4 => (Lead, Nobody, true),
        Set::Lead6 | Set::LeadRanges6 => (Lead, Nobody, false),
        Set::LeadUplink4 | Set::LeadUplinkRanges4 => (Lead, Uplink, true),
        Set::LeadUplink6 | Set::LeadUplinkRanges6 => (Lead, Uplink, false),
        Set::LeadLinks4 | Set::LeadLinksRanges4 => (Lead, Link, true),
        Set::LeadLinks6 | Set::LeadLinksRanges6 => (Lead, Link, false),
        Set::Open4 | Set::OpenRanges4 => (Open, Nobody, true),
        Set::Open6 | Set::OpenRanges6 => (Open, Nobody, false),
        Set::OpenUplink4 | Set::OpenUplinkRanges4 => (Open, Uplink, true),
        Set::OpenUplink6 | Set::OpenUplinkRanges6 => (Open, Uplink, false),
        Set::OpenLinks4 | Set::OpenLinksRanges4 => (Open, Link, true),
        Set::OpenLinks6 | Set::OpenLinksRanges6 => (Open, Link, false),
        _ => return None,
    })
}

fn port(what: What, by: By, v4: bool, entry: &Entry, mut key: Reader<'_>) -> Option<Piece> {
    let gate = match by {
        By::Nobody => Gate::Inside,
        By::Uplink => Gate::Uplink,
        By::Link => Gate::Link(key.name()?),
    };
    if what == What::Open {
        let addr = addr(&mut key, v4)?;
        let protocol = Protocol::of_number(key.protocol()?)?;
        let first = key.port()?;
        key.done(())?;
        let last = last_port(entry.last.as_ref().unwrap_or(&entry.key))?;
        return Some(Piece::Open { gate, addr, protocol, ports: Ports { first, last } });
    }
    let protocol = Protocol::of_number(key.protocol()?)?;
    let host = key.port()?;
    key.done(())?;
    let Some(Held::Bytes(value)) = &entry.value else { return None };
    let mut value = Reader::new(value, false);
    let addr = addr(&mut value, v4)?;
    let (ports, inner) = match &entry.about {
        None => {
            let inner = value.port()?;
            value.done(())?;
            (Ports { first: host, last: host }, Ports { first: inner, last: inner })
        }
        Some(about) => {
            let (ports, inner) = about.split_once(" to ")?;
            (row(ports)?, row(inner)?)
        }
    };
    Some(Piece::Lead { gate, protocol, ports, addr, inner })
}

/// The port at the end of a key.
fn last_port(key: &[u8]) -> Option<u16> {
    let [.., high, low, 0, 0] = key else { return None };
    Some(u16::from_be_bytes([*high, *low]))
}

/// Ports, written in the one way in which we write them.
fn row(text: &str) -> Option<Ports> {
    Ports::parse(text).ok().filter(|ports| ports.to_string() == text)
}

/// Subnets by their first address and the first behind them.
fn near(family: Family, entries: &[Entry]) -> Option<Vec<Piece>> {
    let address = |bytes: &[u8]| addr(&mut Reader::new(bytes, true), family == Family::V4);
    let number = |bytes: &[u8]| address(bytes).map(kleene_model::addr::number);
    let mut ends = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.ends) {
        ends.insert(number(&entry.key)?);
    }
    let starts = entries.iter().filter(|entry| !entry.ends);
    let subnet = |entry: &Entry| {
        let first = number(&entry.key)?;
        let behind = ends.range(first.checked_add(1)?..).next().copied();
        // Up to the end of all addresses: as many as there are left.
        let top = if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
        let last = behind.map_or(top, |behind| behind - 1);
        let bits = u32::from(family.bits());
        let host = (last - first).checked_add(1).map_or(bits, u128::trailing_zeros);
        let prefix = bits.checked_sub(host)?;
        let text = format!("{}/{prefix}", family.address(first));
        let subnet = Subnet::parse(family, &text).ok()?;
        let Some(Held::Bytes(value)) = &entry.value else { return None };
        Some(Piece::Near { subnet, addr: address(value)? })
    };
    starts.map(subnet).collect()
}
