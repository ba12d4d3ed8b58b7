//! The base system's tools as child processes: started without a shell, with
//! next to no environment, and ended at a deadline.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{MemfdFlags, SealFlags},
    process::Pid,
};

use crate::sys;

/// What of a tool's words is read, in bytes.
const MAX_WORDS: u64 = 64 << 10;

/// The path that jail(8) and the commands it starts get.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// Where the tools are.
pub(crate) struct Tools {
    pub(super) jail: PathBuf,
    pub(super) jls: PathBuf,
    pub(super) jexec: PathBuf,
    pub(super) pkill: PathBuf,
    pub(super) ps: PathBuf,
    pub(super) ifconfig: PathBuf,
}

impl Tools {
    /// Where FreeBSD has them (13.2).
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn system() -> Self {
        Self {
            jail: "/usr/sbin/jail".into(),
            jls: "/usr/sbin/jls".into(),
            jexec: "/usr/sbin/jexec".into(),
            pkill: "/bin/pkill".into(),
            ps: "/bin/ps".into(),
            ifconfig: "/sbin/ifconfig".into(),
        }
    }

    /// All in one directory.
    pub(crate) fn below(dir: &Path) -> Self {
        let tool = |name: &str| dir.join(name);
        Self {
            jail: tool("jail"),
            jls: tool("jls"),
            jexec: tool("jexec"),
            pkill: tool("pkill"),
            ps: tool("ps"),
            ifconfig: tool("ifconfig"),
        }
    }
}

/// A tool and what it is told.
pub(super) struct Call {
    program: PathBuf,
    args: Vec<OsString>,
    limit: Duration,
}

impl Call {
    pub(super) fn new<A: AsRef<OsStr>>(program: &Path, args: &[A], limit: Duration) -> Self {
        let args = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self { program: program.to_owned(), args, limit }
    }

    /// The tool and its first word, for messages.
    fn name(&self) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        match self.args.first() {
            Some(first) => format!("{program} {}", first.to_string_lossy()),
            None => program.into_owned(),
        }
    }

    /// Starts it. Its words go to memory files, not pipes: what it leaves
    /// running in the background inherits them, and is neither held up nor
    /// ended by what it writes.
    pub(super) fn start(&self) -> Result<Running, Answer> {
        let failed = |error: io::Error| Answer {
            name: self.name(),
            end: End::NotStarted(error),
            out: String::new(),
            err: String::new(),
        };
        self.try_start().map_err(failed)
    }

    fn try_start(&self) -> io::Result<Running> {
        let (out, err) = (paper("tool-output")?, paper("tool-errors")?);
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", PATH)
            .envs([("HOME", "/"), ("USER", "root"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::null())
            .stdout(Stdio::from(out.try_clone()?))
            .stderr(Stdio::from(err.try_clone()?));
        sys::detach(&mut command, false);
        let child = command.spawn()?;
        Ok(Running {
            name: self.name(),
            pid: pid_of(&child)?,
            out,
            err,
            deadline: Some(Instant::now() + self.limit),
        })
    }
}

/// A memory file of a fixed size: the memory is ours, and who writes to it may
/// never end.
fn paper(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create(name, flags)?);
    file.set_len(MAX_WORDS)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

/// A child's number. It is waited for with all others.
pub(super) fn pid_of(child: &std::process::Child) -> io::Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A tool at work.
pub(super) struct Running {
    name: String,
    pub(super) pid: Pid,
    out: File,
    err: File,
    /// `None` once it has passed.
    pub(super) deadline: Option<Instant>,
}

impl Running {
    /// It takes too long.
    pub(super) fn kill(&mut self) {
        self.deadline = None;
        let _ = sys::kill(self.pid, libc::SIGKILL);
    }

    /// It has ended.
    pub(super) fn answer(mut self, status: i32) -> Answer {
        let end = if self.deadline.is_some() { End::Status(status) } else { End::Overdue };
        Answer { name: self.name, end, out: words(&mut self.out), err: words(&mut self.err) }
    }
}

fn words(file: &mut File) -> String {
    let mut text = Vec::new();
    // The position is shared with who wrote: so much there is.
    if let Ok(written) = file.stream_position()
        && file.rewind().is_ok()
    {
        let _ = file.take(written).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

enum End {
    /// The exit status, or 128 + signal.
    Status(i32),
    Overdue,
    NotStarted(io::Error),
}

/// What became of a tool.
pub(super) struct Answer {
    name: String,
    end: End,
    pub(super) out: String,
    pub(super) err: String,
}

impl Answer {
    pub(super) fn is_well(&self) -> bool {
        matches!(self.end, End::Status(0))
    }

    /// Whether it ran to its end, well or not.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.end, End::Status(_))
    }

    /// For people: the tool, how it ended, and what it said.
    pub(super) fn story(&self) -> String {
        let end = match &self.end {
            End::Status(status) => format!("{} ended with status {status}", self.name),
            End::Overdue => format!("{} did not end in time", self.name),
            End::NotStarted(error) => format!("cannot start {}: {error}", self.name),
        };
        let said = [self.out.as_str(), self.err.as_str()];
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        if said.is_empty() { end } else { format!("{end}: {}", said.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::WaitOptions;

    use super::*;

    fn answer(call: &Call) -> Answer {
        let running = call.start().unwrap_or_else(|answer| panic!("{}", answer.story()));
        let (_, status) =
            rustix::process::waitpid(Some(running.pid), WaitOptions::empty()).unwrap().unwrap();
        running.answer(status.exit_status().unwrap())
    }

    fn sh(script: &str) -> Call {
        Call::new(Path::new("/bin/sh"), &["-c", script], Duration::from_secs(60))
    }

    #[test]
    fn words_and_status_are_kept() {
        let kept = answer(&sh("echo out; echo err >&2; echo more; exit 3"));
        assert_eq!((kept.out.as_str(), kept.err.as_str()), ("out\nmore", "err"));
        assert_eq!(kept.story(), "sh -c ended with status 3: out\nmore\nerr");
        assert!(!kept.is_well() && answer(&sh("exit 0")).is_well());
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let loud = "head -c 200000 /dev/zero | tr '\\0' x; echo end >&2; exit 0";
        let kept = answer(&sh(loud));
        assert!(kept.is_well());
        assert_eq!(kept.out.len() as u64, MAX_WORDS);
        assert!(kept.err.ends_with("end"), "{}", kept.err);
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let call = Call::new(Path::new("/no/such/jls"), &["-j", "x"], Duration::from_secs(1));
        let Err(answer) = call.start() else { panic!("it was started") };
        assert!(answer.story().starts_with("cannot start jls -j: No such file"));
        assert!(!answer.is_whole());
    }
}
