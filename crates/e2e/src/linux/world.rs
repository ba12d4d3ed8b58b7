//! [`World`]: one throw-away host.

use crate::linux::cgroup;
use crate::linux::daemon::LOG;
use crate::linux::error::{Result, WorldError};
use crate::linux::output::{Output, Pump};
use crate::linux::process::{self, Background, Run};
use crate::linux::requires::{missing_for_a_world, missing_in_a_world, program, skip, target_dir};
use crate::linux::snapshot::Snapshot;
use crate::wait::{poll, wait_until};
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The world's own address on its uplink `eth0`.
pub const WORLD4: &str = "192.0.2.2";
/// The same in IPv6.
pub const WORLD6: &str = "2001:db8:1::2";
/// The world's gateway: the outside's address on `uplink0`.
pub const OUTSIDE4: &str = "192.0.2.1";
/// The same in IPv6.
pub const OUTSIDE6: &str = "2001:db8:1::1";
/// A host that is not on the uplink's subnet, reached through the gateway.
pub const FAR4: &str = "198.51.100.7";
/// The same in IPv6.
pub const FAR6: &str = "2001:db8:2::7";

const READY_LIMIT: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(15);
/// Where a world looks for programs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One throw-away host: processes, mounts, network, host name, cgroups of its
/// own, and an outside behind its uplink. Everything in it ends when it is
/// dropped, and when the test process dies in whatever way.
#[derive(Debug)]
pub struct World {
    name: String,
    keeper: Child,
    complaints: Pump,
    init: u32,
    outside: u32,
}

/// One network namespace of a world, to run commands in.
#[derive(Debug, Clone, Copy)]
pub struct Netns<'a> {
    world: &'a World,
    net: u32,
}

impl World {
    /// A new world for the test `test`, or `None` where this machine cannot
    /// have one; that is said loudly.
    ///
    /// # Panics
    /// Instead of `None` when `KLEENE_REQUIRE_ROOT_TESTS=1` is set, and when
    /// a world should be possible but is not.
    #[track_caller]
    pub fn open(test: &str) -> Option<Self> {
        Self::open_with::<&str>(test, &[])
    }

    /// The same for a test that needs programs which not every machine has.
    ///
    /// # Panics
    /// As [`World::open`].
    #[track_caller]
    pub fn open_with<P: AsRef<Path>>(test: &str, programs: &[P]) -> Option<Self> {
        if let Some(why) = missing_for_a_world().or_else(|| missing_in_a_world(programs)) {
            skip(test, &why);
            return None;
        }
        Some(Self::new(test).unwrap_or_else(|error| panic!("{}", error.chain())))
    }

    /// A new world. `test` is for messages only.
    pub fn new(test: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{number}", cgroup::PREFIX, std::process::id());
        let mut keeper = Command::new(program("world-init")?)
            .arg("keep")
            .arg(&name)
            .args(visible()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(WorldError::sys(format!("start the world of {test}")))?;
        let complaints = keeper.stderr.take().map(Pump::start).unwrap_or_default();
        let stdout = keeper.stdout.take();
        let mut world = Self { name, keeper, complaints, init: 0, outside: 0 };
        (world.init, world.outside) = world.hear(stdout, test)?;
        Ok(world)
    }

    fn hear(&self, stdout: Option<ChildStdout>, test: &str) -> Result<(u32, u32)> {
        let (send, receive) = std::sync::mpsc::channel();
        if let Some(stdout) = stdout {
            std::thread::spawn(move || {
                let mut line = String::new();
                let _ = BufReader::new(stdout).read_line(&mut line);
                let _ = send.send(line);
            });
        }
        let line = receive.recv_timeout(READY_LIMIT).unwrap_or_default();
        let mut numbers = line.split_whitespace().map(str::parse);
        if let (Some(Ok(init)), Some(Ok(outside))) = (numbers.next(), numbers.next()) {
            return Ok((init, outside));
        }
        let said = self.complaints.until_end(Duration::from_secs(2));
        let said = String::from_utf8_lossy(&said);
        Err(WorldError::Other(format!("make a world for {test}: {}", said.trim())))
    }

    /// The prefix of everything of this world on the real host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its first process, as the test's namespace numbers it.
    pub fn init_pid(&self) -> u32 {
        self.init
    }

    /// The process that holds the network namespace of the outside.
    pub fn outside_pid(&self) -> u32 {
        self.outside
    }

    /// Kills its first process, and with it everything in the world.
    pub fn kill_init(&self) {
        process::send(Some(self.init), Signal::KILL);
    }

    /// The world's own network.
    pub fn inside(&self) -> Netns<'_> {
        Netns { world: self, net: self.init }
    }

    /// What is behind the uplink.
    pub fn outside(&self) -> Netns<'_> {
        Netns { world: self, net: self.outside }
    }

    /// Runs a command in the world; at most 30 s.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Output {
        self.inside().run(argv)
    }

    /// The same with input, environment or another limit.
    #[track_caller]
    pub fn run_with(&self, run: &Run) -> Output {
        self.inside().run_with(run)
    }

    /// Starts a command that runs beside the test.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Background {
        self.inside().spawn(argv)
    }

    /// What `ip -j -d ARGS` says.
    #[track_caller]
    pub fn ip_json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> serde_json::Value {
        self.inside().ip_json(args)
    }

    /// A file of the world, as the test's own programs reach it. Absolute
    /// links on the way lead out of the world.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        Path::new("/proc")
            .join(self.init.to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file of the world; `None` when it cannot be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a file of the world.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = path.as_ref();
        std::fs::write(self.path(path), text)
            .unwrap_or_else(|error| panic!("write {} in the world: {error}", path.display()));
    }

    /// A sysctl of the world's network (`net.ipv4.ip_forward`).
    #[track_caller]
    pub fn sysctl(&self, key: &str) -> Option<String> {
        // Which namespace /proc/sys/net shows is decided by who reads.
        let output = self.run(["cat", &format!("/proc/sys/{}", key.replace('.', "/"))]);
        (output.status == Some(0)).then(|| output.first_line())
    }

    /// Settings of the uplink and of the host as a whole that a network may
    /// need changed.
    ///
    /// # Panics
    /// When there are none to be seen.
    #[track_caller]
    pub fn settings(&self) -> Vec<String> {
        let script = "cd /proc/sys/net; grep -H . ipv4/ip_forward ipv6/conf/all/forwarding \
             ipv[46]/conf/eth0/* ipv[46]/conf/all/* ipv[46]/conf/default/* \
             ipv[46]/neigh/eth0/* ipv[46]/neigh/default/* 2>/dev/null | sort";
        let shown = self.run(["sh", "-c", script]);
        let lines: Vec<String> = shown.stdout().lines().map(str::to_owned).collect();
        assert!(lines.len() > 50, "{shown}");
        lines
    }

    /// Waits for a condition.
    ///
    /// # Panics
    /// When it does not hold within `limit`.
    #[track_caller]
    pub fn wait_until(&self, limit: Duration, what: &str, cond: impl FnMut() -> bool) {
        wait_until(limit, what, cond);
    }

    /// Everything of this world that can be observed, in the kernel's terms.
    #[track_caller]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self)
    }

    /// Waits until the world is again what it was; the kernel takes network
    /// namespaces and what is in them away some time after their end.
    ///
    /// # Panics
    /// With the differences, when it is not within `limit`.
    #[track_caller]
    pub fn assert_back_to(&self, before: &Snapshot, limit: Duration) {
        let mut left = Vec::new();
        let back = poll(limit, || {
            left = before.diff(&self.snapshot());
            left.is_empty().then_some(())
        });
        assert!(back.is_some(), "not back after {limit:?}:\n{}", left.join("\n"));
    }

    pub(crate) fn command(&self, net: u32, run: &Run) -> Command {
        // World::new has found it.
        let enter = program("world-init").unwrap_or_else(|_| PathBuf::from("world-init"));
        let mut command = Command::new(enter);
        command
            .arg("enter")
            .arg(&self.name)
            .args([self.init.to_string(), net.to_string()])
            .args(&run.argv)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .envs(run.env.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// Directories that commands in a world must find where they are: this
/// build's programs.
fn visible() -> Result<Vec<OsString>> {
    Ok(vec![target_dir()?.into_os_string()])
}

impl Netns<'_> {
    /// Runs a command; at most 30 s.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Output {
        self.run_with(&Run::new(argv))
    }

    /// The same with input, environment or another limit.
    #[track_caller]
    pub fn run_with(&self, run: &Run) -> Output {
        process::run(self.world.command(self.net, run), run)
    }

    /// Starts a command that runs beside the test.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Background {
        let run = Run::new(argv);
        Background::start(self.world.command(self.net, &run), &run)
    }

    /// What `ip -j -d ARGS` says; an empty list when it says nothing.
    #[track_caller]
    pub fn ip_json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> serde_json::Value {
        let mut argv: Vec<OsString> = ["ip", "-j", "-d"].map(OsString::from).into();
        argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let output = self.run(argv);
        if output.ok().stdout_bytes.trim_ascii().is_empty() {
            return serde_json::json!([]);
        }
        output.json()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(log) = self.read(LOG)
        {
            eprintln!("--- kleened's log\n{log}--- end of kleened's log");
        }
        // The keeper ends the world when its input ends.
        drop(self.keeper.stdin.take());
        if poll(END_LIMIT, || self.keeper.try_wait().ok().flatten()).is_none() {
            eprintln!("{}: not gone after {END_LIMIT:?}", self.name);
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
        let said = self.complaints.until_end(Duration::from_secs(1));
        if !said.is_empty() {
            eprintln!("{}: {}", self.name, String::from_utf8_lossy(&said).trim());
        }
    }
}
