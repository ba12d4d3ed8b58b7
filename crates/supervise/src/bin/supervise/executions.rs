//! The supervisor's side of the holder. Whatever comes from there may be
//! forged: it can only concern this container.

use std::{io, os::fd::OwnedFd};

use kleene_supervise::{
    fdpass,
    proto::{ExecSpec, FailureKind, FromSupervisor, Phase},
    wire::{FromHolder, MAX_DATAGRAM, ToHolder},
};
use rustix::process::{
    PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use std::os::fd::AsFd as _;

use crate::{
    execution::Execution,
    pump::is_attached,
    supervisor::{Holder, Supervisor, note},
};

/// A container that starts commands faster than they are told of is not read
/// for ever.
const BATCH: usize = 64;

impl Supervisor {
    /// Starts a command, or says why not.
    pub(crate) fn exec(&mut self, spec: &ExecSpec) {
        if self.executions.iter().any(|execution| execution.id == spec.id) {
            let message = format!("there is an execution {} already", spec.id);
            return self.exec_failed(&spec.id, FailureKind::Other, message);
        }
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        let first = !self.executions.iter().any(|execution| execution.first);
        self.give_up_at = None;
        let prepared = Execution::prepare(key, first, spec).and_then(|(execution, ends)| {
            let request = ToHolder::Exec { key, tty: spec.tty }.encode();
            let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            fdpass::send(link, &request, &ends.borrow(), false)?;
            Ok(execution)
        });
        match prepared {
            Ok(execution) => self.executions.push(execution),
            Err(error) => {
                let message = format!("cannot hand the command over: {error}");
                self.exec_failed(&spec.id, FailureKind::Other, message);
            }
        }
    }

    /// Tells everybody concerned that a command did not start.
    pub(crate) fn exec_failed(&mut self, id: &str, kind: FailureKind, message: String) {
        let message = FromSupervisor::ExecFailed { id: id.to_owned(), kind, message };
        for conn in self.conns.iter_mut().filter(|conn| is_attached(conn, id)) {
            conn.finish(&message);
        }
        self.broadcast(&message);
    }

    /// A signal for one execution's first process, or for all.
    pub(crate) fn signal(&self, key: Option<u32>, signo: i32) -> io::Result<()> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        fdpass::send(link, &ToHolder::Signal { key, signo }.encode(), &[], false)?;
        Ok(())
    }

    /// Reads what the holder says; whether there may be more.
    pub(crate) fn read_link(&mut self) -> bool {
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
            FromHolder::Started { key, pid } => self.started(key, pid, fds),
            FromHolder::Failed { key, kind, message } => {
                let failed = |execution: &mut Execution| {
                    execution.key == key && execution.pid.is_none() && execution.exit.is_none()
                };
                let failed: Vec<Execution> = self.executions.extract_if(.., failed).collect();
                for execution in failed {
                    self.exec_failed(&execution.id, kind, message.clone());
                }
            }
            FromHolder::Exited { key, code, last } => self.exited(key, code & 0xff, last),
        }
    }

    fn started(&mut self, key: u32, pid: i32, fds: Vec<OwnedFd>) {
        let Some(execution) = self.by_key(key).filter(|execution| execution.pid.is_none()) else {
            return;
        };
        execution.pid = Some(pid);
        if let Some(master) = fds.into_iter().next().filter(|_| execution.tty.is_some())
            && let Err(error) = execution.take_terminal(master)
        {
            note(&format!("cannot use the terminal of {}: {error}", execution.id));
        }
        execution.write_input();
        let id = execution.id.clone();
        self.broadcast(&FromSupervisor::Started { id, pid });
    }

    /// The kernel says who said hello: the holder cannot point at another.
    fn holder_is_up(&mut self, pid: Option<rustix::process::Pid>) {
        if self.phase != Phase::Launching || self.holder.is_some() {
            return;
        }
        let Some(pid) = pid else { return };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                self.holder = Some(Holder { pid, pidfd });
                self.check_launched();
            }
            Err(error) => self.launch_failed("watch the holder", &error.to_string()),
        }
    }

    fn link_closed(&mut self) {
        self.link = None;
        match self.phase {
            // Before its hello: the words of the runtime tell why, once it
            // has ended.
            Phase::Launching => self.check_launched(),
            // Its process is about to end, or no longer knows its business.
            Phase::Running => self.kill_container(),
            _ => {}
        }
    }

    /// The holder's process has ended, and with it every process of the
    /// container.
    pub(crate) fn holder_ended(&mut self) {
        // What it said before.
        while self.read_link() {}
        if let Some(holder) = self.holder.take() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = waitid(WaitId::PidFd(holder.pidfd.as_fd()), options);
        }
        match self.phase {
            Phase::Launching => self.holder_failed("it ended at once"),
            Phase::Running => self.end(),
            _ => {}
        }
    }

    /// Every process of the container dies with its first.
    pub(crate) fn kill_container(&mut self) {
        if let Some(holder) = &self.holder {
            let _ = pidfd_send_signal(&holder.pidfd, Signal::KILL);
        }
    }
}
