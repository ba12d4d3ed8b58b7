//! What is set up for an `ipnet` container itself: in its view, or as the addresses
//! of the host's stack that it may use.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{Family, LinkName};

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
    /// The container may use these addresses of the host's, and no others
    /// ([`Addressing::Shared`]).
    ///
    /// [`Addressing::Shared`]: crate::actual::Addressing::Shared
    Use {
        /// Their family.
        family: Family,
        /// The addresses, the source of what needs none of them in particular
        /// first; never none.
        addresses: Vec<IpAddr>,
    },
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
            Self::Use { .. } => self,
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
    /// destination, two lists of one family.
    #[must_use]
    pub fn gives_way_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Route { destination: mine, .. }, Self::Route { destination: theirs, .. }) => {
                mine == theirs
            }
            (Self::Use { family: mine, .. }, Self::Use { family: theirs, .. }) => mine == theirs,
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
            Self::Use { addresses, .. } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "use {}", addresses.join(", "))
            }
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
