//! What traffic passes, as data. [`Policy::verdict`] is the one function that
//! says whether a flow does, and by which rule; firewalls are written from the
//! same data.
//!
//! The policy speaks of addresses that endpoints have, not of whole subnets: a
//! custom network on a LAN leaves the host's own traffic alone. A verdict is about
//! a new flow; what answers it passes with it.

mod verdict;
#[cfg(test)]
mod verdict_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::addr::{Dual, Family, Subnet};
use crate::container::Driver;
use crate::id::{ContainerId, NetworkId};
use crate::name::LinkName;
use crate::network::{Nat, NetworkType};
use crate::port::{Listed, Protocol, PublishedPort};

pub use verdict::{Blocked, Rule, Translation, Verdict};

/// What the policy has to know of one network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkRules {
    /// The network.
    pub id: NetworkId,
    /// Its type.
    pub kind: NetworkType,
    /// The host's interface that represents it.
    pub interface: LinkName,
    /// Its subnets.
    pub subnet: Dual<Option<Subnet>>,
    /// Whether its containers reach each other.
    pub icc: bool,
    /// Whether it is cut off from everything else.
    pub internal: bool,
    /// Where its traffic gets another source.
    pub nat: Nat,
}

/// An endpoint's address that stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The network.
    pub network: NetworkId,
    /// The container.
    pub container: ContainerId,
    /// The container's driver.
    pub driver: Driver,
}

/// The published ports of one container, and where they lead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publication {
    /// The container.
    pub container: ContainerId,
    /// The container's address that they lead to, per family.
    pub target: Dual<Option<IpAddr>>,
    /// Those that are in force, in their order.
    pub ports: Vec<PublishedPort>,
}

/// What the policy has to know of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The host's own addresses, those of containers excepted, gateways and
    /// loopback addresses included.
    pub addresses: BTreeSet<IpAddr>,
    /// The interface of its default route.
    pub uplink: Dual<Option<LinkName>>,
    /// The first own address of each interface.
    pub first: BTreeMap<LinkName, Dual<Option<IpAddr>>>,
}

/// Everything that decides whether a flow passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The networks.
    pub networks: BTreeMap<NetworkId, NetworkRules>,
    /// The host's own address towards the containers of each network: its
    /// gateway, else the source of the host's way to them.
    pub near: BTreeMap<NetworkId, Dual<Option<IpAddr>>>,
    /// The addresses of endpoints that stand.
    pub members: BTreeMap<IpAddr, Member>,
    /// The published ports. Where two have the same port of the host on
    /// different interfaces, the first counts for flows that come in by none.
    pub publications: Vec<Publication>,
    /// The host.
    pub host: HostFacts,
}

/// Where a flow comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Out of a container, which has the source address or claims to.
    Container(ContainerId),
    /// From a process of the host, or of a container with the driver `host`.
    Host,
    /// By this interface of the host. By that of a bridge network: from behind
    /// an interface that is linked into it.
    Interface(LinkName),
}

/// What a flow is, beside its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// To a port.
    Port(Protocol, u16),
    /// ICMP or ICMPv6 echo.
    Echo,
}

/// A new flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Where it comes from.
    pub from: Origin,
    /// Its source.
    pub source: IpAddr,
    /// Its destination, as the sender says it.
    pub to: IpAddr,
    /// What it is.
    pub payload: Payload,
    /// The interface by which the host's routes lead to the destination.
    pub out: Option<LinkName>,
}

impl Policy {
    /// The interface by which a network's traffic leaves with another source;
    /// `Some(None)` where it may leave by none, as there is no default route.
    #[must_use]
    pub fn nat_interface(
        &self,
        network: &NetworkRules,
        family: Family,
    ) -> Option<Option<LinkName>> {
        match &network.nat {
            Nat::None => None,
            Nat::Interface(name) => Some(Some(name.clone())),
            Nat::HostGateway => Some(self.host.uplink.get(family).clone()),
        }
    }

    /// The source that traffic gets which leaves by an interface.
    #[must_use]
    pub fn nat_source(&self, link: &LinkName, family: Family) -> Option<IpAddr> {
        self.host.first.get(link).and_then(|first| *first.get(family))
    }

    /// Whether a port is published on an interface.
    #[must_use]
    pub fn is_listed(&self, on: &Listed, link: &LinkName, family: Family) -> bool {
        match on {
            Listed::Uplink => self.host.uplink.get(family).as_ref() == Some(link),
            Listed::These(links) => links.contains(link),
        }
    }
}
