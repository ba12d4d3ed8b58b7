//! What differs from one system to the other: what a container stands on, and
//! how a command comes to run in it. All the rest knows only this.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    time::Instant,
};

use kleene_supervise::proto::{ExecSpec, FailureKind, Setup, SetupFailure};

/// A descriptor of a world's own, by a number that only the world understands.
pub(crate) type Source = u8;

/// What has happened in a world since it was last asked.
pub(crate) enum News {
    /// What the container stands on is there.
    Ready,
    /// It is not, and nothing is left of it.
    SetupFailed { kind: SetupFailure, step: String, message: String },
    /// Commands may be started; the number of the process that holds the
    /// container on the host, 0 where none does.
    Launched { pid: i32 },
    /// They never can be.
    LaunchFailed { step: String, message: String },
    /// A command runs; with the master of its terminal, if it has one.
    Started { key: u32, pid: i32, terminal: Option<OwnedFd> },
    /// A command did not start.
    NotStarted { key: u32, kind: FailureKind, message: String },
    /// A command's first process has ended.
    Exited { key: u32, code: i32, last: bool },
    /// No process is left in the container, or none that would have a chance.
    Empty,
    /// Every trace of it is removed.
    Gone,
}

/// A command's ends of its pipes; none where it gets a terminal.
pub(crate) struct CommandEnds {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
}

/// What a container stands on. Nothing here waits: what was asked for is
/// answered by [`News`], in the order in which it happened.
pub(crate) trait World {
    /// Makes it: [`News::Ready`] or [`News::SetupFailed`]. After a failure it
    /// may be asked for again. The run directory is this supervisor's.
    fn set_up(&mut self, setup: &Setup, run_dir: &Path);

    /// The network stands: [`News::Launched`] or [`News::LaunchFailed`].
    fn launch(&mut self);

    /// Whether a command can be started now.
    fn takes_commands(&self) -> bool;

    /// Starts a command: [`News::Started`] or [`News::NotStarted`], and
    /// [`News::Exited`] in the end.
    fn start(&mut self, key: u32, spec: &ExecSpec, ends: Option<CommandEnds>) -> io::Result<()>;

    /// Sends a signal to a command's first process, or (`None`) to every
    /// process of the container.
    fn signal(&mut self, key: Option<u32>, signo: i32) -> io::Result<()>;

    /// Asks the container to end, by a signal as [`World::signal`] sends it.
    fn stop(&mut self, key: Option<u32>, signo: i32) -> io::Result<()> {
        self.signal(key, signo)
    }

    /// Kills every process: [`News::Empty`] follows.
    fn kill(&mut self);

    /// Kills what is left and removes every trace: [`News::Gone`] follows.
    fn end(&mut self);

    /// The container's network namespace, if it has one of its own.
    fn netns(&self) -> Option<&OwnedFd>;

    /// The process that holds the container, by its number on the host.
    fn pid(&self) -> Option<i32>;

    /// What to wait for until it can be read.
    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)>;

    /// One of them can be read.
    fn serve(&mut self, source: Source);

    /// When [`World::on_time`] wants to be called, at the latest.
    fn deadline(&self, now: Instant) -> Option<Instant>;

    /// Does what is due.
    fn on_time(&mut self, now: Instant);

    /// What has happened, the oldest first; each is told once.
    fn take_news(&mut self) -> Vec<News>;
}
