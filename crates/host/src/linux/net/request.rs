//! Builds the messages that are sent to the kernel. Only this file and
//! `request_route` name the types of `netlink-packet-route`.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;
use kleene_engine::change::{Cable, CableUse, Mark};
use kleene_model::{Family, LinkName, MacAddress};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort,
    InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Route};

/// One message to the kernel, whole but for its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::linux) struct Request {
    bytes: Vec<u8>,
}

pub(super) const CHANGE: u16 = NLM_F_REQUEST | NLM_F_ACK;
pub(super) const MAKE: u16 = CHANGE | NLM_F_CREATE | NLM_F_EXCL;
pub(super) const LIST: u16 = NLM_F_REQUEST | NLM_F_DUMP;

impl Request {
    pub(super) fn new(message: Route, flags: u16) -> Self {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.finalize();
        let length = message.buffer_len();
        let mut bytes = vec![0; length.next_multiple_of(4)];
        message.serialize(&mut bytes);
        Self { bytes }
    }

    /// Its length in bytes, a multiple of four.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends it, numbered, to a datagram.
    pub(in crate::linux) fn write(&self, sequence: u32, datagram: &mut Vec<u8>) {
        const SEQUENCE: std::ops::Range<usize> = 8..12;
        let start = datagram.len();
        datagram.extend_from_slice(&self.bytes);
        if let Some(field) = datagram.get_mut(start..).and_then(|new| new.get_mut(SEQUENCE)) {
            field.copy_from_slice(&sequence.to_ne_bytes());
        }
    }
}

pub(super) fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

/// Makes a bridge, down, without spanning tree.
pub(super) fn make_bridge(index: u32, name: &LinkName, mac: MacAddress) -> Request {
    let info = vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::StpState(BridgeStpState::Disabled)])),
    ];
    let attributes = vec![
        LinkAttribute::IfName(name.to_string()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Group(0),
        LinkAttribute::LinkInfo(info),
    ];
    Request::new(Route::NewLink(link(index, attributes)), MAKE)
}

/// The MTU of a routed cable: the most that IP allows.
const ROUTED_MTU: u32 = 65_535;

/// Makes a cable whose inner end is born in `netns`.
pub(super) fn make_cable(
    cable: &Cable,
    (host, inner): (u32, u32),
    netns: BorrowedFd<'_>,
) -> Request {
    let mut peer = vec![
        LinkAttribute::IfName(cable.inner.to_string()),
        LinkAttribute::Address(cable.inner_mac.0.to_vec()),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
    ];
    // No wire limits what goes over it: packets as large as on a loopback.
    let mtu = match cable.purpose {
        CableUse::Port => cable.mtu.map(LinkAttribute::Mtu),
        CableUse::Routed => Some(LinkAttribute::Mtu(ROUTED_MTU)),
    };
    peer.extend(mtu.clone());
    let info = vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(link(inner, peer)))),
    ];
    let mut attributes = vec![
        LinkAttribute::IfName(cable.host.to_string()),
        LinkAttribute::Address(cable.host_mac.0.to_vec()),
        LinkAttribute::LinkInfo(info),
    ];
    attributes.extend(mtu);
    Request::new(Route::NewLink(link(host, attributes)), MAKE)
}

/// Marks a link as ours. The kernel takes an alias in the message that makes a
/// link, and forgets it: it has to be set.
pub(in crate::linux) fn set_mark(index: u32, mark: &Mark) -> Request {
    let alias = LinkAttribute::IfAlias(mark.to_string());
    Request::new(Route::SetLink(link(index, vec![alias])), CHANGE)
}

/// Makes a link a port of another; of none for a `master` of 0.
pub(super) fn set_master(index: u32, master: u32) -> Request {
    Request::new(Route::SetLink(link(index, vec![LinkAttribute::Controller(master)])), CHANGE)
}

/// Lets a port of a bridge reach no other port that is so.
pub(super) fn isolate(index: u32) -> Request {
    let info = vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
    ];
    let message = link(index, vec![LinkAttribute::LinkInfo(info)]);
    // A port's own settings are only taken by the message that makes links.
    Request::new(Route::NewLink(message), CHANGE)
}

/// Brings a link up or down.
pub(in crate::linux) fn set_up(index: u32, up: bool) -> Request {
    let mut message = link(index, Vec::new());
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    Request::new(Route::SetLink(message), CHANGE)
}

/// Lets the kernel derive a link's own link-local address from its MAC,
/// whatever the host's default is.
pub(super) fn link_local_from_mac(index: u32) -> Request {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::Eui64);
    let spec = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
    Request::new(Route::SetLink(link(index, vec![spec])), CHANGE)
}

/// Puts a link into a group.
pub(in crate::linux) fn set_group(index: u32, group: u32) -> Request {
    Request::new(Route::SetLink(link(index, vec![LinkAttribute::Group(group)])), CHANGE)
}

/// Deletes a link.
pub(in crate::linux) fn delete_link(index: u32) -> Request {
    Request::new(Route::DelLink(link(index, Vec::new())), CHANGE)
}

/// Deletes all links of a group at once.
pub(in crate::linux) fn delete_group(group: u32) -> Request {
    Request::new(Route::DelLink(link(0, vec![LinkAttribute::Group(group)])), CHANGE)
}

/// Which link is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::linux) enum Which<'a> {
    /// The one of that name.
    Name(&'a LinkName),
    /// The one of that index.
    Index(u32),
}

/// Asks for one link.
pub(super) fn get_link(which: Which<'_>) -> Request {
    let message = match which {
        Which::Name(name) => link(0, vec![LinkAttribute::IfName(name.to_string()), brief()]),
        Which::Index(index) => link(index, vec![brief()]),
    };
    Request::new(Route::GetLink(message), NLM_F_REQUEST)
}

/// Asks for all links.
pub(super) fn list_links() -> Request {
    Request::new(Route::GetLink(link(0, vec![brief()])), LIST)
}

/// Counters make up most of a link's description, and nobody here reads them.
fn brief() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// Asks for all addresses of both families.
pub(super) fn list_addresses() -> Request {
    Request::new(Route::GetAddress(AddressMessage::default()), LIST)
}

/// Asks for one IPv6 address of a link. Of IPv4 ones only lists can be had.
pub(super) fn get_address6(index: u32, addr: Ipv6Addr) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(addr.into()));
    Request::new(Route::GetAddress(message), NLM_F_REQUEST)
}

/// The number of the main routing table.
pub(super) const MAIN: u8 = RouteHeader::RT_TABLE_MAIN;
/// The number of the table of the host's own addresses.
pub(super) const LOCAL: u8 = 255;

/// Asks for the routes of a family in a table.
pub(super) fn list_routes(of: Family, table: u8) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.table = table;
    Request::new(Route::GetRoute(message), LIST)
}

/// Adds an address, usable at once: nobody else can have it.
pub(super) fn add_address(index: u32, addr: IpNet) -> Request {
    let mut message = address(index, addr);
    match addr {
        IpNet::V4(net) if net.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    Request::new(Route::NewAddress(message), MAKE)
}

/// Adds an address without a way to the rest of its subnet.
pub(super) fn add_lone_address(index: u32, addr: IpNet) -> Request {
    let mut message = address(index, addr);
    let flags = match addr {
        IpNet::V4(_) => AddressFlags::Noprefixroute,
        IpNet::V6(_) => AddressFlags::Noprefixroute | AddressFlags::Nodad,
    };
    message.attributes.push(AddressAttribute::Flags(flags));
    Request::new(Route::NewAddress(message), MAKE)
}

/// Takes an address off.
pub(in crate::linux) fn remove_address(index: u32, addr: IpNet) -> Request {
    Request::new(Route::DelAddress(address(index, addr)), CHANGE)
}

pub(super) fn address(index: u32, addr: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(Family::of(addr.addr()));
    message.header.prefix_len = addr.prefix_len();
    message.header.scope = match addr.addr() {
        IpAddr::V4(v4) if v4.is_loopback() => AddressScope::Host,
        _ => AddressScope::Universe,
    };
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(addr.addr()), AddressAttribute::Address(addr.addr())];
    message
}

/// Sets the default route of the gateway's family, in place of another.
pub(super) fn default_route(index: u32, via: IpAddr) -> Request {
    via_gateway(index, None, via)
}

/// Leads a subnet to its gateway, in place of another way.
pub(super) fn subnet_route(index: u32, destination: IpNet, via: IpAddr) -> Request {
    via_gateway(index, Some(destination), via)
}

/// Where the tables begin by which containers answer as themselves; each
/// interface has its own. What is below is for whoever is inside.
const ANSWERS: u32 = 0x4b00_0000;
/// Before the main table's (32766), behind the local one's (0).
const ANSWER_PRIORITY: u32 = 1000;

/// Has what is sent with an address look for its way in a table of its own.
pub(super) fn answer_rule(number: u32, addr: IpAddr) -> Request {
    let mut message = RuleMessage::default();
    message.header.family = family(Family::of(addr));
    message.header.src_len = IpNet::from(addr).prefix_len();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(addr),
        RuleAttribute::Priority(ANSWER_PRIORITY),
        RuleAttribute::Table(ANSWERS + number),
    ];
    Request::new(Route::NewRule(message), MAKE)
}

/// The ways of that table: to the subnet on the interface's wire, and to
/// everything else over the gateway.
pub(super) fn answer_routes(
    (index, number): (u32, u32),
    addr: IpNet,
    direct: bool,
    via: Option<IpAddr>,
) -> Vec<Request> {
    let table = RouteAttribute::Table(ANSWERS + number);
    let mut requests = Vec::new();
    if direct {
        let mut message = route_message(Family::of(addr.addr()));
        message.header.scope = match addr {
            IpNet::V4(_) => RouteScope::Link,
            IpNet::V6(_) => RouteScope::Universe,
        };
        message.header.destination_prefix_length = addr.prefix_len();
        message.attributes = vec![
            RouteAttribute::Destination(addr.trunc().addr().into()),
            RouteAttribute::Oif(index),
            table.clone(),
        ];
        requests.push(message);
    }
    if let Some(via) = via {
        let mut message = route_message(Family::of(via));
        message.header.flags = RouteFlags::Onlink;
        message.attributes =
            vec![RouteAttribute::Gateway(via.into()), RouteAttribute::Oif(index), table];
        requests.push(message);
    }
    let put = |mut message: RouteMessage| {
        message.header.table = 0;
        Request::new(Route::NewRoute(message), CHANGE | NLM_F_CREATE | NLM_F_REPLACE)
    };
    requests.into_iter().map(put).collect()
}

fn route_message(of: Family) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.table = MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message
}

fn via_gateway(index: u32, destination: Option<IpNet>, via: IpAddr) -> Request {
    let mut message = route_message(Family::of(via));
    // The subnet may be reached over the gateway, too, which is on the wire.
    message.header.flags = RouteFlags::Onlink;
    message.attributes = vec![RouteAttribute::Gateway(via.into()), RouteAttribute::Oif(index)];
    if let Some(destination) = destination {
        message.header.destination_prefix_length = destination.prefix_len();
        message.attributes.push(RouteAttribute::Destination(destination.addr().into()));
    }
    Request::new(Route::NewRoute(message), CHANGE | NLM_F_CREATE | NLM_F_REPLACE)
}

pub(super) fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// A link that shows an interface of the host.
#[derive(Debug, Clone, Copy)]
pub(in crate::linux) struct MirrorLink<'a> {
    pub(in crate::linux) kind: &'a str,
    pub(in crate::linux) name: &'a LinkName,
    /// 0 lets the kernel choose.
    pub(in crate::linux) index: u32,
    pub(in crate::linux) mtu: u32,
    /// `None` lets the kernel choose.
    pub(in crate::linux) mac: Option<MacAddress>,
    pub(in crate::linux) up: bool,
}

/// Makes such a link, whole.
pub(in crate::linux) fn make_mirror(mirror: MirrorLink<'_>) -> Request {
    let kind = LinkInfo::Kind(InfoKind::Other(mirror.kind.to_owned()));
    let mut attributes = vec![
        LinkAttribute::IfName(mirror.name.to_string()),
        LinkAttribute::Mtu(mirror.mtu),
        LinkAttribute::LinkInfo(vec![kind]),
    ];
    attributes.extend(mirror.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    let mut message = link(mirror.index, attributes);
    if mirror.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = LinkFlags::Up;
    }
    Request::new(Route::NewLink(message), MAKE)
}

/// Renames a link.
pub(in crate::linux) fn set_name(index: u32, name: &str) -> Request {
    let name = LinkAttribute::IfName(name.to_string());
    Request::new(Route::SetLink(link(index, vec![name])), CHANGE)
}

/// Sets a link's MTU.
pub(in crate::linux) fn set_mtu(index: u32, mtu: u32) -> Request {
    Request::new(Route::SetLink(link(index, vec![LinkAttribute::Mtu(mtu)])), CHANGE)
}

/// Sets a link's MAC address.
pub(in crate::linux) fn set_mac(index: u32, mac: MacAddress) -> Request {
    let mac = LinkAttribute::Address(mac.0.to_vec());
    Request::new(Route::SetLink(link(index, vec![mac])), CHANGE)
}

/// Asks for the links of a kind. The kernel answers with those of all kinds
/// where it does not know this one, and loads no module to learn of it.
pub(in crate::linux) fn list_kind(kind: &str) -> Request {
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Other(kind.to_owned()))]);
    Request::new(Route::GetLink(link(0, vec![brief(), info])), LIST)
}

/// Makes the host itself answer for all addresses of a network, none of which
/// is shown.
pub(in crate::linux) fn local_route(index: u32, net: IpNet) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(net.addr()));
    message.header.destination_prefix_length = net.prefix_len();
    message.header.table = LOCAL;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Host;
    message.header.kind = RouteType::Local;
    message.attributes =
        vec![RouteAttribute::Destination(net.addr().into()), RouteAttribute::Oif(index)];
    Request::new(Route::NewRoute(message), MAKE)
}
