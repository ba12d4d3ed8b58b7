//! Variables of the kernel that are changed while networks need it.

use kleene_model::{Borrowed, Driver, Family, NetworkType};

use super::error::{NetError, unreadable};
use crate::freebsd::run::{Call, Tool, Tools};

/// What lets a host pass packets of a family on.
fn forwarding(family: Family) -> &'static str {
    match family {
        Family::V4 => "net.inet.ip.forwarding",
        Family::V6 => "net.inet6.ip6.forwarding",
    }
}

/// What lets pf see what passes a bridge: on the interface of each member, those for
/// the host itself included, and not a second time on the bridge. The policy is
/// written for this (FreeBSD 13.2).
const BRIDGES: [(&str, &str); 3] = [
    ("net.link.bridge.pfil_member", "1"),
    ("net.link.bridge.pfil_local_phys", "1"),
    ("net.link.bridge.pfil_bridge", "0"),
];

/// What keeps the default route that routers advertise while a host passes packets on
/// (FreeBSD 13.2: else the next advertisement takes it away).
const ROUTERS: &str = "net.inet6.ip6.rfc6204w3";

/// What a network of a type needs for containers of a driver. Addresses of `ipnet` are
/// the host's own: nothing is passed on to them.
pub(super) fn to_carry(
    tools: &dyn Tools,
    driver: Driver,
    kind: NetworkType,
    family: Family,
) -> Result<Vec<Borrowed>, NetError> {
    let mut wanted = Vec::new();
    match driver {
        Driver::Vnet => {
            // A kernel without it has no such habit.
            if family == Family::V6 && read(tools, ROUTERS).is_ok() {
                wanted.push((ROUTERS, "1", false));
            }
            wanted.push((forwarding(family), "1", false));
        }
        Driver::Ipnet | Driver::Host | Driver::Disabled => {}
    }
    match kind {
        NetworkType::Bridge => {
            wanted.extend(BRIDGES.map(|(setting, value)| (setting, value, true)));
        }
        NetworkType::Loopback | NetworkType::Custom => {}
    }
    let mut borrowed = Vec::new();
    for (setting, value, either) in wanted {
        let before = read(tools, setting)?;
        if before != value {
            borrowed.push(Borrowed {
                setting: setting.to_owned(),
                family,
                shared: true,
                way: true,
                either,
                before,
                wanted: value.to_owned(),
            });
        }
    }
    Ok(borrowed)
}

/// The value of a variable.
pub(super) fn read(tools: &dyn Tools, setting: &str) -> Result<String, NetError> {
    let printed = tools.run(&Call::new(Tool::Sysctl, ["-n", setting]))?.stdout;
    match printed.lines().collect::<Vec<_>>().as_slice() {
        [value] if !value.is_empty() => Ok((*value).to_owned()),
        _ => Err(unreadable("sysctl", printed.trim())),
    }
}

/// Sets a variable.
pub(super) fn write(tools: &dyn Tools, setting: &str, value: &str) -> Result<(), NetError> {
    tools.run(&Call::new(Tool::Sysctl, [format!("{setting}={value}")]))?;
    Ok(())
}
