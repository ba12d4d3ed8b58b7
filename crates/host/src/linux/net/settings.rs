//! What netlink cannot set: files below `/proc/sys/net`, which show the
//! network namespace of the thread that opens them.

use std::fs::OpenOptions;
use std::io::{self, Write};

use kleene_model::LinkName;

use super::error::NetError;

/// A bridge: no router may configure the host through it, and its own
/// link-local address, without which IPv6 is not forwarded to its ports,
/// serves at once.
pub(super) fn bridge(link: &LinkName) -> Result<(), NetError> {
    set(link, "accept_ra", "0")?;
    set(link, "accept_dad", "0")
}

/// The host's end of a cable: a port, on which the host itself speaks no IPv6,
/// not even when somebody takes it out of its bridge.
pub(super) fn host_end(link: &LinkName) -> Result<(), NetError> {
    set(link, "disable_ipv6", "1")
}

/// The container's end of a cable: another container on the bridge is no
/// router, and the addresses are Kleene's, so nobody else has them.
pub(super) fn inner_end(link: &LinkName) -> Result<(), NetError> {
    set(link, "accept_ra", "0")?;
    set(link, "accept_dad", "0")
}

/// Whether this kernel speaks IPv6 at all.
pub(super) fn ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

fn set(link: &LinkName, key: &str, value: &str) -> Result<(), NetError> {
    let path = format!("/proc/sys/net/ipv6/conf/{link}/{key}");
    let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
        // One call: the kernel takes no value in pieces.
        file.write_all(value.as_bytes())
    });
    match written {
        Ok(()) => Ok(()),
        // Without IPv6 there is nothing to keep away.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !ipv6() => Ok(()),
        Err(source) => Err(NetError::Setting { path, source }),
    }
}
