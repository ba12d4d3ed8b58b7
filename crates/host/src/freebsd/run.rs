//! The one place that starts the base system's tools.
//!
//! On FreeBSD a kernel's networks are changed by `ifconfig`, `jail`, `pfctl` and
//! their like. They are started without a shell, by their full path, with an empty
//! environment (their words are English then), and are ended at a deadline. What
//! they may answer is limited, and no word of it is lost.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long a tool may take that only asks or changes the kernel.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes. A host of ten thousand interfaces
/// lists itself in some 5 MiB.
const LONGEST: usize = 64 << 20;

/// The most of an answer that goes into a message, in bytes.
const MANY_WORDS: usize = 4000;

macro_rules! tools {
    ($($(#[$doc:meta])* $tool:ident = $path:literal,)*) => {
        /// A tool of FreeBSD's base system.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Tool { $($(#[$doc])* $tool,)* }

        impl Tool {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$tool,)*];

            /// Where it is.
            #[must_use]
            pub fn path(self) -> &'static str {
                match self { $(Self::$tool => $path,)* }
            }
        }
    };
}

tools! {
    /// Neighbours of IPv4.
    Arp = "/usr/sbin/arp",
    /// Rulesets of device files.
    Devfs = "/sbin/devfs",
    /// Files by their addresses.
    Fetch = "/usr/bin/fetch",
    /// Interfaces.
    Ifconfig = "/sbin/ifconfig",
    /// Makes, changes and removes jails.
    Jail = "/usr/sbin/jail",
    /// Runs a command in a jail.
    Jexec = "/usr/sbin/jexec",
    /// Lists jails.
    Jls = "/usr/sbin/jls",
    /// Lists modules of the kernel.
    Kldstat = "/sbin/kldstat",
    /// Mounts.
    Mount = "/sbin/mount",
    /// Shows a directory at a second place.
    MountNullfs = "/sbin/mount_nullfs",
    /// Neighbours of IPv6.
    Ndp = "/usr/sbin/ndp",
    /// Routes and counters.
    Netstat = "/usr/bin/netstat",
    /// The packet filter.
    Pfctl = "/sbin/pfctl",
    /// Signals to processes.
    Pkill = "/bin/pkill",
    /// Processes.
    Ps = "/bin/ps",
    /// Makes the databases of accounts.
    PwdMkdb = "/usr/sbin/pwd_mkdb",
    /// Changes and asks routes.
    Route = "/sbin/route",
    /// Sockets.
    Sockstat = "/usr/bin/sockstat",
    /// Variables of the kernel.
    Sysctl = "/sbin/sysctl",
    /// Archives.
    Tar = "/usr/bin/tar",
    /// Unmounts.
    Umount = "/sbin/umount",
    /// Datasets.
    Zfs = "/sbin/zfs",
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path().rsplit('/').next().unwrap_or_default())
    }
}

/// A tool, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The tool.
    pub tool: Tool,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Its standard input; empty is none.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub deadline: Duration,
}

impl Call {
    /// A tool with arguments, without input, that may take [`DEADLINE`].
    pub fn new<A: Into<String>>(tool: Tool, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self { tool, args, stdin: Vec::new(), deadline: DEADLINE }
    }

    /// The same with this standard input.
    #[must_use]
    pub fn with_stdin(self, stdin: impl Into<Vec<u8>>) -> Self {
        Self { stdin: stdin.into(), ..self }
    }

    /// The same with this deadline.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// As somebody would type it.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tool)?;
        for arg in &self.args {
            if !arg.is_empty() && arg.bytes().all(is_plain) {
                write!(f, " {arg}")?;
            } else {
                write!(f, " '{}'", arg.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_=+:,./%@".contains(&byte)
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit status; 128 and the signal's number where one ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Why a tool did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot start {}", .tool.path())]
    Start {
        /// The tool.
        tool: Tool,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time, and was killed.
    #[error("'{call}' did not end within {} s, and was killed", .call.deadline.as_secs_f32())]
    Overdue {
        /// What it was told.
        call: Box<Call>,
    },
    /// Its answer is longer than any that makes sense, or could not be read.
    #[error("the answer to '{call}' {why}")]
    Unreadable {
        /// What it was told.
        call: Box<Call>,
        /// What is wrong with it.
        why: String,
    },
    /// It refused.
    #[error("'{call}' ended with status {}: {}", .answer.status, .answer.words())]
    Refused {
        /// What it was told.
        call: Box<Call>,
        /// What it said.
        answer: Box<Answer>,
    },
}

impl ToolError {
    /// What the tool said, where it refused.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Refused { answer, .. } => Some(answer),
            Self::Start { .. } | Self::Overdue { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// Whether the tool refused with these words on its standard error.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        self.answer().is_some_and(|answer| answer.stderr.contains(words))
    }
}

impl Answer {
    /// What it said, in one line: its errors, else its output. Of more than a screen of
    /// it, the first part: an archive may have a million things wrong.
    #[must_use]
    pub fn words(&self) -> String {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [] => "without a word".to_owned(),
            lines => {
                let mut text = lines.join("; ");
                if text.len() > MANY_WORDS {
                    text.truncate(text.floor_char_boundary(MANY_WORDS));
                    text.push('…');
                }
                text
            }
        }
    }
}

/// Whoever carries out what tools are told: the system, or a simulated one.
pub trait Tools: Send + Sync {
    /// Has a tool do something, whatever status it ends with.
    ///
    /// # Errors
    /// When it cannot be started, does not end in time, or answers what cannot be
    /// read.
    fn call(&self, call: &Call) -> Result<Answer, ToolError>;

    /// Has a tool do something, which has to end with status 0.
    ///
    /// # Errors
    /// As [`Tools::call`], and when it refuses.
    fn run(&self, call: &Call) -> Result<Answer, ToolError> {
        let answer = self.call(call)?;
        if answer.status == 0 {
            return Ok(answer);
        }
        Err(ToolError::Refused { call: Box::new(call.clone()), answer: Box::new(answer) })
    }

    /// Has a tool read what another writes; both have to end with status 0. Gives what
    /// the second answers. What passes may be no text, and of any length where the
    /// tools are the system's.
    ///
    /// # Errors
    /// As [`Tools::run`], of the first where both refuse.
    fn pipe(&self, from: &Call, to: &Call) -> Result<Answer, ToolError> {
        let written = self.run(from)?;
        self.run(&to.clone().with_stdin(written.stdout))
    }
}

/// The tools of this system.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Tools for System {
    fn call(&self, call: &Call) -> Result<Answer, ToolError> {
        let path = OsStr::new(call.tool.path());
        start(path, call)
    }

    fn pipe(&self, from: &Call, to: &Call) -> Result<Answer, ToolError> {
        let [first, second] = [from, to].map(|call| OsStr::new(call.tool.path()));
        start_piped((first, from), (second, to))
    }
}

fn start(program: &OsStr, call: &Call) -> Result<Answer, ToolError> {
    let until = Instant::now() + call.deadline;
    let stdin = if call.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = spawn(program, call, stdin)?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = call.stdin.clone();
        // A tool that ends without having read it says why by itself.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let outputs = (child.stdout.take().map(reader), child.stderr.take().map(reader));
    finish(child, call, &outputs, until)
}

/// The status of a tool that wrote to another which had ended (128 and SIGPIPE).
const BROKEN_PIPE: i32 = 141;

fn start_piped(from: (&OsStr, &Call), to: (&OsStr, &Call)) -> Result<Answer, ToolError> {
    let mut first = spawn(from.0, from.1, Stdio::null())?;
    let outputs = (None, first.stderr.take().map(reader));
    let between = first.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let second = spawn(to.0, to.1, between).inspect_err(|_| kill(&mut first));
    let mut second = second?;
    let read = (second.stdout.take().map(reader), second.stderr.take().map(reader));
    let until = |call: &Call| Instant::now() + call.deadline;
    let answer = finish(second, to.1, &read, until(to.1));
    if answer.is_err() {
        // It would wait for a reader that is no more.
        kill_group(&first);
    }
    let written = finish(first, from.1, &outputs, until(from.1))?;
    let answer = answer?;
    let refused = |call: &Call, answer: Answer| {
        Err(ToolError::Refused { call: Box::new(call.clone()), answer: Box::new(answer) })
    };
    match (written.status, answer.status) {
        (0, 0) => Ok(answer),
        (0, _) => refused(to.1, answer),
        (_, 1..) if lost_its_reader(&written) => refused(to.1, answer),
        _ => refused(from.1, written),
    }
}

/// Whether a tool failed because another did, which read what it wrote: most are ended
/// by a signal, `zfs send` says it.
fn lost_its_reader(answer: &Answer) -> bool {
    answer.status == BROKEN_PIPE || answer.stderr.contains("roken pipe")
}

fn spawn(program: &OsStr, call: &Call, stdin: Stdio) -> Result<Child, ToolError> {
    let mut command = Command::new(program);
    command
        .args(&call.args)
        .env_clear()
        // What ifconfig and jail start themselves is found there.
        .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
        .current_dir(PathBuf::from("/"))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if call.tool == Tool::Tar {
        // In the locale C it fails at names that are not ASCII ("Pathname can't be
        // converted from UTF-8 to current locale"), such as those of certificates.
        command.env("LC_CTYPE", "C.UTF-8");
    }
    // What runs in a jail is not to have our terminal, nor to leave its group.
    super::sys::detach(&mut command);
    command.spawn().map_err(|source| ToolError::Start { tool: call.tool, source })
}

/// Waits for a tool and reads what it answered.
fn finish(
    mut child: Child,
    call: &Call,
    outputs: &(Option<Receiver<Bytes>>, Option<Receiver<Bytes>>),
    until: Instant,
) -> Result<Answer, ToolError> {
    let ended = wait(&mut child, outputs, until);
    if ended.is_none() {
        kill(&mut child);
    }
    let (status, stdout, stderr) =
        ended.ok_or_else(|| ToolError::Overdue { call: Box::new(call.clone()) })?;
    let text = |bytes: Bytes| {
        let unreadable = |why: String| ToolError::Unreadable { call: Box::new(call.clone()), why };
        let text = String::from_utf8(bytes.map_err(unreadable)?);
        text.map_err(|_| unreadable("is no text".to_owned()))
    };
    Ok(Answer { status, stdout: text(stdout)?, stderr: text(stderr)? })
}

type Bytes = Result<Vec<u8>, String>;

/// Reads to the end on a thread of its own, but no more than [`LONGEST`].
fn reader(from: impl Read + Send + 'static) -> Receiver<Bytes> {
    let (to, bytes) = mpsc::channel();
    std::thread::spawn(move || {
        let mut read = Vec::new();
        // What comes after that is not read: the tool ends by its broken pipe.
        let done = from.take(LONGEST as u64 + 1).read_to_end(&mut read);
        let read = match done {
            Ok(_) if read.len() > LONGEST => Err(format!("is longer than {} MiB", LONGEST >> 20)),
            Ok(_) => Ok(read),
            Err(err) => Err(format!("cannot be read: {err}")),
        };
        // Nobody listens to that of a tool which was overdue.
        drop(to.send(read));
    });
    bytes
}

/// Waits until both outputs have ended and the tool has, too; `None` at the
/// deadline.
fn wait(
    child: &mut Child,
    outputs: &(Option<Receiver<Bytes>>, Option<Receiver<Bytes>>),
    until: Instant,
) -> Option<(i32, Bytes, Bytes)> {
    let left = || until.saturating_duration_since(Instant::now());
    let read = |output: &Option<Receiver<Bytes>>| match output {
        Some(output) => output.recv_timeout(left()).ok(),
        None => Some(Ok(Vec::new())),
    };
    let (stdout, stderr) = (read(&outputs.0)?, read(&outputs.1)?);
    let mut pause = Duration::from_micros(50);
    loop {
        // It has closed its outputs, and is about to end.
        match child.try_wait() {
            Ok(Some(status)) => {
                let status = status.code().or_else(|| Some(128 + status.signal()?))?;
                return Some((status, stdout, stderr));
            }
            Ok(None) if !left().is_zero() => std::thread::sleep(pause.min(left())),
            Ok(None) | Err(_) => return None,
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Ends a tool that was overdue, with all that it started.
fn kill(child: &mut Child) {
    kill_group(child);
    // It may have been in the middle of becoming somebody else.
    drop(child.kill());
    drop(child.wait());
}

fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Already gone is as well.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Call {
        Call::new(Tool::Ifconfig, ["-c", script])
    }

    fn shell(call: &Call) -> Result<Answer, ToolError> {
        start(OsStr::new("/bin/sh"), call)
    }

    #[test]
    fn answers_come_whole_with_their_status() {
        let answer = shell(&sh("echo out; echo err >&2; exit 7")).expect("runs");
        assert_eq!((answer.status, &*answer.stdout, &*answer.stderr), (7, "out\n", "err\n"));
        let answer = shell(&sh("kill -9 $$")).expect("runs");
        assert_eq!(answer.status, 137);
        // More than any pipe holds, both ways at once.
        let input = "x".repeat(1 << 20);
        let answer = shell(&sh("cat; cat /dev/null").with_stdin(input.clone())).expect("runs");
        assert_eq!(answer.stdout, input);
    }

    fn piped(from: &str, to: &str) -> Result<Answer, ToolError> {
        let shell = OsStr::new("/bin/sh");
        start_piped((shell, &sh(from)), (shell, &sh(to)))
    }

    #[test]
    fn one_reads_what_another_writes_whatever_it_is() {
        let answer = piped("head -c 100000000 /dev/zero; echo said >&2", "wc -c").expect("piped");
        assert_eq!(answer.stdout.trim(), "100000000");
        let answer = piped("printf '\\377'", "wc -c").expect("no text");
        assert_eq!(answer.stdout.trim(), "1");
        // Whoever refused is named, and not who lost its reader by that.
        let err = piped("echo none >&2; exit 3", "cat").expect_err("the first").to_string();
        assert!(err.ends_with("ended with status 3: none"), "{err}");
        let err = piped("cat /dev/zero", "echo full >&2; exit 4").expect_err("the second");
        assert!(err.to_string().ends_with("ended with status 4: full"), "{err}");
        let err = piped("cat >&2 <<-x\nBroken pipe\nx\nexit 1", "echo full >&2; exit 4");
        assert!(err.expect_err("the second").to_string().ends_with("status 4: full"));
        // A reader that ends well before all was written has not got all of it.
        let err = piped("cat /dev/zero", "head -c 1 >/dev/null").expect_err("the first");
        assert!(err.to_string().contains("status 141"), "{err}");
    }

    #[test]
    fn nothing_of_our_environment_is_handed_on() {
        let answer = shell(&sh("env")).expect("runs");
        let names: Vec<&str> =
            answer.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        for name in names {
            assert!(["PATH", "PWD", "OLDPWD", "_", "SHLVL"].contains(&name), "{name}");
        }
        // But for tar, which reads names.
        let script = "echo $LC_CTYPE";
        let tar = shell(&Call::new(Tool::Tar, ["-c", script])).expect("runs");
        let other = shell(&sh(script)).expect("runs");
        assert_eq!([tar.stdout, other.stdout], ["C.UTF-8\n", "\n"]);
    }

    #[test]
    fn of_many_words_a_message_has_the_first() {
        let said = |stderr: String| Answer { status: 1, stdout: String::new(), stderr }.words();
        assert_eq!(said("a\n\n b\n".to_owned()), "a; b");
        let text = said("wörd\n".repeat(1_000_000));
        assert!(text.starts_with("wörd; wörd; ") && text.ends_with('…'), "{text}");
        assert!(text.len() < 4100, "{}", text.len());
    }

    #[test]
    fn an_overdue_tool_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        // Its child holds the pipe open, as long as it lives.
        let script = format!("(exec 3<>{0}; while :; do read x <&3; done) & wait", fifo.display());
        let call = sh(&script).within(Duration::from_millis(300));
        let err = shell(&call).expect_err("overdue");
        assert!(matches!(err, ToolError::Overdue { .. }), "{err}");
        assert!(err.to_string().contains("did not end within 0.3 s"), "{err}");
        // Nobody reads from it any more.
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let open = rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty());
            if open.is_err_and(|err| err == rustix::io::Errno::NXIO) {
                break;
            }
            assert!(Instant::now() < until, "its child lives");
            std::thread::yield_now();
        }
        // The twin that has the time.
        let call = sh("read x").with_stdin("x\n").within(Duration::from_secs(30));
        assert_eq!(shell(&call).expect("in time").status, 0);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let err = shell(&sh("printf '\\377'")).expect_err("no text");
        assert!(err.to_string().contains("is no text"), "{err}");
        assert_eq!(shell(&sh("printf 'ok'")).expect("text").stdout, "ok");
    }

    #[test]
    fn a_refusal_names_the_tool_its_words_and_the_object() {
        struct Never;
        impl Tools for Never {
            fn call(&self, _: &Call) -> Result<Answer, ToolError> {
                let stderr = "ifconfig: interface nosuch0 does not exist\n".to_owned();
                Ok(Answer { status: 1, stdout: String::new(), stderr })
            }
        }
        let call = Call::new(Tool::Ifconfig, ["nosuch0", "description", "a b"]);
        let err = Never.run(&call).expect_err("refused");
        assert_eq!(
            err.to_string(),
            "'ifconfig nosuch0 description 'a b'' ended with status 1: \
             ifconfig: interface nosuch0 does not exist"
        );
        assert!(err.says("does not exist") && !err.says("File exists"));
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let call = Call::new(Tool::Zfs, ["list"]);
        let err = start(OsStr::new("/nonexistent/zfs"), &call).expect_err("not there");
        assert_eq!(err.to_string(), "cannot start /sbin/zfs");
    }
}
