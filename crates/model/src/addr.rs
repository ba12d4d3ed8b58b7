//! Addresses of both families. Nothing in Kleene doubles a family by name:
//! what exists per family is a [`Dual`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in the order in which everything is done.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// What FreeBSD's tools and Kleene's texts call it: `inet` or `inet6`.
    #[must_use]
    pub fn inet(self) -> &'static str {
        match self {
            Self::V4 => "inet",
            Self::V6 => "inet6",
        }
    }

    /// `IPv4` or `IPv6`.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// An API field's name: `subnet` and `subnet6`, from `subnet`.
    #[must_use]
    pub fn field(self, base: &'static str) -> FieldName {
        FieldName { base, family: self }
    }

    /// Bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address whose value is `number`, cut to the family's width.
    #[must_use]
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            #[expect(clippy::cast_possible_truncation, reason = "cut to the family's width")]
            Self::V4 => Ipv4Addr::from(number as u32).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

/// The name of a field of the API that exists once per family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldName {
    base: &'static str,
    family: Family,
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::V4 => f.write_str(self.base),
            Family::V6 => write!(f, "{}6", self.base),
        }
    }
}

/// The value of an address as a number, for arithmetic within a subnet.
#[must_use]
pub fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// One value per family.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Dual<T> {
    /// The IPv4 half.
    pub v4: T,
    /// The IPv6 half.
    pub v6: T,
}

impl<T> Dual<T> {
    /// Builds both halves.
    pub fn from_fn(mut make: impl FnMut(Family) -> T) -> Self {
        Self { v4: make(Family::V4), v6: make(Family::V6) }
    }

    /// Builds both halves, or stops at the first error.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn try_from_fn<E>(mut make: impl FnMut(Family) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self { v4: make(Family::V4)?, v6: make(Family::V6)? })
    }

    /// The half of `family`.
    pub fn get(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The half of `family`, to change it.
    pub fn get_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Both halves with their family.
    pub fn iter(&self) -> impl Iterator<Item = (Family, &T)> {
        Family::BOTH.into_iter().map(|family| (family, self.get(family)))
    }

    /// Applies `f` to both halves.
    pub fn map<U>(self, mut f: impl FnMut(Family, T) -> U) -> Dual<U> {
        Dual { v4: f(Family::V4, self.v4), v6: f(Family::V6, self.v6) }
    }
}

impl<T> Dual<Option<T>> {
    /// The halves that exist.
    pub fn present(&self) -> impl Iterator<Item = (Family, &T)> {
        self.iter().filter_map(|(family, half)| half.as_ref().map(|value| (family, value)))
    }
}

/// A subnet: an address without host bits and a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IpNet", into = "IpNet")]
pub struct Subnet(IpNet);

impl Subnet {
    /// Reads the `subnet` or `subnet6` of a request.
    ///
    /// # Errors
    /// [`Refusal::InvalidCidr`], [`Refusal::WrongProtocol`] for the other
    /// family, [`Refusal::HostBits`].
    pub fn parse(family: Family, text: &str) -> Result<Self, Refusal> {
        let field = family.field("subnet");
        let net: IpNet =
            text.parse().map_err(|_| Refusal::InvalidCidr { field, text: text.to_owned() })?;
        if Family::of(net.addr()) != family {
            return Err(Refusal::WrongProtocol { field });
        }
        Self::try_from(net).map_err(|_| Refusal::HostBits {
            field,
            text: text.to_owned(),
            net: net.trunc(),
        })
    }

    /// The family.
    #[must_use]
    pub fn family(self) -> Family {
        Family::of(self.0.addr())
    }

    /// The subnet as `ipnet` knows it.
    #[must_use]
    pub fn net(self) -> IpNet {
        self.0
    }

    /// The subnet's own address: the lowest.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.0.network()
    }

    /// The highest address; the broadcast address of an IPv4 subnet wider than /31.
    #[must_use]
    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }

    /// Prefix length.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether `addr` lies in the subnet.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        self.0.contains(&addr)
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: IpNet) -> bool {
        self.0.contains(&other) || other.contains(&self.0)
    }

    /// `addr` with this subnet's prefix length, as an interface carries it.
    #[must_use]
    pub fn with_prefix(self, addr: IpAddr) -> IpNet {
        IpNet::new(addr, self.prefix()).unwrap_or_else(|_| IpNet::from(addr))
    }

    /// The next subnet of the same size above this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let family = self.family();
        let size = 1_u128.checked_shl(u32::from(family.bits() - self.prefix()))?;
        let start = number(self.network()).checked_add(size)?;
        if family == Family::V4 && start > u128::from(u32::MAX) {
            return None;
        }
        IpNet::new(family.address(start), self.prefix()).ok().map(Self)
    }
}

/// Where the subnets of networks come from that name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools(Vec<Pool>);

/// One pool: a range, and the prefix length of the subnets it is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    range: Subnet,
    prefix: u8,
}

impl Default for Pools {
    /// IPv4 /24 of 10.88.0.0/16, IPv6 /64 of a unique local /48 (RFC 4193).
    fn default() -> Self {
        let defaults = ["10.88.0.0/16", "fd4b:6c65:656e::/48"];
        Self(defaults.iter().filter_map(|text| Pool::parse(text).ok()).collect())
    }
}

impl Pool {
    /// The most subnets of a pool, as a power of 2: somebody waits while a free
    /// one is looked for.
    const BITS_MAX: u8 = 18;

    /// Reads a range in CIDR notation. It is cut into /24 or /64, or, where a
    /// size follows as in `10.0.0.0/8:26`, into subnets of that prefix length.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (range, size) = match text.split_once('/').and_then(|(_, tail)| tail.split_once(':')) {
            Some((_, size)) => {
                let range = text.strip_suffix(size).and_then(|rest| rest.strip_suffix(':'));
                let size = size.parse::<u8>();
                let size = size.map_err(|_| format!("'{text}': the size is no number"))?;
                (range.unwrap_or_default(), Some(size))
            }
            None => (text, None),
        };
        let net: IpNet = range.parse().map_err(|_| format!("'{text}' is no CIDR block"))?;
        let range = Subnet::try_from(net).map_err(|why| format!("'{text}': {why}"))?;
        let family = range.family();
        let prefix = size.unwrap_or(match family {
            Family::V4 => 24,
            Family::V6 => 64,
        });
        let most = family.bits() - 2;
        if prefix < range.prefix() || prefix > most {
            let least = range.prefix();
            return Err(format!("'{text}': /{prefix} does not fit, use {least} to {most}"));
        }
        if let Some(reserved) = range.reserved() {
            return Err(format!("'{text}' holds {reserved}, which no interface can be given"));
        }
        if prefix - range.prefix() > Self::BITS_MAX {
            let most = 1_u32 << Self::BITS_MAX;
            return Err(format!("'{text}' is more than {most} subnets, name a smaller range"));
        }
        Ok(Self { range, prefix })
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.range, self.prefix)
    }
}

impl Pools {
    /// These pools, in this order.
    #[must_use]
    pub fn new(pools: Vec<Pool>) -> Self {
        Self(pools)
    }

    /// Every subnet of a family, lowest first within each pool.
    pub fn subnets(&self, family: Family) -> impl Iterator<Item = Subnet> {
        let pools = self.0.iter().filter(move |pool| pool.range.family() == family);
        pools.flat_map(|pool| {
            let first = IpNet::new(pool.range.network(), pool.prefix).ok().map(Subnet);
            std::iter::successors(first, |subnet| subnet.next())
                .take_while(|subnet| pool.range.contains(subnet.network()))
        })
    }

    /// The pools of a family, for a message.
    #[must_use]
    pub fn describe(&self, family: Family) -> String {
        let of_family = self.0.iter().filter(|pool| pool.range.family() == family);
        let texts: Vec<String> = of_family.map(ToString::to_string).collect();
        if texts.is_empty() { "there is none".to_owned() } else { texts.join(", ") }
    }
}

impl TryFrom<IpNet> for Subnet {
    type Error = String;

    fn try_from(net: IpNet) -> Result<Self, String> {
        if net != net.trunc() {
            return Err(format!("{net} has host bits, the subnet is {}", net.trunc()));
        }
        Ok(Self(net))
    }
}

impl From<Subnet> for IpNet {
    fn from(subnet: Subnet) -> Self {
        subnet.0
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a request says about one address of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressRequest {
    /// `""`: none.
    None,
    /// `<auto>`: the lowest free one.
    Auto,
    /// This one.
    Given(IpAddr),
}

impl AddressRequest {
    /// Reads `ip_address` or `ip_address6` of a request.
    ///
    /// # Errors
    /// [`Refusal::InvalidAddress`].
    pub fn parse(family: Family, text: &str) -> Result<Self, Refusal> {
        match text {
            "" => Ok(Self::None),
            "<auto>" => Ok(Self::Auto),
            _ => text
                .parse::<IpAddr>()
                .ok()
                .filter(|addr| Family::of(*addr) == family)
                .map(Self::Given)
                .ok_or_else(|| Refusal::InvalidAddress { family, text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_cut_in_order() {
        let pool = |text| Pool::parse(text).expect(text);
        let pools =
            Pools::new(["10.0.0.0/30:30", "10.1.0.0/16:17", "fd00::/63"].map(pool).to_vec());
        let list = |family| pools.subnets(family).map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(list(Family::V4), ["10.0.0.0/30", "10.1.0.0/17", "10.1.128.0/17"]);
        assert_eq!(list(Family::V6), ["fd00::/64", "fd00:0:0:1::/64"]);
        assert_eq!(pools.describe(Family::V6), "fd00::/63:64");
        assert_eq!(Pools::new(Vec::new()).describe(Family::V4), "there is none");
        assert_eq!(Pools::default().subnets(Family::V4).count(), 256);
        let bad = ["", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/8:7", "10.0.0.0/8:31", "x/8:9"];
        for bad in bad.into_iter().chain(["10.0.0.0/25"]) {
            assert!(Pool::parse(bad).is_err(), "{bad}");
        }
        // More than anybody waits for, and what nobody can have.
        assert!(Pool::parse("10.0.0.0/8:26").is_ok() && Pool::parse("10.0.0.0/8:27").is_err());
        assert!(Pool::parse("fd00::/46").is_ok() && Pool::parse("fd00::/45").is_err());
        assert!(Pool::parse("126.0.0.0/16").is_ok() && Pool::parse("127.0.0.0/16").is_err());
    }

    #[test]
    fn a_subnet_has_no_host_bits_and_the_right_family() {
        assert!(Subnet::parse(Family::V4, "10.4.6.0/24").is_ok());
        assert!(Subnet::parse(Family::V6, "fd00::/64").is_ok());
        let text = |family, text| Subnet::parse(family, text).expect_err(text).to_string();
        assert_eq!(
            text(Family::V4, "10.4"),
            "invalid subnet: could not parse cidr block: \"10.4\""
        );
        assert_eq!(text(Family::V6, "x"), "invalid subnet6: could not parse cidr block: \"x\"");
        assert_eq!(text(Family::V4, "fd00::/64"), "invalid subnet: wrong IP protocol");
        assert!(text(Family::V4, "10.4.6.1/24").contains("10.4.6.0/24"));
    }

    #[test]
    fn the_next_subnet_is_beside_this_one_or_none() {
        let next = |text: &str| {
            let net: IpNet = text.parse().expect(text);
            Subnet::try_from(net).expect(text).next().map(|s| s.to_string())
        };
        assert_eq!(next("10.0.0.0/24").as_deref(), Some("10.0.1.0/24"));
        assert_eq!(next("255.255.255.0/24"), None);
        assert_eq!(next("fd00:ffff:ffff:ffff::/64").as_deref(), Some("fd01::/64"));
        assert_eq!(next("0.0.0.0/0"), None);
        assert_eq!(next("::/0"), None);
    }

    #[test]
    fn address_requests() {
        assert_eq!(AddressRequest::parse(Family::V4, ""), Ok(AddressRequest::None));
        assert_eq!(AddressRequest::parse(Family::V6, "<auto>"), Ok(AddressRequest::Auto));
        let refusal = AddressRequest::parse(Family::V4, "fd00::1").expect_err("wrong family");
        assert_eq!(refusal.to_string(), "could not parse inet address fd00::1: einval");
        let refusal = AddressRequest::parse(Family::V6, "x").expect_err("no address");
        assert_eq!(refusal.to_string(), "could not parse inet6 address x: einval");
    }
}
