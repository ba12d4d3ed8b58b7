//! `demo` and `bench`: both are programs of `kleene-e2e`, which knows how to
//! make a throw-away host.

use crate::{install, sh};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds with the settings for development (a third of the time) and runs
/// the demonstration.
pub(crate) fn demo() -> Result<()> {
    install::for_tests()?;
    sh::run(&mut sh::cargo(&["build", "--workspace", "--bins"]))?;
    sh::run(&mut program("debug", "kleene-demo"))
}

/// Builds what is measured with the settings for release and measures it.
pub(crate) fn bench_run(args: &[String]) -> Result<()> {
    install::for_tests()?;
    let mut command = program("release", "kleene-bench");
    for arg in args {
        match arg.as_str() {
            "--install-peers" => install::peers()?,
            _ => {
                command.arg(arg);
            }
        }
    }
    sh::run(&mut sh::cargo(&["build", "--workspace", "--bins", "--release"]))?;
    sh::run(&mut command)
}

fn program(profile: &str, name: &str) -> Command {
    let mut command =
        Command::new(target().unwrap_or_else(|_| "target".into()).join(profile).join(name));
    command.stdin(Stdio::null());
    command
}

/// Cargo's target directory, wherever its configuration puts it.
fn target() -> Result<PathBuf> {
    let output = sh::cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .context("start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("no target_directory")
}
