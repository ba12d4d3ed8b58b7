//! Forgets flows that the kernel tracks (ctnetlink).
//!
//! A flow that was let through goes on whatever becomes of the rule that let it.
//! So it is forgotten with the rule, by a request that names what such flows have
//! in common (`CTA_FILTER`, Linux 5.8). The kernel looks at all of its flows for
//! that, some hundred microseconds; with none, at nothing.

use std::net::IpAddr;
use std::time::Instant;

use kleene_engine::change::Flows;
use kleene_model::{Family, Ports, Protocol};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::channel::{Channel, place};
use super::error::NetError;
use super::wire::frames;

/// The flows of the network namespace in which it was first used.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    channel: Option<Channel>,
    sequence: u32,
}

/// So many ports are named one by one; of more, all flows of the address go.
const EACH: u32 = 64;

impl Tracked {
    /// Forgets these. A kernel that tracks none, or knows no such request, has
    /// nothing to forget.
    pub(super) fn forget(&mut self, flows: &Flows) -> Result<(), NetError> {
        for request in requests(flows) {
            self.send(&request)?;
        }
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> Result<(), NetError> {
        self.sequence = self.sequence.wrapping_add(1);
        let first = self.sequence;
        let channel = match &mut self.channel {
            Some(channel) => channel,
            none => none.insert(Channel::open(NETLINK_NETFILTER)?),
        };
        let mut datagram = request.to_vec();
        if let Some(field) = datagram.get_mut(8..12) {
            field.copy_from_slice(&first.to_ne_bytes());
        }
        let deadline: Instant = channel.send(&datagram)?;
        loop {
            for frame in frames(channel.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, first) != Some(0) {
                    continue;
                }
                return match frame.verdict()? {
                    Err(refused) if NONE.contains(&refused.errno()) => Ok(()),
                    verdict => Ok(verdict?),
                };
            }
        }
    }
}

/// What a kernel says that has no such flows, or tracks none at all.
const NONE: [Errno; 3] = [Errno::NOENT, Errno::OPNOTSUPP, Errno::INVAL];

/// Which part of a flow: as it was asked for, or as it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Asked = 1,
    Answered = 2,
}

/// What flows have in common.
#[derive(Debug, Clone, Copy)]
struct Common {
    way: Way,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<(Protocol, Option<u16>)>,
    translated: bool,
}

fn requests(flows: &Flows) -> Vec<Vec<u8>> {
    let nothing = Common {
        way: Way::Answered,
        source: None,
        destination: None,
        port: None,
        translated: false,
    };
    match flows {
        // Whoever is led to an address, by whatever name, is answered by it.
        Flows::Of(addr) => [Way::Asked, Way::Answered]
            .map(|way| Common { way, source: Some(*addr), ..nothing }.request())
            .to_vec(),
        Flows::To { addr, protocol, ports } => {
            let to =
                |port| Common { source: Some(*addr), port: Some((*protocol, port)), ..nothing };
            let Ports { first, last } = *ports;
            match ports.count() > EACH {
                true => vec![to(None).request()],
                false => (first..=last).map(|port| to(Some(port)).request()).collect(),
            }
        }
        Flows::As(addr) => {
            vec![Common { destination: Some(*addr), translated: true, ..nothing }.request()]
        }
    }
}

const NESTED: u16 = 0x8000;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("attributes are short");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ip(addr: IpAddr, [v4, v6]: [u16; 2]) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => attribute(v4, &addr.octets()),
        IpAddr::V6(addr) => attribute(v6, &addr.octets()),
    }
}

impl Common {
    /// Attributes and flags are those of `linux/netfilter/nfnetlink_conntrack.h`.
    fn request(self) -> Vec<u8> {
        const DELETE: u16 = 1 << 8 | 2;
        const REQUEST_ACK: u16 = 1 | 4;
        let addr = self.source.or(self.destination);
        let family: u8 = match addr.map(Family::of) {
            Some(Family::V6) => 10,
            Some(Family::V4) | None => 2,
        };
        let mut flags = 0_u32;
        let mut tuple = Vec::new();
        if let Some(source) = self.source {
            flags |= 1;
            tuple.extend(attribute(1 | NESTED, &ip(source, [1, 3])));
        }
        if let Some(destination) = self.destination {
            flags |= 1 << 1;
            tuple.extend(attribute(1 | NESTED, &ip(destination, [2, 4])));
        }
        if let Some((protocol, port)) = self.port {
            flags |= 1 << 3;
            let mut of = attribute(1, &[protocol.number()]);
            if let Some(port) = port {
                flags |= 1 << 4;
                of.extend(attribute(2, &port.to_be_bytes()));
            }
            tuple.extend(attribute(2 | NESTED, &of));
        }
        let of = |way| if self.way == way { flags } else { 0 };
        let mut filter = attribute(1, &of(Way::Asked).to_ne_bytes());
        filter.extend(attribute(2, &of(Way::Answered).to_ne_bytes()));
        let mut body = vec![family, 0, 0, 0];
        body.extend(attribute(self.way as u16 | NESTED, &tuple));
        body.extend(attribute(25 | NESTED, &filter));
        if self.translated {
            // IPS_SRC_NAT, as status and as mask.
            let source = (1_u32 << 4).to_be_bytes();
            body.extend(attribute(3, &source));
            body.extend(attribute(26, &source));
        }
        let length = u32::try_from(16 + body.len()).expect("requests are short");
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(DELETE.to_ne_bytes());
        request.extend(REQUEST_ACK.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        request
    }
}
