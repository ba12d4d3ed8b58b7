//! What netlink cannot set: files below `/proc/sys/net`, which show the
//! network namespace of the thread that opens them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use kleene_model::{Borrowed, Family, LinkName, NetworkType};

use super::error::NetError;

/// A bridge: no router may configure the host through it, and its own
/// link-local address, without which IPv6 is not forwarded to its ports,
/// serves at once. What the host sends from 127.0.0.1 to a published port finds
/// its way there; the packet filter drops what comes from there to 127.0.0.1.
pub(super) fn bridge(link: &LinkName) -> Result<(), NetError> {
    set(Family::V6, link, "accept_ra", "0")?;
    set(Family::V6, link, "accept_dad", "0")?;
    set(Family::V4, link, "route_localnet", "1")?;
    for family in Family::BOTH {
        for (key, value) in open_to_containers(family) {
            set(family, link, key, value)?;
        }
    }
    Ok(())
}

/// An interface that leads nowhere shows no address that nobody gave it.
pub(super) fn loopback(link: &LinkName) -> Result<(), NetError> {
    set(Family::V6, link, "accept_ra", "0")?;
    set(Family::V6, link, "accept_dad", "0")?;
    set(Family::V6, link, "addr_gen_mode", "1")
}

/// What an interface needs on whose wire containers' addresses are asked for,
/// so that packets to them go on into their cables.
fn open_to_containers(family: Family) -> &'static [(&'static str, &'static str)] {
    match family {
        // The kernel would wait up to 0.8 s before it answers for somebody else.
        Family::V4 => &[("forwarding", "1"), ("proxy_delay", "0")],
        Family::V6 if !per_interface() => &[],
        Family::V6 => &[("forwarding", "1"), (FORCE, "1"), ("proxy_ndp", "1")],
    }
}

/// Lets IPv6 packets that come in by one interface go on, without turning the
/// whole host into a router. Since Linux 6.17.
const FORCE: &str = "force_forwarding";

fn per_interface() -> bool {
    ipv6() && Path::new("/proc/sys/net/ipv6/conf/default").join(FORCE).exists()
}

/// The host's end of a cable into a view: what comes out of it goes on, and
/// answers to it find their way back.
pub(super) fn routed_end(link: &LinkName) -> Result<(), NetError> {
    set(Family::V4, link, "forwarding", "1")?;
    // Loose: 0 everywhere would drop it as martian, as its source is one of the
    // host's addresses.
    set(Family::V4, link, "rp_filter", "2")?;
    set(Family::V4, link, "route_localnet", "1")?;
    set(Family::V6, link, "accept_ra", "0")?;
    set(Family::V6, link, "addr_gen_mode", "1")?;
    if per_interface() {
        set(Family::V6, link, FORCE, "1")?;
    }
    Ok(())
}

/// What has to change of what is not ours before containers' addresses can
/// stand on the interface of a network.
pub(super) fn to_borrow(
    link: &LinkName,
    kind: NetworkType,
    family: Family,
) -> Result<Vec<Borrowed>, NetError> {
    let mut borrowed = Vec::new();
    let mut need = |setting: String, wanted: &str, shared: bool| -> Result<(), NetError> {
        let before = read(&setting)?;
        if before != wanted {
            let wanted = wanted.to_owned();
            borrowed.push(Borrowed {
                setting,
                family,
                shared,
                way: false,
                either: false,
                before,
                wanted,
            });
        }
        Ok(())
    };
    if kind == NetworkType::Loopback {
        return Ok(borrowed);
    }
    if family == Family::V6 {
        if !per_interface() {
            return Err(NetError::NoForceForwarding);
        }
        // The host itself asks for neighbours with the source of the packet that
        // it forwards. Answers to that are the host's, not the container's:
        // only this setting, and only the host's as a whole, says so.
        need(format!("{ROOT}ipv6/conf/all/proxy_ndp"), "1", true)?;
    }
    if kind == NetworkType::Custom {
        // A router does not listen to other routers, unless it is told to: the
        // host would lose its default route.
        let setting = path(family, link, "accept_ra");
        if family == Family::V6 && read(&setting)? == "1" {
            need(setting, "2", false)?;
        }
        for (key, wanted) in open_to_containers(family) {
            need(path(family, link, key), wanted, false)?;
        }
    }
    Ok(borrowed)
}

/// What has to change of an interface by which traffic of containers leaves the
/// host or comes to it. One that is gone needs nothing.
pub(super) fn to_pass(link: &LinkName, family: Family) -> Result<Vec<Borrowed>, NetError> {
    let mut borrowed = Vec::new();
    let mut need = |key: &str, wanted: &str, only: Option<&str>| -> Result<(), NetError> {
        let setting = path(family, link, key);
        let before = match std::fs::read_to_string(&setting) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(NetError::Setting { path: setting, source }),
        };
        if before != wanted && only.is_none_or(|only| before == only) {
            let (shared, way, wanted) = (true, true, wanted.to_owned());
            borrowed.push(Borrowed { setting, family, shared, way, either: false, before, wanted });
        }
        Ok(())
    };
    match family {
        Family::V4 => need("forwarding", "1", None)?,
        Family::V6 if !per_interface() => {}
        Family::V6 => {
            // As a router it would not listen to other routers any more.
            need("accept_ra", "2", Some("1"))?;
            need("forwarding", "1", None)?;
            need(FORCE, "1", None)?;
        }
    }
    Ok(borrowed)
}

/// The value of a setting of the host, where it can be read.
pub(super) fn value(setting: &str) -> Option<String> {
    is_known(setting).then(|| read(setting).ok()).flatten()
}

/// Whether it is a setting of the network at all: names come back from the
/// store.
fn is_known(setting: &str) -> bool {
    setting.starts_with(ROOT) && !setting.contains("..")
}

/// Gives a setting of the network a value. One of an interface that is gone has
/// gone with it.
pub(in crate::linux) fn write(setting: &str, value: &str) -> Result<(), NetError> {
    if !is_known(setting) {
        return Err(NetError::Malformed("a setting outside /proc/sys/net"));
    }
    match put(setting, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written.map_err(|source| NetError::Setting { path: setting.to_owned(), source }),
    }
}

fn put(path: &str, value: &str) -> io::Result<()> {
    // One call: the kernel takes no value in pieces.
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn read(path: &str) -> Result<String, NetError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| NetError::Setting { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// The host's end of a cable: a port, on which the host itself speaks no IPv6,
/// not even when somebody takes it out of its bridge.
pub(super) fn host_end(link: &LinkName) -> Result<(), NetError> {
    set(Family::V6, link, "disable_ipv6", "1")
}

/// The container's end of a cable: another container on the bridge is no
/// router, and the addresses are Kleene's, so nobody else has them.
pub(super) fn inner_end(link: &LinkName) -> Result<(), NetError> {
    set(Family::V6, link, "accept_ra", "0")?;
    set(Family::V6, link, "accept_dad", "0")?;
    // The address may have been another container's a moment ago, and others
    // still know that one's MAC address.
    set(Family::V4, link, "arp_notify", "1")?;
    set(Family::V6, link, "ndisc_notify", "1")
}

/// Whether this kernel speaks IPv6 at all.
pub(super) fn ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

const ROOT: &str = "/proc/sys/net/";

fn path(family: Family, link: &LinkName, key: &str) -> String {
    let tree = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    // ARP's own settings are among those of neighbours.
    let branch = if key == "proxy_delay" { "neigh" } else { "conf" };
    format!("{ROOT}{tree}/{branch}/{link}/{key}")
}

fn set(family: Family, link: &LinkName, key: &str, value: &str) -> Result<(), NetError> {
    let path = path(family, link, key);
    match put(&path, value) {
        Ok(()) => Ok(()),
        // Without IPv6 there is nothing to keep away.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && family == Family::V6 && !ipv6() =>
        {
            Ok(())
        }
        Err(source) => Err(NetError::Setting { path, source }),
    }
}
