//! Running commands in a world.

use crate::linux::output::{Output, Pump};
use crate::wait::poll;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
/// After a command's end its pipes are read for as long as this: a process
/// that it left behind may hold them open.
const PIPE_LIMIT: Duration = Duration::from_secs(2);

/// A command to run in a world.
#[derive(Debug, Clone)]
pub struct Run {
    pub(crate) argv: Vec<OsString>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) limit: Duration,
}

impl Run {
    /// A command with its arguments.
    pub fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self { argv, stdin: None, env: Vec::new(), limit: DEFAULT_LIMIT }
    }

    /// Bytes for its standard input (else `/dev/null`).
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// How long it may take (else 30 s); then it is killed.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command as one would type it.
    pub(crate) fn shown(&self) -> String {
        let quoted = self.argv.iter().map(|arg| {
            let arg = arg.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
            if !arg.is_empty() && arg.chars().all(plain) {
                arg.into_owned()
            } else {
                format!("'{}'", arg.replace('\'', "'\\''"))
            }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// A command that runs beside the test; killed when dropped.
#[derive(Debug)]
pub struct Background {
    shown: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Pump,
    stderr: Pump,
    started: Instant,
    outlives: bool,
}

impl Background {
    /// Starts `command`, which runs what `run` describes.
    ///
    /// # Panics
    /// When the program that enters the world cannot be started.
    #[track_caller]
    pub(crate) fn start(mut command: Command, run: &Run) -> Self {
        let shown = run.shown();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that the limit also ends what it started.
        command.process_group(0);
        let started = Instant::now();
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"));
        let stdout = child.stdout.take().map(Pump::start).unwrap_or_default();
        let stderr = child.stderr.take().map(Pump::start).unwrap_or_default();
        let stdin = child.stdin.take();
        Self { shown, child, stdin, stdout, stderr, started, outlives: false }
    }

    /// Leaves it to the end of the world to end it.
    pub(crate) fn outlive(&mut self) {
        self.outlives = true;
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    /// When the input is closed.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let Some(stdin) = &mut self.stdin else { panic!("input of `{}` is closed", self.shown) };
        let sent = stdin.write_all(bytes.as_ref()).and_then(|()| stdin.flush());
        sent.unwrap_or_else(|error| panic!("cannot write to `{}`: {error}", self.shown));
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process that the world sees, as a process number of the test's
    /// own namespace; `None` when it is gone.
    pub fn pid(&self) -> Option<u32> {
        child_of(self.child.id())
    }

    /// Sends a signal to the command itself, not to what it started.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Kills it and everything in its process group.
    pub fn kill(&mut self) {
        if self.running()
            && let Ok(raw) = i32::try_from(self.child.id())
            && let Some(group) = Pid::from_raw(raw)
        {
            // Gone meanwhile is as good.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }

    /// Waits for its end, kills it after `limit`, and gives what it left.
    pub fn wait(mut self, limit: Duration) -> Output {
        self.finish(limit)
    }

    fn finish(&mut self, limit: Duration) -> Output {
        let ended = poll(limit, || self.child.try_wait().ok().flatten());
        let took = self.started.elapsed();
        self.kill();
        Output {
            command: self.shown.clone(),
            status: ended.map(exit_code),
            stdout_bytes: self.stdout.until_end(PIPE_LIMIT),
            stderr_bytes: self.stderr.until_end(PIPE_LIMIT),
            took,
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.outlives {
            self.kill();
        }
    }
}

/// Runs to the end.
#[track_caller]
pub(crate) fn run(command: Command, run: &Run) -> Output {
    let mut background = Background::start(command, run);
    if let Some(mut stdin) = background.stdin.take()
        && let Some(bytes) = run.stdin.clone()
    {
        // In a thread: a command may well write before it has read. One that
        // ends without reading breaks the pipe, which is its right.
        std::thread::spawn(move || stdin.write_all(&bytes));
    }
    background.finish(run.limit)
}

/// The code a shell would show.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap_or(-1)
}

pub(crate) fn send(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        // Gone meanwhile is as good.
        let _ = kill_process(pid, signal);
    }
}

/// The child of `parent`, which has at most one.
pub(crate) fn child_of(parent: u32) -> Option<u32> {
    let wanted = format!("PPid:\t{parent}");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        status.lines().any(|line| line == wanted).then_some(pid)
    })
}
