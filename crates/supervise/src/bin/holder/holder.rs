//! The loop: requests in, exits out.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use kleene_supervise::{
    fdpass,
    proto::{FailureKind, Terminal},
    wire::{FromHolder, MAX_DATAGRAM, ToHolder},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
    io::Errno,
    process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, wait},
    pty::OpenptFlags,
};

use crate::{
    child::{self, Stdio},
    sys,
};

/// A command whose program does not run yet. The child reports on the pipe
/// why it could not be started; the pipe's end means that it was.
struct Starting {
    key: u32,
    pid: i32,
    report: OwnedFd,
    master: Option<OwnedFd>,
}

struct Running {
    key: u32,
    pid: i32,
}

struct Holder {
    socket: OwnedFd,
    signals: OwnedFd,
    starting: Vec<Starting>,
    running: Vec<Running>,
    /// Whether any command was ever asked for: before that, being without
    /// processes is no reason to end.
    asked: bool,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    On,
    SupervisorGone,
}

/// Runs until the container's last process has ended.
pub(crate) fn run() -> io::Result<()> {
    // Neither trace nor descriptors for the container's root.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let signals = sys::signals()?;
    let socket = take_socket()?;
    let mut holder =
        Holder { socket, signals, starting: Vec::new(), running: Vec::new(), asked: false };
    holder.say(&FromHolder::Hello, &[])?;
    loop {
        holder.wait()?;
        if holder.requests()? == Next::SupervisorGone {
            // Nobody would be told of anything any more: nothing may be left.
            let _ = sys::kill(-1, libc::SIGKILL);
            return Ok(());
        }
        holder.reports()?;
        holder.forward_signals()?;
        if holder.reap()? && holder.asked && !holder.request_waits()? {
            return Ok(());
        }
    }
}

/// Standard input is the supervisor's socket; it moves out of the way, and
/// `/dev/null` takes the places of all three.
fn take_socket() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    // A container without it keeps what the OCI runtime was given, which is a
    // memory file of the supervisor's.
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty()) {
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
    }
    sys::close_on_exec_from(3)?;
    Ok(socket)
}

impl Holder {
    fn say(&self, message: &FromHolder, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        fdpass::send(&self.socket, &message.encode(), fds, true).map(|_| ())
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> = [self.socket.as_fd(), self.signals.as_fd()]
            .into_iter()
            .chain(self.starting.iter().map(|starting| starting.report.as_fd()))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn request_waits(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut fds, Some(&now))? > 0)
    }

    fn requests(&mut self) -> io::Result<Next> {
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            let received = match fdpass::receive(&self.socket, &mut buffer, false) {
                Ok(received) if received.count == 0 => return Ok(Next::SupervisorGone),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::On),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Next::SupervisorGone);
                }
                Err(error) => return Err(error),
            };
            match ToHolder::decode(&buffer[..received.count]) {
                Some(ToHolder::Exec { key, tty }) => {
                    self.asked = true;
                    self.exec(key, tty, received.fds)?;
                }
                Some(ToHolder::Signal { key, signo }) => self.signal(key, signo),
                None => {}
            }
        }
    }

    fn signal(&self, key: Option<u32>, signo: i32) {
        let starting = self.starting.iter().map(|starting| (starting.key, starting.pid));
        let mut known = self.running.iter().map(|running| (running.key, running.pid));
        let pid = match key {
            None => Some(-1),
            Some(key) => known
                .find(|k| k.0 == key)
                .or_else(|| starting.clone().find(|k| k.0 == key))
                .map(|k| k.1),
        };
        // A process that is gone is reported as that; a number that is no
        // signal is the asker's mistake.
        if let Some(pid) = pid {
            let _ = sys::kill(pid, signo);
        }
    }

    fn exec(&mut self, key: u32, tty: Option<Terminal>, fds: Vec<OwnedFd>) -> io::Result<()> {
        match start(tty, fds) {
            Ok((pid, report, master)) => {
                self.starting.push(Starting { key, pid, report, master });
                Ok(())
            }
            Err(error) => {
                let message = format!("cannot prepare the command: {error}");
                self.say(&FromHolder::Failed { key, kind: FailureKind::Other, message }, &[])
            }
        }
    }

    /// Commands that have started or failed to since.
    fn reports(&mut self) -> io::Result<()> {
        let mut index = 0;
        while index < self.starting.len() {
            let before = self.starting.len();
            self.report(index)?;
            // What is settled has left the list.
            index += usize::from(self.starting.len() == before);
        }
        Ok(())
    }

    fn report(&mut self, index: usize) -> io::Result<()> {
        let mut buffer = [0; MAX_DATAGRAM];
        let count = match rustix::io::read(&self.starting[index].report, &mut buffer) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Starting { key, pid, master, .. } = self.starting.remove(index);
        match child::parse_report(&buffer[..count]) {
            Some((kind, message)) => self.say(&FromHolder::Failed { key, kind, message }, &[]),
            None => {
                let fds: Vec<BorrowedFd<'_>> = master.iter().map(OwnedFd::as_fd).collect();
                self.say(&FromHolder::Started { key, pid }, &fds)?;
                self.running.push(Running { key, pid });
                Ok(())
            }
        }
    }

    /// What outsiders send to process number one is meant for the container.
    fn forward_signals(&self) -> io::Result<()> {
        let mut buffer = [0; sys::SIGNAL_SIZE];
        loop {
            match rustix::io::read(&self.signals, &mut buffer) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let signo = buffer.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            match signo.cast_signed() {
                libc::SIGCHLD | 0 => {}
                signo => drop(sys::kill(-1, signo)),
            }
        }
    }

    /// Reaps what has ended and reports it; whether nothing is left.
    ///
    /// All that has ended is reaped before any of it is reported, so that a
    /// command is not told to have left something behind that is gone, too.
    fn reap(&mut self) -> io::Result<bool> {
        let mut ended = Vec::new();
        let none_left = loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let code = status
                        .exit_status()
                        .or_else(|| status.terminating_signal().map(|signo| 128 + signo))
                        .unwrap_or(255);
                    ended.push((pid.as_raw_nonzero().get(), code));
                }
                Ok(None) => break false,
                Err(Errno::CHILD) => break true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut exits = Vec::new();
        for (pid, code) in ended {
            // Its report is complete: the pipe's last writer is gone.
            if let Some(index) = self.starting.iter().position(|starting| starting.pid == pid) {
                self.report(index)?;
            }
            if let Some(index) = self.running.iter().position(|running| running.pid == pid) {
                exits.push((self.running.remove(index).key, code));
            }
        }
        let ending = none_left && !exits.is_empty() && !self.request_waits()?;
        let count = exits.len();
        for (index, (key, code)) in exits.into_iter().enumerate() {
            let last = ending && index + 1 == count;
            self.say(&FromHolder::Exited { key, code, last }, &[])?;
        }
        Ok(none_left)
    }
}

type Started = (i32, OwnedFd, Option<OwnedFd>);

/// Forks a child that becomes the command.
fn start(tty: Option<Terminal>, fds: Vec<OwnedFd>) -> io::Result<Started> {
    let mut fds = fds.into_iter();
    let missing = || io::Error::from(io::ErrorKind::InvalidInput);
    let body = fds.next().ok_or_else(missing)?;
    let (stdio, master) = match tty {
        Some(size) => {
            let (master, slave) = open_terminal(size)?;
            (Stdio::Terminal(slave), Some(master))
        }
        None => {
            let input = fds.next().ok_or_else(missing)?;
            let output = fds.next().ok_or_else(missing)?;
            (Stdio::Pipes { input, output }, None)
        }
    };
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    let (report, reporter) = rustix::pipe::pipe_with(flags)?;
    match sys::fork()? {
        Some(pid) => Ok((pid, report, master)),
        None => child::become_command(&body, &stdio, tty.is_some(), &reporter),
    }
}

/// Opens a terminal of the container's own. Non-blocking, because what stands
/// at that place is up to the container.
fn open_terminal(size: Terminal) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    // By the master's descriptor: a path could be replaced meanwhile.
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&slave, size)?;
    Ok((master, slave))
}
