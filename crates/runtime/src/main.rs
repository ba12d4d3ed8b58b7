//! The OCI runtime of Kleene: libcontainer and a system call filter behind
//! runc's command line.
//!
//! A program of its own, because libcontainer forks and runs ordinary code in
//! the child: it must be called by a process with a single thread. And because
//! the supervisor, of which there is one per container, would carry its weight.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    // A closed standard error leaves nobody to tell.
    drop(writeln!(
        std::io::stderr(),
        "kleene-runtime: not needed on this system: Kleene starts jails without an OCI runtime"
    ));
    std::process::ExitCode::FAILURE
}
