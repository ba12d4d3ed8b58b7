//! Directories and files of ours, on every system: made, copied, written at once
//! or not at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An operation on a file of ours that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct StorageError {
    /// The operation.
    pub what: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Names the operation and its subject in an error.
pub(crate) fn during<E: Into<io::Error>>(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> StorageError {
    move |source| StorageError { what, path: path.to_owned(), source: source.into() }
}

/// Numbers for names that must differ within this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that nobody else in this process gets.
pub(crate) fn unique_name(stem: &str) -> String {
    format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until the file is on the disk.
///
/// # Errors
/// What the kernel says.
pub(crate) fn sync(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(during("sync", path))
}

/// Makes the directory (and missing parents) with this mode; one that is
/// there stays as it is.
///
/// # Errors
/// What the kernel says.
pub(crate) fn ensure_directory(path: &Path, mode: u32) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(during("make the directory", path))
}

/// Makes a new directory with exactly this mode.
///
/// # Errors
/// What the kernel says; a path that exists is an error.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), StorageError> {
    std::fs::create_dir(path)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(during("make the directory", path))
}

/// Makes a new directory below `dir` whose name begins with `stem`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn unique_directory(dir: &Path, stem: &str) -> Result<PathBuf, StorageError> {
    loop {
        let path = dir.join(unique_name(stem));
        match DirBuilder::new().mode(0o700).create(&path) {
            // Left by a process of the same number before a crash.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path.clone()).map_err(during("make", &path)),
        }
    }
}

/// Makes a new file with this content and mode.
///
/// # Errors
/// What the kernel says; a path that exists is an error.
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), StorageError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        // The umask had its say at creation.
        file.set_permissions(Permissions::from_mode(mode))
    };
    write().map_err(during("write", path))
}

/// Puts a file in place of whatever is at `path`, by writing it beside and
/// renaming it: readers see the old or the new content, never a part. It is
/// not forced to the disk: that takes milliseconds, and what is written so is
/// written again at every start.
///
/// # Errors
/// What the kernel says; the old file is as it was then.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), StorageError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let beside = dir.join(unique_name(".new"));
    write_new(&beside, content, mode)
        .and_then(|()| std::fs::rename(&beside, path).map_err(during("put in place", path)))
        .inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// Removes all that is in the trash with `remove`, and gives the number of trees.
///
/// # Errors
/// The first tree that could not be removed, after all others were tried.
pub(crate) fn empty_trash(
    trash: &Path,
    remove: impl Fn(&Path) -> Result<(), StorageError>,
) -> Result<usize, StorageError> {
    let entries = match std::fs::read_dir(trash) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(during("list", trash))?,
    };
    let mut removed = 0;
    let mut first = Ok(());
    for entry in entries {
        let path = entry.map_err(during("list", trash))?.path();
        match remove(&path) {
            Ok(()) => removed += 1,
            Err(e) => first = first.and(Err(e)),
        }
    }
    first.map(|()| removed)
}

/// How the names begin of copies that are not whole yet.
pub(crate) const COPYING: &str = ".copy";

/// Copies directories, regular files and links with owners and modes, for
/// hosts without overlay: `to` must not exist and appears as a whole. What was
/// copied of one that fails is handed to `remove`. Files of several names stay so: a
/// base system has hundreds of them.
///
/// # Errors
/// What the kernel says; anything else in the tree (devices, sockets) is
/// refused.
pub(crate) fn copy_tree(
    from: &Path,
    to: &Path,
    remove: impl FnOnce(&Path) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let parent = to.parent().unwrap_or(Path::new("/"));
    let staging = unique_directory(parent, COPYING)?;
    let root = staging.join("tree");
    copy_entry(from, &root, &mut HashMap::new())
        .and_then(|()| std::fs::rename(&root, to).map_err(during("put in place", to)))
        .inspect_err(|_| drop(remove(&staging)))?;
    std::fs::remove_dir(&staging).map_err(during("remove", &staging))
}

/// `seen` has the copies of files of several names, by device and number.
fn copy_entry(
    from: &Path,
    to: &Path,
    seen: &mut HashMap<(u64, u64), PathBuf>,
) -> Result<(), StorageError> {
    let mut copy = || -> io::Result<bool> {
        let meta = std::fs::symlink_metadata(from)?;
        let kind = meta.file_type();
        if kind.is_file() && meta.nlink() > 1 {
            match seen.entry((meta.dev(), meta.ino())) {
                Entry::Occupied(copied) => {
                    return std::fs::hard_link(copied.get(), to).map(|()| false);
                }
                Entry::Vacant(first) => drop(first.insert(to.to_owned())),
            }
        }
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(from)?, to)?;
        } else if kind.is_dir() {
            DirBuilder::new().mode(0o700).create(to)?;
        } else if kind.is_file() {
            let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            io::copy(&mut File::open(from)?, &mut &target)?;
        } else {
            return Err(io::Error::other("neither a directory, a file nor a link"));
        }
        std::os::unix::fs::lchown(to, Some(meta.uid()), Some(meta.gid()))?;
        if !kind.is_symlink() {
            // After the owner: a change of owner takes setuid bits away.
            std::fs::set_permissions(to, meta.permissions())?;
        }
        Ok(kind.is_dir())
    };
    if copy().map_err(during("copy", from))? {
        for entry in std::fs::read_dir(from).map_err(during("list", from))? {
            let entry = entry.map_err(during("list", from))?;
            copy_entry(&entry.path(), &to.join(entry.file_name()), seen)?;
        }
    }
    Ok(())
}
