//! Tells neighbours where an address is now, in case they know it elsewhere.
//!
//! The kernel does so for addresses that stand on an interface when it goes up.
//! It does not for those that the host answers for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kleene_model::MacAddress;

use super::apply::{Failure, Run};
use super::request::{self, Which};
use crate::linux::sys::packet::{frame_socket, send_frame};

impl Run<'_, '_> {
    /// Tells the neighbours of new cables whose the addresses are now. The
    /// kernel does so when an end goes up, which is too early: the port at the
    /// other end forwards only once the kernel has got round to its carrier. To
    /// ask for that link brings it forward (`linkwatch_sync_dev` in
    /// `rtnl_getlink`, since Linux 6.8), and a MAC address that is set, be it
    /// the same, makes the kernel tell them again.
    pub(super) fn announce(&mut self) -> Result<(), Failure> {
        for (at, container, index) in std::mem::take(&mut self.raised) {
            self.current = at;
            let inner = self.inner_socket(container)?.link(Which::Index(index));
            let Some(inner) = self.fail(inner)? else { continue };
            if let Some(peer) = inner.peer {
                let port = self.host.socket.link(Which::Index(peer));
                self.fail(port)?;
            }
            if let Some(mac) = inner.mac {
                // The container may have taken the end away already.
                let told = self.inner_socket(container)?.batch(&[&request::set_mac(index, mac)]);
                self.fail(told)?;
            }
        }
        self.announce_answered()
    }

    /// A neighbour that is not told asks again by itself, seconds later: that
    /// it cannot be told spoils nothing.
    fn announce_answered(&mut self) -> Result<(), Failure> {
        let answered = std::mem::take(&mut self.answered);
        if !answered.is_empty() && self.host.frames.is_none() {
            self.host.frames = frame_socket().ok();
        }
        let mut macs = HashMap::new();
        for (index, addr) in answered {
            let mac = match macs.get(&index) {
                Some(known) => *known,
                None => {
                    let link = self.host.socket.link(Which::Index(index));
                    let mac = self.fail(link)?.filter(|link| link.up).and_then(|link| link.mac);
                    macs.insert(index, mac);
                    mac
                }
            };
            if let (Some(mac), Some(socket)) = (mac, &self.host.frames) {
                let _ = send_frame(socket, index, &frame(mac, addr));
            }
        }
        Ok(())
    }
}

/// The frame that tells it: a gratuitous ARP request (RFC 5227 section 3), or
/// an unsolicited neighbour advertisement that overrides (RFC 4861 section
/// 7.2.6).
pub(super) fn frame(mac: MacAddress, addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => gratuitous_arp(mac, addr),
        IpAddr::V6(addr) => advertisement(mac, addr),
    }
}

fn ethernet(to: [u8; 6], from: MacAddress, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

fn gratuitous_arp(mac: MacAddress, addr: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], mac, 0x0806);
    // Ethernet, IPv4, lengths of their addresses, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(addr.octets());
    frame.extend([0; 6]);
    frame.extend(addr.octets());
    frame
}

fn advertisement(mac: MacAddress, addr: Ipv6Addr) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    const OVERRIDE: u8 = 0x20;
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(addr.octets());
    // Option: the link-layer address of the target, one unit of 8 bytes.
    message.extend([2, 1]);
    message.extend(mac.0);
    let length = u16::try_from(message.len()).unwrap_or_default();
    let mut sum = Vec::from(addr.octets());
    sum.extend(all_nodes.octets());
    sum.extend(u32::from(length).to_be_bytes());
    sum.extend([0, 0, 0, ICMPV6]);
    sum.extend(&message);
    let checksum = checksum(&sum).to_be_bytes();
    message.splice(2..4, checksum);
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // Neighbours take it only with a hop limit of 255: it was not routed.
    frame.extend([ICMPV6, 255]);
    frame.extend(addr.octets());
    frame.extend(all_nodes.octets());
    frame.extend(message);
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x02, 0x4b, 1, 2, 3, 4]);

    #[test]
    fn an_arp_request_asks_for_its_own_sender() {
        let frame = frame(MAC, IpAddr::from([10, 4, 6, 9]));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0x4b, 1, 2, 3, 4, 8, 6]);
        assert_eq!(frame[20..32], [0, 1, 2, 0x4b, 1, 2, 3, 4, 10, 4, 6, 9]);
        assert_eq!(frame[38..], [10, 4, 6, 9]);
    }

    #[test]
    fn an_advertisement_adds_up() {
        let addr: Ipv6Addr = "fd00:6::9".parse().expect("an address");
        let frame = frame(MAC, IpAddr::from(addr));
        assert_eq!(frame.len(), 86);
        let (length, message) = (&frame[18..20], &frame[54..]);
        assert_eq!(length, [0, 32]);
        // With its own checksum in it the sum is all ones (RFC 1071).
        let mut whole = frame[22..54].to_vec();
        whole.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        whole.extend(message);
        assert_eq!(checksum(&whole), 0);
        assert_eq!(message[8..24], addr.octets());
    }
}
