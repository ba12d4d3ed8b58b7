//! What becomes of a flow, and why: the policy's own word, from the state and the
//! picture of the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use kleene_model::api::{ExplainConfig, Explanation};
use kleene_model::policy::{
    Blocked, Flow, HostFacts, Member, Origin, Payload, Policy, Publication, Rule, Verdict,
};
use kleene_model::{
    ContainerId, Driver, Dual, Family, LinkName, Listed, Network, NetworkId, NetworkType, Protocol,
    Refusal,
};

use crate::command::Outcome;
use crate::engine::Engine;
use crate::host::Host;
use crate::lookup;
use crate::networks::host_refused;
use crate::passage::{Explained, Passage, Passing, WEB, passage};
use crate::plan::Planner;
use crate::plan_policy::rules_of;
use crate::store::Store;

/// What networks' containers usually do in a family: one of each asks somebody
/// outside, and somebody outside asks one at a published port.
fn usual(policy: &Policy, family: Family, out: Option<&LinkName>) -> Vec<(NetworkId, Flow)> {
    let mut senders: BTreeMap<NetworkId, (Origin, IpAddr)> = BTreeMap::new();
    for (addr, member) in policy.members.iter().filter(|(addr, _)| Family::of(**addr) == family) {
        let sender = (Origin::Container(member.container), *addr);
        senders.entry(member.network).or_insert(sender);
    }
    // Where nobody is yet, they will come out of the bridge.
    for network in policy.networks.values().filter(|one| one.kind == NetworkType::Bridge) {
        if let Some(subnet) = network.subnet.get(family) {
            let sender = || (Origin::Interface(network.interface.clone()), subnet.last());
            senders.entry(network.id).or_insert_with(sender);
        }
    }
    let asks = senders.into_iter().map(|(network, (from, source))| {
        let payload = Payload::Port(Protocol::Tcp, WEB);
        (network, Flow { from, source, to: family.far_away(), payload, out: out.cloned() })
    });
    let mut asked: BTreeMap<NetworkId, Flow> = BTreeMap::new();
    for publication in &policy.publications {
        let network = publication.target.get(family).and_then(|addr| policy.network_of(addr));
        if let Some(network) = network
            && !asked.contains_key(&network.id)
        {
            asked.extend(from_outside(policy, publication, family).map(|flow| (network.id, flow)));
        }
    }
    asks.chain(asked).collect()
}

/// Somebody outside asks at the first port of a publication.
fn from_outside(policy: &Policy, publication: &Publication, family: Family) -> Option<Flow> {
    let port = publication.ports.first()?;
    let link = match &port.on {
        Listed::Uplink => policy.host.uplink.get(family).clone()?,
        Listed::These(links) => links.first()?.clone(),
    };
    Some(Flow {
        to: policy.nat_source(&link, family)?,
        from: Origin::Interface(link),
        source: family.far_away(),
        payload: Payload::Port(port.protocol, port.host.first),
        out: None,
    })
}

/// One end of a flow, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Host,
    Outside,
    Container(ContainerId),
    Address(IpAddr),
}

impl<H: Host, S: Store> Engine<H, S> {
    /// Says what becomes of a flow, in each family that both ends have.
    pub(crate) fn network_explain(&mut self, config: &ExplainConfig) -> Result<Outcome, Refusal> {
        let ExplainConfig { from, to, port, protocol } = config;
        let (from, to) = (self.end(from)?, self.end(to)?);
        let payload = payload(*port, protocol.as_deref())?;
        let policy = self.policy();
        let mut explained = Vec::new();
        for family in Family::BOTH {
            let Some(to) = self.destination(&policy, from, to, family) else { continue };
            let Some(source) = self.source(&policy, from, to) else { continue };
            let out = self.host.way_out(to).map_err(|err| host_refused(&err))?;
            let out = out.or_else(|| policy.host.uplink.get(family).clone());
            let Some(from) = self.origin(&policy, from, source)? else { continue };
            let flow = Flow { from, source, to, payload, out };
            explained.push(self.explained(&policy, &flow));
        }
        if explained.is_empty() {
            let nowhere = self.actual.uplink(Family::V4).link.is_none()
                && self.actual.uplink(Family::V6).link.is_none();
            let why = match [from, to].contains(&End::Outside) && nowhere {
                true => "the host has no default route, so nobody is outside",
                false => "the two have no address of the same family",
            };
            return Err(Refusal::InvalidRequest { why: why.to_owned() });
        }
        Ok(Outcome::Explained(explained))
    }

    /// The ways of what passes in each network: out of it, and in to a published
    /// port. Asked for when somebody else's firewall may stand in them.
    pub(crate) fn passings(&mut self) -> Result<Outcome, Refusal> {
        let policy = self.policy();
        let mut passages: BTreeMap<NetworkId, Vec<Passage>> = BTreeMap::new();
        for family in Family::BOTH {
            let out = self.host.way_out(family.far_away()).map_err(|err| host_refused(&err))?;
            let out = out.or_else(|| policy.host.uplink.get(family).clone());
            for (network, flow) in usual(&policy, family, out.as_ref()) {
                let way = passage(&self.state, &policy, &flow, &policy.verdict(&flow));
                passages.entry(network).or_default().extend(way);
            }
        }
        let networks = self.state.networks().filter(|network| !network.leaving);
        let passing = |network: &Arc<Network>| Passing {
            network: network.name.to_string(),
            passages: passages.remove(&network.id).unwrap_or_default(),
        };
        Ok(Outcome::Passings(networks.map(passing).collect()))
    }

    fn end(&self, text: &str) -> Result<End, Refusal> {
        match text {
            "host" => Ok(End::Host),
            "outside" => Ok(End::Outside),
            _ => match text.parse() {
                Ok(addr) => Ok(End::Address(addr)),
                Err(_) => {
                    let container = lookup::container(&self.state, text)?;
                    // What it sends, the host sends.
                    let host = container.driver == Driver::Host;
                    Ok(if host { End::Host } else { End::Container(container.id) })
                }
            },
        }
    }

    /// The policy as it is now, with the containers that are stopped: what is asked
    /// is what would become of a flow, and nobody starts a container to know.
    fn policy(&self) -> Policy {
        let planner =
            Planner { actual: &self.actual, desired: &self.state, instance: &self.instance };
        let mut policy = Policy { host: self.facts(), ..Policy::default() };
        for network in self.state.networks().filter(|network| !network.leaving) {
            policy.networks.insert(network.id, rules_of(network));
            let near = Dual::from_fn(|family| planner.host_source(network, family));
            policy.near.insert(network.id, near);
        }
        let mut containers: Vec<_> = self.state.containers().collect();
        containers.sort_by_key(|container| container.sequence);
        for container in containers {
            for endpoint in self.state.endpoints_of(container.id) {
                for (_, addr) in endpoint.address.present() {
                    let (network, driver) = (endpoint.network, container.driver);
                    let member = Member { network, container: container.id, driver };
                    policy.members.insert(*addr, member);
                }
            }
            let ports = container.ports.iter().enumerate();
            let ports = ports.filter(|(place, _)| self.state.held(container.id, *place).is_none());
            policy.publications.push(Publication {
                container: container.id,
                target: Dual::from_fn(|family| self.state.target(container.id, family)),
                ports: ports.map(|(_, port)| port.clone()).collect(),
            });
        }
        policy
    }

    fn facts(&self) -> HostFacts {
        let mut host = HostFacts::default();
        for link in self.actual.links() {
            let own = |addr: &IpAddr| self.state.holder_of(*addr).is_none();
            host.addresses.extend(link.addresses().iter().map(ipnet::IpNet::addr).filter(own));
            let first = Dual::from_fn(|family| link.listed(family).find(own));
            host.first.insert(link.name().clone(), first);
        }
        host.uplink = Dual::from_fn(|family| self.actual.uplink(family).link.clone());
        host
    }

    /// The address that a flow goes to.
    fn destination(&self, policy: &Policy, from: End, to: End, family: Family) -> Option<IpAddr> {
        match to {
            End::Address(addr) => Some(addr).filter(|addr| Family::of(*addr) == family),
            End::Outside => Some(family.far_away()),
            End::Host => {
                let near = match from {
                    End::Container(id) => self.state.endpoints_of(id).find_map(|endpoint| {
                        policy.near.get(&endpoint.network).and_then(|near| *near.get(family))
                    }),
                    End::Host | End::Outside | End::Address(_) => None,
                };
                near.or(self.actual.uplink(family).source)
            }
            End::Container(id) => {
                let joined = |network| match from {
                    End::Container(from) => {
                        self.state.endpoints_of(from).any(|endpoint| endpoint.network == network)
                    }
                    End::Host | End::Outside | End::Address(_) => false,
                };
                let mut endpoints = self.state.endpoints_of(id).filter(|e| joined(e.network));
                let common = endpoints.find_map(|endpoint| *endpoint.address.get(family));
                common.or_else(|| self.state.target(id, family))
            }
        }
    }

    /// The address that it comes from.
    fn source(&self, policy: &Policy, from: End, to: IpAddr) -> Option<IpAddr> {
        let family = Family::of(to);
        let network = policy.network_of(to).map(|network| network.id);
        match from {
            End::Address(addr) => Some(addr).filter(|addr| Family::of(*addr) == family),
            End::Outside => Some(family.far_away()),
            End::Host if to.is_loopback() => Some(to),
            End::Host => {
                let near = network.and_then(|id| policy.near.get(&id));
                let near = near.and_then(|near| *near.get(family));
                near.or(self.actual.uplink(family).source)
            }
            End::Container(id) => {
                let mut endpoints = self.state.endpoints_of(id);
                let common = endpoints.find(|endpoint| Some(endpoint.network) == network);
                let common = common.and_then(|endpoint| *endpoint.address.get(family));
                let carrier = || self.state.carrier(id, family);
                common
                    .or_else(|| carrier().and_then(|endpoint| *endpoint.address.get(family)))
                    .or_else(|| self.state.target(id, family))
            }
        }
    }

    /// Where it comes from; `None` where nothing leads there.
    fn origin(
        &mut self,
        policy: &Policy,
        from: End,
        source: IpAddr,
    ) -> Result<Option<Origin>, Refusal> {
        let uplink = policy.host.uplink.get(Family::of(source)).clone();
        Ok(match from {
            End::Host => Some(Origin::Host),
            End::Container(id) => Some(Origin::Container(id)),
            End::Outside => uplink.map(Origin::Interface),
            End::Address(addr) => match policy.members.get(&addr) {
                Some(member) => Some(Origin::Container(member.container)),
                None if policy.host.addresses.contains(&addr) => Some(Origin::Host),
                None => {
                    let way = self.host.way_out(addr).map_err(|err| host_refused(&err))?;
                    way.or(uplink).map(Origin::Interface)
                }
            },
        })
    }

    fn explained(&self, policy: &Policy, flow: &Flow) -> Explained {
        let verdict = policy.verdict(flow);
        let passage = passage(&self.state, policy, flow, &verdict);
        Explained { explanation: self.explanation(policy, flow, verdict), passage }
    }

    fn explanation(&self, policy: &Policy, flow: &Flow, verdict: Verdict) -> Explanation {
        let network = verdict.network.and_then(|id| self.state.network(id));
        let translation = verdict.translation;
        Explanation {
            family: Family::of(flow.to).protocol().to_owned(),
            source: flow.source.to_string(),
            destination: flow.to.to_string(),
            verdict: match verdict.blocked {
                None => "passes",
                Some(Blocked::Refused) => "refused",
                Some(Blocked::Dropped) => "dropped",
            }
            .to_owned(),
            rule: verdict.rule.number(),
            why: verdict.rule.to_string(),
            network: network.map(|network| network.name.to_string()).unwrap_or_default(),
            led_to: translation.to.map(|(addr, port)| socket(addr, port)).unwrap_or_default(),
            seen_as: translation.source.map(|addr| addr.to_string()).unwrap_or_default(),
            change: self.change(policy, flow, &verdict),
            foreign: Vec::new(),
        }
    }

    /// What would let it pass.
    fn change(&self, policy: &Policy, flow: &Flow, verdict: &Verdict) -> String {
        if verdict.passes() {
            return String::new();
        }
        let name = |id: ContainerId| {
            let container = self.state.container(id);
            container.map_or_else(|| id.to_string(), |container| container.name.to_string())
        };
        let asked = policy.members.get(&flow.to).map(|member| name(member.container));
        let publish_at = |host: &str| match (&asked, flow.payload) {
            (Some(asked), Payload::Port(protocol, port)) => {
                format!("klee publish {asked} {host}:{port}/{protocol}")
            }
            _ => String::new(),
        };
        let publish = publish_at("HOST");
        let or = |other: &str| match publish.is_empty() {
            true => other.to_owned(),
            false => format!("{publish}, or {other}"),
        };
        match verdict.rule {
            Rule::SameNetwork => or("a network with icc"),
            Rule::OtherNetwork => or("a network that both are connected to"),
            Rule::Internal => "a network that is not internal".to_owned(),
            Rule::OutsideNat => {
                let network = verdict.network.and_then(|id| policy.networks.get(&id));
                let family = Family::of(flow.to);
                let link = network.and_then(|network| policy.nat_interface(network, family));
                match link.flatten() {
                    None => "a default route of the host".to_owned(),
                    Some(link) if policy.nat_source(&link, family).is_none() => {
                        format!("an {} address of {link}", family.protocol())
                    }
                    Some(link) => format!("a route by {link}, or a network without nat"),
                }
            }
            Rule::Unpublished => publish,
            Rule::Unlisted => publish_at("INTERFACE:HOST"),
            _ => String::new(),
        }
    }
}

fn socket(addr: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(addr, port).to_string()
}

fn payload(port: Option<u16>, protocol: Option<&str>) -> Result<Payload, Refusal> {
    let protocol = match protocol {
        None | Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some(other) => {
            let why = format!("'{other}' is no protocol: tcp or udp");
            return Err(Refusal::InvalidRequest { why });
        }
    };
    Ok(port.map_or(Payload::Echo, |port| Payload::Port(protocol, port)))
}
