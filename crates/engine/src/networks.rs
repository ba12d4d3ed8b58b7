//! The verbs of networks. Each reads the same: look up, permit, reserve, commit.

use std::sync::Arc;

use kleene_model::api::{AUTO, HOST_GATEWAY, NetworkConfig};
use kleene_model::{
    Borrowed, Dual, EndpointId, Family, Gateway, LinkName, Nat, Network, NetworkId, NetworkName,
    NetworkType, Refusal, Subnet,
};

use crate::command::Outcome;
use crate::engine::{Engine, Given};
use crate::health::Health;
use crate::host::{Host, HostError, Promise, chain};
use crate::lookup;
use crate::pools::Asked;
use crate::state::State;
use crate::store::{Durability, Store};

pub(crate) fn host_refused(err: &HostError) -> Refusal {
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
        let asked = parse_subnets(&Dual { v4: subnet, v6: subnet6 })?;
        let nat = parse_nat(nat.as_deref())?;

        let mut next = self.state.clone();
        if name_is_taken(&next, &name) {
            return Err(Refusal::NetworkNameTaken);
        }
        let seen = self.host.observe().map_err(|err| host_refused(&err))?;
        self.see(seen);
        if let Nat::Interface(link) = &nat
            && self.actual.link(link).is_none()
        {
            return Err(Refusal::NoSuchInterface { name: link.to_string() });
        }
        let interface = self.choose_interface(&next, kind, &interface)?;
        let there = self.actual.link(&interface).map(|_| interface.clone());
        for promise in promises(icc, internal, &nat, there) {
            self.permit_promise(&promise)?;
        }
        let subnet = self.choose_subnets(&next, kind, &asked)?;
        let gateway = parse_gateways(&Dual { v4: gateway, v6: gateway6 }, &subnet)?;
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
            borrowed: Vec::new(),
            linked: Vec::new(),
            leaving: false,
        }));
        self.commit(next, Durability::Disk)?;
        // Said from the start: a look finds it again only later.
        let degraded = self.state.network(id).and_then(|network| self.no_way_out(network));
        self.state.set_health(id, Health { degraded, healed: 0 });
        Ok(Outcome::Id(id.to_string()))
    }

    /// What keeps the host from what a network promises.
    pub(crate) fn broken_promise(&mut self, network: &Network) -> Option<String> {
        let Network { icc, internal, nat, interface, .. } = network;
        let there = self.actual.link(interface).map(|_| interface.clone());
        let promised = promises(*icc, *internal, nat, there).into_iter();
        let mut broken = promised.filter_map(|promise| match self.host.hindrance(&promise) {
            Ok(broken) => broken,
            Err(err) => Some(chain(&err)),
        });
        broken.next()
    }

    /// Whether the host can keep a promise; what keeps it from that is said.
    pub(crate) fn permit_promise(&mut self, promise: &Promise) -> Result<(), Refusal> {
        match self.host.hindrance(promise).map_err(|err| host_refused(&err))? {
            None => Ok(()),
            Some(what) => Err(Refusal::unsupported(what)),
        }
    }

    /// Removes a network: its endpoints first, running ones too.
    pub(crate) fn network_remove(&mut self, ident: &str) -> Result<Outcome, Refusal> {
        let network = lookup::network(&self.state, ident).map_err(|refusal| match refusal {
            Refusal::NetworkNotFound => Refusal::NetworkToRemoveNotFound,
            other => other,
        })?;
        let id = network.id;
        self.dismiss(&[id])?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Removes networks with their endpoints.
    fn dismiss(&mut self, ids: &[NetworkId]) -> Result<(), Refusal> {
        let mut next = self.state.clone();
        for id in ids {
            next.dismiss(*id);
        }
        self.commit(next, Durability::Disk)?;
        ids.iter().try_for_each(|id| self.see_off(*id))
    }

    /// A network that is removed is forgotten when what was changed for it is
    /// put back, and not before.
    pub(crate) fn see_off(&mut self, id: NetworkId) -> Result<(), Refusal> {
        let Some(network) = self.state.network(id).filter(|network| network.leaving) else {
            return Ok(());
        };
        let owed = |b: &Borrowed| !self.is_put_back(b) && !self.state.is_needed(id, b);
        if network.borrowed.iter().any(owed) {
            return Ok(());
        }
        let mut next = self.state.clone();
        Self::hand_over(&mut next, id);
        next.remove_network(id);
        self.commit(next, Durability::Disk)
    }

    /// Removes every network without endpoints.
    pub(crate) fn network_prune(&mut self) -> Result<Outcome, Refusal> {
        let unused: Vec<_> = self
            .state
            .networks()
            .filter(|network| self.state.endpoints_of_network(network.id).next().is_none())
            .map(|network| network.id)
            .collect();
        self.dismiss(&unused)?;
        Ok(Outcome::Ids(unused.iter().map(ToString::to_string).collect()))
    }

    fn choose_interface(
        &self,
        state: &State,
        kind: NetworkType,
        asked: &str,
    ) -> Result<LinkName, Refusal> {
        if asked.is_empty() {
            if kind == NetworkType::Custom {
                return Err(Refusal::InterfaceRequired);
            }
            return (0..)
                .map(LinkName::kleene)
                .find(|name| !self.actual.knows(name) && state.network_on(name.as_str()).is_none())
                .ok_or_else(|| Refusal::unsupported("more than 2^32 networks"));
        }
        let name = LinkName::parse(asked)?;
        if asked.starts_with('-') {
            let why = format!("the interface name {asked} would be taken for an option by tools");
            return Err(Refusal::InvalidRequest { why });
        }
        if let Some(network) = state.network_on(asked) {
            let network = network.name.to_string();
            return Err(Refusal::InterfaceInUse { name: asked.to_owned(), network });
        }
        if let Some(network) = state.linked_into(&name) {
            let network = network.name.to_string();
            return Err(Refusal::InterfaceInUse { name: asked.to_owned(), network });
        }
        let text = asked.to_owned();
        match (kind, self.actual.link(&name)) {
            (NetworkType::Loopback | NetworkType::Bridge, Some(_)) => {
                Err(Refusal::InterfaceExists { name: text })
            }
            (NetworkType::Custom, None) => Err(Refusal::NoSuchInterface { name: text }),
            (NetworkType::Custom, Some(link)) if link.mark().is_some() => {
                Err(Refusal::InterfaceOfKleene { name: text })
            }
            (NetworkType::Loopback | NetworkType::Bridge, None)
            | (NetworkType::Custom, Some(_)) => Ok(name),
        }
    }
}

impl State {
    /// Removes a network with its endpoints. One for which settings were changed
    /// stays until they are put back.
    fn dismiss(&mut self, id: NetworkId) {
        let endpoints: Vec<EndpointId> = self.endpoints_of_network(id).map(|e| e.id).collect();
        for endpoint in endpoints {
            self.detach(endpoint);
        }
        if self.network(id).is_some_and(|network| !network.borrowed.is_empty()) {
            self.edit_network(id, |network| network.leaving = true);
        } else {
            self.remove_network(id);
        }
    }
}

/// What a network promises. Its interface is given where it is there.
fn promises(icc: bool, internal: bool, nat: &Nat, there: Option<LinkName>) -> Vec<Promise> {
    let apart = (!icc || internal).then_some(Promise::Apart(there));
    let translate = (*nat != Nat::None && !internal).then_some(Promise::Translate);
    apart.into_iter().chain(translate).collect()
}

/// A network's name must be neither another's name nor the beginning of
/// another's id: both would be ambiguous from then on.
fn name_is_taken(state: &State, name: &NetworkName) -> bool {
    state.network_named(name.as_str()).is_some()
        || state.networks().any(|network| network.id.starts_with(name.as_str()))
}

fn parse_subnets(texts: &Dual<String>) -> Result<Dual<Asked>, Refusal> {
    Dual::try_from_fn(|family| match texts.get(family).as_str() {
        "" => Ok(Asked::None),
        AUTO => Ok(Asked::Auto),
        text => {
            let subnet = Subnet::parse(family, text)?;
            if subnet.prefix() + 1 >= family.bits() {
                let field = family.field("subnet");
                return Err(Refusal::SubnetTooSmall { field, subnet: subnet.net() });
            }
            if let Some(range) = subnet.reserved() {
                let field = family.field("subnet");
                let instead = match family {
                    Family::V4 => "10.4.6.0/24",
                    Family::V6 => "fd00:4:6::/64",
                };
                return Err(Refusal::SubnetReserved {
                    field,
                    subnet: subnet.net(),
                    range,
                    instead,
                });
            }
            Ok(Asked::Given(subnet))
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
