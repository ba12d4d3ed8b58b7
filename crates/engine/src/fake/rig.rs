//! An engine over the fakes, with what a test needs at hand.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use kleene_model::addr::Pools;
use kleene_model::api::{
    ContainerConfig, EndPointConfig, ExecConfig, ExecStartConfig, NetworkConfig,
};
use kleene_model::{ContainerId, Driver, ExecId, InstanceName, NetworkType, Refusal};

use super::faults::Crash;
use super::host::FakeHost;
use super::store::MemoryStore;
use super::supervisors::{FakeSupervisors, Work};
use crate::command::{Command, Effect, Event, Input, Outcome, Token};
use crate::engine::{Engine, Given};
use crate::host::chain;
use crate::reconcile::Disturbance;
use crate::state::State;

/// A small random generator with a known seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Prng(pub u64);

impl Prng {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % limit).unwrap_or(0)
    }
}

type Answer = Result<Outcome, Refusal>;

/// An engine, its kernel, its store and its supervisors.
pub struct Rig {
    /// The kernel.
    pub host: FakeHost,
    /// The store.
    pub store: MemoryStore,
    /// The supervisors and the queues.
    pub supervisors: FakeSupervisors,
    /// Why the last start could not bring everything back.
    pub start_failure: Option<String>,
    pub(super) engine: Option<Engine<FakeHost, MemoryStore>>,
    pub(super) instance: InstanceName,
    pub(super) answers: BTreeMap<Token, Vec<Answer>>,
    /// What was mended, each time.
    pub mended: Vec<Vec<String>>,
    /// What settings of the host were changed to.
    pub set: Vec<(String, String)>,
    /// What could not be.
    pub degraded: Vec<String>,
    random: Prng,
    tokens: u64,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// An engine over an empty host.
    #[must_use]
    pub fn new() -> Self {
        Self::over(|_| {})
    }

    /// An engine over a host on which something was before.
    #[must_use]
    pub fn over(before: impl FnOnce(&FakeHost)) -> Self {
        let instance = InstanceName::parse("main").expect("a good name");
        let host = FakeHost::new(instance.clone());
        before(&host);
        let mut rig = Self {
            supervisors: FakeSupervisors::new(host.clone()),
            host,
            store: MemoryStore::new(),
            start_failure: None,
            engine: None,
            instance,
            answers: BTreeMap::new(),
            mended: Vec::new(),
            set: Vec::new(),
            degraded: Vec::new(),
            random: Prng(1),
            tokens: 0,
        };
        rig.restart(true);
        rig
    }

    /// The desired state.
    ///
    /// # Panics
    /// When the daemon is dead.
    #[must_use]
    pub fn state(&self) -> State {
        self.engine.as_ref().expect("the daemon lives").snapshot()
    }

    /// Starts a daemon over what is there.
    ///
    /// # Panics
    /// When it cannot start at all.
    pub fn restart(&mut self, same_boot: bool) {
        self.kill_daemon();
        let started = Engine::start(
            self.host.clone(),
            self.store.clone(),
            self.instance.clone(),
            Pools::default(),
            same_boot,
        );
        let (engine, effects, failure) = started.expect("store and kernel answer");
        self.engine = Some(engine);
        self.start_failure = failure.map(|err| chain(&err));
        self.carry_out(effects);
    }

    /// `kill -9` of the daemon: what was on its way is lost.
    pub fn kill_daemon(&mut self) {
        self.engine = None;
        self.supervisors.forget_daemon();
        self.answers.clear();
    }

    /// The host reboots; the links named come back with it. The daemon is dead
    /// afterwards.
    pub fn reboot(&mut self, keep: &[kleene_model::LinkName]) {
        self.kill_daemon();
        self.supervisors.reboot();
        self.host.reboot(keep);
    }

    /// Does something during which the daemon may die of a planned crash;
    /// whether it did.
    pub fn crash_during(&mut self, act: impl FnOnce(&mut Self)) -> bool {
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(()) => false,
            Err(payload) if payload.is::<Crash>() => {
                self.kill_daemon();
                true
            }
            Err(payload) => resume_unwind(payload),
        }
    }

    fn handle(&mut self, input: Input) {
        let engine = self.engine.as_mut().expect("the daemon lives");
        let random = &mut self.random;
        let mut draw = || {
            let [a, b, c, d, e, f, ..] = random.draw().to_le_bytes();
            [a, b, c, d, e, f]
        };
        let now = "2026-11-24T12:00:00.000000Z".to_owned();
        let effects = engine.handle(input, &mut Given { now, draw: &mut draw });
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, answer) => self.answers.entry(token).or_default().push(answer),
                Effect::Job(job) => self.supervisors.push(job),
                Effect::SettingChanged { setting, value } => self.set.push((setting, value)),
                Effect::Mended { changes } => self.mended.push(changes),
                Effect::Degraded { why } => self.degraded.push(why),
            }
        }
    }

    /// Sends a command; its answer may come later.
    pub fn send(&mut self, command: Command) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.answers.insert(token, Vec::new());
        self.handle(Input::Command(Box::new(command), token));
        token
    }

    /// Tells the engine of an event.
    pub fn event(&mut self, event: Event) {
        self.handle(Input::Event(event.clone()));
        self.supervisors.acknowledge(&event);
    }

    /// Lets one thing happen, of those that may; `false` when nothing may.
    pub fn step(&mut self, choice: usize) -> bool {
        let available = self.supervisors.available();
        if available.is_empty() {
            return false;
        }
        match available[choice % available.len()] {
            Work::Job(at) => self.supervisors.run(at),
            Work::Event(at) => {
                if let Some(event) = self.supervisors.take_event(at) {
                    self.event(event);
                }
            }
        }
        true
    }

    /// Lets everything happen that can.
    ///
    /// # Panics
    /// When it never ends.
    pub fn settle(&mut self) {
        let limit = 100_000;
        let steps = (0..limit).take_while(|_| self.step(0)).count();
        assert!(steps < limit, "the jobs never end");
    }

    /// The one answer to a request.
    ///
    /// # Panics
    /// When there is none, or several.
    pub fn answer(&mut self, token: Token) -> Answer {
        let mut answers = self.answers.remove(&token).unwrap_or_default();
        assert_eq!(answers.len(), 1, "{token:?} was answered {answers:?}");
        answers.remove(0)
    }

    /// Whether a request was answered.
    #[must_use]
    pub fn is_answered(&self, token: Token) -> bool {
        self.answers.get(&token).is_some_and(|answers| !answers.is_empty())
    }

    /// Sends a command, lets everything happen, and gives its answer.
    ///
    /// # Errors
    /// The refusal.
    pub fn ask(&mut self, command: Command) -> Answer {
        let token = self.send(command);
        self.settle();
        self.answer(token)
    }

    /// The same for a command that must succeed.
    ///
    /// # Panics
    /// When it is refused.
    pub fn ok(&mut self, command: Command) -> Outcome {
        let text = format!("{command:?}");
        self.ask(command).unwrap_or_else(|refusal| panic!("{text}: refused: {refusal}"))
    }

    /// The same for a command that must be refused.
    ///
    /// # Panics
    /// When it succeeds.
    pub fn refused(&mut self, command: Command) -> Refusal {
        let text = format!("{command:?}");
        match self.ask(command) {
            Ok(outcome) => panic!("{text}: not refused: {outcome:?}"),
            Err(refusal) => refusal,
        }
    }

    fn id(&mut self, command: Command) -> String {
        match self.ok(command) {
            Outcome::Id(id) => id,
            other => panic!("no id: {other:?}"),
        }
    }

    /// Something happens to the kernel behind the engine's back, and it is told.
    pub fn disturb(
        &mut self,
        act: impl FnOnce(&mut super::kernel::Kernel),
        disturbances: &[Disturbance],
    ) {
        self.host.kernel(act);
        self.event(Event::Disturbed { disturbances: disturbances.to_vec() });
        self.settle();
    }

    /// Makes a bridge network with an automatic gateway; its id.
    pub fn network(&mut self, name: &str, subnet: &str) -> String {
        self.id(Command::NetworkCreate(bridge(name, subnet)))
    }

    /// Makes a vnet container; its id.
    pub fn container(&mut self, name: &str) -> ContainerId {
        self.container_of(name, Driver::Vnet)
    }

    /// Makes a container; its id.
    pub fn container_of(&mut self, name: &str, driver: Driver) -> ContainerId {
        let id = self.id(Command::ContainerCreate(image(name, driver)));
        ContainerId::parse(&id).expect("an id")
    }

    /// Connects a container to a network with an automatic IPv4 address.
    pub fn connect(&mut self, container: &str, network: &str) {
        self.ok(Command::NetworkConnect(endpoint(container, network, "<auto>")));
    }

    /// Makes an execution.
    pub fn exec(&mut self, container: &str, argv: &[&str]) -> ExecId {
        ExecId::parse(&self.id(exec_create(container, argv))).expect("an id")
    }

    /// Makes an execution without letting anything else happen.
    ///
    /// # Panics
    /// When it is refused.
    pub fn exec_now(&mut self, container: &str, argv: &[&str]) -> ExecId {
        let token = self.send(exec_create(container, argv));
        match self.answer(token) {
            Ok(Outcome::Id(id)) => ExecId::parse(&id).expect("an id"),
            other => panic!("no execution: {other:?}"),
        }
    }

    /// Makes an execution and starts it, with its container.
    pub fn run(&mut self, container: &str, argv: &[&str]) -> ExecId {
        let exec = self.exec(container, argv);
        self.ok(start(exec));
        exec
    }
}

/// A bridge network with an automatic gateway.
fn bridge(name: &str, subnet: &str) -> NetworkConfig {
    let v6 = subnet.contains(':');
    let auto = "<auto>".to_owned();
    let (subnet, subnet6) = if v6 { ("", subnet) } else { (subnet, "") };
    NetworkConfig {
        name: name.to_owned(),
        kind: NetworkType::Bridge,
        interface: String::new(),
        subnet: subnet.to_owned(),
        subnet6: subnet6.to_owned(),
        gateway: auto.clone(),
        gateway6: auto,
        nat: None,
        icc: true,
        internal: false,
    }
}

fn image(name: &str, driver: Driver) -> ContainerConfig {
    ContainerConfig {
        name: Some(name.to_owned()),
        image: Some("host-usr".to_owned()),
        network_driver: driver,
        ..ContainerConfig::default()
    }
}

fn endpoint(container: &str, network: &str, ip_address: &str) -> EndPointConfig {
    EndPointConfig {
        container: container.to_owned(),
        network: network.to_owned(),
        ip_address: ip_address.to_owned(),
        ip_address6: String::new(),
        ..EndPointConfig::default()
    }
}

fn exec_create(container: &str, argv: &[&str]) -> Command {
    let cmd = argv.iter().map(|word| (*word).to_owned()).collect();
    let container_id = container.to_owned();
    Command::ExecCreate(ExecConfig { container_id, cmd, ..ExecConfig::default() })
}

fn start(exec: ExecId) -> Command {
    let exec_id = exec.to_string();
    Command::ExecStart(ExecStartConfig {
        exec_id,
        attach: false,
        start_container: true,
        window: None,
    })
}

impl Rig {
    /// The request for a bridge network, to be changed by a test.
    #[must_use]
    pub fn bridge_config(name: &str, subnet: &str) -> NetworkConfig {
        bridge(name, subnet)
    }

    /// The request for a container, to be changed by a test.
    #[must_use]
    pub fn container_config(name: &str, driver: Driver) -> ContainerConfig {
        image(name, driver)
    }

    /// The request for an endpoint with this IPv4 address.
    #[must_use]
    pub fn endpoint_config(container: &str, network: &str, ip_address: &str) -> EndPointConfig {
        endpoint(container, network, ip_address)
    }

    /// The request to start an execution, with its container.
    #[must_use]
    pub fn start_command(exec: ExecId) -> Command {
        start(exec)
    }
}
