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
use crate::linux::nft::attributes::Writer;
use crate::linux::nft::message::write;

/// The flows of the network namespace in which it was first used.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    channel: Option<Channel>,
    sequence: u32,
}

/// So many ports are named one by one; of more, all flows of the address go.
const EACH: u32 = 64;

impl Tracked {
    /// Forgets these. A kernel that tracks none has nothing to forget; one that knows
    /// no such request is told of by `doctor`.
    pub(super) fn forget(&mut self, flows: &Flows) -> Result<(), NetError> {
        for wanted in common(flows) {
            match self.send(wanted) {
                Err(error) if error.errno().is_some_and(|errno| NONE.contains(&errno)) => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    fn send(&mut self, wanted: Common) -> Result<(), NetError> {
        self.sequence = self.sequence.wrapping_add(1);
        let first = self.sequence;
        let channel = match &mut self.channel {
            Some(channel) => channel,
            none => none.insert(Channel::open(NETLINK_NETFILTER)?),
        };
        let mut datagram = Vec::new();
        let headed = (wanted.family(), 0);
        write(&mut datagram, DELETE, REQUEST_ACK, first, headed, &wanted.body());
        let deadline: Instant = channel.send(&datagram)?;
        loop {
            for frame in frames(channel.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, first) != Some(0) {
                    continue;
                }
                return Ok(frame.verdict()??);
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

fn common(flows: &Flows) -> Vec<Common> {
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
            .map(|way| Common { way, source: Some(*addr), ..nothing })
            .to_vec(),
        Flows::To { addr, protocol, ports } => {
            let to =
                |port| Common { source: Some(*addr), port: Some((*protocol, port)), ..nothing };
            let Ports { first, last } = *ports;
            match ports.count() > EACH {
                true => vec![to(None)],
                false => (first..=last).map(|port| to(Some(port))).collect(),
            }
        }
        Flows::As(addr) => {
            vec![Common { destination: Some(*addr), translated: true, ..nothing }]
        }
    }
}

/// Asks the kernel to forget flows, and to say that it has (`IPCTNL_MSG_CT_DELETE` of
/// `linux/netfilter/nfnetlink_conntrack.h`, where the attributes and flags are, too).
const DELETE: u16 = 1 << 8 | 2;
const REQUEST_ACK: u16 = 1 | 4;

fn put_ip(w: &mut Writer, addr: IpAddr, [v4, v6]: [u16; 2]) {
    match addr {
        IpAddr::V4(addr) => w.put(v4, &addr.octets()),
        IpAddr::V6(addr) => w.put(v6, &addr.octets()),
    }
}

impl Common {
    /// The kernel's number.
    fn family(self) -> u8 {
        match self.source.or(self.destination).map(Family::of) {
            Some(Family::V6) => 10,
            Some(Family::V4) | None => 2,
        }
    }

    fn body(self) -> Vec<u8> {
        let mut flags = 0_u32;
        let mut w = Writer::default();
        w.nest(self.way as u16, |w| {
            if let Some(source) = self.source {
                flags |= 1;
                w.nest(1, |w| put_ip(w, source, [1, 3]));
            }
            if let Some(destination) = self.destination {
                flags |= 1 << 1;
                w.nest(1, |w| put_ip(w, destination, [2, 4]));
            }
            if let Some((protocol, port)) = self.port {
                flags |= 1 << 3;
                w.nest(2, |w| {
                    w.put(1, &[protocol.number()]);
                    if let Some(port) = port {
                        flags |= 1 << 4;
                        w.put(2, &port.to_be_bytes());
                    }
                });
            }
        });
        let of = |way| if self.way == way { flags } else { 0 };
        // These two are in the host's order.
        w.nest(25, |w| {
            w.put(1, &of(Way::Asked).to_ne_bytes());
            w.put(2, &of(Way::Answered).to_ne_bytes());
        });
        if self.translated {
            // IPS_SRC_NAT, as status and as mask.
            w.number(3, 1 << 4);
            w.number(26, 1 << 4);
        }
        w.finish()
    }
}

/// Whether flows can be forgotten here: by asking for those of an address that
/// nobody has.
pub(in crate::linux) fn probe() -> Result<(), NetError> {
    let flows = Flows::Of(Family::V4.far_away());
    let mut tracked = Tracked::default();
    common(&flows).into_iter().try_for_each(|wanted| match tracked.send(wanted) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        sent => sent,
    })
}
