//! What a container stands on: pieces on the host, one set for each address. What
//! is set up inside its view is of [`crate::inside`].
//!
//! A plan is the difference of two sets of pieces. Their order is the order in
//! which they are put; they are taken away in reverse. So the guards stand
//! before an address does, and leave after it.

use std::fmt;
use std::net::IpAddr;

use kleene_model::policy::{Member, NetworkRules, Publication};
use kleene_model::{
    ContainerId, EndpointId, Family, LinkName, MacAddress, NetworkId, Ports, Protocol, Subnet,
};

/// By which way a flow comes that asks for a published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// From the host itself, or from a container.
    Inside,
    /// By the interface of the host's default route.
    Uplink,
    /// By this interface.
    Link(LinkName),
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside => f.write_str("from this host"),
            Self::Uplink => f.write_str("by the default route"),
            Self::Link(link) => write!(f, "by {link}"),
        }
    }
}

/// What a piece belongs to: a plan looks at the pieces of what was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Of<'a> {
    /// An address of a container.
    Address(IpAddr),
    /// The host's end of a cable.
    Cable(&'a LinkName),
    /// A network.
    Network(NetworkId),
    /// A subnet of a network.
    Subnet(Subnet),
    /// A container.
    Container(ContainerId),
    /// The host as a whole.
    Host,
}

/// One of the things on the host that make a container's address usable by
/// that container, and by nobody else, and that hold the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// What traffic of a network passes.
    Rules {
        /// The network.
        rules: NetworkRules,
    },
    /// The source that flows of the host get on their way to containers where
    /// they cannot keep theirs.
    Near {
        /// The network's subnet.
        subnet: Subnet,
        /// The host's own address.
        addr: IpAddr,
    },
    /// This interface leads to the rest of the world.
    Uplink {
        /// For this family.
        family: Family,
        /// The interface.
        link: LinkName,
    },
    /// What leaves by an interface with another source gets this one.
    Way {
        /// The interface.
        link: LinkName,
        /// The source.
        addr: IpAddr,
    },
    /// Packets that the policy blocks are told of.
    LogDrops,
    /// The policy knows whose an address is ([`Addressing::Shared`]).
    ///
    /// [`Addressing::Shared`]: crate::actual::Addressing::Shared
    Member {
        /// The address.
        addr: IpAddr,
        /// Whose it is.
        member: Member,
    },
    /// The policy knows whose a cable into a bridge is ([`Addressing::Shared`]).
    ///
    /// [`Addressing::Shared`]: crate::actual::Addressing::Shared
    Endpoint {
        /// The host's end of the cable.
        cable: LinkName,
        /// The endpoint.
        endpoint: EndpointId,
        /// Its network.
        network: NetworkId,
        /// Its container.
        container: ContainerId,
        /// The MAC address of the container's end.
        mac: MacAddress,
    },
    /// All ports that a container publishes ([`Addressing::Shared`]).
    ///
    /// [`Addressing::Shared`]: crate::actual::Addressing::Shared
    Publish {
        /// The container's place: of two with one port the first has it.
        sequence: u64,
        /// What is published.
        publication: Publication,
    },
    /// Nothing comes out of a cable into a bridge but with this MAC address,
    /// and with addresses that were let through.
    Fence {
        /// The host's end of the cable.
        cable: LinkName,
        /// The MAC address of the container's.
        mac: MacAddress,
    },
    /// The address may be spoken with on a cable into a bridge.
    Speak {
        /// The host's end of the cable.
        cable: LinkName,
        /// The address.
        addr: IpAddr,
    },
    /// A container that asks for its own published port with another address of
    /// its own is not answered by itself, but by the host.
    Round {
        /// That address.
        from: IpAddr,
        /// The address that its ports lead to.
        addr: IpAddr,
    },
    /// Ports of a container are published.
    Open {
        /// For whom.
        gate: Gate,
        /// The container's address.
        addr: IpAddr,
        /// The protocol.
        protocol: Protocol,
        /// The container's ports.
        ports: Ports,
    },
    /// Ports of the host lead to a container.
    Lead {
        /// For whom.
        gate: Gate,
        /// The protocol.
        protocol: Protocol,
        /// The host's ports.
        ports: Ports,
        /// The container's address.
        addr: IpAddr,
        /// The container's ports: as many, or one for all.
        inner: Ports,
    },
    /// Whatever comes out of this cable with a source that was not admitted
    /// there is dropped.
    Check {
        /// The host's end of the cable.
        cable: LinkName,
    },
    /// Nothing on the host answers on the address or sends from it, whatever
    /// becomes of the cable.
    Guard {
        /// The address.
        addr: IpAddr,
    },
    /// The address may be the source of what comes out of the cable.
    Admit {
        /// The host's end of the cable.
        cable: LinkName,
        /// The address.
        addr: IpAddr,
    },
    /// Where no cable takes what goes to the address, it is unreachable.
    Fallback {
        /// The address.
        addr: IpAddr,
    },
    /// What goes to the address is led into the cable.
    Steer {
        /// The address.
        addr: IpAddr,
        /// The host's end of the cable.
        cable: LinkName,
        /// The host's own source address on that way.
        source: Option<IpAddr>,
    },
    /// The address is seen on an interface of the host.
    Show {
        /// The interface.
        link: LinkName,
        /// The address.
        addr: IpAddr,
    },
    /// The host answers on an interface's wire to who asks for the address.
    Answer {
        /// The interface.
        link: LinkName,
        /// The address.
        addr: IpAddr,
    },
}

impl Piece {
    /// What it belongs to.
    #[must_use]
    pub fn of(&self) -> Of<'_> {
        match self {
            Self::Rules { rules } => Of::Network(rules.id),
            Self::Near { subnet, .. } => Of::Subnet(*subnet),
            Self::Uplink { .. } | Self::Way { .. } | Self::LogDrops => Of::Host,
            Self::Check { cable } | Self::Fence { cable, .. } | Self::Endpoint { cable, .. } => {
                Of::Cable(cable)
            }
            Self::Publish { publication, .. } => Of::Container(publication.container),
            Self::Guard { addr }
            | Self::Member { addr, .. }
            | Self::Speak { addr, .. }
            | Self::Round { addr, .. }
            | Self::Open { addr, .. }
            | Self::Lead { addr, .. }
            | Self::Admit { addr, .. }
            | Self::Fallback { addr }
            | Self::Steer { addr, .. }
            | Self::Show { addr, .. }
            | Self::Answer { addr, .. } => Of::Address(*addr),
        }
    }

    /// The address it is for, where it belongs to one.
    #[must_use]
    pub fn addr(&self) -> Option<IpAddr> {
        match self.of() {
            Of::Address(addr) => Some(addr),
            Of::Cable(_) | Of::Network(_) | Of::Subnet(_) | Of::Container(_) | Of::Host => None,
        }
    }

    /// Whether it is of the policy: what it stands for holds whatever becomes of
    /// links.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        match self {
            Self::Rules { .. }
            | Self::Near { .. }
            | Self::Uplink { .. }
            | Self::Way { .. }
            | Self::LogDrops
            | Self::Member { .. }
            | Self::Endpoint { .. }
            | Self::Publish { .. }
            | Self::Check { .. }
            | Self::Fence { .. }
            | Self::Guard { .. }
            | Self::Speak { .. }
            | Self::Round { .. }
            | Self::Open { .. }
            | Self::Lead { .. }
            | Self::Admit { .. } => true,
            Self::Fallback { .. }
            | Self::Steer { .. }
            | Self::Show { .. }
            | Self::Answer { .. } => false,
        }
    }

    /// Whether it is put only where containers share the host's stack
    /// ([`Addressing::Shared`]).
    ///
    /// [`Addressing::Shared`]: crate::actual::Addressing::Shared
    #[must_use]
    pub fn is_of_shared_stack(&self) -> bool {
        match self {
            Self::Member { .. } | Self::Endpoint { .. } | Self::Publish { .. } => true,
            Self::Rules { .. }
            | Self::Near { .. }
            | Self::Uplink { .. }
            | Self::Way { .. }
            | Self::LogDrops
            | Self::Show { .. }
            | Self::Fence { .. }
            | Self::Speak { .. }
            | Self::Round { .. }
            | Self::Open { .. }
            | Self::Lead { .. }
            | Self::Check { .. }
            | Self::Guard { .. }
            | Self::Admit { .. }
            | Self::Fallback { .. }
            | Self::Steer { .. }
            | Self::Answer { .. } => false,
        }
    }

    /// Pieces of one rank are of one kind, and go to the kernel together.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Rules { .. } => 0,
            Self::Near { .. } => 1,
            Self::Uplink { .. } => 2,
            Self::Way { .. } => 3,
            Self::LogDrops => 4,
            Self::Check { .. } | Self::Endpoint { .. } => 5,
            Self::Fence { .. } => 6,
            Self::Guard { .. } | Self::Member { .. } => 7,
            Self::Speak { .. } => 8,
            Self::Round { .. } => 9,
            Self::Open { .. } | Self::Publish { .. } => 10,
            Self::Lead { .. } => 11,
            Self::Admit { .. } => 12,
            Self::Fallback { .. } => 13,
            Self::Steer { .. } => 14,
            Self::Show { .. } => 15,
            Self::Answer { .. } => 16,
        }
    }

    /// Whether it goes with the link: deleted, or for a cable brought down.
    #[must_use]
    pub fn stands_on(&self, name: &LinkName) -> bool {
        match self {
            Self::Steer { cable, .. } => cable == name,
            Self::Show { link, .. } | Self::Answer { link, .. } => link == name,
            // Neither does the policy.
            _ => false,
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules { rules } => write!(f, "hold the rules of {}", rules.interface),
            Self::Near { subnet, addr } => write!(f, "meet {} as {addr}", subnet.net()),
            Self::Uplink { family, link } => {
                write!(f, "take {link} for the way out ({})", family.protocol())
            }
            Self::Way { link, addr } => write!(f, "leave by {link} as {addr}"),
            Self::LogDrops => f.write_str("tell of blocked packets"),
            Self::Member { addr, member } => {
                write!(f, "know {addr} as an address of container {}", member.container)
            }
            Self::Endpoint { cable, container, .. } => {
                write!(f, "know {cable} as a cable of container {container}")
            }
            Self::Publish { publication, .. } => {
                write!(f, "publish the ports of container {}", publication.container)
            }
            Self::Fence { cable, mac } => write!(f, "let only {mac} out of {cable}"),
            Self::Round { from, addr } => write!(f, "turn what {from} asks of {addr}"),
            Self::Speak { cable, addr } => write!(f, "let {addr} out of {cable}"),
            Self::Open { gate, addr, protocol, ports } => {
                write!(f, "open {ports}/{protocol} of {addr} {gate}")
            }
            Self::Lead { gate, protocol, ports, addr, inner } => {
                write!(f, "lead {ports}/{protocol} to {inner} of {addr} {gate}")
            }
            Self::Check { cable } => write!(f, "check the sources of {cable}"),
            Self::Guard { addr } => write!(f, "guard address {addr}"),
            Self::Admit { cable, addr } => write!(f, "admit source {addr} from {cable}"),
            Self::Fallback { addr } => write!(f, "make {addr} unreachable without its cable"),
            Self::Steer { addr, cable, source: None } => write!(f, "lead {addr} into {cable}"),
            Self::Steer { addr, cable, source: Some(source) } => {
                write!(f, "lead {addr} into {cable}, from {source}")
            }
            Self::Show { link, addr } => write!(f, "show address {addr} on {link}"),
            Self::Answer { link, addr } => write!(f, "answer for {addr} on {link}"),
        }
    }
}
