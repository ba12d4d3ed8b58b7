//! The skeleton of the built-in image, on every system: a small tree that is made
//! once, beside its place and then with one rename, and anew when the host changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files::{self, StorageError, during};

/// Nothing that is copied of the host is larger, in bytes.
const MAX_COPY: u64 = 1 << 20;

/// How the names of skeletons begin.
const STEM: &str = "host-usr-v";

/// A thing of a skeleton. Paths are relative to its root.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Directory { path: PathBuf, mode: u32 },
    File { path: PathBuf, content: Vec<u8> },
    Link { path: PathBuf, target: PathBuf },
}

/// The name of a skeleton: `version` is that of the way it is made, the rest a digest
/// of its content.
pub(crate) fn name_of(version: u32, entries: &[Entry]) -> String {
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    format!("{STEM}{version}-{:016x}", hasher.finish())
}

/// Finds the skeleton of that name below `images`, or makes it: beside its place, where
/// `finish` completes it, then with one rename.
///
/// # Errors
/// What the kernel says, or `finish`.
pub(crate) fn ensure<E: From<StorageError>>(
    images: &Path,
    name: &str,
    entries: &[Entry],
    remove: impl Fn(&Path) -> Result<(), StorageError>,
    finish: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    /// Two makers in one process would take each other's staging.
    static MAKING: Mutex<()> = Mutex::new(());

    let place = images.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    files::ensure_directory(images, 0o700)?;
    let staging = images.join(".host-usr-staging");
    remove(&staging)?;
    build(entries, &staging)?;
    finish(&staging)?;
    match std::fs::rename(&staging, &place) {
        Err(_) if place.is_dir() => remove(&staging)?,
        renamed => renamed.map_err(during("put in place", &place))?,
    }
    Ok(place)
}

/// Hands to `remove` the skeletons below `images` but `current` and those that `in_use`
/// names; gives their number.
///
/// # Errors
/// What the kernel says, or `remove`.
pub(crate) fn remove_older(
    images: &Path,
    current: &str,
    in_use: impl Fn(&Path) -> bool,
    remove: impl Fn(&Path) -> Result<(), StorageError>,
) -> Result<usize, StorageError> {
    let listed = match std::fs::read_dir(images) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        listed => listed.map_err(during("list", images))?,
    };
    let mut removed = 0;
    for entry in listed {
        let entry = entry.map_err(during("list", images))?;
        let (name, path) = (entry.file_name(), entry.path());
        let ours = name.to_string_lossy().starts_with(STEM);
        if ours && name != *current && !in_use(&path) {
            remove(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// A small text file of the host; what is missing, too large or no text is
/// empty: no host lacks containers for a broken `/etc/services`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn text(host: &Path, path: &str) -> Result<String, StorageError> {
    let path = host.join(path);
    let meta = match std::fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        meta => meta.map_err(during("look at", &path))?,
    };
    if !meta.is_file() || meta.len() > MAX_COPY {
        return Ok(String::new());
    }
    let bytes = std::fs::read(&path).map_err(during("read", &path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn build(entries: &[Entry], root: &Path) -> Result<(), StorageError> {
    files::make_directory(root, 0o755)?;
    for entry in entries {
        match entry {
            Entry::Directory { path, mode } => files::make_directory(&root.join(path), *mode)?,
            Entry::File { path, content } => {
                let path = root.join(path);
                files::write_new(&path, content, 0o644)?;
                // A skeleton is made once: after a power loss it must not be
                // there with empty files.
                files::sync(&path)?;
            }
            Entry::Link { path, target } => {
                let path = root.join(path);
                symlink(target, &path).map_err(during("make the link", &path))?;
            }
        }
    }
    Ok(())
}
