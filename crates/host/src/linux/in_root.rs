//! Opening a path of a container as the container would, with its root as `/`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// How often the kernel is asked before its refusal is believed. On a host that
/// renames and mounts without a pause it gives way about every second time.
const TRIES: u32 = 128;

/// Opens `path` below `root`; links are followed there, and none leads out.
///
/// # Errors
/// What the kernel says. While anything on the host is renamed or mounted it cannot
/// tell whether a `..` stays below the root, says `EAGAIN`, and wants to be asked again
/// (openat2(2)): that is done here.
pub(crate) fn open_in_root(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    more: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | more;
    for _ in 1..TRIES {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            answer => return answer,
        }
    }
    openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_step_up_is_taken_while_others_rename() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("root/a/b")).expect("directories");
        std::fs::write(at("x"), "").expect("a file");
        let root = std::fs::File::open(at("root")).expect("a root");
        let path = Path::new("/a/b/../b/../b/../b/../b/../b");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::fs::rename(at("x"), at("y")).expect("a rename");
                    std::fs::rename(at("y"), at("x")).expect("a rename");
                }
            });
            // As long as it takes until the kernel has refused it, asked once.
            let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
            let mut refused = 0;
            while refused < 100 && std::time::Instant::now() < limit {
                let once = openat2(&root, path, OFlags::PATH, Mode::empty(), ResolveFlags::IN_ROOT);
                refused += u32::from(once.err() == Some(Errno::AGAIN));
                let opened = open_in_root(&root, path, OFlags::PATH, ResolveFlags::empty());
                assert_eq!(opened.err(), None);
            }
            over.store(true, Ordering::Relaxed);
            assert!(refused == 100, "the kernel refused {refused} times only");
        });
    }
}
