//! The oracle's picture of a stage: from what was asked for, from the addresses
//! that the daemon gave, and from what `ip` says. Nothing of it is the daemon's
//! own idea of the policy.

use crate::linux::place::{Place, Site};
use crate::linux::stage::Stage;
use crate::linux::topology::{Jar, Net};
use kleene_model::api::PublishedPortConfig;
use kleene_model::policy::{HostFacts, Member, NetworkRules, Policy, Publication};
use kleene_model::{ContainerId, Dual, Family, LinkName, Nat, NetworkId, PublishedPort, Subnet};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a verdict needs.
pub(crate) struct Facts {
    pub(crate) policy: Policy,
    /// By which interface the host's routes lead to an address.
    pub(crate) out: BTreeMap<IpAddr, LinkName>,
}

impl Facts {
    /// Asks for all of it.
    pub(crate) fn of(stage: &Stage<'_>) -> Result<Self, String> {
        let ways = Ways::ask(stage)?;
        let mut policy = Policy::default();
        for net in &stage.topology.nets {
            let rules = network(stage, net)?;
            policy.near.insert(rules.id, near(stage, net, &ways));
            policy.networks.insert(rules.id, rules);
        }
        for jar in &stage.topology.jars {
            members(stage, jar, &mut policy)?;
            policy.publications.extend(publication(stage, jar)?);
        }
        policy.host = host(stage, &policy.members)?;
        Ok(Self { policy, out: ways.out })
    }

    /// The id of a container.
    pub(crate) fn container(stage: &Stage<'_>, name: &str) -> Result<ContainerId, String> {
        let id = stage.jars.get(name).and_then(|seen| seen["container"]["id"].as_str());
        let id = id.ok_or_else(|| format!("no id of {name}"))?;
        ContainerId::parse(id).map_err(|error| error.to_string())
    }
}

/// What the host's routes say.
struct Ways {
    out: BTreeMap<IpAddr, LinkName>,
    source: BTreeMap<IpAddr, IpAddr>,
}

impl Ways {
    fn ask(stage: &Stage<'_>) -> Result<Self, String> {
        let addresses: Vec<String> = stage.sites.values().map(IpAddr::to_string).collect();
        // One list a line; an address without a route has none.
        let text = format!(
            "for address in {}; do ip -j route get $address | tr -d '\\n'; echo; done",
            addresses.join(" ")
        );
        let output = stage.world.run(["sh", "-c", &text]);
        let mut ways = Self { out: BTreeMap::new(), source: BTreeMap::new() };
        for line in output.stdout().lines() {
            let Ok(found) = serde_json::from_str::<Value>(line) else { continue };
            let route = &found[0];
            let Some(to) = address(&route["dst"]) else { continue };
            if let Some(link) = route["dev"].as_str() {
                ways.out.insert(to, link_name(link)?);
            }
            ways.source.extend(address(&route["prefsrc"]).map(|source| (to, source)));
        }
        Ok(ways)
    }
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn link_name(text: &str) -> Result<LinkName, String> {
    LinkName::parse(text).map_err(|error| error.to_string())
}

fn network(stage: &Stage<'_>, net: &Net) -> Result<NetworkRules, String> {
    let seen = stage.nets.get(&net.name).ok_or_else(|| format!("{} unseen", net.name))?;
    let id = NetworkId::parse(seen["id"].as_str().unwrap_or_default());
    let subnet = Dual::try_from_fn(|family| {
        let subnet = net.subnet.get(family).as_deref();
        subnet.map(|text| Subnet::parse(family, text)).transpose()
    });
    let nat = match net.nat.as_str() {
        "" => Nat::None,
        "<host-gateway>" => Nat::HostGateway,
        interface => Nat::Interface(link_name(interface)?),
    };
    Ok(NetworkRules {
        id: id.map_err(|error| error.to_string())?,
        kind: net.kind,
        interface: link_name(seen["interface"].as_str().unwrap_or_default())?,
        subnet: subnet.map_err(|error| error.to_string())?,
        icc: net.icc,
        internal: net.internal,
        nat,
    })
}

/// The host's own address towards a network: its gateway, else what the host's
/// routes choose.
fn near(stage: &Stage<'_>, net: &Net, ways: &Ways) -> Dual<Option<IpAddr>> {
    Dual::from_fn(|family| {
        let gateway = stage.address(&Site::Gateway(net.name.clone()), family);
        gateway.or_else(|| {
            // The way to whichever container is the way to all of the network.
            let here = |site: &Site| matches!(site, Site::Endpoint(_, of) if *of == net.name);
            let mut sites = stage.sites.iter();
            let (_, to) = sites.find(|((site, of), _)| here(site) && *of == family)?;
            ways.source.get(to).copied()
        })
    })
}

fn members(stage: &Stage<'_>, jar: &Jar, policy: &mut Policy) -> Result<(), String> {
    let container = Facts::container(stage, &jar.name)?;
    for ((site, _), address) in &stage.sites {
        let Site::Endpoint(of, net) = site else { continue };
        if *of == jar.name {
            let seen = stage.nets.get(net).ok_or_else(|| format!("{net} unseen"))?;
            let network = NetworkId::parse(seen["id"].as_str().unwrap_or_default());
            let network = network.map_err(|error| error.to_string())?;
            policy.members.insert(*address, Member { network, container, driver: jar.driver });
        }
    }
    Ok(())
}

fn publication(stage: &Stage<'_>, jar: &Jar) -> Result<Option<Publication>, String> {
    if jar.ports.is_empty() {
        return Ok(None);
    }
    let target = Dual::from_fn(|family| {
        let first = stage.topology.nets_of(jar, family).first().map(|net| net.name.clone())?;
        stage.address(&Site::Endpoint(jar.name.clone(), first), family)
    });
    let mut ports = Vec::new();
    for port in &jar.ports {
        let config = PublishedPortConfig {
            interfaces: port.interfaces.clone(),
            host_port: port.host.clone(),
            container_port: port.container.clone(),
            protocol: port.protocol.to_string(),
        };
        ports.push(PublishedPort::parse(&config).map_err(|error| error.to_string())?);
    }
    let container = Facts::container(stage, &jar.name)?;
    Ok(Some(Publication { container, target, ports }))
}

fn host(stage: &Stage<'_>, members: &BTreeMap<IpAddr, Member>) -> Result<HostFacts, String> {
    let mut facts = HostFacts::default();
    let links = stage.world.ip_json(["addr", "show"]);
    for link in links.as_array().into_iter().flatten() {
        let name = link_name(link["ifname"].as_str().unwrap_or_default())?;
        let mut first = Dual::default();
        for info in link["addr_info"].as_array().into_iter().flatten() {
            let Some(own) = address(&info["local"]) else { continue };
            if members.contains_key(&own) {
                continue;
            }
            facts.addresses.insert(own);
            let slot: &mut Option<IpAddr> = first.get_mut(Family::of(own));
            if info["scope"] == "global" && slot.is_none() {
                *slot = Some(own);
            }
        }
        facts.first.insert(name, first);
    }
    for (family, option) in [(Family::V4, "-4"), (Family::V6, "-6")] {
        let routes = stage.world.ip_json([option, "route", "show", "default"]);
        let uplink = routes[0]["dev"].as_str().map(link_name).transpose()?;
        *facts.uplink.get_mut(family) = uplink;
    }
    Ok(facts)
}

/// What the picture lacks: addresses that should be somebody's and are not. Verdicts
/// about them would be about something else.
pub(crate) fn missing(stage: &Stage<'_>, facts: &Facts) -> Vec<String> {
    let mut missing = Vec::new();
    let seen: BTreeSet<&IpAddr> = facts.policy.host.addresses.iter().collect();
    for ((site, _), address) in &stage.sites {
        if site.place() == Place::Host && !seen.contains(address) {
            missing.push(format!("{site} {address} is not on the host"));
        }
        if let Site::Endpoint(..) = site
            && !facts.policy.members.contains_key(address)
        {
            missing.push(format!("{site} {address} is nobody's"));
        }
    }
    missing
}
