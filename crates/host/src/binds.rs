//! Mounts that users ask for, on every system: what of the host, and where in a
//! container.

use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

/// Where the engine's own file systems are: a mount there would take away
/// what confines the container.
const RESERVED: &[&str] = if cfg!(target_os = "freebsd") {
    &["/dev"]
} else {
    &["/dev", "/proc", "/run/.kleene", "/sys"]
};

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

/// What a source is now.
///
/// # Errors
/// [`MountError::Source`], [`MountError::SourceType`].
pub(crate) fn kind_of(source: &Path) -> Result<SourceKind, MountError> {
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

/// Whether a destination, links resolved, is none of the engine's places.
///
/// # Errors
/// [`MountError::Reserved`].
pub(crate) fn check_reserved(destination: &Path) -> Result<(), MountError> {
    let below = RESERVED.iter().any(|reserved| destination.starts_with(reserved));
    // A mount over `/run` would hide the holder.
    let above = RESERVED.iter().any(|reserved| Path::new(reserved).starts_with(destination));
    if below || above {
        return Err(MountError::Reserved { destination: destination.to_owned() });
    }
    Ok(())
}
