//! Black-box tests of Kleene, and the throw-away host they run in.
//!
//! A [`World`] is one pretended host: its own processes, mounts, network,
//! host name and cgroups, joined to a second network namespace that plays
//! the rest of the world. Everything in it ends with its first process, and
//! its first process ends with the test. Tests ask the kernel with `ip -j`,
//! `ss` and packets, never with Kleene's own code.
//!
//! It is made of Linux's namespaces, and elsewhere there is none. For FreeBSD there is
//! [`freebsd`]: one program that a person runs on a real system. The programs for
//! the other system say so.
#![forbid(unsafe_code)]

pub mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
mod wait;

#[cfg(target_os = "linux")]
pub use linux::{
    Background, FAR4, FAR6, Kleened, Netns, OUTSIDE4, OUTSIDE6, Output, Pump, Reply, Result, Run,
    SOCKET, Snapshot, WORLD4, WORLD6, World, WorldError, cgroup, inside, skip, target_dir,
};
pub use wait::{poll, wait_until};

/// What a program says, and how it ends, that works with throw-away hosts and was
/// built for a system that has none.
#[cfg(not(target_os = "linux"))]
pub fn nothing_to_do_here(program: &str) -> std::process::ExitCode {
    eprintln!("{program}: runs on Linux only: it works with namespaces");
    std::process::ExitCode::FAILURE
}
