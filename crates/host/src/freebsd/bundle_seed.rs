//! The files of `/etc` that differ between containers: `hosts` and `resolv.conf`.
//!
//! They are written into the container's root at every start, because addresses and
//! name servers change, unless the container has changed them ([`crate::given`]). Its
//! content is hostile: it may have made `etc` a link to the host's, or `hosts` a fifo.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kleene_model::Driver;
use rustix::fs::{FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;

use super::bundle::BundleRequest;
use super::image::{self, HOSTS};
use super::storage::{self, StorageError, during};
use super::within::{self, Rights};
use crate::given::{self, Found, MAX, Turn};

/// Gives the container its files, below `top`, where nothing may be mounted.
///
/// # Errors
/// What the kernel says.
pub(crate) fn seed(
    request: &BundleRequest<'_>,
    top: &Path,
    records: &Path,
) -> Result<(), StorageError> {
    let Some(etc) = open_etc(top).map_err(during("open etc below", top))? else { return Ok(()) };
    let files = [("hosts", hosts(request)), ("resolv.conf", image::resolv_conf()?)];
    for (name, content) in files {
        let record = records.join(name);
        if give(etc.as_fd(), name, content.as_bytes(), &record, top)? {
            storage::write_atomically(&record, content.as_bytes(), 0o600)?;
        }
    }
    Ok(())
}

/// `/etc/hosts`: the names of the container stand for its own addresses, and where it
/// has none of its own for the loopback address, so that they can be looked up.
fn hosts(request: &BundleRequest<'_>) -> String {
    let id = request.id.to_string();
    let hostname = request.hostname.unwrap_or(&id);
    let own: &[IpAddr] = match request.driver {
        Driver::Vnet | Driver::Ipnet => request.addresses,
        Driver::Host | Driver::Disabled => &[],
    };
    let names = [Some(hostname), request.name, Some(&id)];
    given::hosts(HOSTS, names, own, "127.0.0.1")
}

/// The directory `etc` of the root, made when it has none. Nothing when the container
/// has put something else there.
fn open_etc(top: &Path) -> io::Result<Option<OwnedFd>> {
    let top = File::open(top)?;
    match mkdirat(&top, "etc", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    match within::open_directory(top.as_fd(), "etc".as_ref()) {
        Ok(etc) => Ok(Some(etc)),
        Err(errno) if within::is_link(errno) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes one file unless the container has changed it. Whether it is as given.
fn give(
    etc: BorrowedFd<'_>,
    name: &str,
    content: &[u8],
    record: &Path,
    top: &Path,
) -> Result<bool, StorageError> {
    let path = top.join("etc").join(name);
    let found = look(etc, name).map_err(during("look at", &path))?;
    match given::turn(&found, content, record) {
        Turn::Same => return Ok(true),
        Turn::Leave => return Ok(false),
        Turn::Write => {}
    }
    let rights = Rights { mode: Mode::from_raw_mode(0o644), owner: None };
    within::put(etc, name.as_ref(), content, rights).map_err(during("write", &path))?;
    Ok(true)
}

fn look(etc: BorrowedFd<'_>, name: &str) -> io::Result<Found> {
    match within::kind_at(etc, name.as_ref())? {
        None => return Ok(Found::Nothing),
        Some(FileType::RegularFile) => {}
        // A link, a fifo, a directory.
        Some(_) => return Ok(Found::Other),
    }
    // Nothing of the container runs that could put another in its place; if it did,
    // this neither waits nor follows.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(etc, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(Found::Other);
    }
    let mut content = Vec::new();
    File::from(file).take(MAX + 1).read_to_end(&mut content)?;
    Ok(Found::File(content))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    struct Layer(tempfile::TempDir);

    impl Layer {
        fn new() -> Self {
            let layer = Self(tempfile::tempdir().expect("a directory"));
            for name in ["top", "given", "host"] {
                std::fs::create_dir(layer.path(name)).expect("a directory");
            }
            layer
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn give(&self, content: &str) -> bool {
            let Some(etc) = open_etc(&self.path("top")).expect("looked at") else { return false };
            let record = self.path("given/hosts");
            let top = self.path("top");
            let written =
                give(etc.as_fd(), "hosts", content.as_bytes(), &record, &top).expect("given");
            if written {
                std::fs::write(record, content).expect("a record");
            }
            written
        }

        fn hosts(&self) -> String {
            std::fs::read_to_string(self.path("top/etc/hosts")).expect("a file")
        }
    }

    #[test]
    fn files_follow_the_engine_until_the_container_changes_them() {
        let layer = Layer::new();
        assert!(layer.give("one") && layer.give("one") && layer.give("two"));
        assert_eq!(layer.hosts(), "two");
        std::fs::write(layer.path("top/etc/hosts"), "mine").expect("a file");
        assert!(!layer.give("three"));
        assert_eq!(layer.hosts(), "mine");
        assert_eq!(std::fs::read_dir(layer.path("top/etc")).expect("a list").count(), 1);
    }

    #[test]
    fn hostile_roots_are_left_alone() {
        let layer = Layer::new();
        let etc = layer.path("top/etc");
        std::fs::write(layer.path("host/hosts"), "host").expect("a file");
        symlink(layer.path("host"), &etc).expect("a link");
        assert!(!layer.give("one"));
        std::fs::remove_file(&etc).expect("removed");
        std::fs::write(&etc, "").expect("a file");
        assert!(!layer.give("one"));
        std::fs::remove_file(&etc).expect("removed");
        std::fs::create_dir(&etc).expect("a directory");
        let hosts = layer.path("top/etc/hosts");
        symlink(layer.path("host/hosts"), &hosts).expect("a link");
        assert!(!layer.give("one"));
        std::fs::remove_file(&hosts).expect("removed");
        let fifo = std::process::Command::new("mkfifo").arg(&hosts).status().expect("mkfifo");
        assert!(fifo.success() && !layer.give("one"));
        std::fs::remove_file(&hosts).expect("removed");
        std::fs::create_dir(&hosts).expect("a directory");
        assert!(!layer.give("one"));
        std::fs::remove_dir(&hosts).expect("removed");
        assert!(layer.give("one"));
        assert_eq!(layer.hosts(), "one");
        let host = std::fs::read_to_string(layer.path("host/hosts")).expect("the host's");
        assert_eq!(host, "host");
    }
}
