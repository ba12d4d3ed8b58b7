//! The supervisor's system call that has no safe interface elsewhere.

use std::io;

use rustix::thread::UnshareFlags;

/// Leaves shared namespaces for new ones.
///
/// Unsafe elsewhere because of threads that share descriptors or the working
/// directory; those flags are refused, and the supervisor has one thread.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.intersects(UnshareFlags::FILES | UnshareFlags::FS) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: no descriptor table or directory is unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}
