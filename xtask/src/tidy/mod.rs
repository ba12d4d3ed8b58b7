//! Rules of the house that no lint knows. Each check looks at all files and
//! gives one line for each place that breaks its rule.

mod code;
mod docs;
mod words;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository that is text.
pub(crate) struct File {
    /// Relative to the workspace.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rs")
    }

    /// `path:line`, lines counted from 0 here and from 1 there.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path.display(), line + 1)
    }
}

/// Runs all checks.
pub(crate) fn tidy() -> Result<()> {
    let files = files()?;
    let mut found = code::check(&files);
    found.extend(docs::check(&files));
    found.extend(words::check(&files));
    for line in &found {
        println!("tidy: {line}");
    }
    if !found.is_empty() {
        bail!("{} places are not tidy", found.len());
    }
    println!("tidy: {} files", files.len());
    Ok(())
}

/// All text files that are or would be under version control.
fn files() -> Result<Vec<File>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("start git")?;
    let listed = if output.status.success() {
        String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
    } else {
        // An unpacked source archive.
        walk(Path::new("."))
    };
    // What is not UTF-8 or was just removed is no text of ours.
    let read = |path: PathBuf| Some(File { text: std::fs::read_to_string(&path).ok()?, path });
    Ok(listed.into_iter().filter_map(read).collect())
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let wanted = entries.filter(|e| e.file_name() != "target" && e.file_name() != ".git");
    let below = |path: PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
    let found = wanted.flat_map(|entry| below(entry.path()));
    found.map(|path| path.strip_prefix(".").unwrap_or(&path).to_owned()).collect()
}
