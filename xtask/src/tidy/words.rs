//! Words that have no business in a file: where things lie on the machine
//! at hand.

use super::File;
use std::path::{Path, PathBuf};

/// Directories that are on every machine, so naming them gives nothing away.
const COMMON: [&str; 13] = [
    "",
    "/",
    "/tmp",
    "/root",
    "/home",
    "/var",
    "/usr",
    "/opt",
    "/srv",
    "/run",
    "/mnt",
    "/usr/src",
    "/usr/local",
];

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut places = Vec::new();
    if let Ok(here) = std::env::current_dir() {
        places.extend(here.parent().map(Path::to_owned));
        places.push(here);
    }
    for variable in ["CARGO_TARGET_DIR", "HOME"] {
        places.extend(std::env::var_os(variable).map(PathBuf::from));
    }
    places.retain(|place| place.is_absolute() && COMMON.iter().all(|c| place != Path::new(c)));
    let texts: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    find(files, &texts)
}

fn find(files: &[File], places: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let bad = places.iter().find(|place| mentions(line, place));
            found.extend(
                bad.map(|place| format!("{}: a path of this machine: {place}", file.at(number))),
            );
        }
    }
    found
}

/// Whether `line` names `place` or something below it: `/a` is not in `/abc`,
/// nor in `x/a`.
fn mentions(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + place.len()..].chars().next();
        let part = |c: char| c.is_alphanumeric() || "_-.}".contains(c);
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_only() {
        assert!(mentions("cd /a/b && ls", "/a"));
        assert!(mentions("\"/a\"", "/a"));
        assert!(!mentions("/abc x/a", "/a"));
    }
}
