//! A command of a container as jexec(8) is told of it (FreeBSD 13.2).
//!
//! jexec becomes the command, with the environment and the descriptors it was
//! given. Why a program cannot be run it says on the command's own standard
//! error, with the status 1 that any command may have: what can be told is
//! looked up below the jail's root beforehand. It changes to `/`, and has no
//! option for another directory. `-U` takes a name of the jail's own users and
//! sets what belongs to them.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
};

use kleene_supervise::{
    proto::{ExecSpec, FailureKind},
    users::{self, User},
};
use rustix::io::Errno;

use super::root;

/// No sane user database is larger; the container could make it endless.
const MAX_DATABASE: u64 = 4 << 20;

/// The path of FreeBSD's login class `default`.
const DEFAULT_PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// What `jexec -U` sets itself, whatever it was given.
const SET_BY_JEXEC: [&str; 8] =
    ["BLOCKSIZE", "HOME", "LANG", "MAIL", "MM_CHARSET", "PATH", "SHELL", "USER"];

/// Changes to `$0` and becomes the rest.
const ENTER: &str = "cd -- \"$0\" && exec \"$@\"";

/// Why there is no command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

fn refusal(kind: FailureKind, message: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into() }
}

/// What jexec is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// For `-U`; `None` is root, which jexec does not change anything for.
    pub(super) user: Option<OsString>,
    /// Whom a terminal belongs to.
    pub(super) uid: u32,
    /// The command.
    pub(super) argv: Vec<OsString>,
    /// The whole environment.
    pub(super) env: Vec<(OsString, OsString)>,
}

/// Plans a command in the jail with this root directory.
pub(super) fn plan(root: &OwnedFd, spec: &ExecSpec) -> Result<Plan, Refusal> {
    if spec.argv.iter().chain(&spec.env).any(|text| text.contains('\0')) || spec.cwd.contains('\0')
    {
        let message = "cannot run the command: an argument or variable contains a null byte";
        return Err(refusal(FailureKind::Other, message));
    }
    let passwd = root::read(root, b"etc/passwd", MAX_DATABASE).unwrap_or_default();
    let user = user(&spec.user, &passwd)?;
    let asked = asked_for(&spec.env);
    let env = environment(&asked, user.as_ref(), spec.tty.is_some());
    enter(root, &spec.cwd)?;
    let named = user.filter(|user| user.uid != 0 || user.name != b"root");
    // The path of other users is that of their login class.
    let own_path = named.is_some() && asked.iter().all(|(name, _)| *name != "PATH");
    let path = env.iter().find(|(name, _)| name == "PATH" && !own_path);
    look_up(root, spec, path.map(|(_, value)| value.as_os_str()))?;
    let mut argv = Vec::new();
    if named.is_some() {
        again(&asked, &mut argv);
    }
    if !matches!(spec.cwd.as_str(), "" | "/") {
        // Not by a relative name, which `cd` may take for something else.
        let slash = if spec.cwd.starts_with('/') { "" } else { "/" };
        let cwd = format!("{slash}{}", spec.cwd);
        argv.extend(["/bin/sh", "-c", ENTER, &cwd].map(OsString::from));
    }
    argv.extend(spec.argv.iter().map(OsString::from));
    Ok(Plan {
        user: named.map(|user| OsStr::from_bytes(user.name).to_owned()),
        uid: named.map_or(0, |user| user.uid),
        argv,
        env,
    })
}

/// The line of who is asked for; `None` is root in a container without one.
fn user<'a>(text: &str, passwd: &'a [u8]) -> Result<Option<User<'a>>, Refusal> {
    if let Some((_, group)) = text.split_once(':') {
        let message = format!("cannot run as {text:?}: jexec cannot set the group {group:?}");
        return Err(refusal(FailureKind::Other, message));
    }
    let text = if text.is_empty() { "root" } else { text };
    let found = users::find(text.as_bytes(), passwd);
    if found.is_some() || matches!(text, "root" | "0") {
        return Ok(found);
    }
    let message = match text.parse::<u32>() {
        Ok(_) => format!("no user with the number {text} in the container, and jexec takes names"),
        Err(_) => format!("no user {text:?} in the container"),
    };
    Err(refusal(FailureKind::NoSuchUser, message))
}

/// What is asked for, each name once; the first is what programs find.
fn asked_for(env: &[String]) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for (name, value) in env.iter().filter_map(|entry| entry.split_once('=')) {
        if !name.is_empty() && all.iter().all(|(known, _)| *known != name) {
            all.push((name, value));
        }
    }
    all
}

/// What is asked for, and what a login gives where nothing is.
fn environment(
    asked: &[(&str, &str)],
    user: Option<&User<'_>>,
    terminal: bool,
) -> Vec<(OsString, OsString)> {
    let or = |field: Option<&[u8]>, default: &str| match field {
        Some(field) if !field.is_empty() => OsString::from_vec(field.to_vec()),
        _ => OsString::from(default),
    };
    let name = or(user.map(|user| user.name), "root");
    let mut mail = OsString::from("/var/mail/");
    mail.push(&name);
    let login = [
        ("HOME", or(user.map(|user| user.home), "/")),
        ("USER", name),
        ("SHELL", or(user.map(|user| user.shell), "/bin/sh")),
        ("PATH", OsString::from(DEFAULT_PATH)),
        ("MAIL", mail),
        ("LANG", OsString::from("C.UTF-8")),
        ("MM_CHARSET", OsString::from("UTF-8")),
        ("BLOCKSIZE", OsString::from("K")),
    ];
    let terminal = terminal.then(|| ("TERM", OsString::from("xterm")));
    let mut env: Vec<(OsString, OsString)> =
        asked.iter().map(|(name, value)| (name.into(), value.into())).collect();
    for (name, value) in login.into_iter().chain(terminal) {
        if asked.iter().all(|(known, _)| *known != name) {
            env.push((name.into(), value));
        }
    }
    env
}

/// What was asked for and is undone by jexec is said once more, inside.
fn again(asked: &[(&str, &str)], argv: &mut Vec<OsString>) {
    let undone = asked.iter().filter(|(name, _)| SET_BY_JEXEC.contains(name));
    for (index, (name, value)) in undone.enumerate() {
        if index == 0 {
            argv.push("/usr/bin/env".into());
        }
        argv.push(format!("{name}={value}").into());
    }
}

fn enter(root: &OwnedFd, cwd: &str) -> Result<(), Refusal> {
    root::directory(root, cwd.as_bytes())
        .map_err(|error| refusal(FailureKind::NoSuchDir, format!("cannot enter {cwd}: {error}")))
}

/// Whether the program is there: only what is certain is refused. Without a
/// path it is not known where a name is looked for.
fn look_up(root: &OwnedFd, spec: &ExecSpec, path: Option<&OsStr>) -> Result<(), Refusal> {
    let Some(name) = spec.argv.first().filter(|name| !name.is_empty()) else {
        return Err(refusal(FailureKind::NotFound, "no command given"));
    };
    if path.is_none() && !name.contains('/') {
        return Ok(());
    }
    let path = path.unwrap_or_default();
    let mut worst = Errno::NOENT;
    for candidate in candidates(name.as_bytes(), path.as_bytes()) {
        let candidate =
            if candidate.starts_with(b"/") { candidate } else { below(&spec.cwd, &candidate) };
        match root::program(root, &candidate) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error @ Errno::ACCESS) => worst = error,
            // There is something that we cannot judge: jexec may.
            Err(_) => return Ok(()),
        }
    }
    let absent = worst == Errno::NOENT;
    let kind = if absent { FailureKind::NotFound } else { FailureKind::NotExecutable };
    Err(refusal(kind, format!("cannot run {name}: {worst}")))
}

fn below(cwd: &str, path: &[u8]) -> Vec<u8> {
    [cwd.as_bytes(), b"/", path].concat()
}

/// The files a program's name may mean: itself when it has a slash, else one
/// in every directory of the path.
fn candidates(name: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    path.split(|byte| *byte == b':')
        .map(|dir| {
            let dir = if dir.is_empty() { b"." } else { dir };
            [dir, b"/", name].concat()
        })
        .collect()
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
