//! Images of archives. Those of datasets need ZFS, which nothing here does.

use std::path::Path;

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::report::{Done, fails, want};
use crate::freebsd::trial::Trial;

pub(super) const CHECKS: &[Check] = &[
    check("image-fetch", "an image is made of an archive, and containers of the image", fetched),
    check("image-none", "what is no archive of a root makes no image", refused),
];

/// What the archive's own file has, and no other.
const MARK: &str = "of-the-archive";

/// Makes a directory with a file of ours below the run's own.
fn tree(trial: &Trial, name: &str, file: &str) -> Done<String> {
    let dir = trial.paths.dir.join(name);
    let path = dir.join(file);
    let made = std::fs::create_dir_all(path.parent().unwrap_or(&dir))
        .and_then(|()| std::fs::write(&path, format!("{MARK}\n")));
    match made {
        Ok(()) => Ok(dir.display().to_string()),
        Err(err) => fails(format!("{} is made", path.display()), err.to_string()),
    }
}

/// An archive of a file of ours, and of two programs of the host's that need no others:
/// two names of one file.
fn archive(trial: &Trial) -> Done<String> {
    let (dir, file) = (tree(trial, "image", "etc/mark")?, trial.paths.dir.join("image.txz"));
    let file = file.display().to_string();
    let words = ["-c", "-J", "-f", &file, "-C", &dir, "etc", "-C", "/"];
    let programs = ["rescue/sh", "rescue/sleep", "etc/passwd"];
    trial.done(Tool::Tar, &[&words[..], &programs].concat())?;
    Ok(format!("file://{file}"))
}

/// Whether klee knows an image of that name.
fn is_known(trial: &Trial, name: &str) -> Done<bool> {
    Ok(trial.klee(&["image", "inspect", name])?.status == 0)
}

fn fetched(trial: &mut Trial) -> Done {
    let url = archive(trial)?;
    trial.klee_done(&["image", "create", "--no-dns", "-t", "accept", "fetch", &url])?;
    want(is_known(trial, "accept")?, "the image is known", "it is not")?;
    for name in ["t1a", "t1b"] {
        trial.made.0.push(name.to_owned());
        let options = ["run", "-d", "-l", "disabled", "--name", name, "accept"];
        trial.klee_done(&[&options[..], &["/rescue/sleep", "3600"]].concat())?;
    }
    let run = |trial: &Trial, name: &str, script: &str, code: i32| {
        let answer = trial.klee(&["exec", "-q", name, "/rescue/sh", "-c", script])?;
        let said = format!("{}: {}", answer.status, answer.words());
        want(answer.status == code, format!("'{script}' in {name}: {code}"), said)
    };
    let marked = format!("read mark < /etc/mark; test \"$mark\" = {MARK}");
    run(trial, "t1a", &marked, 0)?;
    run(trial, "t1a", &format!("{marked}-not"), 1)?;
    // Each has files of its own.
    run(trial, "t1a", "echo own > /own", 0)?;
    run(trial, "t1a", "test -f /own", 0)?;
    run(trial, "t1b", "test -f /own", 1)?;
    trial.klee_done(&["stop", "t1a", "t1b"])?;
    trial.klee_refused(&["image", "rm", "accept"], "since it is used for containers")?;
    trial.klee_done(&["rmc", "t1a", "t1b"])?;
    trial.klee_done(&["image", "rm", "accept"])?;
    want(!is_known(trial, "accept")?, "the image is gone", "it is known")
}

fn refused(trial: &mut Trial) -> Done {
    let dir = tree(trial, "other", "other/mark")?;
    let other = trial.paths.dir.join("other.txz").display().to_string();
    trial.done(Tool::Tar, &["-c", "-f", &other, "-C", &dir, "other"])?;
    let text = Path::new(&dir).join("other/mark").display().to_string();
    for (file, words) in [
        ("/nonexistent.txz", "cannot fetch file:///nonexistent.txz"),
        (&*text, "cannot unpack"),
        (&*other, "is no root of a system"),
    ] {
        let create = ["image", "create", "-t", "none", "fetch", &format!("file://{file}")];
        trial.klee_refused(&create, words)?;
        want(!is_known(trial, "none")?, "no image is known", "one is")?;
    }
    // The twin of all of them.
    let url = archive(trial)?;
    trial.klee_done(&["image", "create", "--no-dns", "-t", "none", "fetch", &url])?;
    trial.klee_done(&["image", "rm", "none"]).map(drop)
}
