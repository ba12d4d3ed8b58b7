//! Reading what the base system's tools print: what a check asks of the system, and
//! never of Kleene. It is not Kleene's own reading, which a check would believe then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

/// The lines of one interface, as `ifconfig` prints them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its addresses, without link-local ones.
    pub addresses: BTreeSet<IpAddr>,
    /// Its link-local address with the interface's number: `fe80::1%4`.
    pub local: Option<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// The members, where it is a bridge.
    pub members: Vec<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its MAC address.
    pub ether: Option<String>,
    /// Whether it is up.
    pub up: bool,
}

/// All interfaces that `ifconfig` has printed, or the one that `ifconfig NAME` has.
#[must_use]
pub fn links(printed: &str) -> BTreeMap<String, Link> {
    let mut links = BTreeMap::new();
    let mut name = String::new();
    for line in printed.lines() {
        if !line.starts_with(char::is_whitespace) {
            let Some((heading, flags)) = line.split_once(": flags=") else { continue };
            heading.clone_into(&mut name);
            let up = flags.contains("<UP,") || flags.contains("<UP>");
            links.insert(name.clone(), Link { up, ..Link::default() });
            continue;
        }
        if let Some(link) = links.get_mut(&name) {
            detail(link, line.trim());
        }
    }
    links
}

fn detail(link: &mut Link, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["inet" | "inet6", address, ref rest @ ..] => {
            let bare = address.split(['/', '%']).next().unwrap_or_default();
            let Ok(ip) = bare.parse::<IpAddr>() else { return };
            let scope = rest.iter().skip_while(|word| **word != "scopeid").nth(1);
            let scope = scope.and_then(|text| text.strip_prefix("0x"));
            let scope = scope.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            match scope {
                Some(scope) => link.local = Some(format!("{ip}%{scope}")),
                None => drop(link.addresses.insert(ip)),
            }
        }
        ["groups:", ref groups @ ..] => {
            link.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        }
        ["member:", member, ..] => link.members.push(member.to_owned()),
        ["description:", ..] => {
            link.description = line.strip_prefix("description: ").map(str::to_owned);
        }
        ["ether", mac] => link.ether = Some(mac.to_owned()),
        _ => {}
    }
}

/// A jail, as `jls --libxo json -v` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jail {
    /// Its name.
    pub name: String,
    /// Its root.
    pub path: String,
}

/// The jails that `jls --libxo json -v` has printed.
///
/// # Errors
/// What is printed, where it is not understood.
pub fn jails(printed: &str) -> Result<Vec<Jail>, String> {
    let strange = || format!("jls printed '{}'", printed.trim());
    let json: Value = serde_json::from_str(printed).map_err(|_| strange())?;
    let list = json["jail-information"]["jail"].as_array().ok_or_else(strange)?;
    let text = |jail: &Value, key: &str| jail[key].as_str().map(str::to_owned);
    let jail = |jail| Some(Jail { name: text(jail, "name")?, path: text(jail, "path")? });
    list.iter().map(|one| jail(one).ok_or_else(strange)).collect()
}

/// The families that have a default route, and by which interface: of what `netstat
/// --libxo json -rn` has printed. IPv4 first.
///
/// # Errors
/// What is printed, where it is not understood.
pub fn default_routes(printed: &str) -> Result<[Option<String>; 2], String> {
    let strange = || format!("netstat printed '{}'", printed.trim());
    let json: Value = serde_json::from_str(printed).map_err(|_| strange())?;
    let table = &json["statistics"]["route-information"]["route-table"]["rt-family"];
    let families = table.as_array().ok_or_else(strange)?;
    Ok(["Internet", "Internet6"].map(|family| {
        let entries = families.iter().filter(|it| it["address-family"] == family);
        let mut entries = entries.filter_map(|it| it["rt-entry"].as_array()).flatten();
        let default = entries.find(|entry| entry["destination"] == "default")?;
        default["interface-name"].as_str().map(str::to_owned)
    }))
}

/// Where things are mounted, of what `mount -p` has printed, the oldest first.
#[must_use]
pub fn mounted(printed: &str) -> Vec<String> {
    let second = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    printed.lines().filter_map(second).collect()
}

/// The names in a list of `pfctl`, of one kind.
#[must_use]
pub fn names(printed: &str) -> BTreeSet<String> {
    printed.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_as_they_were_recorded() {
        // As recorded on FreeBSD 13.2.
        let printed = "\
kleene0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> metric 0 mtu 16384
\tdescription: kleene:6b933304be4a
\tinet6 fe80::1%kleene0 prefixlen 64 scopeid 0x4
\tinet6 fd00:2:3::1 prefixlen 128
\tinet 10.2.3.1 netmask 0xffffffff
\tgroups: lo kleene
\tnd6 options=121<PERFORMNUD,AUTO_LINKLOCAL,NO_DAD>
kleene1: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500
\tether 32:de:b0:f5:e7:c5
\tinet 10.4.6.1/24 broadcast 10.4.6.255
\tmember: epair30a flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>
\t        ifmaxaddr 0 port 16 priority 128 path cost 2000
\tmember: epair0a flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>
pflog0: flags=0<> metric 0 mtu 33160
";
        let links = links(printed);
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let kleene0 = &links["kleene0"];
        assert_eq!(kleene0.addresses, [ip("10.2.3.1"), ip("fd00:2:3::1")].into());
        assert_eq!(kleene0.local.as_deref(), Some("fe80::1%4"));
        assert_eq!(kleene0.groups, ["lo", "kleene"]);
        assert_eq!(kleene0.description.as_deref(), Some("kleene:6b933304be4a"));
        assert!(kleene0.up && !links["pflog0"].up);
        let kleene1 = &links["kleene1"];
        assert_eq!(kleene1.members, ["epair30a", "epair0a"]);
        assert_eq!(kleene1.addresses, [ip("10.4.6.1")].into());
        assert_eq!(kleene1.ether.as_deref(), Some("32:de:b0:f5:e7:c5"));
    }

    #[test]
    fn jails_are_read_as_they_were_recorded() {
        let printed = "{\"__version\": \"2\", \"jail-information\": {\"jail\": [{\"jid\":3,\
            \"hostname\":\"\",\"path\":\"/jr\",\"name\":\"aaaaaaaaaaaa\",\"state\":\"ACTIVE\",\
            \"cpusetid\":3, \"ipv4_addrs\": [], \"ipv6_addrs\": []}]}}";
        let jail = Jail { name: "aaaaaaaaaaaa".to_owned(), path: "/jr".to_owned() };
        assert_eq!(jails(printed), Ok(vec![jail]));
        assert!(jails("JID  IP Address").is_err() && jails("{}").is_err());
    }

    #[test]
    fn default_routes_are_read_as_they_were_recorded() {
        let table = |entries: &str| {
            format!(
                "{{\"statistics\": {{\"route-information\": {{\"route-table\": {{\"rt-family\": \
                 [{{\"address-family\":\"Internet\", \"rt-entry\": [{entries}]}}]}}}}}}}}"
            )
        };
        let lo0 = "{\"destination\":\"127.0.0.1\",\"gateway\":\"link#1\",\"flags\":\"UH\",\
                   \"interface-name\":\"lo0\"}";
        assert_eq!(default_routes(&table(lo0)), Ok([None, None]));
        let both = format!(
            "{lo0}, {{\"destination\":\"default\",\"gateway\":\"192.0.2.2\",\
             \"interface-name\":\"em0\"}}"
        );
        assert_eq!(default_routes(&table(&both)), Ok([Some("em0".to_owned()), None]));
        assert!(default_routes("").is_err());
    }

    #[test]
    fn mounts_and_lists_of_pf_are_read() {
        let printed = "/dev/vtbd0p2\t\t/\t\t\tufs\trw\t\t1 1\n/\t\t\t/jr\t\t\tnullfs\tro\t\t0 0\n";
        assert_eq!(mounted(printed), ["/", "/jr"]);
        let listed = names("  kleene\n  kleene/pub\n\n");
        assert_eq!(listed, ["kleene".to_owned(), "kleene/pub".to_owned()].into());
    }
}
