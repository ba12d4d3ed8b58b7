//! What a network's texts say of its subnets.

use std::net::IpAddr;

use kleene_model::api::Network;
use kleene_model::{Dual, Family, Gateway, NetworkType, Subnet};
use serde::Serialize;

/// One family of a network that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Leg {
    pub(super) subnet: String,
    /// The address of the gateway; nothing for types that use none.
    pub(super) gateway: Option<String>,
}

/// The subnet and gateway of both families.
fn texts(network: &Network) -> Dual<(&str, &str)> {
    Dual {
        v4: (network.subnet.as_str(), network.gateway.as_str()),
        v6: (network.subnet6.as_str(), network.gateway6.as_str()),
    }
}

/// The families that the network has.
pub(super) fn legs(network: &Network) -> Vec<Leg> {
    let leg = |(family, (subnet, gateway)): (Family, &(&str, &str))| {
        if subnet.is_empty() {
            return None;
        }
        let used = match network.kind {
            NetworkType::Bridge => address(family, subnet, gateway),
            NetworkType::Loopback | NetworkType::Custom => None,
        };
        Some(Leg { subnet: (*subnet).to_owned(), gateway: used })
    };
    texts(network).iter().filter_map(leg).collect()
}

/// What `<auto>` stands for, and else the address itself.
fn address(family: Family, subnet: &str, gateway: &str) -> Option<String> {
    if gateway.is_empty() {
        return None;
    }
    let known = Subnet::parse(family, subnet)
        .ok()
        .and_then(|subnet| Gateway::parse(family, gateway, Some(subnet)).ok()?.address(subnet));
    Some(known.map_or_else(|| gateway.to_owned(), |address| address.to_string()))
}

/// Whether `value` is one of the network's subnets, or an address in one.
pub(super) fn matches(network: &Network, value: &str) -> bool {
    texts(network).iter().any(|(family, (subnet, _))| {
        let Ok(own) = Subnet::parse(family, subnet) else { return *subnet == value };
        match value.parse::<IpAddr>() {
            Ok(address) => own.contains(address),
            Err(_no_address) => Subnet::parse(family, value).is_ok_and(|typed| typed == own),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(kind: NetworkType, subnet6: &str) -> Network {
        Network {
            id: "2f1dc29b8f36".to_owned(),
            name: "web".to_owned(),
            kind,
            interface: "kleene0".to_owned(),
            subnet: "10.4.6.0/24".to_owned(),
            subnet6: subnet6.to_owned(),
            gateway: "<auto>".to_owned(),
            gateway6: "fd00::9".to_owned(),
            nat: String::new(),
            icc: true,
            internal: false,
        }
    }

    #[test]
    fn automatic_gateways_are_addresses() {
        let gateways = |kind, subnet6| {
            let legs = legs(&network(kind, subnet6)).into_iter();
            legs.map(|leg| leg.gateway.unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(gateways(NetworkType::Bridge, ""), ["10.4.6.1"]);
        assert_eq!(gateways(NetworkType::Bridge, "fd00::/64"), ["10.4.6.1", "fd00::9"]);
        assert_eq!(gateways(NetworkType::Loopback, "fd00::/64"), ["", ""]);
        assert_eq!(gateways(NetworkType::Custom, ""), [""]);
    }

    #[test]
    fn a_subnet_is_matched_by_itself_and_by_what_is_in_it() {
        let web = network(NetworkType::Bridge, "fd00::/64");
        for value in ["10.4.6.0/24", "fd00:0::/64", "10.4.6.77", "fd00::1"] {
            assert!(matches(&web, value), "{value}");
        }
        for value in ["10.4.0.0/16", "10.4.6.0/25", "10.4.7.1", "fd01::1", "x"] {
            assert!(!matches(&web, value), "{value}");
        }
        let four = network(NetworkType::Bridge, "");
        assert!(matches(&four, "") && !matches(&web, ""));
    }
}
