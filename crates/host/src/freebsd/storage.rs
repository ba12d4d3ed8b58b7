//! Directories and files of ours: made, copied, written at once or not at all, and
//! removed without being led astray.
//!
//! As on Linux, with the calls that FreeBSD has: names are opened one by one below
//! the directory before, never through a link, and another file system stops the
//! removal. Where ZFS is used, see [`super::store`].

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, renameat, unlinkat};
use rustix::io::Errno;

use super::within::{kind_at, open_directory};
use crate::files::{self, unique_name};
pub use crate::files::{StorageError, write_atomically};
pub(crate) use crate::files::{during, ensure_directory, make_directory};

/// Takes a tree out of the way at once, with one rename into `trash` (made
/// when missing, on the same file system); [`empty_trash`] removes it later.
/// What does not exist needs no removal.
///
/// # Errors
/// What the kernel says; the tree is where it was then.
pub fn remove_tree_later(path: &Path, trash: &Path) -> Result<(), StorageError> {
    ensure_directory(trash, 0o700)?;
    loop {
        // A name that nobody has: a rename would replace an empty directory.
        let target = trash.join(unique_name("removed"));
        if target.symlink_metadata().is_ok() {
            continue;
        }
        return match std::fs::rename(path, &target) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                Err(during("move to the trash", path)(err))
            }
            _ => Ok(()),
        };
    }
}

/// Removes all that is in the trash, and gives the number of trees. It may
/// take as long as there are files; run it in the background.
///
/// # Errors
/// The first tree that could not be removed, after all others were tried.
pub fn empty_trash(trash: &Path) -> Result<usize, StorageError> {
    files::empty_trash(trash, remove_tree)
}

/// Removes a file, a link or a whole tree. Links in it are removed, never
/// followed; a mount in it stops the removal. Depth costs neither stack nor
/// descriptors: each directory found is first moved up to the top of the
/// tree, so that three descriptors are enough for any tree. What does not
/// exist needs no removal. Files that are marked unchangeable (chflags(1)) stop
/// it: containers may mark none unless they have `allow.chflags`.
///
/// # Errors
/// What the kernel says; a part may be gone then.
pub fn remove_tree(path: &Path) -> Result<(), StorageError> {
    let fail = during("remove", path);
    let meta = match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta.map_err(during("look at", path))?,
    };
    if !meta.is_dir() {
        return std::fs::remove_file(path).map_err(fail);
    }
    remove_below(path).and_then(|()| std::fs::remove_dir(path)).map_err(fail)
}

/// Copies directories, regular files and links with owners and modes: `to` must
/// not exist and appears as a whole. Marks of files (chflags(1)) are not copied.
///
/// # Errors
/// What the kernel says; anything else in the tree (devices, sockets) is
/// refused.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), StorageError> {
    files::copy_tree(from, to, remove_tree)
}

fn remove_below(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty())?;
    let device = fstat(&top)?.st_dev;
    let mut number = 0_u64;
    let mut queue = Vec::new();
    empty_directory(&top, |name| {
        queue.push(name.to_owned());
        Ok(())
    })?;
    while let Some(name) = queue.pop() {
        let dir = open_directory(top.as_fd(), &name)?;
        if fstat(&dir)?.st_dev != device {
            return Err(Errno::XDEV.into());
        }
        empty_directory(&dir, |inner| {
            let lifted = lift(&dir, inner, &top, &mut number)?;
            queue.push(lifted.into());
            Ok(())
        })?;
        unlinkat(&top, &*name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes what is no directory and hands the directories over.
fn empty_directory(
    dir: &OwnedFd,
    mut each: impl FnMut(&OsStr) -> io::Result<()>,
) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        // Not every file system tells the type in the listing.
        let is_directory = match entry.file_type() {
            FileType::Unknown => kind_at(dir.as_fd(), name)? == Some(FileType::Directory),
            known => known == FileType::Directory,
        };
        if is_directory {
            each(name)?;
        } else {
            unlinkat(dir, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Moves a directory to the top of the tree that is being removed. A rename would
/// replace an empty directory, which is to come yet: so its name is looked at first.
/// Nobody else makes any there.
fn lift(dir: &OwnedFd, name: &OsStr, top: &OwnedFd, number: &mut u64) -> io::Result<String> {
    loop {
        *number += 1;
        let lifted = format!(".lifted-{number}");
        // The tree's own content may be called so.
        if kind_at(top.as_fd(), lifted.as_ref())?.is_none() {
            renameat(dir, name, top, &*lifted)?;
            return Ok(lifted);
        }
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
