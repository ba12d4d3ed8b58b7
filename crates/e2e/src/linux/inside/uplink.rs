//! The network of a world: an uplink to an outside that knows nothing of
//! what is behind it, as a router of a provider does.

use super::tool;
use crate::linux::error::{Result, WorldError};
use crate::linux::world::{FAR4, FAR6, OUTSIDE4, OUTSIDE6, WORLD4, WORLD6};
use crate::wait::poll;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

/// Joins the network namespace of the caller with that of `holder`.
pub(super) fn make(holder: u32) -> Result<()> {
    // What a fresh host has, whatever the real one is set to: the settings
    // for IPv4 are inherited from it.
    for (key, value) in [
        ("ipv4/ip_forward", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
    ] {
        let path = Path::new("/proc/sys/net").join(key);
        std::fs::write(&path, value).map_err(WorldError::file("set", &path))?;
    }
    let ours = format!(
        "link set lo up\n\
         link add eth0 type veth peer name uplink0 netns {holder}\n\
         addr add {WORLD4}/24 dev eth0\n\
         addr add {WORLD6}/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via {OUTSIDE4}\n\
         route add default via {OUTSIDE6}\n"
    );
    let theirs = format!(
        "link set lo up\n\
         addr add {OUTSIDE4}/24 dev uplink0\n\
         addr add {OUTSIDE6}/64 dev uplink0 nodad\n\
         addr add {FAR4}/32 dev lo\n\
         addr add {FAR6}/128 dev lo nodad\n\
         link set uplink0 up\n"
    );
    tool(&["ip", "-batch", "-"], &ours)?;
    let holder = holder.to_string();
    tool(&["nsenter", "-t", &holder, "-n", "ip", "-batch", "-"], &theirs)?;
    settle()
}

/// The kernel adds the route of an IPv6 address to itself some time after the
/// address; a world is ready when it is what it will be.
fn settle() -> Result<()> {
    let path = Path::new("/proc/thread-self/net/ipv6_route");
    let address: Ipv6Addr =
        WORLD6.parse().map_err(|_| WorldError::Other(format!("no address: {WORLD6}")))?;
    let route = format!("{:032x} 80 ", u128::from(address));
    let there = poll(LIMIT, || {
        let routes = std::fs::read_to_string(path).unwrap_or_default();
        routes.lines().any(|line| line.starts_with(&route)).then_some(())
    });
    there.ok_or_else(|| WorldError::Other(format!("{WORLD6} is not there after {LIMIT:?}")))
}
