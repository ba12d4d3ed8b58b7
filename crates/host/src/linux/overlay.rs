//! Overlay mounts.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use rustix::thread::UnshareFlags;

use super::storage::{self, StorageError};
use super::sys::fs::in_own_namespaces;

/// The directories of an overlay: one layer that is only read, one that is
/// written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Read-only.
    pub lower: PathBuf,
    /// What is written, and what was.
    pub upper: PathBuf,
    /// Scratch directory of the kernel, on the file system of `upper`.
    pub work: PathBuf,
}

/// Why there can be no overlay.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The directories for the attempt could not be made.
    #[error("cannot prepare an overlay")]
    Prepare(#[source] StorageError),
    /// The kernel refused, or the result was not an overlay.
    #[error("cannot mount an overlay below {}", path.display())]
    Mount {
        /// Below which directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Layers {
    /// Mounts the overlay at `target`, in the mount namespace of the calling
    /// thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn mount(&self, target: &Path) -> io::Result<()> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "source", "overlay")?;
        fsconfig_set_string(&fs, "lowerdir", &self.lower)?;
        fsconfig_set_string(&fs, "upperdir", &self.upper)?;
        fsconfig_set_string(&fs, "workdir", &self.work)?;
        fsconfig_create(&fs)?;
        let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        Ok(move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}

/// Whether a refused mount means that the kernel makes no overlay there: it has
/// none, may not, or cannot on these file systems. The supervisor judges its
/// own mount alike, but for `NOSYS`: it uses the older call.
pub(crate) fn is_unsupported(refusal: &io::Error) -> bool {
    let errno = Errno::from_io_error(refusal);
    errno.is_some_and(|errno| {
        [Errno::NODEV, Errno::INVAL, Errno::NOTSUP, Errno::PERM, Errno::LOOP, Errno::NOSYS]
            .contains(&errno)
    })
}

/// Whether the kernel makes an overlay with its writable layer below `dir`:
/// by making one, in a mount namespace that is gone at once. `dir` is as
/// before afterwards.
///
/// # Errors
/// Why not.
pub fn overlay_works(dir: &Path) -> Result<(), OverlayError> {
    let probe = storage::unique_directory(dir, ".overlay-probe").map_err(OverlayError::Prepare)?;
    let result = try_overlay(&probe);
    let removed = storage::remove_tree(&probe).map_err(OverlayError::Prepare);
    result.map_err(|source| OverlayError::Mount { path: dir.to_owned(), source })?;
    removed
}

fn try_overlay(probe: &Path) -> io::Result<()> {
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| probe.join(name));
    for dir in [&lower, &upper, &work, &merged] {
        std::fs::create_dir(dir)?;
    }
    std::fs::write(lower.join("below"), "")?;
    in_own_namespaces(UnshareFlags::NEWNS, || {
        Layers { lower, upper, work }.mount(&merged)?;
        std::fs::write(merged.join("above"), "")?;
        std::fs::metadata(merged.join("below")).map(drop)
    })?;
    std::fs::metadata(probe.join("upper/above")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::testing::is_root;

    #[test]
    fn an_overlay_is_made_and_leaves_nothing() {
        if !is_root("an_overlay_is_made_and_leaves_nothing") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        overlay_works(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }

    #[test]
    fn a_file_system_that_cannot_hold_a_layer_is_told() {
        if !is_root("a_file_system_that_cannot_hold_a_layer_is_told") {
            return;
        }
        // /proc takes no directories: the attempt cannot even be prepared.
        assert!(matches!(overlay_works(Path::new("/proc")), Err(OverlayError::Prepare(_))));
    }
}
