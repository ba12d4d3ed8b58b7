//! The networks, containers and outsides of the checks of the policy: those with which
//! the policy was tried on a real FreeBSD 13.2, and one network more.

use std::net::IpAddr;

/// The jail that plays the outside, behind the listed interface.
pub const OUT: &str = "kl-accept-out";
/// The jail behind an interface on which nothing is published.
pub const FAR: &str = "kl-accept-far";

/// The jail that is linked into a bridge.
pub const BEHIND: &str = "kl-accept-behind";

/// The host's end towards an outside, and what is there.
#[derive(Debug, Clone, Copy)]
pub struct Outside {
    /// Its jail.
    pub jail: &'static str,
    /// The host's address, and that of the outside, of each family.
    pub addresses: [(&'static str, &'static str); 2],
    /// The length of the prefix, of each family.
    pub prefix: [u8; 2],
}

/// Both outsides: the documentation's networks (RFC 5737, RFC 3849).
pub const OUTSIDES: [Outside; 2] = [
    Outside {
        jail: OUT,
        addresses: [("192.0.2.1", "192.0.2.2"), ("2001:db8:9::1", "2001:db8:9::2")],
        prefix: [24, 64],
    },
    Outside {
        jail: FAR,
        addresses: [("198.51.100.1", "198.51.100.2"), ("2001:db8:8::1", "2001:db8:8::2")],
        prefix: [24, 64],
    },
];

/// A network of the layout.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    /// Its name.
    pub name: &'static str,
    /// Its number in its subnets; 0: those of the outside.
    pub number: u8,
    /// What `klee network create` is told besides; `OUT` is the listed interface.
    pub options: &'static [&'static str],
}

const fn net(name: &'static str, number: u8, options: &'static [&'static str]) -> Net {
    Net { name, number, options }
}

/// All of them.
pub const NETS: [Net; 6] = [
    net("a", 1, &["-t", "loopback", "--no-nat"]),
    net("b", 2, &["-t", "loopback", "--no-nat", "--internal"]),
    net("c", 3, &["-t", "bridge", "--no-nat", "--no-icc"]),
    net("d", 4, &["-t", "bridge", "--nat-if", "OUT"]),
    net("e", 0, &["-t", "custom", "--no-nat", "-i", "OUT"]),
    net("g", 5, &["-t", "bridge", "--no-nat", "--internal"]),
];

/// What a network or container is called by Kleene: a name like `a1` may begin an id.
#[must_use]
pub fn full_name(name: &str) -> String {
    format!("kl-{name}")
}

impl Net {
    /// Its subnets.
    #[must_use]
    pub fn subnets(&self) -> [String; 2] {
        match self.number {
            0 => ["192.0.2.0/24".to_owned(), "2001:db8:9::/64".to_owned()],
            n => [format!("10.213.{n}.0/24"), format!("fd00:213:{n}::/64")],
        }
    }

    /// An address in each of them.
    #[must_use]
    pub fn addresses(&self, host: u8) -> [String; 2] {
        match self.number {
            0 => [format!("192.0.2.{host}"), format!("2001:db8:9::{host}")],
            n => [format!("10.213.{n}.{host}"), format!("fd00:213:{n}::{host}")],
        }
    }
}

/// A container of the layout.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name; its service is called the same in capitals.
    pub name: &'static str,
    /// Its driver.
    pub driver: &'static str,
    /// Its network.
    pub net: &'static str,
    /// Its number in the network.
    pub host: u8,
    /// The port of the host that leads to its port 80, over TCP and UDP.
    pub published: Option<u16>,
}

const fn member(
    name: &'static str,
    driver: &'static str,
    net: &'static str,
    host: u8,
    published: Option<u16>,
) -> Member {
    Member { name, driver, net, host, published }
}

/// All of them.
pub const MEMBERS: [Member; 15] = [
    member("a1", "ipnet", "a", 1, Some(8081)),
    member("a2", "ipnet", "a", 2, None),
    member("b1", "ipnet", "b", 1, Some(8082)),
    member("b2", "ipnet", "b", 2, None),
    member("c1", "vnet", "c", 2, Some(8080)),
    member("c2", "vnet", "c", 3, None),
    member("c3", "ipnet", "c", 4, None),
    member("c4", "ipnet", "c", 5, Some(8083)),
    member("d1", "vnet", "d", 2, None),
    member("d2", "vnet", "d", 3, None),
    member("d3", "ipnet", "d", 4, None),
    member("e1", "ipnet", "e", 50, Some(8084)),
    member("g1", "vnet", "g", 2, Some(8085)),
    member("g2", "vnet", "g", 3, None),
    member("g3", "ipnet", "g", 4, None),
];

/// The network of this name.
#[must_use]
pub fn net_named(name: &str) -> Option<&'static Net> {
    NETS.iter().find(|net| net.name == name)
}

/// The container of this name.
#[must_use]
pub fn member_named(name: &str) -> Option<&'static Member> {
    MEMBERS.iter().find(|member| member.name == name)
}

impl Member {
    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> [String; 2] {
        net_named(self.net).map(|net| net.addresses(self.host)).unwrap_or_default()
    }
}

/// The addresses of whatever has a name: a container, `host`, `far-host`, `out`,
/// `far`, `lo`, or `gate-N` for the gateway of a network.
#[must_use]
pub fn addresses(name: &str) -> Option<[IpAddr; 2]> {
    let [out, far] = OUTSIDES;
    let pair = |[v4, v6]: [&str; 2]| [v4.to_owned(), v6.to_owned()];
    let host = |outside: Outside| pair(outside.addresses.map(|(host, _)| host));
    let beyond = |outside: Outside| pair(outside.addresses.map(|(_, beyond)| beyond));
    let texts = match name {
        "host" => host(out),
        "far-host" => host(far),
        "out" => beyond(out),
        "far" => beyond(far),
        "lo" => pair(["127.0.0.1", "::1"]),
        _ => match name.strip_prefix("gate-") {
            Some(net) => net_named(net)?.addresses(1),
            None => member_named(name)?.addresses(),
        },
    };
    let [v4, v6] = texts.map(|text| text.parse().ok());
    Some([v4?, v6?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_an_address_of_each_family_that_nobody_else_has() {
        let names = MEMBERS.iter().map(|member| member.name);
        let all: Vec<&str> =
            names.chain(["host", "far-host", "out", "far", "lo", "gate-c", "gate-d"]).collect();
        let mut seen = std::collections::BTreeSet::new();
        for name in all {
            let [v4, v6] = addresses(name).expect(name);
            assert!(v4.is_ipv4() && v6.is_ipv6(), "{name}");
            assert!(seen.insert(v4) && seen.insert(v6), "{name} shares an address");
        }
        assert_eq!(addresses("nobody"), None);
        assert_eq!(addresses("gate-x"), None);
    }

    #[test]
    fn no_name_can_be_the_beginning_of_an_id() {
        let names = NETS.iter().map(|net| net.name).chain(MEMBERS.iter().map(|one| one.name));
        for name in names.map(full_name) {
            assert!(!name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        }
    }

    #[test]
    fn vnet_is_in_bridges_only() {
        for member in MEMBERS {
            let net = net_named(member.net).expect(member.net);
            let bridge = net.options.contains(&"bridge");
            assert!(bridge || member.driver == "ipnet", "{}", member.name);
        }
    }
}
