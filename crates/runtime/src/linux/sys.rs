//! The runtime's system calls that have no safe interface elsewhere.

use std::io;

use seccompiler::sock_filter;

/// Installs a system call filter for this process and all it becomes or
/// starts.
///
/// Not by way of `seccompiler::apply_filter`, which sets `no_new_privs`:
/// set-user-id programs shall work in containers. So this takes
/// `CAP_SYS_ADMIN`.
pub(super) fn install_filter(filter: &[sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(filter.len())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The kernel does not write to the filter, whatever the type says.
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: the program's pointer and length are those of a slice that
    // outlives the call, and `seccompiler::sock_filter` is the kernel's
    // structure.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
