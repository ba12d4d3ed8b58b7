//! What a test needs of the machine, and how it says that it is missing.

use crate::linux::error::{Result, WorldError};
use crate::linux::world::PATH;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by `cargo xtask test` and in CI: a missing requirement is a failure.
const REQUIRE: &str = "KLEENE_REQUIRE_ROOT_TESTS";
/// A file that `cargo xtask test` reads afterwards, to tell what was skipped.
const SKIP_LOG: &str = "KLEENE_SKIP_LOG";

/// Says loudly that `test` is skipped and why.
///
/// # Panics
/// When the environment says that nothing may be skipped.
#[track_caller]
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}");
    assert!(std::env::var(REQUIRE).as_deref() != Ok("1"), "{line} (and {REQUIRE}=1)");
    eprintln!("{line}");
    if let Some(log) = std::env::var_os(SKIP_LOG) {
        let file = std::fs::File::options().append(true).create(true).open(log);
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}

/// What keeps this machine from having worlds, if anything does.
pub(crate) fn missing_for_a_world() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let absent = ["unshare", "nsenter", "ip", "busybox"].iter().find(|p| !in_path(p));
    if let Some(program) = absent {
        return Some(format!("no {program}; `cargo xtask test` installs it"));
    }
    // Root in a container may be kept from it.
    let mut probe = Command::new("unshare");
    match probe.args(["--mount", "--net", "--pid", "--cgroup", "--fork", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("cannot start unshare: {error}")),
    }
}

/// Which of these programs, by name or path, a world would not have.
pub(crate) fn missing_in_a_world(programs: &[impl AsRef<Path>]) -> Option<String> {
    let has = |name: &Path| PATH.split(':').any(|dir| Path::new(dir).join(name).is_file());
    let absent = programs.iter().map(AsRef::as_ref).find(|program| !has(program))?;
    Some(format!("no {}; `cargo xtask test` installs it", absent.display()))
}

/// Whether a program can be started by its name.
fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The directory of this build's programs: above that of the test program.
pub fn target_dir() -> Result<PathBuf> {
    let me = std::env::current_exe().map_err(WorldError::sys("find this test program"))?;
    let dir = me.parent().unwrap_or(Path::new("/"));
    let in_deps = dir.file_name().is_some_and(|name| name == "deps");
    Ok(if in_deps { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}

/// A program of this build.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = target_dir()?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let why = format!("no {}; build the workspace first: cargo build", path.display());
    Err(WorldError::Other(why))
}
