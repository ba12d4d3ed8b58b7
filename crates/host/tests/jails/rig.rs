//! An engine over a simulated FreeBSD, with supervisors that make jails.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kleene_engine::fake::{MemoryStore, Prng};
use kleene_engine::host::chain;
use kleene_engine::{Command, Effect, Engine, Event, Given, Input, Job, Outcome, Token};
use kleene_host::freebsd::net::{FreeBsdHost, sweep};
use kleene_host::freebsd::pf::MAIN;
use kleene_host::freebsd::run::{Answer, Call, Tool, ToolError, Tools};
use kleene_host::freebsd::simulated::Simulated;
use kleene_host::freebsd::vectors::is_listed;
use kleene_model::addr::Pools;
use kleene_model::api::{
    ContainerConfig, EndPointConfig, ExecConfig, ExecStartConfig, NetworkConfig,
    PublishedPortConfig,
};
use kleene_model::{ContainerId, Driver, ExecId, InstanceName, NetworkType, Refusal};

/// The daemon dies here.
struct Crash;

/// The tools as the daemon calls them: it may die right after one.
struct Deadly {
    tools: Simulated,
    /// After how many calls; never where it is negative.
    left: Arc<AtomicI64>,
}

impl Tools for Deadly {
    fn call(&self, call: &Call) -> Result<Answer, ToolError> {
        if self.left.load(Ordering::SeqCst) == 0 {
            resume_unwind(Box::new(Crash));
        }
        self.left.fetch_sub(1, Ordering::SeqCst);
        assert!(is_listed(call), "'{call}' has no form in freebsd::vectors");
        self.tools.call(call)
    }
}

pub(crate) struct Rig {
    pub(crate) system: Simulated,
    pub(crate) degraded: Vec<String>,
    pub(crate) mended: Vec<Vec<String>>,
    store: MemoryStore,
    engine: Option<Engine<FreeBsdHost, MemoryStore>>,
    left: Arc<AtomicI64>,
    events: VecDeque<Event>,
    answers: BTreeMap<Token, Result<Outcome, Refusal>>,
    random: Prng,
    tokens: u64,
}

/// Where jails have their root.
pub(crate) const ROOT: &str = "/jr";

impl Rig {
    /// A host with a card, its default routes over it, and pf as `doctor` asks for.
    pub(crate) fn new() -> Self {
        let rig = Self::without_pf();
        rig.tell("pfctl", &["-e"]);
        rig.load_main(MAIN);
        let mut rig = rig;
        rig.restart();
        rig
    }

    /// The same whose pf is switched off and asks nothing of Kleene's.
    pub(crate) fn without_pf() -> Self {
        let system = Simulated::new();
        system.make_directory(ROOT);
        system.add_nic("em0", "00:1b:21:00:00:01");
        let mut rig = Self {
            system,
            degraded: Vec::new(),
            mended: Vec::new(),
            store: MemoryStore::new(),
            engine: None,
            left: Arc::new(AtomicI64::new(-1)),
            events: VecDeque::new(),
            answers: BTreeMap::new(),
            random: Prng(1),
            tokens: 0,
        };
        rig.tell("ifconfig", &["em0", "inet", "192.0.2.10/24", "alias"]);
        rig.tell("ifconfig", &["em0", "inet6", "2001:db8::10/64", "alias"]);
        rig.tell("route", &["-n", "add", "-inet", "default", "192.0.2.1"]);
        rig.tell("route", &["-n", "add", "-inet6", "default", "2001:db8::1"]);
        rig.system.settle();
        rig.restart();
        rig
    }

    /// The administrator loads a main ruleset.
    pub(crate) fn load_main(&self, text: &str) {
        let call = Call::new(Tool::Pfctl, ["-f", "-"]).with_stdin(text);
        self.system.run(&call).expect("a ruleset");
    }

    /// Asks the system, as somebody else than the daemon.
    pub(crate) fn ask_tool(&self, tool: &str, args: &[&str]) -> Answer {
        let tool = Tool::ALL.iter().find(|one| one.to_string() == tool).expect("a tool");
        self.system.call(&Call::new(*tool, args.iter().copied())).expect("a known command")
    }

    /// What a tool prints.
    pub(crate) fn shown(&self, tool: &str, args: &[&str]) -> String {
        let answer = self.ask_tool(tool, args);
        assert_eq!(answer.status, 0, "{tool} {args:?}: {}", answer.words());
        answer.stdout
    }

    /// Tells a tool to do something, which it does.
    pub(crate) fn tell(&self, tool: &str, args: &[&str]) {
        self.shown(tool, args);
    }

    /// Starts a daemon over what is there.
    pub(crate) fn restart(&mut self) {
        self.restart_after(true);
    }

    pub(crate) fn restart_after(&mut self, same_boot: bool) {
        self.kill_daemon();
        let instance = InstanceName::parse("main").expect("a name");
        let tools = Deadly { tools: self.system.clone(), left: Arc::clone(&self.left) };
        let host = FreeBsdHost::new(instance.clone(), Arc::new(tools));
        let started =
            Engine::start(host, self.store.clone(), instance, Pools::default(), same_boot);
        let (engine, effects, failure) = started.expect("the host answers");
        self.degraded.extend(failure.map(|err| chain(&err)));
        self.engine = Some(engine);
        self.carry_out(effects);
        self.settle();
    }

    pub(crate) fn kill_daemon(&mut self) {
        self.engine = None;
        self.events.clear();
        self.answers.clear();
    }

    /// The daemon dies after this many calls of tools.
    pub(crate) fn die_after(&self, calls: i64) {
        self.left.store(calls, Ordering::SeqCst);
    }

    /// Does something during which the daemon may die; whether it did.
    pub(crate) fn crash_during(&mut self, act: impl FnOnce(&mut Self)) -> bool {
        let done = catch_unwind(AssertUnwindSafe(|| act(self)));
        self.die_after(-1);
        match done {
            Ok(()) => false,
            Err(payload) if payload.is::<Crash>() => {
                self.kill_daemon();
                true
            }
            Err(payload) => resume_unwind(payload),
        }
    }

    fn handle(&mut self, input: Input) {
        let random = &mut self.random;
        let mut draw = || {
            let [a, b, c, d, e, f, ..] = random.draw().to_le_bytes();
            [a, b, c, d, e, f]
        };
        let now = "2026-11-24T12:00:00.000000Z".to_owned();
        let engine = self.engine.as_mut().expect("the daemon lives");
        let effects = engine.handle(input, &mut Given { now, draw: &mut draw });
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(token, answer) => drop(self.answers.insert(token, answer)),
                Effect::Job(job) => self.job(job),
                Effect::SettingChanged { .. } => {}
                Effect::Mended { changes } => self.mended.push(changes),
                Effect::Degraded { why } => self.degraded.push(why),
            }
        }
    }

    fn job(&mut self, job: Job) {
        let event = match job {
            Job::Prepare { container } => Some(self.prepare(container.id, container.driver)),
            Job::Launch { container } => {
                let pid = self.system.start_process(&container.to_string(), "sleep", false);
                Some(Event::Launched { container, pid })
            }
            Job::StartExec(spec) => Some(Event::ExecStarted { exec: spec.exec }),
            Job::Stop { container, .. } | Job::Kill { container } => Some(self.end(container)),
            Job::Adopt { container } => Some(match self.has_jail(container) {
                true => {
                    let running = self.running(container);
                    Event::Adopted { container, pid: Some(1), running }
                }
                false => Event::Ended { container },
            }),
            Job::Sweep { links } => {
                let links = sweep(&self.system, &links).unwrap_or_default();
                Some(Event::Swept { links })
            }
            _ => None,
        };
        self.events.extend(event);
    }

    fn prepare(&self, container: ContainerId, driver: Driver) -> Event {
        let of_driver: &[&str] = match driver {
            Driver::Host => &["ip4=inherit", "ip6=inherit"],
            Driver::Ipnet | Driver::Disabled => &["ip4=disable", "ip6=disable"],
            Driver::Vnet => &["vnet"],
        };
        let (name, path) = (format!("name={container}"), format!("path={ROOT}"));
        let args = ["-c", &name, &path].into_iter().chain(of_driver.iter().copied());
        let call = Call::new(Tool::Jail, args.chain(["persist"]));
        match self.system.run(&call) {
            Ok(_) => Event::Prepared { container },
            Err(err) => Event::StartFailed { container, why: chain(&err) },
        }
    }

    fn end(&self, container: ContainerId) -> Event {
        let name = container.to_string();
        if self.has_jail(container) {
            self.ask_tool("pkill", &["-KILL", "-j", &name, "."]);
            self.tell("jail", &["-r", &name]);
        }
        Event::Ended { container }
    }

    pub(crate) fn has_jail(&self, container: ContainerId) -> bool {
        self.ask_tool("jls", &["-j", &container.to_string()]).status == 0
    }

    fn running(&self, container: ContainerId) -> Vec<ExecId> {
        let engine = self.engine.as_ref().expect("the daemon lives");
        let state = engine.snapshot();
        state.executions_of(container).map(|exec| exec.id).collect()
    }

    /// Tells the engine of an event, and lets everything happen that follows.
    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        let mut limit = 10_000;
        while let Some(event) = self.events.pop_front() {
            limit -= 1;
            assert!(limit > 0, "it never ends");
            self.handle(Input::Event(event));
        }
    }

    /// Sends a command, lets everything happen, and gives its answer.
    pub(crate) fn ask(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.handle(Input::Command(Box::new(command), token));
        self.settle();
        self.answers.remove(&token).expect("one answer")
    }

    pub(crate) fn ok(&mut self, command: Command) -> Outcome {
        let text = format!("{command:?}");
        self.ask(command).unwrap_or_else(|refusal| panic!("{text}: refused: {refusal}"))
    }

    pub(crate) fn refused(&mut self, command: Command) -> String {
        let text = format!("{command:?}");
        match self.ask(command) {
            Ok(outcome) => panic!("{text}: not refused: {outcome:?}"),
            Err(refusal) => refusal.to_string(),
        }
    }

    fn id(&mut self, command: Command) -> String {
        match self.ok(command) {
            Outcome::Id(id) => id,
            other => panic!("no id: {other:?}"),
        }
    }

    /// Makes a container; its id.
    pub(crate) fn container(&mut self, name: &str, driver: Driver, ports: &[&str]) -> ContainerId {
        let id = self.id(Command::ContainerCreate(container(name, driver, ports)));
        ContainerId::parse(&id).expect("an id")
    }

    /// Makes a network of both families; its id.
    pub(crate) fn network(&mut self, name: &str, kind: NetworkType, octet: u8) -> String {
        self.id(Command::NetworkCreate(network(name, kind, octet)))
    }

    pub(crate) fn connect(&mut self, name: &str, network: &str) {
        self.ok(connect(name, network));
    }

    /// Starts a container by a command in it.
    pub(crate) fn start(&mut self, name: &str) -> ExecId {
        let exec = self.id(Command::ExecCreate(ExecConfig {
            container_id: name.to_owned(),
            cmd: vec!["serve".to_owned()],
            ..ExecConfig::default()
        }));
        let exec_id = exec.clone();
        self.ok(Command::ExecStart(ExecStartConfig {
            exec_id,
            attach: false,
            start_container: true,
            window: None,
        }));
        ExecId::parse(&exec).expect("an id")
    }

    pub(crate) fn stop(&mut self, name: &str) {
        self.ok(Command::ContainerStop { container: name.to_owned(), grace_ms: 3000 });
    }

    /// Why a network is degraded, as its readers are told.
    pub(crate) fn why(&self, network: &str) -> Option<String> {
        let state = self.engine.as_ref().expect("the daemon lives").snapshot();
        let id = state.network_named(network).expect("a network").id;
        state.health(id).degraded
    }

    /// Everything that the daemon could have changed, as the system shows it.
    pub(crate) fn picture(&self) -> String {
        let mut picture = String::new();
        for line in self.shown("ifconfig", &["-a", "-f", "inet:cidr,inet6:cidr"]).lines() {
            // A bridge that is made again has another one, and so has a cable before it
            // is given its own.
            if !["hwaddr ", "ether "].iter().any(|word| line.trim().starts_with(word)) {
                picture.push_str(&format!("{line}\n"));
            }
        }
        picture.push_str(&self.shown("netstat", &["--libxo", "json", "-rn"]));
        for sysctl in [
            "net.inet.ip.forwarding",
            "net.inet6.ip6.forwarding",
            "net.link.bridge.pfil_member",
            "net.link.bridge.pfil_local_phys",
            "net.link.bridge.pfil_bridge",
        ] {
            picture.push_str(&self.shown("sysctl", &[sysctl]));
        }
        for table in self.shown("pfctl", &["-s", "Tables"]).lines() {
            let shown = self.shown("pfctl", &["-t", table, "-T", "show"]);
            // An empty one is as good as none.
            if !shown.is_empty() {
                picture.push_str(&format!("table {table}:\n{shown}"));
            }
        }
        for anchor in self.shown("pfctl", &["-s", "Anchors", "-v"]).lines() {
            let anchor = anchor.trim();
            let rules = self.shown("pfctl", &["-a", anchor, "-s", "rules"]);
            let nat = self.shown("pfctl", &["-a", anchor, "-s", "nat"]);
            // One that ever named a table stays in the list.
            if !(rules.is_empty() && nat.is_empty()) {
                picture.push_str(&format!("anchor {anchor}:\n{nat}{rules}"));
            }
        }
        picture.push_str(&self.shown("jls", &["-n", "name", "ip4.addr", "ip6.addr"]));
        picture
    }
}

pub(crate) fn container(name: &str, driver: Driver, ports: &[&str]) -> ContainerConfig {
    let port = |text: &&str| {
        let (host, inner) = text.split_once(':').expect("HOST:CONTAINER");
        PublishedPortConfig {
            interfaces: Vec::new(),
            host_port: host.to_owned(),
            container_port: inner.to_owned(),
            protocol: "tcp".to_owned(),
        }
    };
    ContainerConfig {
        name: Some(name.to_owned()),
        image: Some("host-usr".to_owned()),
        network_driver: driver,
        public_ports: Some(ports.iter().map(port).collect()),
        ..ContainerConfig::default()
    }
}

/// `10.OCTET.0.0/24` and `fd00:OCTET::/64`; a custom network is on `em0`.
pub(crate) fn network(name: &str, kind: NetworkType, octet: u8) -> NetworkConfig {
    let interface = match kind {
        NetworkType::Custom => "em0",
        NetworkType::Loopback | NetworkType::Bridge => "",
    };
    NetworkConfig {
        name: name.to_owned(),
        kind,
        interface: interface.to_owned(),
        subnet: format!("10.{octet}.0.0/24"),
        subnet6: format!("fd00:{octet}::/64"),
        gateway: "<auto>".to_owned(),
        gateway6: "<auto>".to_owned(),
        nat: None,
        icc: true,
        internal: false,
    }
}

pub(crate) fn connect(container: &str, network: &str) -> Command {
    Command::NetworkConnect(EndPointConfig {
        container: container.to_owned(),
        network: network.to_owned(),
        ip_address: "<auto>".to_owned(),
        ip_address6: "<auto>".to_owned(),
        ..EndPointConfig::default()
    })
}

pub(crate) fn disconnect(container: &str, network: &str) -> Command {
    Command::NetworkDisconnect { network: network.to_owned(), container: container.to_owned() }
}

/// Whether a line of a text has all these words in a row.
pub(crate) fn has_line(text: &str, words: &str) -> bool {
    text.lines().any(|line| line.trim().starts_with(words))
}

/// Whether two pictures are the same; else the lines that only one of them has.
pub(crate) fn differ(one: &str, other: &str) -> Option<String> {
    if one == other {
        return None;
    }
    // Routes are one long line.
    let parts = |text: &str| -> Vec<String> {
        text.lines().flat_map(|line| line.split("}, {")).map(str::to_owned).collect()
    };
    let (mut one, mut other) = (parts(one), parts(other));
    // In whatever order they came.
    one.sort();
    other.sort();
    if one == other {
        return None;
    }
    let only = |these: &[String], those: &[String], sign: &str| -> String {
        let only = these.iter().filter(|line| !those.contains(line));
        only.map(|line| format!("{sign} {line}\n")).collect()
    };
    Some(only(&one, &other, "-") + &only(&other, &one, "+"))
}

/// A host with two networks, and a container of each kind that runs in the first.
pub(crate) fn with_running() -> Rig {
    let mut rig = Rig::new();
    rig.network("one", NetworkType::Bridge, 1);
    rig.network("two", NetworkType::Bridge, 2);
    for (name, driver, port) in
        [("own", Driver::Vnet, "8080:80"), ("shared", Driver::Ipnet, "8081:80")]
    {
        rig.container(name, driver, &[port]);
        rig.connect(name, "one");
        rig.start(name);
    }
    rig
}
