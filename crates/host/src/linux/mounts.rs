//! Mounts that users ask for: a directory or file of the host at a path in
//! the container (`nullfs` in the API).
//!
//! Where a mount goes is decided before anything runs, in a view of the
//! container's root that is composed in a mount namespace of its own: the
//! destination is resolved there as the container would (`RESOLVE_IN_ROOT`:
//! no link leads out), made when missing, and handed to the runtime as a path
//! without links. The runtime resolves it once more in the same way; in
//! between no process of the container runs.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, readlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_bind_recursive, mount_remount};
use rustix::thread::UnshareFlags;

use super::bundle::{BundleError, Places, Storage};
use super::in_root::open_in_root;
use super::overlay;
use super::sys::fs::in_own_namespaces;
pub use crate::binds::{Bind, MountError, SourceKind};
use crate::binds::{check_reserved, kind_of};

/// Looks at the sources again and makes the destinations in the composed
/// root. Gives the mounts with destinations that are free of links.
pub(crate) fn prepare(
    id: &str,
    binds: &[Bind],
    places: &Places,
    storage: Storage,
) -> Result<Vec<Bind>, BundleError> {
    if binds.is_empty() {
        return Ok(Vec::new());
    }
    let sources: Result<Vec<Bind>, MountError> = binds
        .iter()
        .map(|bind| Ok(Bind { kind: kind_of(&bind.source)?, ..bind.clone() }))
        .collect();
    let sources = sources?;
    let made = in_own_namespaces(UnshareFlags::NEWNS, || {
        let top = match compose(places, storage) {
            Ok(top) => top,
            Err(source) if storage == Storage::Overlay && overlay::is_unsupported(&source) => {
                return Ok(Err(BundleError::NoOverlay { id: id.to_owned(), source }));
            }
            Err(source) => return Err(source),
        };
        let root = open(top, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut placed = Vec::new();
        for bind in sources {
            match place(root.as_fd(), top, bind) {
                Ok(bind) => {
                    // The next one may lie in it.
                    mount(top, &bind)?;
                    placed.push(bind);
                }
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Ok(Ok(placed))
    });
    made.map_err(|source| BundleError::Compose { id: id.to_owned(), source })?
}

/// Mounts the root as the container will have it.
fn compose(places: &Places, storage: Storage) -> io::Result<&Path> {
    match storage {
        Storage::Overlay => {
            places.root.mount(&places.merged)?;
            let usr = places.merged.join("usr");
            places.usr.mount(&usr)?;
            Ok(&places.merged)
        }
        Storage::Copy => {
            let usr = places.copy.join("usr");
            mount_bind("/usr", &usr)?;
            mount_remount(&usr, MountFlags::BIND | MountFlags::RDONLY, "")?;
            Ok(&places.copy)
        }
    }
}

/// Makes one mount in the composed root.
fn mount(top: &Path, bind: &Bind) -> io::Result<()> {
    let target = top.join(bind.destination.strip_prefix("/").unwrap_or(&bind.destination));
    mount_bind_recursive(&bind.source, &target)?;
    if bind.read_only {
        mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, "")?;
    }
    Ok(())
}

fn place(root: BorrowedFd<'_>, top: &Path, bind: Bind) -> Result<Bind, MountError> {
    let fail = |why: String| MountError::Destination { destination: bind.destination.clone(), why };
    let fd = make_destination(root, &bind.destination, bind.kind)
        .map_err(|errno| fail(errno.to_string()))?;
    let stat = fstat(&fd).map_err(|errno| fail(errno.to_string()))?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    match (bind.kind, directory) {
        (SourceKind::Directory, true) | (SourceKind::File, false) => {}
        (SourceKind::Directory, false) => return Err(fail("is no directory".to_owned())),
        (SourceKind::File, true) => return Err(fail("is a directory".to_owned())),
    }
    let destination = inside(&fd, top).map_err(|errno| fail(errno.to_string()))?;
    check_reserved(&destination)?;
    Ok(Bind { destination, ..bind })
}

/// The path of an open file as the container sees it.
fn inside(fd: &OwnedFd, top: &Path) -> Result<PathBuf, Errno> {
    let link = readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    let path = PathBuf::from(link.into_string().map_err(|_| Errno::ILSEQ)?);
    // The container's directory may itself be reached through a link.
    let top = top.canonicalize().map_err(|_| Errno::NOENT)?;
    let below = path.strip_prefix(top).map_err(|_| Errno::XDEV)?;
    Ok(Path::new("/").join(below))
}

/// Opens the destination, links resolved inside the root, and makes what is
/// missing. A link that leads nowhere is an error: what it names is not ours
/// to make.
fn make_destination(
    root: BorrowedFd<'_>,
    destination: &Path,
    kind: SourceKind,
) -> Result<OwnedFd, Errno> {
    let mut reached = PathBuf::from("/");
    let mut at = look_up(root, &reached)?;
    let names: Vec<_> = destination.iter().skip(1).collect();
    for (index, name) in names.iter().enumerate() {
        reached.push(name);
        at = match look_up(root, &reached) {
            Err(Errno::NOENT) => {
                let last = index + 1 == names.len();
                make(&at, name.as_ref(), if last { kind } else { SourceKind::Directory })?
            }
            found => found?,
        };
    }
    Ok(at)
}

fn look_up(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    open_in_root(root, path, OFlags::PATH, ResolveFlags::NO_MAGICLINKS)
}

fn make(parent: &OwnedFd, name: &Path, kind: SourceKind) -> Result<OwnedFd, Errno> {
    match kind {
        SourceKind::Directory => {
            mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::empty())
        }
        SourceKind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o644))
        }
    }
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
