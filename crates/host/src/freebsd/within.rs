//! Paths in a container's root, as the container itself would see them.
//!
//! What is below such a root is hostile: any name may be a link to anywhere. So
//! names are opened one by one below the one before, never through a link, and
//! links are followed here, with the root as `/`. FreeBSD has no `openat2`, and
//! its `O_RESOLVE_BENEATH` refuses absolute links instead of following them below
//! the root. Nothing of the container runs meanwhile.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, open, openat, readlinkat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::binds::SourceKind;
use crate::files::unique_name;

/// As many links as FreeBSD's kernel follows in one path (`MAXSYMLINKS`, 13.2: 32).
const LINKS: usize = 32;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A container's root.
pub(crate) struct Root(OwnedFd);

/// Where a path in a root leads to.
pub(crate) struct Place {
    /// The directory that it is in, or is.
    parent: OwnedFd,
    /// Its last name; none where it is a directory.
    file: Option<OsString>,
    /// The path as the container sees it, free of links.
    pub(crate) path: PathBuf,
}

impl Root {
    /// Opens a root.
    ///
    /// # Errors
    /// What the kernel says; one that is a link is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        open(path, DIRECTORY, Mode::empty()).map(Self)
    }

    /// Finds a destination and makes the directories that are missing on the way,
    /// and itself where it is to be a directory. A link that leads nowhere is an
    /// error: what it names is not ours to make.
    ///
    /// # Errors
    /// What the kernel says; `NOTDIR` and `ISDIR` for what is of the other kind.
    pub(crate) fn place(&self, destination: &Path, kind: SourceKind) -> Result<Place, Errno> {
        let mut walk = Walk::new(self, destination)?;
        while let Some((name, of_link)) = walk.pending.pop_front() {
            if name == ".." {
                // Only links have it; above the root is the root.
                walk.entered.pop();
                continue;
            }
            let last = walk.pending.is_empty();
            match kind_at(walk.at(), &name)? {
                None if of_link => return Err(Errno::NOENT),
                None if last && kind == SourceKind::File => return walk.file(name),
                None => walk.make(name)?,
                Some(FileType::Symlink) => walk.follow(&name)?,
                Some(FileType::Directory) => walk.enter(name)?,
                Some(FileType::RegularFile) if last && kind == SourceKind::File => {
                    return walk.file(name);
                }
                Some(_) => return Err(Errno::NOTDIR),
            }
        }
        match kind {
            SourceKind::Directory => walk.directory(),
            SourceKind::File => Err(Errno::ISDIR),
        }
    }

    /// Whether a path below the root passes no link and ends at a directory.
    pub(crate) fn is_straight(&self, path: &Path) -> bool {
        let walk = Walk::new(self, path).and_then(|mut walk| {
            while let Some((name, _)) = walk.pending.pop_front() {
                walk.enter(name)?;
            }
            Ok(())
        });
        walk.is_ok()
    }
}

impl Place {
    /// Puts a file with this content and these rights there: written beside and
    /// moved, so that whoever is at the place, a link too, is replaced and not
    /// written to.
    ///
    /// # Errors
    /// What the kernel says; the old file is as it was then.
    pub(crate) fn put(&self, content: &[u8], rights: Rights) -> Result<(), Errno> {
        let name = self.file.as_ref().ok_or(Errno::ISDIR)?;
        put(self.parent.as_fd(), name, content, rights)
    }
}

/// Whose a file is, and what they may do.
#[derive(Clone, Copy)]
pub(crate) struct Rights {
    /// Permission bits.
    pub(crate) mode: Mode,
    /// User and group; those of the daemon where nothing is said.
    pub(crate) owner: Option<(Uid, Gid)>,
}

/// Writes a file of a directory, beside and then in place of whatever is there.
///
/// # Errors
/// What the kernel says; the old file is as it was then.
pub(crate) fn put(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    content: &[u8],
    rights: Rights,
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (beside, file) = loop {
        let beside = unique_name(".kleene");
        match openat(dir, &*beside, flags, Mode::from_raw_mode(0o600)) {
            // The container's own file of that name.
            Err(Errno::EXIST) => {}
            made => break (beside, made?),
        }
    };
    let owned = |()| match rights.owner {
        Some((user, group)) => fchown(&file, Some(user), Some(group)),
        None => Ok(()),
    };
    let written = write_all(file.as_fd(), content)
        .and_then(owned)
        .and_then(|()| fchmod(&file, rights.mode))
        .and_then(|()| renameat(dir, &*beside, dir, name));
    written.inspect_err(|_| {
        // The first error is the one to tell.
        let _ = unlinkat(dir, &*beside, AtFlags::empty());
    })
}

fn write_all(file: BorrowedFd<'_>, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, content))?;
        content = content.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// What a name is, links not followed; `None` where there is none.
pub(crate) fn kind_at(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<FileType>, Errno> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory of that name, which must not be a link.
///
/// # Errors
/// What the kernel says. For a link it is `NOTDIR` on Linux and `MLINK` on
/// FreeBSD.
pub(crate) fn open_directory(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, DIRECTORY, Mode::empty())
}

/// Whether an error of the kernel says that a name is a link where none may be:
/// `MLINK` on FreeBSD (open(2)), `LOOP` or `NOTDIR` on Linux.
pub(crate) fn is_link(errno: Errno) -> bool {
    [Errno::LOOP, Errno::MLINK, Errno::NOTDIR].contains(&errno)
}

/// A path that is being followed.
struct Walk<'a> {
    root: &'a Root,
    /// The directories below the root that were entered.
    entered: Vec<(OsString, OwnedFd)>,
    /// Names to come, and whether a link named them.
    pending: VecDeque<(OsString, bool)>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Root, path: &Path) -> Result<Self, Errno> {
        let mut pending = VecDeque::new();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => pending.push_back((name.to_owned(), false)),
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
            }
        }
        Ok(Self { root, entered: Vec::new(), pending, links: 0 })
    }

    fn at(&self) -> BorrowedFd<'_> {
        self.entered.last().map_or(self.root.0.as_fd(), |(_, fd)| fd.as_fd())
    }

    fn path(&self) -> PathBuf {
        let names = self.entered.iter().map(|(name, _)| name.as_os_str());
        std::iter::once(OsStr::new("/")).chain(names).collect()
    }

    fn enter(&mut self, name: OsString) -> Result<(), Errno> {
        let fd = open_directory(self.at(), &name)?;
        self.entered.push((name, fd));
        Ok(())
    }

    fn make(&mut self, name: OsString) -> Result<(), Errno> {
        mkdirat(self.at(), &name, Mode::from_raw_mode(0o755))?;
        self.enter(name)
    }

    /// Puts the names of a link before those to come.
    fn follow(&mut self, name: &OsStr) -> Result<(), Errno> {
        self.links += 1;
        if self.links > LINKS {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(self.at(), name, Vec::new())?.into_bytes();
        let target = PathBuf::from(OsString::from_vec(target));
        if target.is_absolute() {
            self.entered.clear();
        }
        let mut names = Vec::new();
        for component in target.components() {
            match component {
                Component::ParentDir => names.push((OsString::from(".."), true)),
                Component::Normal(name) => names.push((name.to_owned(), true)),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        for name in names.into_iter().rev() {
            self.pending.push_front(name);
        }
        Ok(())
    }

    fn file(self, name: OsString) -> Result<Place, Errno> {
        let path = self.path().join(&name);
        let parent = self.at().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        Ok(Place { parent, file: Some(name), path })
    }

    fn directory(self) -> Result<Place, Errno> {
        let path = self.path();
        let parent = self.at().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        Ok(Place { parent, file: None, path })
    }
}

#[cfg(test)]
#[path = "within_tests.rs"]
mod tests;
