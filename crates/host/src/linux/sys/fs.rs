//! Private namespaces for looking at file systems and trying things out.

use std::io;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `work` on a thread of its own with new namespaces of the given kinds.
/// They are gone when this returns, and with them all that was mounted or
/// made in them; nothing of it is ever seen outside. A new mount namespace is
/// private both ways.
///
/// # Errors
/// What the kernel says to `unshare`, or what `work` returns.
pub(crate) fn in_own_namespaces<T: Send>(
    kinds: UnshareFlags,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    // A shared descriptor table must stay shared: descriptors are handed in
    // and out.
    let kinds = kinds.difference(UnshareFlags::FILES);
    let alone = move || {
        // SAFETY: without FILES no descriptor changes its meaning; the other
        // kinds touch only the calling thread, which was made for this and
        // ends with it.
        unsafe { unshare_unsafe(kinds) }?;
        if kinds.contains(UnshareFlags::NEWNS) {
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        }
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".into());
        let handle = thread.spawn_scoped(scope, alone)?;
        handle.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}
