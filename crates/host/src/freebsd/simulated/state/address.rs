//! Addresses of interfaces.

use std::net::{IpAddr, Ipv6Addr};

use super::link::{Address, Kind, LinkId};
use super::{Errno, State};
use crate::freebsd::simulated::quirk::Quirk;

impl State {
    /// Brings an interface up; a loopback interface gets its own addresses.
    pub(crate) fn bring_up(&mut self, id: LinkId) {
        let link = self.link_mut(id);
        let loopback = matches!(link.kind, Kind::Loopback);
        link.up = true;
        if loopback || matches!(link.kind, Kind::Bridge(_) | Kind::Ethernet) {
            link.running = true;
        }
        if let Some(bridge) = link.bridge_mut() {
            bridge.started = true;
        }
        if loopback && self.link(id).nd6.auto_linklocal {
            self.give_loopback_addresses(id);
        }
    }

    fn give_loopback_addresses(&mut self, id: LinkId) {
        let vnet = self.link(id).vnet;
        let gets_it = if self.has(Quirk::LoopbackAddressToFirstUp) {
            !self.vnet(vnet).has_localhost6
        } else {
            self.link(id).name == "lo0" && !self.link(id).has(Ipv6Addr::LOCALHOST.into())
        };
        if gets_it {
            self.vnet_mut(vnet).has_localhost6 = true;
            self.put(id, address(Ipv6Addr::LOCALHOST.into(), 128));
        }
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        if !self.link(id).has(link_local.into()) {
            self.put(id, address(link_local.into(), 64));
        }
    }

    /// Takes an interface down; routes over it go.
    pub(crate) fn bring_down(&mut self, id: LinkId) {
        self.link_mut(id).up = false;
        if matches!(self.link(id).kind, Kind::Bridge(_)) {
            self.link_mut(id).running = false;
        }
        self.drop_unreachable(self.link(id).vnet);
    }

    /// Writes an address down, nothing else.
    pub(crate) fn put(&mut self, id: LinkId, addr: Address) {
        self.link_mut(id).addresses.push(addr);
    }

    /// Adds an address as `SIOCAIFADDR` does; the interface comes up with it.
    pub(crate) fn add_address(&mut self, id: LinkId, ip: IpAddr, prefix: u8) -> Result<(), Errno> {
        if let Some(addr) = self.link_mut(id).addresses.iter_mut().find(|addr| addr.ip == ip) {
            addr.prefix = prefix;
            return if self.has(Quirk::AliasTwice) { Ok(()) } else { Err(Errno::Exists) };
        }
        self.bring_up(id);
        let link = self.link_mut(id);
        let detects = ip.is_ipv6()
            && !matches!(link.kind, Kind::Loopback)
            && !link.nd6.no_dad
            // The first one comes before neighbour discovery is switched on.
            && !link.nd6.disabled;
        self.put(id, Address { ip, prefix, tentative: detects });
        if ip.is_ipv6() {
            self.start_nd6(id);
        }
        Ok(())
    }

    /// Switches IPv6 on, with a link-local address where that is wanted.
    fn start_nd6(&mut self, id: LinkId) {
        let link = self.link_mut(id);
        link.nd6.disabled = false;
        let linked = link.addresses.iter().any(Address::is_link_local);
        let (wanted, no_dad) = (link.nd6.auto_linklocal, link.nd6.no_dad);
        if let Some(mac) = link.ether.filter(|_| wanted && !linked) {
            let ip = mac.link_local().into();
            self.put(id, Address { ip, prefix: 64, tentative: !no_dad });
        }
    }

    /// Removes an address as `SIOCDIFADDR` does.
    pub(crate) fn remove_address(&mut self, id: LinkId, ip: IpAddr) -> Result<(), Errno> {
        let link = self.link_mut(id);
        let at = link.addresses.iter().position(|addr| addr.ip == ip);
        let at = at.ok_or(Errno::AddressNotAvailable)?;
        link.addresses.remove(at);
        let vnet = link.vnet;
        if ip == IpAddr::from(Ipv6Addr::LOCALHOST) {
            self.vnet_mut(vnet).has_localhost6 = false;
        }
        if self.has(Quirk::RouteGoesWithAddress) {
            self.drop_unreachable(vnet);
        }
        Ok(())
    }

    /// Removes the first IPv4 address, as ifconfig does before it sets another
    /// without `alias`.
    pub(crate) fn remove_first4(&mut self, id: LinkId) {
        let mut addresses = self.link(id).addresses.iter();
        if let Some(first) = addresses.find(|addr| addr.ip.is_ipv4()).map(|addr| addr.ip) {
            // It was there a line before.
            let _ = self.remove_address(id, first);
        }
    }
}

fn address(ip: IpAddr, prefix: u8) -> Address {
    Address { ip, prefix, tentative: false }
}
