//! What only unsafe code can ask of the system.

use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Pid;

/// Has a command start a session of its own: it has no terminal, nobody's signals, and
/// cannot leave its process group.
pub(super) fn detach(command: &mut Command) {
    let detach = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: between fork and exec only setsid(2) is called, which is safe there
    // (POSIX, "Signal Concepts") and allocates nothing.
    unsafe { command.pre_exec(detach) };
}

/// The process at the other end, where the kernel tells its number.
#[cfg(target_os = "freebsd")]
pub(super) fn peer(stream: &UnixStream) -> io::Result<Option<Pid>> {
    use std::os::fd::AsRawFd as _;

    /// The level of local sockets' options (sys/un.h of FreeBSD 13.2).
    const SOL_LOCAL: libc::c_int = 0;

    let mut credentials = std::mem::MaybeUninit::<libc::xucred>::zeroed();
    let size = size_of::<libc::xucred>();
    let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes to `credentials`, which has as many.
    let told = unsafe {
        let to = credentials.as_mut_ptr().cast();
        let option = libc::LOCAL_PEERCRED;
        libc::getsockopt(stream.as_raw_fd(), SOL_LOCAL, option, to, &raw mut length)
    };
    if told != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is made of numbers only, for which all bytes are values; those that the
    // kernel did not write are zero.
    let credentials = unsafe { credentials.assume_init() };
    if credentials.cr_version != libc::XUCRED_VERSION {
        return Err(io::Error::other("credentials of another version"));
    }
    // SAFETY: the other side of the union is padding, of as many or more bytes, all of
    // which have a value.
    Ok(Pid::from_raw(unsafe { credentials.cr_pid__c_anonymous_union.cr_pid }))
}

/// The same on the system on which this is tested.
#[cfg(not(target_os = "freebsd"))]
pub(super) fn peer(stream: &UnixStream) -> io::Result<Option<Pid>> {
    Ok(Some(rustix::net::sockopt::socket_peercred(stream)?.pid))
}
