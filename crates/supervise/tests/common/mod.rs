//! A supervisor with a small container, and what tests ask of it.
//!
//! Everything it makes is in one temporary directory, one cgroup with a name
//! of its own, and namespaces of the supervisor: all of it goes with `Drop`.

pub(crate) mod wait;

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{fs::symlink, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use kleene_supervise::{
    client,
    proto::{
        Decoder, ExecSpec, ExitRecord, FrameKind, FromSupervisor, LogLimits, NetworkNamespace,
        RootFs, Setup, Terminal, ToSupervisor, decode, encode_frame,
    },
};
use serde_json::json;

pub(crate) use wait::until;

/// No step of a test takes this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

const HOLDER_IN_CONTAINER: &str = "/dev/.kleene-holder";

/// Whether this test can run; says so loudly when it cannot.
pub(crate) fn can_run() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let required = std::env::var_os("KLEENE_REQUIRE_ROOT_TESTS").is_some_and(|v| v == "1");
    assert!(!required, "root is required, and this is not root");
    eprintln!("SKIPPED: needs root");
    false
}

pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_kleene-supervise")).parent().unwrap().to_owned()
}

fn runtime() -> PathBuf {
    let path = programs().join("kleene-runtime");
    assert!(path.exists(), "no {}: run `cargo build -p kleene-runtime` first", path.display());
    path
}

/// A connection that is read frame by frame.
pub(crate) struct Link {
    pub(crate) stream: UnixStream,
    decoder: Decoder,
}

/// A frame, taken apart.
#[derive(Debug)]
pub(crate) enum Got {
    Message(FromSupervisor),
    Output(Vec<u8>),
    End,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream, decoder: Decoder::new() }
    }

    pub(crate) fn send(&self, message: &ToSupervisor) {
        client::send(&self.stream, message).unwrap();
    }

    pub(crate) fn next_with_fd(&mut self) -> (Got, Option<OwnedFd>) {
        match client::recv_with_fd(&self.stream, &mut self.decoder) {
            Ok((frame, fd)) => match frame.kind {
                FrameKind::Control => (Got::Message(decode(&frame.payload).unwrap()), fd),
                _ => (Got::Output(frame.payload), fd),
            },
            Err(client::ClientError::Closed) => (Got::End, None),
            Err(error) => panic!("cannot read: {error:?}"),
        }
    }

    pub(crate) fn next(&mut self) -> Got {
        self.next_with_fd().0
    }

    /// The next message that the function wants.
    pub(crate) fn wait<T>(&mut self, mut wanted: impl FnMut(&FromSupervisor) -> Option<T>) -> T {
        let mut seen = Vec::new();
        loop {
            match self.next() {
                Got::Message(message) => match wanted(&message) {
                    Some(found) => return found,
                    None => seen.push(message),
                },
                Got::Output(_) => {}
                Got::End => panic!("the end came after {seen:?}"),
            }
        }
    }

    pub(crate) fn exit_of(&mut self, id: &str) -> (i32, bool) {
        self.wait(|message| match message {
            FromSupervisor::Exit(ExitRecord::Exec { exec, code, last, .. }) if exec == id => {
                Some((*code, *last))
            }
            _ => None,
        })
    }

    pub(crate) fn ended(&mut self) {
        self.wait(|message| {
            matches!(message, FromSupervisor::Exit(ExitRecord::Ended { .. })).then_some(())
        });
    }

    pub(crate) fn started(&mut self, id: &str) -> i32 {
        self.wait(|message| match message {
            FromSupervisor::Started { id: started, pid } if started == id => Some(*pid),
            FromSupervisor::ExecFailed { .. } => panic!("{message:?}"),
            _ => None,
        })
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        use std::io::Write as _;
        self.stream.write_all(&encode_frame(FrameKind::Input, bytes).unwrap()).unwrap();
    }

    /// All output of an attachment until the execution's exit.
    pub(crate) fn output(&mut self) -> (Vec<u8>, i32, bool) {
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                Got::Output(more) => bytes.extend(more),
                Got::Message(FromSupervisor::ExecExited { code, last, .. }) => {
                    return (bytes, code, last);
                }
                Got::Message(FromSupervisor::Attached { .. }) => {}
                other => panic!("{other:?} after {} bytes", bytes.len()),
            }
        }
    }

    /// Output until it contains the text.
    pub(crate) fn output_with(&mut self, text: &str) -> String {
        let mut all = String::new();
        while !all.contains(text) {
            match self.next() {
                Got::Output(more) => all.push_str(&String::from_utf8_lossy(&more)),
                Got::Message(FromSupervisor::Attached { .. }) => {}
                other => panic!("{other:?} after {all:?}"),
            }
        }
        all
    }
}

/// A supervisor and its container.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) child: Child,
    pub(crate) control: Link,
    pub(crate) cgroup: PathBuf,
    pub(crate) id: String,
}

impl World {
    /// A running container without any command yet.
    pub(crate) fn running() -> Self {
        let mut world = Self::spawned();
        world.control.send(&ToSupervisor::Setup(world.setup()));
        match world.control.next() {
            Got::Message(FromSupervisor::Ready { netns: true }) => {}
            other => panic!("{other:?}"),
        }
        world.control.send(&ToSupervisor::Launch {});
        world.control.wait(|message| match message {
            FromSupervisor::Launched { .. } => Some(()),
            FromSupervisor::LaunchFailed { .. } => panic!("{message:?}"),
            _ => None,
        });
        world
    }

    /// A supervisor of which nothing was asked.
    pub(crate) fn spawned() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "kleene-sup-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        // Deeper than a socket address can say.
        let dir = std::env::temp_dir().join(&id).join("d".repeat(100));
        fs::create_dir_all(&dir).unwrap();
        for name in ["run", "bundle", "lower", "upper", "work", "merged", "rt"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        write_root(&dir.join("lower"));
        let cgroup = cgroup2_mount().join(&id);
        let config = config(&dir, &id).to_string();
        fs::write(dir.join("bundle/config.json"), config).unwrap();
        let program = programs().join("kleene-supervise");
        let stderr = fs::File::create(dir.join("stderr")).unwrap();
        let spawned = client::spawn(&program, &dir.join("run"), Stdio::from(stderr)).unwrap();
        Self { dir, child: spawned.child, control: Link::new(spawned.stream), cgroup, id }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            container: self.id.clone(),
            netns: NetworkNamespace::New,
            rootfs: RootFs::Overlay {
                lower: vec![self.dir.join("lower")],
                upper: self.dir.join("upper"),
                work: self.dir.join("work"),
                merged: self.dir.join("merged"),
            },
            bundle: self.dir.join("bundle"),
            runtime: runtime(),
            runtime_root: self.dir.join("rt"),
            cgroup: Some(self.cgroup.clone()),
            log_dir: self.dir.join("log"),
            log: LogLimits::default(),
            jail: None,
        }
    }

    pub(crate) fn attach(&self, id: &str) -> Link {
        let mut link = Link::new(client::connect(&self.dir.join("run")).unwrap());
        link.send(&ToSupervisor::Attach { exec: id.into() });
        link.wait(|message| matches!(message, FromSupervisor::Attached { .. }).then_some(()));
        link
    }

    /// The exit of an execution that has ended, by attaching late.
    pub(crate) fn attach_when_over(&self, id: &str) -> (i32, bool) {
        let (bytes, code, last) = self.attach(id).output();
        assert!(bytes.is_empty());
        (code, last)
    }

    pub(crate) fn sh(&self, id: &str, script: &str) {
        self.control.send(&ToSupervisor::Exec(sh(id, script)));
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
        until("the cgroup's end", || !self.cgroup.exists());
        assert!(!self.dir.join("rt").join(&self.id).exists());
        assert!(!self.dir.join("run/supervise.sock").exists());
        for tree in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            assert!(!tree.path().join(&self.id).exists(), "{} is left", tree.path().display());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.id), "mounts are left");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        if std::thread::panicking() {
            eprintln!("the supervisor said: {}", self.stderr());
        }
        // Not `until`: a panic while panicking would hide the first.
        wait::poll(LIMIT, || !self.cgroup.exists() || fs::remove_dir(&self.cgroup).is_ok());
        for v1 in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(v1.path().join(&self.id));
        }
        let _ = fs::remove_dir_all(self.dir.parent().unwrap());
    }
}

pub(crate) fn sh(id: &str, script: &str) -> ExecSpec {
    ExecSpec {
        id: id.into(),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: vec!["PATH=/usr/bin:/bin".into()],
        cwd: String::new(),
        user: String::new(),
        tty: None,
        stdin: false,
    }
}

pub(crate) fn tty(id: &str, script: &str, rows: u16, cols: u16) -> ExecSpec {
    ExecSpec { tty: Some(Terminal { rows, cols }), ..sh(id, script) }
}

fn cgroup2_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2");
    PathBuf::from(line.split(' ').nth(4).unwrap())
}

fn write_root(root: &Path) {
    for dir in ["usr", "etc", "proc", "dev", "sys", "tmp"] {
        fs::create_dir(root.join(dir)).unwrap();
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link)).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\ntester:x:1234:1234::/home/tester:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\ntester:x:1234:\nextra:x:77:tester\n").unwrap();
    fs::write(root.join("etc/not-a-program"), "text").unwrap();
}

fn config(dir: &Path, id: &str) -> serde_json::Value {
    let capabilities: Vec<String> = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
    .iter()
    .map(|name| format!("CAP_{name}"))
    .collect();
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": [HOLDER_IN_CONTAINER],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": {"path": dir.join("merged"), "readonly": false},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
            {"destination": HOLDER_IN_CONTAINER, "type": "bind",
             "source": programs().join("kleene-holder"), "options": ["bind", "ro"]},
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "network", "path": dir.join("run/netns")},
            ],
        },
    })
}
