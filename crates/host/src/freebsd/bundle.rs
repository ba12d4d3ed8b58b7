//! What a container needs before its jail is made: its root, with what differs between
//! containers, and all that is mounted in it.
//!
//! Below a container's directory (mode 0700: what containers write, setuid programs too,
//! is out of reach of the host's users):
//!
//! | name | what |
//! |---|---|
//! | `rootfs` | of `host-usr`: the root, a copy of its skeleton |
//! | `given` | the files of `/etc` as they were last given, see `bundle_seed` |
//!
//! The root of a container of another image is in the store ([`super::store`]).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use kleene_engine::host::chain;
use kleene_model::{ContainerId, Driver};

use super::bundle_seed::seed;
use super::devfs::{self, DevfsError, Ruleset};
use super::image::HostUsr;
use super::jail::{self, Jail, JailError, Parameters};
use super::mounts::{self, Bind, FileSystem, Mount, MountsError};
use super::run::Tools;
use super::storage::{self, StorageError};

/// What a container's root is made of.
#[derive(Clone, Copy, Debug)]
pub enum Image<'a> {
    /// The host's base system.
    HostUsr(&'a HostUsr),
    /// A root that was made with the container, where it is.
    Stored(&'a Path),
}

/// What a bundle is made from.
#[derive(Clone, Copy, Debug)]
pub struct BundleRequest<'a> {
    /// The container's id.
    pub id: ContainerId,
    /// The container's name, for its `/etc/hosts`.
    pub name: Option<&'a str>,
    /// The host name inside; the id where there is none.
    pub hostname: Option<&'a str>,
    /// The container's own addresses, for its `/etc/hosts`; may be empty.
    pub addresses: &'a [IpAddr],
    /// The network driver.
    pub driver: Driver,
    /// The container's jail parameters.
    pub parameters: &'a Parameters,
    /// Our ruleset of device files.
    pub ruleset: Ruleset,
    /// The container's directory; made when missing.
    pub dir: &'a Path,
    /// The image.
    pub image: Image<'a>,
    /// Mounts that the user asked for, in this order.
    pub binds: &'a [Bind],
}

/// A root that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The root.
    pub root: PathBuf,
    /// What makes the jail.
    pub jail: Jail,
}

/// Why a container's root could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A directory or file of the container.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Something that is mounted.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// The ruleset of its device files.
    #[error(transparent)]
    Devfs(#[from] DevfsError),
    /// Its jail cannot be described.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// It failed, and what was mounted until then did not go.
    #[error("what was mounted before stays ({})", chain(left.as_ref()))]
    Left {
        /// What failed first.
        #[source]
        why: Box<MountsError>,
        /// What stays.
        left: Box<MountsError>,
    },
}

/// Where the root of a container of `host-usr` is, in the container's directory.
#[must_use]
pub fn root(dir: &Path) -> PathBuf {
    dir.join("rootfs")
}

/// Makes a stopped container's root, or completes it, and mounts what belongs in it;
/// what the container wrote before stays. To be called at every start, never while the
/// container runs. What was mounted goes with [`mounts::clear`], before the container's
/// directory is removed.
///
/// # Errors
/// A mount that cannot be made, by name; what the kernel or a tool says. Nothing is left
/// mounted then, or that is said.
pub fn write(tools: &dyn Tools, request: &BundleRequest<'_>) -> Result<Bundle, BundleError> {
    let given = request.dir.join("given");
    for dir in [request.dir, &given] {
        storage::ensure_directory(dir, 0o700)?;
    }
    let (root, mut mounts) = make_root(request)?;
    let ruleset = request.parameters.ruleset().map_or(request.ruleset, Ruleset::Given);
    let jail = jail::describe(&jail::Request {
        id: request.id,
        root: &root,
        hostname: request.hostname,
        driver: request.driver,
        ruleset,
        parameters: request.parameters,
    })?;
    // A directory of the host that is still mounted would be written to.
    mounts::clear(tools, &root)?;
    seed(request, &root, &given)?;
    if request.parameters.devices() {
        let what = FileSystem::Devfs { ruleset };
        mounts.push(Mount { what, destination: PathBuf::from("/dev") });
    } else {
        // The jail may mount them itself, where its user lets it.
        devfs::verify(tools, ruleset)?;
    }
    if let Err(why) = mounts::prepare(tools, &root, &mounts, request.binds) {
        return Err(match mounts::clear(tools, &root) {
            Ok(()) => why.into(),
            Err(left) => BundleError::Left { why: Box::new(why), left: Box::new(left) },
        });
    }
    Ok(Bundle { root, jail })
}

/// The container's root, and what of its image is mounted in it.
fn make_root(request: &BundleRequest<'_>) -> Result<(PathBuf, Vec<Mount>), StorageError> {
    match request.image {
        Image::HostUsr(image) => {
            let root = root(request.dir);
            if !root.is_dir() {
                storage::copy_tree(image.lower(), &root)?;
            }
            Ok((root, image.mounts().to_vec()))
        }
        Image::Stored(root) => Ok((root.to_owned(), Vec::new())),
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
