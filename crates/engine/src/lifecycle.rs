//! What happens to containers: the events of their supervisors.

use kleene_model::{
    Container, ContainerId, Driver, Endpoint, EndpointId, ExecId, Execution, ExecutionState,
    Family, LinkName, Refusal, RoutedCable, RunState,
};

use crate::actual::Addressing;
use crate::change::Owner;
use crate::command::{Effect, Job, Outcome};
use crate::engine::Engine;
use crate::host::Host;
use crate::state::State;
use crate::store::{Durability, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// The namespaces are there: now the network, then the first command.
    pub(crate) fn prepared(&mut self, id: ContainerId) {
        let Some(container) = self.state.container(id).cloned() else {
            return self.kill(id);
        };
        match container.run {
            RunState::Preparing => {}
            // It has ended in the meantime, as far as anybody was told.
            RunState::Stopped => return self.kill(id),
            RunState::Launching | RunState::Running | RunState::Stopping => return,
        }
        match container.driver {
            Driver::Vnet => self.actual.enter(id, false),
            // A view has its loopback up from the start.
            Driver::Ipnet | Driver::Disabled => self.actual.enter(id, true),
            Driver::Host => {}
        }
        match self.raise_network(&container) {
            Ok(()) => self.effects.push(Effect::Job(Job::Launch { container: id })),
            Err(refusal) => {
                self.give_back(id);
                self.refuse_pending(id, &refusal);
                self.kill(id);
            }
        }
    }

    /// Gives every endpoint of the container what it needs on the host, before
    /// anything runs in it.
    fn raise_network(&mut self, container: &Container) -> Result<(), Refusal> {
        let needs: Vec<_> =
            self.state.endpoints_of(container.id).map(|e| (e.network, e.address)).collect();
        self.borrow_for(container, &needs)?;
        self.look_for_holders(&[container]);
        loop {
            let mut next = self.state.clone();
            self.reserve_cables(&mut next, container);
            next.edit_container(container.id, |c| c.run = RunState::Launching);
            next.touch_endpoints_of(container.id);
            let names = cables_of(&next, container.id);
            match self.commit(next, Durability::Process) {
                // Somebody has a link of that name since the last look; now it is
                // known, and the next number is tried.
                Err(_) if names.iter().any(|name| self.actual.is_refused(name)) => {}
                raised => return raised,
            }
        }
    }

    /// Gives endpoints other cables whose names somebody else has by now.
    fn renumber_taken_cables(&self, next: &mut State, container: ContainerId) {
        let free = |n| !self.actual.knows(&LinkName::cable_host(n));
        let taken = |endpoint: &Endpoint| {
            let link = endpoint.cable.map(LinkName::cable_host);
            let link = link.and_then(|name| self.actual.link(&name));
            link.is_some_and(|link| {
                link.mark().map(|mark| mark.owner) != Some(Owner::Endpoint(endpoint.id))
            })
        };
        let endpoints = next.endpoints_of(container).filter(|endpoint| taken(endpoint));
        let endpoints: Vec<EndpointId> = endpoints.map(|endpoint| endpoint.id).collect();
        for endpoint in endpoints {
            let cable = next.take_cable(free);
            next.set_cable(endpoint, cable);
        }
    }

    /// Chooses the cables of a container that starts.
    fn reserve_cables(&self, next: &mut State, container: &Container) {
        let free = |n| !self.actual.knows(&LinkName::cable_host(n));
        match container.driver {
            Driver::Vnet => {
                let endpoints: Vec<EndpointId> =
                    next.endpoints_of(container.id).map(|e| e.id).collect();
                for endpoint in endpoints {
                    let cable = next.take_cable(free);
                    next.set_cable(endpoint, cable);
                }
            }
            Driver::Ipnet
                if self.actual.addressing() == Addressing::Routed
                    && next.endpoints_of(container.id).next().is_some() =>
            {
                let cable = next.take_cable(free).map(|number| {
                    let first = next.first_interface(container.id).cloned();
                    let inner = first.unwrap_or_else(|| LinkName::cable_container(number));
                    RoutedCable { number, inner }
                });
                next.set_routed_cable(container.id, cable);
            }
            Driver::Ipnet | Driver::Host | Driver::Disabled => {}
        }
    }

    /// The holder runs: start what was asked for.
    pub(crate) fn launched(&mut self, id: ContainerId, pid: u32) {
        let run = self.state.container(id).map_or(RunState::Stopped, |container| container.run);
        match run {
            RunState::Launching => {}
            RunState::Stopped => return self.kill(id),
            RunState::Preparing | RunState::Running | RunState::Stopping => return,
        }
        let mut next = self.state.clone();
        next.edit_container(id, |container| {
            container.run = RunState::Running;
            container.pid = Some(pid);
        });
        if let Err(refusal) = self.commit(next, Durability::Process) {
            self.refuse_pending(id, &refusal);
            return self.kill(id);
        }
        self.idle.insert(id);
        let pending = self.pending.remove(&id).unwrap_or_default();
        for exec in pending {
            self.launch_exec(exec);
        }
    }

    /// The container could not be started: the state of before is back.
    pub(crate) fn start_failed(&mut self, id: ContainerId, why: &str) {
        self.refuse_pending(id, &Refusal::StartFailed { why: why.to_owned() });
        self.ended(id);
    }

    /// No process of the container is left.
    pub(crate) fn ended(&mut self, id: ContainerId) {
        self.refuse_pending(id, &Refusal::NotRunning);
        self.idle.remove(&id);
        self.actual.leave(id);
        let mut next = self.state.clone();
        end_in(&mut next, id);
        // The kernel takes the cable away with the namespace; a failure here
        // leaves a link that the next full look finds.
        let refused = self.commit(next, Durability::Process).err();
        if refused.is_some() {
            self.mark_ended(id);
        } else {
            self.give_back(id);
        }
        self.refuse_starting(id, &Refusal::NotRunning);
        for (token, answer) in self.stopping.remove(&id).unwrap_or_default() {
            self.effects.push(Effect::Reply(token, Ok(Outcome::Id(answer))));
        }
    }

    /// A container that outlived the daemon is ours again.
    pub(crate) fn adopted(&mut self, id: ContainerId, pid: Option<u32>, running: &[ExecId]) {
        let alive = self.state.container(id).filter(|c| c.run != RunState::Stopped);
        let Some(container) = alive.cloned() else {
            return self.kill(id);
        };
        self.enter_adopted(&container, pid.is_some());
        // Its first command had not been started: whoever asked is gone.
        let began = self.state.executions_of(id).any(|exec| match exec.state {
            ExecutionState::Created | ExecutionState::Starting => false,
            ExecutionState::Running | ExecutionState::Exited { .. } => true,
        });
        if pid.is_none() || running.is_empty() && !began {
            return self.kill(id);
        }
        // What was asked for since the daemon is back is on its way.
        let asked = |exec: ExecId| self.starting.contains_key(&exec);
        if running.is_empty() && self.never_used(id) {
            if !self.state.executions_of(id).any(|exec| asked(exec.id)) {
                return self.kill(id);
            }
            self.idle.insert(id);
        }
        let mut next = self.state.clone();
        next.edit_container(id, |c| {
            c.pid = pid;
            if c.run != RunState::Stopping {
                c.run = RunState::Running;
            }
        });
        // Those that ran and are not listed any more have ended unseen.
        let unseen: Vec<ExecId> = next
            .executions_of(id)
            .filter(|exec| exec.state == ExecutionState::Running && !running.contains(&exec.id))
            .map(|exec| exec.id)
            .collect();
        for exec in unseen {
            next.edit_execution(exec, |e| {
                e.state = ExecutionState::Exited { code: 137, last: false };
            });
        }
        let lost: Vec<ExecId> = next
            .executions_of(id)
            .filter(|exec| exec.state == ExecutionState::Starting)
            .filter(|exec| !running.contains(&exec.id) && !asked(exec.id))
            .map(|exec| exec.id)
            .collect();
        for exec in lost {
            next.edit_execution(exec, |e| {
                e.state = ExecutionState::Exited { code: 125, last: false }
            });
        }
        for exec in running {
            next.edit_execution(*exec, |e| e.state = ExecutionState::Running);
        }
        // Links that went missing while the daemon was away come back here.
        self.renumber_taken_cables(&mut next, id);
        next.touch_endpoints_of(id);
        if self.commit(next, Durability::Process).is_err() {
            return self.kill(id);
        }
        // Asked for before it was known that the container runs already.
        for exec in self.pending.remove(&id).unwrap_or_default() {
            self.launch_exec(exec);
        }
    }

    /// The namespace of a container that outlived the daemon is known again.
    fn enter_adopted(&mut self, container: &Container, launched: bool) {
        let id = container.id;
        match container.driver {
            Driver::Host => {}
            Driver::Vnet => {
                self.actual.enter(id, launched);
                // What was set up inside is the container's own since then.
                for family in Family::BOTH {
                    if let Some((cable, _)) = self.state.way_out(id, family) {
                        self.actual.set_default(id, family, LinkName::cable_container(cable));
                    }
                }
            }
            Driver::Ipnet | Driver::Disabled => {
                self.actual.enter(id, true);
                // A view that cannot be looked into is set up anew, piece by piece.
                drop(self.look_inside(id));
            }
        }
    }
}

/// The host's ends of a container's cables.
fn cables_of(state: &State, id: ContainerId) -> Vec<LinkName> {
    let routed = state.container(id).and_then(|container| container.cable.as_ref());
    let plugged = state.endpoints_of(id).filter_map(|endpoint| endpoint.cable);
    routed.map(RoutedCable::host).into_iter().chain(plugged.map(LinkName::cable_host)).collect()
}

/// Draws a container that has ended into a state: no process, no cable, its
/// executions over.
pub(crate) fn end_in(state: &mut State, container: ContainerId) {
    let executions: Vec<std::sync::Arc<Execution>> =
        state.executions_of(container).cloned().collect();
    for execution in executions {
        match execution.state {
            ExecutionState::Running | ExecutionState::Starting => {
                // What nobody reported was killed with the container.
                let state_now = ExecutionState::Exited { code: 137, last: true };
                state.edit_execution(execution.id, |e| e.state = state_now);
            }
            ExecutionState::Created | ExecutionState::Exited { .. } => {}
        }
    }
    let endpoints: Vec<EndpointId> = state.endpoints_of(container).map(|e| e.id).collect();
    for endpoint in endpoints {
        state.set_cable(endpoint, None);
    }
    state.touch_endpoints_of(container);
    state.set_routed_cable(container, None);
    state.edit_container(container, |c| {
        c.run = RunState::Stopped;
        c.pid = None;
    });
}
