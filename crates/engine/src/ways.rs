//! What follows from a desired state without being written in it: ways out,
//! interfaces that are stood on.

use std::net::IpAddr;
use std::sync::Arc;

use kleene_model::{
    Borrowed, Container, ContainerId, Driver, Dual, Endpoint, EndpointId, Family, LinkName,
    Network, NetworkId, NetworkType,
};

use crate::state::State;

impl State {
    /// Whether addresses of `ipnet` containers stand on the network's interface
    /// in this family, or shall.
    #[must_use]
    pub fn is_stood_on(&self, id: NetworkId, family: Family) -> bool {
        self.endpoints_of_network(id).any(|endpoint| {
            let stands = |c: &Arc<Container>| c.driver == Driver::Ipnet && c.run.has_network();
            let container = self.container(endpoint.container);
            endpoint.address.get(family).is_some() && container.is_some_and(stands)
        })
    }

    /// The interface of the host in whose place the inner end of a container's
    /// cable stands in its view, when it starts: that of its first network,
    /// unless that is the loopback, which every view has of its own.
    #[must_use]
    pub fn first_interface(&self, id: ContainerId) -> Option<&LinkName> {
        let first = self.endpoints_of(id).next()?;
        let network = self.network(first.network)?;
        (!network.interface.is_loopback()).then_some(&network.interface)
    }

    /// Whether containers in the network have addresses of this family, or shall.
    #[must_use]
    pub fn is_used(&self, id: NetworkId, family: Family) -> bool {
        self.endpoints_of_network(id).any(|endpoint| {
            let container = self.container(endpoint.container);
            endpoint.address.get(family).is_some()
                && container.is_some_and(|container| container.run.has_network())
        })
    }

    /// Whether a setting that was changed for a network is needed.
    pub(crate) fn is_needed(&self, id: NetworkId, borrowed: &Borrowed) -> bool {
        if borrowed.way {
            let used = |family| self.networks().any(|network| self.is_used(network.id, family));
            return used(borrowed.family) || borrowed.either && Family::BOTH.into_iter().any(used);
        }
        let stood_on = |id| self.is_stood_on(id, borrowed.family);
        if !borrowed.shared {
            return stood_on(id);
        }
        let on_a_wire = |kind| match kind {
            NetworkType::Bridge | NetworkType::Custom => true,
            NetworkType::Loopback => false,
        };
        self.networks().any(|network| on_a_wire(network.kind) && stood_on(network.id))
    }

    /// Whether a setting is changed already, for this network or, where it is
    /// the whole host's, for any.
    pub(crate) fn has_borrowed(&self, id: NetworkId, setting: &str) -> bool {
        let networks = self.lenders().chain([id]).filter_map(|id| self.network(id));
        networks.flat_map(|network| &network.borrowed).any(|b| b.setting == setting)
    }

    /// The network that an interface of the host is linked into.
    pub(crate) fn linked_into(&self, link: &LinkName) -> Option<&Arc<Network>> {
        self.networks().find(|network| network.linked.iter().any(|linked| linked.link == *link))
    }

    /// Whether an interface of the host is linked into some network.
    pub(crate) fn is_linked(&self, link: &LinkName) -> bool {
        self.linked_into(link).is_some()
    }

    /// The endpoints of a container, the one first that shall rather carry its
    /// default route: by priority, then in the order of connection.
    pub(crate) fn by_priority(&self, container: ContainerId) -> Vec<&Arc<Endpoint>> {
        let mut endpoints: Vec<_> = self.endpoints_of(container).collect();
        endpoints.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.options.priority));
        endpoints
    }

    /// The endpoint that carries a container's default route: the first whose network
    /// has a gateway, where the container needs one; one that is not internal before
    /// those that are.
    #[must_use]
    pub fn carrier(&self, id: ContainerId, family: Family) -> Option<&Arc<Endpoint>> {
        let needs_gateway = self.container(id).is_some_and(|c| c.driver == Driver::Vnet);
        let usable = |endpoint: &&Arc<Endpoint>, internal: bool| {
            let network = self.network(endpoint.network);
            let leads_out = network.is_some_and(|network| {
                let gateway = network.gateway_address(family).is_some();
                network.internal == internal && (gateway || !needs_gateway)
            });
            endpoint.address.get(family).is_some() && leads_out
        };
        let endpoints = self.by_priority(id);
        // Who comes to a published port of a container in internal networks only
        // is answered all the same.
        let first = |internal| endpoints.iter().copied().find(|e| usable(e, internal));
        first(false).or_else(|| first(true))
    }

    /// The address that a container's published ports lead to: that of its first
    /// endpoint by priority.
    #[must_use]
    pub fn target(&self, id: ContainerId, family: Family) -> Option<IpAddr> {
        self.by_priority(id).into_iter().find_map(|endpoint| *endpoint.address.get(family))
    }

    /// The endpoints that carry a container's default routes.
    pub(crate) fn carriers(&self, id: ContainerId) -> Dual<Option<EndpointId>> {
        Dual::from_fn(|family| self.carrier(id, family).map(|endpoint| endpoint.id))
    }

    /// Over which cable, to which gateway a `vnet` container's default route
    /// leads.
    #[must_use]
    pub fn way_out(&self, container: ContainerId, family: Family) -> Option<(u32, IpAddr)> {
        let carrier = self.carrier(container, family)?;
        let via = self.network(carrier.network)?.gateway_address(family)?;
        carrier.cable.map(|cable| (cable, via))
    }
}
