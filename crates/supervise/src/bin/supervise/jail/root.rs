//! Files of the container, found below its root as its own processes find
//! them. Whatever is there is untrusted: a symbolic link leads nowhere outside,
//! a pipe or a device holds nobody up.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat},
    io::Errno,
};

/// More symbolic links than this are a circle, as in the kernel.
const MAX_LINKS: u32 = 32;

/// A place below the root: a directory and a name in it that is no symbolic
/// link; `None` for the directory itself.
struct Place {
    dirs: Vec<OwnedFd>,
    name: Option<Vec<u8>>,
    stat: Stat,
}

impl Place {
    fn dir<'a>(&'a self, root: &'a OwnedFd) -> BorrowedFd<'a> {
        self.dirs.last().map_or(root.as_fd(), |dir| dir.as_fd())
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Walks name by name, so that no link is followed by the kernel, which would
/// take the host's root for the container's. `..` goes back over the
/// directories that were opened on the way.
fn find(root: &OwnedFd, path: &[u8]) -> Result<Place, Errno> {
    let split = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
    };
    let mut todo: VecDeque<Vec<u8>> = split(path).into();
    let mut place = Place { dirs: Vec::new(), name: None, stat: rustix::fs::fstat(root)? };
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name.is_empty() || name == b"." {
            continue;
        }
        if name == b".." {
            place.dirs.pop();
            continue;
        }
        let dir = place.dir(root);
        let stat = statat(dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        match kind(&stat) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(dir, name.as_slice(), Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    place.dirs.clear();
                }
                split(&target).into_iter().rev().for_each(|part| todo.push_front(part));
            }
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let next = openat(dir, name.as_slice(), flags, Mode::empty())?;
                place.dirs.push(next);
            }
            _ if todo.iter().all(Vec::is_empty) => {
                return Ok(Place { name: Some(name), stat, ..place });
            }
            _ => return Err(Errno::NOTDIR),
        }
    }
    place.stat = rustix::fs::fstat(place.dir(root))?;
    Ok(place)
}

/// A regular file's content, no more than `max` bytes of it.
pub(super) fn read(root: &OwnedFd, path: &[u8], max: u64) -> io::Result<Vec<u8>> {
    let place = find(root, path)?;
    let Some(name) = place.name.as_deref().filter(|_| kind(&place.stat) == FileType::RegularFile)
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    };
    // It may have been replaced since.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(place.dir(root), name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a directory can be entered.
pub(super) fn directory(root: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
    match kind(&find(root, path)?.stat) {
        FileType::Directory => Ok(()),
        _ => Err(Errno::NOTDIR),
    }
}

/// Whether a file could be run by somebody: what the kernel would answer before
/// it looks into the file.
pub(super) fn program(root: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
    let stat = find(root, path)?.stat;
    match kind(&stat) {
        FileType::RegularFile if stat.st_mode & 0o111 != 0 => Ok(()),
        _ => Err(Errno::ACCESS),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::fs::symlink, path::PathBuf};

    use super::*;

    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn tree(name: &str) -> (Dir, OwnedFd) {
        let top = std::env::temp_dir().join(format!("kleene-root-{}-{name}", std::process::id()));
        let root = top.join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(top.join("secret"), "outside").unwrap();
        fs::write(root.join("etc/real"), "inside").unwrap();
        fs::write(root.join("usr/bin/run"), "").unwrap();
        fs::set_permissions(root.join("usr/bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/etc/real", root.join("etc/absolute")).unwrap();
        symlink("../../../../etc/real", root.join("etc/up")).unwrap();
        symlink("../../secret", root.join("etc/escape")).unwrap();
        symlink("/etc", root.join("usr/etc")).unwrap();
        symlink("circle", root.join("etc/circle")).unwrap();
        let fd = rustix::fs::open(&root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        (Dir(top), fd.unwrap())
    }

    #[test]
    fn links_are_followed_below_the_root_only() {
        let (_dir, root) = tree("links");
        for inside in ["etc/real", "/etc/absolute", "etc/up", "../etc/./real", "usr/etc/real"] {
            assert_eq!(read(&root, inside.as_bytes(), 99).unwrap(), b"inside", "{inside}");
        }
        assert_eq!(read(&root, b"etc/real", 3).unwrap(), b"ins");
        for outside in ["etc/escape", "../secret", "/../secret"] {
            let error = read(&root, outside.as_bytes(), 99).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{outside}");
        }
        let circle = read(&root, b"etc/circle", 99).unwrap_err();
        assert_eq!(circle.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let (dir, root) = tree("kinds");
        let pipe = dir.0.join("root/etc/pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(read(&root, b"etc/pipe", 9).is_err());
        assert!(read(&root, b"etc", 9).is_err());
        assert_eq!(directory(&root, b"usr/etc"), Ok(()));
        assert_eq!(directory(&root, b"etc/real"), Err(Errno::NOTDIR));
        assert_eq!(directory(&root, b"etc/real/x"), Err(Errno::NOTDIR));
        assert_eq!(directory(&root, b""), Ok(()));
    }

    #[test]
    fn programs_are_told_from_others() {
        let (_dir, root) = tree("programs");
        assert_eq!(program(&root, b"/bin/run"), Ok(()));
        assert_eq!(program(&root, b"/bin/walk"), Err(Errno::NOENT));
        assert_eq!(program(&root, b"/etc/real"), Err(Errno::ACCESS));
        assert_eq!(program(&root, b"/etc"), Err(Errno::ACCESS));
    }
}
