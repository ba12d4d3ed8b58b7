//! Looks at the host's links, addresses and routes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_engine::actual::{Actual, HostRoute, Link, LinkKind};
use kleene_engine::change::Mark;
use kleene_engine::host::HostError;
use kleene_model::{ContainerId, Family, InstanceName, LinkName};

use super::error::{self, NetError};
use super::monitor_burst::is_link_local6;
use super::request::{MAIN, Which};
use super::request_route::PROTOCOL;
use super::socket::Socket;
use super::wire::{LinkRecord, RouteKind, RouteRecord};

/// A picture of the host, and the indexes of its links.
pub(super) struct Seen {
    pub(super) actual: Actual,
    pub(super) indexes: HashMap<LinkName, u32>,
    /// Routed cables, and whose they are.
    pub(super) routed: HashMap<LinkName, ContainerId>,
}

/// Looks at all links and addresses.
pub(super) fn observe(socket: &mut Socket) -> Result<Seen, HostError> {
    let links = socket.links().map_err(error::host("list the links"))?;
    let addresses = socket.addresses().map_err(error::host("list the addresses"))?;
    // Those of containers are seen for themselves.
    let own = addresses.iter().filter(|record| record.protocol != PROTOCOL);
    let mut seen = picture(&links, own.map(|record| (record.index, record.addr)));
    let routed = links.iter().filter_map(|record| {
        Some((name(record)?, super::standing::routed_for(record.alias.as_deref())?))
    });
    seen.routed = routed.collect();
    Ok(seen)
}

fn picture(links: &[LinkRecord], addresses: impl Iterator<Item = (u32, IpNet)>) -> Seen {
    let names: HashMap<u32, LinkName> =
        links.iter().filter_map(|record| Some((record.index, name(record)?))).collect();
    let mut actual = Actual::new();
    for record in links {
        let Some(link) = names.get(&record.index) else { continue };
        let alias = record.alias.as_deref();
        let seen = Link::observed(link.clone(), kind(record), record.up, alias);
        actual.insert(seen.with_mtu(record.mtu).as_isolated(record.isolated));
        if let Some(master) = record.master.and_then(|master| names.get(&master)) {
            actual.set_master(link, master.clone());
        }
    }
    for (index, addr) in addresses {
        if let Some(link) = names.get(&index).filter(|_| !is_link_local6(addr.addr())) {
            actual.insert_address(link, addr);
        }
    }
    let indexes = names.into_iter().map(|(index, name)| (name, index)).collect();
    Seen { actual, indexes, routed: HashMap::new() }
}

/// The link's name; `None` for one that no request could spell.
fn name(record: &LinkRecord) -> Option<LinkName> {
    record.name.as_deref().and_then(|name| LinkName::parse(name).ok())
}

fn kind(record: &LinkRecord) -> LinkKind {
    match record.kind.as_deref() {
        Some("bridge" | "dummy") => LinkKind::Bridge,
        Some("veth") => LinkKind::Cable,
        _ => LinkKind::Other,
    }
}

/// The addresses that the host has heard of on the wire of an interface.
pub(super) fn neighbours(
    socket: &mut Socket,
    link: &LinkName,
) -> Result<BTreeSet<IpAddr>, NetError> {
    let mut busy = BTreeSet::new();
    let Some(index) = socket.link(Which::Name(link))?.map(|link| link.index) else {
        return Ok(busy);
    };
    for family in Family::BOTH {
        let known = socket.neighbours_on(index, family)?.into_iter();
        busy.extend(known.filter(|n| n.known).map(|n| n.addr));
    }
    Ok(busy)
}

/// The unicast routes of the main table, but for those that lead to a link of
/// this daemon.
pub(super) fn routes(
    socket: &mut Socket,
    instance: &InstanceName,
) -> Result<Vec<HostRoute>, HostError> {
    let links = socket.links().map_err(error::host("list the links"))?;
    let links: HashMap<u32, &LinkRecord> = links.iter().map(|link| (link.index, link)).collect();
    let ours = |index: &u32| {
        let alias = links.get(index).and_then(|link| link.alias.as_deref());
        alias.and_then(Mark::parse).is_some_and(|mark| mark.instance == *instance)
    };
    let mut routes = Vec::new();
    for family in Family::BOTH {
        let what = format!("list the {} routes", family.protocol());
        for record in main_table(socket, family).map_err(error::host(&what))? {
            let index = record.links.iter().find(|index| !ours(index));
            if index.is_none() && !record.links.is_empty() {
                continue;
            }
            let link = index.and_then(|index| links.get(index)).and_then(|link| name(link));
            routes.push(HostRoute { destination: record.destination.trunc(), link });
        }
    }
    Ok(routes)
}

fn main_table(socket: &mut Socket, family: Family) -> Result<Vec<RouteRecord>, NetError> {
    let mut list = socket.routes(family, MAIN)?;
    list.retain(|record| record.kind == RouteKind::Unicast && !is_special(record.destination));
    Ok(list)
}

/// Whether the whole destination is link-local or multicast.
fn is_special(destination: IpNet) -> bool {
    match destination.addr() {
        _ if destination.prefix_len() < 4 => false,
        IpAddr::V4(v4) => {
            v4.is_multicast() || (destination.prefix_len() >= 16 && v4.is_link_local())
        }
        IpAddr::V6(v6) => {
            (destination.prefix_len() >= 8 && v6.is_multicast())
                || (destination.prefix_len() >= 10 && v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_destinations_that_are_wholly_special_are_left_out() {
        for text in ["224.0.0.0/4", "239.1.0.0/16", "169.254.0.0/16", "fe80::/64", "ff00::/8"] {
            assert!(is_special(text.parse().expect(text)), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "169.0.0.0/8", "fe00::/7", "10.0.0.0/8", "fd00::/64"] {
            assert!(!is_special(text.parse().expect(text)), "{text}");
        }
    }

    #[test]
    fn a_picture_leaves_out_what_cannot_be_named() {
        let record = |index, name: Option<&str>, master| LinkRecord {
            index,
            up: true,
            name: name.map(str::to_owned),
            kind: Some("veth".to_owned()),
            alias: Some("kleene:main:endpoint:2f1dc29b8f36".to_owned()),
            master,
            ..LinkRecord::default()
        };
        let links =
            [record(1, Some("a"), Some(3)), record(2, None, None), record(3, Some("b"), Some(9))];
        let addresses = ["10.0.0.1/24", "fe80::1/64", "fd00::1/64"].map(|addr| {
            let addr: IpNet = addr.parse().expect("address");
            (1, addr)
        });
        let stray = (7, "10.0.0.9/24".parse().expect("address"));
        let seen = picture(&links, addresses.into_iter().chain([stray]));
        assert_eq!(seen.actual.links().count(), 2);
        assert_eq!(seen.indexes.len(), 2);
        let link = seen.actual.link(&LinkName::parse("a").expect("name")).expect("link");
        assert_eq!(link.master().map(LinkName::as_str), Some("b"));
        assert_eq!(link.addresses().len(), 2);
        assert!(link.mark().is_some());
        let lost = seen.actual.link(&LinkName::parse("b").expect("name")).expect("link");
        assert_eq!(lost.master(), None);
    }
}
