//! The verbs of networks and endpoints. Each reads the same: look up, permit,
//! reserve, commit.

use std::sync::Arc;

use kleene_model::addr::AddressRequest;
use kleene_model::api::{AUTO, EndPointConfig, HOST_GATEWAY, NetworkConfig};
use kleene_model::{
    Container, Dual, Endpoint, EndpointId, Family, Gateway, LinkName, Nat, Network, NetworkName,
    NetworkType, Refusal, RunState, Subnet, matrix,
};

use crate::command::Outcome;
use crate::engine::{Engine, Given};
use crate::host::{Host, HostError, chain};
use crate::ipam;
use crate::lookup;
use crate::state::State;
use crate::store::{Durability, Store};

fn host_refused(err: &HostError) -> Refusal {
    Refusal::Host { what: chain(err) }
}

impl<H: Host, S: Store> Engine<H, S> {
    /// Makes a network and its interface.
    pub(crate) fn network_create(
        &mut self,
        config: NetworkConfig,
        given: &mut Given<'_>,
    ) -> Result<Outcome, Refusal> {
        let NetworkConfig {
            name,
            kind,
            interface,
            subnet,
            subnet6,
            gateway,
            gateway6,
            nat,
            icc,
            internal,
        } = config;
        let name = NetworkName::parse(&name)?;
        let subnet = parse_subnets(&Dual { v4: subnet, v6: subnet6 })?;
        let gateway = parse_gateways(&Dual { v4: gateway, v6: gateway6 }, &subnet)?;
        let nat = parse_nat(nat.as_deref())?;
        permit(kind, &subnet, icc, internal)?;

        let mut next = self.state.clone();
        if name_is_taken(&next, &name) {
            return Err(Refusal::NetworkNameTaken);
        }
        self.actual =
            self.host.observe().map_err(|err| host_refused(&err))?.with_containers_of(&self.actual);
        let interface = self.choose_interface(&next, &interface)?;
        self.check_overlap(&next, &subnet)?;
        let id = given.network_id(&next);
        next.put_network(Arc::new(Network {
            id,
            name,
            kind,
            interface,
            subnet,
            gateway,
            nat,
            icc,
            internal,
        }));
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Removes a network: its endpoints first, running ones too.
    pub(crate) fn network_remove(&mut self, ident: &str) -> Result<Outcome, Refusal> {
        let network = lookup::network(&self.state, ident).map_err(|refusal| match refusal {
            Refusal::NetworkNotFound => Refusal::NetworkToRemoveNotFound,
            other => other,
        })?;
        let id = network.id;
        let mut next = self.state.clone();
        remove_network(&mut next, id);
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Removes every network without endpoints.
    pub(crate) fn network_prune(&mut self) -> Result<Outcome, Refusal> {
        let unused: Vec<_> = self
            .state
            .networks()
            .filter(|network| self.state.endpoints_of_network(network.id).next().is_none())
            .map(|network| network.id)
            .collect();
        let mut next = self.state.clone();
        for id in &unused {
            remove_network(&mut next, *id);
        }
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Ids(unused.iter().map(ToString::to_string).collect()))
    }

    /// Connects a stopped container to a network.
    pub(crate) fn network_connect(
        &mut self,
        config: &EndPointConfig,
        given: &mut Given<'_>,
    ) -> Result<Outcome, Refusal> {
        let EndPointConfig { container, network, ip_address, ip_address6 } = config;
        let container = Arc::clone(lookup::container(&self.state, container)?);
        let network = Arc::clone(lookup::network(&self.state, network)?);
        matrix::connect(container.driver, network.kind)?;
        if self.endpoint_between(&network, &container).is_some() {
            return Err(Refusal::AlreadyConnected);
        }
        permit_live(&container, "connecting")?;
        let request = Dual {
            v4: AddressRequest::parse(Family::V4, ip_address)?,
            v6: AddressRequest::parse(Family::V6, ip_address6)?,
        };
        let mut next = self.state.clone();
        let address = Dual::try_from_fn(|family| {
            ipam::reserve(&mut next, &network, family, *request.get(family))
        })?;
        let order = next.endpoints_of(container.id).map(|e| e.order + 1).max().unwrap_or(0);
        let id = given.endpoint_id(&next);
        next.put_endpoint(Arc::new(Endpoint {
            id,
            network: network.id,
            container: container.id,
            address,
            order,
            cable: None,
        }));
        self.commit(next, Durability::Process)?;
        Ok(Outcome::Done)
    }

    /// Disconnects a container from a network.
    pub(crate) fn network_disconnect(
        &mut self,
        network: &str,
        container: &str,
    ) -> Result<Outcome, Refusal> {
        let container = Arc::clone(lookup::container(&self.state, container)?);
        let network = Arc::clone(lookup::network(&self.state, network)?);
        let endpoint =
            self.endpoint_between(&network, &container).ok_or(Refusal::EndpointNotFound)?;
        permit_live(&container, "disconnecting")?;
        let mut next = self.state.clone();
        next.remove_endpoint(endpoint);
        self.commit(next, Durability::Process)?;
        Ok(Outcome::Done)
    }

    fn endpoint_between(&self, network: &Network, container: &Container) -> Option<EndpointId> {
        self.state.endpoints_of(container.id).find(|e| e.network == network.id).map(|e| e.id)
    }

    fn choose_interface(&self, state: &State, asked: &str) -> Result<LinkName, Refusal> {
        if asked.is_empty() {
            return (0..)
                .map(LinkName::kleene)
                .find(|name| !self.actual.knows(name) && state.network_on(name.as_str()).is_none())
                .ok_or_else(|| Refusal::unsupported("more than 2^32 networks"));
        }
        let name = LinkName::parse(asked)?;
        if let Some(network) = state.network_on(asked) {
            let network = network.name.to_string();
            return Err(Refusal::InterfaceInUse { name: asked.to_owned(), network });
        }
        if self.actual.link(&name).is_some() {
            return Err(Refusal::InterfaceExists { name: asked.to_owned() });
        }
        Ok(name)
    }

    /// Refuses a subnet that shares addresses with another network's or with a
    /// route of the host, and proposes the next free one.
    fn check_overlap(
        &mut self,
        state: &State,
        subnets: &Dual<Option<Subnet>>,
    ) -> Result<(), Refusal> {
        let routes = self.host.routes().map_err(|err| host_refused(&err))?;
        let holder = |subnet: Subnet| -> Option<String> {
            let network = state.networks().find_map(|network| {
                let other = (*network.subnet.get(subnet.family()))?;
                subnet.overlaps(other.net()).then(|| format!("{other} of network {}", network.name))
            });
            network.or_else(|| {
                routes
                    .iter()
                    .filter(|route| route.destination.prefix_len() != 0)
                    .find(|route| subnet.overlaps(route.destination))
                    .map(|route| match &route.link {
                        Some(link) => format!("the host's route {} on {link}", route.destination),
                        None => format!("the host's route {}", route.destination),
                    })
            })
        };
        for (family, subnet) in subnets.present() {
            if let Some(other) = holder(*subnet) {
                let field = family.field("subnet");
                let next = next_free(*subnet, |candidate| holder(candidate).is_none());
                return Err(Refusal::SubnetOverlaps {
                    field,
                    subnet: subnet.net(),
                    other,
                    next: next.map(Subnet::net),
                });
            }
        }
        Ok(())
    }
}

/// The next subnet of the same size that is free, within reach of a search
/// that a user will wait for.
fn next_free(subnet: Subnet, free: impl Fn(Subnet) -> bool) -> Option<Subnet> {
    std::iter::successors(subnet.next(), |candidate| candidate.next()).take(4096).find(|c| free(*c))
}

fn remove_network(state: &mut State, id: kleene_model::NetworkId) {
    let endpoints: Vec<EndpointId> = state.endpoints_of_network(id).map(|e| e.id).collect();
    for endpoint in endpoints {
        state.remove_endpoint(endpoint);
    }
    state.remove_network(id);
}

/// A network's name must be neither another's name nor the beginning of
/// another's id: both would be ambiguous from then on.
fn name_is_taken(state: &State, name: &NetworkName) -> bool {
    state.network_named(name.as_str()).is_some()
        || state.networks().any(|network| network.id.starts_with(name.as_str()))
}

fn parse_subnets(texts: &Dual<String>) -> Result<Dual<Option<Subnet>>, Refusal> {
    Dual::try_from_fn(|family| match texts.get(family).as_str() {
        "" => Ok(None),
        AUTO => Err(Refusal::unsupported(
            "automatic subnets: give the network one, as in --subnet 10.4.6.0/24",
        )),
        text => {
            let subnet = Subnet::parse(family, text)?;
            if subnet.prefix() + 1 >= family.bits() {
                let field = family.field("subnet");
                return Err(Refusal::SubnetTooSmall { field, subnet: subnet.net() });
            }
            Ok(Some(subnet))
        }
    })
}

fn parse_gateways(
    texts: &Dual<String>,
    subnets: &Dual<Option<Subnet>>,
) -> Result<Dual<Gateway>, Refusal> {
    Dual::try_from_fn(|family| Gateway::parse(family, texts.get(family), *subnets.get(family)))
}

fn parse_nat(text: Option<&str>) -> Result<Nat, Refusal> {
    match text {
        None | Some("") => Ok(Nat::None),
        Some(HOST_GATEWAY) => Ok(Nat::HostGateway),
        Some(interface) => Ok(Nat::Interface(LinkName::parse(interface)?)),
    }
}

/// What this version does; the rest is refused by name.
fn permit(
    kind: NetworkType,
    subnet: &Dual<Option<Subnet>>,
    icc: bool,
    internal: bool,
) -> Result<(), Refusal> {
    match kind {
        NetworkType::Bridge => {}
        NetworkType::Loopback | NetworkType::Custom => {
            return Err(Refusal::unsupported(format!(
                "networks of type {kind}: use --type bridge"
            )));
        }
    }
    if !icc {
        return Err(Refusal::unsupported(
            "icc=false: networks whose containers may not reach each other",
        ));
    }
    if internal {
        return Err(Refusal::unsupported("internal networks"));
    }
    if subnet.present().next().is_none() {
        return Err(Refusal::unsupported(
            "a network without a subnet: give --subnet, as in 10.4.6.0/24",
        ));
    }
    Ok(())
}

/// Endpoints of running containers do not change yet.
fn permit_live(container: &Container, doing: &str) -> Result<(), Refusal> {
    match container.run {
        RunState::Stopped => Ok(()),
        RunState::Preparing | RunState::Launching | RunState::Running | RunState::Stopping => {
            Err(Refusal::unsupported(format!(
                "{doing} a running container: stop {} first",
                container.name
            )))
        }
    }
}
