//! Interfaces of the simulated kernel.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network stack: the host's, or that of a `vnet` jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VnetId(pub(crate) u32);

/// The host's network stack.
pub(crate) const HOST: VnetId = VnetId(0);

/// An interface, whatever its name is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u32);

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// The link-local address that is made from it (RFC 4291, appendix A).
    pub(crate) fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }

    /// Reads six bytes in hexadecimal digits with colons between them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A member of a bridge.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) link: LinkId,
    pub(crate) private: bool,
    pub(crate) learning: bool,
    pub(crate) discover: bool,
    pub(crate) sticky: bool,
    /// How many addresses it may have; 0 is any number.
    pub(crate) most: u32,
}

/// What a bridge has besides what every interface has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bridge {
    /// The last one that came is the first.
    pub(crate) members: Vec<Member>,
    /// It was up once: the spanning tree has its priority then.
    pub(crate) started: bool,
    /// Addresses that somebody entered.
    pub(crate) entered: Vec<(LinkId, Mac)>,
    /// Its own address, and the member whose address it has instead
    /// (`net.link.bridge.inherit_mac`).
    pub(crate) lent: Option<(Option<Mac>, LinkId)>,
}

/// What an interface is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Loopback,
    Bridge(Bridge),
    Epair { peer: LinkId },
    Ethernet,
    Pflog,
    Pfsync,
}

impl Kind {
    /// The cloner that makes such interfaces, and the group they are in when made.
    pub(crate) fn cloner(&self) -> Option<&'static str> {
        match self {
            Self::Loopback => Some("lo"),
            Self::Bridge(_) => Some("bridge"),
            Self::Epair { .. } => Some("epair"),
            Self::Pflog => Some("pflog"),
            Self::Pfsync => Some("pfsync"),
            Self::Ethernet => None,
        }
    }

    /// Its `options=`, as ifconfig prints them (FreeBSD 13.2; the Ethernet card's
    /// are from its driver's source, not from a recording).
    pub(crate) fn options(&self) -> Option<&'static str> {
        match self {
            Self::Loopback => Some("680003<RXCSUM,TXCSUM,LINKSTATE,RXCSUM_IPV6,TXCSUM_IPV6>"),
            Self::Epair { .. } => Some("8<VLAN_MTU>"),
            Self::Ethernet => {
                Some("481009b<RXCSUM,TXCSUM,VLAN_MTU,VLAN_HWTAGGING,VLAN_HWCSUM,VLAN_HWFILTER>")
            }
            Self::Bridge(_) | Self::Pflog | Self::Pfsync => None,
        }
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        matches!(self, Self::Bridge(_) | Self::Epair { .. } | Self::Ethernet)
    }
}

/// The flags of neighbour discovery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Nd6 {
    pub(crate) disabled: bool,
    pub(crate) auto_linklocal: bool,
    pub(crate) no_dad: bool,
    pub(crate) accept_rtadv: bool,
}

/// An address of an interface.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) prefix: u8,
    /// Duplicate address detection is not over: it cannot be used yet.
    pub(crate) tentative: bool,
}

impl Address {
    pub(crate) fn is_link_local(&self) -> bool {
        matches!(self.ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
    }

    /// The broadcast address of an IPv4 one.
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(ip) => Some(Ipv4Addr::from(u32::from(ip) | !mask4(self.prefix))),
            IpAddr::V6(_) => None,
        }
    }

    /// The network it is in.
    pub(crate) fn network(&self) -> IpAddr {
        network(self.ip, self.prefix)
    }
}

/// The netmask of a prefix length.
pub(crate) fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

/// The first address of a network.
pub(crate) fn network(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) & mask4(prefix)).into(),
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

/// An interface.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Its number at its cloner, and the stack whose cloner that is.
    pub(crate) unit: u32,
    pub(crate) home: VnetId,
    pub(crate) vnet: VnetId,
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) running: bool,
    /// How many want to see all frames.
    pub(crate) promisc: u32,
    pub(crate) mtu: u32,
    /// Its groups, each with a number that tells who joined first.
    pub(crate) groups: Vec<(String, u32)>,
    pub(crate) description: Option<String>,
    pub(crate) ether: Option<Mac>,
    /// What the hardware has, where `ether` was changed.
    pub(crate) hwaddr: Option<Mac>,
    pub(crate) nd6: Nd6,
    /// In the order in which they were added.
    pub(crate) addresses: Vec<Address>,
}

impl Link {
    /// `IFF_*`, as `flags=` shows them.
    pub(crate) fn flags(&self) -> (u32, Vec<&'static str>) {
        let loopback = matches!(self.kind, Kind::Loopback);
        let broadcast = self.kind.is_broadcast();
        let multicast = loopback || broadcast;
        // Bit 0x20 has no name; epairs and cards have it.
        let knows_epoch = matches!(self.kind, Kind::Epair { .. } | Kind::Ethernet);
        let all = [
            (0x1, "UP", self.up),
            (0x2, "BROADCAST", broadcast),
            (0x8, "LOOPBACK", loopback),
            (0x20, "", knows_epoch),
            (0x40, "RUNNING", self.running),
            (0x100, "PROMISC", self.promisc > 0),
            (0x800, "SIMPLEX", broadcast),
            (0x8000, "MULTICAST", multicast),
        ];
        let set = || all.iter().filter(|(_, _, set)| *set);
        let names = set().map(|(_, name, _)| *name).filter(|name| !name.is_empty());
        (set().map(|(bit, _, _)| bit).sum(), names.collect())
    }

    pub(crate) fn bridge(&self) -> Option<&Bridge> {
        match &self.kind {
            Kind::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    pub(crate) fn bridge_mut(&mut self) -> Option<&mut Bridge> {
        match &mut self.kind {
            Kind::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    pub(crate) fn members(&self) -> &[Member] {
        self.bridge().map_or(&[], |bridge| bridge.members.as_slice())
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|(one, _)| one == group)
    }

    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|addr| addr.ip == ip)
    }
}
