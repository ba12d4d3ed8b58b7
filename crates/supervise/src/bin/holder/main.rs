//! Process number one of a container.
//!
//! Starts every command of the container on the supervisor's request, the
//! first included, reaps, reports exits, and ends with the last process. It
//! has no right that the container does not have, and the container cannot
//! trace it.

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod holder;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "fork, exec and signals have no safe interface")]
mod sys;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match holder::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        // There is nobody to tell: the supervisor sees the end, and the errno
        // in the exit code helps whoever debugs this.
        Err(error) => {
            let errno = error.raw_os_error().and_then(|errno| u8::try_from(errno).ok());
            std::process::ExitCode::from(errno.unwrap_or(255))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    // The program is there so that an installation is the same everywhere.
    let text =
        "kleene-holder: not needed on this system, where a persistent jail holds a container";
    let _ = writeln!(std::io::stderr(), "{text}");
    std::process::ExitCode::FAILURE
}
