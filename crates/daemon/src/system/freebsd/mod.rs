//! FreeBSD: jails, and the base system's own tools.
//!
//! What the system has nothing for is [`Error::Never`], by name.

mod boot;
mod clear;
mod files;
mod firewall;
mod follow;
mod images;
mod inspect;
mod killing;
mod limits;
mod programs;
mod purge;
mod root;
mod stacks;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use kleene_engine::change::Owned;
use kleene_engine::host::{Promise, chain};
use kleene_host::freebsd::net::{self, FreeBsdHost};
use kleene_host::freebsd::pf::{Leave, counters};
use kleene_host::freebsd::run::System;
use kleene_model::api::ImageCreateConfig;
use kleene_model::{Container, ContainerId, ImageId, InstanceName, LinkName, NetworkId};
use kleene_supervise::proto::Setup;

use crate::config::Config;
use crate::core::Core;

use super::types::Fate;
use super::{Counted, Error, ImageMade};

pub(crate) use files::{check_mount, forget_skeletons};
pub(crate) use firewall::{Firewalls, explained};
pub(crate) use follow::Monitor;
pub(crate) use inspect::inspect;
pub(crate) use killing::kill_listener;
pub(crate) use limits::Descriptors;
pub(crate) use programs::Programs;
pub(crate) use stacks::Stacks;

/// Directories below the daemon's root, besides its own, in which something stands
/// for each container that runs: none, jails leave nothing there.
pub(crate) const RUN_STATE: &[&str] = &[];

/// Carries changes out, and observes.
pub(crate) type Host = FreeBsdHost;

/// The host as the engine knows it.
///
/// What pf's administrator has not done yet is said.
///
/// # Errors
/// When pf does not answer.
pub(crate) fn host(instance: &InstanceName, _: &Stacks) -> Result<Host, Error> {
    let leave = Leave::read(&System).map_err(|err| chain(&err))?;
    for promise in [Promise::Apart(None), Promise::Translate, Promise::Publish] {
        if let Some(what) = leave.hindrance(&promise) {
            tracing::warn!(what, "pf's administrator has to do something first");
        }
    }
    let host = FreeBsdHost::new(instance.clone(), Arc::new(System));
    match host.other_instances().map_err(|err| chain(&err))?.first() {
        None => Ok(host),
        Some(other) => Err(Error::Failed(format!(
            "the daemon '{other}' has networks on this host, and pf has one anchor for all: \
             purge those first"
        ))),
    }
}

/// Deletes links that are out of use; gives those that are gone.
///
/// # Errors
/// When a tool refuses, and nothing is gone.
pub(crate) fn sweep(links: &[Owned]) -> Result<Vec<LinkName>, Error> {
    Ok(net::sweep(&System, links).map_err(|err| chain(&err))?)
}

/// An id that the host draws at each boot.
///
/// # Errors
/// When the host does not tell.
pub(crate) fn boot_id() -> Result<String, Error> {
    boot::boot_id(&System)
}

/// Kills all processes of a container, but not its supervisor.
///
/// # Errors
/// When they cannot be killed.
pub(crate) fn kill(_: &Config, id: ContainerId) -> Result<(), Error> {
    killing::kill(&System, id)
}

/// Removes what a container has only while it runs, but its run directory.
pub(crate) fn clear(config: &Config, _: &Programs, id: ContainerId) {
    clear::clear(&System, config, id);
}

/// Makes the container's directories and its root, and gives what its supervisor has
/// to know.
///
/// # Errors
/// What failed, in one line.
pub(crate) fn lay_out(
    config: &Config,
    _: &Programs,
    container: &Container,
    addresses: &[IpAddr],
) -> Result<Setup, Error> {
    Ok(files::lay_out(&System, config, container, addresses)?)
}

/// The same when the supervisor says that the host mounts no overlay, which it is
/// never asked for.
///
/// # Errors
/// [`Error::Never`].
pub(crate) fn lay_out_without_overlay(
    _: &Config,
    _: &Programs,
    _: &Container,
    _: &[IpAddr],
) -> Result<Setup, Error> {
    Err(Error::Never("overlays"))
}

/// Puts a directory out of sight, into the trash.
///
/// # Errors
/// When something stays mounted below it, or it cannot be moved.
pub(crate) fn remove_later(path: &Path, trash: &Path) -> Result<(), Error> {
    Ok(files::remove_later(&System, path, trash)?)
}

/// Deletes what is in the trash.
///
/// # Errors
/// When something of it cannot be deleted.
pub(crate) fn empty_trash(config: &Config) -> Result<(), Error> {
    files::empty_trash(&System, config)
}

/// Makes an image.
///
/// # Errors
/// What the request lacks, or a tool says. Nothing of the image stays then.
pub(crate) fn create_image(
    config: &Config,
    id: ImageId,
    request: &ImageCreateConfig,
    say: &dyn Fn(&str),
) -> Result<ImageMade, Error> {
    Ok(images::create_image(&System, config, id, request, say)?)
}

/// Takes an image's files out of the way.
///
/// # Errors
/// While something stands on it; what a tool says.
pub(crate) fn discard_image(config: &Config, id: ImageId) -> Result<(), Error> {
    Ok(images::discard_image(&System, config, id)?)
}

/// The images whose files are there, whole or not.
///
/// # Errors
/// What the kernel or a tool says.
pub(crate) fn images(config: &Config) -> Result<BTreeSet<ImageId>, Error> {
    Ok(images::images(&System, config)?)
}

/// Takes the root of a container out of the way, where it is not in the container's
/// directory.
///
/// # Errors
/// When something stays mounted in it; what a tool says.
pub(crate) fn discard_root(config: &Config, id: ContainerId) -> Result<(), Error> {
    Ok(images::discard_root(&System, config, id)?)
}

/// Takes roots of containers out of the way that are not known.
///
/// # Errors
/// When they cannot be listed, or the first that stays.
pub(crate) fn forget_roots(config: &Config, known: &BTreeSet<ContainerId>) -> Result<(), Error> {
    Ok(images::forget_roots(&System, config, known)?)
}

/// Has packets that the policy blocks told of.
///
/// # Errors
/// [`Error::Never`].
pub(crate) fn hear_drops(_: Core) -> Result<(), Error> {
    Err(Error::Never("pf's log is not read"))
}

/// Removes everything in the kernel that carries this daemon's mark. With `dry_run`
/// it only says what it would.
///
/// # Errors
/// When a tool refuses.
pub(crate) fn purge(
    config: &Config,
    dry_run: bool,
    say: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    purge::purge(Arc::new(System), config, dry_run, say)
}

/// Whether the root is where the configuration says.
///
/// # Errors
/// When its dataset is not there, or is mounted elsewhere.
pub(crate) fn check_root(config: &Config) -> Result<(), Error> {
    root::check(&System, config)
}

/// Makes what the root's directories stand on: its dataset, where it is one. With
/// `dry_run` it only says what it would.
///
/// # Errors
/// When the dataset cannot be made, or is there and mounted elsewhere.
pub(crate) fn prepare_root(
    config: &Config,
    dry_run: bool,
    say: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    root::prepare(&System, config, dry_run, say)
}

/// The way to what the rules of the policy have counted.
#[derive(Clone, Default)]
pub(crate) struct Reader(());

impl Reader {
    /// Reads the counters of one network, or of all and of the host. It blocks.
    ///
    /// # Errors
    /// When pf does not answer.
    pub(crate) fn read(
        &self,
        _: &InstanceName,
        network: Option<NetworkId>,
    ) -> Result<Vec<Counted>, Error> {
        let counters = counters::counters(&System, network).map_err(|err| chain(&err))?;
        Ok(counters.into_iter().map(counted).collect())
    }
}

fn counted(counted: counters::Counted) -> Counted {
    let counters::Counted { network, rule, fate, packets, bytes } = counted;
    let fate = match fate {
        counters::Fate::Passed => Fate::Passed,
        counters::Fate::Refused => Fate::Refused,
        counters::Fate::Dropped => Fate::Dropped,
    };
    Counted { network, rule: rule.to_owned(), fate, packets, bytes }
}
