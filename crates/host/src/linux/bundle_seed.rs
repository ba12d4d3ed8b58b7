//! The files of `/etc` that differ between containers: `hosts`, `hostname`,
//! `resolv.conf`.
//!
//! They are written into the container's own layer at every start, because
//! addresses and name servers change. A container may change them too, and
//! then they are left alone: a copy of what was given last, outside the
//! container's reach, tells the two apart. The layer's content is hostile: a
//! container may have made `etc` a link to the host's, or `hosts` a fifo.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, renameat};
use rustix::io::Errno;

use super::bundle::{BundleRequest, Driver};
use super::image::{self, HOSTS};
use super::storage::{self, StorageError, during};
use crate::given::{self, Found, MAX, Turn};

const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Gives the container its files, below `top`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn seed(
    request: &BundleRequest<'_>,
    top: &Path,
    records: &Path,
) -> Result<(), StorageError> {
    let fail = during("open etc below", top);
    let Some(etc) = open_etc(top).map_err(fail)? else { return Ok(()) };
    let hostname = request.hostname.unwrap_or(request.id);
    let files = [
        ("hosts", hosts(request, hostname)),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", image::resolv_conf()?),
    ];
    for (name, content) in files {
        let record = records.join(name);
        if give(&etc, name, content.as_bytes(), &record, top)? {
            storage::write_atomically(&record, content.as_bytes(), 0o600)?;
        }
    }
    Ok(())
}

/// `/etc/hosts`: the names of the container stand for its own addresses; in
/// the host's network, and without an address, for a loopback address, so that
/// they can be looked up at all.
fn hosts(request: &BundleRequest<'_>, hostname: &str) -> String {
    let own: &[IpAddr] = match request.driver {
        Driver::Vnet | Driver::View => request.addresses,
        Driver::Host => &[],
    };
    let names = [Some(hostname), request.name, Some(request.id)];
    given::hosts(HOSTS, names, own, "127.0.1.1")
}

/// The directory `etc` of the layer, made when the layer has none. Nothing
/// when the container has put something else there.
fn open_etc(top: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(top, flags, Mode::empty())?;
    match mkdirat(&top, "etc", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    match openat2(&top, "etc", flags, Mode::empty(), WITHIN) {
        Ok(etc) => Ok(Some(etc)),
        Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Writes one file unless the container has changed it. Whether it was
/// written.
fn give(
    etc: &OwnedFd,
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
    // Made where no container reaches, so that nothing of its can be in the
    // way, and moved in: the file, not a link to it, whatever is there.
    let made = record.with_file_name(format!("{name}.new"));
    match std::fs::remove_file(&made) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(during("remove", &made)(e));
        }
        _ => {}
    }
    storage::write_new(&made, content, 0o644)?;
    renameat(CWD, &made, etc, name).map_err(during("write", &path))?;
    Ok(true)
}

fn look(etc: impl AsFd, name: &str) -> io::Result<Found> {
    // Found without being opened: that of a fifo waits for a writer for ever,
    // and that of a device does what the container may not.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = match openat2(etc, name, flags, Mode::empty(), WITHIN) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        // A link, a mount.
        Err(Errno::LOOP | Errno::XDEV) => return Ok(Found::Other),
        Err(e) => return Err(e.into()),
    };
    // Not a directory, a socket, nor a removed file (a device of overlay's).
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
        return Ok(Found::Other);
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    let mut content = Vec::new();
    file.take(MAX + 1).read_to_end(&mut content)?;
    Ok(Found::File(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Layer(tempfile::TempDir);

    impl Layer {
        fn new() -> Self {
            let layer = Self(tempfile::tempdir().unwrap());
            for name in ["top", "given", "host"] {
                std::fs::create_dir(layer.path(name)).unwrap();
            }
            layer
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn give(&self, content: &str) -> bool {
            let Some(etc) = open_etc(&self.path("top")).unwrap() else { return false };
            let record = self.path("given/hosts");
            let written =
                give(&etc, "hosts", content.as_bytes(), &record, &self.path("top")).unwrap();
            if written {
                std::fs::write(record, content).unwrap();
            }
            written
        }

        fn hosts(&self) -> String {
            std::fs::read_to_string(self.path("top/etc/hosts")).unwrap()
        }
    }

    #[test]
    fn files_follow_the_engine_until_the_container_changes_them() {
        let layer = Layer::new();
        assert!(layer.give("one") && layer.give("one") && layer.give("two"));
        assert_eq!(layer.hosts(), "two");
        std::fs::write(layer.path("top/etc/hosts"), "mine").unwrap();
        assert!(!layer.give("three"));
        assert_eq!(layer.hosts(), "mine");
        assert_eq!(std::fs::read_dir(layer.path("top/etc")).unwrap().count(), 1);
    }

    #[test]
    fn hostile_layers_are_left_alone() {
        let layer = Layer::new();
        std::fs::write(layer.path("host/hosts"), "host").unwrap();
        symlink(layer.path("host"), layer.path("top/etc")).unwrap();
        assert!(!layer.give("one"));
        std::fs::remove_file(layer.path("top/etc")).unwrap();
        std::fs::write(layer.path("top/etc"), "").unwrap();
        assert!(!layer.give("one"));
        std::fs::remove_file(layer.path("top/etc")).unwrap();
        std::fs::create_dir(layer.path("top/etc")).unwrap();
        let hosts = layer.path("top/etc/hosts");
        symlink(layer.path("host/hosts"), &hosts).unwrap();
        assert!(!layer.give("one"));
        std::fs::remove_file(&hosts).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(&hosts).status().unwrap();
        assert!(fifo.success() && !layer.give("one"));
        std::fs::remove_file(&hosts).unwrap();
        std::fs::create_dir(&hosts).unwrap();
        assert!(!layer.give("one"));
        std::fs::remove_dir(&hosts).unwrap();
        assert!(layer.give("one"));
        assert_eq!(layer.hosts(), "one");
        assert_eq!(std::fs::read_to_string(layer.path("host/hosts")).unwrap(), "host");
    }
}
