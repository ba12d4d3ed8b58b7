//! FreeBSD: what is compiled for it on Linux, and programs that run there.

mod dist;
mod elf;
mod zig;

use crate::sh;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(crate) use dist::{dist, dist_if_cheap};

/// What is built for.
const TARGET: &str = "x86_64-unknown-freebsd";

/// Lints everything for FreeBSD: the compiler sees every line of it, and nothing is
/// linked or run.
pub(crate) fn check() -> Result<()> {
    if !target()? {
        return Ok(());
    }
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--target", TARGET, "--", "-D", "warnings"];
    sh::run(&mut sh::cargo(&clippy))
}

/// Whether the standard library for FreeBSD is there; installs it where that is
/// possible. Where it is not, CI fails, and a desk is told.
fn target() -> Result<bool> {
    if has_target()? {
        return Ok(true);
    }
    let add = ["target", "add", TARGET];
    let added = sh::in_path("rustup") && sh::run(Command::new("rustup").args(add)).is_ok();
    if added && has_target()? {
        return Ok(true);
    }
    if std::env::var_os("CI").is_some() {
        bail!("no standard library for {TARGET}: rustup {}", add.join(" "));
    }
    println!("MISSING: rustup {}", add.join(" "));
    println!("SKIPPED: nothing is compiled for FreeBSD");
    Ok(false)
}

fn has_target() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdin(Stdio::null())
        .output()
        .context("start rustc")?;
    let dir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(output.status.success() && dir.is_dir())
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod service_tests;
