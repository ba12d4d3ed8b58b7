//! Supervisors without processes: they do the engine's jobs on the fake kernel
//! and report what happens, in any order that a test chooses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kleene_model::{ContainerId, Driver, ExecId};

use super::host::FakeHost;
use crate::change::Owned;
use crate::command::{Event, ExecSpec, Job};

/// What a command does, told by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Anything else: it runs until it is told to end.
    Run,
    /// `exit N`: it runs and ends with N at once.
    Exit(i32),
    /// `early N`: it ends with N before anyone heard that it began.
    Early(i32),
    /// `leave N`: it ends with N and leaves a process behind.
    Leave(i32),
    /// `missing` and `denied`: it cannot be started, 127 and 126.
    Fail(i32),
    /// `vanish`: the whole container dies, and nobody reports the execution.
    Vanish,
}

impl Script {
    /// What `argv` does.
    #[must_use]
    pub fn of(argv: &[String]) -> Self {
        let word = |n: usize| argv.get(n).map_or("", String::as_str);
        let code = word(1).parse().unwrap_or(0);
        match word(0) {
            "exit" => Self::Exit(code),
            "early" => Self::Early(code),
            "leave" => Self::Leave(code),
            "missing" => Self::Fail(127),
            "denied" => Self::Fail(126),
            "vanish" => Self::Vanish,
            _ => Self::Run,
        }
    }
}

/// Something that may happen next: the position in the queue of jobs, or in
/// that of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A job may be done.
    Job(usize),
    /// An event may reach the engine.
    Event(usize),
}

/// The processes of one container, from its namespaces to its end.
#[derive(Debug, Default)]
struct Life {
    pid: Option<u32>,
    running: BTreeSet<ExecId>,
    left_behind: bool,
    /// Whether the daemon of now speaks with it: prepared or adopted by it.
    connected: bool,
}

type Exit = (ExecId, i32, bool);

/// All supervisors of a host, and the daemon's queues to and from them.
///
/// Every life that a `Prepare` began ends with exactly one `Ended` or
/// `StartFailed`. Jobs of one container are done in order, but a `Kill` may
/// overtake the others. Exits are kept until the engine has handled them.
#[derive(Debug)]
pub struct FakeSupervisors {
    host: FakeHost,
    lives: BTreeMap<ContainerId, Life>,
    unread: BTreeMap<ContainerId, Vec<Exit>>,
    jobs: VecDeque<Job>,
    events: VecDeque<(Option<ContainerId>, Event)>,
    next_pid: u32,
    fail_prepare: Option<String>,
    fail_launch: Option<String>,
    /// The specs of the executions that were started, in order.
    pub started: Vec<ExecSpec>,
    /// The containers whose files were deleted, in order.
    pub discarded: Vec<ContainerId>,
    /// The links that were swept, in order.
    pub swept: Vec<Owned>,
    /// Signals and resizes, as they were asked for.
    pub told: Vec<String>,
}

impl FakeSupervisors {
    /// No supervisor yet.
    #[must_use]
    pub fn new(host: FakeHost) -> Self {
        Self {
            host,
            lives: BTreeMap::new(),
            unread: BTreeMap::new(),
            jobs: VecDeque::new(),
            events: VecDeque::new(),
            next_pid: 1000,
            fail_prepare: None,
            fail_launch: None,
            started: Vec::new(),
            discarded: Vec::new(),
            swept: Vec::new(),
            told: Vec::new(),
        }
    }

    /// The next `Prepare` fails.
    pub fn fail_next_prepare(&mut self, why: &str) {
        self.fail_prepare = Some(why.to_owned());
    }

    /// The next `Launch` fails.
    pub fn fail_next_launch(&mut self, why: &str) {
        self.fail_launch = Some(why.to_owned());
    }

    /// Queues a job of the engine's. An acknowledgement takes no time and waits
    /// for nobody.
    pub fn push(&mut self, job: Job) {
        match job {
            Job::Acknowledge { exec, container } => self.forget_exit(exec, container),
            other => self.jobs.push_back(other),
        }
    }

    /// The jobs that wait.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// The containers of which something lives.
    pub fn living(&self) -> impl Iterator<Item = ContainerId> {
        self.lives.keys().copied()
    }

    /// The containers that were launched and in which no process runs: they
    /// would never end by themselves.
    #[must_use]
    pub fn idle(&self) -> Vec<ContainerId> {
        let idle = |life: &Life| life.pid.is_some() && life.running.is_empty() && !life.left_behind;
        self.lives.iter().filter(|(_, life)| idle(life)).map(|(id, _)| *id).collect()
    }

    /// The executions whose first process runs.
    #[must_use]
    pub fn running(&self, container: ContainerId) -> Vec<ExecId> {
        let life = self.lives.get(&container);
        life.map(|life| life.running.iter().copied().collect()).unwrap_or_default()
    }

    /// What may happen next: of each container the first job, the first event
    /// and any `Kill`; of the rest everything.
    #[must_use]
    pub fn available(&self) -> Vec<Work> {
        let mut seen = BTreeSet::new();
        let events = self.events.iter().enumerate();
        let events = events.filter(|(_, (container, _))| container.is_none_or(|c| seen.insert(c)));
        let mut work: Vec<Work> = events.map(|(at, _)| Work::Event(at)).collect();
        let mut seen = BTreeSet::new();
        for (at, job) in self.jobs.iter().enumerate() {
            let first = container_of(job).is_none_or(|container| seen.insert(container));
            if first || matches!(job, Job::Kill { .. }) {
                work.push(Work::Job(at));
            }
        }
        work
    }

    /// Takes an event off the queue, for the engine.
    pub fn take_event(&mut self, at: usize) -> Option<Event> {
        self.events.remove(at).map(|(_, event)| event)
    }

    /// The engine has handled an event: what was kept for it can go.
    pub fn acknowledge(&mut self, event: &Event) {
        match event {
            Event::Ended { container } | Event::StartFailed { container, .. }
                if !self.lives.contains_key(container) =>
            {
                self.unread.remove(container);
            }
            _ => {}
        }
    }

    /// The store has an exit: it need not be kept any longer.
    fn forget_exit(&mut self, exec: ExecId, container: ContainerId) {
        if let Some(exits) = self.unread.get_mut(&container) {
            exits.retain(|(known, _, _)| *known != exec);
        }
    }

    /// The daemon is dead: what was on its way to or from it is lost, and
    /// nobody hears anything until the next one adopts.
    pub fn forget_daemon(&mut self) {
        self.lives.values_mut().for_each(|life| life.connected = false);
        self.jobs.clear();
        self.events.clear();
    }

    /// The host went down: nothing lives.
    pub fn reboot(&mut self) {
        self.forget_daemon();
        self.lives.clear();
        self.unread.clear();
    }

    fn report(&mut self, container: ContainerId, event: Event) {
        self.events.push_back((Some(container), event));
    }

    /// Does a job and queues what comes of it.
    pub fn run(&mut self, at: usize) {
        if let Some(Job::Kill { container }) = self.jobs.get(at) {
            let container = *container;
            return self.kill(container, at);
        }
        let Some(job) = self.jobs.remove(at) else { return };
        match job {
            Job::Prepare { container } => self.prepare(container.id, container.driver),
            Job::Launch { container } => self.launch(container),
            Job::StartExec(spec) => self.start(*spec),
            Job::SignalExec { exec, container, force } => {
                self.told.push(format!("signal {exec} {}", if force { "KILL" } else { "TERM" }));
                if self.running(container).contains(&exec) {
                    self.exit(container, exec, if force { 137 } else { 143 });
                }
            }
            Job::Resize { exec, container: _, window } => {
                self.told.push(format!("resize {exec} {}x{}", window.rows, window.cols));
            }
            Job::Stop { container, grace_ms } => self.stop(container, grace_ms),
            Job::Kill { .. } => unreachable!("handled above"),
            Job::Discard { container } => self.discarded.push(container),
            Job::Acknowledge { .. } => unreachable!("done when it was pushed"),
            Job::Adopt { container } => self.adopt(container),
            Job::Sweep { links } => self.sweep(links),
        }
    }

    fn prepare(&mut self, container: ContainerId, driver: Driver) {
        if let Some(why) = self.fail_prepare.take() {
            return self.report(container, Event::StartFailed { container, why });
        }
        assert!(!self.lives.contains_key(&container), "{container} is prepared while it lives");
        match driver {
            Driver::Vnet | Driver::Ipnet | Driver::Disabled => self.host.make_namespace(container),
            Driver::Host => {}
        }
        self.lives.insert(container, Life { connected: true, ..Life::default() });
        self.report(container, Event::Prepared { container });
    }

    fn launch(&mut self, container: ContainerId) {
        if let Some(life) = self.lives.get_mut(&container) {
            if let Some(why) = self.fail_launch.take() {
                self.bury(container);
                return self.report(container, Event::StartFailed { container, why });
            }
            self.next_pid += 1;
            life.pid = Some(self.next_pid);
            let pid = self.next_pid;
            self.report(container, Event::Launched { container, pid });
        }
    }

    fn start(&mut self, spec: ExecSpec) {
        let (container, exec) = (spec.container, spec.exec);
        let script = Script::of(&spec.argv);
        let Some(life) = self.lives.get_mut(&container).filter(|life| life.pid.is_some()) else {
            let why = "the container has ended".to_owned();
            return self.report(container, Event::ExecFailed { exec, why, exit_code: 125 });
        };
        if let Script::Fail(exit_code) = script {
            let why = format!("cannot start {}", spec.argv.join(" "));
            return self.report(container, Event::ExecFailed { exec, why, exit_code });
        }
        life.running.insert(exec);
        self.started.push(spec);
        match script {
            Script::Run => self.report(container, Event::ExecStarted { exec }),
            Script::Exit(code) => {
                self.report(container, Event::ExecStarted { exec });
                self.exit(container, exec, code);
            }
            Script::Leave(code) => {
                self.report(container, Event::ExecStarted { exec });
                self.leave(container, exec, code);
            }
            Script::Early(code) => {
                self.exit_only(container, exec, code);
                self.report(container, Event::ExecStarted { exec });
                self.end_if_empty(container);
            }
            Script::Vanish => self.end(container),
            Script::Fail(_) => {}
        }
    }

    /// The first process of an execution ends; with the last one the container.
    pub fn exit(&mut self, container: ContainerId, exec: ExecId, code: i32) {
        self.exit_only(container, exec, code);
        self.end_if_empty(container);
    }

    /// The first process of an execution ends, and another one stays behind.
    pub fn leave(&mut self, container: ContainerId, exec: ExecId, code: i32) {
        if let Some(life) = self.lives.get_mut(&container) {
            life.left_behind = true;
        }
        self.exit_only(container, exec, code);
    }

    /// What was left behind ends.
    pub fn leftovers_end(&mut self, container: ContainerId) {
        if let Some(life) = self.lives.get_mut(&container).filter(|life| life.left_behind) {
            life.left_behind = false;
            self.end_if_empty(container);
        }
    }

    fn exit_only(&mut self, container: ContainerId, exec: ExecId, code: i32) {
        let Some(life) = self.lives.get_mut(&container) else { return };
        if life.running.remove(&exec) {
            let last = life.running.is_empty() && !life.left_behind;
            let connected = life.connected;
            self.unread.entry(container).or_default().push((exec, code, last));
            if connected {
                self.report(container, Event::ExecExited { exec, code, last });
            }
        }
    }

    fn end_if_empty(&mut self, container: ContainerId) {
        let life = self.lives.get(&container);
        if life.is_some_and(|life| life.running.is_empty() && !life.left_behind) {
            self.end(container);
        }
    }

    fn stop(&mut self, container: ContainerId, grace_ms: u64) {
        let code = if grace_ms == 0 { 137 } else { 143 };
        if let Some(life) = self.lives.get_mut(&container) {
            life.left_behind = false;
            for exec in self.running(container) {
                self.exit_only(container, exec, code);
            }
            self.end(container);
        }
    }

    /// Ends a container without a word about its executions.
    pub fn end(&mut self, container: ContainerId) {
        let connected = self.lives.get(&container).is_some_and(|life| life.connected);
        self.bury(container);
        if connected {
            self.report(container, Event::Ended { container });
        }
    }

    fn bury(&mut self, container: ContainerId) {
        self.lives.remove(&container);
        self.host.destroy_namespace(container);
    }

    /// A kill overtakes the jobs before it. A life that had not begun ends too.
    fn kill(&mut self, container: ContainerId, at: usize) {
        let overtaken: Vec<Job> = self.jobs.drain(..=at).collect();
        let (own, others): (Vec<_>, Vec<_>) =
            overtaken.into_iter().partition(|job| container_of(job) == Some(container));
        others.into_iter().rev().for_each(|job| self.jobs.push_front(job));
        self.end(container);
        if own.iter().any(|job| matches!(job, Job::Adopt { .. })) {
            self.adopt(container);
        } else if own.iter().any(|job| matches!(job, Job::Prepare { .. })) {
            self.report(container, Event::Ended { container });
        }
    }

    fn adopt(&mut self, container: ContainerId) {
        for (exec, code, last) in self.unread.get(&container).cloned().unwrap_or_default() {
            self.report(container, Event::ExecExited { exec, code, last });
        }
        let event = match self.lives.get_mut(&container) {
            None => Event::Ended { container },
            Some(life) => {
                life.connected = true;
                let running = life.running.iter().copied().collect();
                Event::Adopted { container, pid: life.pid, running }
            }
        };
        self.report(container, event);
    }

    fn sweep(&mut self, links: Vec<Owned>) {
        for link in &links {
            self.host.sweep(link);
        }
        let names = links.iter().map(|link| link.link().clone()).collect();
        self.swept.extend(links);
        self.events.push_back((None, Event::Swept { links: names }));
    }
}

fn container_of(job: &Job) -> Option<ContainerId> {
    match job {
        Job::Prepare { container } => Some(container.id),
        Job::StartExec(spec) => Some(spec.container),
        Job::Launch { container }
        | Job::SignalExec { container, .. }
        | Job::Resize { container, .. }
        | Job::Stop { container, .. }
        | Job::Kill { container }
        | Job::Acknowledge { container, .. }
        | Job::Adopt { container } => Some(*container),
        Job::Discard { .. } | Job::Sweep { .. } => None,
    }
}
