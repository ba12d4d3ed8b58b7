//! The texts of published ports.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_model::policy::{NetworkRules, Policy, Publication};
use kleene_model::{
    ContainerId, Driver, Family, LinkName, Listed, NetworkType, Ports, PublishedPort,
};

use super::text::{self, PfError, Text};
use super::{Anchor, network_table};

/// The text of a container's published ports: `kleene/pub/ID`. Of a container
/// that publishes nothing it is empty.
///
/// pf asks containers in the order of their ids, the policy in that of its list.
/// So where an earlier one leads the same port of the host elsewhere, this one
/// leaves it out.
///
/// # Errors
/// [`PfError`].
pub fn publication(policy: &Policy, container: ContainerId) -> Result<Anchor, PfError> {
    let mut text = Text::default();
    for (position, publication) in policy.publications.iter().enumerate() {
        if publication.container != container {
            continue;
        }
        let earlier = &policy.publications[..position];
        for port in &publication.ports {
            for (family, addr) in publication.target.present() {
                let way = Way::find(policy, earlier, container, port, family, *addr)?;
                match way.driver {
                    Driver::Ipnet => way.to_ipnet(&mut text)?,
                    Driver::Vnet => way.to_vnet(&mut text)?,
                    Driver::Host | Driver::Disabled => return Err(PfError::NoEndpoint(*addr)),
                }
            }
        }
    }
    Ok(text.anchor(format_args!("pub/{container}")))
}

/// The labels whose states are killed when `gone` is published no more, after
/// the text without it is loaded: its own, and those of what else is published
/// of the same ports of the container. A rule does not know which of these let a
/// flow pass, so the others' flows are cut with it; they may come again.
#[must_use]
pub fn stale_labels(
    container: ContainerId,
    published: &[PublishedPort],
    gone: &PublishedPort,
) -> BTreeSet<String> {
    let meets = |port: &&PublishedPort| {
        port.protocol == gone.protocol && port.container.meets(gone.container)
    };
    let others = published.iter().filter(meets);
    others.chain([gone]).map(|port| label(container, port)).collect()
}

fn label(container: ContainerId, port: &PublishedPort) -> String {
    let PublishedPort { protocol, container: ports, .. } = port;
    format!("kleene:pub:{container}:{protocol}:{ports}")
}

/// A published port in one family, and where it leads.
struct Way<'a> {
    policy: &'a Policy,
    earlier: &'a [Publication],
    port: &'a PublishedPort,
    label: String,
    family: Family,
    addr: IpAddr,
    driver: Driver,
    network: &'a NetworkRules,
}

impl<'a> Way<'a> {
    fn find(
        policy: &'a Policy,
        earlier: &'a [Publication],
        container: ContainerId,
        port: &'a PublishedPort,
        family: Family,
        addr: IpAddr,
    ) -> Result<Self, PfError> {
        let member = policy.members.get(&addr).filter(|member| member.container == container);
        let member = member.ok_or(PfError::NoEndpoint(addr))?;
        let network = policy.networks.get(&member.network);
        let network = network.ok_or(PfError::NoNetwork(member.network))?;
        let (label, driver) = (label(container, port), member.driver);
        Ok(Self { policy, earlier, port, label, family, addr, driver, network })
    }

    /// The host's own address towards the network's containers.
    fn near(&self) -> Option<IpAddr> {
        self.policy.near.get(&self.network.id).and_then(|near| *near.get(self.family))
    }

    /// The interfaces on which the port is published.
    fn listed(&self) -> Vec<&'a LinkName> {
        match &self.port.on {
            Listed::Uplink => self.policy.host.uplink.get(self.family).iter().collect(),
            Listed::These(links) => links.iter().collect(),
        }
    }

    /// What of the host's ports nobody else has, for flows that come in by an
    /// interface; by none: from the host and its containers.
    fn free(&self, link: Option<&LinkName>) -> Vec<Ports> {
        let leads = |other: &&Publication| other.target.get(self.family).is_some();
        let takes = |other: &&PublishedPort| {
            other.protocol == self.port.protocol
                && link.is_none_or(|link| self.policy.is_listed(&other.on, link, self.family))
        };
        let others = self.earlier.iter().filter(leads).flat_map(|other| &other.ports);
        others.filter(takes).fold(vec![self.port.host], |free, taken| {
            free.into_iter().flat_map(|ports| ports.without(taken.host)).collect()
        })
    }

    /// `inet proto tcp`.
    fn what(&self) -> String {
        format!("{} proto {}", self.family.inet(), self.port.protocol)
    }

    /// `to 10.2.3.1 port 80`.
    fn to(&self) -> String {
        format!("to {} port {}", self.addr, self.port.container)
    }

    /// `10.2.3.1 port 80`, where some of the host's ports lead. Of several in a
    /// row pf counts on from the first.
    fn led_to(&self, host: Ports) -> String {
        let first = self.port.inner(host.first).unwrap_or(self.port.container.first);
        let many = host.count() > 1 && self.port.container.count() > 1;
        format!("{} port {first}{}", self.addr, if many { ":*" } else { "" })
    }

    /// The redirects on interfaces: one line for all that lead the same ports.
    fn redirect(&self, text: &mut Text, places: &[(String, Vec<Ports>)]) {
        let mut leading: Vec<(&[Ports], Vec<&str>)> = Vec::new();
        for (on, ports) in places {
            match leading.iter_mut().find(|(same, _)| same == ports) {
                Some((_, links)) => links.push(on),
                None => leading.push((ports, vec![on])),
            }
        }
        let what = self.what();
        for (ports, links) in leading {
            let on = text::list(links);
            for host in ports {
                let led_to = self.led_to(*host);
                text.translate(format_args!(
                    "rdr on {on} {what} from any to (self) port {host} -> {led_to}"
                ));
            }
        }
    }

    /// The listed interfaces as rules name them, and what each leads here.
    fn places(&self) -> Result<Vec<(String, Vec<Ports>)>, PfError> {
        let listed = self.listed().into_iter();
        listed.map(|link| Ok((text::link(link)?, self.free(Some(link))))).collect()
    }

    /// The pass for what arrives on a listed interface.
    fn arriving(&self, text: &mut Text, places: &[(String, Vec<Ports>)]) {
        if !places.is_empty() {
            let on = text::list(places.iter().map(|(on, _)| on));
            let (what, to, label) = (self.what(), self.to(), &self.label);
            text.filter(format_args!(
                "pass in quick on {on} {what} from any {to} label \"{label}\""
            ));
        }
    }

    /// The pass for what comes from a container.
    fn among_containers(&self, text: &mut Text) {
        let (what, to, label) = (self.what(), self.to(), &self.label);
        text.filter(format_args!("pass quick {what} from <kleene_all> {to} label \"{label}\""));
    }

    /// To an `ipnet` container, whose address is one of this host's.
    fn to_ipnet(&self, text: &mut Text) -> Result<(), PfError> {
        let what = self.what();
        let here = self.free(None);
        // The answer to a loopback address would never reach the socket that
        // asked, so the question gets another source before it is led.
        let near = self.near().unwrap_or(self.addr);
        let loopback = loopback(self.family);
        for host in &here {
            text.translate(format_args!(
                "nat on lo0 {what} from {loopback} to {loopback} port {host} -> {near}"
            ));
        }
        let places = self.places()?;
        let mut all = places.clone();
        all.extend(["lo0", "kleene_net"].map(|on| (on.to_owned(), here.clone())));
        self.redirect(text, &all);
        self.arriving(text, &places);
        self.among_containers(text);
        Ok(())
    }

    /// To a `vnet` container behind a bridge.
    ///
    /// What the host itself sends is tagged by the redirect on `lo0`, and the
    /// answer is sent back there: `reply-to (lo0 …)` on a flow that was not
    /// redirected makes the kernel loop for ever (FreeBSD 13.2). The nat rules are
    /// for tagged flows too, or they would change direct ones between members;
    /// states of what they change are bound to the bridge, as a floating one
    /// matches the answer on its cable already and the flow is lost.
    fn to_vnet(&self, text: &mut Text) -> Result<(), PfError> {
        if self.network.kind != NetworkType::Bridge {
            return Err(PfError::NoBridge { addr: self.addr, kind: self.network.kind });
        }
        let bridge = text::link(&self.network.interface)?;
        let (what, to, label) = (self.what(), self.to(), &self.label);
        // Without an address of the host there is no source to give.
        if let Some(near) = self.near() {
            let members = format!("<{}>", network_table(self.network.id));
            for (from, tag) in [
                (loopback(self.family), "KLEENE_LO"),
                (members.as_str(), "KLEENE_LO"),
                (members.as_str(), "KLEENE_HP"),
            ] {
                text.translate(format_args!(
                    "nat on {bridge} {what} from {from} {to} tagged {tag} -> {near}"
                ));
            }
        }
        let here = self.free(None);
        for (on, tag) in [("lo0", "KLEENE_LO"), ("kleene_net", "KLEENE_HP")] {
            for host in &here {
                let led_to = self.led_to(*host);
                text.translate(format_args!(
                    "rdr on {on} {what} from any to (self) port {host} tag {tag} -> {led_to}"
                ));
            }
        }
        let places = self.places()?;
        self.redirect(text, &places);
        let back = match self.family {
            Family::V4 => "127.0.0.1",
            Family::V6 => "::1",
        };
        text.filter(format_args!(
            "pass out quick on {bridge} reply-to (lo0 {back}) {what} from any {to} \
             tagged KLEENE_LO keep state (if-bound) label \"{label}\""
        ));
        text.filter(format_args!(
            "pass quick {what} from any {to} tagged KLEENE_LO label \"{label}\""
        ));
        text.filter(format_args!(
            "pass quick {what} from any {to} tagged KLEENE_HP keep state (if-bound) \
             label \"{label}\""
        ));
        self.arriving(text, &places);
        text.filter(format_args!(
            "pass out quick on {bridge} {what} from any {to} label \"{label}\""
        ));
        self.among_containers(text);
        Ok(())
    }
}

/// The loopback addresses.
fn loopback(family: Family) -> &'static str {
    match family {
        Family::V4 => "127.0.0.0/8",
        Family::V6 => "::1",
    }
}
