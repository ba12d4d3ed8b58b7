//! The system calls that have no safe interface elsewhere.

use std::{
    io,
    os::{
        fd::{IntoRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::Command,
    sync::atomic::{AtomicI32, Ordering},
};

#[cfg(target_os = "linux")]
use libc::__errno_location as errno;
#[cfg(target_os = "freebsd")]
use libc::__error as errno;
use rustix::{fs::OFlags, pipe::PipeFlags};

/// Signals that a system may know; numbers above its last are refused.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=128;

/// Where [`on_child`] writes; -1 before there is anything.
static CHILD_PIPE: AtomicI32 = AtomicI32::new(-1);

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every descriptor from 3 on.
///
/// Whatever an ancestor forgot to mark would be handed on to containers:
/// jexec(8) passes on all it has (FreeBSD 13.2). To be called before the
/// program has opened anything.
pub(crate) fn close_inherited() {
    #[cfg(target_os = "freebsd")]
    // SAFETY: nothing of this program is open yet but its standard streams.
    unsafe {
        libc::closefrom(3);
    }
    #[cfg(target_os = "linux")]
    // SAFETY: nothing of this program is open yet but its standard streams. A
    // kernel without the call leaves things as they are.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// A descriptor that can be read from when a child has ended.
///
/// A signal handler and a pipe, because FreeBSD has no descriptor for a child
/// that somebody else has forked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    for end in [&reader, &writer] {
        let flags = rustix::fs::fcntl_getfl(end)?;
        rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?;
    }
    // Never closed again: the handler may run at any time.
    CHILD_PIPE.store(writer.into_raw_fd(), Ordering::Release);
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zero is a valid action: the default one, without flags, with
    // an empty mask.
    let action_ref = unsafe { action.assume_init_mut() };
    let handler: extern "C" fn(libc::c_int) = on_child;
    action_ref.sa_sigaction = handler as libc::sighandler_t;
    action_ref.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    // SAFETY: the handler does only what a signal handler may; no old action is
    // asked for.
    check(unsafe { libc::sigaction(libc::SIGCHLD, action_ref, std::ptr::null_mut()) })?;
    Ok(reader)
}

/// Makes the pipe readable. A full pipe says all that is to be said.
extern "C" fn on_child(_signal: libc::c_int) {
    // SAFETY: the thread's own errno, which the interrupted code may be about
    // to read.
    let place = unsafe { errno() };
    // SAFETY: as above.
    let before = unsafe { *place };
    let pipe = CHILD_PIPE.load(Ordering::Acquire);
    // SAFETY: one byte of a constant; write(2) is allowed in a handler.
    unsafe { libc::write(pipe, c"!".as_ptr().cast(), 1) };
    // SAFETY: as above.
    unsafe { *place = before };
}

/// Gives a program a session of its own, on its standard input as its terminal
/// if that is one, and every signal its default action.
pub(crate) fn detach(command: &mut Command, terminal: bool) {
    let prepare = move || {
        for signo in SIGNALS {
            // SAFETY: no code of ours is set to run. What cannot be changed is
            // refused, which is fine.
            unsafe { libc::signal(signo, libc::SIG_DFL) };
        }
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(prepare) };
}

/// Sends a signal, by its number, to a child that was not waited for yet.
pub(crate) fn kill(pid: rustix::process::Pid, signo: i32) -> io::Result<()> {
    // SAFETY: `kill` touches no memory.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), signo) })
}

/// Takes what the handler wrote.
pub(crate) fn empty(pipe: &OwnedFd) {
    let mut buffer = [0; 64];
    while matches!(rustix::io::read(pipe, &mut buffer), Ok(count) if count > 0) {}
}
