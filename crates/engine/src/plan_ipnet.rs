//! Plans what `ipnet` containers stand on: their cable, what is set up in
//! their view, and the pieces of each of their addresses on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{
    Container, ContainerId, Driver, Dual, Endpoint, EndpointId, Family, LinkName, Network,
    NetworkType, RoutedCable,
};

use crate::actual::Addressing;
use crate::change::{Cable, CableUse, Change, Owner};
use crate::inside::Inside;
use crate::piece::Piece;
use crate::plan::{Extent, Planner};

/// What happens in views.
#[derive(Default)]
pub(crate) struct Views {
    /// In those that have their cable.
    pub(crate) kept: Vec<Change>,
    /// In those that get one.
    pub(crate) made: Vec<Change>,
}

/// What happens to addresses on the host.
#[derive(Default)]
pub(crate) struct Standing {
    pub(crate) taken: Vec<Change>,
    pub(crate) put: Vec<Change>,
    /// The same for addresses of `vnet` containers, which stand on no interface
    /// of the host.
    pub(crate) unfenced: Vec<Change>,
    pub(crate) fenced: Vec<Change>,
}

impl Planner<'_> {
    /// The cables and the insides of views.
    pub(crate) fn views(&self, extent: &Extent) -> Views {
        let mut views = Views::default();
        let containers = extent.containers.iter().filter_map(|id| self.desired.container(*id));
        for container in containers.filter(|container| container.driver == Driver::Ipnet) {
            self.view(container, &mut views);
        }
        views
    }

    fn view(&self, container: &Container, views: &mut Views) {
        let wanted = container.cable.as_ref().filter(|_| container.run.has_network());
        // Without its namespace there is no inside: the container is being
        // adopted, or is about to be found dead.
        if self.actual.namespace(container.id).is_none() {
            return;
        }
        let desired = match self.actual.addressing() {
            Addressing::Routed => wanted.map(|cable| self.inside(container.id, cable)),
            Addressing::Shared => container.run.has_network().then(|| self.usable(container.id)),
        };
        let desired = desired.unwrap_or_default();
        let known = self.renamed(container.id, wanted, &mut views.kept);
        let there = wanted
            .is_some_and(|cable| self.own(&cable.host(), Owner::Container(container.id)).is_some());
        let changes = if there { &mut views.kept } else { &mut views.made };
        if let Some(cable) = wanted {
            self.routed_cable(container.id, cable, changes);
        }
        let id = container.id;
        // Mirrors follow the host, not us: before an address comes, that of its
        // interface may have gone with one of before, or not have come yet.
        let new = desired.difference(&known).filter_map(|new| match new {
            Inside::Address { link, .. } => Some(link),
            _ => None,
        });
        let new: BTreeSet<&LinkName> = new.collect();
        let shown = |inside: &Inside| match inside {
            Inside::Mirror { link } => !new.contains(link),
            _ => true,
        };
        for inside in desired.iter().filter(|inside| !(known.contains(*inside) && shown(inside))) {
            changes.push(Change::PutInside { container: id, inside: inside.clone() });
        }
        let ways: BTreeSet<IpNet> = desired.iter().filter_map(Inside::destination).collect();
        for inside in known.iter().rev().filter(|inside| is_surplus(inside, &desired, &ways)) {
            views.kept.push(Change::TakeInside { container: id, inside: inside.clone() });
        }
    }

    /// What the view holds, once the inner end has the name it shall have.
    fn renamed(
        &self,
        container: ContainerId,
        wanted: Option<&RoutedCable>,
        to: &mut Vec<Change>,
    ) -> BTreeSet<Inside> {
        let known: BTreeSet<Inside> = self.actual.inside(container).cloned().collect();
        let up = known.iter().find_map(|inside| match inside {
            Inside::Up { link } => Some(link.clone()),
            _ => None,
        });
        match (up, wanted.map(|cable| &cable.inner)) {
            (Some(from), Some(name)) if from != *name => {
                to.push(Change::RenameInner { container, from: from.clone(), to: name.clone() });
                known.into_iter().map(|inside| inside.renamed(&from, name)).collect()
            }
            _ => known,
        }
    }

    /// Makes the cable, its sources checked before it is up.
    fn routed_cable(&self, container: ContainerId, cable: &RoutedCable, to: &mut Vec<Change>) {
        let host = cable.host();
        let owner = Owner::Container(container);
        let existing = self.own(&host, owner);
        if existing.is_none() {
            to.push(Change::MakeCable {
                cable: Cable {
                    purpose: CableUse::Routed,
                    host: host.clone(),
                    inner: cable.inner.clone(),
                    host_mac: RoutedCable::host_mac(container),
                    inner_mac: RoutedCable::container_mac(container),
                    mtu: None,
                    container,
                },
                mark: self.mark(owner),
            });
        }
        let check = Piece::Check { cable: host.clone() };
        if !self.actual.pieces_of_cable(&host).any(|piece| *piece == check) {
            to.push(Change::Put { piece: check });
        }
        if !existing.is_some_and(crate::actual::Link::is_up) {
            to.push(Change::RaiseLink { link: host });
        }
    }

    /// What a view holds beside its mirrors.
    fn inside(&self, container: ContainerId, cable: &RoutedCable) -> BTreeSet<Inside> {
        let inner = &cable.inner;
        let mut inside = BTreeSet::from([Inside::Up { link: inner.clone() }]);
        if Family::BOTH.into_iter().any(|family| self.has_several(container, family)) {
            inside.insert(Inside::Replies);
        }
        let carriers = self.desired.carriers(container);
        let anchor = |family| self.anchor(container, inner, family, *carriers.get(family));
        let anchors = Family::BOTH.into_iter().filter_map(anchor);
        inside.extend(anchors.map(|addr| Inside::Address { link: inner.clone(), addr }));
        for endpoint in self.desired.endpoints_of(container) {
            let Some(network) = self.desired.network(endpoint.network) else { continue };
            let link = network.interface.clone();
            if link != *inner && !link.is_loopback() {
                inside.insert(Inside::Mirror { link: link.clone() });
            }
            for (family, addr) in endpoint.address.present() {
                inside.insert(Inside::Meet { link: inner.clone(), family });
                inside.insert(Inside::Address { link: link.clone(), addr: *addr });
                let out = *carriers.get(family) == Some(endpoint.id);
                let own = endpoint.options.mtu;
                let uplink = least(own, self.actual.uplink(family).mtu);
                let everywhere = out.then(|| (anywhere(family), uplink));
                let subnet = network.subnet.get(family).map(kleene_model::Subnet::net);
                let subnet = subnet.map(|subnet| (subnet, least(own, self.wire_mtu(network))));
                for (destination, mtu) in everywhere.into_iter().chain(subnet) {
                    let (link, source) = (inner.clone(), *addr);
                    inside.insert(Inside::Route { destination, link, source, mtu });
                }
            }
        }
        inside.extend(self.ways_to_host(container, inner, &carriers).into_values());
        inside
    }

    /// Routes to addresses that the host itself speaks from, where all that the
    /// other routes say is that they are behind a wire: between host and container
    /// there is only the cable, which takes larger packets.
    ///
    /// One for each address: what is asked in a network's own subnet is answered
    /// from there, and all else from where the way out begins.
    fn ways_to_host(
        &self,
        container: ContainerId,
        inner: &LinkName,
        carriers: &Dual<Option<EndpointId>>,
    ) -> BTreeMap<IpAddr, Inside> {
        let (mut near, mut far) = (BTreeMap::new(), BTreeMap::new());
        for endpoint in self.desired.endpoints_of(container) {
            let Some(network) = self.desired.network(endpoint.network) else { continue };
            for (family, source) in endpoint.address.present() {
                let (own, uplink) = (self.host_source(network, family), self.actual.uplink(family));
                let (source, mtu) = (*source, endpoint.options.mtu);
                let to = |host: IpAddr| {
                    let (destination, link) = (IpNet::from(host), inner.clone());
                    (host, Inside::Route { destination, link, source, mtu })
                };
                let subnet = *network.subnet.get(family);
                let here = |addr: &IpAddr| subnet.is_some_and(|subnet| subnet.contains(*addr));
                if self.wire_mtu(network).is_some() {
                    near.extend(own.filter(here).map(to));
                }
                if *carriers.get(family) == Some(endpoint.id) && uplink.mtu.is_some() {
                    let beyond = own.into_iter().chain(uplink.source);
                    far.extend(beyond.filter(|addr| !here(addr)).map(to));
                }
            }
        }
        far.extend(near);
        far
    }

    /// The addresses that a container on the host's stack may use. The kernel takes
    /// the one on the interface of the route as the source, and where there is none
    /// the first of the list: that of the network of the way out. The others it
    /// sorts (FreeBSD 13.2).
    fn usable(&self, container: ContainerId) -> BTreeSet<Inside> {
        let carriers = self.desired.carriers(container);
        let list = |family| {
            let endpoints = self.desired.endpoints_of(container);
            let with = endpoints.filter_map(|e| Some((e.id, (*e.address.get(family))?)));
            let mut all: Vec<(EndpointId, IpAddr)> = with.collect();
            all.sort_by_key(|(id, addr)| (Some(*id) != *carriers.get(family), *addr));
            let addresses: Vec<IpAddr> = all.into_iter().map(|(_, addr)| addr).collect();
            (!addresses.is_empty()).then_some(Inside::Use { family, addresses })
        };
        Family::BOTH.into_iter().filter_map(list).collect()
    }

    /// Whether a container has several addresses of a family.
    fn has_several(&self, container: ContainerId, family: Family) -> bool {
        let endpoints = self.desired.endpoints_of(container);
        endpoints.filter(|endpoint| endpoint.address.get(family).is_some()).nth(1).is_some()
    }

    /// The largest packet on the wire of a network that is somebody else's. What
    /// is on our own is told when it does not fit.
    fn wire_mtu(&self, network: &Network) -> Option<u32> {
        match network.kind {
            NetworkType::Loopback | NetworkType::Bridge => None,
            NetworkType::Custom => {
                self.actual.link(&network.interface).and_then(crate::actual::Link::mtu)
            }
        }
    }

    /// The address that stands on the inner end besides, where that end is the
    /// interface of no network: without any, the kernel would drop the ways out
    /// over it together with the last one that stood there.
    fn anchor(
        &self,
        container: ContainerId,
        inner: &LinkName,
        family: Family,
        carrier: Option<EndpointId>,
    ) -> Option<IpAddr> {
        let on = |endpoint: &Endpoint| self.desired.network(endpoint.network);
        let mut endpoints = self.desired.endpoints_of(container);
        if endpoints.any(|e| on(e).is_some_and(|network| network.interface == *inner)) {
            return None;
        }
        let carries = carrier.and_then(|id| self.desired.endpoint(id));
        let first = || {
            let mut endpoints = self.desired.endpoints_of(container);
            endpoints.find(|endpoint| endpoint.address.get(family).is_some())
        };
        carries.or_else(first).and_then(|endpoint| *endpoint.address.get(family))
    }

    /// What addresses stand on, kind by kind, so that each kind goes to the
    /// kernel at once.
    pub(crate) fn standing(&self, extent: &Extent) -> Standing {
        let (mut taken, mut put) = (Vec::new(), Vec::new());
        let mut fenced: BTreeSet<Option<IpAddr>> = BTreeSet::new();
        for addr in &extent.addresses {
            let Some(desired) = self.pieces(*addr) else { continue };
            let known: BTreeSet<&Piece> = self.actual.pieces_of(*addr).collect();
            let mut all = desired.iter().chain(known.iter().copied());
            if all.any(is_fenced) {
                fenced.insert(Some(*addr));
            }
            let mut new: Vec<Piece> =
                desired.iter().filter(|piece| !known.contains(piece)).cloned().collect();
            taken.extend(known.iter().filter(|piece| !desired.contains(piece)).cloned().cloned());
            // The way into the cable comes before the fallback: one that stands
            // already would come behind a new one.
            if new.iter().any(|piece| matches!(piece, Piece::Fallback { .. })) {
                let steer = |piece: &&Piece| matches!(piece, Piece::Steer { .. });
                let standing = desired.iter().filter(|piece| known.contains(piece));
                let again: Vec<Piece> = standing.filter(steer).cloned().collect();
                taken.extend(again.iter().cloned());
                new.extend(again);
            }
            put.extend(new);
        }
        put.sort_by_key(Piece::rank);
        taken.sort_by_key(|piece| std::cmp::Reverse(piece.rank()));
        let mut standing = Standing::default();
        for piece in taken {
            let to = match fenced.contains(&piece.addr()) {
                true => &mut standing.unfenced,
                false => &mut standing.taken,
            };
            to.push(Change::Take { piece });
        }
        for piece in put {
            let to = match fenced.contains(&piece.addr()) {
                true => &mut standing.fenced,
                false => &mut standing.put,
            };
            to.push(Change::Put { piece });
        }
        standing
    }

    /// What an address shall stand on; `None` to leave it as it is.
    fn pieces(&self, addr: IpAddr) -> Option<BTreeSet<Piece>> {
        let mut pieces = BTreeSet::new();
        let Some(endpoint) = self.desired.holder_of(addr) else { return Some(pieces) };
        let (Some(network), Some(container)) =
            (self.desired.network(endpoint.network), self.desired.container(endpoint.container))
        else {
            return Some(pieces);
        };
        match container.driver {
            Driver::Host | Driver::Disabled => return Some(pieces),
            Driver::Vnet => return self.fenced_pieces(endpoint, network, addr),
            Driver::Ipnet if !container.run.has_network() => return Some(pieces),
            Driver::Ipnet => {}
        }
        if self.actual.addressing() == Addressing::Shared {
            let member = self.member(endpoint, container.driver, addr);
            let show = Piece::Show { link: network.interface.clone(), addr };
            return Some(BTreeSet::from([member, show]));
        }
        let cable = container.cable.as_ref()?.host();
        // One that was not brought up is about to be found dead, too.
        let link = self.own(&cable, Owner::Container(container.id));
        let there = link.is_some_and(crate::actual::Link::is_up);
        if !there && self.actual.namespace(container.id).is_none() {
            return None;
        }
        let link = network.interface.clone();
        let source = self.host_source(network, Family::of(addr));
        pieces.insert(Piece::Guard { addr });
        pieces.insert(Piece::Admit { cable: cable.clone(), addr });
        pieces.insert(Piece::Fallback { addr });
        pieces.insert(Piece::Steer { addr, cable, source });
        match network.kind {
            NetworkType::Loopback => {}
            NetworkType::Bridge | NetworkType::Custom => {
                pieces.insert(Piece::Answer { link: link.clone(), addr });
            }
        }
        pieces.insert(Piece::Show { link, addr });
        pieces.extend(self.published(container, addr));
        Some(pieces)
    }

    /// The host's own source address towards a network's containers: the
    /// gateway, else an address of the interface, else that of the host's
    /// default route. Without one said, the kernel may choose a container's.
    pub(crate) fn host_source(&self, network: &Network, family: Family) -> Option<IpAddr> {
        let gateway = match network.kind {
            NetworkType::Bridge => network.gateway_address(family),
            NetworkType::Loopback | NetworkType::Custom => None,
        };
        gateway.or_else(|| {
            let link = self.actual.link(&network.interface);
            let own = link.into_iter().flat_map(crate::actual::Link::addresses);
            let mut own = own.map(IpNet::addr).filter(|addr| {
                let usable = Family::of(*addr) == family && !addr.is_loopback();
                usable && self.desired.holder_of(*addr).is_none()
            });
            own.next().or_else(|| self.actual.uplink(family).source)
        })
    }
}

/// The smaller of two limits, where there are any.
fn least(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    one.into_iter().chain(other).min()
}

/// Whether it is of an address of a `vnet` container.
fn is_fenced(piece: &Piece) -> bool {
    match piece {
        Piece::Speak { .. } => true,
        Piece::Member { member, .. } => member.driver == Driver::Vnet,
        _ => false,
    }
}

fn anywhere(family: Family) -> IpNet {
    let zero = family.address(0);
    IpNet::new(zero, 0).unwrap_or_else(|_| IpNet::from(zero))
}

/// Whether something in a view has to be taken out. Mirrors are kept by whoever
/// follows the host's links; the cable's own go with it; what leads answers does
/// no harm, and taking it away holds up what comes next; a route to where another
/// one leads is replaced.
fn is_surplus(inside: &Inside, desired: &BTreeSet<Inside>, ways: &BTreeSet<IpNet>) -> bool {
    match inside {
        Inside::Mirror { .. } | Inside::Up { .. } | Inside::Meet { .. } | Inside::Replies => false,
        Inside::Use { family: mine, .. } => !desired.iter().any(|other| match other {
            Inside::Use { family, .. } => family == mine,
            _ => false,
        }),
        Inside::Address { .. } => !desired.contains(inside),
        Inside::Route { destination, .. } => !ways.contains(destination),
    }
}
