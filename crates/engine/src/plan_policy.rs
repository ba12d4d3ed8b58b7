//! Plans what holds the policy: the rules of networks, what the host's ways out
//! are, who may speak on a cable into a bridge, and which ports are published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kleene_model::policy::{Member, NetworkRules, Publication};
use kleene_model::{
    Container, ContainerId, Driver, Dual, Endpoint, Family, LinkName, Listed, Nat, Network, Ports,
    Protocol, PublishedPort, RoutedCable,
};

use crate::actual::Addressing;
use crate::change::{Change, Flows, Owner};
use crate::piece::{Gate, Piece};
use crate::plan::{Extent, Planner, Scope};

/// What happens to the policy of networks, of what containers publish, and of the
/// host.
#[derive(Default)]
pub(crate) struct Policy {
    pub(crate) taken: Vec<Change>,
    pub(crate) put: Vec<Change>,
}

impl Policy {
    fn differ<'a>(&mut self, known: impl Iterator<Item = &'a Piece>, desired: &BTreeSet<Piece>) {
        let known: BTreeSet<&Piece> = known.collect();
        let gone = known.iter().filter(|piece| !desired.contains(piece));
        self.taken.extend(gone.map(|piece| Change::Take { piece: (*piece).clone() }));
        let new = desired.iter().filter(|piece| !known.contains(piece));
        self.put.extend(new.map(|piece| Change::Put { piece: piece.clone() }));
    }
}

/// What the policy has to know of a network.
pub(crate) fn rules_of(network: &Network) -> NetworkRules {
    NetworkRules {
        id: network.id,
        kind: network.kind,
        interface: network.interface.clone(),
        subnet: network.subnet,
        icc: network.icc,
        internal: network.internal,
        nat: network.nat.clone(),
    }
}

impl Planner<'_> {
    /// The rules of networks, and the host's ways out.
    pub(crate) fn policy(&self, extent: &Extent) -> Policy {
        let mut policy = Policy::default();
        for id in &extent.ruled {
            let network = self.desired.network(*id).filter(|network| !network.leaving);
            let desired = network.map(|network| self.network_pieces(network)).unwrap_or_default();
            policy.differ(self.actual.pieces_of_network(*id), &desired);
        }
        for id in &extent.published {
            let container = self.desired.container(*id);
            let desired = container.and_then(|container| self.publication(container));
            let desired = desired.into_iter().collect();
            policy.differ(self.actual.pieces_of_container(*id), &desired);
        }
        if extent.host {
            policy.differ(self.actual.pieces_of_host(), &self.host_pieces());
        }
        policy
    }

    fn network_pieces(&self, network: &Network) -> BTreeSet<Piece> {
        let mut pieces = BTreeSet::from([Piece::Rules { rules: rules_of(network) }]);
        for (family, subnet) in network.subnet.present() {
            let near = self.host_source(network, family);
            pieces.extend(near.map(|addr| Piece::Near { subnet: *subnet, addr }));
        }
        pieces
    }

    /// The interface of the default route, and the sources of what leaves by it
    /// and by those that networks name.
    fn host_pieces(&self) -> BTreeSet<Piece> {
        let mut pieces = BTreeSet::new();
        let mut links: BTreeSet<&LinkName> = BTreeSet::new();
        let networks = || self.desired.networks().filter(|network| !network.leaving);
        if networks().next().is_none() {
            return pieces;
        }
        if self.desired.log_drops() {
            pieces.insert(Piece::LogDrops);
        }
        for family in Family::BOTH {
            if let Some(link) = &self.actual.uplink(family).link {
                pieces.insert(Piece::Uplink { family, link: link.clone() });
                links.insert(link);
            }
        }
        links.extend(networks().filter_map(|network| match &network.nat {
            Nat::Interface(link) => Some(link),
            Nat::None | Nat::HostGateway => None,
        }));
        for link in links {
            for family in Family::BOTH {
                let mut own = self.actual.link(link).into_iter().flat_map(|l| l.listed(family));
                let first = own.find(|addr| self.desired.holder_of(*addr).is_none());
                pieces.extend(first.map(|addr| Piece::Way { link: link.clone(), addr }));
            }
        }
        pieces
    }

    /// Whose an address is.
    pub(crate) fn member(&self, endpoint: &Endpoint, driver: Driver, addr: IpAddr) -> Piece {
        let (network, container) = (endpoint.network, endpoint.container);
        Piece::Member { addr, member: Member { network, container, driver } }
    }

    /// What a container publishes, where that is one piece.
    fn publication(&self, container: &Container) -> Option<Piece> {
        let shared = self.actual.addressing() == Addressing::Shared;
        if !shared || container.ports.is_empty() || !container.run.has_network() {
            return None;
        }
        let id = container.id;
        let target = Dual::from_fn(|family| self.desired.target(id, family));
        let ports = container.ports.iter().enumerate();
        let ports = ports.filter(|(place, _)| self.desired.held(id, *place).is_none());
        let ports: Vec<PublishedPort> = ports.map(|(_, port)| port.clone()).collect();
        let leads = target.present().next().is_some() && !ports.is_empty();
        let publication = Publication { container: id, target, ports };
        leads.then_some(Piece::Publish { sequence: container.sequence, publication })
    }

    /// What holds a cable into a bridge to its endpoint, above all to its MAC
    /// address.
    pub(crate) fn fence(&self, endpoint: &Endpoint, cable: &LinkName) -> Vec<Change> {
        let (cable, mac) = (cable.clone(), endpoint.container_mac());
        let fence = match self.actual.addressing() {
            Addressing::Routed => Piece::Fence { cable: cable.clone(), mac },
            Addressing::Shared => Piece::Endpoint {
                cable: cable.clone(),
                endpoint: endpoint.id,
                network: endpoint.network,
                container: endpoint.container,
                mac,
            },
        };
        let known: Vec<&Piece> = self.actual.pieces_of_cable(&cable).collect();
        // That of a cable which had the name before may not be gone yet.
        let others = known.iter().filter(|piece| ***piece != fence);
        let mut changes: Vec<Change> =
            others.map(|piece| Change::Take { piece: (*piece).clone() }).collect();
        if !known.contains(&&fence) {
            changes.push(Change::Put { piece: fence });
        }
        changes
    }

    /// What holds an address of a `vnet` container, while it has a cable; `None`
    /// to leave it as it is.
    pub(crate) fn fenced_pieces(
        &self,
        endpoint: &Endpoint,
        network: &Network,
        addr: IpAddr,
    ) -> Option<BTreeSet<Piece>> {
        let container = self.desired.container(endpoint.container);
        let container = container.filter(|container| container.run.has_network());
        let (Some(number), Some(container)) = (endpoint.cable, container) else {
            return Some(BTreeSet::new());
        };
        let cable = LinkName::cable_host(number);
        // Without its namespace it is about to be found dead.
        let there = self.own(&cable, Owner::Endpoint(endpoint.id)).is_some();
        if !there && self.actual.namespace(container.id).is_none() {
            return None;
        }
        if self.actual.addressing() == Addressing::Shared {
            return Some(BTreeSet::from([self.member(endpoint, container.driver, addr)]));
        }
        let mut pieces = BTreeSet::from([
            Piece::Guard { addr },
            Piece::Speak { cable, addr },
            Piece::Admit { cable: network.interface.clone(), addr },
        ]);
        pieces.extend(self.published(container, addr));
        Some(pieces)
    }

    /// The published ports of a container that lead to an address of its own.
    pub(crate) fn published(&self, container: &Container, addr: IpAddr) -> Vec<Piece> {
        let family = Family::of(addr);
        if container.ports.is_empty() || self.desired.target(container.id, family) != Some(addr) {
            return Vec::new();
        }
        let mut pieces = Vec::new();
        let mut opened: BTreeMap<(Gate, Protocol), Vec<Ports>> = BTreeMap::new();
        for (place, port) in container.ports.iter().enumerate() {
            if self.desired.held(container.id, place).is_some() {
                continue;
            }
            let PublishedPort { on, protocol, host, container: inner } = port;
            let (protocol, inner) = (*protocol, *inner);
            let lead = |gate| Piece::Lead { gate, protocol, ports: *host, addr, inner };
            let gates: Vec<Gate> = match on {
                Listed::Uplink => vec![Gate::Uplink],
                Listed::These(links) => links.iter().cloned().map(Gate::Link).collect(),
            };
            for gate in gates.iter().cloned().chain([Gate::Inside]) {
                opened.entry((gate, protocol)).or_default().push(inner);
            }
            pieces.extend(gates.into_iter().map(lead));
            let free = self.desired.free_inside(container, place, family);
            pieces.extend(free.into_iter().map(|ports| Piece::Lead {
                gate: Gate::Inside,
                protocol,
                ports,
                addr,
                inner: shifted(port, ports),
            }));
        }
        // Those of one subnet are turned all together.
        let others = self.desired.endpoints_of(container.id);
        let others = others.filter_map(|endpoint| *endpoint.address.get(family));
        let others = others.filter(|from| *from != addr);
        pieces.extend(others.map(|from| Piece::Round { from, addr }));
        for ((gate, protocol), ports) in opened {
            pieces.extend(joined(ports).into_iter().map(|ports| {
                let gate = gate.clone();
                Piece::Open { gate, addr, protocol, ports }
            }));
        }
        pieces
    }

    /// Addresses whose published ports may change with those of containers: of
    /// the containers themselves, and of others that have ports of the host in
    /// common with them.
    pub(crate) fn led_beside(&self, containers: &BTreeSet<ContainerId>) -> BTreeSet<IpAddr> {
        let mut addresses = BTreeSet::new();
        for id in containers {
            let Some(container) = self.desired.container(*id) else { continue };
            let own = self.led_to(container);
            // Those that it has published until now, too.
            let led = own.iter().flat_map(|addr| self.actual.pieces_of(*addr));
            let led = led.filter_map(|piece| match piece {
                Piece::Lead { protocol, ports, .. } => Some((*protocol, *ports)),
                _ => None,
            });
            let shall = container.ports.iter().map(|port| (port.protocol, port.host));
            let ports: BTreeSet<(Protocol, Ports)> = led.chain(shall).collect();
            let beside = ports.iter().flat_map(|(of, ports)| self.desired.publishers(*of, *ports));
            let beside: BTreeSet<ContainerId> = beside.filter(|other| other != id).collect();
            for other in beside.into_iter().filter_map(|other| self.desired.container(other)) {
                addresses.extend(self.led_to(other));
            }
            addresses.extend(own);
        }
        addresses
    }

    /// The addresses of a container that its published ports lead to, or did.
    fn led_to(&self, container: &Container) -> Vec<IpAddr> {
        let leads = |addr: &IpAddr| {
            self.actual.pieces_of(*addr).any(|piece| matches!(piece, Piece::Open { .. }))
        };
        let endpoints = self.desired.endpoints_of(container.id);
        let own = endpoints.flat_map(|endpoint| [endpoint.address.v4, endpoint.address.v6]);
        let mut led: Vec<IpAddr> = own.flatten().filter(leads).collect();
        if !container.ports.is_empty() {
            let targets = Family::BOTH.map(|family| self.desired.target(container.id, family));
            led.extend(targets.into_iter().flatten());
        }
        led
    }

    /// What is held of cables that nobody has any more.
    pub(crate) fn unchecked(&self, scope: Scope<'_>) -> Vec<Change> {
        let unwanted: Vec<&LinkName> = match scope {
            Scope::All => {
                let routed = self.desired.containers().filter_map(|c| c.cable.as_ref());
                let plugged = self.desired.endpoints().filter_map(|endpoint| endpoint.cable);
                let plugged = plugged.map(LinkName::cable_host);
                let wanted: BTreeSet<LinkName> =
                    routed.map(RoutedCable::host).chain(plugged).collect();
                let held = self.actual.checked_cables();
                held.filter(|cable| !wanted.contains(*cable)).collect()
            }
            // Their numbers may have been given to others in the same breath.
            Scope::Touched(touched) => {
                let cables = touched.cables.iter();
                cables.filter(|cable| !self.desired.has_cable(cable)).collect()
            }
        };
        let pieces = unwanted.into_iter().flat_map(|cable| self.actual.pieces_of_cable(cable));
        pieces.map(|piece| Change::Take { piece: piece.clone() }).collect()
    }

    /// The flows that were let through by what is taken away.
    pub(crate) fn forgotten(&self, taken: &[&Vec<Change>]) -> Vec<Change> {
        let mut flows = BTreeSet::new();
        for change in taken.iter().copied().flatten() {
            let Change::Take { piece } = change else { continue };
            match piece {
                Piece::Guard { addr } | Piece::Member { addr, .. } => {
                    flows.insert(Flows::Of(*addr));
                }
                Piece::Lead { protocol, addr, inner, .. } => {
                    let (addr, protocol, ports) = (*addr, *protocol, *inner);
                    flows.insert(Flows::To { addr, protocol, ports });
                }
                Piece::Open { addr, protocol, ports, .. } => {
                    let (addr, protocol, ports) = (*addr, *protocol, *ports);
                    flows.insert(Flows::To { addr, protocol, ports });
                }
                Piece::Way { addr, .. } => drop(flows.insert(Flows::As(*addr))),
                _ => {}
            }
        }
        // Those of a whole address are among them.
        let whole: BTreeSet<IpAddr> = flows.iter().filter_map(whole).collect();
        flows.retain(|flows| match flows {
            Flows::To { addr, .. } => !whole.contains(addr),
            Flows::Of(_) | Flows::As(_) => true,
        });
        flows.into_iter().map(|flows| Change::Forget { flows }).collect()
    }
}

fn whole(flows: &Flows) -> Option<IpAddr> {
    match flows {
        Flows::Of(addr) => Some(*addr),
        Flows::To { .. } | Flows::As(_) => None,
    }
}

/// The same ports in ranges that do not meet.
fn joined(mut ports: Vec<Ports>) -> Vec<Ports> {
    ports.sort_unstable();
    let mut joined: Vec<Ports> = Vec::new();
    for next in ports {
        match joined.last_mut().filter(|last| last.meets(next)) {
            Some(last) => last.last = last.last.max(next.last),
            None => joined.push(next),
        }
    }
    joined
}

/// The container's ports that some of the host's lead to.
fn shifted(port: &PublishedPort, part: Ports) -> Ports {
    let inner = |host| port.inner(host).unwrap_or(port.container.first);
    Ports { first: inner(part.first), last: inner(part.last) }
}
