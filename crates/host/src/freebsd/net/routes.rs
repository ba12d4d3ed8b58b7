//! What `netstat --libxo json -rn`, `route -n get` and the lists of neighbours print.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{Family, LinkName};
use serde::Deserialize;

use super::error::{NetError, unreadable};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; a prefix length of 0 is everywhere else.
    pub destination: IpNet,
    /// The interface.
    pub link: LinkName,
    /// Whether it is that of an address of an interface.
    pub own: bool,
}

#[derive(Deserialize)]
struct Printed {
    statistics: Statistics,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(rename = "route-information")]
    information: Information,
}

#[derive(Deserialize)]
struct Information {
    #[serde(rename = "route-table")]
    table: RouteTable,
}

#[derive(Deserialize)]
struct RouteTable {
    #[serde(rename = "rt-family", default)]
    families: Vec<RouteFamily>,
}

#[derive(Deserialize)]
struct RouteFamily {
    #[serde(rename = "address-family")]
    name: String,
    #[serde(rename = "rt-entry", default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    destination: String,
    gateway: String,
    flags: String,
    #[serde(rename = "interface-name")]
    link: String,
}

/// Reads the routes of both families, but for those of one interface only
/// (link-local ones).
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn routes(printed: &str) -> Result<Vec<Route>, NetError> {
    let wrong = |what: &str| unreadable("netstat", what);
    let printed: Printed = serde_json::from_str(printed).map_err(|err| wrong(&err.to_string()))?;
    let mut routes = Vec::new();
    for family in printed.statistics.information.table.families {
        let of = match family.name.as_str() {
            "Internet" => Family::V4,
            "Internet6" => Family::V6,
            _ => continue,
        };
        for entry in family.entries.iter().filter(|entry| !entry.destination.contains('%')) {
            let destination =
                destination(of, &entry.destination).ok_or_else(|| wrong(&entry.destination))?;
            let link = LinkName::parse(&entry.link).map_err(|_| wrong(&entry.link))?;
            let own = entry.flags.contains('H') && entry.gateway.starts_with("link#");
            routes.push(Route { destination, link, own });
        }
    }
    Ok(routes)
}

fn destination(family: Family, text: &str) -> Option<IpNet> {
    let net = match text {
        "default" => IpNet::new(family.address(0), 0).ok()?,
        _ => match text.parse::<IpAddr>() {
            Ok(addr) => IpNet::from(addr),
            Err(_) => text.parse().ok()?,
        },
    };
    (Family::of(net.addr()) == family).then_some(net)
}

/// The interface in what `route -n get` prints; `None` where no route leads.
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn way(printed: &str) -> Result<Option<LinkName>, NetError> {
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("interface:"));
    let Some(name) = line.map(str::trim) else { return Ok(None) };
    LinkName::parse(name).map(Some).map_err(|_| unreadable("route", name))
}

#[derive(Deserialize)]
struct ArpPrinted {
    arp: ArpCache,
}

#[derive(Deserialize)]
struct ArpCache {
    #[serde(rename = "arp-cache", default)]
    entries: Vec<ArpEntry>,
}

#[derive(Deserialize)]
struct ArpEntry {
    #[serde(rename = "ip-address")]
    addr: IpAddr,
    #[serde(rename = "mac-address")]
    mac: Option<String>,
    interface: String,
}

/// The IPv4 neighbours on an interface that have answered, of those that
/// `arp -an --libxo json` prints.
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn neighbours4(printed: &str, link: &LinkName) -> Result<BTreeSet<IpAddr>, NetError> {
    let printed: ArpPrinted =
        serde_json::from_str(printed).map_err(|err| unreadable("arp", &err.to_string()))?;
    let entries = printed.arp.entries.into_iter();
    // Nobody has answered yet where there is none.
    let here = entries.filter(|entry| entry.interface == link.as_str() && answered(&entry.mac));
    Ok(here.map(|entry| entry.addr).collect())
}

fn answered(mac: &Option<String>) -> bool {
    mac.as_deref().is_some_and(|mac| mac.contains(':'))
}

/// The same of IPv6, of those that `ndp -an` prints.
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn neighbours6(printed: &str, link: &LinkName) -> Result<BTreeSet<IpAddr>, NetError> {
    let mut lines = printed.lines();
    let heading = lines.next().unwrap_or_default();
    if !heading.starts_with("Neighbor") {
        return Err(unreadable("ndp", heading));
    }
    let mut found = BTreeSet::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let (Some(addr), Some(mac), Some(on)) = (words.next(), words.next(), words.next()) else {
            return Err(unreadable("ndp", line));
        };
        if on == link.as_str() && mac.contains(':') && !addr.contains('%') {
            found.insert(addr.parse().map_err(|_| unreadable("ndp", line))?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> LinkName {
        LinkName::parse(name).expect(name)
    }

    #[test]
    fn recorded_routes_are_read() {
        let printed = r#"{"statistics": {"route-information": {"route-table": {"rt-family": [{"address-family":"Internet", "rt-entry": [{"destination":"default","gateway":"192.0.2.2","flags":"UGS", "flags_pretty": ["up","gateway","static"],"weight":1,"interface-name":"epair9a"}, {"destination":"10.2.3.1","gateway":"link#4","flags":"UH", "flags_pretty": ["up","host"],"weight":1,"interface-name":"kleene0"}, {"destination":"10.4.6.0/24","gateway":"link#6","flags":"U", "flags_pretty": ["up"],"weight":1,"interface-name":"kleene1"}]}, {"address-family":"Internet6", "rt-entry": [{"destination":"::1","gateway":"link#1","flags":"UHS", "flags_pretty": ["up","host","static"],"weight":1,"interface-name":"lo0"}, {"destination":"fe80::%lo0/64","gateway":"link#1","flags":"U", "flags_pretty": ["up"],"weight":1,"interface-name":"lo0"}]}]}}}}"#;
        let routes = routes(printed).expect("reads");
        let shown: Vec<String> = routes
            .iter()
            .map(|route| format!("{} {} {}", route.destination, route.link, route.own))
            .collect();
        assert_eq!(
            shown,
            [
                "0.0.0.0/0 epair9a false",
                "10.2.3.1/32 kleene0 true",
                "10.4.6.0/24 kleene1 false",
                "::1/128 lo0 true",
            ]
        );
        for bad in ["", "{}", "Routing tables", &printed[..200], &printed.replace("10.4.6.0", "x")]
        {
            assert!(super::routes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_way_is_its_interface() {
        let printed =
            "   route to: 0.0.0.0\ndestination: 0.0.0.0\n        fib: 0\n  interface: epair31b\n";
        assert_eq!(way(printed).expect("reads"), Some(link("epair31b")));
        assert_eq!(way("route: route has not been found\n").expect("reads"), None);
        assert!(way("  interface: a/b\n").is_err());
    }

    #[test]
    fn neighbours_are_those_that_answered_on_the_interface() {
        let arp = r#"{"__version": "1", "arp": {"arp-cache": [{"hostname":"?","ip-address":"192.0.2.2","mac-address":"02:ec:92:16:33:0b","interface":"epair9a","expires":907,"type":"ethernet"}, {"hostname":"?","ip-address":"192.0.2.9","interface":"epair9a","incomplete":true,"type":"ethernet"}, {"hostname":"?","ip-address":"10.4.6.2","mac-address":"02:22:4d:d5:12:0b","interface":"kleene1","expires":1044,"type":"bridge"}]}}"#;
        let found = neighbours4(arp, &link("epair9a")).expect("reads");
        assert_eq!(found, BTreeSet::from(["192.0.2.2".parse().expect("an address")]));
        let ndp = "\
Neighbor                             Linklayer Address  Netif Expire    1s 5s
2001:db8:9::2                        02:ec:92:16:33:0b epair9a 23h56m38s S 
2001:db8:9::3                        (incomplete)       epair9a 1s        I 
fe80::ec:92ff:fe16:330a%epair9a      02:ec:92:16:33:0a epair9a permanent R 
fd00:4:6::1                          32:de:b0:f5:e7:c5 kleene1 permanent R 
";
        let found = neighbours6(ndp, &link("epair9a")).expect("reads");
        assert_eq!(found, BTreeSet::from(["2001:db8:9::2".parse().expect("an address")]));
        assert!(neighbours6("", &link("em0")).is_err() && neighbours4("", &link("em0")).is_err());
    }
}
