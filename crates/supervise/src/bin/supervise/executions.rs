//! Executions, from the request to the report of their start.

use std::os::fd::OwnedFd;

use kleene_supervise::proto::{ExecSpec, FailureKind, FromSupervisor};

use crate::{
    execution::Execution,
    pump::is_attached,
    supervisor::{Supervisor, note},
};

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
            self.world.start(key, spec, ends)?;
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

    /// A command that was handed over runs.
    pub(crate) fn started(&mut self, key: u32, pid: i32, terminal: Option<OwnedFd>) {
        let Some(execution) = self.by_key(key).filter(|execution| execution.pid.is_none()) else {
            return;
        };
        execution.pid = Some(pid);
        if let Some(master) = terminal.filter(|_| execution.tty.is_some())
            && let Err(error) = execution.take_terminal(master)
        {
            note(&format!("cannot use the terminal of {}: {error}", execution.id));
        }
        execution.write_input();
        let id = execution.id.clone();
        self.broadcast(&FromSupervisor::Started { id, pid });
    }

    /// A command that was handed over does not run.
    pub(crate) fn not_started(&mut self, key: u32, kind: FailureKind, message: &str) {
        let failed = |execution: &mut Execution| {
            execution.key == key && execution.pid.is_none() && execution.exit.is_none()
        };
        let failed: Vec<Execution> = self.executions.extract_if(.., failed).collect();
        for execution in failed {
            self.exec_failed(&execution.id, kind, message.to_owned());
        }
    }
}
