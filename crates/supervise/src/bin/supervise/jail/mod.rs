//! A container of FreeBSD: a persistent jail, and jexec(8) for every command,
//! the first included. Only the base system's tools are started (FreeBSD 13.2).
//!
//! How the end of the last process is noticed: [`last`]. How the jail goes:
//! [`ending`]; its mounts are left to whoever made them. A supervisor that is
//! killed leaves the jail with its processes, to be removed by whoever finds it
//! without a supervisor.

mod command;
mod ending;
mod last;
mod root;
mod start;
mod task;
mod tools;

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::Instant,
};

use kleene_supervise::proto::{ExecSpec, JailSetup, RootFs, Setup, SetupFailure};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus, wait},
};

pub(crate) use self::tools::Tools;
use self::{
    command::Refusal,
    task::Task,
    tools::{Answer, Running},
};
use crate::{
    supervisor::note,
    sys,
    world::{CommandEnds, News, Source, World},
};

const CHILDREN: Source = 0;

/// A container whose orphans end faster than they are taken away does not keep
/// us from everything else.
const BATCH: usize = 256;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// There is no jail.
    Before,
    /// jail(8) makes it.
    Creating,
    /// It could not be made, for this reason; what there is of it goes.
    Undoing(String),
    /// It stands.
    Standing,
    /// It goes.
    Ending,
}

/// A command's first process, which is our child.
struct Child {
    key: u32,
    pid: Pid,
}

/// A jail and the tools that deal with it. They run one after the other.
pub(crate) struct Jail {
    tools: Tools,
    /// Can be read when a child has ended.
    children: OwnedFd,
    stage: Stage,
    name: String,
    /// The jail's root directory.
    root: Option<OwnedFd>,
    /// What it is made of.
    made_of: JailSetup,
    /// Whether it has a network stack of its own.
    vnet: bool,
    tool: Option<(Task, Running)>,
    tasks: VecDeque<Task>,
    commands: Vec<Child>,
    /// Whether any command was asked for: before that, being without
    /// processes is no reason to end.
    asked: bool,
    /// Whether there is no child of ours at all.
    alone: bool,
    /// Whether more of them may have ended than were heard of.
    more: bool,
    /// Whether a command was asked for since the processes were counted last.
    recount: bool,
    /// Whether every process was killed.
    killed: bool,
    /// Commands that have ended, until it is known whether one was the last.
    held: Vec<(u32, i32)>,
    /// When it is looked again whether the jail is empty.
    look_at: Option<Instant>,
    /// The end is wanted, but the jail is being made.
    end_wanted: bool,
    /// How often what is left of its processes was killed.
    kills: u32,
    /// Why it was not removed.
    not_removed: Option<String>,
    news: Vec<News>,
}

impl Jail {
    pub(crate) fn new(tools: Tools) -> io::Result<Self> {
        Ok(Self {
            tools,
            children: sys::child_signals()?,
            stage: Stage::Before,
            name: String::new(),
            root: None,
            made_of: JailSetup::default(),
            vnet: false,
            tool: None,
            tasks: VecDeque::new(),
            commands: Vec::new(),
            asked: false,
            alone: true,
            more: false,
            recount: false,
            killed: false,
            held: Vec::new(),
            look_at: None,
            end_wanted: false,
            kills: 0,
            not_removed: None,
            news: Vec::new(),
        })
    }

    fn prepare(&mut self, setup: &Setup) -> Result<Vec<String>, (SetupFailure, String, String)> {
        let other = |step: &str, message: String| (SetupFailure::Other, step.to_owned(), message);
        let step = format!("make the jail {}", setup.container);
        let Some(jail) = &setup.jail else {
            return Err(other(&step, "the set-up has no parameters of a jail".into()));
        };
        let RootFs::Dir { path } = &setup.rootfs else {
            let message = "this system has no overlays".to_owned();
            return Err((SetupFailure::OverlayUnsupported, step, message));
        };
        // Every tool is told this name: another jail must not be meant.
        if !jail.params.contains(&format!("name={}", setup.container)) {
            let message = format!("its parameters do not name it {}", setup.container);
            return Err(other(&step, message));
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
            let step = format!("find the root directory {}", path.display());
            other(&step, error.to_string())
        })?;
        self.root = Some(root);
        self.name.clone_from(&setup.container);
        self.vnet = jail.params.iter().any(|param| param == "vnet" || param == "vnet=new");
        self.made_of.clone_from(jail);
        Ok(jail.params.clone())
    }

    /// Starts what is to be done next, when nothing is at work.
    fn next(&mut self) {
        while self.tool.is_none() {
            let Some(task) = self.tasks.pop_front() else { return };
            if let Task::Signal(Some(key), signo) = task {
                // It is not there any more if its end came first.
                let _ = self.signal_one(key, signo);
                continue;
            }
            match self.call(&task).start() {
                Ok(running) => {
                    self.alone = false;
                    self.tool = Some((task, running));
                }
                Err(answer) => self.done(&task, &answer),
            }
        }
    }

    /// Hears of every child that has ended.
    fn reap(&mut self) {
        (self.alone, self.more) = (false, true);
        for _ in 0..BATCH {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid, code(status)),
                Err(Errno::INTR) => {}
                none => {
                    (self.alone, self.more) = (none.is_err(), false);
                    break;
                }
            }
        }
        // Nothing that is started here ends without our being woken again,
        // except what cannot be started.
        self.settle();
        self.next();
        self.settle();
    }

    fn ended(&mut self, pid: Pid, code: i32) {
        if let Some((task, running)) = self.tool.take_if(|(_, running)| running.pid == pid) {
            self.done(&task, &running.answer(code));
            return self.next();
        }
        let known = self.commands.extract_if(.., |child| child.pid == pid).next();
        if let Some(child) = known.filter(|_| self.stage == Stage::Standing) {
            self.held.push((child.key, code));
        }
    }

    fn done(&mut self, task: &Task, answer: &Answer) {
        match task {
            Task::Create(_) => self.created(answer),
            Task::Count => self.counted(answer),
            Task::Kill => self.killed = true,
            Task::Launch(_) => self.launch_goes_on(answer),
            Task::Stop(_) if !answer.is_well() => {
                note(&format!("a command of the stop failed: {}", answer.story()));
            }
            Task::Stop(_) | Task::Signal(..) => {}
            Task::KillRest => self.kills += 1,
            Task::CountRest => self.rest_counted(answer),
            Task::ListCables => self.cables_listed(answer),
            Task::TakeOut(_) => self.taken_out(answer),
            Task::Remove => self.not_removed = (!answer.is_well()).then(|| answer.story()),
            Task::Confirm => self.confirmed(answer),
        }
    }

    fn created(&mut self, answer: &Answer) {
        if answer.is_well() {
            self.stage = Stage::Standing;
            if std::mem::take(&mut self.end_wanted) {
                return self.end();
            }
            return self.news.push(News::Ready);
        }
        // That one is somebody else's.
        if answer.is_whole() && answer.err.contains("already exists") {
            return self.not_made(answer.story());
        }
        self.stage = Stage::Undoing(answer.story());
        self.remove();
    }

    fn launch_goes_on(&mut self, answer: &Answer) {
        if self.stage != Stage::Standing {
            return;
        }
        if !answer.is_well() {
            self.tasks.clear();
            let step = "run what belongs to the launch".to_owned();
            return self.news.push(News::LaunchFailed { step, message: answer.story() });
        }
        self.launch_is_over();
    }

    fn launch_is_over(&mut self) {
        if self.tasks.is_empty() {
            self.news.push(News::Launched { pid: 0 });
        }
    }

    fn signal_one(&self, key: u32, signo: i32) -> io::Result<()> {
        match self.commands.iter().find(|child| child.key == key) {
            Some(child) => sys::kill(child.pid, signo),
            // It has ended, which is about to be told.
            None => Ok(()),
        }
    }

    /// There is no jail, or none of ours.
    fn not_made(&mut self, message: String) {
        self.stage = Stage::Before;
        if std::mem::take(&mut self.end_wanted) {
            return self.news.push(News::Gone);
        }
        let step = format!("make the jail {}", self.name);
        self.news.push(News::SetupFailed { kind: SetupFailure::Other, step, message });
    }
}

fn code(status: WaitStatus) -> i32 {
    let signal = status.terminating_signal().map(|signo| 128 + signo);
    status.exit_status().or(signal).unwrap_or(255) & 0xff
}

impl World for Jail {
    fn set_up(&mut self, setup: &Setup, _run_dir: &Path) {
        match self.prepare(setup) {
            Ok(params) => {
                self.stage = Stage::Creating;
                self.tasks.push_back(Task::Create(params));
                self.next();
            }
            Err((kind, step, message)) => {
                self.news.push(News::SetupFailed { kind, step, message });
            }
        }
    }

    fn launch(&mut self) {
        self.tasks.extend(self.made_of.start.iter().cloned().map(Task::Launch));
        self.launch_is_over();
        self.next();
    }

    fn takes_commands(&self) -> bool {
        self.stage == Stage::Standing && !self.killed
    }

    fn start(&mut self, key: u32, spec: &ExecSpec, ends: Option<CommandEnds>) -> io::Result<()> {
        (self.asked, self.recount, self.look_at) = (true, true, None);
        self.news.push(match self.try_start(spec, ends) {
            Ok((pid, terminal)) => {
                self.alone = false;
                self.commands.push(Child { key, pid });
                News::Started { key, pid: pid.as_raw_nonzero().get(), terminal }
            }
            Err(Refusal { kind, message }) => News::NotStarted { key, kind, message },
        });
        // It may have been the first, without which there is nothing.
        self.reap();
        Ok(())
    }

    fn signal(&mut self, key: Option<u32>, signo: i32) -> io::Result<()> {
        if self.stage != Stage::Standing {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let Some(key) = key else {
            self.tasks.push_back(Task::Signal(None, signo));
            self.next();
            return Ok(());
        };
        self.signal_one(key, signo)
    }

    fn stop(&mut self, key: Option<u32>, signo: i32) -> io::Result<()> {
        // A second stop does not run what the first one runs.
        let stop = std::mem::take(&mut self.made_of.stop);
        if stop.is_empty() {
            return self.signal(key, signo);
        }
        self.tasks.extend(stop.into_iter().map(Task::Stop));
        self.tasks.push_back(Task::Signal(key, signo));
        self.next();
        Ok(())
    }

    fn kill(&mut self) {
        if self.stage == Stage::Standing {
            self.break_off();
            self.tasks.push_front(Task::Kill);
            self.reap();
        }
    }

    fn end(&mut self) {
        match self.stage {
            Stage::Before => self.news.push(News::Gone),
            Stage::Creating | Stage::Undoing(_) => self.end_wanted = true,
            Stage::Standing => {
                self.stage = Stage::Ending;
                self.remove();
                self.next();
            }
            Stage::Ending => {}
        }
    }

    fn netns(&self) -> Option<&OwnedFd> {
        None
    }

    fn pid(&self) -> Option<i32> {
        None
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        vec![(CHILDREN, self.children.as_fd())]
    }

    fn serve(&mut self, _source: Source) {
        sys::empty(&self.children);
        self.reap();
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let tool = self.tool.as_ref().and_then(|(_, running)| running.deadline);
        let more = self.more.then_some(now);
        [tool, self.look_at, more].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Instant) {
        if let Some((_, running)) = &mut self.tool
            && running.deadline.is_some_and(|deadline| deadline <= now)
        {
            running.kill();
        }
        let look = self.look_at.take_if(|at| *at <= now).is_some();
        if look || self.more {
            self.reap();
        }
    }

    fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
}
