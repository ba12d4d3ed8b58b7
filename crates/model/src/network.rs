//! Networks and endpoints, as they are stored.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::addr::{Dual, Family, Subnet};
use crate::container::Driver;
use crate::id::{ContainerId, EndpointId, NetworkId};
use crate::mac::MacAddress;
use crate::name::{LinkName, NetworkName};
use crate::refusal::Refusal;

/// A network's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkType {
    /// An interface of Kleene's that nothing outside is linked to.
    Loopback,
    /// A bridge; interfaces of the host may be linked into it.
    Bridge,
    /// An interface that the user already has.
    Custom,
}

impl NetworkType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Bridge, Self::Custom];
}

impl fmt::Display for NetworkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Bridge => "bridge",
            Self::Custom => "custom",
        })
    }
}

/// A network's gateway in one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gateway {
    /// `""`: none.
    #[default]
    None,
    /// `<auto>`: the first address of the subnet.
    Auto,
    /// This address.
    Given(IpAddr),
}

impl Gateway {
    /// Reads `gateway` or `gateway6` of a request, against the subnet.
    ///
    /// `<auto>` without a subnet means none, as clients send it always.
    ///
    /// # Errors
    /// [`Refusal::InvalidCidr`], [`Refusal::WrongProtocol`],
    /// [`Refusal::GatewayOutside`], [`Refusal::GatewayWithoutSubnet`].
    pub fn parse(family: Family, text: &str, subnet: Option<Subnet>) -> Result<Self, Refusal> {
        let field = family.field("gateway");
        let addr: IpAddr = match text {
            "" => return Ok(Self::None),
            "<auto>" => return Ok(if subnet.is_some() { Self::Auto } else { Self::None }),
            _ => text.parse().map_err(|_| Refusal::InvalidCidr { field, text: text.to_owned() })?,
        };
        if Family::of(addr) != family {
            return Err(Refusal::WrongProtocol { field });
        }
        let subnet = subnet.ok_or(Refusal::GatewayWithoutSubnet { field, family })?;
        if !subnet.contains(addr) || Network::is_reserved(subnet, addr) {
            return Err(Refusal::GatewayOutside { field, gateway: addr, subnet: subnet.net() });
        }
        Ok(Self::Given(addr))
    }

    /// The address it stands for.
    #[must_use]
    pub fn address(self, subnet: Subnet) -> Option<IpAddr> {
        match self {
            Self::None => None,
            Self::Auto => {
                let first = crate::addr::number(subnet.network()).checked_add(1)?;
                let addr = subnet.family().address(first);
                subnet.contains(addr).then_some(addr)
            }
            Self::Given(addr) => Some(addr),
        }
    }
}

/// Where traffic of a network gets another source address.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// `""`: nowhere.
    None,
    /// `<host-gateway>`: on the interface of the host's default route.
    #[default]
    HostGateway,
    /// On this interface.
    Interface(LinkName),
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique.
    pub name: NetworkName,
    /// Its type.
    pub kind: NetworkType,
    /// The host interface that represents it.
    pub interface: LinkName,
    /// Its subnets.
    pub subnet: Dual<Option<Subnet>>,
    /// Its gateways.
    pub gateway: Dual<Gateway>,
    /// Where its traffic is translated.
    pub nat: Nat,
    /// Whether its containers reach each other.
    pub icc: bool,
    /// Whether it is cut off from everything else.
    pub internal: bool,
    /// Settings of the host that were changed for the network, to be put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub borrowed: Vec<Borrowed>,
    /// Interfaces of the host that are linked into its bridge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Linked>,
    /// Whether it is removed, and is only kept until what was changed for it is
    /// put back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// An interface of the host in a bridge network. What is behind it is in the
/// network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// The interface.
    pub link: LinkName,
    /// Whether it is unlinked, and only kept until the kernel has let it go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// A setting of the host that is not Kleene's, while it is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borrowed {
    /// The setting, as the host calls it.
    pub setting: String,
    /// The family that needs it.
    pub family: Family,
    /// Whether it is the host's as a whole: then it stays for as long as any
    /// network needs it.
    #[serde(default)]
    pub shared: bool,
    /// Whether it is of an interface by which traffic of containers leaves the
    /// host or comes to it: then it stays for as long as there is any.
    #[serde(default)]
    pub way: bool,
    /// Whether the other family needs it as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub either: bool,
    /// The value it had.
    pub before: String,
    /// The value it needs.
    pub wanted: String,
}

impl Network {
    /// The gateway's address per family, where there is one.
    #[must_use]
    pub fn gateway_address(&self, family: Family) -> Option<IpAddr> {
        self.subnet.get(family).and_then(|subnet| self.gateway.get(family).address(subnet))
    }

    /// The MAC address of the network's interface. A bridge would otherwise
    /// take that of its first port, and change it.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        MacAddress::from_id(self.id.bytes(), 0)
    }

    /// Whether `addr` is the subnet's own or (IPv4) its broadcast address.
    /// Subnets of one or two addresses (/31, /32, /127, /128) reserve nothing.
    #[must_use]
    pub fn is_reserved(subnet: Subnet, addr: IpAddr) -> bool {
        if subnet.prefix() + 1 >= subnet.family().bits() {
            return false;
        }
        let broadcast = match subnet.family() {
            Family::V4 => Some(subnet.last()),
            Family::V6 => None,
        };
        addr == subnet.network() || Some(addr) == broadcast
    }
}

/// One container's membership in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// The container.
    pub container: ContainerId,
    /// Its addresses.
    pub address: Dual<Option<IpAddr>>,
    /// The order in which networks were connected to this container: the
    /// first one decides the default route.
    pub order: u32,
    /// The number N of its cable `epairNa`/`epairNb` while it has one.
    pub cable: Option<u32>,
    /// What was asked for besides.
    #[serde(default)]
    pub options: EndpointOptions,
}

/// What may be asked for of an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointOptions {
    /// The MAC address of the container's end of a `vnet` cable.
    pub mac: Option<MacAddress>,
    /// The largest packet, in bytes.
    pub mtu: Option<u32>,
    /// The higher, the rather it carries the default route.
    pub priority: i32,
}

impl EndpointOptions {
    /// The smallest MTU: of IPv4 (RFC 791), and of IPv6 (RFC 8200).
    const MTU_MIN: Dual<u32> = Dual { v4: 68, v6: 1280 };
    /// The largest packet that IP knows without extensions.
    const MTU_MAX: u32 = 65_535;

    /// Checks what was asked for, for an endpoint with addresses of these
    /// families.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`], [`Refusal::Unsupported`] for a MAC address of
    /// a driver whose endpoints have none.
    pub fn parse(
        driver: Driver,
        address: &Dual<Option<IpAddr>>,
        mac: Option<&str>,
        mtu: Option<u32>,
        priority: i32,
    ) -> Result<Self, Refusal> {
        let invalid = |why: String| Refusal::InvalidRequest { why };
        if mac.is_some() && driver != Driver::Vnet {
            let what =
                format!("a MAC address of its own for a container with the '{driver}' driver");
            return Err(Refusal::unsupported(what));
        }
        let mac = mac.map(|text| {
            MacAddress::parse(text)
                .ok_or_else(|| invalid(format!("'{text}' is no MAC address of an interface")))
        });
        // Without an address it is a wire all the same, and IPv4 the least.
        let families = address.present().map(|(family, _)| family);
        for family in [Family::V4].into_iter().chain(families) {
            let (least, most) = (*Self::MTU_MIN.get(family), Self::MTU_MAX);
            if mtu.is_some_and(|mtu| mtu < least || mtu > most) {
                let family = family.protocol();
                return Err(invalid(format!("the mtu must be {least} to {most} for {family}")));
            }
        }
        Ok(Self { mac: mac.transpose()?, mtu, priority })
    }
}

impl Endpoint {
    /// The MAC address of the container's end of the cable.
    #[must_use]
    pub fn container_mac(&self) -> MacAddress {
        self.options.mac.unwrap_or_else(|| MacAddress::from_id(self.id.bytes(), 1))
    }

    /// The MAC address of the host's end of the cable.
    #[must_use]
    pub fn host_mac(&self) -> MacAddress {
        MacAddress::from_id(self.id.bytes(), 2)
    }
}

/// The one cable of an `ipnet` container. The host routes the container's
/// addresses into it; its inner end stands in the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutedCable {
    /// The number N of the host's end `epairNa`.
    pub number: u32,
    /// The inner end's name: that of the network's interface whose place it
    /// takes in the view, or `epairNb`.
    pub inner: LinkName,
}

impl RoutedCable {
    /// The name of the host's end.
    #[must_use]
    pub fn host(&self) -> LinkName {
        LinkName::cable_host(self.number)
    }

    /// The MAC address of the container's end.
    #[must_use]
    pub fn container_mac(container: ContainerId) -> MacAddress {
        MacAddress::from_id(container.bytes(), 1)
    }

    /// The MAC address of the host's end.
    #[must_use]
    pub fn host_mac(container: ContainerId) -> MacAddress {
        MacAddress::from_id(container.bytes(), 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(Family::V4, text).expect(text)
    }

    #[test]
    fn gateways_are_read_against_the_subnet() {
        let net = Some(subnet("10.4.6.0/24"));
        let parse = |text| Gateway::parse(Family::V4, text, net);
        assert_eq!(parse(""), Ok(Gateway::None));
        assert_eq!(parse("<auto>"), Ok(Gateway::Auto));
        assert!(matches!(parse("10.4.6.9"), Ok(Gateway::Given(_))));
        for (bad, text) in [
            (
                "10.4.7.1",
                "invalid gateway: 10.4.7.1 is not a usable address of the subnet 10.4.6.0/24",
            ),
            (
                "10.4.6.0",
                "invalid gateway: 10.4.6.0 is not a usable address of the subnet 10.4.6.0/24",
            ),
            (
                "10.4.6.255",
                "invalid gateway: 10.4.6.255 is not a usable address of the subnet 10.4.6.0/24",
            ),
            ("10.4.6.1/24", "invalid gateway: could not parse cidr block: \"10.4.6.1/24\""),
            ("fd00::1", "invalid gateway: wrong IP protocol"),
        ] {
            assert_eq!(parse(bad).expect_err(bad).to_string(), text);
        }
        assert_eq!(Gateway::parse(Family::V4, "<auto>", None), Ok(Gateway::None));
        assert!(Gateway::parse(Family::V4, "10.4.6.1", None).is_err());
    }

    #[test]
    fn auto_is_the_first_address() {
        let addr = Gateway::Auto.address(subnet("10.4.6.0/24")).map(|a| a.to_string());
        assert_eq!(addr.as_deref(), Some("10.4.6.1"));
        assert_eq!(Gateway::Auto.address(subnet("10.4.6.1/32")), None);
    }
}
