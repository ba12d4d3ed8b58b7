//! From set-up to the end.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use kleene_supervise::{
    log::Writer,
    proto::{ExitRecord, FailureKind, FromSupervisor, Phase, RootFs, Setup, SetupFailure},
};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt::set_socket_passcred},
    process::{Signal, WaitId, WaitIdOptions, kill_process, waitid},
    thread::{CapabilitySet, CapabilitySets},
};

use crate::{
    conn::Role,
    journal::now_us,
    program::Program,
    supervisor::{IDLE_LIMIT, ORPHAN_LIMIT, Supervisor, note},
    world::{self, WorldError},
};

/// How long the runtime may take to start a container on a busy host.
const LAUNCH_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to remove what is left of one.
const DELETE_LIMIT: Duration = Duration::from_secs(10);

/// How long killed processes may take to leave their cgroup.
const CGROUP_LIMIT: Duration = Duration::from_secs(2);

/// What the end takes: killing a holder that has another owner, and removing
/// files whoever owns them.
const KEPT: CapabilitySet = CapabilitySet::KILL.union(CapabilitySet::DAC_OVERRIDE);

impl Supervisor {
    /// Makes what the container stands on.
    pub(crate) fn set_up(&mut self, setup: Setup) {
        match self.try_set_up(&setup) {
            Ok(()) => {
                self.log = Some(Writer::new(setup.log_dir.clone(), setup.log));
                self.setup = Some(setup);
                self.phase = Phase::Ready;
                for conn in self.conns.iter_mut().filter(|conn| conn.role == Role::Control) {
                    let netns = self.netns.as_ref().and_then(|fd| fd.try_clone().ok());
                    let message = FromSupervisor::Ready { netns: netns.is_some() };
                    conn.say(&message, netns);
                }
            }
            Err(WorldError { kind, step, source }) => {
                let message = source.to_string();
                self.broadcast(&FromSupervisor::SetupFailed { kind, step, message });
            }
        }
    }

    fn try_set_up(&mut self, setup: &Setup) -> Result<(), WorldError> {
        if !self.apart {
            world::enter_mount_namespace()?;
            self.apart = true;
        }
        world::mount_root(&setup.rootfs)?;
        if self.netns.is_none() {
            let made = world::make_netns(setup.netns, &self.dir);
            if made.is_err()
                && let RootFs::Overlay { merged, .. } = &setup.rootfs
            {
                let _ = rustix::mount::unmount(merged, rustix::mount::UnmountFlags::DETACH);
            }
            self.netns = made?;
        }
        std::fs::create_dir_all(&setup.log_dir).map_err(|source| WorldError {
            kind: SetupFailure::Other,
            step: format!("make the log directory {}", setup.log_dir.display()),
            source,
        })
    }

    /// Starts the runtime, which starts the holder.
    pub(crate) fn launch(&mut self) {
        self.phase = Phase::Launching;
        if let Err((step, message)) = self.try_launch() {
            self.launch_failed(step, &message);
        }
    }

    fn try_launch(&mut self) -> Result<(), (&'static str, String)> {
        let Some(setup) = &self.setup else { return Err(("launch", "nothing is set up".into())) };
        world::make_cgroup(setup.cgroup.as_deref())
            .map_err(|error| ("make the cgroup", error.source.to_string()))?;
        let pair = || -> std::io::Result<_> {
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
    pub(crate) fn program_ended(&mut self) {
        let Some(well) = self.program.as_ref().and_then(Program::ended) else { return };
        let Some(mut program) = self.program.take() else { return };
        if self.phase == Phase::Ending {
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
            self.launch_failed("run the OCI runtime", &words);
        }
    }

    /// It takes too long.
    pub(crate) fn program_overdue(&mut self) {
        let Some(program) = self.program.take() else { return };
        program.kill();
        if self.phase == Phase::Ending {
            note("the runtime did not end cleaning up, and was killed");
            self.cgroup_until = Some(Instant::now() + CGROUP_LIMIT);
        } else {
            self.launch_failed("run the OCI runtime", "it did not end in time");
        }
    }

    /// Both the runtime's success and the holder's hello make a launch.
    pub(crate) fn check_launched(&mut self) {
        match (&self.holder, self.link.is_some(), self.launcher.is_some()) {
            (Some(holder), true, true) => {
                let pid = holder.pid.as_raw_nonzero().get();
                self.phase = Phase::Running;
                self.launcher = None;
                drop_privileges();
                self.give_up_at = Some(Instant::now() + IDLE_LIMIT);
                self.broadcast(&FromSupervisor::Launched { pid });
                for spec in std::mem::take(&mut self.queue) {
                    self.exec(&spec);
                }
            }
            (_, false, true) => {
                self.holder_failed("it ended before it was ready");
            }
            _ => {}
        }
    }

    /// The runtime did its part, the holder did not: one of them may have said
    /// why.
    pub(crate) fn holder_failed(&mut self, what: &str) {
        let words = self.launcher.as_mut().map(Program::words).unwrap_or_default();
        let colon = if words.is_empty() { "" } else { ": " };
        self.launch_failed("start the holder", &format!("{what}{colon}{words}"));
    }

    /// The container did not start: tell, and undo.
    pub(crate) fn launch_failed(&mut self, step: &str, message: &str) {
        if self.phase != Phase::Launching {
            return;
        }
        if let Some(program) = self.program.take() {
            program.kill();
        }
        let (step, message) = (step.to_owned(), message.to_owned());
        self.broadcast(&FromSupervisor::LaunchFailed {
            step: step.clone(),
            message: message.clone(),
        });
        let seq = self.journal.next_seq();
        self.record(ExitRecord::LaunchFailed { seq, step, message, at_us: now_us() });
        self.end();
    }

    /// There was no daemon, or no command, for too long.
    pub(crate) fn give_up(&mut self) {
        match self.phase {
            Phase::New | Phase::Ready => self.end(),
            Phase::Launching => self.launch_failed("launch", "the daemon has gone"),
            Phase::Running => self.kill_container(),
            Phase::Ending | Phase::Ended | Phase::Unknown => {}
        }
    }

    /// A control connection was lost.
    pub(crate) fn control_lost(&mut self) {
        let started = !matches!(self.phase, Phase::New | Phase::Ready | Phase::Launching);
        if !self.has_daemon() && !started {
            self.give_up_at = Some(Instant::now() + ORPHAN_LIMIT);
        }
    }

    /// No process is left, or none shall be: remove every trace.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Ending;
        (self.stop_at, self.give_up_at) = (None, None);
        self.finish_all();
        // Whatever the runtime left behind when it was killed.
        self.kill_container();
        for child in world::children() {
            let _ = kill_process(child, Signal::KILL);
        }
        self.link = None;
        let Some(setup) = &self.setup else { return self.ended() };
        let args = ["delete", "--force", &setup.container];
        match Program::start(setup, &args, Stdio::null(), DELETE_LIMIT) {
            Ok(program) => self.program = Some(program),
            Err(error) => {
                note(&format!("cannot start the runtime to clean up: {error}"));
                self.cgroup_until = Some(Instant::now() + CGROUP_LIMIT);
            }
        }
    }

    /// Executions that did not end by themselves were killed with the rest.
    fn finish_all(&mut self) {
        for spec in std::mem::take(&mut self.queue) {
            let message = "the container did not start".to_owned();
            self.exec_failed(&spec.id, FailureKind::NotRunning, message);
        }
        let never_ran: Vec<_> = self
            .executions
            .extract_if(.., |execution| execution.pid.is_none() && execution.exit.is_none())
            .collect();
        for execution in never_ran {
            let message = "the container has ended".to_owned();
            self.exec_failed(&execution.id, FailureKind::NotRunning, message);
        }
        let alive: Vec<u32> = self
            .executions
            .iter()
            .filter(|execution| execution.exit.is_none())
            .map(|execution| execution.key)
            .collect();
        for (index, key) in alive.iter().enumerate() {
            let last = index + 1 == alive.len();
            if let Some(execution) = self.by_key(*key) {
                execution.exit = Some((128 + libc::SIGKILL, last));
            }
        }
        let all: Vec<u32> = self.executions.iter().map(|execution| execution.key).collect();
        for key in all {
            // Those told of long ago, too: what background processes wrote
            // last is kept.
            self.finish(key);
        }
        // Those that waited for a command that never came.
        for conn in self.conns.iter_mut().filter(|conn| !conn.closing) {
            if let Role::Attachment(id) = conn.role.clone() {
                let (kind, message) = (FailureKind::NotRunning, "the container has ended".into());
                conn.finish(&FromSupervisor::ExecFailed { id, kind, message });
            }
        }
    }

    /// The cgroup goes when its last process is reaped.
    pub(crate) fn remove_cgroup(&mut self, now: Instant) {
        reap_all();
        let path = self.setup.as_ref().and_then(|setup| setup.cgroup.clone());
        let gone = world::remove_cgroup(path.as_deref());
        if !gone && self.cgroup_until.is_some_and(|until| now < until) {
            return;
        }
        if let Some(path) = path.filter(|_| !gone) {
            note(&format!("cannot remove the cgroup {}", path.display()));
        }
        self.cgroup_until = None;
        self.ended();
    }

    fn ended(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let seq = self.journal.next_seq();
        self.record(ExitRecord::Ended { seq, at_us: now_us() });
        self.begin_farewell();
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
