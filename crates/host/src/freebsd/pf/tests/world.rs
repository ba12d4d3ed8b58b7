//! Policies for tests, in few words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use kleene_model::policy::{HostFacts, Member, NetworkRules, Policy, Publication};
use kleene_model::{
    ContainerId, Driver, Dual, EndpointId, Family, LinkName, Listed, Nat, NetworkId, NetworkType,
    Ports, Protocol, PublishedPort,
};

use crate::freebsd::pf::{Cable, Facts, Ruleset, ruleset};

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) facts: Facts,
}

pub(super) fn link(name: &str) -> LinkName {
    LinkName::parse(name).expect(name)
}

/// `10.0.0.1 fd00::1`, or one of them, or none.
pub(super) fn dual(texts: &str) -> Dual<Option<IpAddr>> {
    let addresses: Vec<IpAddr> =
        texts.split_whitespace().map(|text| text.parse().expect(text)).collect();
    Dual::from_fn(|family| addresses.iter().find(|addr| Family::of(**addr) == family).copied())
}

pub(super) fn port(
    on: &[&str],
    protocol: Protocol,
    host: (u16, u16),
    container: (u16, u16),
) -> PublishedPort {
    let row = |(first, last)| Ports { first, last };
    let on = if on.is_empty() {
        Listed::Uplink
    } else {
        Listed::These(on.iter().map(|name| link(name)).collect())
    };
    PublishedPort { on, protocol, host: row(host), container: row(container) }
}

impl World {
    /// A host with three interfaces and its default routes by the first.
    pub(super) fn new() -> Self {
        let first = [
            ("em0", "192.0.2.1 2001:db8:1::1"),
            ("em1", "198.51.100.1 2001:db8:2::1"),
            ("em2", "203.0.113.1"),
            ("epair9a", "192.0.2.1 2001:db8:9::1"),
        ];
        let first: BTreeMap<_, _> =
            first.into_iter().map(|(name, addresses)| (link(name), dual(addresses))).collect();
        let addresses = first.values().flat_map(|dual| dual.present().map(|(_, addr)| *addr));
        let addresses: BTreeSet<IpAddr> = addresses.collect();
        let uplink = Dual { v4: Some(link("em0")), v6: Some(link("em0")) };
        let host = HostFacts { addresses, uplink, first };
        Self { policy: Policy { host, ..Policy::default() }, facts: Facts::default() }
    }

    /// Adds a network, with the host's addresses towards it.
    pub(super) fn near(&mut self, id: &str, kind: NetworkType, interface: &str, near: &str) {
        let id = NetworkId::parse(id).expect(id);
        let rules = NetworkRules {
            id,
            kind,
            interface: link(interface),
            subnet: Dual::default(),
            icc: true,
            internal: false,
            nat: Nat::None,
        };
        self.policy.networks.insert(id, rules);
        self.policy.near.insert(id, dual(near));
    }

    pub(super) fn net(&mut self, id: &str) -> &mut NetworkRules {
        self.policy.networks.get_mut(&NetworkId::parse(id).expect(id)).expect("is there")
    }

    /// Answers for names at the network's gateway.
    pub(super) fn names(&mut self, id: &str) {
        let id = self.net(id).id;
        let near = self.policy.near.get(&id).copied().unwrap_or_default();
        self.facts.names.insert(id, near);
    }

    pub(super) fn join(&mut self, container: &str, network: &str, driver: Driver, texts: &str) {
        let container = ContainerId::parse(container).expect(container);
        let network = NetworkId::parse(network).expect(network);
        for (_, addr) in dual(texts).present() {
            self.policy.members.insert(*addr, Member { network, container, driver });
        }
        if driver == Driver::Vnet {
            let number = u32::try_from(self.facts.cables.len()).expect("few");
            let [first, _, rest @ ..] = container.bytes();
            let [a, b, c, last] = rest;
            let low = u16::from_be_bytes([first, last]);
            self.facts.cables.push(Cable {
                endpoint: EndpointId::from_bytes([first, 0xee, a, b, c, last]).expect("letters"),
                network,
                container,
                link: LinkName::cable_host(number),
                link_local: [Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5a9c, 0xfcff, 0xfe00, low)].into(),
            });
        }
    }

    pub(super) fn publish(&mut self, container: &str, ports: Vec<PublishedPort>) {
        let container = ContainerId::parse(container).expect(container);
        let of = |family| {
            let mut own = self.policy.members.iter().filter(|(addr, member)| {
                member.container == container && Family::of(**addr) == family
            });
            own.next().map(|(addr, _)| *addr)
        };
        let target = Dual::from_fn(of);
        self.policy.publications.push(Publication { container, target, ports });
    }

    pub(super) fn ruleset(&self) -> Ruleset {
        ruleset(&self.policy, &self.facts).expect("pf can hold it")
    }
}
