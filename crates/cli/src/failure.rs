//! Why a command failed: its words, its hints, and the exit code.
//!
//! | exit code | meaning |
//! |---|---|
//! | the command's own | `run`, `exec`, `start`: it ran and ended |
//! | 125 | `run`, `exec`, `start`: Kleene failed; any command: a bad `--mount` |
//! | 126, 127 | `run`, `exec`, `start`: the command cannot be run, is not there |
//! | 1 | any other command failed |
//! | 2 | bad usage |
//! | 128 + n | ended by signal n: 130 SIGINT, 143 SIGTERM, 141 stdout closed |

use std::error::Error;
use std::io;

use crate::client::ApiError;
use crate::config::ConfigError;
use crate::mounts::MountError;
use crate::ports::PortError;

/// The exit code of a command that a closed pipe ended, as SIGPIPE gives it.
const BROKEN_PIPE: u8 = 141;

/// Why a command failed. `Display` never repeats its source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A request failed or was refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon refused to create the container.
    #[error("could not create container")]
    Create(#[source] ApiError),
    /// The daemon refused to connect the new container.
    #[error("could not connect container")]
    Connect {
        /// What the daemon said.
        source: ApiError,
        /// What became of the container.
        aftermath: String,
    },
    /// The daemon refused to create an execution.
    #[error("{container}: error creating execution instance")]
    ExecCreate {
        /// The container, as it was named.
        container: String,
        /// What the daemon said.
        source: ApiError,
    },
    /// The execution did not start.
    #[error("{text}")]
    NotStarted {
        /// What the daemon said.
        text: String,
        /// 125, or 126 and 127 when it is the command's fault.
        exit_code: u8,
    },
    /// `-m` that cannot be read.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// `-p` that cannot be read.
    #[error(transparent)]
    Port(#[from] PortError),
    /// `-l` that is no driver.
    #[error(
        "Error! Could not validate container configuration: '{text}' is not a valid ContainerConfigNetworkDriver"
    )]
    Driver {
        /// What was typed.
        text: String,
    },
    /// Several containers, attached.
    #[error("only one container can be started when attaching to container I/O.")]
    OneAtATime,
    /// A method of making images that needs its SOURCE.
    #[error("The SOURCE argument is needed when creating images using the '{method}' method.")]
    SourceMissing {
        /// As it was typed.
        method: String,
    },
    /// Words that nobody needs.
    #[error("too many arguments: {extra}")]
    TooManyArguments {
        /// Those, as they were typed.
        extra: String,
    },
    /// The image was not made.
    #[error("{text}")]
    ImageNotCreated {
        /// What the daemon said.
        text: String,
    },
    /// Something this version does not do.
    #[error("unsupported: {what}")]
    Unsupported {
        /// The feature, and what to do instead.
        what: &'static str,
    },
    /// The user did not agree.
    #[error("Aborted!")]
    Aborted,
    /// A signal ended it; there is nothing to say.
    #[error("interrupted by user")]
    Interrupted {
        /// 128 + the signal.
        exit_code: u8,
    },
    /// stdout cannot be written to.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    /// stdin cannot be read.
    #[error("cannot read from stdin")]
    Stdin(#[source] io::Error),
    /// The process lacks something from the system.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Printed already, one line for each argument.
    #[error("some of the arguments failed")]
    Reported,
}

impl Failure {
    /// Puts `refusal` behind the known words, and leaves other errors as they
    /// are: a daemon that is away is no refusal.
    pub(crate) fn refused(err: ApiError, known: impl FnOnce(ApiError) -> Self) -> Self {
        if err.is_refusal() { known(err) } else { Self::Api(err) }
    }

    /// The whole chain on one line; nothing when there is nothing to say.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Reported | Self::Interrupted { .. } => return None,
            Self::Stdout(err) if err.kind() == io::ErrorKind::BrokenPipe => return None,
            _ => {}
        }
        let mut text = self.to_string();
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(err) = next {
            causes.push(err.to_string());
            next = err.source();
        }
        match (causes.is_empty(), text.ends_with('.')) {
            (true, _) => {}
            // A known text that is a whole sentence stays one.
            (false, true) => text.push_str(&format!(" ({})", causes.join(": "))),
            (false, false) => text.push_str(&format!(": {}", causes.join(": "))),
        }
        Some(text)
    }

    /// What the user may do about it.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Api(err)
            | Self::Create(err)
            | Self::Connect { source: err, .. }
            | Self::ExecCreate { source: err, .. } => err.hints(),
            _ => Vec::new(),
        }
    }

    /// What else happened.
    pub(crate) fn notes(&self) -> Vec<String> {
        match self {
            Self::Connect { aftermath, .. } => vec![aftermath.clone()],
            _ => Vec::new(),
        }
    }

    /// The exit code; `runs_a_command` for `run`, `exec` and `start`.
    pub(crate) fn exit_code(&self, runs_a_command: bool) -> u8 {
        match self {
            Self::Mount(_) => 125,
            Self::NotStarted { exit_code, .. } if runs_a_command => *exit_code,
            Self::Interrupted { exit_code } => *exit_code,
            Self::Stdout(err) if err.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
            _ if runs_a_command => 125,
            _ => 1,
        }
    }
}
