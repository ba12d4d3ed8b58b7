//! Takes the kernel's bytes apart. Pure functions: no byte sequence makes them
//! panic, and what they do not know they skip. The crate that builds our
//! messages is not used here: it refuses a whole message for one attribute of
//! somebody else's link that it does not understand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use kleene_model::MacAddress;

use super::error::KernelError;

/// Message types of netlink and route-netlink.
pub(in crate::linux) mod kind {
    /// An acknowledgement, or an error.
    pub(crate) const ERROR: u16 = 2;
    /// The end of a list.
    pub(crate) const DONE: u16 = 3;
    /// A link.
    pub(crate) const LINK: u16 = 16;
    /// A link that went.
    pub(crate) const LINK_GONE: u16 = 17;
    /// An address.
    pub(crate) const ADDRESS: u16 = 20;
    /// An address that went.
    pub(crate) const ADDRESS_GONE: u16 = 21;
    /// A route.
    pub(crate) const ROUTE: u16 = 24;
    /// A route that went.
    pub(crate) const ROUTE_GONE: u16 = 25;
    /// A neighbour.
    pub(crate) const NEIGHBOUR: u16 = 28;
}

const DUMP_INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const HAS_ATTRIBUTES: u16 = 0x200;
const HEADER: usize = 16;
const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::linux) struct Malformed(pub(in crate::linux) &'static str);

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::linux) struct Frame<'a> {
    pub(in crate::linux) kind: u16,
    pub(in crate::linux) sequence: u32,
    /// The port of the socket from which came what it answers, or tells of.
    pub(in crate::linux) port: u32,
    pub(in crate::linux) payload: &'a [u8],
    flags: u16,
}

impl Frame<'_> {
    /// Whether the list that it is part of changed while it was read.
    pub(in crate::linux) fn interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    /// What an acknowledgement, or the end of a list, says.
    pub(in crate::linux) fn verdict(&self) -> Result<Result<(), KernelError>, Malformed> {
        let number = i32_at(self.payload, 0);
        let errno = match (self.kind, number) {
            // Old kernels end a list without a number.
            (kind::DONE, None) => 0,
            (_, None) => return Err(Malformed("an acknowledgement is too short")),
            (_, Some(number)) => number,
        };
        match errno.checked_neg() {
            Some(0) => Ok(Ok(())),
            Some(errno @ 1..4096) => Ok(Err(KernelError::new(errno, self.words()))),
            _ => Err(Malformed("an error number is none")),
        }
    }

    /// The kernel's own words behind an error number.
    fn words(&self) -> Option<String> {
        const WORDS: u16 = 1;
        if self.flags & HAS_ATTRIBUTES == 0 {
            return None;
        }
        let mut start = 4;
        if self.kind == kind::ERROR {
            // The request follows: its header, or all of it.
            let request = usize::try_from(u32_at(self.payload, 4)?).ok()?;
            start += if self.flags & CAPPED == 0 { align(request) } else { HEADER };
        }
        let bytes = self.payload.get(start..)?;
        attributes(bytes).find(|(kind, _)| *kind == WORDS).and_then(|(_, value)| text(value))
    }
}

/// The messages of one datagram.
pub(in crate::linux) fn frames(bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = frame(rest);
        // One bad length makes everything behind it unreadable.
        rest = match &frame {
            Ok(frame) => rest.get(align(HEADER + frame.payload.len())..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(frame)
    })
}

fn frame(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    let parts = || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let payload = bytes.get(HEADER..length)?;
        let (kind, flags) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
        let (sequence, port) = (u32_at(bytes, 8)?, u32_at(bytes, 12)?);
        Some(Frame { kind, flags, sequence, port, payload })
    };
    parts().ok_or(Malformed("a message is cut short"))
}

/// The attributes of a message or of another attribute, flags taken off their
/// type. Ends at the first one that is cut short.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const TYPE: u16 = 0x3fff;
    flagged_attributes(bytes).map(|(kind, value)| (kind & TYPE, value))
}

/// The same with their flags.
pub(in crate::linux) fn flagged_attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(4..length)?;
        let kind = u16_at(rest, 2)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A link as the kernel lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::linux) struct LinkRecord {
    pub(in crate::linux) index: u32,
    pub(in crate::linux) up: bool,
    /// Whether it is up at its other end, too.
    pub(in crate::linux) running: bool,
    /// `None` when the name is no text.
    pub(in crate::linux) name: Option<String>,
    pub(in crate::linux) kind: Option<String>,
    pub(in crate::linux) alias: Option<String>,
    /// Index of the link at its other end, or below it, in whichever namespace
    /// that is.
    pub(in crate::linux) peer: Option<u32>,
    /// Index of the bridge, bond or VRF that it is a port of.
    pub(in crate::linux) master: Option<u32>,
    /// Whether it is a port that reaches only ports that are not so.
    pub(in crate::linux) isolated: bool,
    pub(in crate::linux) group: u32,
    pub(in crate::linux) mtu: u32,
    /// `None` when it has none, or none of Ethernet's.
    pub(in crate::linux) mac: Option<MacAddress>,
}

/// Decodes the payload of a link message.
pub(in crate::linux) fn link(payload: &[u8]) -> Result<LinkRecord, Malformed> {
    const UP: u32 = 1;
    const RUNNING: u32 = 0x40;
    let (index, flags) =
        u32_at(payload, 4).zip(u32_at(payload, 8)).ok_or(Malformed("a link is cut short"))?;
    let mut record = LinkRecord {
        index,
        up: flags & UP != 0,
        running: flags & RUNNING != 0,
        ..LinkRecord::default()
    };
    for (kind, value) in attributes(payload.get(16..).unwrap_or_default()) {
        match kind {
            1 => record.mac = <[u8; 6]>::try_from(value).ok().map(MacAddress),
            3 => record.name = text(value),
            4 => record.mtu = u32_at(value, 0).unwrap_or_default(),
            5 => record.peer = u32_at(value, 0).filter(|index| *index != 0),
            10 => record.master = u32_at(value, 0).filter(|index| *index != 0),
            18 => {
                let info = attributes(value).find(|(kind, _)| *kind == 1);
                record.kind = info.and_then(|(_, value)| text(value));
                // IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_ISOLATED.
                let port = attributes(value).find(|(kind, _)| *kind == 5);
                let mut port = port.into_iter().flat_map(|(_, value)| attributes(value));
                record.isolated = port.any(|(kind, value)| kind == 33 && value == [1]);
            }
            20 => record.alias = text(value),
            27 => record.group = u32_at(value, 0).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(record)
}

/// An address as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::linux) struct AddressRecord {
    pub(in crate::linux) index: u32,
    pub(in crate::linux) addr: IpNet,
    /// Who set it; 0 where nobody said.
    pub(in crate::linux) protocol: u8,
}

/// Decodes the payload of an address message; `None` for a family that is
/// neither IPv4 nor IPv6.
pub(super) fn address(payload: &[u8]) -> Result<Option<AddressRecord>, Malformed> {
    let short = Malformed("an address is cut short");
    let [family, prefix, ..] = *payload else { return Err(short) };
    let index = u32_at(payload, 4).ok_or(short)?;
    let (mut local, mut remote, mut protocol) = (None, None, 0);
    for (kind, value) in attributes(payload.get(8..).unwrap_or_default()) {
        match kind {
            1 => remote = ip(family, value),
            2 => local = ip(family, value),
            11 => protocol = value.first().copied().unwrap_or_default(),
            _ => {}
        }
    }
    // On a point-to-point link the two differ, and `local` is the link's own.
    let addr = local.or(remote).and_then(|addr| IpNet::new(addr, prefix).ok());
    Ok(addr.map(|addr| AddressRecord { index, addr, protocol }))
}

/// What a route does, as far as that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// It leads on.
    Unicast,
    /// It ends here.
    Local,
    /// It leads nowhere.
    Unreachable,
    /// Anything else.
    Other,
}

/// A route as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RouteRecord {
    pub(super) destination: IpNet,
    pub(super) table: u32,
    pub(super) kind: RouteKind,
    /// Who set it.
    pub(super) protocol: u8,
    /// The host's own address on that way, where one is set.
    pub(super) source: Option<IpAddr>,
    /// The largest packet on that way, where one is set.
    pub(super) mtu: Option<u32>,
    /// Where it leads to: several links for a multipath route.
    pub(super) links: Vec<u32>,
}

/// Decodes the payload of a route message; `None` for a family that is neither
/// IPv4 nor IPv6.
pub(super) fn route(payload: &[u8]) -> Result<Option<RouteRecord>, Malformed> {
    let [family, prefix, _, _, table, protocol, _, kind, _, _, _, _, ref attrs @ ..] = *payload
    else {
        return Err(Malformed("a route is cut short"));
    };
    let mut destination = match family {
        AF_INET => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        AF_INET6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    let (mut table, mut links) = (u32::from(table), Vec::new());
    let (mut source, mut mtu) = (None, None);
    for (kind, value) in attributes(attrs) {
        match kind {
            1 => destination = ip(family, value).unwrap_or(destination),
            4 => links.extend(u32_at(value, 0)),
            7 => source = ip(family, value),
            8 => {
                const MTU: u16 = 2;
                let found = attributes(value).find(|(kind, _)| *kind == MTU);
                mtu = found.and_then(|(_, value)| u32_at(value, 0)).filter(|mtu| *mtu != 0);
            }
            9 => links.extend(next_hops(value)),
            15 => table = u32_at(value, 0).unwrap_or(table),
            _ => {}
        }
    }
    let kind = match kind {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        7 => RouteKind::Unreachable,
        _ => RouteKind::Other,
    };
    let destination = IpNet::new(destination, prefix)
        .map_err(|_| Malformed("a route's prefix is longer than its address"))?;
    Ok(Some(RouteRecord { destination, table, kind, protocol, source, mtu, links }))
}

/// A neighbour as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NeighbourRecord {
    pub(super) index: u32,
    pub(super) addr: IpAddr,
    /// Whether it is somebody for whom the host answers.
    pub(super) proxy: bool,
    /// Whether it has been heard of, or was set by hand.
    pub(super) known: bool,
    /// Whether it was set by hand.
    pub(super) permanent: bool,
    /// Who set it; 0 where nobody said.
    pub(super) protocol: u8,
}

/// Decodes the payload of a neighbour message; `None` for a family that is
/// neither IPv4 nor IPv6.
pub(super) fn neighbour(payload: &[u8]) -> Result<Option<NeighbourRecord>, Malformed> {
    const PROXY: u8 = 0x08;
    const PERMANENT: u16 = 0x80;
    // Reachable, stale, delay, probe, permanent: an answer was had.
    const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | PERMANENT;
    let short = Malformed("a neighbour is cut short");
    let (index, state) = u32_at(payload, 4).zip(u16_at(payload, 8)).ok_or(short)?;
    let [family, .., flags, _kind] = *payload.first_chunk::<12>().ok_or(short)?;
    let (mut addr, mut protocol) = (None, 0);
    for (kind, value) in attributes(payload.get(12..).unwrap_or_default()) {
        match kind {
            1 => addr = ip(family, value),
            12 => protocol = value.first().copied().unwrap_or_default(),
            _ => {}
        }
    }
    let (known, permanent) = (state & KNOWN != 0, state & PERMANENT != 0);
    let proxy = flags & PROXY != 0;
    Ok(addr.map(|addr| NeighbourRecord { index, addr, proxy, known, permanent, protocol }))
}

/// The links of a multipath route's ways.
fn next_hops(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let index = u32_at(rest, 4)?;
        // A length of zero would go round for ever.
        rest = if length < 8 { &[] } else { rest.get(align(length)..).unwrap_or_default() };
        Some(index)
    })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A text of the kernel, without the zero byte at its end.
fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok().map(str::to_owned)
}

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(in crate::linux) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

pub(in crate::linux) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().copied().map(i32::from_ne_bytes)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
