//! The verbs of endpoints, for containers that are stopped and that run. Each
//! reads the same: look up, permit, reserve, commit.

use std::net::IpAddr;
use std::sync::Arc;

use kleene_model::addr::AddressRequest;
use kleene_model::api::EndPointConfig;
use kleene_model::{
    Container, ContainerId, Driver, Dual, Endpoint, EndpointId, EndpointOptions, Family, LinkName,
    Network, NetworkType, Refusal, RoutedCable, RunState, matrix,
};

use crate::actual::Addressing;
use crate::command::Outcome;
use crate::engine::{Engine, Given};
use crate::host::{Host, HostError};
use crate::ipam;
use crate::lookup;
use crate::networks::host_refused;
use crate::state::State;
use crate::store::{Durability, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// Connects a container to a network; a running one at once.
    pub(crate) fn network_connect(
        &mut self,
        config: &EndPointConfig,
        given: &mut Given<'_>,
    ) -> Result<Outcome, Refusal> {
        let EndPointConfig { container, network, ip_address, ip_address6, mac, mtu, priority } =
            config;
        let container = Arc::clone(lookup::container(&self.state, container)?);
        let network = Arc::clone(lookup::network(&self.state, network)?);
        matrix::connect(container.driver, network.kind)?;
        if self.endpoint_between(&network, &container).is_some() {
            return Err(Refusal::AlreadyConnected);
        }
        permit_now(&container)?;
        let request = Dual {
            v4: AddressRequest::parse(Family::V4, ip_address)?,
            v6: AddressRequest::parse(Family::V6, ip_address6)?,
        };
        let (mut next, address) = self.reserve(&network, &request)?;
        let priority = priority.unwrap_or(0);
        let options =
            EndpointOptions::parse(container.driver, &address, mac.as_deref(), *mtu, priority)?;
        if container.run.has_network() {
            let borrowed = self.borrow_for(&container, &[(network.id, address)]);
            borrowed.inspect_err(|_| self.forget_borrowed(network.id))?;
            (next, _) = self.reserve(&network, &request)?;
        }
        let order = next.endpoints_of(container.id).map(|e| e.order + 1).max().unwrap_or(0);
        let id = given.endpoint_id(&next);
        next.put_endpoint(Arc::new(Endpoint {
            id,
            network: network.id,
            container: container.id,
            address,
            order,
            cable: None,
            options,
        }));
        if container.run.has_network() {
            self.plug_live(&mut next, &container, id);
        }
        let connected = self.commit(next, Durability::Process);
        if let Err(refused) = connected {
            // Its endpoint is not there to lead to it.
            self.forget_borrowed(network.id);
            self.give_back(container.id);
            // It was looked at again: what the kernel said is what follows.
            let vanished = self.actual.link(&network.interface).is_none();
            let name = network.interface.to_string();
            return Err(if vanished { Refusal::NoSuchInterface { name } } else { refused });
        }
        Ok(Outcome::Done)
    }

    /// The state in which the addresses of a new endpoint are taken.
    fn reserve(
        &mut self,
        network: &Network,
        request: &Dual<AddressRequest>,
    ) -> Result<(State, Dual<Option<IpAddr>>), Refusal> {
        let refused = |err: HostError| host_refused(&err);
        let wire = match network.kind {
            NetworkType::Custom => Some(self.host.neighbours(&network.interface).map_err(refused)?),
            NetworkType::Loopback | NetworkType::Bridge => None,
        };
        // The host answers on what stands on links that are up.
        let seen = |addr| self.actual.links().any(|link| !link.is_up() && link.has(addr));
        let mut busy = |addr: IpAddr| match &wire {
            Some(wire) if wire.contains(&addr) || seen(addr) => Ok(true),
            Some(_) => self.host.has_address(addr).map_err(refused),
            None => Ok(false),
        };
        let mut next = self.state.clone();
        let address = Dual::try_from_fn(|family| {
            ipam::reserve(&mut next, network, family, *request.get(family), &mut busy)
        });
        address.map(|address| (next, address))
    }

    /// What an endpoint of a running container needs at once.
    fn plug_live(&self, next: &mut State, container: &Container, endpoint: EndpointId) {
        let free = |n| !self.actual.knows(&LinkName::cable_host(n));
        match container.driver {
            Driver::Vnet => {
                let cable = next.take_cable(free);
                next.set_cable(endpoint, cable);
            }
            Driver::Ipnet => {
                let routed = self.actual.addressing() == Addressing::Routed;
                if routed && container.cable.is_none() {
                    // The view shows the network's interface already.
                    let cable = next.take_cable(free).map(|number| RoutedCable {
                        number,
                        inner: LinkName::cable_container(number),
                    });
                    next.set_routed_cable(container.id, cable);
                }
            }
            Driver::Host | Driver::Disabled => {}
        }
    }

    /// Disconnects a container from a network; a running one at once.
    pub(crate) fn network_disconnect(
        &mut self,
        network: &str,
        container: &str,
    ) -> Result<Outcome, Refusal> {
        let container = Arc::clone(lookup::container(&self.state, container)?);
        let network = Arc::clone(lookup::network(&self.state, network)?);
        let endpoint =
            self.endpoint_between(&network, &container).ok_or(Refusal::EndpointNotFound)?;
        permit_now(&container)?;
        let mut next = self.state.clone();
        next.detach(endpoint);
        self.commit(next, Durability::Process)?;
        self.forget_borrowed(network.id);
        self.give_back(container.id);
        Ok(Outcome::Done)
    }

    fn endpoint_between(&self, network: &Network, container: &Container) -> Option<EndpointId> {
        self.state.endpoints_of(container.id).find(|e| e.network == network.id).map(|e| e.id)
    }
}

impl State {
    /// Removes an endpoint, and what its container's cable has of it.
    pub(crate) fn detach(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoint(id).cloned() else { return };
        let interface = self.network(endpoint.network).map(|network| network.interface.clone());
        self.remove_endpoint(id);
        self.fit_routed_cable(endpoint.container, interface.as_ref());
    }

    /// A container without endpoints needs no cable; one whose cable stands in
    /// the place of `gone` has it renamed.
    fn fit_routed_cable(&mut self, id: ContainerId, gone: Option<&LinkName>) {
        let Some(cable) = self.container(id).and_then(|container| container.cable.clone()) else {
            return;
        };
        if self.endpoints_of(id).next().is_none() {
            self.set_routed_cable(id, None);
        } else if Some(&cable.inner) == gone {
            let inner = LinkName::cable_container(cable.number);
            self.set_routed_cable(id, Some(RoutedCable { inner, ..cable }));
        }
    }
}

/// While a container starts, its endpoints are on their way.
fn permit_now(container: &Container) -> Result<(), Refusal> {
    match container.run {
        RunState::Stopped | RunState::Running | RunState::Stopping => Ok(()),
        RunState::Preparing | RunState::Launching => {
            Err(Refusal::Busy { container: container.id.to_string(), doing: "starting" })
        }
    }
}
