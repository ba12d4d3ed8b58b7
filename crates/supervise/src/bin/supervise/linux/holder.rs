//! The supervisor's side of the holder. Whatever comes from there may be
//! forged: it can only concern this container.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use kleene_supervise::{
    fdpass,
    proto::ExecSpec,
    wire::{ExecBody, FromHolder, MAX_DATAGRAM, ToHolder},
};
use rustix::{
    fs::MemfdFlags,
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};

use super::{Holder, Linux, Stage};
use crate::{
    supervisor::note,
    world::{CommandEnds, News, World as _},
};

/// A container that starts commands faster than they are told of is not read
/// for ever.
const BATCH: usize = 64;

impl Linux {
    /// Asks the holder to run a command.
    pub(super) fn hand_over(
        &self,
        key: u32,
        spec: &ExecSpec,
        ends: Option<&CommandEnds>,
    ) -> io::Result<()> {
        let body = body(spec)?;
        let pipes = ends.iter().flat_map(|ends| [ends.input.as_fd(), ends.output.as_fd()]);
        let fds: Vec<BorrowedFd<'_>> = [body.as_fd()].into_iter().chain(pipes).collect();
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        fdpass::send(link, &ToHolder::Exec { key, tty: spec.tty }.encode(), &fds, false)?;
        Ok(())
    }

    /// A signal for one execution's first process, or for all.
    pub(super) fn pass_signal(&self, key: Option<u32>, signo: i32) -> io::Result<()> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        fdpass::send(link, &ToHolder::Signal { key, signo }.encode(), &[], false)?;
        Ok(())
    }

    /// Reads what the holder says; whether there may be more.
    pub(super) fn read_link(&mut self) -> bool {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..BATCH {
            let Some(link) = &self.link else { return false };
            let received = match fdpass::receive(link, &mut buffer, false) {
                Ok(received) if received.count > 0 => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Ok(_) | Err(_) => {
                    self.link_closed();
                    return false;
                }
            };
            match FromHolder::decode(&buffer[..received.count]) {
                Some(FromHolder::Hello) => self.holder_is_up(received.pid),
                Some(message) => self.holder_says(message, received.fds),
                None => note("the holder sent something that is no message"),
            }
        }
        true
    }

    fn holder_says(&mut self, message: FromHolder, fds: Vec<OwnedFd>) {
        match message {
            FromHolder::Hello => {}
            FromHolder::Started { key, pid } => {
                let terminal = fds.into_iter().next().and_then(looked_at);
                self.news.push(News::Started { key, pid, terminal });
            }
            FromHolder::Failed { key, kind, message } => {
                self.news.push(News::NotStarted { key, kind, message });
            }
            FromHolder::Exited { key, code, last } => {
                self.news.push(News::Exited { key, code: code & 0xff, last });
            }
        }
    }

    /// The kernel says who said hello: the holder cannot point at another.
    fn holder_is_up(&mut self, pid: Option<Pid>) {
        if self.stage != Stage::Launching || self.holder.is_some() {
            return;
        }
        let Some(pid) = pid else { return };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                self.holder = Some(Holder { pid, pidfd });
                self.check_launched();
            }
            Err(error) => self.launch_failed("watch the holder", error.to_string()),
        }
    }

    fn link_closed(&mut self) {
        self.link = None;
        match self.stage {
            // Before its hello: the words of the runtime tell why, once it
            // has ended.
            Stage::Launching => self.check_launched(),
            // Its process is about to end, or no longer knows its business.
            Stage::Running => self.kill(),
            Stage::Before | Stage::Ending => {}
        }
    }

    /// The holder's process has ended, and with it every process of the
    /// container.
    pub(super) fn holder_ended(&mut self) {
        // What it said before.
        while self.read_link() {}
        if let Some(holder) = self.holder.take() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = waitid(WaitId::PidFd(holder.pidfd.as_fd()), options);
        }
        match self.stage {
            Stage::Launching => self.holder_failed("it ended at once"),
            Stage::Running => self.news.push(News::Empty),
            Stage::Before | Stage::Ending => {}
        }
    }
}

/// What the holder is to run, in a memory file: it may be large.
fn body(spec: &ExecSpec) -> io::Result<OwnedFd> {
    let bytes = |list: &[String]| list.iter().map(|text| text.clone().into_bytes()).collect();
    let body = ExecBody {
        argv: bytes(&spec.argv),
        env: bytes(&spec.env),
        cwd: spec.cwd.clone().into_bytes(),
        user: spec.user.clone().into_bytes(),
    };
    let memory = rustix::fs::memfd_create("exec", MemfdFlags::CLOEXEC)?;
    let encoded = body.encode();
    let mut rest = encoded.as_slice();
    while !rest.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(&memory, rest))?;
        rest = &rest[count..];
    }
    Ok(memory)
}

/// A terminal's master, which came from inside the container and is looked at
/// before it is used.
fn looked_at(master: OwnedFd) -> Option<OwnedFd> {
    let is_master = |fd: &OwnedFd| -> rustix::io::Result<bool> {
        let stat = rustix::fs::fstat(fd)?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let character = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device();
        Ok(character && device == (5, 2))
    };
    if is_master(&master) == Ok(true) {
        return Some(master);
    }
    note("the holder sent something that is not a terminal's master");
    None
}
