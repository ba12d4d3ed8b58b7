//! Directories and files of ours: made, copied, written at once or not at
//! all, and removed without being led astray.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use crate::files::{self, unique_name};
pub use crate::files::{StorageError, write_atomically};
pub(crate) use crate::files::{during, ensure_directory, unique_directory, write_new};

/// Takes a tree out of the way at once, with one rename into `trash` (made
/// when missing, on the same file system); [`empty_trash`] removes it later.
/// What does not exist needs no removal.
///
/// # Errors
/// What the kernel says; the tree is where it was then.
pub fn remove_tree_later(path: &Path, trash: &Path) -> Result<(), StorageError> {
    ensure_directory(trash, 0o700)?;
    loop {
        let target = trash.join(unique_name("removed"));
        match renameat_with(CWD, path, CWD, &target, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(during("move to the trash", path)(e)),
        }
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
/// exist needs no removal.
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

const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn open_directory(parent: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(parent, name, flags, Mode::empty(), WITHIN)
}

fn remove_below(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty())?;
    let mut number = 0_u64;
    let mut queue = Vec::new();
    empty_directory(&top, |name| {
        queue.push(name.to_owned());
        Ok(())
    })?;
    while let Some(name) = queue.pop() {
        let dir = open_directory(&top, &name)?;
        empty_directory(&dir, |inner| {
            let lifted = lift(&dir, inner, &top, &mut number)?;
            queue.push(lifted);
            Ok(())
        })?;
        unlinkat(&top, &*name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes what is no directory and hands the directories over.
fn empty_directory(
    dir: &OwnedFd,
    mut each: impl FnMut(&std::ffi::CStr) -> io::Result<()>,
) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // Not every file system tells the type in the listing.
        let is_directory = match entry.file_type() {
            FileType::Unknown => {
                let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
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

/// Moves a directory to the top of the tree that is being removed.
fn lift(
    dir: &OwnedFd,
    name: &std::ffi::CStr,
    top: &OwnedFd,
    number: &mut u64,
) -> io::Result<std::ffi::CString> {
    loop {
        *number += 1;
        let lifted = std::ffi::CString::new(format!(".lifted-{number}"))?;
        match renameat_with(dir, name, top, &*lifted, RenameFlags::NOREPLACE) {
            // The tree's own content may be called so.
            Err(Errno::EXIST) => {}
            done => return done.map(|()| lifted).map_err(Into::into),
        }
    }
}

/// Copies directories, regular files and links with owners and modes, for
/// hosts without overlay: `to` must not exist and appears as a whole.
///
/// # Errors
/// What the kernel says; anything else in the tree (devices, sockets) is
/// refused.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), StorageError> {
    files::copy_tree(from, to, remove_tree)
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
