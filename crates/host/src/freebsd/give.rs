//! What a new image gets of the host.

use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::Mode;

use super::image;
use super::storage::{StorageError, during};
use super::within::{self, Rights};

/// What of the host a new image gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// Its `/etc/resolv.conf` (`dns` of the API).
    pub resolv_conf: bool,
    /// Its `/etc/localtime`, where it has one (`localtime` of the API).
    pub localtime: bool,
}

/// Gives an image files of the host. Its content is hostile: no link of it is
/// followed.
pub(super) fn give(root: &Path, given: Given, say: &dyn Fn(&str)) -> Result<(), StorageError> {
    if !given.resolv_conf && !given.localtime {
        return Ok(());
    }
    let fail = || during("open etc below", root);
    let top = std::fs::File::open(root).map_err(fail())?;
    let etc = match within::open_directory(top.as_fd(), "etc".as_ref()) {
        Ok(etc) => etc,
        // An image without the place for them.
        Err(errno) if errno == rustix::io::Errno::NOENT || within::is_link(errno) => return Ok(()),
        Err(errno) => return Err(fail()(errno.into())),
    };
    let rights = Rights { mode: Mode::from_raw_mode(0o644), owner: None };
    let put = |name: &str, content: &[u8]| {
        within::put(etc.as_fd(), name.as_ref(), content, rights)
            .map_err(during("write", &root.join("etc").join(name)))
    };
    if given.resolv_conf {
        put("resolv.conf", image::resolv_conf()?.as_bytes())?;
    }
    if given.localtime {
        match image::localtime()? {
            Some(zone) => put("localtime", &zone)?,
            None => say("/etc/localtime not found on host, skipping..."),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_of_the_host_replace_links_of_an_image() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "mine").expect("a file");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("etc")).expect("a directory");
        symlink(&outside, root.join("etc/resolv.conf")).expect("a link");
        symlink(&outside, root.join("etc/localtime")).expect("a link");
        let said = std::cell::Cell::new(0);
        let say = |line: &str| {
            assert_eq!(line, "/etc/localtime not found on host, skipping...");
            said.set(said.get() + 1);
        };
        let given = Given { resolv_conf: true, localtime: true };
        give(&root, given, &say).expect("given");
        assert!(root.join("etc/resolv.conf").symlink_metadata().expect("a file").is_file());
        assert_eq!(std::fs::read_to_string(&outside).expect("a file"), "mine");
        let has_zone = Path::new("/etc/localtime").exists();
        assert_eq!(said.get(), if has_zone { 0 } else { 1 });
        // A link in the place of etc itself: left alone.
        let other = dir.path().join("other");
        std::fs::create_dir(&other).expect("a directory");
        symlink(dir.path(), other.join("etc")).expect("a link");
        give(&other, given, &say).expect("left alone");
        assert!(!dir.path().join("resolv.conf").exists());
    }
}
