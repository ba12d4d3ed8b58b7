//! What a container stands on: namespaces, root file system, cgroup.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use kleene_supervise::proto::{NetworkNamespace, RootFs, SetupFailure};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::sys;

/// Where the network namespace is bound, in the run directory.
pub(crate) const NETNS: &str = "netns";

/// Why they cannot stand.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub(crate) struct SpaceError {
    pub(crate) kind: SetupFailure,
    pub(crate) step: String,
    #[source]
    pub(crate) source: io::Error,
}

/// What is asked for is of another system.
pub(crate) fn no_jails() -> SpaceError {
    during("make a jail")(io::Error::new(io::ErrorKind::Unsupported, "this system has none"))
}

/// Puts the name of a step to its error.
fn during<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> SpaceError {
    let step = step.into();
    |source| SpaceError { kind: SetupFailure::Other, step, source: source.into() }
}

/// Enters a mount namespace of our own. Mounts that the host makes still
/// arrive; ours stay here, and go when the last process here does.
pub(crate) fn enter_mount_namespace() -> Result<(), SpaceError> {
    sys::unshare(UnshareFlags::NEWNS).map_err(during("make a mount namespace"))?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(during("keep mounts private"))
}

/// Mounts the root file system, where it is one that is mounted.
pub(crate) fn mount_root(rootfs: &RootFs) -> Result<(), SpaceError> {
    match rootfs {
        RootFs::Dir { path } => fs::metadata(path)
            .map(drop)
            .map_err(during(format!("find the root directory {}", path.display()))),
        RootFs::Overlay { lower, upper, work, merged } => mount_overlay(lower, upper, work, merged),
    }
}

/// By descriptors: the options of a mount are limited to a page, and paths
/// may hold the characters that separate them.
fn mount_overlay(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    merged: &Path,
) -> Result<(), SpaceError> {
    let mut held = Vec::new();
    let mut by_descriptor = |path: &Path| -> Result<String, SpaceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(during(format!("open the layer {}", path.display())))?;
        let text = format!("/proc/self/fd/{}", fd.as_raw_fd());
        held.push(fd);
        Ok(text)
    };
    let lower: Result<Vec<String>, _> = lower.iter().map(|path| by_descriptor(path)).collect();
    let lower = lower?.join(":");
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={}",
        by_descriptor(upper)?,
        by_descriptor(work)?
    );
    let step = format!("mount the overlay {}", merged.display());
    let options = CString::new(options).map_err(during(step.clone()))?;
    let source = c"overlay";
    mount(source, merged, source, MountFlags::empty(), options.as_c_str()).map_err(|error| {
        let kind = match error {
            Errno::NODEV | Errno::INVAL | Errno::NOTSUP | Errno::PERM | Errno::LOOP => {
                SetupFailure::OverlayUnsupported
            }
            _ => SetupFailure::Other,
        };
        SpaceError { kind, step, source: error.into() }
    })
}

/// Makes the network namespace and binds it where the bundle names it; this
/// process stays in the host's.
pub(crate) fn make_netns(
    kind: NetworkNamespace,
    dir: &Path,
) -> Result<Option<OwnedFd>, SpaceError> {
    if kind == NetworkNamespace::Host {
        return Ok(None);
    }
    const OWN: &str = "/proc/thread-self/ns/net";
    let open = |step: &'static str| {
        rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(during(step))
    };
    let target = dir.join(NETNS);
    File::create(&target).map_err(during(format!("make {}", target.display())))?;
    let host = open("open the host's network namespace")?;
    sys::unshare(UnshareFlags::NEWNET).map_err(during("make a network namespace"))?;
    let made = open("open the network namespace").and_then(|fd| {
        mount_bind(OWN, &target).map_err(during(format!("bind {}", target.display())))?;
        Ok(fd)
    });
    move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(during("return to the host's network namespace"))?;
    made.map(Some)
}

/// Makes the container's cgroup directory, when it has one.
pub(crate) fn make_cgroup(path: Option<&Path>) -> Result<(), SpaceError> {
    path.map_or(Ok(()), |path| {
        fs::create_dir_all(path).map_err(during(format!("make the cgroup {}", path.display())))
    })
}

/// Removes the container's cgroup directory with what may be left in it;
/// whether it is gone.
pub(crate) fn remove_cgroup(path: Option<&Path>) -> bool {
    let Some(path) = path else { return true };
    match fs::remove_dir(path) {
        Ok(()) => return true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        Err(_) => {}
    }
    let _ = fs::write(path.join("cgroup.kill"), "1");
    // Directories that the container made in it, deepest first.
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_cgroup(Some(&entry.path()));
            }
        }
    }
    fs::remove_dir(path).is_ok()
}

/// The processes whose parent we have become.
pub(crate) fn children() -> Vec<rustix::process::Pid> {
    let text = fs::read("/proc/thread-self/children").unwrap_or_default();
    std::str::from_utf8(&text)
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?))
        .collect()
}
