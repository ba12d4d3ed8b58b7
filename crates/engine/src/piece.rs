//! What an `ipnet` container stands on: pieces on the host, one set for each
//! address, and what is set up inside its view.
//!
//! A plan is the difference of two sets of pieces. Their order is the order in
//! which they are put; they are taken away in reverse. So the guards stand
//! before an address does, and leave after it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{Family, LinkName};

/// One of the things on the host that make a container's address usable by
/// that container, and by nobody else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
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
    /// The address it is for; `None` for what belongs to a cable.
    #[must_use]
    pub fn addr(&self) -> Option<IpAddr> {
        match self {
            Self::Check { .. } => None,
            Self::Guard { addr }
            | Self::Admit { addr, .. }
            | Self::Fallback { addr }
            | Self::Steer { addr, .. }
            | Self::Show { addr, .. }
            | Self::Answer { addr, .. } => Some(*addr),
        }
    }

    /// Pieces of one rank are of one kind, and go to the kernel together.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Check { .. } => 0,
            Self::Guard { .. } => 1,
            Self::Admit { .. } => 2,
            Self::Fallback { .. } => 3,
            Self::Steer { .. } => 4,
            Self::Show { .. } => 5,
            Self::Answer { .. } => 6,
        }
    }

    /// Whether it goes with the link: deleted, or for a cable brought down.
    #[must_use]
    pub fn stands_on(&self, name: &LinkName) -> bool {
        match self {
            Self::Check { .. }
            | Self::Guard { .. }
            | Self::Admit { .. }
            | Self::Fallback { .. } => false,
            Self::Steer { cable, .. } => cable == name,
            Self::Show { link, .. } | Self::Answer { link, .. } => link == name,
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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

/// Something in the view of an `ipnet` container. Its processes may change
/// none of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inside {
    /// An interface of the host is seen.
    Mirror {
        /// The interface.
        link: LinkName,
    },
    /// The inner end of the cable is up.
    Up {
        /// The inner end.
        link: LinkName,
    },
    /// The host is known at the other end of the cable.
    Meet {
        /// The inner end.
        link: LinkName,
        /// For traffic of this family.
        family: Family,
    },
    /// UDP services on the wildcard answer from the address that was asked, and
    /// not from the one that the kernel chooses by the way to the client. A host
    /// that cannot do it goes without.
    Replies,
    /// An address of the container's.
    Address {
        /// The interface it stands on.
        link: LinkName,
        /// The address.
        addr: IpAddr,
    },
    /// A way out, through the cable.
    Route {
        /// Where to; a prefix length of 0 is everywhere else.
        destination: IpNet,
        /// The inner end.
        link: LinkName,
        /// The container's own address on that way.
        source: IpAddr,
        /// The largest packet that fits all the way, in bytes, where that is less
        /// than the cable's own.
        mtu: Option<u32>,
    },
}

impl Inside {
    /// The same after an interface was given another name.
    #[must_use]
    pub fn renamed(self, from: &LinkName, to: &LinkName) -> Self {
        let name = |link: LinkName| if link == *from { to.clone() } else { link };
        match self {
            Self::Mirror { link } => Self::Mirror { link: name(link) },
            Self::Up { link } => Self::Up { link: name(link) },
            Self::Meet { link, family } => Self::Meet { link: name(link), family },
            Self::Replies => Self::Replies,
            Self::Address { link, addr } => Self::Address { link: name(link), addr },
            Self::Route { destination, link, source, mtu } => {
                Self::Route { destination, link: name(link), source, mtu }
            }
        }
    }

    /// Where a route leads to.
    #[must_use]
    pub fn destination(&self) -> Option<IpNet> {
        match self {
            Self::Route { destination, .. } => Some(*destination),
            _ => None,
        }
    }

    /// Whether `other` is put in the place of this: two routes to one
    /// destination.
    #[must_use]
    pub fn gives_way_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Route { destination: mine, .. }, Self::Route { destination: theirs, .. }) => {
                mine == theirs
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirror { link } => write!(f, "mirror {link}"),
            Self::Up { link } => write!(f, "bring {link} up"),
            Self::Meet { link, family } => {
                write!(f, "meet the host over {link} ({})", family.protocol())
            }
            Self::Replies => f.write_str("answer over UDP from the address that was asked"),
            Self::Address { link, addr } => write!(f, "add address {addr} to {link}"),
            Self::Route { destination, link, source, mtu: None } => {
                write!(f, "route {destination} over {link} from {source}")
            }
            Self::Route { destination, link, source, mtu: Some(mtu) } => {
                write!(f, "route {destination} over {link} from {source}, mtu {mtu}")
            }
        }
    }
}
