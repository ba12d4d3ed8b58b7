//! Routes: those that follow from addresses, and those that somebody added.

use std::net::{IpAddr, Ipv6Addr};

use super::link::{Address, Kind, LinkId, VnetId, network};
use super::{Errno, State};

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// An interface itself, shown by its number.
    Link(u32),
    /// A router.
    Router(IpAddr),
}

/// A route that somebody added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Static {
    pub(crate) destination: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) host: bool,
    pub(crate) gateway: IpAddr,
    /// The interface by which the gateway is reached.
    pub(crate) link: LinkId,
}

/// A line of the routing table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) destination: IpAddr,
    /// `None` is a host.
    pub(crate) prefix: Option<u8>,
    pub(crate) gateway: Gateway,
    pub(crate) flags: &'static str,
    /// The interface whose name is shown, and the one whose address it is.
    pub(crate) shown: String,
    pub(crate) link: LinkId,
}

impl State {
    /// The routing table of a stack, in the order of the kernel's tree.
    pub(crate) fn table(&self, vnet: VnetId) -> Vec<Entry> {
        let mut table: Vec<Entry> = Vec::new();
        for (id, link) in self.links_of(vnet) {
            for addr in &link.addresses {
                let entry = self.network_of(vnet, id, addr);
                let same = |one: &Entry| {
                    one.prefix.is_some()
                        && (one.destination, one.prefix) == (addr.network(), Some(addr.prefix))
                        && (!addr.is_link_local() || one.link == id)
                };
                if entry.as_ref().is_some_and(|_| !table.iter().any(same)) {
                    table.extend(entry);
                }
                table.push(self.host_of(id, addr));
            }
        }
        for route in &self.vnet(vnet).routes {
            table.push(Entry {
                destination: route.destination,
                prefix: (!route.host).then_some(route.prefix),
                gateway: Gateway::Router(route.gateway),
                flags: if route.host { "UGHS" } else { "UGS" },
                shown: self.link(route.link).name.clone(),
                link: route.link,
            });
        }
        table.sort_by_key(|entry| {
            let embedded = embed(entry.destination, self.link(entry.link).index);
            (entry.destination.is_ipv6(), embedded, entry.prefix.is_none(), entry.prefix)
        });
        table
    }

    fn network_of(&self, _vnet: VnetId, id: LinkId, addr: &Address) -> Option<Entry> {
        let link = self.link(id);
        let loopback = matches!(link.kind, Kind::Loopback);
        let whole = if addr.ip.is_ipv4() { 32 } else { 128 };
        if addr.prefix == whole || !link.up || loopback && addr.ip.is_ipv4() {
            return None;
        }
        Some(Entry {
            destination: addr.network(),
            prefix: Some(addr.prefix),
            gateway: Gateway::Link(link.index),
            flags: "U",
            shown: link.name.clone(),
            link: id,
        })
    }

    /// The route to an address of our own.
    fn host_of(&self, id: LinkId, addr: &Address) -> Entry {
        let link = self.link(id);
        let loopback4 = matches!(link.kind, Kind::Loopback) && addr.ip.is_ipv4();
        let alone = addr.ip.is_ipv4() && addr.prefix == 32;
        Entry {
            destination: addr.ip,
            prefix: None,
            gateway: Gateway::Link(link.index),
            flags: if loopback4 || alone { "UH" } else { "UHS" },
            shown: if loopback4 { link.name.clone() } else { "lo0".to_owned() },
            link: id,
        }
    }

    /// The interface on whose network an address is.
    pub(crate) fn reached_by(
        &self,
        vnet: VnetId,
        ip: IpAddr,
        scope: Option<&str>,
    ) -> Option<LinkId> {
        let near = |addr: &Address| {
            addr.ip.is_ipv4() == ip.is_ipv4() && addr.network() == network(ip, addr.prefix)
        };
        let found = |(_, link): &(LinkId, &super::Link)| {
            link.up
                && scope.is_none_or(|scope| link.name == scope)
                && link.addresses.iter().any(near)
        };
        self.links_of(vnet).find(found).map(|(id, _)| id)
    }

    /// Adds a route.
    pub(crate) fn add_route(&mut self, vnet: VnetId, route: Static) -> Result<(), Errno> {
        let same = |one: &Static| {
            (one.destination, one.prefix, one.host) == (route.destination, route.prefix, route.host)
        };
        if self.vnet(vnet).routes.iter().any(same) {
            return Err(Errno::Exists);
        }
        self.vnet_mut(vnet).routes.push(route);
        Ok(())
    }

    /// Takes away routes over an interface that goes.
    pub(crate) fn forget_routes(&mut self, id: LinkId) {
        for vnet in self.vnets.values_mut() {
            vnet.routes.retain(|route| route.link != id);
        }
    }

    /// Takes away routes whose router is on no network any more.
    pub(crate) fn drop_unreachable(&mut self, vnet: VnetId) {
        let near = |route: &Static| {
            let link = self.link(route.link);
            let on = |addr: &Address| {
                addr.ip.is_ipv4() == route.gateway.is_ipv4()
                    && addr.network() == network(route.gateway, addr.prefix)
            };
            link.up && link.addresses.iter().any(on)
        };
        let kept: Vec<Static> =
            self.vnet(vnet).routes.iter().filter(|route| near(route)).cloned().collect();
        self.vnet_mut(vnet).routes = kept;
    }
}

/// A link-local address with its interface in it, as the kernel holds it.
pub(crate) fn embed(ip: IpAddr, index: u32) -> IpAddr {
    match ip {
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80 => {
            let mut segments = ip.segments();
            segments[1] = u16::try_from(index).unwrap_or_default();
            Ipv6Addr::from(segments).into()
        }
        ip => ip,
    }
}
