//! The bundle of a container: its directories and the OCI runtime's
//! `config.json`.
//!
//! Below a container's directory (mode 0700: what containers write, setuid
//! programs too, is out of reach of the host's users):
//!
//! | name | what |
//! |---|---|
//! | `upper`, `work` | the writable layer of `/` |
//! | `usr-upper`, `usr-work` | the writable layer of `/usr` |
//! | `merged` | where the supervisor mounts `/`, in its own mount namespace |
//! | `rootfs` | without overlay: the root itself, a copy |
//! | `bundle` | `config.json`; in `lower`, the path of the skeleton it stands on |
//! | `given` | the files of `/etc` as they were last given, see `bundle_seed` |

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::bundle_seed::seed;
use super::bundle_spec;
use super::cgroup::{CgroupName, Mode};
use super::image::HostUsr;
use super::mounts::{self, Bind, MountError};
use super::overlay::Layers;
use super::storage::{self, StorageError, during};

/// A path for the network entry of `config.json` when the real one is not
/// known yet: whoever launches replaces it.
pub const NETNS_PLACEHOLDER: &str = "/kleene-netns";

/// The holder, inside every container.
pub const HOLDER: &str = "/run/.kleene/holder";

/// The runtime's description, in the bundle.
const CONFIG: &str = "config.json";

/// The record of the skeleton, in the bundle.
const LOWER: &str = "lower";

/// What a container gets of the network, as far as its bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A network stack of its own.
    Vnet,
    /// A view of the host's interfaces, without the right to change it.
    View,
    /// The host's network stack, without the right to change it.
    Host,
}

/// How a container gets its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Overlays over the skeleton and over the host's `/usr`.
    Overlay,
    /// For hosts without overlay: the skeleton is copied, and the host's
    /// `/usr` is bound read-only, so that nothing can be installed there.
    /// A copied root stays with the skeleton it was made from, but for the
    /// files that are given at every start.
    Copy,
}

/// What a bundle is made from.
#[derive(Clone, Copy, Debug)]
pub struct BundleRequest<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The container's name, for its `/etc/hosts`.
    pub name: Option<&'a str>,
    /// The host name inside; the id where there is none.
    pub hostname: Option<&'a str>,
    /// The container's own addresses, for its `/etc/hosts`; may be empty.
    pub addresses: &'a [IpAddr],
    /// The network driver.
    pub driver: Driver,
    /// Whether raw and packet sockets may be used.
    pub raw_sockets: bool,
    /// Where the network namespace will be found; unused for
    /// [`Driver::Host`].
    pub netns: &'a Path,
    /// The program `kleene-holder`, on the host.
    pub holder: &'a Path,
    /// The container's directory; made when missing.
    pub dir: &'a Path,
    /// The image.
    pub image: &'a HostUsr,
    /// The container's cgroup.
    pub cgroup: &'a CgroupName,
    /// The host's cgroup versions.
    pub cgroup_mode: Mode,
    /// Mounts that the user asked for, in this order.
    pub binds: &'a [Bind],
    /// How the root is made.
    pub storage: Storage,
}

/// The root that the supervisor has to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootFs {
    /// An overlay.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// The kernel's scratch directory.
        work: PathBuf,
        /// Where to mount it.
        merged: PathBuf,
    },
    /// A directory, ready.
    Dir {
        /// The directory.
        path: PathBuf,
    },
}

/// A written bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The directory with `config.json`.
    pub dir: PathBuf,
    /// The root.
    pub rootfs: RootFs,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Overlay and mount options take such a path for several.
    #[error("cannot use {}: a container's directory may not contain ':', ',' or '\\'", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A directory or file of the container.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A mount that the user asked for.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The kernel makes no overlay there: [`Storage::Copy`] is left.
    #[error("this host mounts no overlay for container {id}")]
    NoOverlay {
        /// The container.
        id: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The container's root could not be looked at.
    #[error("cannot compose the root of container {id}")]
    Compose {
        /// The container.
        id: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `config.json` could not be made.
    #[error("cannot describe container {id} to the runtime")]
    Spec {
        /// The container.
        id: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The directories of one container.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) root: Layers,
    pub(crate) usr: Layers,
    pub(crate) merged: PathBuf,
    pub(crate) copy: PathBuf,
    pub(crate) bundle: PathBuf,
    pub(crate) given: PathBuf,
}

impl Places {
    fn of(dir: &Path, lower: &Path) -> Self {
        Self {
            root: Layers {
                lower: lower.to_owned(),
                upper: dir.join("upper"),
                work: dir.join("work"),
            },
            usr: Layers {
                lower: PathBuf::from("/usr"),
                upper: dir.join("usr-upper"),
                work: dir.join("usr-work"),
            },
            merged: dir.join("merged"),
            copy: dir.join("rootfs"),
            bundle: dir.join("bundle"),
            given: dir.join("given"),
        }
    }
}

/// Makes a stopped container's directories, or completes them, and writes its
/// `config.json`; what the container wrote before stays. To be called at every
/// start, never while the container runs.
///
/// # Errors
/// A mount's source that is gone, a destination that cannot be made, overlays
/// that this host does not mount (noticed here only where the root has to be
/// looked at, for mounts), or what the kernel says.
pub fn write(request: &BundleRequest<'_>) -> Result<Bundle, BundleError> {
    for path in [request.dir, request.image.lower()] {
        check_path(path)?;
    }
    let places = Places::of(request.dir, request.image.lower());
    for dir in [request.dir, &places.bundle, &places.given] {
        storage::ensure_directory(dir, 0o700)?;
    }
    let top = make_root(request, &places)?;
    seed(request, top, &places.given)?;
    let binds = mounts::prepare(request.id, request.binds, &places, request.storage)?;
    let config = bundle_spec::config(request, &places, &binds)
        .map_err(|source| BundleError::Spec { id: request.id.to_owned(), source })?;
    // First: a bundle without it would be one that may stand on any skeleton.
    let lower = request.image.lower().as_os_str().as_bytes();
    storage::write_atomically(&places.bundle.join(LOWER), lower, 0o600)?;
    storage::write_atomically(&places.bundle.join(CONFIG), &config, 0o600)?;
    let rootfs = match request.storage {
        Storage::Overlay => RootFs::Overlay {
            lower: vec![places.root.lower],
            upper: places.root.upper,
            work: places.root.work,
            merged: places.merged,
        },
        Storage::Copy => RootFs::Dir { path: places.copy },
    };
    Ok(Bundle { dir: places.bundle, rootfs })
}

/// The skeletons that containers stand on whose directories are in
/// `containers`, stopped ones too. `None` when one of them does not say.
///
/// # Errors
/// What the kernel says.
pub fn skeletons_in_use(containers: &Path) -> Result<Option<BTreeSet<PathBuf>>, StorageError> {
    let entries = match std::fs::read_dir(containers) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(BTreeSet::new())),
        entries => entries.map_err(during("list", containers))?,
    };
    let mut used = BTreeSet::new();
    for entry in entries {
        let bundle = entry.map_err(during("list", containers))?.path().join("bundle");
        let record = bundle.join(LOWER);
        match std::fs::read(&record) {
            // What a power loss leaves of a file.
            Ok(path) if path.is_empty() => return Ok(None),
            Ok(path) => drop(used.insert(PathBuf::from(OsString::from_vec(path)))),
            Err(e) if is_missing(&e) && !bundle.join(CONFIG).exists() => {}
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(during("read", &record)(e)),
        }
    }
    Ok(Some(used))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The directory that takes what is written to `/`.
fn make_root<'a>(
    request: &BundleRequest<'_>,
    places: &'a Places,
) -> Result<&'a Path, StorageError> {
    match request.storage {
        Storage::Overlay => {
            // The upper directory's mode is that of the mounted root.
            for dir in [&places.root.upper, &places.usr.upper, &places.merged] {
                storage::ensure_directory(dir, 0o755)?;
            }
            for dir in [&places.root.work, &places.usr.work] {
                storage::ensure_directory(dir, 0o700)?;
            }
            Ok(&places.root.upper)
        }
        Storage::Copy => {
            if !places.copy.is_dir() {
                storage::copy_tree(request.image.lower(), &places.copy)?;
            }
            Ok(&places.copy)
        }
    }
}

fn check_path(path: &Path) -> Result<(), BundleError> {
    let usable =
        path.is_absolute() && path.to_str().is_some_and(|text| !text.contains([':', ',', '\\']));
    if usable { Ok(()) } else { Err(BundleError::Path { path: path.to_owned() }) }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
