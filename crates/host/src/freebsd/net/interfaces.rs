//! What `ifconfig -a -f inet:cidr,inet6:cidr` prints.

use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::LinkName;

use super::error::{NetError, unreadable};

/// The most members of a bridge that ifconfig lists (FreeBSD 13.2): beside them
/// there may be others.
pub const MOST_MEMBERS: usize = 102;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: LinkName,
    /// Whether it is up.
    pub up: bool,
    /// The largest packet that it takes, in bytes.
    pub mtu: u32,
    /// Its description.
    pub description: Option<String>,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// Its addresses in the order in which they stand there, without link-local
    /// ones of IPv6.
    pub addresses: Vec<IpNet>,
    /// The members of a bridge, as far as they are listed.
    pub members: Vec<LinkName>,
    /// Whether IPv6 addresses are used at once, without a look for duplicates.
    pub no_dad: bool,
}

impl Interface {
    /// Whether it is in a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|is| is == group)
    }
}

/// Reads what ifconfig has printed of interfaces.
///
/// # Errors
/// [`NetError::Unreadable`], where a line is not what ifconfig prints. One of a kind
/// that is of no interest here is skipped: there are many.
pub fn interfaces(printed: &str) -> Result<Vec<Interface>, NetError> {
    if !printed.is_empty() && !printed.ends_with('\n') {
        return Err(unreadable("ifconfig", printed.lines().last().unwrap_or_default()));
    }
    let mut interfaces: Vec<Interface> = Vec::new();
    for line in printed.lines() {
        if let Some(indented) = line.strip_prefix(['\t', ' ']) {
            let last = interfaces.last_mut().ok_or_else(|| unreadable("ifconfig", line))?;
            detail(last, indented.trim_start()).ok_or_else(|| unreadable("ifconfig", line))?;
        } else {
            interfaces.push(heading(line).ok_or_else(|| unreadable("ifconfig", line))?);
        }
    }
    Ok(interfaces)
}

/// `kleene0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> metric 0 mtu 16384`
fn heading(line: &str) -> Option<Interface> {
    let (name, rest) = line.split_once(": flags=")?;
    let (_, rest) = rest.split_once('<')?;
    let (flags, rest) = rest.split_once('>')?;
    let mut words = rest.split_whitespace().skip_while(|word| *word != "mtu");
    let mtu = words.nth(1)?.parse().ok()?;
    Some(Interface {
        name: LinkName::parse(name).ok()?,
        up: flags.split(',').any(|flag| flag == "UP"),
        mtu,
        description: None,
        groups: Vec::new(),
        addresses: Vec::new(),
        members: Vec::new(),
        no_dad: false,
    })
}

/// A line about an interface; `None` when it is not what it says it is.
fn detail(interface: &mut Interface, line: &str) -> Option<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        // Any text, and other lines do not begin so.
        "description:" => interface.description = Some(rest.to_owned()),
        "groups:" => interface.groups = rest.split_whitespace().map(str::to_owned).collect(),
        "inet" | "inet6" => {
            let mut words = rest.split_whitespace();
            let first = words.next()?;
            // Of an interface that leads to one other host the prefix length is behind
            // that one's address (source of ifconfig).
            let text = match (words.next(), words.next()) {
                (Some("-->"), Some(other)) => match other.split_once('/') {
                    Some((_, prefix)) => format!("{first}/{prefix}"),
                    None => first.to_owned(),
                },
                _ => first.to_owned(),
            };
            // That of one interface only, by a name behind the sign.
            let scoped = text.split_once('%').map(|(addr, _)| addr.parse::<IpAddr>());
            match scoped {
                Some(addr) => drop(addr.ok()?),
                None => {
                    let net: IpNet = text.parse().ok()?;
                    (net.addr().is_ipv4() == (word == "inet")).then_some(())?;
                    if !is_link_local(net.addr()) {
                        interface.addresses.push(net);
                    }
                }
            }
        }
        "member:" => {
            let name = rest.split_whitespace().next()?;
            interface.members.push(LinkName::parse(name).ok()?);
        }
        "nd6" => interface.no_dad = rest.contains("NO_DAD"),
        _ => {}
    }
    Some(())
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> metric 0 mtu 16384
\toptions=680003<RXCSUM,TXCSUM,LINKSTATE,RXCSUM_IPV6,TXCSUM_IPV6>
\tinet6 ::1/128
\tinet6 fe80::1%lo0/64 scopeid 0x1
\tinet 127.0.0.1/8
\tgroups: lo
\tnd6 options=21<PERFORMNUD,AUTO_LINKLOCAL>
pflog0: flags=0<> metric 0 mtu 33160
\tgroups: pflog
kleene1: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500
\tdescription: kleene:main:network:6b933304be4a
\tether 32:de:b0:f5:e7:c5
\tinet 10.4.6.1/24 broadcast 10.4.6.255
\tinet6 fd00:4:6::1/64
\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15
\tmember: epair30a flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>
\t        ifmaxaddr 0 port 16 priority 128 path cost 2000
\tmember: epair22a flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>
\t        ifmaxaddr 0 port 14 priority 128 path cost 2000
\tgroups: bridge kleene
\tnd6 options=101<PERFORMNUD,NO_DAD>
";

    #[test]
    fn what_was_recorded_is_read() {
        let interfaces = interfaces(PRINTED).expect("reads");
        let [lo0, pflog0, kleene1] = interfaces.as_slice() else { panic!("{interfaces:?}") };
        let texts = |of: &Interface| -> Vec<String> {
            of.addresses.iter().map(ToString::to_string).collect()
        };
        assert_eq!((lo0.up, lo0.mtu, lo0.no_dad), (true, 16384, false));
        assert_eq!(texts(lo0), ["::1/128", "127.0.0.1/8"]);
        assert!(!pflog0.up && pflog0.is_in("pflog"));
        assert_eq!(kleene1.description.as_deref(), Some("kleene:main:network:6b933304be4a"));
        assert_eq!(texts(kleene1), ["10.4.6.1/24", "fd00:4:6::1/64"]);
        let members: Vec<&str> = kleene1.members.iter().map(LinkName::as_str).collect();
        assert_eq!(members, ["epair30a", "epair22a"]);
        assert!(kleene1.no_dad && kleene1.is_in("kleene") && !kleene1.is_in("kleen"));
    }

    #[test]
    fn an_interface_to_one_other_host_has_its_own_address() {
        let printed = "\
tun0: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> metric 0 mtu 1500
\toptions=80000<LINKSTATE>
\tinet6 fe80::5a9c:fcff:fe00:1%tun0/64 scopeid 0x5
\tinet 10.8.0.1 --> 10.8.0.2/24
\tinet6 fd00:8::1 --> fd00:8::2/128
\tgroups: tun
";
        let read = interfaces(printed).expect("reads");
        let texts: Vec<String> = read[0].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.8.0.1/24", "fd00:8::1/128"]);
    }

    #[test]
    fn what_ifconfig_does_not_print_is_an_error() {
        for bad in [
            "lo0: flags=8049<UP\n",
            "lo0: flags=8049<UP> metric 0\n",
            "\tinet 127.0.0.1/8\n",
            "lo0: flags=8049<UP> metric 0 mtu 16384\n\tinet 127.0.0.1\n",
            "lo0: flags=8049<UP> metric 0 mtu 16384\n\tinet ::1/128\n",
            "lo0: flags=8049<UP> metric 0 mtu 16384\n\tinet6 fe80::x%lo0/64\n",
            "lo0: flags=8049<UP> metric 0 mtu 16384\n\tmember:\n",
            "lo0: flags=8049<UP> metric 0 mtu 16384\n\tgroups: l",
            "ifconfig: nichts gefunden\n",
        ] {
            assert!(interfaces(bad).is_err(), "{bad:?}");
        }
        assert!(interfaces("").expect("nothing").is_empty());
    }
}
