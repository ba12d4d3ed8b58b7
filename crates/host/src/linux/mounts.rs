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
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat, openat2, readlink,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_bind_recursive, mount_remount};
use rustix::thread::UnshareFlags;

use super::bundle::{BundleError, Places, Storage};
use super::overlay;
use super::sys::fs::in_own_namespaces;

/// Where the engine's own file systems are: a mount there would take away
/// what confines the container.
const RESERVED: [&str; 4] = ["/dev", "/proc", "/run/.kleene", "/sys"];

/// Why there cannot be such a mount; source texts are those of Kleene 0.1.1.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A volume by name.
    #[error("named volumes are not supported yet: '{name}' (use an absolute path of the host)")]
    NamedVolume {
        /// Its name.
        name: String,
    },
    /// A device, a socket, a fifo.
    #[error("could not determine source type, must be either directory or regular file")]
    SourceType,
    /// The source could not be looked at; missing, mostly.
    #[error("error ocurred while determining source type: :{}", errno_name(*errno))]
    Source {
        /// What the kernel said.
        errno: Errno,
    },
    /// No place in a container can be called so.
    #[error("the mount destination '{destination}' is no absolute path without '..'")]
    BadDestination {
        /// The destination.
        destination: String,
    },
    /// The place belongs to the engine, or is the root itself.
    #[error("nothing can be mounted at '{}' in a container", destination.display())]
    Reserved {
        /// The destination, links resolved.
        destination: PathBuf,
    },
    /// The destination could not be made, or is of the other kind.
    #[error("could not create destination file: {}: {why}", destination.display())]
    Destination {
        /// The destination.
        destination: PathBuf,
        /// The reason.
        why: String,
    },
}

/// Whether a mount is of a directory or of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// A mount that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// What, on the host.
    pub source: PathBuf,
    /// Where, in the container.
    pub destination: PathBuf,
    /// Whether the container may not write.
    pub read_only: bool,
    /// What the source was when it was looked at.
    pub kind: SourceKind,
}

impl Bind {
    /// Looks at the source and at the form of the destination.
    ///
    /// # Errors
    /// As [`MountError`] lists them.
    pub fn new(source: &str, destination: &str, read_only: bool) -> Result<Self, MountError> {
        if !source.starts_with('/') {
            return Err(MountError::NamedVolume { name: source.to_owned() });
        }
        let destination = parse_destination(destination)?;
        check_reserved(&destination)?;
        let source = PathBuf::from(source);
        let kind = kind_of(&source)?;
        Ok(Self { source, destination, read_only, kind })
    }
}

fn kind_of(source: &Path) -> Result<SourceKind, MountError> {
    let stat = rustix::fs::stat(source).map_err(|errno| MountError::Source { errno })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(SourceKind::Directory),
        FileType::RegularFile => Ok(SourceKind::File),
        _ => Err(MountError::SourceType),
    }
}

/// The names that Kleene 0.1.1 puts into its texts.
fn errno_name(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "enoent".to_owned(),
        Errno::ACCESS => "eacces".to_owned(),
        Errno::PERM => "eperm".to_owned(),
        Errno::NOTDIR => "enotdir".to_owned(),
        Errno::LOOP => "eloop".to_owned(),
        Errno::NAMETOOLONG => "enametoolong".to_owned(),
        Errno::INVAL => "einval".to_owned(),
        Errno::IO => "eio".to_owned(),
        other => format!("errno {}", other.raw_os_error()),
    }
}

fn parse_destination(text: &str) -> Result<PathBuf, MountError> {
    let bad = || MountError::BadDestination { destination: text.to_owned() };
    if !text.starts_with('/') || text.contains('\0') {
        return Err(bad());
    }
    // Rebuilt, so that `/a//b/.` and `/a/b` are one.
    Path::new(text)
        .components()
        .map(|component| match component {
            Component::RootDir | Component::Normal(_) => Ok(component),
            Component::Prefix(_) | Component::CurDir | Component::ParentDir => Err(bad()),
        })
        .collect()
}

fn check_reserved(destination: &Path) -> Result<(), MountError> {
    let below = RESERVED.iter().any(|reserved| destination.starts_with(reserved));
    // A mount over `/run` would hide the holder.
    let above = RESERVED.iter().any(|reserved| Path::new(reserved).starts_with(destination));
    if below || above {
        return Err(MountError::Reserved { destination: destination.to_owned() });
    }
    Ok(())
}

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
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
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
