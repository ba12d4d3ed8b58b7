//! What messages are made of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An enum that is a string on the wire, where an unknown string is `Unknown`
/// (serde offers that for tagged enums only).
macro_rules! open_enum {
    (
        $(#[$outer:meta])*
        pub enum $name:ident { $($(#[$inner:meta])* $variant:ident,)* }
    ) => {
        $(#[$outer])*
        pub enum $name { $($(#[$inner])* $variant,)* }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $(stringify!($variant) => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => stringify!($variant).to_owned(),)*
                }
            }
        }
    };
}

/// The network namespace of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// One of its own, made by the supervisor and bound to `netns` in the run
    /// directory (within the supervisor's own mount namespace).
    New,
    /// The host's.
    Host,
}

/// The container's root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum RootFs {
    /// An overlay, mounted in the supervisor's mount namespace only: it is in
    /// nobody else's mount table and goes when the supervisor does.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// What the container writes.
        upper: PathBuf,
        /// Overlay's scratch directory, on the file system of `upper`.
        work: PathBuf,
        /// Where the overlay is mounted: the bundle's `root.path`.
        merged: PathBuf,
    },
    /// A directory that is used as it is: the bundle's `root.path`.
    Dir {
        /// The directory.
        path: PathBuf,
    },
}

/// How much output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// A file is ended above this size.
    pub max_bytes: u64,
    /// How many files are kept.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_bytes: 10 << 20, files: 5 }
    }
}

/// What a container is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The container's id, also towards the OCI runtime.
    pub container: String,
    /// Its network namespace.
    pub netns: NetworkNamespace,
    /// Its root file system.
    pub rootfs: RootFs,
    /// The OCI bundle: the directory with `config.json`.
    pub bundle: PathBuf,
    /// The OCI runtime program.
    pub runtime: PathBuf,
    /// The runtime's state directory (`--root`).
    pub runtime_root: PathBuf,
    /// The container's cgroup v2 directory: made before the launch, removed
    /// at the end.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
    /// Where output is kept.
    pub log_dir: PathBuf,
    /// How much of it.
    #[serde(default)]
    pub log: LogLimits,
    /// What makes it a jail, on FreeBSD, and `None` elsewhere. There the root
    /// file system is a [`RootFs::Dir`] (the jail's `path`), and network
    /// namespace, bundle, runtime and cgroup are not looked at. A supervisor of
    /// before this field skips it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<Box<JailSetup>>,
}

/// What a jail is made of: `jail -c PARAMS persist`.
///
/// Its name is the container's id. What jail(8) runs while it makes the jail
/// runs before the network stands, so that `exec.start` belongs into `start`;
/// and jail(8) forgets `exec.stop` (FreeBSD 13.2), so that it belongs into
/// `stop`. The mounts of `mount.devfs` and `mount` stay: they are removed by
/// whoever asked for them, after the jail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailSetup {
    /// Its parameters, `name=ID` and `path=DIR` among them, without `persist`
    /// and without `command`.
    pub params: Vec<String>,
    /// Run in the jail at the launch, by its root and its `/bin/sh`, one after
    /// the other. The launch fails with one that fails; what they leave in the
    /// background counts as the container's.
    #[serde(default)]
    pub start: Vec<String>,
    /// Run likewise at a stop, before its signal is sent and within its grace.
    /// They may fail.
    #[serde(default)]
    pub stop: Vec<String>,
}

/// A terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A command to run in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The execution's id, unique within the container. It is a field of log
    /// lines: 1 to 64 letters, digits, `.`, `_`, `-`.
    pub id: String,
    /// Program and arguments; the program is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// `NAME=value` each.
    #[serde(default)]
    pub env: Vec<String>,
    /// Working directory; empty: `/`.
    #[serde(default)]
    pub cwd: String,
    /// `""` (root), a name or uid, optionally `:` and a group's name or gid. In
    /// a jail the number is one with a name, and the groups are the user's own:
    /// jexec(8) takes no others.
    #[serde(default)]
    pub user: String,
    /// Run on a terminal of this size.
    #[serde(default)]
    pub tty: Option<Terminal>,
    /// Whether standard input is a pipe (else it is `/dev/null`). A terminal
    /// always has input.
    #[serde(default)]
    pub stdin: bool,
}

open_enum! {
    /// How far a supervisor has come.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(from = "String", into = "String")]
    pub enum Phase {
        /// Nothing asked of it yet.
        New,
        /// Namespaces and root file system, or the jail, stand.
        Ready,
        /// The OCI runtime, or a command of the launch, is at work.
        Launching,
        /// The holder runs, or the jail takes commands.
        Running,
        /// The container has ended; traces are being removed.
        Ending,
        /// Nothing is left.
        Ended,
        /// A phase of a newer version.
        Unknown,
    }
}

/// One execution as the supervisor knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionState {
    /// Its id.
    pub id: String,
    /// Its first process's number *inside* the container.
    pub pid: i32,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its first process is alive.
    pub running: bool,
    /// The exit code once it is not: the code, or 128 + signal.
    pub exit: Option<i32>,
    /// Whether it is the container's first.
    pub first: bool,
}

/// One line of the exits file, and the event of the same content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum ExitRecord {
    /// An execution's first process has ended.
    Exec {
        /// Position in the container's exits, from 1.
        seq: u64,
        /// The execution.
        exec: String,
        /// The code, or 128 + signal.
        code: i32,
        /// Whether nothing else was left in the container.
        last: bool,
        /// When, in microseconds since 1970.
        at_us: u64,
    },
    /// The container has ended and its traces are gone.
    Ended {
        /// Position.
        seq: u64,
        /// When.
        at_us: u64,
    },
    /// The container could not be started; everything is undone.
    LaunchFailed {
        /// Position.
        seq: u64,
        /// Which step failed.
        step: String,
        /// What the failing party said.
        message: String,
        /// When.
        at_us: u64,
    },
    /// An event of a newer version.
    #[serde(other)]
    Unknown,
}

impl ExitRecord {
    /// The record's position; 0 for one of a newer version.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Exec { seq, .. } | Self::Ended { seq, .. } | Self::LaunchFailed { seq, .. } => {
                *seq
            }
            Self::Unknown => 0,
        }
    }
}

/// Everything a (new) daemon needs to know about a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The version both will use: see [`super::negotiate`].
    pub version: u32,
    /// The oldest version the supervisor speaks.
    pub min_version: u32,
    /// The container's id; empty before `Setup`.
    pub container: String,
    /// The holder's number on the host; a jail has none.
    pub pid: Option<i32>,
    /// Whether a network namespace's descriptor comes with this message.
    pub netns: bool,
    /// How far the supervisor is.
    pub phase: Phase,
    /// Every execution it has started.
    pub executions: Vec<ExecutionState>,
    /// Exits that were not acknowledged.
    pub exits: Vec<ExitRecord>,
}

open_enum! {
    /// Why a set-up failed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(from = "String", into = "String")]
    pub enum SetupFailure {
        /// There can be no overlay here: try again with a copied [`RootFs::Dir`].
        /// The supervisor waits for that.
        OverlayUnsupported,
        /// Anything else.
        Other,
        /// A kind of a newer version.
        Unknown,
    }
}

open_enum! {
    /// Why a command did not start.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(from = "String", into = "String")]
    pub enum FailureKind {
        /// No such program: a shell's 127.
        NotFound,
        /// It is there but cannot be run: a shell's 126.
        NotExecutable,
        /// The user or group does not exist in the container.
        NoSuchUser,
        /// The working directory cannot be entered.
        NoSuchDir,
        /// The container is not running, or ended meanwhile.
        NotRunning,
        /// Anything else.
        Other,
        /// A kind of a newer version.
        Unknown,
    }
}

impl FailureKind {
    /// The exit code a shell would give.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable | Self::NoSuchUser | Self::NoSuchDir => 126,
            Self::NotRunning | Self::Other | Self::Unknown => 125,
        }
    }
}
