//! What every system's `doctor` looks at, and what it finds.

use std::fmt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

/// The longest path that a unix socket can have, in bytes: `sun_path` less its final
/// zero.
pub(crate) const SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Free space that a few containers fill in no time, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;
/// Free space with which nothing can be promised, in bytes.
const NO_SPACE: u64 = 64 << 20;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something will not work, or differently.
    Warn,
    /// Containers cannot run.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its stable name, for scripts.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What follows from it; empty when all is well.
    pub consequence: String,
    /// What can be done about it; empty when all is well.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            id,
            level: Level::Ok,
            what: what.into(),
            consequence: String::new(),
            remedy: String::new(),
        }
    }

    pub(crate) fn bad(
        id: &'static str,
        level: Level,
        what: impl Into<String>,
        then: [&str; 2],
    ) -> Self {
        let [consequence, remedy] = then.map(str::to_owned);
        Self { id, level, what: what.into(), consequence, remedy }
    }
}

pub(crate) fn root() -> Finding {
    if rustix::process::geteuid().is_root() {
        return Finding::ok("root", "runs as root");
    }
    let then =
        ["nothing of a container can be made, and checks below fail for this alone", "use sudo"];
    Finding::bad("root", Level::Fail, "does not run as root", then)
}

/// The directory itself or the nearest one above it.
pub(crate) fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

pub(crate) fn space(root_dir: &Path) -> Finding {
    let dir = existing(root_dir);
    let free = match statvfs(dir) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(e) => {
            let what = format!("cannot look at the free space of {}: {e}", dir.display());
            let then = ["it may be full", "see whether kleene_root is readable"];
            return Finding::bad("space", Level::Warn, what, then);
        }
    };
    let what = format!("{} MiB are free for {}", free >> 20, root_dir.display());
    let remedy = "make room, or move kleene_root";
    match free {
        ..NO_SPACE => Finding::bad("space", Level::Fail, what, ["nothing can be created", remedy]),
        NO_SPACE..LITTLE_SPACE => {
            let consequence = "containers that write much will fail";
            Finding::bad("space", Level::Warn, what, [consequence, remedy])
        }
        LITTLE_SPACE.. => Finding::ok("space", what),
    }
}

pub(crate) fn program(dir: &Path, (id, name): (&'static str, &str)) -> Finding {
    let path = dir.join(name);
    let found = access(&path, Access::EXEC_OK);
    match found {
        Ok(()) if path.is_file() => Finding::ok(id, format!("{} is there", path.display())),
        Ok(()) | Err(_) => {
            let what = format!("there is no program {}", path.display());
            let remedy = "install it beside kleened: one build makes all of them";
            Finding::bad(id, Level::Fail, what, ["no container can start", remedy])
        }
    }
}

pub(crate) fn socket(path: &Path) -> Finding {
    let length = path.as_os_str().len();
    if length <= SOCKET_PATH {
        return Finding::ok("socket-path", format!("{} is short enough", path.display()));
    }
    let what = format!("{} is {length} bytes long, of {SOCKET_PATH} at most", path.display());
    let then = ["the socket cannot be made", "use a shorter path"];
    Finding::bad("socket-path", Level::Fail, what, then)
}
