//! The engine: one input at a time in, effects out. It never waits.

use std::collections::{BTreeMap, BTreeSet};

use kleene_model::addr::Pools;
use kleene_model::{
    ContainerId, Driver, EndpointId, ExecId, Family, InstanceName, LinkName, NetworkId, Refusal,
    RoutedCable, RunState,
};

use crate::actual::{Actual, Addressing};
use crate::change::{Change, Owned, Owner};
use crate::command::{Command, Effect, Event, Input, Job, Outcome, Token};
use crate::host::{ApplyError, Host, HostError, chain};
use crate::plan::{Scope, plan};
use crate::state::State;
use crate::store::{Durability, Key, Store, StoreError, Write};
use crate::touched::Touched;

/// What the engine may not find out itself: time and randomness.
pub struct Given<'a> {
    /// Now, RFC 3339 in UTC with microseconds.
    pub now: String,
    /// Six random bytes.
    pub draw: &'a mut dyn FnMut() -> [u8; 6],
}

impl Given<'_> {
    fn id<T>(&mut self, make: fn([u8; 6]) -> Option<T>, taken: impl Fn(&T) -> bool) -> T {
        loop {
            if let Some(id) = make((self.draw)()).filter(|id| !taken(id)) {
                return id;
            }
        }
    }

    pub(crate) fn network_id(&mut self, state: &State) -> NetworkId {
        // No id begins with a name: that name would be ambiguous from then on.
        let named = |text: &str| state.network_named(text).is_some();
        self.id(NetworkId::from_bytes, |id| {
            state.network(*id).is_some() || any_prefix(&id.to_string(), named)
        })
    }

    pub(crate) fn container_id(&mut self, state: &State) -> ContainerId {
        let named = |text: &str| state.container_named(text).is_some();
        self.id(ContainerId::from_bytes, |id| {
            state.container(*id).is_some() || any_prefix(&id.to_string(), named)
        })
    }

    pub(crate) fn endpoint_id(&mut self, state: &State) -> EndpointId {
        self.id(EndpointId::from_bytes, |id| state.endpoint(*id).is_some())
    }

    pub(crate) fn exec_id(&mut self, state: &State) -> ExecId {
        self.id(ExecId::from_bytes, |id| state.execution(*id).is_some())
    }
}

/// Whether any beginning of an id, or all of it, is such a text.
fn any_prefix(id: &str, is: impl Fn(&str) -> bool) -> bool {
    (1..=id.len()).filter_map(|len| id.get(..len)).any(is)
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read or written.
    #[error("cannot take over the stored state")]
    Store(#[source] StoreError),
    /// The kernel does not answer.
    #[error("cannot look at the host's network")]
    Host(#[source] HostError),
}

/// Every decision of one daemon.
pub struct Engine<H, S> {
    pub(crate) host: H,
    pub(crate) store: S,
    pub(crate) state: State,
    pub(crate) actual: Actual,
    pub(crate) instance: InstanceName,
    pub(crate) pools: Pools,
    /// Who waits for an execution to start.
    pub(crate) starting: BTreeMap<ExecId, Vec<Token>>,
    /// Interfaces that were opened for traffic of containers.
    pub(crate) opened: BTreeSet<(Family, LinkName)>,
    /// Who waits for a container to end.
    pub(crate) stopping: BTreeMap<ContainerId, Vec<(Token, String)>>,
    /// The executions to start once their container runs, with their window.
    pub(crate) pending: BTreeMap<ContainerId, Vec<crate::executions::Pending>>,
    /// The containers in which nothing has begun since they were launched.
    pub(crate) idle: BTreeSet<ContainerId>,
    pub(crate) effects: Vec<Effect>,
}

impl<H: Host, S: Store> Engine<H, S> {
    /// Takes over what the store holds. `same_boot` tells whether the host is
    /// still up since it was written: then containers may still run and are
    /// adopted, else none does.
    ///
    /// Networks that cannot be brought back do not keep the engine from
    /// starting: the failures are returned beside it.
    ///
    /// # Errors
    /// When store or kernel do not answer at all.
    pub fn start(
        host: H,
        store: S,
        instance: InstanceName,
        pools: Pools,
        same_boot: bool,
    ) -> Result<(Self, Vec<Effect>, Option<ApplyError>), StartError> {
        let mut engine = Self {
            host,
            store,
            state: State::default(),
            actual: Actual::new(),
            instance,
            pools,
            starting: BTreeMap::new(),
            stopping: BTreeMap::new(),
            pending: BTreeMap::new(),
            idle: BTreeSet::new(),
            opened: BTreeSet::new(),
            effects: Vec::new(),
        };
        engine.state = State::from_records(engine.store.load().map_err(StartError::Store)?);
        let seen = engine.host.observe().map_err(StartError::Host)?;
        engine.see(seen);
        engine.take_over(same_boot).map_err(StartError::Store)?;
        let (_, failures) = engine.converge();
        engine.note_health(&failures, &BTreeSet::new());
        let failure = failures.into_iter().next().map(|(_, failure)| failure);
        let networks: Vec<NetworkId> = engine.state.networks().map(|n| n.id).collect();
        for id in networks {
            // What cannot be written now is done at the next start.
            engine.forget_borrowed(id);
            drop(engine.see_off(id));
            drop(engine.forget_unlinked(id));
        }
        let effects = engine.take_effects();
        Ok((engine, effects, failure))
    }

    /// Containers of an earlier boot have stopped; those of this one are
    /// looked for.
    fn take_over(&mut self, same_boot: bool) -> Result<(), StoreError> {
        let alive: Vec<ContainerId> = self
            .state
            .containers()
            .filter(|container| container.run != RunState::Stopped)
            .map(|container| container.id)
            .collect();
        for container in alive {
            if same_boot {
                self.effects.push(Effect::Job(Job::Adopt { container }));
            } else {
                self.mark_ended(container);
            }
        }
        if !same_boot {
            self.forget_all_borrowed();
        }
        let writes = self.writes();
        self.store.write(&writes, Durability::Process)
    }

    /// The desired state, for readers: a snapshot that costs nothing.
    pub fn snapshot(&self) -> State {
        self.state.clone()
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input, given: &mut Given<'_>) -> Vec<Effect> {
        match input {
            Input::Command(command, token) => {
                let now = self.command(*command, token, given);
                if let Some(answer) = now.transpose() {
                    self.effects.push(Effect::Reply(token, answer));
                }
            }
            Input::Event(event) => self.event(event),
        }
        self.take_effects()
    }

    /// What is to be done now. A cable that a roll-back put back into use is
    /// not swept away.
    fn take_effects(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.retain_mut(|effect| match effect {
            Effect::Job(Job::Sweep { links }) => {
                links.retain(|link| !self.is_in_use(link));
                !links.is_empty()
            }
            Effect::Job(_)
            | Effect::Reply(..)
            | Effect::SettingChanged { .. }
            | Effect::Mended { .. }
            | Effect::Degraded { .. } => true,
        });
        effects
    }

    fn is_in_use(&self, cable: &Owned) -> bool {
        let host = match cable.mark().owner {
            Owner::Network(_) => None,
            Owner::Endpoint(id) => {
                let number = self.state.endpoint(id).and_then(|endpoint| endpoint.cable);
                number.map(LinkName::cable_host)
            }
            Owner::Container(id) => {
                let cable = self.state.container(id).and_then(|c| c.cable.as_ref());
                cable.map(RoutedCable::host)
            }
        };
        host.as_ref() == Some(cable.link())
    }

    /// `Ok(None)`: the answer comes with an event.
    fn command(
        &mut self,
        command: Command,
        token: Token,
        given: &mut Given<'_>,
    ) -> Result<Option<Outcome>, Refusal> {
        let done = match command {
            Command::NetworkCreate(config) => self.network_create(config, given)?,
            Command::NetworkRemove { network } => self.network_remove(&network)?,
            Command::NetworkPrune => self.network_prune()?,
            Command::NetworkConnect(config) => self.network_connect(&config, given)?,
            Command::NetworkDisconnect { network, container } => {
                self.network_disconnect(&network, &container)?
            }
            Command::NetworkExplain(config) => self.network_explain(&config)?,
            Command::LogDrops { on } => {
                if on && self.actual.addressing() == Addressing::Shared {
                    let what = "telling of blocked packets on this system";
                    return Err(Refusal::unsupported(what));
                }
                let mut next = self.state.clone();
                next.set_log_drops(on);
                self.commit(next, Durability::Process)?;
                Outcome::Done
            }
            Command::NetworkPassings => self.passings()?,
            Command::ContainerPublish { container, config } => {
                self.container_publish(&container, &config)?
            }
            Command::ContainerUnpublish { container, config } => {
                self.container_unpublish(&container, &config)?
            }
            Command::NetworkLink { network, interface, force } => {
                self.network_link(&network, &interface, force)?
            }
            Command::NetworkUnlink { network, interface } => {
                self.network_unlink(&network, &interface)?
            }
            Command::ContainerCreate(config) => self.container_create(config, given)?,
            Command::ContainerUpdate { container, config } => {
                self.container_update(&container, *config)?
            }
            Command::ContainerRemove { container } => self.container_remove(&container)?,
            Command::ContainerPrune => self.container_prune()?,
            Command::ContainerStop { container, grace_ms } => {
                return self.container_stop(&container, grace_ms, token);
            }
            Command::ImageAdd { image, dataset, nametag } => {
                self.image_add(image, dataset, nametag, given)?
            }
            Command::ImageRestore(image) => self.image_restore(*image)?,
            Command::ImageTag { image, nametag } => self.image_tag(&image, &nametag)?,
            Command::ImageRemove { image } => self.image_remove(&image)?,
            Command::ImagePrune { all } => self.image_prune(all)?,
            Command::ExecCreate(config) => self.exec_create(config, given)?,
            Command::ExecStart(config) => return self.exec_start(&config, token),
            Command::ExecStop { exec, force, container } => {
                return self.exec_stop(&exec, force, container, token);
            }
            Command::ExecResize { exec, window } => self.exec_resize(&exec, window)?,
            Command::ClientGone { exec } => self.client_gone(exec),
        };
        Ok(Some(done))
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Prepared { container } => self.prepared(container),
            Event::Launched { container, pid } => self.launched(container, pid),
            Event::StartFailed { container, why } => self.start_failed(container, &why),
            Event::ExecStarted { exec } => self.exec_started(exec),
            Event::ExecFailed { exec, why, exit_code } => self.exec_failed(exec, &why, exit_code),
            Event::ExecExited { exec, code, last } => self.exec_exited(exec, code, last),
            Event::Ended { container } => self.ended(container),
            Event::Adopted { container, pid, running } => self.adopted(container, pid, &running),
            Event::Swept { links } => self.actual.forget_retired(&links),
            Event::Disturbed { disturbances } => self.disturbed(&disturbances),
        }
    }

    /// The one way in which a change that somebody asks for is made: write it
    /// down, plan, apply, keep the picture true. When the kernel refuses, the same road leads
    /// back to the state of before.
    ///
    /// # Errors
    /// The store's or the kernel's refusal, and what could not be undone.
    pub(crate) fn commit(&mut self, next: State, durability: Durability) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.state, next);
        let touched = self.state.take_touched();
        if let Err(err) = self.store.write(&self.writes_of(&touched.keys), durability) {
            self.state = before;
            return Err(Refusal::Host { what: chain(&err) });
        }
        let changes = plan(Scope::Touched(&touched), &self.actual, &self.state, &self.instance);
        self.carry_out(&changes).map_err(|err| {
            let mut what = chain(&err);
            if let Err(undo) = self.roll_back(before, &touched, durability) {
                what = format!("{what}; and the state of before could not be restored: {undo}");
            }
            Refusal::Host { what }
        })
    }

    fn roll_back(
        &mut self,
        before: State,
        touched: &Touched,
        durability: Durability,
    ) -> Result<(), String> {
        self.state = before;
        let written = self.store.write(&self.writes_of(&touched.keys), durability);
        let seen = self.host.observe().map_err(|err| chain(&err))?;
        self.see(seen);
        for container in &touched.containers {
            // A view that cannot be entered is about to be found dead.
            if self.look_inside(*container).is_err() {
                self.actual.leave(*container);
            }
        }
        let changes = plan(Scope::Touched(touched), &self.actual, &self.state, &self.instance);
        self.carry_out(&changes).map_err(|err| chain(&err))?;
        written.map_err(|err| chain(&err))
    }

    /// Takes over what a look at the kernel has shown.
    pub(crate) fn see(&mut self, seen: Actual) {
        self.actual = seen.with_containers_of(&self.actual);
        let names: Vec<String> = self
            .state
            .networks()
            .flat_map(|network| &network.borrowed)
            .map(|borrowed| borrowed.setting.clone())
            .collect();
        for name in names {
            if let Some(value) = self.host.setting(&name) {
                self.actual.set_setting(name, value);
            }
        }
    }

    /// Looks at a view, where the container has one that can be reached.
    pub(crate) fn look_inside(&mut self, id: ContainerId) -> Result<(), HostError> {
        let ipnet = self.state.container(id).is_some_and(|c| c.driver == Driver::Ipnet);
        if ipnet && self.actual.namespace(id).is_some() {
            let inside = self.host.inside(id)?;
            self.actual.set_inside(id, inside);
        }
        Ok(())
    }

    /// Applies a plan and draws it into the picture; cables that went out of
    /// use are deleted in the background.
    pub(crate) fn carry_out(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        if changes.is_empty() {
            return Ok(());
        }
        let applied = self.host.apply(changes);
        let done = applied.as_ref().map_or_else(|err| err.done, |()| changes.len());
        let mut retired: Vec<Owned> = Vec::new();
        for change in changes.iter().take(done) {
            self.actual.absorb(change);
            match change {
                Change::RetireCable { link } => retired.push(link.clone()),
                Change::Set { setting, value } => {
                    let (setting, value) = (setting.clone(), value.clone());
                    self.effects.push(Effect::SettingChanged { setting, value });
                }
                _ => {}
            }
        }
        if !retired.is_empty() {
            self.effects.push(Effect::Job(Job::Sweep { links: retired }));
        }
        applied
    }

    fn writes_of(&self, keys: &BTreeSet<Key>) -> Vec<Write> {
        keys.iter().map(|key| (*key, self.state.record(*key))).collect()
    }

    pub(crate) fn writes(&mut self) -> Vec<Write> {
        let touched = self.state.take_touched();
        self.writes_of(&touched.keys)
    }

    /// Draws a container that has ended into the state: no process, no cable,
    /// its executions over.
    pub(crate) fn mark_ended(&mut self, container: ContainerId) {
        crate::lifecycle::end_in(&mut self.state, container);
    }
}
