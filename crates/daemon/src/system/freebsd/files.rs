//! Files of containers and images, what is mounted in them, and their going.

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use kleene_engine::host::chain;
use kleene_host::freebsd::bundle::{self, BundleRequest, Image};
use kleene_host::freebsd::image::HostUsr;
use kleene_host::freebsd::jail::{Jail, Parameters};
use kleene_host::freebsd::mounts::{self, Bind};
use kleene_host::freebsd::run::Tools;
use kleene_host::freebsd::{devfs, storage};
use kleene_model::Container;
use kleene_model::api::MountPointConfig;
use kleene_supervise::proto::{JailSetup, LogLimits, NetworkNamespace, RootFs, Setup};

use crate::config::Config;
use crate::system::Error;

use super::images;

/// Looks at the source of a mount; it is looked at again at every start.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_mount(mount: &MountPointConfig) -> Result<(), Error> {
    let MountPointConfig { source, destination, read_only, .. } = mount;
    Bind::new(source, destination, *read_only).map_err(|err| chain(&err))?;
    Ok(())
}

/// Makes the container's directories and its root with all that is mounted there,
/// and gives what its supervisor has to know.
///
/// # Errors
/// What failed, in one line; files may be left, and nothing mounted.
pub(super) fn lay_out(
    tools: &dyn Tools,
    config: &Config,
    container: &Container,
    addresses: &[IpAddr],
) -> Result<Setup, String> {
    let say = |err: &(dyn std::error::Error + 'static)| chain(err);
    let log_dir = config.log_dir(container.id);
    for dir in [&config.run_dir(container.id), &log_dir] {
        make_dir(dir)?;
    }
    let (host_usr, root);
    let image = if container.image == kleene_model::Image::host_usr().id {
        host_usr = HostUsr::ensure(tools, &config.images_dir()).map_err(|err| say(&err))?;
        Image::HostUsr(&host_usr)
    } else {
        root = images::make_root(tools, config, container)?;
        Image::Stored(&root)
    };
    let binds = container
        .mounts
        .iter()
        .map(|mount| Bind::new(&mount.source, &mount.destination, mount.read_only))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|err| say(&err))?;
    let parameters = Parameters::parse(&container.jail_param).map_err(|err| err.to_string())?;
    let ruleset = devfs::ensure(tools).map_err(|err| say(&err))?;
    let bundle = bundle::write(
        tools,
        &BundleRequest {
            id: container.id,
            name: Some(container.name.as_str()),
            hostname: None,
            addresses,
            driver: container.driver,
            parameters: &parameters,
            ruleset,
            dir: &config.container_dir(container.id),
            image,
            binds: &binds,
        },
    )
    .map_err(|err| say(&err))?;
    let Jail { params, start, stop } = bundle.jail;
    Ok(Setup {
        container: container.id.to_string(),
        netns: NetworkNamespace::Host,
        rootfs: RootFs::Dir { path: bundle.root },
        // There is no OCI runtime.
        bundle: PathBuf::new(),
        runtime: PathBuf::new(),
        runtime_root: PathBuf::new(),
        cgroup: None,
        log_dir,
        log: LogLimits::default(),
        jail: Some(Box::new(JailSetup { params, start, stop })),
    })
}

fn make_dir(dir: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|err| format!("cannot make {}: {err}", dir.display()))
}

/// Puts a directory out of sight, into the trash. Nothing happens where there is
/// none. What is mounted below it goes first: it is not the container's.
///
/// # Errors
/// When something stays mounted, or it cannot be moved.
pub(super) fn remove_later(tools: &dyn Tools, path: &Path, trash: &Path) -> Result<(), String> {
    mounts::clear(tools, path).map_err(|err| chain(&err))?;
    storage::remove_tree_later(path, trash).map_err(|err| chain(&err))
}

/// Deletes what is in the trash. A mount in it would stop that.
///
/// # Errors
/// When something of it cannot be deleted.
pub(super) fn empty_trash(tools: &dyn Tools, config: &Config) -> Result<(), Error> {
    storage::empty_trash(&config.trash_dir()).map_err(|err| chain(&err))?;
    images::empty_trash(tools, config)
}

/// Moves skeletons of the host as it was before into the trash. Before any job, since
/// one that is about to be used is in no bundle yet.
///
/// # Errors
/// When they cannot be found or moved.
pub(crate) fn forget_skeletons(config: &Config) -> Result<(), Error> {
    let (images, trash) = (config.images_dir(), config.trash_dir());
    let count = HostUsr::remove_older(&images, &trash).map_err(|err| chain(&err))?;
    if count > 0 {
        tracing::info!(count, "older skeletons of the image host-usr are removed");
    }
    Ok(())
}
