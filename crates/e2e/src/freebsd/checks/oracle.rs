//! The layout as the policy knows it, for the test that holds the lines of flows to it.

use std::net::IpAddr;

use kleene_model::policy::{
    Blocked, Flow, Member, NetworkRules, Origin, Payload, Policy, Publication, Verdict,
};
use kleene_model::{
    ContainerId, Driver, Dual, LinkName, Listed, Nat, NetworkId, NetworkType, Ports, Protocol,
    PublishedPort,
};

use crate::freebsd::flows::{Row, Want};
use crate::freebsd::layout::{self, MEMBERS, NETS, Net};

const LISTED: &str = "epair9a";
const UNLISTED: &str = "epair8a";

fn link(name: &str) -> LinkName {
    LinkName::parse(name).expect(name)
}

fn dual([v4, v6]: [IpAddr; 2]) -> Dual<Option<IpAddr>> {
    Dual { v4: Some(v4), v6: Some(v6) }
}

fn addresses(name: &str) -> [IpAddr; 2] {
    layout::addresses(name).expect(name)
}

fn network_id(name: &str) -> NetworkId {
    let position = NETS.iter().position(|net| net.name == name).expect(name);
    NetworkId::parse(&format!("a{position:011}")).expect("an id")
}

fn container_id(name: &str) -> ContainerId {
    let position = MEMBERS.iter().position(|member| member.name == name).expect(name);
    ContainerId::parse(&format!("c{position:011}")).expect("an id")
}

fn rules(net: &Net) -> NetworkRules {
    let says = |word| net.options.contains(&word);
    let (kind, interface) = match net.options {
        ["-t", "loopback", ..] => (NetworkType::Loopback, format!("kleene{}", net.number)),
        ["-t", "bridge", ..] => (NetworkType::Bridge, format!("kleene{}", net.number)),
        _ => (NetworkType::Custom, LISTED.to_owned()),
    };
    NetworkRules {
        id: network_id(net.name),
        kind,
        interface: link(&interface),
        subnet: Dual::default(),
        icc: !says("--no-icc"),
        internal: says("--internal"),
        nat: if says("--no-nat") { Nat::None } else { Nat::Interface(link(LISTED)) },
    }
}

/// The policy of the whole layout.
pub(super) fn policy() -> Policy {
    let mut policy = Policy::default();
    for (name, host) in [(LISTED, "host"), (UNLISTED, "far-host"), ("lo0", "lo")] {
        policy.host.addresses.extend(addresses(host));
        policy.host.first.insert(link(name), dual(addresses(host)));
    }
    for net in NETS {
        let rules = rules(&net);
        let near = match rules.kind {
            NetworkType::Bridge => Some(addresses(&format!("gate-{}", net.name))),
            NetworkType::Custom => Some(addresses("host")),
            NetworkType::Loopback => None,
        };
        policy.host.addresses.extend(near.into_iter().flatten());
        policy.near.insert(rules.id, near.map(dual).unwrap_or_default());
        policy.networks.insert(rules.id, rules);
    }
    for member in MEMBERS {
        let (network, container) = (network_id(member.net), container_id(member.name));
        let driver = if member.driver == "vnet" { Driver::Vnet } else { Driver::Ipnet };
        for address in addresses(member.name) {
            policy.members.insert(address, Member { network, container, driver });
        }
        let Some(port) = member.published else { continue };
        let one = |protocol| PublishedPort {
            on: Listed::These([link(LISTED)].into()),
            protocol,
            host: Ports { first: port, last: port },
            container: Ports { first: 80, last: 80 },
        };
        let ports = Protocol::BOTH.map(one).to_vec();
        let target = dual(addresses(member.name));
        policy.publications.push(Publication { container, target, ports });
    }
    policy
}

/// A line as a flow.
pub(super) fn flow(row: &Row, family: usize, protocol: Protocol) -> Flow {
    let (from, source) = match row.from.as_str() {
        "host" if row.to == "lo" => (Origin::Host, "lo"),
        "host" => (Origin::Host, "host"),
        "out" => (Origin::Interface(link(LISTED)), "out"),
        "far" => (Origin::Interface(link(UNLISTED)), "far"),
        name => (Origin::Container(container_id(name)), name),
    };
    let out = match row.to.as_str() {
        "out" => Some(link(LISTED)),
        "far" => Some(link(UNLISTED)),
        _ => None,
    };
    let (source, to) = (addresses(source)[family], addresses(&row.to)[family]);
    Flow { from, source, to, payload: Payload::Port(protocol, row.port), out }
}

/// Whether a line says what the verdict says.
pub(super) fn agrees(row: &Row, family: usize, flow: &Flow, verdict: &Verdict) -> bool {
    let to = verdict.translation.to.map_or(flow.to, |(to, _)| to);
    match &row.want {
        Want::Refused => verdict.blocked == Some(Blocked::Refused),
        Want::Silent => verdict.blocked == Some(Blocked::Dropped),
        // It is the host's own, and the host has no service there.
        Want::Nobody => verdict.translation.to.is_none() && row.port != 99,
        Want::Answer(service, seen) => {
            let whose = match service.as_str() {
                "HOST" | "OUT" | "FAR" => layout::addresses(&row.to),
                name => layout::addresses(&name.to_lowercase()),
            };
            let source = verdict.translation.source.unwrap_or(flow.source);
            let sees = |who: &String| addresses(who)[family] == source;
            verdict.passes()
                && whose.is_some_and(|whose| whose[family] == to)
                && seen.as_ref().is_none_or(sees)
        }
    }
}
