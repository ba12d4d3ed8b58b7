//! `test` and `deny`.

use crate::{freebsd, install, sh, tidy};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set for the tests when they run as root: nothing may be skipped then.
const REQUIRE: &str = "KLEENE_REQUIRE_ROOT_TESTS";
/// Where tests write what they skipped.
const SKIP_LOG: &str = "KLEENE_SKIP_LOG";

/// One part of `test`, and how it went.
struct Step {
    name: &'static str,
    took: Duration,
    result: Result<()>,
}

/// Runs everything. All steps run, whatever fails; the last lines are the
/// test runner's own summary.
pub(crate) fn test(args: &[String]) -> Result<()> {
    install::for_tests()?;
    install::services()?;
    let mut summary = Vec::new();
    let mut steps =
        vec![step("build", || sh::run(&mut sh::cargo(&["build", "--workspace", "--bins"])))];
    let buildable = steps.iter().all(|step| step.result.is_ok());
    if args.is_empty() {
        steps.push(step("fmt", || sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))));
        steps.push(step("clippy", || {
            let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            sh::run(&mut sh::cargo(&clippy))
        }));
        steps.push(step("tidy", tidy::tidy));
        steps.push(step("scripts", scripts));
        steps.push(step("freebsd", freebsd::check));
        steps.push(step("freebsd-dist", freebsd::dist_if_cheap));
        steps.push(step("deny", deny_if_there));
    }
    if buildable {
        if args.is_empty() {
            let doc = ["test", "--workspace", "--doc", "--quiet"];
            steps.push(step("doc tests", || sh::run(&mut sh::cargo(&doc))));
        }
        steps.push(step("tests", || tests(args, &mut summary)));
    }
    report(&steps, &summary)
}

fn step(name: &'static str, work: impl FnOnce() -> Result<()>) -> Step {
    let start = Instant::now();
    let result = work();
    Step { name, took: start.elapsed(), result }
}

fn report(steps: &[Step], summary: &[String]) -> Result<()> {
    println!();
    for step in steps {
        let seconds = step.took.as_secs_f32();
        match &step.result {
            Ok(()) => println!("ok      {:<12} {seconds:6.1} s", step.name),
            Err(error) => println!("FAILED  {:<12} {seconds:6.1} s  {error:#}", step.name),
        }
    }
    let skipped = std::fs::read_to_string(skip_log()).unwrap_or_default();
    print!("{skipped}");
    for line in summary {
        println!("{line}");
    }
    let failed: Vec<_> = steps.iter().filter(|s| s.result.is_err()).map(|s| s.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn skip_log() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let file = std::path::PathBuf::from(target).join("skipped-tests.txt");
    std::path::absolute(&file).unwrap_or(file)
}

fn tests(args: &[String], summary: &mut Vec<String>) -> Result<()> {
    let nextest = sh::succeeds("cargo-nextest", &["--version"]);
    let mut command = if nextest {
        sh::cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        println!("no cargo-nextest: falling back to `cargo test`");
        sh::cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    };
    command.args(args);
    let log = skip_log();
    let _ = std::fs::remove_file(&log);
    command.env(SKIP_LOG, log);
    if sh::is_root() {
        command.env(REQUIRE, "1");
    } else {
        println!("SKIPPED: not root: every test that needs a throw-away host will be skipped");
    }
    // nextest reports on standard error, libtest on standard output.
    if !nextest {
        return sh::run(&mut command);
    }
    let shown = sh::shown(&command);
    println!("\n$ {shown}");
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("start `{shown}`"))?;
    let pipe = child.stderr.take().context("no pipe to the test runner")?;
    for line in BufReader::new(pipe).lines() {
        let line = line.context("read from the test runner")?;
        writeln!(std::io::stderr(), "{line}").ok();
        if line.trim_start().starts_with("Summary [") || !summary.is_empty() {
            summary.push(line);
        }
    }
    let status = child.wait().with_context(|| format!("wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}`: {status}");
    }
    Ok(())
}

/// Scripts that are shipped: whether a shell can read them, and what shellcheck says.
fn scripts() -> Result<()> {
    let shipped = "packaging/freebsd/rc.d/kleened";
    sh::run(Command::new("sh").args(["-n", shipped]))?;
    if !sh::in_path("shellcheck") {
        println!("SKIPPED: no shellcheck");
        return Ok(());
    }
    sh::run(Command::new("shellcheck").arg(shipped))
}

fn has_deny() -> bool {
    sh::succeeds("cargo-deny", &["--version"])
}

fn run_deny() -> Result<()> {
    sh::run(&mut sh::cargo(&["deny", "check", "licenses", "bans", "sources"]))
}

/// Building cargo-deny takes minutes: CI does it, at a desk `test` only uses one
/// that is there.
fn deny_if_there() -> Result<()> {
    if has_deny() || std::env::var_os("CI").is_some() {
        return deny();
    }
    println!("\nSKIPPED: no cargo-deny; `cargo xtask deny` installs and runs it");
    Ok(())
}

/// Checks licences, bans and sources; installs cargo-deny when missing.
pub(crate) fn deny() -> Result<()> {
    if !has_deny() {
        let install: &mut Command = &mut sh::cargo(&["install", "--locked", "cargo-deny"]);
        sh::run(install)?;
    }
    run_deny()
}
