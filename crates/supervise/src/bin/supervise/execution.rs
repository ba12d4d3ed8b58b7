//! One execution: its pipes or terminal, and what became of it.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Instant,
};

use kleene_supervise::proto::{ExecSpec, ExecutionState, Terminal};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pipe::PipeFlags,
};

use crate::world::CommandEnds;

/// How much input waits for a process that does not read, before its client
/// is not read either.
const INPUT_QUEUE: usize = 64 << 10;

/// What a read of an execution's output gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// That many bytes.
    Some(usize),
    /// Nothing now.
    NotNow,
    /// Nothing any more.
    End,
}

/// An execution.
pub(crate) struct Execution {
    pub(crate) key: u32,
    pub(crate) id: String,
    pub(crate) first: bool,
    pub(crate) tty: Option<Terminal>,
    /// Inside the container; `None` until it runs.
    pub(crate) pid: Option<i32>,
    /// Where its output comes from: a pipe, or the terminal's master.
    pub(crate) output: Option<OwnedFd>,
    /// Where its input goes.
    input: Option<OwnedFd>,
    pending: Vec<u8>,
    close_input: bool,
    /// Code, and whether it was the last; once its first process has ended.
    pub(crate) exit: Option<(i32, bool)>,
    /// What it wrote is passed on, and everybody told of its end.
    pub(crate) finished: bool,
    /// Position of its exit in the journal.
    pub(crate) seq: u64,
    /// Until when a terminal's last bytes are waited for.
    pub(crate) drain_until: Option<Instant>,
}

fn nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

impl Execution {
    /// Prepares an execution. Only our ends of its pipes are non-blocking:
    /// programs do not expect it of theirs.
    pub(crate) fn prepare(
        key: u32,
        first: bool,
        spec: &ExecSpec,
    ) -> io::Result<(Self, Option<CommandEnds>)> {
        let (mut input, mut output, mut ends) = (None, None, None);
        if spec.tty.is_none() {
            let theirs = if spec.stdin {
                let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                nonblocking(&ours)?;
                input = Some(ours);
                theirs
            } else {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::open("/dev/null", flags, Mode::empty())?
            };
            let (ours, written) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            nonblocking(&ours)?;
            output = Some(ours);
            ends = Some(CommandEnds { input: theirs, output: written });
        }
        let execution = Self {
            key,
            id: spec.id.clone(),
            first,
            tty: spec.tty,
            pid: None,
            output,
            input,
            pending: Vec::new(),
            close_input: false,
            exit: None,
            finished: false,
            seq: 0,
            drain_until: None,
        };
        Ok((execution, ends))
    }

    /// Takes the terminal's master.
    pub(crate) fn take_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        nonblocking(&master)?;
        self.input = Some(master.try_clone()?);
        self.output = Some(master);
        match self.tty {
            Some(size) => self.resize(size),
            None => Ok(()),
        }
    }

    /// Sets the terminal's size; one that is not there yet gets it later.
    pub(crate) fn resize(&mut self, size: Terminal) -> io::Result<()> {
        if self.tty.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no terminal"));
        }
        self.tty = Some(size);
        if let Some(master) = &self.output {
            let size = rustix::termios::Winsize {
                ws_row: size.rows,
                ws_col: size.cols,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(master, size)?;
        }
        Ok(())
    }

    /// Reads some output.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Output {
        let Some(fd) = &self.output else { return Output::End };
        match rustix::io::read(fd, buffer) {
            Ok(count) if count > 0 => Output::Some(count),
            Err(Errno::AGAIN | Errno::INTR) => Output::NotNow,
            // A terminal without anybody on it answers EIO.
            Ok(_) | Err(_) => {
                self.output = None;
                Output::End
            }
        }
    }

    /// Queues input; what nobody can read any more is dropped.
    pub(crate) fn feed(&mut self, data: &[u8]) {
        if !self.close_input && !self.finished && (self.input.is_some() || self.awaits_terminal()) {
            self.pending.extend_from_slice(data);
            self.write_input();
        }
    }

    fn awaits_terminal(&self) -> bool {
        self.tty.is_some() && self.pid.is_none()
    }

    /// No more input will come. A terminal cannot be half closed: it gets the
    /// end-of-file character.
    pub(crate) fn end_input(&mut self) {
        if self.tty.is_some() {
            self.feed(&[4]);
        } else {
            self.close_input = true;
            self.write_input();
        }
    }

    /// Whether clients may send more input.
    pub(crate) fn takes_input(&self) -> bool {
        self.pending.len() < INPUT_QUEUE
    }

    /// The descriptor to wait for when input is queued.
    pub(crate) fn wants_to_write(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.pending.is_empty()).map(OwnedFd::as_fd)
    }

    /// Writes queued input as far as the process takes it.
    pub(crate) fn write_input(&mut self) {
        while let Some(fd) = self.input.as_ref().filter(|_| !self.pending.is_empty()) {
            match rustix::io::write(fd, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.drop_input(),
            }
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
            if self.close_input {
                self.input = None;
            }
        }
    }

    /// Nobody reads it any more.
    pub(crate) fn drop_input(&mut self) {
        self.input = None;
        self.pending = Vec::new();
    }

    /// For the daemon.
    pub(crate) fn state(&self) -> ExecutionState {
        ExecutionState {
            id: self.id.clone(),
            pid: self.pid.unwrap_or(0),
            tty: self.tty.is_some(),
            running: self.exit.is_none(),
            exit: self.exit.map(|(code, _)| code),
            first: self.first,
        }
    }
}
