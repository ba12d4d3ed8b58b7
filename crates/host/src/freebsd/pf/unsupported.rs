//! What pf cannot hold.

use std::fmt;

/// A part of the policy that pf cannot hold. It is refused by name where somebody
/// asks for it, and named by `doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsupported {
    /// Rule 16. A socket of the host on the wildcard answers at a container's
    /// address until the container listens there itself (FreeBSD 13.2); to pf the
    /// packets are the same.
    HostAsContainer,
    /// The MAC half of rule 14: pf sees no Ethernet header before FreeBSD 14, and
    /// neither static entries nor `-learn` keep a member of a bridge from sending
    /// with another MAC (FreeBSD 13.2).
    SourceMac,
    /// What ARP and ND packets say, of rule 14: pf sees no ARP, and of ND only
    /// its addresses and type.
    NeighbourClaims,
    /// Everything on an interface that the administrator's `set skip` excludes.
    /// `set skip on lo` marks each member of the group when it is made, those of
    /// loopback networks too, and only `pfctl -F all` takes the mark off
    /// (FreeBSD 13.2).
    SkippedInterfaces,
}

impl Unsupported {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::HostAsContainer, Self::SourceMac, Self::NeighbourClaims, Self::SkippedInterfaces];

    /// The rule of the policy that it is about; `None` for all of them.
    #[must_use]
    pub fn rule(self) -> Option<u8> {
        match self {
            Self::HostAsContainer => Some(16),
            Self::SourceMac | Self::NeighbourClaims => Some(14),
            Self::SkippedInterfaces => None,
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostAsContainer => {
                "services of the host on the wildcard answer at a container's address until the \
                 container listens there"
            }
            Self::SourceMac => "a vnet container may send with a MAC address that is not its own",
            Self::NeighbourClaims => "what ARP and ND packets say is not checked",
            Self::SkippedInterfaces => "nothing is filtered on interfaces under 'set skip'",
        })
    }
}
