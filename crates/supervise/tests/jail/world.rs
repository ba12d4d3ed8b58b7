//! A supervisor whose container is a jail, with tools that play FreeBSD's.
//!
//! Everything it makes is in one temporary directory; its processes carry the
//! jail's name in their environment. All of it goes with `Drop`.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use kleene_supervise::{
    client,
    proto::{FromSupervisor, JailSetup, LogLimits, NetworkNamespace, RootFs, Setup, ToSupervisor},
};

use crate::common::{Got, LIMIT, Link, programs, sh, until, wait};

/// A supervisor and its jail.
pub(crate) struct JailWorld {
    pub(crate) dir: PathBuf,
    pub(crate) child: Child,
    pub(crate) control: Link,
    pub(crate) name: String,
}

impl JailWorld {
    /// A running container without any command yet.
    pub(crate) fn running() -> Self {
        let mut world = Self::spawned();
        world.control.send(&ToSupervisor::Setup(world.setup()));
        world.launch();
        world
    }

    /// Once a set-up was asked for.
    pub(crate) fn launch(&mut self) {
        match self.control.next() {
            Got::Message(FromSupervisor::Ready { netns: false }) => {}
            other => panic!("{other:?}"),
        }
        self.control.send(&ToSupervisor::Launch {});
        match self.control.next() {
            Got::Message(FromSupervisor::Launched { pid: 0 }) => {}
            other => panic!("{other:?}"),
        }
    }

    /// A supervisor of which nothing was asked.
    pub(crate) fn spawned() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kleene-jail-test-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        for below in ["run", "tools", "state/jails", "state/fail", "state/groups", "state/vnet"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jail/tools");
        for tool in fs::read_dir(tools).unwrap().flatten() {
            fs::copy(tool.path(), dir.join("tools").join(tool.file_name())).unwrap();
        }
        write_root(&dir.join("root"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        // An ancestor that ignores a signal and has left a descriptor open.
        let child = Command::new("/bin/sh")
            .args(["-c", "trap '' HUP; exec 7</etc/passwd; exec \"$0\" \"$@\""])
            .arg(programs().join("kleene-supervise"))
            .arg("--dir")
            .arg(dir.join("run"))
            .arg("--tools")
            .arg(dir.join("tools"))
            .env_clear()
            .env("SECRET", "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { dir, child, control: Link::new(ours), name }
    }

    pub(crate) fn setup(&self) -> Setup {
        self.setup_with(&[])
    }

    pub(crate) fn setup_with(&self, more: &[&str]) -> Setup {
        let root = self.dir.join("root");
        let params = [format!("name={}", self.name), format!("path={}", root.display())];
        let more = more.iter().map(|&param| param.to_owned());
        Setup {
            container: self.name.clone(),
            netns: NetworkNamespace::Host,
            rootfs: RootFs::Dir { path: root },
            bundle: PathBuf::new(),
            runtime: PathBuf::new(),
            runtime_root: PathBuf::new(),
            cgroup: None,
            log_dir: self.dir.join("log"),
            log: LogLimits::default(),
            jail: Some(Box::new(JailSetup {
                params: params.into_iter().chain(more).collect(),
                ..JailSetup::default()
            })),
        }
    }

    /// With commands for the launch and for a stop.
    pub(crate) fn setup_that_runs(&self, start: &[&str], stop: &[&str]) -> Setup {
        let mut setup = self.setup();
        let jail = setup.jail.as_mut().unwrap();
        jail.start = start.iter().map(|&command| command.to_owned()).collect();
        jail.stop = stop.iter().map(|&command| command.to_owned()).collect();
        setup
    }

    pub(crate) fn attach(&self, id: &str) -> Link {
        let mut link = Link::new(client::connect(&self.dir.join("run")).unwrap());
        link.send(&ToSupervisor::Attach { exec: id.into() });
        link.wait(|message| matches!(message, FromSupervisor::Attached { .. }).then_some(()));
        link
    }

    pub(crate) fn sh(&self, id: &str, script: &str) {
        self.control.send(&ToSupervisor::Exec(sh(id, script)));
    }

    /// Why a set-up failed: the step, and what was said.
    pub(crate) fn setup_failure(&mut self) -> String {
        self.control.wait(|message| match message {
            FromSupervisor::SetupFailed { step, message, .. } => Some(format!("{step}: {message}")),
            FromSupervisor::Ready { .. } => panic!("{message:?}"),
            _ => None,
        })
    }

    /// The tools that were called, the words of each with the jail's name as
    /// `NAME`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("state/calls")).unwrap_or_default();
        text.lines().map(|line| line.replace(&self.name, "NAME")).collect()
    }

    /// Plugs cables in, as the daemon does: the host's end, and how the other
    /// is called inside.
    pub(crate) fn plug(&self, cables: &[(&str, &str)]) {
        let lines = |line: fn(&(&str, &str)) -> String| cables.iter().map(line).collect::<String>();
        let group = self.dir.join(format!("state/groups/k{}_", self.name));
        fs::write(group, lines(|(outer, _)| format!("{outer}\n"))).unwrap();
        let inside = self.dir.join("state/vnet").join(&self.name);
        fs::write(inside, lines(|(outer, inner)| format!("{outer} {inner}\n"))).unwrap();
    }

    /// The interfaces that the host got back from the jail.
    pub(crate) fn came_back(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("state/came-back")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets so many calls of pkill miss what is in the jail.
    pub(crate) fn let_miss(&self, calls: usize) {
        fs::write(self.dir.join("state/misses"), "missed\n".repeat(calls)).unwrap();
    }

    /// Lets calls of a tool with this first word fail.
    pub(crate) fn let_fail(&self, call: &str, words: &str) {
        fs::write(self.dir.join("state/fail").join(call), format!("{words}\n")).unwrap();
    }

    pub(crate) fn mend(&self, call: &str) {
        fs::remove_file(self.dir.join("state/fail").join(call)).unwrap();
    }

    pub(crate) fn jail_exists(&self) -> bool {
        self.dir.join("state/jails").join(&self.name).exists()
    }

    /// How many processes the jail has.
    pub(crate) fn processes(&self) -> usize {
        let wanted = format!("JAILED={}", self.name);
        let is_ours = |entry: &fs::DirEntry| {
            let text = fs::read(entry.path().join("environ")).unwrap_or_default();
            text.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        };
        fs::read_dir("/proc").unwrap().flatten().filter(is_ours).count()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }

    /// The supervisor has ended and left nothing.
    pub(crate) fn assert_gone(&mut self) {
        self.assert_gone_but_noted();
        assert_eq!(self.stderr(), "");
    }

    /// The same, but it had reason to write something down.
    pub(crate) fn assert_gone_but_noted(&mut self) {
        until("the supervisor's end", || self.child.try_wait().unwrap().is_some());
        assert!(!self.jail_exists(), "the jail is left");
        assert_eq!(self.processes(), 0);
        assert!(!self.dir.join("run/supervise.sock").exists());
    }
}

impl Drop for JailWorld {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the supervisor said: {}\nand called: {:#?}", self.stderr(), self.calls());
        }
        let _ = fs::remove_dir_all(self.dir.join("state/fail"));
        // Not `until`: a panic while panicking would hide the first.
        wait::poll(LIMIT, || {
            let pkill = Command::new(self.dir.join("tools/pkill"))
                .args(["-KILL", "-j", &self.name, "."])
                .stderr(Stdio::null())
                .status();
            pkill.is_err() || self.processes() == 0 || !self.jail_exists()
        });
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Programs are looked up here, and run from this system.
fn write_root(root: &Path) {
    for below in ["etc", "bin", "usr/bin", "tmp"] {
        fs::create_dir_all(root.join(below)).unwrap();
    }
    let passwd = "root:*:0:0:Charlie &:/root:/bin/csh\n\
                  www:*:80:80:Web:/nonexistent:/usr/sbin/nologin\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    for program in ["bin/sh", "bin/sleep", "usr/bin/env", "bin/vanishes"] {
        fs::write(root.join(program), "").unwrap();
        fs::set_permissions(root.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
}
