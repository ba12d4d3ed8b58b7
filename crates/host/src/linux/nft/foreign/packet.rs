//! What the kernel knows of a packet at a hook: what `meta`, `payload` and `ct`
//! load. Whatever is not said of a flow is not known of its packets.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use kleene_engine::passage::{Part, Side, Step};
use kleene_model::Protocol;
use kleene_model::policy::Payload;

use super::bits::{Bits, known, unknown};

/// The packet of a step.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) step: &'a Step,
    by: Option<u32>,
    out: Option<u32>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl<'a> Packet<'a> {
    /// With the indexes of interfaces, where they are there.
    pub(super) fn new(step: &'a Step, index: &dyn Fn(&str) -> Option<u32>) -> Self {
        let find = |side: &Side| match side {
            Side::Link(link) => index(link.as_str()),
            Side::Host => Some(0),
            Side::Unknown => None,
        };
        Self { step, by: find(&step.by), out: find(&step.out) }
    }

    pub(super) fn is_v6(&self) -> bool {
        self.step.destination.is_ipv6()
    }

    pub(super) fn protocol(&self) -> u8 {
        match self.step.payload {
            Payload::Port(Protocol::Tcp, _) => TCP,
            Payload::Port(Protocol::Udp, _) => UDP,
            Payload::Echo if self.is_v6() => ICMPV6,
            Payload::Echo => ICMP,
        }
    }

    /// Source and destination ports: of whoever asks, those that systems give to
    /// clients. `None` where there are none.
    pub(super) fn ports(&self) -> Option<[RangeInclusive<u16>; 2]> {
        const CLIENT: RangeInclusive<u16> = 0x8000..=0xffff;
        match (self.step.payload, self.is_answer()) {
            (Payload::Port(_, port), false) => Some([CLIENT, port..=port]),
            (Payload::Port(_, port), true) => Some([port..=port, CLIENT]),
            (Payload::Echo, _) => None,
        }
    }

    fn is_answer(&self) -> bool {
        self.step.part == Part::Answer
    }

    /// The flags of the first packet of a TCP flow, of its answer, and of what
    /// confirms that.
    pub(super) fn tcp_flags(&self) -> u8 {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        match self.step.part {
            Part::First => SYN,
            Part::Answer => SYN | ACK,
            Part::Later => ACK,
        }
    }

    /// The state of its flow, as a bit: new or established.
    pub(super) fn state(&self) -> u32 {
        if self.step.part == Part::First { 1 << 3 } else { 1 << 1 }
    }

    /// What `meta` loads.
    pub(super) fn meta(&self, key: u32) -> Vec<Bits> {
        let number = |index: Option<u32>| match index {
            Some(index) => known(&index.to_ne_bytes()),
            None => unknown(4),
        };
        match key {
            1 if self.is_v6() => known(&[0x86, 0xdd]),
            1 => known(&[0x08, 0x00]),
            4 => number(self.by),
            5 => number(self.out),
            6 => name(&self.step.by),
            7 => name(&self.step.out),
            15 => known(&[if self.is_v6() { 10 } else { 2 }]),
            16 => known(&[self.protocol()]),
            // For this host.
            19 => known(&[0]),
            // Of names; all else is a number.
            17 | 18 | 26 | 27 => unknown(16),
            _ => unknown(4),
        }
    }

    /// What `ct` loads.
    pub(super) fn flow(&self, key: u32) -> Vec<Bits> {
        const DESTINATION: u32 = 1 << 5;
        match key {
            0 => known(&self.state().to_ne_bytes()),
            1 => known(&[u8::from(self.is_answer())]),
            2 => {
                let led = if self.step.led { DESTINATION } else { 0 };
                let bytes = led.to_ne_bytes().into_iter().zip(DESTINATION.to_ne_bytes());
                bytes.map(|(value, known)| Bits::partly(value, known)).collect()
            }
            _ => unknown(16),
        }
    }

    /// What `payload` loads.
    pub(super) fn payload(&self, header: u32, offset: u32, length: u32) -> Vec<Bits> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(64);
        let bytes = match header {
            1 => self.network(),
            2 => self.transport(),
            _ => Vec::new(),
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(length);
        bytes.get(start..end).map_or_else(|| unknown(length), <[Bits]>::to_vec)
    }

    fn network(&self) -> Vec<Bits> {
        let put = |bytes: &mut Vec<Bits>, at: usize, put: &[u8]| {
            bytes.iter_mut().skip(at).zip(put).for_each(|(bits, byte)| *bits = Bits::known(*byte));
        };
        match (self.step.source, self.step.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut bytes = unknown(20);
                put(&mut bytes, 0, &[0x45]);
                // In one piece, whether it may be cut or not.
                put(&mut bytes, 6, &[0, 0]);
                put(&mut bytes, 9, &[self.protocol()]);
                put(&mut bytes, 12, &source.octets());
                put(&mut bytes, 16, &destination.octets());
                bytes
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut bytes = unknown(40);
                put(&mut bytes, 6, &[self.protocol()]);
                put(&mut bytes, 8, &source.octets());
                put(&mut bytes, 24, &destination.octets());
                bytes
            }
            _ => Vec::new(),
        }
    }

    fn transport(&self) -> Vec<Bits> {
        let mut bytes = unknown(20);
        let mut put = |at: usize, bits: &[Bits]| {
            bytes.iter_mut().skip(at).zip(bits).for_each(|(place, bits)| *place = *bits);
        };
        for (at, ports) in [0, 2].into_iter().zip(self.ports().into_iter().flatten()) {
            let (first, last) = (ports.start().to_be_bytes(), ports.end().to_be_bytes());
            // Where they differ in a bit, it is not known.
            let each = first.into_iter().zip(last);
            let bits = each.map(|(first, last)| Bits::partly(first, !(first ^ last)));
            put(at, &bits.collect::<Vec<_>>());
        }
        match (self.protocol(), self.is_answer()) {
            (TCP, _) => put(13, &known(&[self.tcp_flags()])),
            (ICMP, false) => put(0, &known(&[8, 0])),
            (ICMP, true) => put(0, &known(&[0, 0])),
            (ICMPV6, false) => put(0, &known(&[128, 0])),
            (ICMPV6, true) => put(0, &known(&[129, 0])),
            _ => {}
        }
        bytes
    }
}

/// A name as the kernel has it in registers.
fn name(side: &Side) -> Vec<Bits> {
    let text = match side {
        Side::Link(link) => link.as_str(),
        Side::Host => "",
        Side::Unknown => return unknown(16),
    };
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    known(&bytes)
}
