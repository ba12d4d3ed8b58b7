//! The parent of one container: makes its namespaces, starts it by way of the
//! OCI runtime, runs its executions by way of the holder, keeps their output
//! and exit codes, and outlives the daemon.
//!
//! One thread, one loop, no runtime: there is one of these per container.

#[cfg(target_os = "linux")]
mod conn;
#[cfg(target_os = "linux")]
mod execution;
#[cfg(target_os = "linux")]
mod holder_link;
#[cfg(target_os = "linux")]
mod journal;
#[cfg(target_os = "linux")]
mod lifecycle;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod pump;
#[cfg(target_os = "linux")]
mod requests;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "unshare(2) has no safe interface")]
mod sys;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    supervisor::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "kleene-supervise: not supported on this system yet");
    std::process::ExitCode::FAILURE
}
