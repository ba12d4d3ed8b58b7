//! The OCI runtime as a child process.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Seek as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kleene_supervise::proto::Setup;
use rustix::{
    fs::MemfdFlags,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
    },
};

/// What of a runtime's words is passed on.
const MAX_WORDS: u64 = 4096;

/// A runtime at work.
pub(crate) struct Program {
    pub(crate) pidfd: OwnedFd,
    words: File,
    pub(crate) deadline: Instant,
}

impl Program {
    /// Starts the runtime with these words behind `--root DIR`.
    ///
    /// Its words go to a memory file, not a pipe: the container's first
    /// process inherits it, and would hold a pipe open.
    pub(crate) fn start<A: AsRef<OsStr>>(
        setup: &Setup,
        args: &[A],
        stdin: Stdio,
        limit: Duration,
    ) -> io::Result<Self> {
        let words = rustix::fs::memfd_create("runtime-words", MemfdFlags::CLOEXEC)?;
        let child = Command::new(&setup.runtime)
            .arg("--root")
            .arg(&setup.runtime_root)
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(stdin)
            .stdout(Stdio::from(words.try_clone()?))
            .stderr(Stdio::from(words.try_clone()?))
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        // Safe against reuse of the number: only we reap it.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pidfd, words: File::from(words), deadline: Instant::now() + limit })
    }

    /// Whether it ended well, `None` while it runs.
    pub(crate) fn ended(&self) -> Option<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.exit_status() == Some(0)),
            // Somebody else reaped it: there is no telling.
            Err(_) => Some(false),
        }
    }

    /// Ends it, and takes its remains away.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }

    /// What it said.
    pub(crate) fn words(&mut self) -> String {
        let mut text = Vec::new();
        if self.words.rewind().is_ok() {
            let _ = (&mut self.words).take(MAX_WORDS).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}
