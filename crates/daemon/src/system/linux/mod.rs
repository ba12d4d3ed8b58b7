//! Linux: namespaces and views, cgroups and bundles, and what the kernel tells of
//! its network.

mod clear;
mod counters;
mod drops;
mod files;
mod firewall;
mod follow;
mod images;
mod inspect;
mod killing;
mod layout;
mod limits;
mod programs;
mod purge;
mod stacks;
mod views;

use std::path::Path;

use kleene_engine::change::Owned;
use kleene_engine::host::chain;
use kleene_host::linux::cgroup::CgroupName;
use kleene_host::linux::net::{self, LinuxHost};
use kleene_model::{ContainerId, InstanceName, LinkName};

use crate::config::Config;

use super::Error;

pub(crate) use clear::clear;
pub(crate) use counters::Reader;
pub(crate) use drops::hear_drops;
pub(crate) use files::{empty_trash, forget_skeletons, remove_later};
pub(crate) use firewall::{Firewalls, explained};
pub(crate) use follow::Monitor;
pub(crate) use images::{create_image, discard_image, discard_root, forget_roots, images};
pub(crate) use inspect::inspect;
pub(crate) use killing::{kill, kill_listener};
pub(crate) use layout::{check_mount, lay_out, lay_out_without_overlay};
pub(crate) use limits::Descriptors;
pub(crate) use programs::Programs;
pub(crate) use purge::purge;
pub(crate) use stacks::Stacks;

/// Carries changes out, and observes.
pub(crate) type Host = LinuxHost;

/// Where the OCI runtime keeps its state, below the daemon's root.
const RUNTIME_ROOT: &str = "runtime";

/// Directories below the daemon's root, besides its own, in which something stands
/// for each container that runs, called by its id.
pub(crate) const RUN_STATE: &[&str] = &[RUNTIME_ROOT];

/// The host as the engine knows it.
///
/// # Errors
/// When the kernel gives no socket.
pub(crate) fn host(instance: &InstanceName, stacks: &Stacks) -> Result<Host, Error> {
    Ok(LinuxHost::new(instance.clone(), stacks.namespaces()).map_err(|err| chain(&err))?)
}

/// Deletes links that are out of use, as long as it is worth while; gives those that
/// are gone.
///
/// # Errors
/// When the kernel does not answer, or refuses, and nothing is gone.
pub(crate) fn sweep(links: &[Owned]) -> Result<Vec<LinkName>, Error> {
    Ok(net::sweep(links).map_err(|err| chain(&err))?)
}

/// An id that the host draws at each boot.
///
/// # Errors
/// When the host does not tell.
pub(crate) fn boot_id() -> Result<String, Error> {
    // proc(5), "random".
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = std::fs::read_to_string(path)
        .map_err(|err| format!("cannot read {}: {err}", path.display()))?;
    Ok(id.trim().to_owned())
}

/// Whether the root is where the configuration says: a directory is, or is made.
///
/// # Errors
/// None.
pub(crate) fn check_root(_: &Config) -> Result<(), Error> {
    Ok(())
}

/// Makes what the root's directories stand on: any file system will do.
///
/// # Errors
/// None.
pub(crate) fn prepare_root(
    _: &Config,
    _dry_run: bool,
    _say: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    Ok(())
}

/// The cgroup of this daemon's containers, below the hierarchy's root.
fn parent_cgroup(config: &Config) -> String {
    format!("kleene-{}", config.instance)
}

/// The cgroup of a container.
fn cgroup(config: &Config, id: ContainerId) -> Result<CgroupName, String> {
    CgroupName::new(&parent_cgroup(config), &id.to_string()).map_err(|err| chain(&err))
}
