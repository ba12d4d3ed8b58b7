//! What can be done to a kernel's network, one sentence each.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{
    ContainerId, EndpointId, Family, InstanceName, LinkName, MacAddress, NetworkId, Ports, Protocol,
};

pub use crate::inside::Inside;
pub use crate::piece::{Gate, Piece};

/// Which object of Kleene a kernel object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The interface of a network.
    Network(NetworkId),
    /// The cable of a `vnet` endpoint.
    Endpoint(EndpointId),
    /// The cable of an `ipnet` container.
    Container(ContainerId),
}

/// The owner mark that every kernel object of ours carries: a link's alias on
/// Linux, an interface's description on FreeBSD.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The daemon that made it.
    pub instance: InstanceName,
    /// The object it stands for.
    pub owner: Owner,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Owner::Network(id) => write!(f, "kleene:{}:network:{id}", self.instance),
            Owner::Endpoint(id) => write!(f, "kleene:{}:endpoint:{id}", self.instance),
            Owner::Container(id) => write!(f, "kleene:{}:container:{id}", self.instance),
        }
    }
}

impl Mark {
    /// Reads a mark of any daemon; `None` when the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("kleene:")?.split(':');
        let (instance, kind, id) = (parts.next()?, parts.next()?, parts.next()?);
        let owner = match kind {
            "network" => Owner::Network(NetworkId::parse(id).ok()?),
            "endpoint" => Owner::Endpoint(EndpointId::parse(id).ok()?),
            "container" => Owner::Container(ContainerId::parse(id).ok()?),
            _ => return None,
        };
        let instance = InstanceName::parse(instance).ok()?;
        parts.next().is_none().then_some(Self { instance, owner })
    }
}

/// A link that carries our own mark. Only [`crate::actual::Link::owned`] makes
/// one, from what the kernel said, so nothing else can be taken away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owned {
    link: LinkName,
    mark: Mark,
}

impl Owned {
    pub(crate) fn new(link: LinkName, mark: Mark) -> Self {
        Self { link, mark }
    }

    /// The link's name.
    #[must_use]
    pub fn link(&self) -> &LinkName {
        &self.link
    }

    /// The mark it was seen with. Whoever deletes looks again that it is there.
    #[must_use]
    pub fn mark(&self) -> &Mark {
        &self.mark
    }
}

/// What a cable is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CableUse {
    /// Its host end becomes a port of a bridge (`vnet`).
    Port,
    /// The host routes into it (`ipnet`). Where the inner end is called like an
    /// interface of the host, it gets that one's index too: it stands in its
    /// place in the view.
    Routed,
}

/// The two ends of a cable, and what they are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// What it is for.
    pub purpose: CableUse,
    /// Name of the host's end.
    pub host: LinkName,
    /// Name of the container's end.
    pub inner: LinkName,
    /// MAC address of the host's end.
    pub host_mac: MacAddress,
    /// MAC address of the container's end.
    pub inner_mac: MacAddress,
    /// The largest packet, in bytes, where it was asked for.
    pub mtu: Option<u32>,
    /// Whose network namespace the inner end is born in.
    pub container: ContainerId,
}

/// Flows that were let through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flows {
    /// From and to an address.
    Of(IpAddr),
    /// To ports of a container, however they were led there.
    To {
        /// The container's address.
        addr: IpAddr,
        /// The protocol.
        protocol: Protocol,
        /// The container's ports.
        ports: Ports,
    },
    /// That have left with a source in place of their own.
    As(IpAddr),
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(addr) => write!(f, "of {addr}"),
            Self::To { addr, protocol, ports } => write!(f, "to {ports}/{protocol} of {addr}"),
            Self::As(addr) => write!(f, "that left as {addr}"),
        }
    }
}

/// One step of a plan. Its `Display` is the sentence that logs, dry runs and
/// errors print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a bridge, down, without addresses.
    MakeBridge {
        /// Its name.
        link: LinkName,
        /// Its MAC address, fixed for its life.
        mac: MacAddress,
        /// Its owner mark.
        mark: Mark,
    },
    /// Make an interface that leads nowhere, down, without addresses.
    MakeLoopback {
        /// Its name.
        link: LinkName,
        /// Its MAC address, where the system gives it one.
        mac: MacAddress,
        /// Its owner mark.
        mark: Mark,
    },
    /// Add an address to an interface of the host.
    AddAddress {
        /// The interface.
        link: LinkName,
        /// The address with its prefix length.
        addr: IpNet,
    },
    /// Take an address off an interface of the host.
    RemoveAddress {
        /// The interface, ours.
        link: Owned,
        /// The address with its prefix length.
        addr: IpNet,
    },
    /// Bring an interface of the host up.
    RaiseLink {
        /// The interface.
        link: LinkName,
    },
    /// Delete the interface of a network. Gone already counts as done.
    RemoveLink {
        /// The interface.
        link: Owned,
    },
    /// Bring a container's own loopback up.
    RaiseLoopback {
        /// The container.
        container: ContainerId,
    },
    /// Make a cable: both ends down, the inner one inside the container.
    MakeCable {
        /// The cable.
        cable: Cable,
        /// Owner mark of the host's end.
        mark: Mark,
    },
    /// Make the host's end of a cable, or a linked interface, a port of a bridge.
    Plug {
        /// The host's end.
        link: LinkName,
        /// The bridge.
        bridge: LinkName,
    },
    /// Let a port of a bridge reach no other such port.
    Isolate {
        /// The port.
        link: LinkName,
    },
    /// Take an interface of the host out of a bridge. One that is in none, or
    /// in another, or gone, counts as done.
    Unplug {
        /// The interface.
        link: LinkName,
        /// The bridge.
        bridge: LinkName,
    },
    /// Add an address inside a container.
    AddInnerAddress {
        /// The container.
        container: ContainerId,
        /// The interface inside.
        link: LinkName,
        /// The address with the subnet's prefix length.
        addr: IpNet,
        /// Whether the subnet is not on this interface's wire: it is reached by
        /// another way.
        alone: bool,
    },
    /// Lead a whole subnet to its gateway, inside a container.
    AddInnerRoute {
        /// The container.
        container: ContainerId,
        /// The interface inside.
        link: LinkName,
        /// The subnet.
        destination: IpNet,
        /// The gateway, which is on the wire.
        via: IpAddr,
    },
    /// Let what a container sends with an address leave by that address's own
    /// interface, wherever it goes: no other lets it through. There already counts
    /// as done.
    AnswerAs {
        /// The container.
        container: ContainerId,
        /// The interface inside.
        link: LinkName,
        /// The address, with its subnet.
        addr: IpNet,
        /// Whether the subnet is on this interface's wire.
        direct: bool,
        /// The gateway to everything else, where there is one.
        via: Option<IpAddr>,
    },
    /// Forget the flows that a policy has let through which is no more. None
    /// there already counts as done.
    Forget {
        /// Which.
        flows: Flows,
    },
    /// Bring an interface inside a container up.
    RaiseInnerLink {
        /// The container.
        container: ContainerId,
        /// The interface inside.
        link: LinkName,
    },
    /// Set the default route inside a container.
    AddDefaultRoute {
        /// The container.
        container: ContainerId,
        /// The interface inside.
        link: LinkName,
        /// The gateway.
        via: IpAddr,
    },
    /// Put a piece of what makes a container's address stand on the host. One
    /// that stands already counts as done.
    Put {
        /// The piece.
        piece: Piece,
    },
    /// Take such a piece away. Gone already counts as done.
    Take {
        /// The piece.
        piece: Piece,
    },
    /// Put something into the view of a container. There already counts as
    /// done; a route replaces the one to the same destination.
    PutInside {
        /// The container.
        container: ContainerId,
        /// What.
        inside: Inside,
    },
    /// Take something out of the view of a container. Gone already counts as
    /// done.
    TakeInside {
        /// The container.
        container: ContainerId,
        /// What.
        inside: Inside,
    },
    /// Give the inner end of a container's cable another name: the network in
    /// whose interface's place it stood is gone. The flows over it go on.
    RenameInner {
        /// The container.
        container: ContainerId,
        /// Its name so far.
        from: LinkName,
        /// Its name from now on.
        to: LinkName,
    },
    /// Change a setting of an interface that is not ours, or put it back.
    Set {
        /// The setting, as the host called it.
        setting: String,
        /// The value.
        value: String,
    },
    /// Take a cable out of use: out of the bridge and down. It is deleted
    /// later, in the background, because deleting waits for the kernel. Gone
    /// already counts as done.
    RetireCable {
        /// The host's end.
        link: Owned,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeBridge { link, mac, mark: _ } => write!(f, "make bridge {link} ({mac})"),
            Self::MakeLoopback { link, mac: _, mark: _ } => write!(f, "make loopback {link}"),
            Self::AddAddress { link, addr } => write!(f, "add address {addr} to {link}"),
            Self::RemoveAddress { link, addr } => {
                write!(f, "remove address {addr} from {}", link.link())
            }
            Self::RaiseLink { link } => write!(f, "bring {link} up"),
            Self::RemoveLink { link } => write!(f, "remove interface {}", link.link()),
            Self::RaiseLoopback { container } => {
                write!(f, "bring the loopback of container {container} up")
            }
            Self::MakeCable { cable, mark: _ } => write!(
                f,
                "make cable {}, its end {} in container {}",
                cable.host, cable.inner, cable.container
            ),
            Self::Plug { link, bridge } => write!(f, "plug {link} into {bridge}"),
            Self::Isolate { link } => write!(f, "isolate {link} from other ports"),
            Self::Unplug { link, bridge } => write!(f, "take {link} out of {bridge}"),
            Self::AddInnerRoute { container, link, destination, via } => {
                write!(f, "route {destination} over {via} on {link} of container {container}")
            }
            Self::AnswerAs { container, link, addr, .. } => {
                write!(f, "answer as {} over {link} of container {container}", addr.addr())
            }
            Self::Forget { flows } => write!(f, "forget the flows {flows}"),
            Self::AddInnerAddress { container, link, addr, alone: _ } => {
                write!(f, "add address {addr} to {link} of container {container}")
            }
            Self::RaiseInnerLink { container, link } => {
                write!(f, "bring {link} of container {container} up")
            }
            Self::AddDefaultRoute { container, link, via } => write!(
                f,
                "set the {} default route of container {container} to {via} on {link}",
                Family::of(*via).protocol()
            ),
            Self::Put { piece } => write!(f, "{piece}"),
            Self::Take { piece } => write!(f, "undo: {piece}"),
            Self::PutInside { container, inside } => {
                write!(f, "{inside} in the view of container {container}")
            }
            Self::TakeInside { container, inside } => {
                write!(f, "undo: {inside} in the view of container {container}")
            }
            Self::RenameInner { container, from, to } => {
                write!(f, "rename {from} to {to} in the view of container {container}")
            }
            Self::Set { setting, value } => write!(f, "set {setting} to {value}"),
            Self::RetireCable { link } => write!(f, "unplug cable {}", link.link()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back_and_strangers_are_none() {
        for text in [
            "kleene:main:network:2f1dc29b8f36",
            "kleene:a-1:endpoint:2f1dc29b8f36",
            "kleene:a-1:container:2f1dc29b8f36",
        ] {
            assert_eq!(Mark::parse(text).expect(text).to_string(), text);
        }
        for text in [
            "",
            "kleene",
            "kleene:main:network:",
            "kleene:main:network:123456789012",
            "kleene:main:thing:2f1dc29b8f36",
            "kleene:main:network:2f1dc29b8f36:x",
            "kleene:Main:network:2f1dc29b8f36",
            "my uplink",
        ] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }
}
