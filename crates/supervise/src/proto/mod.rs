//! The protocol between the daemon and a supervisor.
//!
//! One stream socket, frames both ways. A connection is a *control connection*
//! (its first message is anything but [`ToSupervisor::Attach`]) or an
//! *attachment* to one execution. Unknown message types and fields are
//! tolerated, so that a daemon may be newer or older than the supervisors it
//! finds.

mod frame;
mod message;
mod types;

pub use frame::{Decoder, Frame, FrameError, FrameKind, MAX_FRAME, encode_frame};
pub use message::{FromSupervisor, MessageError, ToSupervisor, decode, encode};
pub use types::{
    ExecSpec, ExecutionState, ExitRecord, FailureKind, JailSetup, LogLimits, NetworkNamespace,
    Phase, RootFs, Setup, SetupFailure, State, Terminal,
};

/// The protocol's version this code speaks.
pub const VERSION: u32 = 1;

/// The oldest version this code still understands.
pub const MIN_VERSION: u32 = 1;

/// The version two parties use, given what each understands: the newest that
/// both know, `None` when there is none.
#[must_use]
pub fn negotiate((own_min, own_max): (u32, u32), (peer_min, peer_max): (u32, u32)) -> Option<u32> {
    let version = own_max.min(peer_max);
    (version >= own_min && version >= peer_min).then_some(version)
}

#[cfg(test)]
mod tests;
