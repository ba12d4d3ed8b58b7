//! What is mounted in a container's root, and how it goes again.
//!
//! There are no mount namespaces: what is mounted for a container stands in the
//! host's table, and what `jail` mounts stays there after `jail -r` (FreeBSD 13.2).
//! So everything is mounted here, and found again by reading the kernel's own list:
//! what stands below the container's root is the container's, whoever mounted it.
//!
//! Where a mount goes is looked up as the container itself would, see
//! [`super::within`], and is handed to `mount` as a path without links. A directory
//! is mounted by `nullfs`; a file is copied, since a nullfs of a file over a file
//! stops the kernel (FreeBSD 13.2, two tries of two).
//!
//! What is told to tools: [`VECTORS`]. All of it is recorded from FreeBSD 13.2.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, RawMode, Uid};

use super::devfs::{self, DevfsError, Ruleset};
use super::mount_table::{self, Mounted};
use super::run::{Call, Tool, ToolError, Tools};
use super::within::{Place, Rights, Root};
pub use crate::binds::{Bind, MountError, SourceKind};
use crate::binds::{check_reserved, kind_of};

/// The forms of all that is told to tools here; `{…}` is a place for a text.
pub const VECTORS: &[&str] = &[
    "mount -p",
    "mount_nullfs -o ro {source} {target}",
    "mount_nullfs {source} {target}",
    "mount -t devfs -o ruleset={number} devfs {target}",
    "mount -t tmpfs -o size={bytes},mode={mode} tmpfs {target}",
    "umount {target}",
];

/// The largest file that is copied into a container, in bytes.
const LARGEST_FILE: u64 = 16 << 20;

/// A file system for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A directory of the host.
    Nullfs {
        /// The directory.
        source: PathBuf,
        /// Whether nobody may write through it.
        read_only: bool,
    },
    /// Device files.
    Devfs {
        /// Which of them.
        ruleset: Ruleset,
    },
    /// Memory.
    Tmpfs {
        /// Its size, in bytes.
        size: u64,
        /// The permission bits of its root.
        mode: u32,
    },
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nullfs { source, .. } => write!(f, "{}", source.display()),
            Self::Devfs { .. } => f.write_str("the device files"),
            Self::Tmpfs { .. } => f.write_str("a file system in memory"),
        }
    }
}

/// A file system, and where it goes in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What.
    pub what: FileSystem,
    /// An absolute path in the container.
    pub destination: PathBuf,
}

/// Why something could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// What the user asked for cannot be mounted.
    #[error(transparent)]
    Bind(#[from] MountError),
    /// `mount -p` could not tell such a path from two.
    #[error("cannot mount at {}: a path with blanks or control characters cannot be found again", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The container's root cannot be opened.
    #[error("cannot open the container's root {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// FreeBSD cannot show one file at two places.
    #[error(
        "the file {} cannot be mounted for writing on FreeBSD: mount its directory, or mount it \
         read-only (it is copied at each start)",
        path.display()
    )]
    WritableFile {
        /// The file.
        path: PathBuf,
    },
    /// A file that is to be copied could not be.
    #[error("cannot copy {} into the container", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ruleset of the device files is not what it should be.
    #[error(transparent)]
    Devfs(#[from] DevfsError),
    /// `mount` refused.
    #[error("cannot mount {what} at {}", target.display())]
    Mount {
        /// What was to be mounted.
        what: Box<FileSystem>,
        /// Where, on the host.
        target: PathBuf,
        /// What it said.
        #[source]
        source: ToolError,
    },
    /// The kernel's mounts could not be listed.
    #[error("cannot list what is mounted below {}", root.display())]
    List {
        /// The container's root.
        root: PathBuf,
        /// What the tool said.
        #[source]
        source: ToolError,
    },
    /// `umount` refused.
    #[error("cannot unmount {}", target.display())]
    Unmount {
        /// Where, on the host.
        target: PathBuf,
        /// What it said.
        #[source]
        source: ToolError,
    },
    /// A path does not lead to what is mounted there.
    #[error(
        "cannot unmount {}: several file systems are mounted there, and a link is on the way",
        target.display()
    )]
    Moved {
        /// The path.
        target: PathBuf,
    },
    /// It is still there.
    #[error("{} is still mounted after it was unmounted", target.display())]
    Stays {
        /// Where, on the host.
        target: PathBuf,
    },
}

/// Mounts what a container has, in this order: file systems of the engine, then
/// what its user asked for. [`clear`] comes before, so that nothing is mounted twice,
/// and after a failure.
///
/// To be called only while nothing of the container runs.
///
/// # Errors
/// The first mount that could not be made, by name.
pub fn prepare(
    tools: &dyn Tools,
    root: &Path,
    mounts: &[Mount],
    binds: &[Bind],
) -> Result<(), MountsError> {
    let top = canonical(root)?;
    let inside = Root::open(&top)
        .map_err(|errno| MountsError::Root { path: root.to_owned(), source: errno.into() })?;
    for mount in mounts {
        let place = place(&inside, &mount.destination, SourceKind::Directory)?;
        make(tools, &top, &place, &mount.what)?;
    }
    for bind in binds {
        let kind = kind_of(&bind.source)?;
        let place = place(&inside, &bind.destination, kind)?;
        check_reserved(&place.path)?;
        match kind {
            SourceKind::File => copy(bind, &place)?,
            SourceKind::Directory => {
                let Bind { source, read_only, .. } = bind.clone();
                make(tools, &top, &place, &FileSystem::Nullfs { source, read_only })?;
            }
        }
    }
    Ok(())
}

/// Unmounts all that is mounted below a container's root, the deepest first. What
/// is piled up at one place goes one by one. A root that is not there has nothing.
///
/// # Errors
/// The first mount that stays, by name, with what `umount` said; all others were
/// tried.
pub fn clear(tools: &dyn Tools, root: &Path) -> Result<(), MountsError> {
    let Some(top) = existing(root)? else { return Ok(()) };
    let targets = mount_table::below(&listed(tools, &top)?, &top);
    if targets.is_empty() {
        return Ok(());
    }
    let mut first = Ok(());
    for target in &targets {
        let several = targets.iter().filter(|other| *other == target).count() > 1;
        if let Err(err) = unmount(tools, &top, target, several) {
            first = first.and(Err(err));
        }
    }
    first?;
    match mount_table::below(&listed(tools, &top)?, &top).into_iter().next() {
        Some(target) => Err(MountsError::Stays { target }),
        None => Ok(()),
    }
}

/// `umount` finds a path in the kernel's list first, and unmounts what stands there
/// by its number: then links on the way do not matter. Where several stand there it
/// follows the path, and a container may have moved the directory and put a link in
/// its place that leads to a mount of the host (umount(8), FreeBSD 13).
fn unmount(tools: &dyn Tools, top: &Path, target: &Path, several: bool) -> Result<(), MountsError> {
    let below = target.strip_prefix(top).unwrap_or(target);
    if several && !Root::open(top).is_ok_and(|root| root.is_straight(below)) {
        return Err(MountsError::Moved { target: target.to_owned() });
    }
    match tools.run(&Call::new(Tool::Umount, [text(target)?])) {
        Ok(_) => Ok(()),
        // Somebody else was quicker.
        Err(err) if err.says("not a file system root directory") => Ok(()),
        Err(source) => Err(MountsError::Unmount { target: target.to_owned(), source }),
    }
}

fn listed(tools: &dyn Tools, root: &Path) -> Result<Vec<Mounted>, MountsError> {
    // It complains of a missing /etc/fstab, and lists all the same.
    let answer = tools
        .run(&Call::new(Tool::Mount, ["-p"]))
        .map_err(|source| MountsError::List { root: root.to_owned(), source })?;
    Ok(mount_table::parse(answer.stdout.as_bytes()))
}

/// The root as the kernel's list has it.
fn canonical(root: &Path) -> Result<PathBuf, MountsError> {
    root.canonicalize().map_err(|source| MountsError::Root { path: root.to_owned(), source })
}

fn existing(root: &Path) -> Result<Option<PathBuf>, MountsError> {
    match canonical(root) {
        Ok(top) => Ok(Some(top)),
        Err(MountsError::Root { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(err) => Err(err),
    }
}

fn place(root: &Root, destination: &Path, kind: SourceKind) -> Result<Place, MountsError> {
    root.place(destination, kind).map_err(|errno| {
        let why = io::Error::from(errno).to_string();
        MountError::Destination { destination: destination.to_owned(), why }.into()
    })
}

fn make(
    tools: &dyn Tools,
    top: &Path,
    place: &Place,
    what: &FileSystem,
) -> Result<(), MountsError> {
    let target = top.join(place.path.strip_prefix("/").unwrap_or(&place.path));
    let to = text(&target)?;
    let call = match what {
        FileSystem::Nullfs { source, read_only } => {
            let from = source.to_str().filter(|from| from.starts_with('/'));
            let from = from.ok_or_else(|| MountsError::Path { path: source.clone() })?;
            let options: &[&str] = if *read_only { &["-o", "ro"] } else { &[] };
            Call::new(Tool::MountNullfs, options.iter().copied().chain([from, to]))
        }
        FileSystem::Devfs { ruleset } => {
            devfs::verify(tools, *ruleset)?;
            let option = format!("ruleset={ruleset}");
            Call::new(Tool::Mount, ["-t", "devfs", "-o", &option, "devfs", to])
        }
        FileSystem::Tmpfs { size, mode } => {
            let option = format!("size={size},mode={mode:o}");
            Call::new(Tool::Mount, ["-t", "tmpfs", "-o", &option, "tmpfs", to])
        }
    };
    let what = || Box::new(what.clone());
    tools.run(&call).map(drop).map_err(|source| MountsError::Mount { what: what(), target, source })
}

/// A path that `mount -p` shows as one word.
fn text(path: &Path) -> Result<&str, MountsError> {
    let plain = |text: &&str| !text.chars().any(|c| c.is_whitespace() || c.is_control());
    path.to_str().filter(plain).ok_or_else(|| MountsError::Path { path: path.to_owned() })
}

fn copy(bind: &Bind, place: &Place) -> Result<(), MountsError> {
    if !bind.read_only {
        return Err(MountsError::WritableFile { path: bind.source.clone() });
    }
    let copy = || -> io::Result<()> {
        let file = std::fs::File::open(&bind.source)?;
        let meta = file.metadata()?;
        let limit = LARGEST_FILE >> 20;
        let other = || io::Error::other(format!("it is no file of up to {limit} MiB"));
        if !meta.is_file() || meta.len() > LARGEST_FILE {
            return Err(other());
        }
        // The file that was looked at, and not more of it, whatever the name is now.
        let mut content = Vec::new();
        file.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST_FILE {
            return Err(other());
        }
        Ok(place.put(&content, rights(&meta))?)
    };
    copy().map_err(|source| MountsError::Copy { path: bind.source.clone(), source })
}

/// The rights of a file, without what lets it run as somebody else.
fn rights(meta: &std::fs::Metadata) -> Rights {
    use std::os::unix::fs::MetadataExt as _;
    let bits = RawMode::try_from(meta.mode() & 0o777).unwrap_or(0o600);
    let owner = Some((Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())));
    Rights { mode: Mode::from_raw_mode(bits), owner }
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
