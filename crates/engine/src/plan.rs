//! What has to be done so that the kernel is as it shall be.
//!
//! One function for everything: the hot path plans for the objects that a
//! command touched, start and roll-back plan for all. Removal is a plan towards
//! a state in which the object is not; there is no other teardown.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::matrix::{self, Attachment};
use kleene_model::{
    Container, ContainerId, Driver, Dual, Endpoint, EndpointId, InstanceName, LinkName, Network,
    NetworkId, NetworkType, RoutedCable,
};

use crate::actual::{Actual, Addressing, Link};
use crate::change::{Cable, CableUse, Change, Mark, Owner};
use crate::state::State;
use crate::store::Key;
use crate::touched::Touched;

/// Which objects a plan looks at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Every object, and everything that carries our mark.
    All,
    /// What a transaction touched.
    Touched(&'a Touched),
}

/// The changes that bring the objects in `scope` from what `actual` shows to
/// what `desired` says. What must go comes first, so that names and addresses
/// are free again; then networks, then what stands on them.
#[must_use]
pub fn plan(
    scope: Scope<'_>,
    actual: &Actual,
    desired: &State,
    instance: &InstanceName,
) -> Vec<Change> {
    let planner = Planner { actual, desired, instance };
    let extent = planner.extent(scope);
    let views = planner.views(&extent);
    let standing = planner.standing(&extent);
    let policy = planner.policy(&extent);
    let (mut cables, mut interfaces) = (Vec::new(), Vec::new());
    for link in planner.orphans(scope) {
        planner.remove(link, &mut cables, &mut interfaces);
    }
    let (mut networks, mut given_back) = (Vec::new(), Vec::new());
    for network in extent.networks.iter().filter_map(|id| desired.network(*id)) {
        networks.extend(planner.network(network, &mut given_back));
    }
    let containers = extent.containers.iter().filter_map(|id| desired.container(*id));
    let loopbacks = containers.filter_map(|container| planner.container(container)).collect();
    let endpoints = extent.endpoints.iter().filter_map(|id| desired.endpoint(*id));
    let plugged: Vec<Change> = endpoints.flat_map(|endpoint| planner.endpoint(endpoint)).collect();
    let containers = extent.containers.iter().filter_map(|id| desired.container(*id));
    let defaults =
        containers.flat_map(|container| planner.default_routes(container, &plugged)).collect();
    let containers = extent.containers.iter().filter_map(|id| desired.container(*id));
    let answers = containers.flat_map(|container| planner.answers(container, &plugged)).collect();
    let unchecked = planner.unchecked(scope);
    let forgotten = planner.forgotten(&[&standing.taken, &standing.unfenced, &policy.taken]);
    [
        // What goes from a view gives way first: no flow of another network
        // loses a packet because its default route moved.
        views.kept,
        standing.taken,
        cables,
        standing.unfenced,
        unchecked,
        interfaces,
        policy.taken,
        policy.put,
        networks,
        loopbacks,
        views.made,
        // Before an address can be used there is what holds it.
        standing.fenced,
        plugged,
        defaults,
        answers,
        standing.put,
        // Nothing lets them through any more.
        forgotten,
        given_back,
    ]
    .concat()
}

/// The objects that a plan looks at.
pub(crate) struct Extent {
    pub(crate) networks: BTreeSet<NetworkId>,
    pub(crate) containers: BTreeSet<ContainerId>,
    pub(crate) endpoints: BTreeSet<EndpointId>,
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Networks whose rules are looked at.
    pub(crate) ruled: BTreeSet<NetworkId>,
    /// Containers whose published ports are looked at.
    pub(crate) published: BTreeSet<ContainerId>,
    /// Whether what the policy holds of the host as a whole is looked at.
    pub(crate) host: bool,
}

pub(crate) struct Planner<'a> {
    pub(crate) actual: &'a Actual,
    pub(crate) desired: &'a State,
    pub(crate) instance: &'a InstanceName,
}

impl Planner<'_> {
    fn extent(&self, scope: Scope<'_>) -> Extent {
        match scope {
            Scope::All => Extent {
                networks: self.desired.networks().map(|network| network.id).collect(),
                containers: self.desired.containers().map(|container| container.id).collect(),
                endpoints: self.desired.endpoints().map(|endpoint| endpoint.id).collect(),
                addresses: self
                    .desired
                    .held_addresses()
                    .chain(self.actual.placed_addresses())
                    .collect(),
                ruled: self
                    .desired
                    .networks()
                    .map(|network| network.id)
                    .chain(self.actual.ruled_networks())
                    .collect(),
                published: self
                    .desired
                    .containers()
                    .map(|container| container.id)
                    .chain(self.actual.held_containers())
                    .collect(),
                host: true,
            },
            Scope::Touched(touched) => {
                let mut extent = Extent {
                    networks: touched.networks.clone(),
                    containers: touched.containers.clone(),
                    endpoints: touched.endpoints.clone(),
                    addresses: touched.addresses.clone(),
                    ruled: BTreeSet::new(),
                    published: touched.containers.clone(),
                    host: touched.host,
                };
                for key in &touched.keys {
                    match key {
                        Key::Network(id) => {
                            extent.networks.insert(*id);
                            extent.ruled.insert(*id);
                            extent.host = true;
                        }
                        Key::Container(id) => {
                            extent.containers.insert(*id);
                            extent.published.insert(*id);
                        }
                        Key::Endpoint(id) => drop(extent.endpoints.insert(*id)),
                        Key::Execution(_) | Key::Image(_) => {}
                    }
                }
                if !extent.networks.is_empty() {
                    extent.networks.extend(self.desired.lenders());
                }
                extent.addresses.extend(self.led_beside(&extent.containers));
                extent
            }
        }
    }

    /// Links of ours within the scope that no object wants any more.
    fn orphans(&self, scope: Scope<'_>) -> Vec<&Link> {
        let ours = |link: &&Link| link.owned(self.instance).is_some();
        let candidates: Vec<&Link> = match scope {
            Scope::All => self.actual.links().filter(ours).collect(),
            Scope::Touched(touched) => touched
                .keys
                .iter()
                .filter_map(|key| match key {
                    Key::Network(id) => Some(Owner::Network(*id)),
                    Key::Endpoint(id) => Some(Owner::Endpoint(*id)),
                    Key::Container(id) => Some(Owner::Container(*id)),
                    Key::Execution(_) | Key::Image(_) => None,
                })
                .flat_map(|owner| self.actual.links_marked(&self.mark(owner)).collect::<Vec<_>>())
                .collect(),
        };
        candidates.into_iter().filter(|link| !self.is_wanted(link)).collect()
    }

    fn is_wanted(&self, link: &Link) -> bool {
        if link.half {
            return false;
        }
        match link.mark().map(|mark| mark.owner) {
            Some(Owner::Network(id)) => self
                .desired
                .network(id)
                .is_some_and(|network| !network.leaving && network.interface == *link.name()),
            Some(Owner::Endpoint(id)) => self.desired.endpoint(id).is_some_and(|endpoint| {
                endpoint.cable.map(LinkName::cable_host).as_ref() == Some(link.name())
            }),
            Some(Owner::Container(id)) => self.desired.container(id).is_some_and(|container| {
                container.cable.as_ref().map(RoutedCable::host).as_ref() == Some(link.name())
            }),
            None => true,
        }
    }

    fn remove(&self, link: &Link, cables: &mut Vec<Change>, interfaces: &mut Vec<Change>) {
        let Some(owned) = link.owned(self.instance) else { return };
        match owned.mark().owner {
            Owner::Network(_) => interfaces.push(Change::RemoveLink { link: owned }),
            Owner::Endpoint(_) | Owner::Container(_) => {
                cables.push(Change::RetireCable { link: owned });
            }
        }
    }

    pub(crate) fn mark(&self, owner: Owner) -> Mark {
        Mark { instance: self.instance.clone(), owner }
    }

    /// The link of that name, if it is this object's. A stranger's of the same
    /// name is not touched: making ours is refused by the kernel, and said.
    pub(crate) fn own(&self, name: &LinkName, owner: Owner) -> Option<&Link> {
        let whole = self.actual.link(name).filter(|link| !link.half);
        whole.filter(|link| link.mark() == Some(&self.mark(owner)))
    }

    /// A network's interface. What is put back at last goes to `given_back`.
    fn network(&self, network: &Network, given_back: &mut Vec<Change>) -> Vec<Change> {
        if network.leaving {
            return self.settings(network, given_back);
        }
        let gateways = match network.kind {
            NetworkType::Bridge => Dual::from_fn(|family| {
                let gateway = network.gateway_address(family)?;
                network.subnet.get(family).map(|subnet| subnet.with_prefix(gateway))
            }),
            // A gateway is stored for them, and means nothing.
            NetworkType::Loopback => Dual::default(),
            NetworkType::Custom => return self.settings(network, given_back),
        };
        let mut changes = self.settings(network, given_back);
        changes.extend(self.interface(network, &gateways));
        changes.extend(self.linked(network));
        changes
    }

    /// The interfaces of the host in a network's bridge: those that are there.
    fn linked(&self, network: &Network) -> Vec<Change> {
        let bridge = &network.interface;
        let mut changes = Vec::new();
        for linked in &network.linked {
            let link = linked.link.clone();
            let Some(port) = self.actual.link(&link) else { continue };
            match (linked.leaving, port.master() == Some(bridge)) {
                (false, false) if port.master().is_none() => {
                    changes.push(Change::Plug { link, bridge: bridge.clone() });
                }
                (true, true) => changes.push(Change::Unplug { link, bridge: bridge.clone() }),
                // Somebody has put it elsewhere: theirs.
                (false, _) | (true, false) => {}
            }
        }
        changes
    }

    /// The settings of the host that are changed for a network.
    fn settings(&self, network: &Network, given_back: &mut Vec<Change>) -> Vec<Change> {
        let mut changes = Vec::new();
        for borrowed in &network.borrowed {
            let needed = self.desired.is_needed(network.id, borrowed);
            let value = if needed { &borrowed.wanted } else { &borrowed.before };
            if self.actual.setting(&borrowed.setting) != Some(value) {
                let (setting, value) = (borrowed.setting.clone(), value.clone());
                let changes = if needed { &mut changes } else { &mut *given_back };
                changes.push(Change::Set { setting, value });
            }
        }
        changes
    }

    fn interface(&self, network: &Network, wanted: &Dual<Option<IpNet>>) -> Vec<Change> {
        let link = &network.interface;
        let owner = Owner::Network(network.id);
        let mut changes = Vec::new();
        let existing = self.own(link, owner);
        if existing.is_none() {
            let (link, mac, mark) = (link.clone(), network.mac(), self.mark(owner));
            changes.push(match network.kind {
                NetworkType::Loopback => Change::MakeLoopback { link, mac, mark },
                NetworkType::Bridge | NetworkType::Custom => Change::MakeBridge { link, mac, mark },
            });
        }
        for (_, addr) in wanted.present() {
            if !existing.is_some_and(|link| link.addresses().contains(addr)) {
                changes.push(Change::AddAddress { link: link.clone(), addr: *addr });
            }
        }
        if let Some(owned) = existing.and_then(|link| link.owned(self.instance)) {
            let surplus = existing.into_iter().flat_map(Link::addresses);
            for addr in surplus.filter(|addr| !wanted.present().any(|(_, want)| want == *addr)) {
                changes.push(Change::RemoveAddress { link: owned.clone(), addr: *addr });
            }
        }
        if !existing.is_some_and(Link::is_up) {
            changes.push(Change::RaiseLink { link: link.clone() });
        }
        changes
    }

    /// A stack of its own has its loopback up before anything runs in it.
    fn container(&self, container: &Container) -> Option<Change> {
        let down = self.actual.namespace(container.id) == Some(false);
        (down && container.driver == Driver::Vnet && container.run.has_network())
            .then_some(Change::RaiseLoopback { container: container.id })
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Vec<Change> {
        let (Some(network), Some(container)) =
            (self.desired.network(endpoint.network), self.desired.container(endpoint.container))
        else {
            return Vec::new();
        };
        match matrix::connect(container.driver, network.kind) {
            Ok(Attachment::Cable) => self.cable(endpoint, network),
            // The addresses are planned for themselves.
            Ok(Attachment::Addresses) | Err(_) => Vec::new(),
        }
    }

    fn cable(&self, endpoint: &Endpoint, network: &Network) -> Vec<Change> {
        let Some(number) = endpoint.cable else { return Vec::new() };
        let host = LinkName::cable_host(number);
        let existing = self.own(&host, Owner::Endpoint(endpoint.id));
        let whole = existing.is_some();
        // Without its namespace a cable has nowhere to lead: the container is
        // being adopted, or is about to be found dead.
        if !whole && self.actual.namespace(endpoint.container).is_none() {
            return Vec::new();
        }
        let mut changes = self.fence(endpoint, &host);
        if !whole {
            changes.push(Change::MakeCable {
                cable: Cable {
                    purpose: CableUse::Port,
                    host: host.clone(),
                    inner: LinkName::cable_container(number),
                    host_mac: endpoint.host_mac(),
                    inner_mac: endpoint.container_mac(),
                    mtu: endpoint.options.mtu,
                    container: endpoint.container,
                },
                mark: self.mark(Owner::Endpoint(endpoint.id)),
            });
        }
        if existing.and_then(Link::master) != Some(&network.interface) {
            changes.push(Change::Plug { link: host.clone(), bridge: network.interface.clone() });
        }
        let isolates = !network.icc && self.actual.addressing() == Addressing::Routed;
        if isolates && !existing.is_some_and(Link::is_isolated) {
            changes.push(Change::Isolate { link: host.clone() });
        }
        if !existing.is_some_and(Link::is_up) {
            changes.push(Change::RaiseLink { link: host });
        }
        if !whole {
            changes.extend(self.inside_own_stack(endpoint, network, number));
        }
        changes
    }
}
