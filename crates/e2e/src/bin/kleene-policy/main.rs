//! The policy, proved with packets: topologies from a seed are made in throw-away
//! hosts, real TCP, UDP and ICMP flows of both families are sent through them, and
//! what becomes of each is compared with what `Policy::verdict` says.
//!
//! ```text
//! kleene-policy [--flows N] [--seed S] [--topologies T] [--first N]
//!               [--keep-going] [--table FILE]
//! kleene-policy sabotage [--seed S] [NAME…]
//! ```
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    kleene_e2e::nothing_to_do_here("kleene-policy")
}
