//! What is set up inside jails: their stack, where it is their own, or the addresses
//! of the host's that they may use.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use kleene_engine::inside::Inside;
use kleene_model::{ContainerId, Family, LinkName};
use serde::Deserialize;

use super::error::{NetError, unreadable};
use crate::freebsd::run::{Call, Tool, ToolError, Tools};

#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "jail-information")]
    information: Information,
}

#[derive(Deserialize)]
struct Information {
    #[serde(default)]
    jail: Vec<Jail>,
}

#[derive(Deserialize)]
struct Jail {
    #[serde(rename = "ipv4_addrs", default)]
    v4: Vec<IpAddr>,
    #[serde(rename = "ipv6_addrs", default)]
    v6: Vec<IpAddr>,
}

/// The addresses that a jail may use.
pub(super) fn used(
    tools: &dyn Tools,
    container: ContainerId,
) -> Result<BTreeSet<Inside>, NetError> {
    let id = container.to_string();
    let call = Call::new(Tool::Jls, ["--libxo", "json", "-v", "-j", &id]);
    lists(&tools.run(&call)?.stdout)
}

/// Reads what `jls --libxo json -v -j NAME` prints.
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn lists(printed: &str) -> Result<BTreeSet<Inside>, NetError> {
    let printed: Printed =
        serde_json::from_str(printed).map_err(|err| unreadable("jls", &err.to_string()))?;
    let [jail] = printed.information.jail.as_slice() else {
        return Err(unreadable("jls", "not one jail"));
    };
    let lists = [(Family::V4, &jail.v4), (Family::V6, &jail.v6)];
    let used = lists.into_iter().filter(|(_, addresses)| !addresses.is_empty());
    Ok(used
        .map(|(family, addresses)| Inside::Use { family, addresses: addresses.clone() })
        .collect())
}

/// Gives a jail the list of addresses of a family that it may use; an empty one takes
/// the family away.
pub(super) fn use_only(
    tools: &dyn Tools,
    container: ContainerId,
    family: Family,
    addresses: &[IpAddr],
) -> Result<(), NetError> {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let parameter = match family {
        Family::V4 => "ip4.addr",
        Family::V6 => "ip6.addr",
    };
    let (name, list) = (format!("name={container}"), format!("{parameter}={}", texts.join(",")));
    tools.run(&Call::new(Tool::Jail, ["-m".to_owned(), name, list]))?;
    Ok(())
}

/// How long a tool inside a jail may take: what it does there is the jail's business,
/// and everybody waits for it.
const INNER_DEADLINE: Duration = Duration::from_secs(3);

/// A tool inside a jail, by its full path: nobody's `PATH` is asked.
fn inside(container: ContainerId, program: &str, args: &[&str]) -> Call {
    let id = container.to_string();
    let words = [id.as_str(), program].into_iter().chain(args.iter().copied());
    Call::new(Tool::Jexec, words).within(INNER_DEADLINE)
}

fn ifconfig(tools: &dyn Tools, container: ContainerId, args: &[&str]) -> Result<(), NetError> {
    tools.run(&inside(container, "/sbin/ifconfig", args))?;
    Ok(())
}

/// Brings the loopback of a stack up; it gets `::1` by itself then.
pub(super) fn raise_loopback(tools: &dyn Tools, container: ContainerId) -> Result<(), NetError> {
    ifconfig(tools, container, &["lo0", "inet", "127.0.0.1/8", "up"])
}

pub(super) fn add_address(
    tools: &dyn Tools,
    container: ContainerId,
    link: &LinkName,
    addr: IpNet,
) -> Result<(), NetError> {
    let text = addr.to_string();
    match Family::of(addr.addr()) {
        Family::V4 => ifconfig(tools, container, &[link.as_str(), "inet", &text, "alias"]),
        // Else it is a second until it can be used (FreeBSD 13.2).
        Family::V6 => ifconfig(tools, container, &[link.as_str(), "inet6", &text, "no_dad"]),
    }
}

pub(super) fn raise(
    tools: &dyn Tools,
    container: ContainerId,
    link: &LinkName,
) -> Result<(), NetError> {
    ifconfig(tools, container, &[link.as_str(), "up"])
}

/// Sets the default route: another one gives way. The routes of a jail know no
/// interface: the gateway is on the wire of one.
pub(super) fn default_route(
    tools: &dyn Tools,
    container: ContainerId,
    via: IpAddr,
) -> Result<(), NetError> {
    let family = match Family::of(via) {
        Family::V4 => "-inet",
        Family::V6 => "-inet6",
    };
    let via = via.to_string();
    let route = |verb| inside(container, "/sbin/route", &["-n", verb, family, "default", &via]);
    match tools.run(&route("add")) {
        Ok(_) => Ok(()),
        // It says why on its standard output (FreeBSD 13.2).
        Err(ToolError::Refused { answer, .. })
            if answer.stdout.contains("route already in table") =>
        {
            tools.run(&route("change"))?;
            Ok(())
        }
        Err(err) => Err(err.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_lists_are_read() {
        let printed = r#"{"__version": "2", "jail-information": {"jail": [{"jid":5,"hostname":"","path":"/jr","name":"eeeeeeeeeeee","state":"ACTIVE","cpusetid":3, "ipv4_addrs": ["10.2.3.1","10.2.3.5"], "ipv6_addrs": []}]}}"#;
        let v4 = ["10.2.3.1", "10.2.3.5"].map(|addr| addr.parse().expect("an address"));
        let used = Inside::Use { family: Family::V4, addresses: v4.to_vec() };
        assert_eq!(lists(printed).expect("reads"), BTreeSet::from([used]));
        let none = r#"{"__version": "2", "jail-information": {"jail": []}}"#;
        for bad in ["", none, &printed.replace("10.2.3.5", "x")] {
            assert!(lists(bad).is_err(), "{bad}");
        }
    }
}
