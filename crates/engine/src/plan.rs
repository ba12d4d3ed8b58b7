//! What has to be done so that the kernel is as it shall be.
//!
//! One function for everything: the hot path plans for the keys that a command
//! touched, start and roll-back plan for all keys. Removal is a plan towards a
//! state in which the object is not; there is no other teardown.

use std::collections::BTreeSet;

use kleene_model::matrix::{self, Attachment};
use kleene_model::{
    Container, Dual, Endpoint, Family, InstanceName, LinkName, Network, NetworkType,
};

use crate::actual::{Actual, Link, LinkKind};
use crate::change::{Cable, Change, Mark, Owner};
use crate::state::State;
use crate::store::Key;

/// Which objects a plan looks at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Every object, and every link that carries our mark.
    All,
    /// What a transaction touched.
    Touched(&'a BTreeSet<Key>),
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
    let all;
    let keys = match scope {
        Scope::All => {
            all = desired.all_keys();
            &all
        }
        Scope::Touched(keys) => keys,
    };
    let (mut cables, mut bridges) = (Vec::new(), Vec::new());
    for link in planner.orphans(scope) {
        match link.kind() {
            LinkKind::Bridge => bridges.extend(planner.remove(link)),
            LinkKind::Cable | LinkKind::Other => cables.extend(planner.remove(link)),
        }
    }
    let (mut networks, mut containers, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        match key {
            Key::Network(id) => {
                if let Some(network) = desired.network(*id) {
                    networks.extend(planner.network(network));
                }
            }
            Key::Container(id) => {
                if let Some(container) = desired.container(*id) {
                    containers.extend(planner.container(container));
                }
            }
            Key::Endpoint(id) => {
                if let Some(endpoint) = desired.endpoint(*id) {
                    endpoints.extend(planner.endpoint(endpoint));
                }
            }
            Key::Execution(_) => {}
        }
    }
    [cables, bridges, networks, containers, endpoints].concat()
}

struct Planner<'a> {
    actual: &'a Actual,
    desired: &'a State,
    instance: &'a InstanceName,
}

impl Planner<'_> {
    /// Links of ours within the scope that no object wants any more.
    fn orphans(&self, scope: Scope<'_>) -> Vec<&Link> {
        let ours = |link: &&Link| link.owned(self.instance).is_some();
        let candidates: Vec<&Link> = match scope {
            Scope::All => self.actual.links().filter(ours).collect(),
            Scope::Touched(keys) => keys
                .iter()
                .filter_map(|key| match key {
                    Key::Network(id) => Some(Owner::Network(*id)),
                    Key::Endpoint(id) => Some(Owner::Endpoint(*id)),
                    Key::Container(_) | Key::Execution(_) => None,
                })
                .flat_map(|owner| self.actual.links_marked(&self.mark(owner)).collect::<Vec<_>>())
                .collect(),
        };
        candidates.into_iter().filter(|link| !self.is_wanted(link)).collect()
    }

    fn is_wanted(&self, link: &Link) -> bool {
        match link.mark().map(|mark| mark.owner) {
            Some(Owner::Network(id)) => {
                self.desired.network(id).is_some_and(|network| network.interface == *link.name())
            }
            Some(Owner::Endpoint(id)) => self.desired.endpoint(id).is_some_and(|endpoint| {
                endpoint.cable.map(LinkName::cable_host).as_ref() == Some(link.name())
            }),
            None => true,
        }
    }

    fn remove(&self, link: &Link) -> Option<Change> {
        let owned = link.owned(self.instance)?;
        Some(match link.kind() {
            LinkKind::Bridge => Change::RemoveBridge { link: owned },
            LinkKind::Cable | LinkKind::Other => Change::RetireCable { link: owned },
        })
    }

    fn mark(&self, owner: Owner) -> Mark {
        Mark { instance: self.instance.clone(), owner }
    }

    /// The link of that name, if it is this object's. A stranger's of the same
    /// name is not touched: making ours is refused by the kernel, and said.
    fn own(&self, name: &LinkName, owner: Owner) -> Option<&Link> {
        self.actual.link(name).filter(|link| link.mark() == Some(&self.mark(owner)))
    }

    fn network(&self, network: &Network) -> Vec<Change> {
        match network.kind {
            NetworkType::Bridge => self.bridge(network),
            // Refused by name at creation until their own issue.
            NetworkType::Loopback | NetworkType::Custom => Vec::new(),
        }
    }

    fn bridge(&self, network: &Network) -> Vec<Change> {
        let link = &network.interface;
        let owner = Owner::Network(network.id);
        let mut changes = Vec::new();
        let existing = self.own(link, owner);
        if existing.is_none() {
            let (mac, mark) = (network.mac(), self.mark(owner));
            changes.push(Change::MakeBridge { link: link.clone(), mac, mark });
        }
        let wanted = Dual::from_fn(|family| {
            let gateway = network.gateway_address(family)?;
            network.subnet.get(family).map(|subnet| subnet.with_prefix(gateway))
        });
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
        (down && container.run.has_network())
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
            // Refused by name at creation until their own issue.
            Ok(Attachment::Addresses) | Err(_) => Vec::new(),
        }
    }

    fn cable(&self, endpoint: &Endpoint, network: &Network) -> Vec<Change> {
        let Some(number) = endpoint.cable else { return Vec::new() };
        let host = LinkName::cable_host(number);
        let mut changes = Vec::new();
        let existing = self.own(&host, Owner::Endpoint(endpoint.id));
        let whole = existing.is_some();
        if !whole {
            // Without its namespace a cable has nowhere to lead: the container
            // is being adopted, or is about to be found dead.
            if self.actual.namespace(endpoint.container).is_none() {
                return Vec::new();
            }
            changes.push(Change::MakeCable {
                cable: Cable {
                    host: host.clone(),
                    inner: LinkName::cable_container(number),
                    host_mac: endpoint.host_mac(),
                    inner_mac: endpoint.container_mac(),
                    container: endpoint.container,
                },
                mark: self.mark(Owner::Endpoint(endpoint.id)),
            });
        }
        if existing.and_then(Link::master) != Some(&network.interface) {
            changes.push(Change::Plug { link: host.clone(), bridge: network.interface.clone() });
        }
        if !existing.is_some_and(Link::is_up) {
            changes.push(Change::RaiseLink { link: host });
        }
        if !whole {
            changes.extend(self.inside(endpoint, network, number));
        }
        changes
    }

    /// What is set up inside the container, once, when its cable is made. It
    /// is the container's own afterwards.
    fn inside(&self, endpoint: &Endpoint, network: &Network, number: u32) -> Vec<Change> {
        let container = endpoint.container;
        let link = LinkName::cable_container(number);
        let mut changes = Vec::new();
        for (family, addr) in endpoint.address.present() {
            if let Some(subnet) = network.subnet.get(family) {
                let addr = subnet.with_prefix(*addr);
                changes.push(Change::AddInnerAddress { container, link: link.clone(), addr });
            }
        }
        changes.push(Change::RaiseInnerLink { container, link: link.clone() });
        for family in Family::BOTH {
            if self.default_route(endpoint, family)
                && let Some(via) = network.gateway_address(family)
            {
                changes.push(Change::AddDefaultRoute { container, link: link.clone(), via });
            }
        }
        changes
    }

    /// Whether this endpoint carries its container's default route: the first
    /// connected one whose network is not internal and has a gateway.
    fn default_route(&self, endpoint: &Endpoint, family: Family) -> bool {
        let first = self.desired.endpoints_of(endpoint.container).find(|candidate| {
            candidate.address.get(family).is_some()
                && self.desired.network(candidate.network).is_some_and(|network| {
                    !network.internal && network.gateway_address(family).is_some()
                })
        });
        first.is_some_and(|first| first.id == endpoint.id)
    }
}
