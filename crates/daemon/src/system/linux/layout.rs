//! A container's directories and its bundle.

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use kleene_engine::host::chain;
use kleene_host::linux::bundle::{self, BundleError, BundleRequest, RootFs, Storage};
use kleene_host::linux::cgroup::Tree;
use kleene_host::linux::image::HostUsr;
use kleene_host::linux::mounts::Bind;
use kleene_model::api::MountPointConfig;
use kleene_model::{Container, Driver, Jail};
use kleene_supervise::proto::{self, LogLimits, NetworkNamespace, Setup};

use crate::config::Config;
use crate::system::Error;

use super::{Programs, RUNTIME_ROOT, cgroup};

/// Looks at the source of a mount; it is looked at again at every start.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_mount(mount: &MountPointConfig) -> Result<(), Error> {
    let MountPointConfig { source, destination, read_only, .. } = mount;
    Bind::new(source, destination, *read_only).map_err(|err| chain(&err))?;
    Ok(())
}

/// Makes the container's directories and bundle, and gives what its supervisor has
/// to know. The image is copied where it shows already now that the host mounts no
/// overlay; where it does not, the supervisor notices.
///
/// # Errors
/// What failed, in one line; files may be left.
pub(crate) fn lay_out(
    config: &Config,
    programs: &Programs,
    container: &Container,
    addresses: &[IpAddr],
) -> Result<Setup, Error> {
    Ok(overlay_or_copy(|storage| write(config, programs, container, addresses, storage))?)
}

/// The same when the supervisor has noticed that the host mounts no overlay.
///
/// # Errors
/// As [`lay_out`].
pub(crate) fn lay_out_without_overlay(
    config: &Config,
    programs: &Programs,
    container: &Container,
    addresses: &[IpAddr],
) -> Result<Setup, Error> {
    Ok(write(config, programs, container, addresses, Storage::Copy).map_err(String::from)?)
}

/// Why a container's files could not be laid out.
#[derive(Debug)]
enum NotLaidOut {
    /// This host mounts no overlay.
    NoOverlay(String),
    /// Anything else.
    Other(String),
}

impl From<String> for NotLaidOut {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<NotLaidOut> for String {
    fn from(why: NotLaidOut) -> Self {
        match why {
            NotLaidOut::NoOverlay(why) | NotLaidOut::Other(why) => why,
        }
    }
}

/// Lays out with overlays, or with a copy of the image where it shows already
/// now that the host mounts none. Where it does not, the supervisor notices.
fn overlay_or_copy<T>(lay_out: impl Fn(Storage) -> Result<T, NotLaidOut>) -> Result<T, String> {
    match lay_out(Storage::Overlay) {
        Err(NotLaidOut::NoOverlay(why)) => {
            tracing::warn!(why, "this host mounts no overlay: the image is copied");
            lay_out(Storage::Copy).map_err(String::from)
        }
        done => done.map_err(String::from),
    }
}

/// Writes them, with the image in one of the ways.
fn write(
    config: &Config,
    programs: &Programs,
    container: &Container,
    addresses: &[IpAddr],
    storage: Storage,
) -> Result<Setup, NotLaidOut> {
    let id = container.id.to_string();
    let dir = config.container_dir(container.id);
    let run_dir = config.run_dir(container.id);
    let log_dir = config.log_dir(container.id);
    for dir in [&run_dir, &log_dir] {
        make_dir(dir)?;
    }
    let image = HostUsr::ensure(&config.images_dir()).map_err(|err| chain(&err))?;
    let cgroup = cgroup(config, container.id)?;
    let tree = Tree::find().map_err(|err| chain(&err))?;
    let binds = container
        .mounts
        .iter()
        .map(|mount| Bind::new(&mount.source, &mount.destination, mount.read_only))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|err| chain(&err))?;
    let (driver, netns) = match container.driver {
        Driver::Vnet => (bundle::Driver::Vnet, NetworkNamespace::New),
        Driver::Host => (bundle::Driver::Host, NetworkNamespace::Host),
        Driver::Ipnet | Driver::Disabled => (bundle::Driver::View, NetworkNamespace::New),
    };
    let jail = Jail::parse(&container.jail_param).map_err(|refusal| refusal.to_string())?;
    let raw_sockets = jail.raw_sockets(container.driver);
    let bundle = bundle::write(&BundleRequest {
        id: &id,
        name: Some(container.name.as_str()),
        hostname: None,
        addresses,
        cgroup_mode: tree.mode(),
        driver,
        raw_sockets,
        netns: &run_dir.join("netns"),
        holder: &programs.holder,
        dir: &dir,
        image: &image,
        cgroup: &cgroup,
        binds: &binds,
        storage,
    })
    .map_err(|err| match err {
        BundleError::NoOverlay { .. } => NotLaidOut::NoOverlay(chain(&err)),
        other => NotLaidOut::Other(chain(&other)),
    })?;
    Ok(Setup {
        container: id,
        netns,
        rootfs: rootfs(bundle.rootfs),
        bundle: bundle.dir,
        runtime: programs.runtime.clone(),
        runtime_root: config.root.join(RUNTIME_ROOT),
        cgroup: tree.dir(&cgroup),
        log_dir,
        log: LogLimits::default(),
        jail: None,
    })
}

fn rootfs(made: RootFs) -> proto::RootFs {
    match made {
        RootFs::Overlay { lower, upper, work, merged } => {
            proto::RootFs::Overlay { lower, upper, work, merged }
        }
        RootFs::Dir { path } => proto::RootFs::Dir { path },
    }
}

fn make_dir(dir: &Path) -> Result<(), String> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|err| format!("cannot make {}: {err}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_where_overlays_are_not_mounted_and_for_no_other_reason() {
        let on = |overlay: fn() -> NotLaidOut| {
            overlay_or_copy(move |storage| match storage {
                Storage::Overlay => Err(overlay()),
                Storage::Copy => Ok(storage),
            })
        };
        assert_eq!(on(|| NotLaidOut::NoOverlay("none".to_owned())), Ok(Storage::Copy));
        assert_eq!(on(|| NotLaidOut::Other("full".to_owned())), Err("full".to_owned()));
        assert_eq!(overlay_or_copy(Ok), Ok(Storage::Overlay));
    }
}
