//! What a finished command left behind.

use crate::wait::poll;
use std::borrow::Cow;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Status and output of a finished command. The methods that check return
/// `self`, so that checks can be chained.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command, as one would type it.
    pub command: String,
    /// Exit code (128 + n after signal n); `None` when the limit was over.
    pub status: Option<i32>,
    /// Everything on its standard output.
    pub stdout_bytes: Vec<u8>,
    /// Everything on its standard error.
    pub stderr_bytes: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Standard output as text.
    pub fn stdout(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout_bytes)
    }

    /// Standard error as text.
    pub fn stderr(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr_bytes)
    }

    /// Whether standard output contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.stdout().contains(text)
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.code(0)
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert!(self.status == Some(expected), "expected exit code {expected} of {self}");
        self
    }

    /// Asserts that it failed, whatever the code.
    #[track_caller]
    pub fn fails(&self) -> &Self {
        assert!(self.status.is_some_and(|code| code != 0), "expected a failure of {self}");
        self
    }

    /// Asserts that standard output contains `text`.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stdout().contains(text), "expected {text:?} on stdout of {self}");
        self
    }

    /// Asserts that standard error contains `text`.
    #[track_caller]
    pub fn complains(&self, text: &str) -> &Self {
        assert!(self.stderr().contains(text), "expected {text:?} on stderr of {self}");
        self
    }

    /// The first line of standard output, trimmed: ids, mostly.
    pub fn first_line(&self) -> String {
        self.stdout().lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout_bytes)
            .unwrap_or_else(|error| panic!("expected JSON ({error}) from {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ({:?})", self.command, self.took)?;
        match self.status {
            Some(code) => writeln!(f, "  exit code: {code}")?,
            None => writeln!(f, "  killed: its time limit was over")?,
        }
        for (name, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if !text.is_empty() {
                writeln!(f, "  {name}:")?;
                text.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

/// Collects a pipe's bytes in a thread of its own, so that no command ever
/// blocks on a full pipe and no test on one that stays open.
#[derive(Debug, Clone, Default)]
pub struct Pump(Arc<Mutex<Collected>>);

impl Pump {
    pub(crate) fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let pump = Self::default();
        let filled = pump.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                filled.lock().bytes.extend_from_slice(&buffer[..count]);
            }
            filled.lock().ended = true;
        });
        pump
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came so far.
    pub fn so_far(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Everything until the pipe's end, or what came within `limit`.
    pub(crate) fn until_end(&self, limit: Duration) -> Vec<u8> {
        poll(limit, || self.lock().ended.then_some(()));
        self.so_far()
    }
}
