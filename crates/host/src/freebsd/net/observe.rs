//! The picture of the host's network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kleene_engine::actual::{Actual, Addressing, HostRoute, Link, LinkKind, Uplink};
use kleene_engine::change::Mark;
use kleene_engine::piece::Piece;
use kleene_model::{Dual, Family, LinkName};

use super::error::{NetError, unreadable};
use super::interfaces::{self, Interface, MOST_MEMBERS};
use super::routes::{self, Route};
use super::{FreeBsdHost, ifconfig};
use crate::freebsd::pf::{GROUP_CABLES, Leave};
use crate::freebsd::run::{Call, Tool, Tools};

/// How often all interfaces are listed, if some come and go in between.
const TIMES: u32 = 3;

/// All interfaces of the host.
///
/// They are listed twice, with what they have and by name: of an answer that was cut
/// nobody could tell what is gone from what was not said.
pub(super) fn all_interfaces(tools: &dyn Tools) -> Result<Vec<Interface>, NetError> {
    let mut missing = String::new();
    for _ in 0..TIMES {
        let call = ifconfig(["-a", "-f", "inet:cidr,inet6:cidr"]);
        let interfaces = interfaces::interfaces(&tools.run(&call)?.stdout)?;
        let names = tools.run(&ifconfig(["-l"]))?.stdout;
        let said: BTreeSet<&str> = interfaces.iter().map(|one| one.name.as_str()).collect();
        let names: BTreeSet<&str> = names.split_whitespace().collect();
        if said == names && !said.is_empty() {
            return Ok(interfaces);
        }
        missing = names.symmetric_difference(&said).copied().collect::<Vec<_>>().join(", ");
    }
    Err(unreadable("ifconfig", &format!("it lists, or does not: {missing}")))
}

fn all_routes(tools: &dyn Tools) -> Result<Vec<Route>, NetError> {
    // Else names of interfaces are cut, in this form as well (source of netstat).
    let call = Call::new(Tool::Netstat, ["--libxo", "json", "-rnW"]);
    routes::routes(&tools.run(&call)?.stdout)
}

pub(super) fn observe(host: &mut FreeBsdHost) -> Result<Actual, NetError> {
    let tools = host.tools.clone();
    let interfaces = all_interfaces(&*tools)?;
    let routes = all_routes(&*tools)?;
    let mut actual = Actual::of(Addressing::Shared);
    host.leave = Some(Leave::read(&*tools)?);
    host.taken.iter().for_each(|name| actual.set_taken(name.clone()));
    let pieces = host.filter.observe(&*tools)?;
    pieces.iter().for_each(|piece| actual.insert_piece(piece.clone()));
    let members = host.filter.members();
    let there: BTreeSet<&LinkName> = interfaces.iter().map(|one| &one.name).collect();
    host.plugged.retain(|(link, bridge)| there.contains(link) && there.contains(bridge));
    let mut shown = BTreeSet::new();
    for interface in &interfaces {
        actual.insert(link(interface));
    }
    for interface in &interfaces {
        for net in &interface.addresses {
            let here = (interface.name.clone(), net.addr());
            let single = net.prefix_len() == net.max_prefix_len();
            if single && (members.contains(&net.addr()) || host.shown.contains(&here)) {
                let (link, addr) = here.clone();
                actual.insert_piece(Piece::Show { link, addr });
                shown.insert(here);
            } else {
                actual.insert_address(&interface.name, *net);
            }
        }
        for member in members_of(interface, &host.plugged) {
            actual.set_master(&member, interface.name.clone());
        }
    }
    host.shown = shown;
    actual.set_uplink(uplink(&actual, &interfaces, &routes));
    Ok(actual)
}

fn link(interface: &Interface) -> Link {
    let kind = if interface.is_in("epair") {
        LinkKind::Cable
    } else if interface.is_in("bridge") || interface.is_in("lo") && interface.name.as_str() != "lo0"
    {
        LinkKind::Bridge
    } else {
        LinkKind::Other
    };
    let description = interface.description.as_deref();
    // The last that a cable of ours is given.
    let half = kind == LinkKind::Cable && !interface.is_in(GROUP_CABLES);
    Link::observed(interface.name.clone(), kind, interface.up, description)
        .with_mtu(interface.mtu)
        .as_half_made(half)
}

/// The members of a bridge: those that are listed, and where that list is full those
/// that were put in and may be behind its end.
fn members_of(bridge: &Interface, plugged: &BTreeSet<(LinkName, LinkName)>) -> BTreeSet<LinkName> {
    let mut members: BTreeSet<LinkName> = bridge.members.iter().cloned().collect();
    if members.len() >= MOST_MEMBERS {
        let ours = plugged.iter().filter(|(_, into)| *into == bridge.name);
        members.extend(ours.map(|(link, _)| link.clone()));
    }
    members
}

/// The host's ways out, and its own address on them: the first that stands there.
fn uplink(actual: &Actual, interfaces: &[Interface], routes: &[Route]) -> Dual<Uplink> {
    Dual::from_fn(|family| {
        let default = routes.iter().find(|route| {
            route.destination.prefix_len() == 0 && Family::of(route.destination.addr()) == family
        });
        let Some(link) = default.map(|route| route.link.clone()) else { return Uplink::default() };
        let source = actual.link(&link).and_then(|link| link.listed(family).next());
        let mtu = interfaces.iter().find(|one| one.name == link).map(|one| one.mtu);
        Uplink { link: Some(link), source, mtu }
    })
}

pub(super) fn routes(host: &FreeBsdHost) -> Result<Vec<HostRoute>, NetError> {
    let ours: BTreeMap<LinkName, bool> = all_interfaces(host.tools())?
        .into_iter()
        .map(|one| {
            let mark = one.description.as_deref().and_then(Mark::parse);
            (one.name, mark.is_some_and(|mark| mark.instance == host.instance))
        })
        .collect();
    let routes = all_routes(host.tools())?.into_iter().filter(|route| {
        let multicast = route.destination.addr().is_multicast();
        !route.own && !multicast && ours.get(&route.link) != Some(&true)
    });
    Ok(routes
        .map(|route| HostRoute { destination: route.destination, link: Some(route.link) })
        .collect())
}

pub(super) fn neighbours(tools: &dyn Tools, link: &LinkName) -> Result<BTreeSet<IpAddr>, NetError> {
    let arp = tools.run(&Call::new(Tool::Arp, ["-an", "--libxo", "json"]))?;
    let mut found = routes::neighbours4(&arp.stdout, link)?;
    let ndp = tools.run(&Call::new(Tool::Ndp, ["-an"]))?;
    found.extend(routes::neighbours6(&ndp.stdout, link)?);
    Ok(found)
}

/// Whether an address is one of the host's own, those of containers excepted.
pub(super) fn has_address(host: &FreeBsdHost, addr: IpAddr) -> Result<bool, NetError> {
    let interfaces = all_interfaces(host.tools())?;
    let stands = interfaces.iter().any(|one| {
        let shown = host.shown.contains(&(one.name.clone(), addr));
        !shown && one.addresses.iter().any(|net| net.addr() == addr)
    });
    Ok(stands)
}

pub(super) fn way_out(host: &FreeBsdHost, addr: IpAddr) -> Result<Option<LinkName>, NetError> {
    if all_interfaces(host.tools())?
        .iter()
        .any(|one| one.addresses.iter().any(|net| net.addr() == addr))
    {
        return Ok(None);
    }
    let text = addr.to_string();
    let call = match Family::of(addr) {
        Family::V4 => Call::new(Tool::Route, ["-n", "get", &text]),
        Family::V6 => Call::new(Tool::Route, ["-n", "get", "-inet6", &text]),
    };
    match host.tools().run(&call) {
        Err(err) if err.says("route has not been found") => Ok(None),
        answer => routes::way(&answer?.stdout),
    }
}
