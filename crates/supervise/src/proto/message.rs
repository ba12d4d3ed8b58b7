//! The messages of control frames: JSON objects with a `type`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    frame::{FrameError, FrameKind, encode_frame},
    types::{ExecSpec, ExitRecord, FailureKind, Setup, SetupFailure, State},
};

/// A message that cannot be made or understood.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not a message of this version. The stream itself is still in order.
    #[error("cannot read the message")]
    Malformed(#[source] serde_json::Error),
    /// The message does not fit into a frame.
    #[error("the message does not fit into a frame")]
    TooLarge(#[from] FrameError),
}

/// Encodes a message as a whole control frame.
///
/// # Errors
///
/// When the message is larger than a frame may be.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let json = serde_json::to_vec(message).map_err(MessageError::Malformed)?;
    Ok(encode_frame(FrameKind::Control, &json)?)
}

/// Decodes the payload of a control frame.
///
/// # Errors
///
/// When the payload is not a message of type `T` this version knows.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, MessageError> {
    serde_json::from_slice(payload).map_err(MessageError::Malformed)
}

/// What a daemon (or an attached client) asks of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ToSupervisor {
    /// Opens a control connection; answered with [`FromSupervisor::State`].
    Hello {
        /// The newest version the daemon speaks.
        version: u32,
        /// The oldest version it still speaks.
        min_version: u32,
    },
    /// Makes the container's namespaces and root file system, or its jail.
    Setup(Setup),
    /// The network stands: start the container.
    Launch {},
    /// Starts a command in the container.
    Exec(ExecSpec),
    /// Sends a signal.
    Signal {
        /// The execution whose first process gets it; `None`: the first
        /// execution.
        #[serde(default)]
        exec: Option<String>,
        /// The signal's number.
        signo: i32,
        /// To every process of the container instead.
        #[serde(default)]
        all: bool,
    },
    /// Ends the container at once.
    Kill {},
    /// Asks the first execution to end, and ends the container after the
    /// grace, whatever became of the daemon.
    Stop {
        /// The signal's number.
        signal: i32,
        /// Milliseconds until everything is killed.
        grace_ms: u64,
    },
    /// Sets the window size of an execution's terminal.
    Resize {
        /// The execution.
        exec: String,
        /// Lines.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Ends an execution's standard input, once what was sent is written.
    CloseStdin {
        /// The execution.
        exec: String,
    },
    /// Makes this connection an attachment. Valid as the first message only,
    /// and before the execution exists.
    Attach {
        /// The execution.
        exec: String,
    },
    /// On an attachment: no more input will come.
    InputEnd {},
    /// Exits up to this number are known to the daemon and may be forgotten.
    Ack {
        /// [`ExitRecord::seq`] of the last one that is known.
        seq: u64,
    },
}

/// What a supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum FromSupervisor {
    /// Answer to `Hello`; the network namespace comes along as a descriptor
    /// when `netns` says so.
    State(State),
    /// The namespaces, or the jail, stand; with a descriptor when `netns` says
    /// so.
    Ready {
        /// Whether a network namespace's descriptor comes with this message.
        netns: bool,
    },
    /// The set-up failed; nothing is left of it.
    SetupFailed {
        /// What can be done about it.
        kind: SetupFailure,
        /// The step that failed.
        step: String,
        /// Why.
        message: String,
    },
    /// The holder runs, or the jail is ready for commands.
    Launched {
        /// The holder's number on the host; 0 for a jail, which has none.
        pid: i32,
    },
    /// The container did not start; everything is undone, and `Ended` follows.
    LaunchFailed {
        /// Which step failed.
        step: String,
        /// What the failing party said.
        message: String,
    },
    /// A command runs.
    Started {
        /// The execution.
        id: String,
        /// Its process's number inside the container.
        pid: i32,
    },
    /// A command did not start.
    ExecFailed {
        /// The execution.
        id: String,
        /// Why, for programs.
        kind: FailureKind,
        /// Why, for people.
        message: String,
    },
    /// An exit: also in the exits file until acknowledged. The container's end
    /// (`ExitRecord::Ended`) is the last message of a supervisor.
    Exit(ExitRecord),
    /// An attached client vanished while its execution was running.
    Detached {
        /// The execution.
        exec: String,
    },
    /// Output could not be kept; the container was not stopped by that.
    LogDropped {
        /// How many bytes since the last such note.
        bytes: u64,
    },
    /// On an attachment: it stands.
    Attached {
        /// The execution.
        exec: String,
    },
    /// On an attachment: the client was too slow, this much output is missing
    /// here (it is in the log).
    Lost {
        /// How many bytes.
        bytes: u64,
    },
    /// On an attachment: the execution's first process has ended, and all it
    /// wrote was sent. The supervisor closes the connection after it.
    ExecExited {
        /// The execution.
        exec: String,
        /// The code, or 128 + signal.
        code: i32,
        /// Whether nothing else was left in the container.
        last: bool,
    },
    /// A request that was not understood or makes no sense now.
    Error {
        /// What is wrong.
        message: String,
    },
    /// A message of a newer version.
    #[serde(other)]
    Unknown,
}
