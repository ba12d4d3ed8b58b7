//! A container of Linux: namespaces of the supervisor's, an OCI runtime that
//! starts a holder in them, and the holder, which forks every command.

mod holder;
mod program;
mod space;
#[allow(unsafe_code, reason = "unshare(2) has no safe interface")]
mod sys;

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use kleene_supervise::proto::{ExecSpec, RootFs, Setup};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt::set_socket_passcred},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, pidfd_send_signal, waitid},
    thread::{CapabilitySet, CapabilitySets},
};

use self::{program::Program, space::SpaceError};
use crate::{
    supervisor::note,
    world::{CommandEnds, News, Source, World},
};

/// How long the runtime may take to start a container on a busy host.
const LAUNCH_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to remove what is left of one.
const DELETE_LIMIT: Duration = Duration::from_secs(10);

/// How long killed processes may take to leave their cgroup.
const CGROUP_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked whether they have.
const CGROUP_PAUSE: Duration = Duration::from_millis(5);

/// What the end takes: killing a holder that has another owner, and removing
/// files whoever owns them.
const KEPT: CapabilitySet = CapabilitySet::KILL.union(CapabilitySet::DAC_OVERRIDE);

const LINK: Source = 0;
const HOLDER: Source = 1;
const PROGRAM: Source = 2;

/// The container's first process.
struct Holder {
    pid: Pid,
    pidfd: OwnedFd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Launching,
    Running,
    Ending,
}

/// Namespaces, the OCI runtime and the holder.
pub(crate) struct Linux {
    stage: Stage,
    setup: Option<Setup>,
    /// Whether this process has its own mount namespace.
    apart: bool,
    netns: Option<OwnedFd>,
    /// The runtime at work: at the launch, or at the end.
    program: Option<Program>,
    /// The runtime that has ended its launch well; kept for its words until
    /// the holder is up.
    launcher: Option<Program>,
    /// Our end of the holder's socket.
    link: Option<OwnedFd>,
    holder: Option<Holder>,
    /// Until when the cgroup may take to become empty.
    cgroup_until: Option<Instant>,
    news: Vec<News>,
}

impl Linux {
    pub(crate) fn new() -> Self {
        Self {
            stage: Stage::Before,
            setup: None,
            apart: false,
            netns: None,
            program: None,
            launcher: None,
            link: None,
            holder: None,
            cgroup_until: None,
            news: Vec::new(),
        }
    }

    fn try_set_up(&mut self, setup: &Setup, run_dir: &Path) -> Result<(), SpaceError> {
        if setup.jail.is_some() {
            return Err(space::no_jails());
        }
        if !self.apart {
            space::enter_mount_namespace()?;
            self.apart = true;
        }
        space::mount_root(&setup.rootfs)?;
        if self.netns.is_none() {
            let made = space::make_netns(setup.netns, run_dir);
            if made.is_err()
                && let RootFs::Overlay { merged, .. } = &setup.rootfs
            {
                let _ = rustix::mount::unmount(merged, rustix::mount::UnmountFlags::DETACH);
            }
            self.netns = made?;
        }
        Ok(())
    }

    /// Starts the runtime, which starts the holder.
    fn try_launch(&mut self) -> Result<(), (&'static str, String)> {
        let Some(setup) = &self.setup else { return Err(("launch", "nothing is set up".into())) };
        space::make_cgroup(setup.cgroup.as_deref())
            .map_err(|error| ("make the cgroup", error.source.to_string()))?;
        let pair = || -> io::Result<_> {
            let kind = SocketType::SEQPACKET;
            let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
            set_socket_passcred(&ours, true)?;
            Ok((ours, theirs))
        };
        let (ours, theirs) =
            pair().map_err(|error| ("make the holder's socket", error.to_string()))?;
        let args = [
            "run".as_ref(),
            "--detach".as_ref(),
            "--bundle".as_ref(),
            setup.bundle.as_os_str(),
            setup.container.as_ref(),
        ];
        let program = Program::start(setup, &args, Stdio::from(theirs), LAUNCH_LIMIT)
            .map_err(|error| ("start the OCI runtime", error.to_string()))?;
        (self.link, self.program) = (Some(ours), Some(program));
        Ok(())
    }

    /// The runtime has ended, at the launch or at the end.
    fn program_ended(&mut self) {
        let Some(well) = self.program.as_ref().and_then(Program::ended) else { return };
        let Some(mut program) = self.program.take() else { return };
        if self.stage == Stage::Ending {
            if !well {
                note(&format!("the runtime could not clean up: {}", program.words()));
            }
            self.cgroup_until = Some(Instant::now() + CGROUP_LIMIT);
            return self.remove_cgroup(Instant::now());
        }
        if well && self.link.is_some() {
            self.launcher = Some(program);
            self.check_launched();
        } else {
            let words = program.words();
            self.launch_failed("run the OCI runtime", words);
        }
    }

    /// It takes too long.
    fn program_overdue(&mut self) {
        let Some(program) = self.program.take() else { return };
        program.kill();
        if self.stage == Stage::Ending {
            note("the runtime did not end cleaning up, and was killed");
            self.cgroup_until = Some(Instant::now() + CGROUP_LIMIT);
        } else {
            self.launch_failed("run the OCI runtime", "it did not end in time".to_owned());
        }
    }

    /// Both the runtime's success and the holder's hello make a launch.
    fn check_launched(&mut self) {
        match (&self.holder, self.link.is_some(), self.launcher.is_some()) {
            (Some(holder), true, true) => {
                let pid = holder.pid.as_raw_nonzero().get();
                self.stage = Stage::Running;
                self.launcher = None;
                drop_privileges();
                self.news.push(News::Launched { pid });
            }
            (_, false, true) => {
                self.holder_failed("it ended before it was ready");
            }
            _ => {}
        }
    }

    /// The runtime did its part, the holder did not: one of them may have said
    /// why.
    fn holder_failed(&mut self, what: &str) {
        let words = self.launcher.as_mut().map(Program::words).unwrap_or_default();
        let colon = if words.is_empty() { "" } else { ": " };
        self.launch_failed("start the holder", format!("{what}{colon}{words}"));
    }

    fn launch_failed(&mut self, step: &str, message: String) {
        if self.stage == Stage::Launching {
            self.news.push(News::LaunchFailed { step: step.to_owned(), message });
        }
    }

    /// The cgroup goes when its last process is reaped.
    fn remove_cgroup(&mut self, now: Instant) {
        reap_all();
        let path = self.setup.as_ref().and_then(|setup| setup.cgroup.clone());
        let gone = space::remove_cgroup(path.as_deref());
        if !gone && self.cgroup_until.is_some_and(|until| now < until) {
            return;
        }
        if let Some(path) = path.filter(|_| !gone) {
            note(&format!("cannot remove the cgroup {}", path.display()));
        }
        self.cgroup_until = None;
        self.news.push(News::Gone);
    }
}

impl World for Linux {
    fn set_up(&mut self, setup: &Setup, run_dir: &Path) {
        let news = match self.try_set_up(setup, run_dir) {
            Ok(()) => {
                self.setup = Some(setup.clone());
                News::Ready
            }
            Err(SpaceError { kind, step, source }) => {
                News::SetupFailed { kind, step, message: source.to_string() }
            }
        };
        self.news.push(news);
    }

    fn launch(&mut self) {
        self.stage = Stage::Launching;
        if let Err((step, message)) = self.try_launch() {
            self.launch_failed(step, message);
        }
    }

    fn takes_commands(&self) -> bool {
        self.link.is_some()
    }

    fn start(&mut self, key: u32, spec: &ExecSpec, ends: Option<CommandEnds>) -> io::Result<()> {
        self.hand_over(key, spec, ends.as_ref())
    }

    fn signal(&mut self, key: Option<u32>, signo: i32) -> io::Result<()> {
        self.pass_signal(key, signo)
    }

    /// Every process of the container dies with its first.
    fn kill(&mut self) {
        if let Some(holder) = &self.holder {
            let _ = pidfd_send_signal(&holder.pidfd, Signal::KILL);
        }
    }

    fn end(&mut self) {
        self.stage = Stage::Ending;
        if let Some(program) = self.program.take() {
            program.kill();
        }
        // Whatever the runtime left behind when it was killed.
        self.kill();
        for child in space::children() {
            let _ = kill_process(child, Signal::KILL);
        }
        self.link = None;
        let Some(setup) = &self.setup else { return self.news.push(News::Gone) };
        let args = ["delete", "--force", &setup.container];
        match Program::start(setup, &args, Stdio::null(), DELETE_LIMIT) {
            Ok(program) => self.program = Some(program),
            Err(error) => {
                note(&format!("cannot start the runtime to clean up: {error}"));
                self.cgroup_until = Some(Instant::now() + CGROUP_LIMIT);
            }
        }
    }

    fn netns(&self) -> Option<&OwnedFd> {
        self.netns.as_ref()
    }

    fn pid(&self) -> Option<i32> {
        self.holder.as_ref().map(|holder| holder.pid.as_raw_nonzero().get())
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let all = [
            (LINK, self.link.as_ref()),
            (HOLDER, self.holder.as_ref().map(|holder| &holder.pidfd)),
            (PROGRAM, self.program.as_ref().map(|program| &program.pidfd)),
        ];
        all.into_iter().filter_map(|(source, fd)| Some((source, fd?.as_fd()))).collect()
    }

    fn serve(&mut self, source: Source) {
        match source {
            LINK => drop(self.read_link()),
            HOLDER => self.holder_ended(),
            _ => self.program_ended(),
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let program = self.program.as_ref().map(|program| program.deadline);
        program.into_iter().chain(self.cgroup_until.map(|_| now + CGROUP_PAUSE)).min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.program.as_ref().is_some_and(|program| program.deadline <= now) {
            self.program_overdue();
        }
        if self.cgroup_until.is_some() {
            self.remove_cgroup(now);
        }
    }

    fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
}

/// Takes away the remains of processes we became the parent of.
fn reap_all() {
    while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
}

/// Once the container runs, nothing new is mounted, unshared or configured.
///
/// The runtime's `delete` gets no more either (`no_new_privs`). Failing is
/// said, not fatal: the container is no worse off.
fn drop_privileges() {
    let drop = || -> rustix::io::Result<()> {
        for capability in CapabilitySet::all().difference(KEPT).iter() {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // Unknown to this kernel.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
        let sets = CapabilitySets {
            effective: KEPT,
            permitted: KEPT,
            inheritable: CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::set_no_new_privs(true)
    };
    if let Err(error) = drop() {
        note(&format!("cannot drop capabilities: {error}"));
    }
}
