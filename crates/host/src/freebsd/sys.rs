//! What only unsafe code can ask of the system.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Has a command start a session of its own: it has no terminal, nobody's signals, and
/// cannot leave its process group.
pub(super) fn detach(command: &mut Command) {
    let detach = || rustix::process::setsid().map(drop).map_err(std::io::Error::from);
    // SAFETY: between fork and exec only setsid(2) is called, which is safe there
    // (POSIX, "Signal Concepts") and allocates nothing.
    unsafe { command.pre_exec(detach) };
}
