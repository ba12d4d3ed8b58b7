//! Output: from executions to the log and to those attached.

use std::time::{Duration, Instant};

use kleene_supervise::proto::{ExitRecord, FromSupervisor};

use crate::{
    conn::{Conn, Role},
    execution::{Execution, Output},
    journal::now_us,
    supervisor::{Supervisor, note},
};

/// One read. Small enough to be fair among executions.
const PIECE: usize = 32 << 10;

/// What a process can have left behind in a pipe, at most.
const MAX_PIPE: usize = 1 << 20;

/// A terminal's last bytes are passed on by the kernel's workers, after the
/// process has gone; a terminal that others keep open never says it is empty.
const TERMINAL_DRAIN: Duration = Duration::from_millis(100);

/// No note about lost log lines more often than this.
const LOG_NOTE_INTERVAL: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Whether a client that is attached is to be waited for.
    pub(crate) fn is_held_back(&self, execution: &Execution) -> bool {
        self.conns.iter().any(|conn| is_attached(conn, &execution.id) && conn.holds_back())
    }

    /// Whether more input may come from a connection.
    pub(crate) fn may_send_more(&self, conn: &Conn) -> bool {
        let Role::Attachment(id) = &conn.role else { return true };
        self.executions
            .iter()
            .find(|execution| execution.id == *id)
            .is_none_or(Execution::takes_input)
    }

    /// Passes on one piece of output.
    pub(crate) fn pump(&mut self, key: u32) {
        let ended = matches!(self.pump_once(key), Output::End);
        let draining = self.by_key(key).is_some_and(|execution| execution.drain_until.is_some());
        if ended && draining {
            self.finish(key);
        }
        self.forget_finished();
    }

    fn pump_once(&mut self, key: u32) -> Output {
        let mut buffer = [0; PIECE];
        let Some(execution) = self.executions.iter_mut().find(|execution| execution.key == key)
        else {
            return Output::End;
        };
        let read = execution.read(&mut buffer);
        let Output::Some(count) = read else { return read };
        let data = &buffer[..count];
        if let Some(log) = &mut self.log {
            log.write(&execution.id, data, now_us());
        }
        let finished = execution.finished;
        for conn in self.conns.iter_mut().filter(|conn| is_attached(conn, &execution.id)) {
            if !finished {
                conn.output(data);
            }
        }
        self.note_dropped();
        read
    }

    fn note_dropped(&mut self) {
        let now = Instant::now();
        if self.log_noted.is_some_and(|noted| now < noted + LOG_NOTE_INTERVAL) {
            return;
        }
        let bytes = self.log.as_mut().map_or(0, kleene_supervise::log::Writer::take_dropped);
        if bytes > 0 {
            self.log_noted = Some(now);
            self.broadcast(&FromSupervisor::LogDropped { bytes });
        }
    }

    /// An execution's first process has ended: pass on what it left.
    pub(crate) fn exited(&mut self, key: u32, code: i32, last: bool) {
        let Some(execution) = self.by_key(key).filter(|execution| execution.exit.is_none()) else {
            return;
        };
        execution.exit = Some((code, last));
        if execution.tty.is_some() && execution.output.is_some() {
            execution.drain_until = Some(Instant::now() + TERMINAL_DRAIN);
        } else {
            self.finish(key);
        }
    }

    /// Passes on what is there without waiting, and tells of the end.
    pub(crate) fn finish(&mut self, key: u32) {
        self.drain(key);
        let journal = &mut self.journal;
        let open = |execution: &&mut Execution| execution.key == key && !execution.finished;
        let Some(execution) = self.executions.iter_mut().find(open) else { return };
        let Some((code, last)) = execution.exit else { return };
        let seq = journal.next_seq();
        execution.finished = true;
        execution.seq = seq;
        execution.drain_until = None;
        execution.drop_input();
        let exec = execution.id.clone();
        let record = ExitRecord::Exec { seq, exec: exec.clone(), code, last, at_us: now_us() };
        self.record(record);
        let message = FromSupervisor::ExecExited { exec: exec.clone(), code, last };
        for conn in self.conns.iter_mut().filter(|conn| is_attached(conn, &exec)) {
            conn.finish(&message);
        }
    }

    /// Passes on what is there, without waiting; a background process could
    /// go on for ever.
    fn drain(&mut self, key: u32) {
        let mut passed = 0;
        while let Output::Some(count) = self.pump_once(key) {
            passed += count;
            if passed >= MAX_PIPE {
                break;
            }
        }
    }

    /// To the exits file and to the daemon.
    pub(crate) fn record(&mut self, record: ExitRecord) {
        if let Err(error) = self.journal.add(record.clone()) {
            note(&format!("cannot keep an exit: {error}"));
        }
        self.broadcast(&FromSupervisor::Exit(record));
    }

    /// What has ended, is read to its end and known to the daemon.
    pub(crate) fn forget_finished(&mut self) {
        let oldest = self.journal.records().first().map_or(u64::MAX, ExitRecord::seq);
        self.executions.retain(|execution| {
            execution.first
                || !execution.finished
                || execution.output.is_some()
                || execution.seq >= oldest
        });
    }
}

/// Whether a connection is attached to an execution and still open.
pub(crate) fn is_attached(conn: &Conn, exec: &str) -> bool {
    !conn.dead && !conn.closing && matches!(&conn.role, Role::Attachment(id) if id == exec)
}
