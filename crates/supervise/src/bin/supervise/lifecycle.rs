//! From set-up to the end.

use std::time::Instant;

use kleene_supervise::{
    log::Writer,
    proto::{ExitRecord, FailureKind, FromSupervisor, Phase, Setup, SetupFailure},
};

use crate::{
    conn::Role,
    journal::now_us,
    supervisor::{IDLE_LIMIT, ORPHAN_LIMIT, Supervisor},
    world::News,
};

impl Supervisor {
    /// Deals with what has happened in the container's world.
    pub(crate) fn hear(&mut self) {
        loop {
            let news = self.world.take_news();
            if news.is_empty() {
                return;
            }
            for one in news {
                self.heard(one);
            }
        }
    }

    fn heard(&mut self, news: News) {
        match news {
            News::Ready => self.ready(),
            News::SetupFailed { kind, step, message } => self.setup_failed(kind, step, message),
            News::Launched { pid } => self.launched(pid),
            News::LaunchFailed { step, message } => self.launch_failed(&step, &message),
            News::Started { key, pid, terminal } => self.started(key, pid, terminal),
            News::NotStarted { key, kind, message } => self.not_started(key, kind, &message),
            News::Exited { key, code, last } => self.exited(key, code, last),
            News::Empty => {
                if self.phase == Phase::Running {
                    self.end();
                }
            }
            News::Gone => self.ended(),
        }
    }

    /// Makes what the container stands on.
    pub(crate) fn set_up(&mut self, setup: Setup) {
        if let Err(error) = std::fs::create_dir_all(&setup.log_dir) {
            let step = format!("make the log directory {}", setup.log_dir.display());
            return self.setup_failed(SetupFailure::Other, step, error.to_string());
        }
        self.world.set_up(&setup, &self.dir);
        self.setup = Some(setup);
    }

    fn setup_failed(&mut self, kind: SetupFailure, step: String, message: String) {
        self.setup = None;
        self.broadcast(&FromSupervisor::SetupFailed { kind, step, message });
    }

    fn ready(&mut self) {
        if self.phase != Phase::New {
            return;
        }
        let Some(setup) = &self.setup else { return };
        self.log = Some(Writer::new(setup.log_dir.clone(), setup.log));
        self.phase = Phase::Ready;
        for index in 0..self.conns.len() {
            let netns = self.netns();
            let conn = &mut self.conns[index];
            if conn.role == Role::Control {
                conn.say(&FromSupervisor::Ready { netns: netns.is_some() }, netns);
            }
        }
    }

    /// Starts the container.
    pub(crate) fn launch(&mut self) {
        self.phase = Phase::Launching;
        self.world.launch();
    }

    fn launched(&mut self, pid: i32) {
        if self.phase != Phase::Launching {
            return;
        }
        self.phase = Phase::Running;
        self.give_up_at = Some(Instant::now() + IDLE_LIMIT);
        self.broadcast(&FromSupervisor::Launched { pid });
        for spec in std::mem::take(&mut self.queue) {
            self.exec(&spec);
        }
    }

    /// The container did not start: tell, and undo.
    fn launch_failed(&mut self, step: &str, message: &str) {
        if self.phase != Phase::Launching {
            return;
        }
        let (step, message) = (step.to_owned(), message.to_owned());
        self.broadcast(&FromSupervisor::LaunchFailed {
            step: step.clone(),
            message: message.clone(),
        });
        let seq = self.journal.next_seq();
        self.record(ExitRecord::LaunchFailed { seq, step, message, at_us: now_us() });
        self.end();
    }

    /// There was no daemon, or no command, for too long.
    pub(crate) fn give_up(&mut self) {
        match self.phase {
            Phase::New | Phase::Ready => self.end(),
            Phase::Launching => self.launch_failed("launch", "the daemon has gone"),
            Phase::Running => self.world.kill(),
            Phase::Ending | Phase::Ended | Phase::Unknown => {}
        }
    }

    /// A control connection was lost.
    pub(crate) fn control_lost(&mut self) {
        let started = !matches!(self.phase, Phase::New | Phase::Ready | Phase::Launching);
        if !self.has_daemon() && !started {
            self.give_up_at = Some(Instant::now() + ORPHAN_LIMIT);
        }
    }

    /// No process is left, or none shall be: remove every trace.
    fn end(&mut self) {
        self.phase = Phase::Ending;
        (self.stop_at, self.give_up_at) = (None, None);
        self.finish_all();
        self.world.end();
    }

    /// Executions that did not end by themselves were killed with the rest.
    fn finish_all(&mut self) {
        for spec in std::mem::take(&mut self.queue) {
            let message = "the container did not start".to_owned();
            self.exec_failed(&spec.id, FailureKind::NotRunning, message);
        }
        let never_ran: Vec<_> = self
            .executions
            .extract_if(.., |execution| execution.pid.is_none() && execution.exit.is_none())
            .collect();
        for execution in never_ran {
            let message = "the container has ended".to_owned();
            self.exec_failed(&execution.id, FailureKind::NotRunning, message);
        }
        let alive: Vec<u32> = self
            .executions
            .iter()
            .filter(|execution| execution.exit.is_none())
            .map(|execution| execution.key)
            .collect();
        for (index, key) in alive.iter().enumerate() {
            let last = index + 1 == alive.len();
            if let Some(execution) = self.by_key(*key) {
                execution.exit = Some((128 + libc::SIGKILL, last));
            }
        }
        let all: Vec<u32> = self.executions.iter().map(|execution| execution.key).collect();
        for key in all {
            // Those told of long ago, too: what background processes wrote
            // last is kept.
            self.finish(key);
        }
        // Those that waited for a command that never came.
        for conn in self.conns.iter_mut().filter(|conn| !conn.closing) {
            if let Role::Attachment(id) = conn.role.clone() {
                let (kind, message) = (FailureKind::NotRunning, "the container has ended".into());
                conn.finish(&FromSupervisor::ExecFailed { id, kind, message });
            }
        }
    }

    fn ended(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let seq = self.journal.next_seq();
        self.record(ExitRecord::Ended { seq, at_us: now_us() });
        self.begin_farewell();
    }
}
