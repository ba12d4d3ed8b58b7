//! The verbs of executions, and what happens to them.

use std::sync::Arc;

use kleene_model::api::{ExecConfig, ExecStartConfig, Window};
use kleene_model::container::merge_env;
use kleene_model::{ContainerId, ExecId, Execution, ExecutionState, Refusal, RunState};

use crate::command::{Effect, ExecSpec, Job, Outcome, Token};
use crate::containers::check_env;
use crate::engine::{Engine, Given};
use crate::host::Host;
use crate::lookup;
use crate::state::State;
use crate::store::{Durability, Store};

/// Milliseconds between a stop signal and the end, where nobody said.
pub const DEFAULT_GRACE_MS: u64 = 3_000;

/// How many ended executions of a container are remembered, and how many that
/// were not started.
const KEPT: usize = 64;

/// An execution that waits for its container to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    exec: ExecId,
    window: Option<Window>,
}

impl<H: Host, S: Store> Engine<H, S> {
    /// Makes an execution.
    pub(crate) fn exec_create(
        &mut self,
        config: ExecConfig,
        given: &mut Given<'_>,
    ) -> Result<Outcome, Refusal> {
        let ExecConfig { container_id, cmd, env, user, tty, workdir } = config;
        let container = lookup::container(&self.state, &container_id)?.id;
        check_env(&env)?;
        if cmd.iter().chain([&user, &workdir]).any(|text| text.contains('\0')) {
            return Err(Refusal::InvalidRequest {
                why: "command, user and working directory cannot contain a NUL byte".to_owned(),
            });
        }
        let mut next = self.state.clone();
        let id = given.exec_id(&next);
        let (state, sequence) = (ExecutionState::Created, next.next_sequence());
        next.put_execution(Arc::new(Execution {
            id,
            container,
            cmd,
            env,
            user,
            workdir,
            tty,
            sequence,
            state,
        }));
        // Whoever made them and never came back does not fill the store.
        forget_old(&mut next, container, KEPT, |state| *state == ExecutionState::Created);
        forget_old(&mut next, container, KEPT, is_over);
        self.commit(next, Durability::Process)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Starts an execution; the answer comes when its first process runs.
    pub(crate) fn exec_start(
        &mut self,
        config: &ExecStartConfig,
        token: Token,
    ) -> Result<Option<Outcome>, Refusal> {
        let ExecStartConfig { exec_id, attach: _, start_container, window } = config;
        let exec = Arc::clone(lookup::execution(&self.state, exec_id)?);
        match exec.state {
            ExecutionState::Created => {}
            ExecutionState::Starting | ExecutionState::Running => {
                return Err(Refusal::ExecAlreadyStarted);
            }
            ExecutionState::Exited { .. } => {
                return Err(Refusal::ExecNotFound { ident: exec_id.clone() });
            }
        }
        let container =
            self.state.container(exec.container).cloned().ok_or(Refusal::ContainerNotFound)?;
        let pending = Pending { exec: exec.id, window: *window };
        let mut next = self.state.clone();
        next.edit_execution(exec.id, |e| e.state = ExecutionState::Starting);
        match container.run {
            RunState::Stopped if !start_container => return Err(Refusal::MayNotStartContainer),
            RunState::Stopping => {
                return Err(Refusal::Busy {
                    container: container.id.to_string(),
                    doing: "stopping",
                });
            }
            RunState::Stopped => {
                next.edit_container(container.id, |c| c.run = RunState::Preparing);
                self.commit(next, Durability::Process)?;
                self.pending.entry(container.id).or_default().push(pending);
                self.effects.push(Effect::Job(Job::Prepare { container }));
            }
            RunState::Preparing | RunState::Launching => {
                self.commit(next, Durability::Process)?;
                self.pending.entry(container.id).or_default().push(pending);
            }
            RunState::Running => {
                self.commit(next, Durability::Process)?;
                self.launch_exec(pending);
            }
        }
        self.starting.entry(exec.id).or_default().push(token);
        Ok(None)
    }

    /// Hands an execution over to be started, with every default filled in.
    pub(crate) fn launch_exec(&mut self, pending: Pending) {
        let Some(exec) = self.state.execution(pending.exec) else { return };
        let Some(container) = self.state.container(exec.container) else { return };
        let or = |text: &str, default: &str| {
            if text.is_empty() { default.to_owned() } else { text.to_owned() }
        };
        let spec = ExecSpec {
            exec: exec.id,
            container: container.id,
            argv: if exec.cmd.is_empty() { container.cmd.clone() } else { exec.cmd.clone() },
            env: merge_env(&container.env, &exec.env),
            user: or(&exec.user, &container.user),
            workdir: or(&exec.workdir, "/"),
            tty: exec.tty,
            window: pending.window,
        };
        self.effects.push(Effect::Job(Job::StartExec(Box::new(spec))));
    }

    /// Stops an execution, or its whole container.
    pub(crate) fn exec_stop(
        &mut self,
        ident: &str,
        force: bool,
        whole_container: bool,
        token: Token,
    ) -> Result<Option<Outcome>, Refusal> {
        let exec = Arc::clone(lookup::execution(&self.state, ident)?);
        match exec.state {
            ExecutionState::Created => return Err(Refusal::ExecNotStarted),
            ExecutionState::Exited { .. } => {
                return Err(Refusal::ExecNotFound { ident: ident.to_owned() });
            }
            ExecutionState::Starting | ExecutionState::Running => {}
        }
        if whole_container {
            self.stop(exec.container, if force { 0 } else { DEFAULT_GRACE_MS })?;
            self.stopping.entry(exec.container).or_default().push((token, ident.to_owned()));
            return Ok(None);
        }
        self.signal_exec(&exec, force);
        Ok(Some(Outcome::Id(ident.to_owned())))
    }

    fn signal_exec(&mut self, exec: &Execution, force: bool) {
        let Execution { id, container, .. } = exec;
        let job = Job::SignalExec { exec: *id, container: *container, force };
        self.effects.push(Effect::Job(job));
    }

    /// Passes on the size of a terminal's window.
    pub(crate) fn exec_resize(&mut self, ident: &str, window: Window) -> Result<Outcome, Refusal> {
        let exec = lookup::execution(&self.state, ident)?;
        match exec.state {
            ExecutionState::Running => {}
            ExecutionState::Created | ExecutionState::Starting | ExecutionState::Exited { .. } => {
                return Err(Refusal::ExecNotStarted);
            }
        }
        let job = Job::Resize { exec: exec.id, container: exec.container, window };
        self.effects.push(Effect::Job(job));
        Ok(Outcome::Done)
    }

    /// An attached client that vanishes takes its execution with it.
    pub(crate) fn client_gone(&mut self, id: ExecId) -> Outcome {
        let exec = self.state.execution(id).cloned();
        if let Some(exec) = exec.filter(|exec| exec.state == ExecutionState::Running) {
            self.signal_exec(&exec, false);
        }
        Outcome::Done
    }

    /// The first process of an execution runs.
    pub(crate) fn exec_started(&mut self, id: ExecId) {
        if let Some(exec) = self.state.execution(id) {
            self.idle.remove(&exec.container);
        }
        // It may have ended before we hear that it began.
        let begins = self.state.execution(id).is_some_and(|e| e.state == ExecutionState::Starting);
        if begins {
            let mut next = self.state.clone();
            next.edit_execution(id, |e| e.state = ExecutionState::Running);
            self.write_down(next);
        }
        self.answer_start(id, &Ok(Outcome::Id(id.to_string())));
    }

    /// The first process of an execution could not be started.
    pub(crate) fn exec_failed(&mut self, id: ExecId, why: &str, exit_code: i32) {
        let Some(exec) = self.state.execution(id).cloned() else { return };
        if let ExecutionState::Exited { .. } = exec.state {
            // It went with its container, and comes late.
            return self
                .answer_start(id, &Err(Refusal::ExecFailed { why: why.to_owned(), exit_code }));
        }
        let mut next = self.state.clone();
        next.edit_execution(id, |e| {
            e.state = ExecutionState::Exited { code: exit_code, last: false };
        });
        self.write_down(next);
        self.answer_start(id, &Err(Refusal::ExecFailed { why: why.to_owned(), exit_code }));
        self.end_if_idle(exec.container);
    }

    /// A container whose only command never began has nothing to run for.
    fn end_if_idle(&mut self, container: ContainerId) {
        // One that ran may have left processes behind; the holder ends with the
        // last of them by itself.
        let busy = !self.idle.contains(&container)
            || self.state.executions_of(container).any(|exec| match exec.state {
                ExecutionState::Starting | ExecutionState::Running => true,
                ExecutionState::Created | ExecutionState::Exited { .. } => false,
            });
        let running = self.state.container(container).is_some_and(|c| c.run == RunState::Running);
        if running && !busy {
            self.kill(container);
            self.mark_stopping(container);
        }
    }

    /// Whether a launched container's first command was lost on its way: then
    /// nothing will ever run in it, or end it.
    pub(crate) fn never_used(&self, id: ContainerId) -> bool {
        !self.state.executions_of(id).any(|exec| match exec.state {
            ExecutionState::Created | ExecutionState::Starting => false,
            ExecutionState::Running => true,
            ExecutionState::Exited { code, last } => !last && !(125..=127).contains(&code),
        })
    }

    /// The first process of an execution has ended.
    pub(crate) fn exec_exited(&mut self, id: ExecId, code: i32, last: bool) {
        let Some(exec) = self.state.execution(id).cloned() else { return };
        if let ExecutionState::Exited { .. } = exec.state {
            return self.acknowledge(&exec);
        }
        self.idle.remove(&exec.container);
        let mut next = self.state.clone();
        next.edit_execution(id, |e| e.state = ExecutionState::Exited { code, last });
        forget_old(&mut next, exec.container, KEPT, is_over);
        if self.write_down(next) {
            self.acknowledge(&exec);
        }
        self.answer_start(id, &Ok(Outcome::Id(id.to_string())));
    }

    /// An exit is in the store: its supervisor need not keep it any longer.
    fn acknowledge(&mut self, exec: &Execution) {
        let Execution { id, container, .. } = exec;
        self.effects.push(Effect::Job(Job::Acknowledge { exec: *id, container: *container }));
    }

    /// Writes down what has happened. It has happened whether or not the store
    /// takes it, so the state holds it in any case; `false` when it did not.
    pub(crate) fn write_down(&mut self, next: State) -> bool {
        let fact = next.clone();
        let written = self.commit(next, Durability::Process).is_ok();
        if !written {
            self.state = fact;
        }
        written
    }

    fn answer_start(&mut self, id: ExecId, answer: &Result<Outcome, Refusal>) {
        for token in self.starting.remove(&id).unwrap_or_default() {
            self.effects.push(Effect::Reply(token, answer.clone()));
        }
    }

    /// The container will not run: nor will what waited for it.
    pub(crate) fn refuse_pending(&mut self, container: ContainerId, refusal: &Refusal) {
        for pending in self.pending.remove(&container).unwrap_or_default() {
            let mut next = self.state.clone();
            next.edit_execution(pending.exec, |e| {
                e.state = ExecutionState::Exited { code: 125, last: true };
            });
            self.write_down(next);
            self.answer_start(pending.exec, &Err(refusal.clone()));
        }
    }

    /// The container has ended before anybody heard of these executions.
    pub(crate) fn refuse_starting(&mut self, container: ContainerId, refusal: &Refusal) {
        let executions = self.state.executions_of(container).map(|exec| exec.id);
        let waiting: Vec<ExecId> =
            executions.filter(|exec| self.starting.contains_key(exec)).collect();
        for exec in waiting {
            self.answer_start(exec, &Err(refusal.clone()));
        }
    }
}

fn is_over(state: &ExecutionState) -> bool {
    match state {
        ExecutionState::Exited { .. } => true,
        ExecutionState::Created | ExecutionState::Starting | ExecutionState::Running => false,
    }
}

/// Forgets the oldest executions of a container in such a state, all but `kept`.
fn forget_old(
    state: &mut State,
    container: ContainerId,
    kept: usize,
    such: impl Fn(&ExecutionState) -> bool,
) {
    let found = state.executions_of(container).filter(|exec| such(&exec.state));
    let mut found: Vec<(u64, ExecId)> = found.map(|exec| (exec.sequence, exec.id)).collect();
    found.sort_unstable();
    let surplus = found.len().saturating_sub(kept);
    for (_, old) in found.drain(..surplus) {
        state.remove_execution(old);
    }
}
