//! Packets that the policy blocked, as netfilter's log tells of them.
//!
//! The chains that block send the beginning of a packet to a group of the log, with
//! the number of the reason as its mark. Who listens to the group gets it. Contents
//! come from containers and from outside: nothing in them is believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kleene_model::{LinkName, Protocol};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::netdevice::index_to_name;

use super::super::net::NetError;
use super::super::net::channel::{Channel, place};
use super::super::net::wire::frames;
use super::attributes::{Writer, values};
use super::message;
use super::reason::{LOG_GROUP, Reason};

/// A packet that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The rule: its number in the policy and what it is about.
    pub rule: &'static str,
    /// The index of the interface that it came in by, unless the host sent it. In a
    /// bridge it is the port.
    pub from_link: Option<u32>,
    /// The index of the interface that it would have left by.
    pub to_link: Option<u32>,
    /// What it said of itself; `None` for what is not IP.
    pub packet: Option<Packet>,
}

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// The number of its protocol.
    pub protocol: u8,
    /// For TCP and UDP the ports, of the source and of the destination.
    pub ports: Option<(u16, u16)>,
}

/// Listens to netfilter's log. It belongs to the network namespace of the thread
/// that opened it, wherever it is used.
#[derive(Debug)]
pub struct Drops {
    channel: Channel,
}

/// Netfilter's log among what netfilter speaks of, and its messages
/// (`nfnetlink_log.h`).
const LOG: u16 = 4 << 8;
const PACKET: u16 = LOG;
const CONFIG: u16 = LOG | 1;
const REQUEST: u16 = 1;
const ACK: u16 = 4;

impl Drops {
    /// Begins to listen, in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel has no such log, or somebody else listens to the same group:
    /// the second daemon of one network namespace is not told.
    pub fn open() -> Result<Self, NetError> {
        let mut channel = Channel::open(NETLINK_NETFILTER)?;
        let mut bind = Writer::default();
        bind.put(1, &[1]);
        ask(&mut channel, 1, &bind.finish())?;
        let mut mode = Writer::default();
        // Packets, of any length: their rule says how much is told.
        mode.put(2, &[0, 0, 0xff, 0xff, 2, 0]);
        // One by one, as they come.
        mode.number(5, 1);
        ask(&mut channel, 2, &mode.finish())?;
        Ok(Self { channel })
    }

    /// The name of the interface with that index, while it is there.
    #[must_use]
    pub fn link(&self, index: u32) -> Option<LinkName> {
        LinkName::parse(&index_to_name(self.channel.as_fd(), index).ok()?).ok()
    }

    /// Waits for packets, for ever. What comes faster than it is read is lost.
    ///
    /// # Errors
    /// When the kernel tells nothing any more.
    pub fn wait(&mut self) -> Result<Vec<Blocked>, NetError> {
        loop {
            let failed = |errno: Errno| NetError::Socket {
                what: "wait for blocked packets",
                source: errno.into(),
            };
            match poll(&mut [PollFd::new(&self.channel.as_fd(), PollFlags::IN)], None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
            }
            match self.channel.receive(Instant::now() + PATIENCE) {
                Ok(datagram) => return Ok(read(datagram)),
                Err(NetError::Socket { source, .. })
                    if Errno::from_io_error(&source) == Some(Errno::NOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// There is something to be read already.
const PATIENCE: Duration = Duration::from_secs(1);

fn ask(channel: &mut Channel, number: u32, body: &[u8]) -> Result<(), NetError> {
    let mut datagram = Vec::new();
    message::write(&mut datagram, CONFIG, REQUEST | ACK, number, (0, LOG_GROUP), body);
    let deadline = channel.send(&datagram)?;
    loop {
        for frame in frames(channel.receive(deadline)?) {
            let frame = frame?;
            // Packets may come before the answer.
            if frame.kind != PACKET && place(&frame, number) == Some(0) {
                return Ok(frame.verdict()??);
            }
        }
    }
}

/// The packets of a datagram of the log; those that no rule of ours has marked are
/// left out.
pub(super) fn read(datagram: &[u8]) -> Vec<Blocked> {
    const HEADER: usize = 4;
    let frames = frames(datagram).filter_map(Result::ok);
    let packets = frames.filter(|frame| frame.kind == PACKET);
    packets.filter_map(|frame| one(frame.payload.get(HEADER..)?)).collect()
}

fn one(told: &[u8]) -> Option<Blocked> {
    const ABOUT: u16 = 1;
    const MARK: u16 = 2;
    const FROM: u16 = 4;
    const TO: u16 = 5;
    const FROM_PORT: u16 = 6;
    const PAYLOAD: u16 = 9;
    let number = |kind| {
        let value = values(told, kind).next()?;
        <[u8; 4]>::try_from(value).ok().map(u32::from_be_bytes)
    };
    let rule = Reason::of_mark(number(MARK)?)?.text();
    let holds = values(told, ABOUT).next().and_then(|about| about.first_chunk::<2>());
    let payload = values(told, PAYLOAD).next().unwrap_or_default();
    let packet = match holds {
        Some([0x08, 0x00]) => ipv4(payload),
        Some([0x86, 0xdd]) => ipv6(payload),
        _ => None,
    };
    Some(Blocked {
        rule,
        from_link: number(FROM_PORT).or(number(FROM)),
        to_link: number(TO),
        packet,
    })
}

fn ipv4(bytes: &[u8]) -> Option<Packet> {
    let header = bytes.first_chunk::<20>()?;
    let address = |at: usize| {
        let octets = header.get(at..at + 4)?;
        Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)))
    };
    let length = usize::from(header[0] & 0xf) * 4;
    // Only the first of several fragments has ports.
    let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let rest = bytes.get(length..).filter(|_| first).unwrap_or_default();
    let protocol = header[9];
    Some(Packet {
        source: address(12)?,
        destination: address(16)?,
        protocol,
        ports: ports(protocol, rest),
    })
}

fn ipv6(bytes: &[u8]) -> Option<Packet> {
    let header = bytes.first_chunk::<40>()?;
    let address = |at: usize| {
        let octets = header.get(at..at + 16)?;
        Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)))
    };
    let protocol = header[6];
    let rest = bytes.get(40..).unwrap_or_default();
    // What stands behind other headers is not looked for.
    Some(Packet {
        source: address(8)?,
        destination: address(24)?,
        protocol,
        ports: ports(protocol, rest),
    })
}

fn ports(protocol: u8, rest: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    Protocol::of_number(protocol).map(|_| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reason: u32, holds: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let mut w = Writer::default();
        w.put(1, &[holds[0], holds[1], 2, 0]);
        w.number(2, reason);
        w.number(4, 7);
        w.number(5, 8);
        w.put(9, payload);
        let mut datagram = Vec::new();
        message::write(&mut datagram, PACKET, 0, 0, (2, LOG_GROUP), &w.finish());
        datagram
    }

    #[test]
    fn a_packet_says_where_it_goes() {
        let mut packet = vec![0x46, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 1, 0, 3];
        packet.extend([0; 4]);
        packet.extend([0x9c, 0x40, 0, 80]);
        let all = read(&told(Reason::OtherNetwork.mark(), [0x08, 0], &packet));
        let [Blocked { rule, from_link, to_link, packet: Some(seen) }] = all.as_slice() else {
            panic!("{all:?}");
        };
        assert_eq!((*rule, *from_link, *to_link), ("3: other network", Some(7), Some(8)));
        assert_eq!(seen.source.to_string(), "10.0.0.2");
        assert_eq!(seen.destination.to_string(), "10.1.0.3");
        assert_eq!((seen.protocol, seen.ports), (6, Some((40_000, 80))));
        // What is cut says less, and no more than it has.
        for cut in 0..packet.len() {
            let all = read(&told(Reason::OtherNetwork.mark(), [0x08, 0], &packet[..cut]));
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].packet.is_some(), cut >= 20, "{cut}");
        }
    }

    #[test]
    fn only_what_we_have_marked_is_told() {
        assert_eq!(read(&told(7, [0x08, 0], &[])), []);
        let arp = read(&told(Reason::OwnMac.mark(), [0x08, 0x06], &[0; 28]));
        assert_eq!(arp.len(), 1);
        assert_eq!(arp[0].packet, None);
    }

    #[test]
    fn ipv6_has_ports_too() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        packet.extend(Ipv6Addr::from_bits(2).octets());
        packet.extend(Ipv6Addr::from_bits(3).octets());
        packet.extend([0, 53, 0, 54]);
        let all = read(&told(Reason::Internal.mark(), [0x86, 0xdd], &packet));
        let seen = all[0].packet.expect("IPv6");
        assert_eq!(
            (seen.source.to_string(), seen.destination.to_string()),
            ("::2".into(), "::3".into())
        );
        assert_eq!((seen.protocol, seen.ports), (17, Some((53, 54))));
    }
}
