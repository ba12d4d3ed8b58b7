//! Messages for addresses of `ipnet` containers: routes, neighbours, addresses
//! that carry our protocol number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use kleene_model::{Family, LinkName, MacAddress};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Route;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressProtocol, CacheInfo};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};

use super::request::{CHANGE, LIST, LOCAL, MAIN, MAKE, Request, address, family, link};

/// Marks routes, addresses and proxy neighbours as Kleene's: `K`. Unassigned in
/// `rt_protos` and `rt_addrprotos`.
pub(super) const PROTOCOL: u8 = b'K';

/// The metric of the unreachable IPv6 route behind a cable's.
const BEHIND: u32 = 4096;

/// What containers know the host's end of their cable as.
pub(super) fn far_end(of: Family) -> IpAddr {
    match of {
        // As other systems do where the gateway is nobody's neighbour: any
        // link-local address will do.
        Family::V4 => Ipv4Addr::new(169, 254, 1, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Makes a dummy, down.
pub(super) fn make_dummy(index: u32, name: &LinkName, mac: MacAddress) -> Request {
    let attributes = vec![
        LinkAttribute::IfName(name.to_string()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
    ];
    Request::new(Route::NewLink(link(index, attributes)), MAKE)
}

/// Shows a container's address on an interface of the host. IPv6: deprecated,
/// so that the host never chooses it as a source.
pub(super) fn show(index: u32, addr: IpAddr) -> Request {
    let mut message = address(index, IpNet::from(addr));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)));
    if addr.is_ipv6() {
        let mut deprecated = CacheInfo::default();
        deprecated.ifa_valid = u32::MAX;
        // A route of the address's own would come before the one into the cable.
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::CacheInfo(deprecated));
    }
    Request::new(Route::NewAddress(message), MAKE)
}

/// Takes off the route by which the kernel would deliver an address to itself.
pub(super) fn unclaim(index: u32, addr: IpAddr) -> Request {
    let mut message = route(IpNet::from(addr), LOCAL, RouteType::Local);
    message.header.protocol = RouteProtocol::Unspec;
    message.attributes.push(RouteAttribute::Oif(index));
    Request::new(Route::DelRoute(message), CHANGE)
}

/// The table in which an address is led away. IPv4 addresses have to be met
/// before the kernel's own local route is.
fn table(of: Family) -> u8 {
    match of {
        Family::V4 => LOCAL,
        Family::V6 => MAIN,
    }
}

/// Leads an address into a cable, in front of any other route to it.
pub(super) fn steer(cable: u32, addr: IpAddr, source: Option<IpAddr>) -> Request {
    Request::new(Route::NewRoute(steered(cable, addr, source)), CHANGE | NLM_F_CREATE)
}

/// No longer leads it there.
pub(super) fn unsteer(cable: u32, addr: IpAddr, source: Option<IpAddr>) -> Request {
    Request::new(Route::DelRoute(steered(cable, addr, source)), CHANGE)
}

fn steered(cable: u32, addr: IpAddr, source: Option<IpAddr>) -> RouteMessage {
    let mut message = route(IpNet::from(addr), table(Family::of(addr)), RouteType::Unicast);
    message.header.scope = match addr {
        IpAddr::V4(_) => RouteScope::Link,
        IpAddr::V6(_) => RouteScope::Universe,
    };
    message.attributes.push(RouteAttribute::Oif(cable));
    message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
    message
}

/// Makes an address unreachable where no cable takes it.
pub(super) fn fall_back(addr: IpAddr) -> Request {
    Request::new(Route::NewRoute(unreachable(addr)), CHANGE | NLM_F_CREATE)
}

/// No longer makes it so.
pub(super) fn no_fall_back(addr: IpAddr) -> Request {
    Request::new(Route::DelRoute(unreachable(addr)), CHANGE)
}

fn unreachable(addr: IpAddr) -> RouteMessage {
    let mut message = route(IpNet::from(addr), table(Family::of(addr)), RouteType::Unreachable);
    if addr.is_ipv6() {
        message.attributes.push(RouteAttribute::Priority(BEHIND));
    }
    message
}

/// A way out of a view, in place of any other to the same destination.
pub(super) fn way_out(index: u32, destination: IpNet, source: IpAddr, mtu: Option<u32>) -> Request {
    let mut message = out(index, destination, source);
    let metrics = mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    message.attributes.extend(metrics);
    Request::new(Route::NewRoute(message), CHANGE | NLM_F_CREATE | NLM_F_REPLACE)
}

/// No way out any more.
pub(super) fn no_way_out(index: u32, destination: IpNet, source: IpAddr) -> Request {
    Request::new(Route::DelRoute(out(index, destination, source)), CHANGE)
}

fn out(index: u32, destination: IpNet, source: IpAddr) -> RouteMessage {
    let mut message = route(destination, MAIN, RouteType::Unicast);
    // The gateway is on no subnet of the view's.
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.push(RouteAttribute::Gateway(far_end(Family::of(source)).into()));
    message.attributes.push(RouteAttribute::PrefSource(source.into()));
    message
}

fn route(destination: IpNet, table: u8, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(destination.addr()));
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = table;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = kind;
    if destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(destination.addr().into()));
    }
    message
}

/// Has the host answer for an address on an interface.
pub(super) fn answer(index: u32, addr: IpAddr) -> Request {
    let flags = CHANGE | NLM_F_CREATE | NLM_F_EXCL;
    Request::new(Route::NewNeighbour(proxy(index, addr)), flags)
}

/// No longer answers.
pub(super) fn no_answer(index: u32, addr: IpAddr) -> Request {
    Request::new(Route::DelNeighbour(proxy(index, addr)), CHANGE)
}

fn proxy(index: u32, addr: IpAddr) -> NeighbourMessage {
    let mut message = neighbour(index, addr);
    message.header.flags = NeighbourFlags::Proxy;
    // Others are forgotten when a bridge's last port leaves, or a wire is pulled.
    message.header.state = NeighbourState::Permanent;
    let protocol = RouteProtocol::Other(PROTOCOL);
    message.attributes.push(NeighbourAttribute::Protocol(protocol));
    message
}

/// Tells who is at the other end of a cable, so that nobody has to ask.
pub(super) fn meet(index: u32, addr: IpAddr, mac: MacAddress) -> Request {
    let mut message = neighbour(index, addr);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    Request::new(Route::NewNeighbour(message), CHANGE | NLM_F_CREATE | NLM_F_REPLACE)
}

/// Forgets who was there.
pub(super) fn part(index: u32, addr: IpAddr) -> Request {
    Request::new(Route::DelNeighbour(neighbour(index, addr)), CHANGE)
}

fn neighbour(index: u32, addr: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(addr));
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(addr.into()));
    message
}

/// Asks for the neighbours of a family that are known on a link.
pub(super) fn list_neighbours_on(index: u32, of: Family) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(of);
    message.attributes.push(NeighbourAttribute::IfIndex(index));
    Request::new(Route::GetNeighbour(message), LIST)
}

/// Asks whether the host answers for an address on a link.
pub(super) fn get_answer(index: u32, addr: IpAddr) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(addr));
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes.push(NeighbourAttribute::Destination(addr.into()));
    Request::new(Route::GetNeighbour(message), netlink_packet_core::NLM_F_REQUEST)
}

/// Asks for neighbours of a family: those for which the host answers, or those
/// that it knows.
pub(super) fn list_neighbours(of: Family, proxies: bool) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(of);
    if proxies {
        message.header.flags = NeighbourFlags::Proxy;
    }
    Request::new(Route::GetNeighbour(message), LIST)
}

/// Asks which way, and from which source, a packet would go.
pub(super) fn which_way(to: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(to));
    message.header.destination_prefix_length = Family::of(to).bits();
    message.attributes.push(RouteAttribute::Destination(to.into()));
    Request::new(Route::GetRoute(message), netlink_packet_core::NLM_F_REQUEST)
}
