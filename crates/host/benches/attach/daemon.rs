//! An engine over the host's kernel, with namespaces for containers and without
//! processes in them.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use kleene_engine::change::Owned;
use kleene_engine::command::{Command, Effect, Event, Input, Job, Outcome, Token};
use kleene_engine::fake::{MemoryStore, Prng, Rig};
use kleene_engine::{Engine, Given};
use kleene_host::linux::net::record::{self, Sent};
use kleene_host::linux::net::{LinuxHost, Namespaces, sweep};
use kleene_host::linux::view;
use kleene_model::addr::Pools;
use kleene_model::{ContainerId, Driver, ExecId, InstanceName, NetworkType};

use crate::testing::{ip, namespace};

/// The network that is measured, and the one that containers start with.
const MANY: &str = "many";
const BASE: &str = "base";

pub(crate) struct Daemon {
    engine: Engine<LinuxHost, MemoryStore>,
    namespaces: Namespaces,
    netns: BTreeMap<ContainerId, OwnedFd>,
    random: Prng,
    /// Cables that are out of use.
    retired: Vec<Owned>,
}

impl Daemon {
    /// On a host with an uplink, and the networks.
    pub(crate) fn start(kind: NetworkType) -> Self {
        for line in [
            "link set lo up",
            "link add eth0 type bridge",
            "addr add 10.200.0.2/16 dev eth0",
            "addr add fd0c::2/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 10.200.255.254",
            "-6 route add default via fd0c::fe",
        ] {
            ip(&line.split(' ').collect::<Vec<_>>());
        }
        let instance = InstanceName::parse("bench").expect("a name");
        let namespaces = Namespaces::new();
        let host = LinuxHost::new(instance.clone(), namespaces.clone()).expect("a host");
        let started = Engine::start(host, MemoryStore::new(), instance, Pools::default(), true);
        let (engine, _, failure) = started.expect("an engine");
        assert!(failure.is_none(), "{failure:?}");
        let (netns, retired) = (BTreeMap::new(), Vec::new());
        let mut daemon = Self { engine, namespaces, netns, random: Prng(1), retired };
        daemon.network(BASE, NetworkType::Loopback, ["10.201.0.0/16", "fd0b::/64"]);
        let subnets = match kind {
            NetworkType::Custom => ["10.200.128.0/17", "fd0c:0:0:0:1::/80"],
            NetworkType::Loopback | NetworkType::Bridge => ["10.202.0.0/16", "fd0a::/64"],
        };
        daemon.network(MANY, kind, subnets);
        daemon
    }

    fn network(&mut self, name: &str, kind: NetworkType, subnets: [&str; 2]) {
        let mut config = Rig::bridge_config(name, subnets[0]);
        config.subnet6 = subnets[1].to_owned();
        config.kind = kind;
        if kind == NetworkType::Custom {
            config.interface = "eth0".to_owned();
            (config.gateway, config.gateway6) = (String::new(), String::new());
        }
        self.ok(Command::NetworkCreate(config));
    }

    /// Makes a container that runs, as far as the network is concerned.
    pub(crate) fn container(&mut self, driver: Driver, number: usize) -> ContainerId {
        let name = format!("bench-{number}");
        let made = self.id(Command::ContainerCreate(Rig::container_config(&name, driver)));
        let id = ContainerId::parse(&made).expect("an id");
        if driver == Driver::Ipnet {
            self.ok(endpoint(&made, BASE, true, true));
        }
        let config = kleene_model::api::ExecConfig {
            container_id: made,
            cmd: vec!["true".to_owned()],
            ..Default::default()
        };
        let exec = ExecId::parse(&self.id(Command::ExecCreate(config))).expect("an id");
        self.ok(Rig::start_command(exec));
        id
    }

    pub(crate) fn namespace(&self, container: ContainerId) -> &OwnedFd {
        &self.netns[&container]
    }

    pub(crate) fn attach(&mut self, container: ContainerId, v4: bool, v6: bool) -> Duration {
        self.timed(endpoint(&container.to_string(), MANY, v4, v6))
    }

    pub(crate) fn detach(&mut self, container: ContainerId) -> Duration {
        let (network, container) = (MANY.to_owned(), container.to_string());
        self.timed(Command::NetworkDisconnect { network, container })
    }

    /// Does something, and hears what is said to the kernel.
    pub(crate) fn recorded<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, Vec<Sent>) {
        record::start();
        let done = work(self);
        (done, record::stop())
    }

    /// Deletes the cables that are out of use.
    pub(crate) fn sweep(&mut self) -> Vec<Owned> {
        let retired = std::mem::take(&mut self.retired);
        self.sweep_again(retired.clone());
        retired
    }

    /// The same for cables that were made again.
    pub(crate) fn sweep_again(&mut self, retired: Vec<Owned>) {
        if !retired.is_empty() {
            let links = sweep(&retired).expect("swept");
            assert_eq!(links.len(), retired.len(), "{links:?}");
            self.handle(Input::Event(Event::Swept { links }));
        }
    }

    /// Carries a command out; the time until its answer.
    fn timed(&mut self, command: Command) -> Duration {
        self.handle(Input::Command(Box::new(command), Token(1))).0
    }

    fn ok(&mut self, command: Command) -> Outcome {
        let text = format!("{command:?}");
        let (_, outcome) = self.handle(Input::Command(Box::new(command), Token(1)));
        outcome.unwrap_or_else(|| panic!("{text}: no answer"))
    }

    fn id(&mut self, command: Command) -> String {
        match self.ok(command) {
            Outcome::Id(id) => id,
            other => panic!("no id: {other:?}"),
        }
    }

    /// Lets everything happen that follows; the time of the first step, and the
    /// answer.
    fn handle(&mut self, input: Input) -> (Duration, Option<Outcome>) {
        let (mut inputs, mut took, mut outcome) = (VecDeque::from([input]), None, None);
        while let Some(input) = inputs.pop_front() {
            let random = &mut self.random;
            let mut draw = || {
                let [a, b, c, d, e, f, ..] = random.draw().to_le_bytes();
                [a, b, c, d, e, f]
            };
            let now = "2026-11-24T12:00:00.000000Z".to_owned();
            let start = Instant::now();
            let effects = self.engine.handle(input, &mut Given { now, draw: &mut draw });
            took.get_or_insert(start.elapsed());
            for effect in effects {
                match effect {
                    Effect::Reply(_, answer) => outcome = Some(answer.expect("not refused")),
                    Effect::Job(job) => inputs.extend(self.job(job).map(Input::Event)),
                    Effect::SettingChanged { .. } => {}
                    Effect::Mended { changes } => panic!("mended: {changes:?}"),
                    Effect::Degraded { why } => panic!("degraded: {why}"),
                }
            }
        }
        (took.unwrap_or_default(), outcome)
    }

    fn job(&mut self, job: Job) -> Option<Event> {
        match job {
            Job::Prepare { container } => {
                let netns = namespace();
                if container.driver == Driver::Ipnet {
                    let state = self.engine.snapshot();
                    let skip = state.first_interface(container.id);
                    let mirrors = view::interfaces().expect("the host's interfaces");
                    let done = view::furnish(netns.as_fd(), &mirrors, skip).expect("a view");
                    assert!(done.failed.is_empty(), "{done:?}");
                }
                let id = container.id;
                self.namespaces.insert(id, netns.try_clone().expect("a copy"));
                self.netns.insert(id, netns);
                Some(Event::Prepared { container: id })
            }
            Job::Launch { container } => Some(Event::Launched { container, pid: 1 }),
            Job::StartExec(spec) => Some(Event::ExecStarted { exec: spec.exec }),
            Job::Sweep { links } => {
                self.retired.extend(links);
                None
            }
            other => panic!("not in this benchmark: {other:?}"),
        }
    }
}

fn endpoint(container: &str, network: &str, v4: bool, v6: bool) -> Command {
    let address = |wanted: bool| if wanted { "<auto>" } else { "" };
    let mut config = Rig::endpoint_config(container, network, address(v4));
    config.ip_address6 = address(v6).to_owned();
    Command::NetworkConnect(config)
}
