//! The network of a kernel, as far as Kleene touches it: links, addresses,
//! routes and the containers' namespaces, with the errors that Linux gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{ContainerId, Family, LinkName, MacAddress, Protocol};

use crate::actual::HostRoute;
use crate::change::{Cable, Mark};
use crate::host::Listener;
use crate::piece::Piece;

/// What the kernel says when it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// The name, address or route is there already.
    Exists,
    /// No such interface.
    NoDevice,
    /// No such address.
    AddressNotAvailable,
    /// No such namespace.
    NoEntry,
    /// The gateway cannot be reached over that interface.
    NetworkUnreachable,
    /// The interface is down.
    NetworkDown,
    /// The interface cannot do that.
    NotSupported,
    /// A bridge in a bridge.
    Loop,
    /// A source address that is not the asker's own.
    Invalid,
    /// What a test injects.
    Busy,
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exists => "File exists (EEXIST)",
            Self::NoDevice => "No such device (ENODEV)",
            Self::AddressNotAvailable => "Cannot assign requested address (EADDRNOTAVAIL)",
            Self::NoEntry => "No such file or directory (ENOENT)",
            Self::NetworkUnreachable => "Network is unreachable (ENETUNREACH)",
            Self::NetworkDown => "Network is down (ENETDOWN)",
            Self::NotSupported => "Operation not supported (EOPNOTSUPP)",
            Self::Invalid => "Invalid argument (EINVAL)",
            Self::Loop => "Too many levels of symbolic links (ELOOP)",
            Self::Busy => "Device or resource busy (EBUSY)",
        })
    }
}

impl std::error::Error for Errno {}

/// What a link of the host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A bridge.
    Bridge,
    /// The host's end of a veth pair: the other end's name, and in whose
    /// namespace it is.
    Veth {
        /// The container.
        container: ContainerId,
        /// The inner end's name.
        peer: LinkName,
    },
    /// A NIC, a loopback, anything that Kleene does not make.
    Other,
}

/// A link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLink {
    /// What it is.
    pub kind: Kind,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The text that may hold an owner mark.
    pub alias: Option<String>,
    /// Whether it is up.
    pub up: bool,
    /// The bridge it is a port of.
    pub master: Option<LinkName>,
    /// Its addresses.
    pub addresses: BTreeSet<IpNet>,
    /// The largest packet that it takes.
    pub mtu: u32,
    /// Whether it is a port that reaches only ports that are not so.
    pub isolated: bool,
}

impl KernelLink {
    fn new(kind: Kind, mac: MacAddress, alias: Option<String>) -> Self {
        let (master, addresses) = (None, BTreeSet::new());
        Self { kind, mac, alias, up: false, master, addresses, mtu: 1500, isolated: false }
    }
}

/// A link inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerLink {
    /// The largest packet that it takes.
    pub mtu: u32,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Whether it is up.
    pub up: bool,
    /// Its addresses.
    pub addresses: BTreeSet<IpNet>,
}

/// A container's network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Whether its loopback is up.
    pub loopback_up: bool,
    /// Its links, the loopback excepted.
    pub links: BTreeMap<LinkName, InnerLink>,
    /// Its default routes: over which link, to which gateway.
    pub defaults: BTreeMap<Family, (LinkName, IpAddr)>,
    /// Over which link it answers with an address.
    pub answers: BTreeMap<IpAddr, LinkName>,
    /// Its ways to subnets that are not on the wire, by their gateways.
    pub subnets: BTreeMap<IpNet, (LinkName, IpAddr)>,
    /// In a view: the addresses on its loopback, `::1` excepted.
    pub loopback: BTreeSet<IpNet>,
    /// In a view: over which link the host is known.
    pub met: BTreeSet<(LinkName, Family)>,
    /// In a view: whether answers over UDP come from the address asked.
    pub replies: bool,
    /// In a view: the ways out, with their source and MTU.
    pub routes: BTreeMap<IpNet, (LinkName, IpAddr, Option<u32>)>,
}

/// All of it. It holds what is, never what shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// The host's links.
    pub links: BTreeMap<LinkName, KernelLink>,
    /// The host's routes that somebody set; those of addresses come by themselves.
    pub routes: Vec<HostRoute>,
    /// The containers' namespaces.
    pub namespaces: BTreeMap<ContainerId, Namespace>,
    /// What stands for containers' addresses.
    pub standing: Standing,
    /// Settings of links, by name.
    pub settings: BTreeMap<String, String>,
    /// Addresses that others use on the wire of a link.
    pub neighbours: BTreeMap<LinkName, BTreeSet<IpAddr>>,
    /// Sockets of the host's programs.
    pub listeners: Vec<(Protocol, Listener)>,
    /// Whether it does not tell who listens.
    pub hides_listeners: bool,
}

/// What stands on the host for containers' addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What the packet filter holds.
    pub policy: BTreeSet<Piece>,
    /// Unreachable routes.
    pub fallbacks: BTreeSet<IpAddr>,
    /// Routes into cables, with the host's source.
    pub steered: BTreeMap<IpAddr, (LinkName, Option<IpAddr>)>,
    /// IPv4 addresses whose unreachable route comes before the one into the
    /// cable: the last one that was put does.
    pub shadowed: BTreeSet<IpAddr>,
    /// Addresses on links.
    pub shown: BTreeSet<(LinkName, IpAddr)>,
    /// Proxy neighbour entries.
    pub answered: BTreeSet<(LinkName, IpAddr)>,
}

impl Standing {
    /// A link is gone, or down: what the kernel takes with it.
    fn without(&mut self, name: &LinkName, deleted: bool) {
        self.steered.retain(|_, (cable, _)| cable != name);
        self.answered.retain(|(link, _)| link != name);
        self.shown.retain(|(link, addr)| link != name || !deleted && addr.is_ipv4());
    }
}

pub(super) type Done = Result<(), Errno>;

impl Kernel {
    /// Adds a link that is not Kleene's.
    ///
    /// # Errors
    /// [`Errno::Exists`].
    pub fn add_stranger(&mut self, name: &LinkName, kind: Kind, alias: Option<&str>) -> Done {
        let mac = MacAddress([2, 0, 0, 0, 0, 1]);
        self.add(name, KernelLink::new(kind, mac, alias.map(str::to_owned)))
    }

    fn add(&mut self, name: &LinkName, link: KernelLink) -> Done {
        if self.links.contains_key(name) {
            return Err(Errno::Exists);
        }
        self.links.insert(name.clone(), link);
        Ok(())
    }

    fn link(&mut self, name: &LinkName) -> Result<&mut KernelLink, Errno> {
        self.links.get_mut(name).ok_or(Errno::NoDevice)
    }

    pub(super) fn inner(
        &mut self,
        container: ContainerId,
        name: &LinkName,
    ) -> Result<&mut InnerLink, Errno> {
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        namespace.links.get_mut(name).ok_or(Errno::NoDevice)
    }

    /// Makes a bridge, down.
    ///
    /// # Errors
    /// [`Errno::Exists`].
    pub fn make_bridge(&mut self, name: &LinkName, mac: MacAddress, mark: &Mark) -> Done {
        self.add(name, KernelLink::new(Kind::Bridge, mac, Some(mark.to_string())))
    }

    /// Makes both ends of a cable, down.
    ///
    /// # Errors
    /// [`Errno::Exists`] for either end's name, [`Errno::NoEntry`] without the
    /// container's namespace.
    pub fn make_cable(&mut self, cable: &Cable, mark: &Mark) -> Done {
        let Cable { purpose: _, host, inner, host_mac, inner_mac, mtu, container } = cable;
        let namespace = self.namespaces.get(container).ok_or(Errno::NoEntry)?;
        if namespace.links.contains_key(inner) {
            return Err(Errno::Exists);
        }
        let kind = Kind::Veth { container: *container, peer: inner.clone() };
        let mut outer = KernelLink::new(kind, *host_mac, Some(mark.to_string()));
        outer.mtu = mtu.unwrap_or(outer.mtu);
        let mtu = outer.mtu;
        self.add(host, outer)?;
        let end = InnerLink { mac: *inner_mac, mtu, up: false, addresses: BTreeSet::new() };
        let namespace = self.namespaces.get_mut(container).ok_or(Errno::NoEntry)?;
        namespace.links.insert(inner.clone(), end);
        Ok(())
    }

    /// Deletes a link of the host with all that hangs on it: its addresses and
    /// routes, the far end of a cable, the bond of a bridge's ports.
    ///
    /// # Errors
    /// [`Errno::NoDevice`].
    pub fn delete(&mut self, name: &LinkName) -> Done {
        let link = self.links.remove(name).ok_or(Errno::NoDevice)?;
        self.routes.retain(|route| route.link.as_ref() != Some(name));
        self.standing.without(name, true);
        if let Kind::Veth { container, peer } = &link.kind
            && let Some(namespace) = self.namespaces.get_mut(container)
        {
            namespace.links.remove(peer);
            namespace.defaults.retain(|_, (link, _)| link != peer);
            namespace.subnets.retain(|_, (link, _)| link != peer);
            namespace.answers.retain(|_, link| link != peer);
            namespace.met.retain(|(link, _)| link != peer);
            namespace.routes.retain(|_, (link, ..)| link != peer);
        }
        for port in self.links.values_mut().filter(|port| port.master.as_ref() == Some(name)) {
            port.isolated = false;
            port.master = None;
        }
        Ok(())
    }

    /// Adds an address to a link of the host.
    ///
    /// # Errors
    /// [`Errno::NoDevice`], [`Errno::Exists`], [`Errno::AddressNotAvailable`].
    pub fn add_address(&mut self, name: &LinkName, addr: IpNet) -> Done {
        insert(&mut self.link(name)?.addresses, addr)
    }

    /// Takes an address off a link of the host.
    ///
    /// # Errors
    /// [`Errno::NoDevice`], [`Errno::AddressNotAvailable`].
    pub fn remove_address(&mut self, name: &LinkName, addr: IpNet) -> Done {
        let removed = self.link(name)?.addresses.remove(&addr);
        removed.then_some(()).ok_or(Errno::AddressNotAvailable)
    }

    /// Brings a link of the host up or down. Down, its own routes go.
    ///
    /// # Errors
    /// [`Errno::NoDevice`].
    pub fn set_up(&mut self, name: &LinkName, up: bool) -> Done {
        self.link(name)?.up = up;
        if !up {
            self.routes.retain(|route| route.link.as_ref() != Some(name));
            self.standing.without(name, false);
        }
        Ok(())
    }

    /// Makes a link a port of a bridge, or of none.
    ///
    /// # Errors
    /// [`Errno::NoDevice`], [`Errno::NotSupported`] when `bridge` is none,
    /// [`Errno::Loop`] for a bridge in a bridge.
    pub fn set_master(&mut self, name: &LinkName, bridge: Option<&LinkName>) -> Done {
        if let Some(bridge) = bridge
            && self.link(bridge)?.kind != Kind::Bridge
        {
            return Err(Errno::NotSupported);
        }
        let link = self.link(name)?;
        if bridge.is_some() && link.kind == Kind::Bridge {
            return Err(Errno::Loop);
        }
        if link.master.as_ref() != bridge {
            link.master = bridge.cloned();
            link.isolated = false;
        }
        Ok(())
    }

    /// Isolates a port.
    ///
    /// # Errors
    /// [`Errno::NoDevice`], [`Errno::NotSupported`] for a link that is no port.
    pub fn isolate(&mut self, name: &LinkName) -> Done {
        let link = self.link(name)?;
        if link.master.is_none() {
            return Err(Errno::NotSupported);
        }
        link.isolated = true;
        Ok(())
    }

    /// Has a container answer with an address over a link.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`], [`Errno::NetworkDown`] over a
    /// link that is down.
    pub fn answer_as(&mut self, container: ContainerId, name: &LinkName, addr: IpAddr) -> Done {
        if !self.inner(container, name)?.up {
            return Err(Errno::NetworkDown);
        }
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        namespace.answers.insert(addr, name.clone());
        Ok(())
    }

    /// Leads a subnet to a gateway inside a container.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`], [`Errno::NetworkDown`] over a
    /// link that is down.
    pub fn add_subnet(
        &mut self,
        container: ContainerId,
        name: &LinkName,
        destination: IpNet,
        via: IpAddr,
    ) -> Done {
        if !self.inner(container, name)?.up {
            return Err(Errno::NetworkDown);
        }
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        namespace.subnets.insert(destination, (name.clone(), via));
        Ok(())
    }

    /// A namespace comes to be. Its loopback is down.
    pub fn make_namespace(&mut self, container: ContainerId) {
        self.namespaces.insert(container, Namespace::default());
    }

    /// A namespace goes, and every cable that ends in it.
    pub fn destroy_namespace(&mut self, container: ContainerId) {
        let ends_there = |link: &KernelLink| matches!(&link.kind, Kind::Veth { container: c, .. } if *c == container);
        let ends = self.links.iter().filter(|(_, link)| ends_there(link));
        for name in ends.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.links.remove(&name);
            self.standing.without(&name, true);
        }
        self.namespaces.remove(&container);
    }

    /// The routes of the host: those somebody set, and those of the addresses
    /// of its links that are up.
    #[must_use]
    pub fn all_routes(&self) -> Vec<HostRoute> {
        let up = self.links.iter().filter(|(_, link)| link.up);
        let connected = up.flat_map(|(name, link)| {
            link.addresses
                .iter()
                .map(|addr| HostRoute { destination: addr.trunc(), link: Some(name.clone()) })
        });
        self.routes.iter().cloned().chain(connected).collect()
    }
}

pub(super) fn insert(addresses: &mut BTreeSet<IpNet>, addr: IpNet) -> Done {
    if addr.addr().is_unspecified() || addr.addr().is_multicast() {
        return Err(Errno::AddressNotAvailable);
    }
    addresses.insert(addr).then_some(()).ok_or(Errno::Exists)
}
