//! MAC addresses.

use std::fmt;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Reads an address as `02:00:00:00:00:01`: that of one interface, so neither
    /// a group's nor all zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(hex)?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        let whole = parts.next().is_none() && bytes != [0; 6] && bytes[0] & 1 == 0;
        whole.then_some(Self(bytes))
    }

    /// A locally administered unicast address made of an object's id, so that
    /// an object keeps its address over restarts without our storing one.
    /// `variant` (0 to 63) tells apart several interfaces of one object.
    #[must_use]
    pub fn from_id(id: [u8; 6], variant: u8) -> Self {
        let [first, rest @ ..] = id;
        let mut bytes = [0; 6];
        // Bit 0 off: unicast. Bit 1 on: locally administered. The variant
        // replaces the id's other bits of the first byte, so that two
        // interfaces of one object never share an address.
        bytes[0] = (variant << 2) | 0b10;
        bytes[1..].copy_from_slice(&rest);
        bytes[5] ^= first;
        Self(bytes)
    }

    /// The link-local address that an interface makes of its MAC address (RFC
    /// 4291, appendix A).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_the_kernels() {
        for (mac, addr) in [
            ("02:42:00:00:00:09", "fe80::42:ff:fe00:9"),
            // FreeBSD 13.2.
            ("02:84:b3:2e:ba:0b", "fe80::84:b3ff:fe2e:ba0b"),
        ] {
            let mac = MacAddress::parse(mac).expect(mac);
            assert_eq!(mac.link_local().to_string(), addr);
        }
    }

    #[test]
    fn hardware_addresses_are_read_strictly() {
        let mac = MacAddress::parse("02:00:5e:00:0A:ff").expect("an address");
        assert_eq!(mac.to_string(), "02:00:5e:00:0a:ff");
        let bad = ["", "02:00:5e:00:0a", "02:00:5e:00:0a:ff:00", "2:0:5e:0:a:ff", "02005e000aff"];
        for bad in
            bad.into_iter().chain(["01:00:5e:00:00:01", "00:00:00:00:00:00", "+2:00:5e:00:0a:ff"])
        {
            assert_eq!(MacAddress::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn mac_addresses_are_local_unicast_and_distinct() {
        let id = [0x2f, 0x1d, 0xc2, 0x9b, 0x8f, 0x36];
        let (a, b) = (MacAddress::from_id(id, 0), MacAddress::from_id(id, 1));
        assert_ne!(a, b);
        for mac in [a, b] {
            assert_eq!(mac.0[0] & 0b11, 0b10);
        }
    }
}
