//! The processes that make and hold a world, all of them roles of the
//! program `world-init`:
//!
//! ```text
//! test process
//! └─ keep      makes the cgroups; when the test is gone or the world has
//!    │         ended, kills what is left and removes them
//!    └─ launch → unshare(1)     in the world's cgroups and new namespaces
//!       └─ init                 pid 1: root, /proc, /sys, uplink; then reaps
//!          └─ hold              keeps the network namespace of the outside
//! test process
//! └─ enter     joins cgroups and namespaces, runs one command
//! ```
//!
//! `keep` dies with nobody; `unshare` gets SIGKILL when `keep` dies, `init`
//! when `unshare` dies, and everything in the world when `init` dies.

mod enter;
mod init;
mod keep;
mod root;
mod uplink;

use crate::linux::error::{Result, WorldError};
use std::ffi::{OsStr, OsString};

/// Exit code for failures of the bench itself.
pub const FAILED: u8 = 121;

/// Runs the role that the arguments name.
pub fn main(args: &[OsString]) -> Result<u8> {
    let (role, rest) =
        args.split_first().ok_or_else(|| WorldError::Other("no role given".to_owned()))?;
    match role.to_str() {
        Some("keep") => keep::keep(rest),
        Some("launch") => keep::launch(rest),
        Some("init") => init::init(rest),
        Some("hold") => init::hold(),
        Some("enter") => enter::enter(rest),
        _ => Err(WorldError::Other(format!("unknown role {}", role.display()))),
    }
}

fn text(arg: Option<&OsString>, what: &str) -> Result<String> {
    arg.and_then(|arg| arg.to_str().map(str::to_owned))
        .ok_or_else(|| WorldError::Other(format!("missing argument: {what}")))
}

/// This program, to be started again in another role.
fn myself() -> Result<std::path::PathBuf> {
    std::env::current_exe().map_err(WorldError::sys("find this program"))
}

/// The number of the calling process in the namespace whose `/proc` is
/// mounted: before a world has its own, the test's numbers.
fn pid_in_mounted_proc() -> Result<u32> {
    let link = std::fs::read_link("/proc/self").map_err(WorldError::sys("read /proc/self"))?;
    let number = link.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| WorldError::Other(format!("odd /proc/self: {}", link.display())))
}

/// Runs a program to its end; its complaint is part of the error.
fn tool<S: AsRef<OsStr>>(argv: &[S], input: &str) -> Result<()> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let shown = argv.iter().map(|a| a.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
    let (program, args) =
        argv.split_first().ok_or_else(|| WorldError::Other("empty command".to_owned()))?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(WorldError::sys(format!("start `{shown}`")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(WorldError::sys(format!("write to `{shown}`")))?;
    }
    let output =
        child.wait_with_output().map_err(WorldError::sys(format!("wait for `{shown}`")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(WorldError::Other(format!("`{shown}`: {}: {}", output.status, complaint.trim())))
}
