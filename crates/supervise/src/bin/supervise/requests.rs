//! What connections ask for.

use std::time::{Duration, Instant};

use kleene_supervise::proto::{
    self, ExecSpec, FailureKind, Frame, FrameKind, FromSupervisor, MIN_VERSION, Phase, State,
    Terminal, ToSupervisor, VERSION,
};

use crate::{
    conn::Role,
    supervisor::{Supervisor, note},
};

impl Supervisor {
    /// Reads a connection and does what it asks.
    pub(crate) fn serve_conn(&mut self, id: u64) {
        let more = {
            let readable = self.conns.iter().find(|conn| conn.id == id);
            let Some(open) = readable.map(|conn| self.may_send_more(conn)) else { return };
            let Some(conn) = self.conn(id) else { return };
            // Polled without interest in input: what woke us is its end, if
            // it is not room for output.
            if open { conn.fill() } else { !hung_up(conn) }
        };
        while let Some(conn) = self.conn(id).filter(|conn| !conn.dead && !conn.closing) {
            match conn.next_frame() {
                Ok(Some(frame)) => {
                    self.frame(id, frame);
                    // The next may need what this one has brought about.
                    self.hear();
                }
                Ok(None) => break,
                Err(error) => {
                    note(&format!("a connection is cut off: {error}"));
                    conn.dead = true;
                }
            }
        }
        if !more && let Some(conn) = self.conn(id) {
            conn.dead = true;
        }
    }

    fn frame(&mut self, id: u64, frame: Frame) {
        match frame.kind {
            FrameKind::Input => {
                if let Some(Role::Attachment(exec)) = self.conn(id).map(|conn| conn.role.clone())
                    && let Some(execution) = self.by_id(&exec)
                {
                    execution.feed(&frame.payload);
                }
            }
            FrameKind::Control => match proto::decode::<ToSupervisor>(&frame.payload) {
                Ok(message) => self.message(id, message),
                Err(error) => {
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    self.refuse(id, &format!("{error}: {}", why.unwrap_or_default()));
                }
            },
            FrameKind::Output | FrameKind::Unknown(_) => {}
        }
    }

    fn refuse(&mut self, id: u64, message: &str) {
        if let Some(conn) = self.conn(id) {
            conn.say(&FromSupervisor::Error { message: message.to_owned() }, None);
        }
    }

    fn message(&mut self, id: u64, message: ToSupervisor) {
        let Some(conn) = self.conn(id) else { return };
        match (conn.role.clone(), message) {
            (Role::Undecided, ToSupervisor::Attach { exec }) => self.attach(id, exec),
            (Role::Undecided, message) => {
                conn.role = Role::Control;
                if self.phase != Phase::Running {
                    self.give_up_at = None;
                }
                self.control(id, message);
            }
            (Role::Control, message) => self.control(id, message),
            (Role::Attachment(exec), ToSupervisor::InputEnd {}) => {
                if let Some(execution) = self.by_id(&exec) {
                    execution.end_input();
                }
            }
            (Role::Attachment(exec), ToSupervisor::Resize { rows, cols, .. }) => {
                self.resize(id, &exec, Terminal { rows, cols });
            }
            (Role::Attachment(_), _) => self.refuse(id, "not on an attachment"),
        }
    }

    fn control(&mut self, id: u64, message: ToSupervisor) {
        match message {
            ToSupervisor::Hello { version, min_version } => self.hello(id, version, min_version),
            ToSupervisor::Setup(setup) if self.phase == Phase::New && self.setup.is_none() => {
                self.set_up(setup);
            }
            ToSupervisor::Launch {} if self.phase == Phase::Ready => self.launch(),
            ToSupervisor::Setup(_) | ToSupervisor::Launch {} => {
                let message = format!("not possible now: the container is {:?}", self.phase);
                self.refuse(id, &message);
            }
            ToSupervisor::Exec(spec) => self.ask_exec(spec),
            ToSupervisor::Signal { exec, signo, all } => self.ask_signal(id, exec, signo, all),
            ToSupervisor::Kill {} => self.stop_now(),
            ToSupervisor::Stop { signal, grace_ms } => self.stop(signal, grace_ms),
            ToSupervisor::Resize { exec, rows, cols } => {
                self.resize(id, &exec, Terminal { rows, cols });
            }
            ToSupervisor::CloseStdin { exec } => match self.by_id(&exec) {
                Some(execution) => execution.end_input(),
                None => self.refuse(id, &format!("no execution {exec}")),
            },
            ToSupervisor::Ack { seq } => {
                if let Err(error) = self.journal.acknowledge(seq) {
                    note(&format!("cannot rewrite the exits: {error}"));
                }
                self.forget_finished();
            }
            ToSupervisor::Attach { .. } => {
                self.refuse(id, "Attach is the first message of a connection of its own");
            }
            ToSupervisor::InputEnd {} => self.refuse(id, "not on a control connection"),
        }
    }

    fn hello(&mut self, id: u64, version: u32, min_version: u32) {
        let common = proto::negotiate((MIN_VERSION, VERSION), (min_version, version));
        let netns = self.netns();
        let state = State {
            version: common.unwrap_or(VERSION),
            min_version: MIN_VERSION,
            container: self.setup.as_ref().map(|s| s.container.clone()).unwrap_or_default(),
            pid: self.world.pid(),
            netns: netns.is_some(),
            phase: self.phase,
            executions: self.executions.iter().map(|execution| execution.state()).collect(),
            exits: self.journal.records().to_vec(),
        };
        // Without a common version the state still says which we speak.
        if let Some(conn) = self.conn(id) {
            conn.say(&FromSupervisor::State(state), netns);
            conn.closing = common.is_none();
        }
    }

    fn attach(&mut self, id: u64, exec: String) {
        let over = self.by_id(&exec).and_then(|known| known.exit.filter(|_| known.finished));
        let gone = matches!(self.phase, Phase::Ending | Phase::Ended);
        let Some(conn) = self.conn(id) else { return };
        conn.role = Role::Attachment(exec.clone());
        conn.say(&FromSupervisor::Attached { exec: exec.clone() }, None);
        if let Some((code, last)) = over {
            conn.finish(&FromSupervisor::ExecExited { exec, code, last });
        } else if gone {
            let (kind, message) = (FailureKind::NotRunning, "the container has ended".to_owned());
            conn.finish(&FromSupervisor::ExecFailed { id: exec, kind, message });
        }
    }

    /// An attached client has gone without being told of the end.
    pub(crate) fn detached(&mut self, exec: String) {
        if self.by_id(&exec).is_some_and(|execution| execution.exit.is_none()) {
            self.broadcast(&FromSupervisor::Detached { exec });
        }
    }

    fn ask_exec(&mut self, spec: ExecSpec) {
        if !is_word(&spec.id) {
            let message = format!("{:?} cannot be an execution's id", spec.id);
            return self.exec_failed(&spec.id, FailureKind::Other, message);
        }
        match self.phase {
            Phase::Running if self.world.takes_commands() => self.exec(&spec),
            Phase::Ready | Phase::Launching => self.queue.push(spec),
            _ => {
                let message = "the container does not run".to_owned();
                self.exec_failed(&spec.id, FailureKind::NotRunning, message);
            }
        }
    }

    fn first_alive(&self) -> Option<u32> {
        let first = self.executions.iter().find(|execution| execution.first);
        first.filter(|execution| execution.exit.is_none()).map(|execution| execution.key)
    }

    fn ask_signal(&mut self, id: u64, exec: Option<String>, signo: i32, all: bool) {
        if !(1..=64).contains(&signo) {
            return self.refuse(id, &format!("{signo} is not a signal"));
        }
        let key = match exec {
            _ if all => None,
            None => match self.first_alive() {
                Some(key) => Some(key),
                None => return self.refuse(id, "the first execution has ended"),
            },
            Some(exec) => match self.by_id(&exec).filter(|execution| execution.exit.is_none()) {
                Some(execution) => Some(execution.key),
                None => return self.refuse(id, &format!("no execution {exec} is running")),
            },
        };
        if let Err(error) = self.world.signal(key, signo) {
            self.refuse(id, &format!("cannot send signal {signo}: {error}"));
        }
    }

    /// Our own clock runs: a stop ends although the daemon may die meanwhile.
    fn stop(&mut self, signal: i32, grace_ms: u64) {
        // A stop is a stop, whatever it is told to begin with.
        if self.phase != Phase::Running || grace_ms == 0 {
            return self.stop_now();
        }
        let at = Instant::now() + Duration::from_millis(grace_ms.min(u64::from(u32::MAX)));
        self.stop_at = Some(self.stop_at.map_or(at, |before| before.min(at)));
        if let Err(error) = self.world.stop(self.first_alive(), signal) {
            note(&format!("cannot send the stop signal: {error}"));
        }
    }

    fn stop_now(&mut self) {
        match self.phase {
            Phase::Running => self.world.kill(),
            _ => self.give_up(),
        }
    }

    fn resize(&mut self, id: u64, exec: &str, size: Terminal) {
        let result = match self.by_id(exec) {
            Some(execution) => execution.resize(size).map_err(|error| error.to_string()),
            None => Err("there is no such execution".to_owned()),
        };
        if let Err(why) = result {
            self.refuse(id, &format!("cannot resize the terminal of {exec}: {why}"));
        }
    }
}

/// Whether a text can be a field of a log line.
fn is_word(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=64).contains(&id.len()) && id.chars().all(plain)
}

/// Whether the peer is gone, without reading what it sent.
fn hung_up(conn: &crate::conn::Conn) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(&conn.stream, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = poll(&mut fds, Some(&now));
    fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}
