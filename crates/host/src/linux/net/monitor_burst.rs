//! Reads what the kernel tells of its network, and gathers it until it is told
//! on. Pure functions: no byte sequence makes them panic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_engine::change::Mark;
use kleene_model::LinkName;

use super::monitor::{LinkState, RouteTable, Seen};
use super::request::{LOCAL, MAIN};
use super::request_route::PROTOCOL;
use super::wire::{self, AF_INET6, Frame, LinkRecord, Malformed, RouteKind, frames, kind};
use crate::linux::nft;

/// A link as far as somebody is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// `None` for a name that nobody could spell.
    name: Option<LinkName>,
    up: bool,
    master: Option<u32>,
    mark: Option<Mark>,
}

impl Known {
    fn of(record: &LinkRecord) -> Self {
        Self {
            name: record.name.as_deref().and_then(|name| LinkName::parse(name).ok()),
            up: record.up,
            master: record.master,
            mark: record.alias.as_deref().and_then(Mark::parse),
        }
    }
}

/// A route, without what does not tell it from others here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    destination: IpNet,
    table: RouteTable,
    kind: RouteKind,
    link: Option<LinkName>,
    ours: bool,
}

/// An address on a link; `None` for one that is not known.
type Address = (Option<LinkName>, IpNet);

/// What became of something.
#[derive(Debug, Clone, Copy)]
struct Fate {
    ours: bool,
    there: bool,
}

/// What was heard since it was last told, each thing as it was in the end.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// All links as they were last heard of, by index.
    known: HashMap<u32, Known>,
    /// The names that something happened to, and who bears them now.
    links: BTreeMap<LinkName, Option<u32>>,
    /// The links that went down, by index.
    fell: BTreeSet<u32>,
    addresses: BTreeMap<Address, Fate>,
    routes: BTreeMap<Route, bool>,
    rules: bool,
    lost: bool,
}

impl Burst {
    /// Nothing heard yet; the links are these.
    pub(super) fn new(links: &[LinkRecord]) -> Self {
        let known = links.iter().map(|record| (record.index, Known::of(record))).collect();
        Self { known, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.addresses.is_empty()
            && self.routes.is_empty()
            && !self.rules
            && !self.lost
    }

    /// Something came, and nobody knows what.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether the links have to be looked at anew.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes a datagram of route-netlink in. What `author` took away itself is
    /// left out, where the kernel says who it was: with routes and with IPv4
    /// addresses.
    pub(super) fn hear(&mut self, datagram: &[u8], author: u32) {
        for frame in frames(datagram) {
            if frame.and_then(|frame| self.look_at(&frame, author)).is_err() {
                self.lose();
            }
        }
    }

    /// Takes a datagram of netfilter in: whether somebody other than `author`
    /// has changed a table.
    pub(super) fn hear_of_rules(&mut self, datagram: &[u8], table: &str, author: Option<u32>) {
        for frame in frames(datagram) {
            match frame {
                Ok(frame) if author == Some(frame.port) => {}
                Ok(frame) => self.rules |= nft::is_about(&frame, table),
                Err(_) => self.lose(),
            }
        }
    }

    fn look_at(&mut self, frame: &Frame<'_>, author: u32) -> Result<(), Malformed> {
        let there = matches!(frame.kind, kind::LINK | kind::ADDRESS | kind::ROUTE);
        let silent = !there && frame.port == author;
        match frame.kind {
            kind::LINK | kind::LINK_GONE => self.link(frame.payload, there)?,
            kind::ADDRESS | kind::ADDRESS_GONE => {
                if let Some((key, fate)) = self.address(frame.payload, there)? {
                    put(&mut self.addresses, key, fate, silent);
                }
            }
            kind::ROUTE | kind::ROUTE_GONE => {
                if let Some(key) = self.route(frame.payload)? {
                    put(&mut self.routes, key, there, silent);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn link(&mut self, payload: &[u8], there: bool) -> Result<(), Malformed> {
        /// Other families tell of a bridge's ports: that one goes is no end of a
        /// link.
        const ANY: Option<&u8> = Some(&0);
        let record = wire::link(payload)?;
        if payload.first() != ANY {
            return Ok(());
        }
        let now = there.then(|| Known::of(&record));
        let was = match now.clone() {
            Some(now) => self.known.insert(record.index, now),
            None => self.known.remove(&record.index),
        };
        // Statistics, carriers, queues: a link is often told of.
        if now == was {
            return Ok(());
        }
        let is_up = |link: &Option<Known>| link.as_ref().is_some_and(|link| link.up);
        if now.is_none() {
            self.fell.remove(&record.index);
        } else if is_up(&was) && !is_up(&now) {
            self.fell.insert(record.index);
        }
        let (was, now) = (was.and_then(|link| link.name), now.and_then(|link| link.name));
        self.links.extend(was.map(|name| (name, None)));
        self.links.extend(now.map(|name| (name, Some(record.index))));
        Ok(())
    }

    fn address(&self, payload: &[u8], there: bool) -> Result<Option<(Address, Fate)>, Malformed> {
        let record = wire::address(payload)?.filter(|record| !is_link_local6(record.addr.addr()));
        Ok(record.map(|record| {
            let fate = Fate { ours: record.protocol == PROTOCOL, there };
            ((self.name(record.index), record.addr), fate)
        }))
    }

    fn route(&self, payload: &[u8]) -> Result<Option<Route>, Malformed> {
        if is_of_no_concern(payload) {
            return Ok(None);
        }
        let Some(record) = wire::route(payload)? else { return Ok(None) };
        let table = match record.table {
            table if table == u32::from(LOCAL) => RouteTable::Local,
            table if table == u32::from(MAIN) => RouteTable::Main,
            _ => return Ok(None),
        };
        let destination = record.destination;
        if is_link_local6(destination.addr()) {
            return Ok(None);
        }
        let (kind, ours) = (record.kind, record.protocol == PROTOCOL);
        let link = record.links.first().and_then(|index| self.name(*index));
        Ok(Some(Route { destination, table, kind, link, ours }))
    }

    fn name(&self, index: u32) -> Option<LinkName> {
        self.known.get(&index)?.name.clone()
    }

    /// Tells what was heard, which then is told. What was lost is not in it.
    pub(super) fn tell(&mut self) -> Vec<Seen> {
        let known = std::mem::take(&mut self.known);
        let heard = std::mem::replace(self, Self { known, ..Self::default() });
        let links = heard.links.into_iter().map(|(name, index)| {
            let state = |index: u32| self.state(index, heard.fell.contains(&index));
            let state = index.and_then(state).unwrap_or(LinkState::Gone);
            Seen::Link { name, state }
        });
        let addresses = heard.addresses.into_iter().map(|((link, addr), fate)| {
            let Fate { ours, there } = fate;
            Seen::Address { link, addr, ours, there }
        });
        let routes = heard.routes.into_iter().map(|(route, there)| {
            let Route { destination, table, kind, link, ours } = route;
            Seen::Route { destination, table, kind, link, ours, there }
        });
        let rules = heard.rules.then_some(Seen::Rules);
        links.chain(addresses).chain(routes).chain(rules).collect()
    }

    fn state(&self, index: u32, fell: bool) -> Option<LinkState> {
        let link = self.known.get(&index)?;
        let master = link.master.and_then(|master| self.name(master));
        Some(LinkState::There { up: link.up, fell, master, mark: link.mark.clone() })
    }
}

/// Notes what became of something. In silence, only what was noted before is
/// forgotten.
fn put<K: Ord, V>(heard: &mut BTreeMap<K, V>, key: K, fate: V, silent: bool) {
    if silent {
        heard.remove(&key);
    } else {
        heard.insert(key, fate);
    }
}

/// Whether a route is neither to a single address nor to as good as everywhere,
/// or is one that nobody sets. What is cut short is not judged.
fn is_of_no_concern(payload: &[u8]) -> bool {
    /// Who halves the default route to get in front of it uses 1 bit; all of
    /// IPv6 that is in use is behind 3.
    const WIDE: u8 = 3;
    const BROADCAST_ANYCAST_MULTICAST: std::ops::RangeInclusive<u8> = 3..=5;
    const CLONED: u32 = 0x200;
    let [family, prefix, _, _, _, _, _, kind, a, b, c, d, ..] = *payload else { return false };
    let single = if family == AF_INET6 { 128 } else { 32 };
    (prefix > WIDE && prefix != single)
        || BROADCAST_ANYCAST_MULTICAST.contains(&kind)
        || u32::from_ne_bytes([a, b, c, d]) & CLONED != 0
}

/// Every link has such an address, and no container has one on the host.
pub(super) fn is_link_local6(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

#[cfg(test)]
#[path = "monitor_burst_tests.rs"]
mod tests;
