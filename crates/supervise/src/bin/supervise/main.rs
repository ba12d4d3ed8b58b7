//! The parent of one container: makes what it stands on, runs its executions,
//! keeps their output and exit codes, and outlives the daemon.
//!
//! One thread, one loop, no runtime: there is one of these per container. What
//! a container stands on is the business of a [`world::World`]: `linux`, with
//! namespaces, the OCI runtime and the holder, or `jail`, with jail(8) and
//! jexec(8). The second is compiled on Linux too, where tests drive it with
//! tools of their own.

mod conn;
mod execution;
mod executions;
mod jail;
mod journal;
mod lifecycle;
#[cfg(target_os = "linux")]
mod linux;
mod pump;
mod requests;
mod supervisor;
#[allow(unsafe_code, reason = "signals and descriptors have no safe interface")]
mod sys;
mod world;

fn main() -> std::process::ExitCode {
    supervisor::main()
}
