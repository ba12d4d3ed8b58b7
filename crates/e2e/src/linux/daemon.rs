//! `kleened` and `klee` in a world.

use crate::linux::error::WorldError;
use crate::linux::http::{self, Reply};
use crate::linux::output::Output;
use crate::linux::process::{Background, Run};
use crate::linux::requires::program;
use crate::linux::world::World;
use crate::wait::{poll, wait_until};
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The daemon's socket in a world.
pub const SOCKET: &str = "/run/kleened.sock";
/// What the daemon writes to its standard output and error.
pub(crate) const LOG: &str = "/run/kleened.log";
const CONFIG: &str = "/etc/kleened.yaml";
const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running daemon. Dropping it changes nothing: it ends with its world.
#[derive(Debug)]
pub struct Kleened<'a> {
    world: &'a World,
    process: Background,
}

impl World {
    /// Starts the daemon of this build and waits until it answers. `extra`
    /// are more lines for its configuration file, the level of its log among
    /// them where it is not to be `debug`.
    ///
    /// # Panics
    /// When it does not come up; its log is part of the message.
    #[track_caller]
    pub fn start_kleened(&self, extra: &str) -> Kleened<'_> {
        let level = if extra.contains("log_level:") { "" } else { "log_level: debug\n" };
        let config = format!(
            "kleene_root: /k\n\
             api_listening_sockets:\n  - address: \"http://{SOCKET}\"\n\
             enable_logging: true\n{level}{extra}"
        );
        self.write(CONFIG, config);
        self.start_configured()
    }

    /// What the daemons of this world wrote so far.
    pub fn kleened_log(&self) -> String {
        self.read(LOG).unwrap_or_default()
    }

    #[track_caller]
    fn start_configured(&self) -> Kleened<'_> {
        let kleened = built("kleened");
        let command = format!("exec \"$0\" --config {CONFIG} >>{LOG} 2>&1");
        let argv = [OsStr::new("sh"), "-c".as_ref(), command.as_ref(), kleened.as_ref()];
        let mut process = self.spawn(argv);
        process.outlive();
        let up = poll(START_LIMIT, || {
            let answers = self.try_http("GET", "/networks/list", None).is_ok();
            (answers || !process.running()).then_some(answers)
        });
        assert!(
            up == Some(true),
            "kleened did not come up:\n{}",
            self.read(LOG).unwrap_or_default()
        );
        Kleened { world: self, process }
    }

    /// Runs this build's `klee` against the world's daemon.
    #[track_caller]
    pub fn klee<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.run_with(&klee(args))
    }

    /// Starts `klee` beside the test.
    #[track_caller]
    pub fn klee_spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Background {
        let run = klee(args);
        Background::start(self.command(self.init_pid(), &run), &run)
    }

    /// One request to the daemon.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn http(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Reply {
        self.try_http(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {}", error.chain()))
    }

    /// One request to the daemon, which may be gone.
    pub fn try_http(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Reply, WorldError> {
        http::request(&self.path(SOCKET), method, path, body)
    }

    /// A connection to the daemon, for input that no client would send.
    ///
    /// # Panics
    /// When nobody listens.
    #[track_caller]
    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path(SOCKET))
            .unwrap_or_else(|error| panic!("connect to {SOCKET} in the world: {error}"))
    }
}

/// A `klee` command line with its environment.
pub(crate) fn klee<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    let mut argv: Vec<OsString> = vec![built("klee")];
    argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    Run::new(argv).env("KLEE_HOST", format!("http://{SOCKET}")).env("NO_COLOR", "1")
}

#[track_caller]
fn built(name: &str) -> OsString {
    program(name).unwrap_or_else(|error| panic!("{}", error.chain())).into_os_string()
}

impl<'a> Kleened<'a> {
    /// What it wrote so far, those before it in this world included.
    pub fn log(&self) -> String {
        self.world.kleened_log()
    }

    /// Its process, as the test's namespace numbers it; `None` when gone.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// SIGSTOP: it does nothing more, and mends nothing, until the world's end.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// SIGKILL to the daemon alone. What it started goes on.
    pub fn kill9(&mut self) {
        self.process.signal(Signal::KILL);
        let process = &mut self.process;
        wait_until(STOP_LIMIT, "the end of the killed kleened", || !process.running());
    }

    /// SIGTERM, and what it left.
    pub fn stop(self) -> Output {
        self.process.signal(Signal::TERM);
        self.process.wait(STOP_LIMIT)
    }

    /// Starts it again on the same state: after `kill9`, or after a stop.
    #[track_caller]
    pub fn restart(mut self) -> Kleened<'a> {
        if self.process.running() {
            self.process.signal(Signal::TERM);
            let process = &mut self.process;
            wait_until(STOP_LIMIT, "the end of the stopped kleened", || !process.running());
        }
        self.world.start_configured()
    }
}
