//! Subnets that no container can live in, and addresses that nobody has.

use std::net::IpAddr;

use crate::{Family, Subnet};

impl Subnet {
    /// What stands in the way of containers having its addresses, by the special
    /// purpose registries of RFC 6890.
    #[must_use]
    pub fn reserved(self) -> Option<String> {
        const RESERVED: [(&str, &str); 8] = [
            ("0.0.0.0/8", "addresses that mean \"this network\""),
            ("127.0.0.0/8", "loopback addresses"),
            ("224.0.0.0/4", "multicast addresses"),
            ("240.0.0.0/4", "addresses without a use"),
            ("::/127", "the unspecified and the loopback address"),
            ("::ffff:0:0/96", "IPv4 addresses in disguise"),
            ("fe80::/10", "link-local addresses"),
            ("ff00::/8", "multicast addresses"),
        ];
        let mut ranges = RESERVED.iter();
        let met =
            |(range, _): &&(&str, &str)| range.parse().is_ok_and(|range| self.overlaps(range));
        ranges.find(met).map(|(range, what)| format!("{what} ({range})"))
    }
}

impl Family {
    /// An address that nobody has: the host's default route leads there. It is one
    /// of those for documentation (RFC 5737, RFC 3849).
    #[must_use]
    pub fn far_away(self) -> IpAddr {
        match self {
            Self::V4 => [203, 0, 113, 1].into(),
            Self::V6 => [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1].into(),
        }
    }
}
