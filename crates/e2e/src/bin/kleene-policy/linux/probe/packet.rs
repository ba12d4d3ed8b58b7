//! Packets by hand: echo requests, and whole packets with any source.

use std::net::IpAddr;

/// IANA protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// An ICMP or ICMPv6 echo request. For ICMPv6 the kernel fills in the checksum,
/// unless the packet is a whole one.
pub(super) fn echo(v4: bool, ident: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![if v4 { 8 } else { 128 }, 0, 0, 0];
    packet.extend(ident.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(payload);
    if v4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// What an echo packet is: whether it is a request, and its payload.
pub(super) fn read_echo(v4: bool, packet: &[u8]) -> Option<(bool, &[u8])> {
    let icmp = packet.get(header(v4, packet)?..)?;
    let is_request = match (v4, icmp.first()?) {
        (true, 8) | (false, 128) => true,
        (true, 0) | (false, 129) => false,
        _ => return None,
    };
    Some((is_request, icmp.get(8..)?))
}

/// A whole packet with a UDP datagram.
pub(super) fn udp(source: IpAddr, to: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut datagram = Vec::new();
    for number in [ports.0, ports.1, length, 0] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(payload);
    let sum = with_pseudo(source, to, UDP, &datagram);
    // Nought means that there is none.
    let sum = if sum == 0 { u16::MAX } else { sum };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    whole(source, to, UDP, &datagram)
}

/// The window of our SYNs, by which they are known.
const WINDOW: u16 = 0x4b50;
const SYN: u8 = 2;

/// A whole packet with a SYN; the flow's number is its sequence number.
pub(super) fn syn(source: IpAddr, to: IpAddr, ports: (u16, u16), number: u32) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(ports.0.to_be_bytes());
    segment.extend(ports.1.to_be_bytes());
    segment.extend(number.to_be_bytes());
    segment.extend([0, 0, 0, 0, 5 << 4, SYN]);
    segment.extend(WINDOW.to_be_bytes());
    segment.extend([0, 0, 0, 0]);
    let sum = with_pseudo(source, to, TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    whole(source, to, TCP, &segment)
}

/// The number of a SYN of ours.
pub(super) fn read_syn(v4: bool, packet: &[u8]) -> Option<u64> {
    let segment = packet.get(header(v4, packet)?..)?.get(..20)?;
    let number = u32::from_be_bytes(segment[4..8].try_into().ok()?);
    let is_ours = segment[13] == SYN && segment[14..16] == WINDOW.to_be_bytes();
    is_ours.then_some(u64::from(number))
}

/// A raw socket of IPv4 gives the header, too; one of IPv6 does not.
fn header(v4: bool, packet: &[u8]) -> Option<usize> {
    if v4 { Some(usize::from(packet.first()? & 0xf) * 4) } else { Some(0) }
}

/// A whole packet with an echo request.
pub(super) fn whole_echo(source: IpAddr, to: IpAddr, ident: u16, payload: &[u8]) -> Vec<u8> {
    let mut icmp = echo(to.is_ipv4(), ident, payload);
    if to.is_ipv6() {
        let sum = with_pseudo(source, to, ICMPV6, &icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    whole(source, to, if to.is_ipv4() { ICMP } else { ICMPV6 }, &icmp)
}

fn whole(source: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if let (IpAddr::V4(source), IpAddr::V4(to)) = (source, to) {
        packet.extend([0x45, 0]);
        packet.extend(short(body.len() + 20));
        // Identification, and the checksum, are the kernel's.
        packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(to.octets());
    } else {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend(short(body.len()));
        packet.extend([protocol, 64]);
        packet.extend(bytes(source));
        packet.extend(bytes(to));
    }
    packet.extend(body);
    packet
}

fn bytes(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn with_pseudo(source: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let mut all = bytes(source);
    all.extend(bytes(to));
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    all.extend([0, protocol]);
    all.extend(length);
    all.extend(body);
    checksum(&all)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_summed_with_its_sum_is_nought() {
        let packet = echo(true, 7, b"kleene");
        assert_eq!(checksum(&packet), 0);
        let (source, to) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let whole = udp(source, to, (1, 2), b"odd");
        assert_eq!(with_pseudo(source, to, UDP, &whole[40..]), 0);
        let whole = syn(source, to, (1, 2), 7);
        assert_eq!(with_pseudo(source, to, TCP, &whole[40..]), 0);
        let whole = whole_echo(source, to, 7, b"kleene");
        assert_eq!(with_pseudo(source, to, ICMPV6, &whole[40..]), 0);
    }

    #[test]
    fn what_is_made_is_read_back() {
        assert_eq!(read_echo(false, &echo(false, 7, b"x")), Some((true, &b"x"[..])));
        let (source, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let whole = whole_echo(source, to, 7, b"x");
        assert_eq!(read_echo(true, &whole), Some((true, &b"x"[..])));
        assert_eq!(read_syn(true, &syn(source, to, (1, 2), 9)), Some(9));
        assert_eq!(read_syn(true, &whole), None);
        assert_eq!(read_echo(true, &[]), None);
    }
}
