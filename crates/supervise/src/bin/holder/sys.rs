//! The holder's system calls that have no safe interface elsewhere.

use std::{
    ffi::{CString, c_char, c_int},
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    ptr,
};

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks: the child's number in the parent, `None` in the child.
///
/// Only the holder calls this, which has one thread, so that the child may run
/// ordinary code.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: there is no other thread whose locks the child could miss.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Ends the process without running anything of the parent's on the way.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(code) }
}

/// Replaces the program; comes back only with an error.
pub(crate) fn execve(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with a null pointer, and all strings outlive the
    // call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

fn full_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set it is given.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: it was just initialised.
    unsafe { set.assume_init() }
}

fn empty_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it was just initialised.
    unsafe { set.assume_init() }
}

/// Blocks every signal and gives the descriptor they arrive on instead.
///
/// Blocked signals are queued even for a process number one, which otherwise
/// does not get what it has no handler for.
pub(crate) fn signals() -> io::Result<OwnedFd> {
    let set = full_set();
    // SAFETY: the set is initialised; no old set is asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) })?;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: -1 asks for a new descriptor; the set is initialised.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, flags) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many bytes a signal takes on the descriptor of [`signals`], its number
/// being the first four.
pub(crate) const SIGNAL_SIZE: usize = size_of::<libc::signalfd_siginfo>();

/// Gives every signal its default action and lets all through, as a program
/// expects that is started by a shell.
pub(crate) fn reset_signals() -> io::Result<()> {
    // The kernel's structure, all zero: the default action, no flags. Not by
    // way of libc, which keeps two signals to itself that an ancestor may
    // have ignored.
    let action = [0_u64; 4];
    for signo in 1..=64 {
        // SAFETY: the action is as large as the kernel's structure, and runs
        // no code of ours. Those that cannot be changed are refused, which is
        // fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signo,
                action.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let set = empty_set();
    // SAFETY: the set is initialised; no old set is asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) })?;
    Ok(())
}

/// Sends a signal to a process, or with -1 to every one in the container.
pub(crate) fn kill(pid: i32, signo: i32) -> io::Result<()> {
    // SAFETY: `kill` touches no memory.
    check(unsafe { libc::kill(pid, signo) })?;
    Ok(())
}

/// Marks every descriptor from `first` on to be closed by the next exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: with this flag nothing is closed now.
    check(unsafe { libc::close_range(first, u32::MAX, flags) })?;
    Ok(())
}
