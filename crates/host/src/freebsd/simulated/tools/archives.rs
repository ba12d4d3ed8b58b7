//! fetch(1) and tar(1), as far as images are made by them. Nothing of them is recorded:
//! fetch is from its manual, tar says what bsdtar 3.6.2 says on Linux.
//!
//! They work on real files, as who calls them does, below the directories that they are
//! told. An archive is a text here: [`ARCHIVE`], and then a line for each thing that is
//! in it: `a/b/` is a directory, `a/b -> c` a link, anything else a file.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path};

use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};

/// How the archives of this simulation begin; a real one is no text.
pub(crate) const ARCHIVE: &str = "a simulated archive\n";

/// Runs fetch.
pub(crate) fn fetch(s: &mut Session<'_>, args: &[&str]) -> Done {
    let ["-q", "-o", file, url] = args else { return unknown("options of fetch together") };
    if s.jail.is_some() || url.starts_with('-') {
        return unknown("fetch so");
    }
    let Some(content) = s.state.urls.get(*url) else {
        return s.refuse(format_args!("fetch: {url}: Not Found"));
    };
    match std::fs::write(file, content) {
        Ok(()) => Ok(()),
        Err(err) => s.refuse(format_args!("fetch: {file}: open(): {err}")),
    }
}

/// Runs tar.
pub(crate) fn tar(s: &mut Session<'_>, args: &[&str]) -> Done {
    let ["-x", "-p", "-f", file, "-C", dir, "--no-fflags"] = args else {
        return unknown("options of tar together");
    };
    if s.jail.is_some() {
        return unknown("tar in a jail");
    }
    let Ok(content) = std::fs::read(file) else {
        return s.refuse(format_args!("tar: Error opening archive: Failed to open '{file}'"));
    };
    let content = String::from_utf8_lossy(&content).into_owned();
    let Some(lines) = content.strip_prefix(ARCHIVE) else {
        return s.refuse("tar: Error opening archive: Unrecognized archive format");
    };
    // A dataset that is mounted has no directory outside this simulation.
    let mounted = s.state.directories.contains(*dir) && std::fs::create_dir_all(dir).is_ok();
    if !mounted && !Path::new(dir).is_dir() {
        return s.refuse(format_args!("tar: could not chdir to '{dir}'"));
    }
    if lines.lines().any(|line| line.starts_with('/')) {
        s.warn("tar: Removing leading '/' from member names");
    }
    let mut failed = false;
    for line in lines.lines() {
        if let Err(why) = extract(Path::new(dir), line) {
            s.warn(format_args!("{line}: {why}"));
            failed = true;
        }
    }
    if failed {
        s.warn("tar: Error exit delayed from previous errors.");
        return Err(Stop::Status(1));
    }
    Ok(())
}

/// Puts one thing into place. Nothing is written through a link, or beside the
/// directory.
fn extract(dir: &Path, line: &str) -> Result<(), String> {
    let (name, target) = match line.split_once(" -> ") {
        Some((name, target)) => (name, Some(target)),
        None => (line, None),
    };
    let relative = Path::new(name.trim_start_matches('/'));
    if relative.components().any(|part| part == Component::ParentDir) {
        return Err("Path contains '..': Unknown error: -1".to_owned());
    }
    let above = relative.parent().into_iter().flat_map(Path::ancestors);
    if above.map(|one| dir.join(one)).any(|path| path.is_symlink()) {
        return Err(format!("Cannot extract through symlink {name}: No error: 0"));
    }
    let path = dir.join(relative);
    let failed = |err: std::io::Error| err.to_string();
    if name.ends_with('/') {
        return std::fs::create_dir_all(path).map_err(failed);
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match target {
        Some(target) => symlink(target, &path).map_err(failed),
        None => std::fs::write(&path, format!("{name}\n"))
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .map_err(failed),
    }
}
