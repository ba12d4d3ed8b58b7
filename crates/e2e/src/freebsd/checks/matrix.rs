//! Type × driver × running or stopped: what joins what, and in which words it is
//! refused.

use std::net::IpAddr;

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::report::{Done, Ended, want};
use crate::freebsd::trial::{SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("matrix-host", "the driver host joins nothing, stopped or running", |trial| {
        cells(trial, "host")
    }),
    check(
        "matrix-ipnet",
        "the driver ipnet joins and leaves all types, stopped or running",
        |trial| cells(trial, "ipnet"),
    ),
    check("matrix-vnet", "the driver vnet joins and leaves bridges, stopped or running", |trial| {
        cells(trial, "vnet")
    }),
    check("matrix-disabled", "the driver disabled joins nothing, stopped or running", |trial| {
        cells(trial, "disabled")
    }),
    check("matrix-remove", "a running container is not removed, and its network is", remove),
];

const KINDS: [&str; 3] = ["loopback", "bridge", "custom"];

/// The last parts of the addresses: stopped, running.
const HOSTS: [u8; 2] = [70, 71];

fn subnets(kind: &str) -> [String; 2] {
    match kind {
        "loopback" => ["10.213.21.0/24".to_owned(), "fd00:213:21::/64".to_owned()],
        "bridge" => ["10.213.22.0/24".to_owned(), "fd00:213:22::/64".to_owned()],
        _ => ["198.51.100.0/24".to_owned(), "2001:db8:8::/64".to_owned()],
    }
}

fn addresses(kind: &str, host: u8) -> [String; 2] {
    subnets(kind).map(|subnet| {
        let beginning = subnet.rsplit_once('/').map(|(address, _)| address).unwrap_or_default();
        match beginning.strip_suffix(".0") {
            Some(beginning) => format!("{beginning}.{host}"),
            None => format!("{beginning}{host}"),
        }
    })
}

/// In which words a driver is refused by a type; `None` where it joins.
fn refusal(driver: &str, kind: &str) -> Option<String> {
    match (driver, kind) {
        ("host" | "disabled", _) => Some(format!(
            "containers with the '{driver}' network-driver cannot connect to networks."
        )),
        ("vnet", "loopback" | "custom") => Some(format!(
            "containers using the 'vnet' network-driver can't connect to {kind} networks"
        )),
        _ => None,
    }
}

fn cells(trial: &mut Trial, driver: &str) -> Done {
    for kind in KINDS {
        let [v4, v6] = subnets(kind);
        let unlisted = trial.unlisted().to_owned();
        let mut options = vec!["-t", kind, "--no-nat", "--subnet", &v4, "--subnet6", &v6];
        if kind == "custom" {
            options.extend(["-i", &unlisted]);
        }
        trial.network(kind, &options)?;
    }
    trial.stopped("still", &["-l", driver], &["/bin/sh", "-c", "exit 0"])?;
    let running = trial.idle("busy", &["-l", driver])?;
    for kind in KINDS {
        for (name, host) in ["still", "busy"].into_iter().zip(HOSTS) {
            let inside = (name == "busy").then_some(running.as_str());
            let at = |ended: Ended| ended.because(&format!("{driver} × {kind} × {name}"));
            cell(trial, (driver, kind, name), host, inside).map_err(at)?;
        }
    }
    Ok(())
}

/// Joins, joins again, and leaves; a refusal changes nothing.
fn cell(
    trial: &Trial,
    (driver, kind, name): (&str, &str, &str),
    host: u8,
    inside: Option<&str>,
) -> Done {
    let [v4, v6] = addresses(kind, host);
    let join = ["network", "connect", "--ip", &v4, "--ip6", &v6, kind, name];
    let leave = ["network", "disconnect", kind, name];
    let not_connected = "endpoint configuration not found";
    if let Some(words) = refusal(driver, kind) {
        trial.klee_refused(&join, &words)?;
        trial.klee_refused(&leave, not_connected)?;
        return stands(trial, (driver, &v4, &v6), inside, false);
    }
    trial.klee_done(&join)?;
    // Of a stopped container they are reserved, and nobody can use them.
    stands(trial, (driver, &v4, &v6), inside, inside.is_some())?;
    trial.klee_refused(&join, "container already connected to the network")?;
    trial.klee_done(&leave)?;
    stands(trial, (driver, &v4, &v6), inside, false)?;
    trial.klee_refused(&leave, not_connected)
}

/// Whether both addresses can be used: for `ipnet` on the host and in the container,
/// for `vnet` in the container alone.
fn stands(
    trial: &Trial,
    (driver, v4, v6): (&str, &str, &str),
    inside: Option<&str>,
    wanted: bool,
) -> Done {
    let own: Vec<IpAddr> = [v4, v6].iter().filter_map(|text| text.parse().ok()).collect();
    let count = |trial: &Trial, jail: Option<&str>| -> Done<usize> {
        let links = trial.links(jail)?.into_values();
        let all: Vec<IpAddr> = links.flat_map(|link| link.addresses).collect();
        Ok(own.iter().filter(|address| all.contains(address)).count())
    };
    let on_host = if wanted && driver == "ipnet" { 2 } else { 0 };
    let words = |count| format!("{count} of {own:?}");
    let found = count(trial, None)?;
    want(found == on_host, format!("{} on the host", words(on_host)), words(found))?;
    let Some(jail) = inside else { return Ok(()) };
    let in_it = if wanted { 2 } else { 0 };
    let found = count(trial, Some(jail))?;
    want(found == in_it, format!("{} in the container", words(in_it)), words(found))
}

fn remove(trial: &mut Trial) -> Done {
    let [v4, v6] = subnets("bridge");
    let options = ["-t", "bridge", "--no-nat", "--subnet", &v4, "--subnet6", &v6];
    let bridge = trial.network("t1", &options)?.unwrap_or_default();
    let [ip4, ip6] = addresses("bridge", 5);
    let vnet = ["-l", "vnet", "-n", "t1", "--ip", &ip4, "--ip6", &ip6];
    let id = trial.idle("busy", &vnet)?;
    trial.klee_refused(&["rmc", "busy"], "you cannot remove a running container")?;
    stands(trial, ("vnet", &ip4, &ip6), Some(&id), true)?;
    trial.klee_done(&["network", "rm", "t1"])?;
    stands(trial, ("vnet", &ip4, &ip6), Some(&id), false)?;
    let links = trial.links(None)?;
    want(!links.contains_key(&bridge), format!("{bridge} is gone"), "it is there")?;
    trial.klee_done(&["stop", "busy"])?;
    trial.klee_done(&["rmc", "busy"])?;
    trial.wait(SOON, "its jail is gone", || {
        let known = trial.tool(Tool::Jls, &["-j", &id])?;
        Ok(known.status != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_their_subnets() {
        assert_eq!(addresses("loopback", 70), ["10.213.21.70", "fd00:213:21::70"]);
        assert_eq!(addresses("custom", 71), ["198.51.100.71", "2001:db8:8::71"]);
    }

    #[test]
    fn a_driver_joins_what_the_model_says() {
        let joins = |driver| KINDS.map(|kind| refusal(driver, kind).is_none());
        assert_eq!(joins("host"), [false; 3]);
        assert_eq!(joins("ipnet"), [true; 3]);
        assert_eq!(joins("vnet"), [false, true, false]);
        assert_eq!(joins("disabled"), [false; 3]);
    }
}
