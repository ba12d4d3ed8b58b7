//! Programs that are none of the base system's tools of Kleene's: its own, and those
//! that only a check needs. Each has a process group of its own, so that a ^C ends
//! this program alone, which then ends them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use kleene_host::freebsd::run::Answer;
use rustix::process::{Pid, Signal, kill_process_group};

/// A program and its words.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What its environment has besides a path and a locale.
    pub env: Vec<(&'static str, String)>,
}

impl Program {
    /// A program with these arguments.
    pub fn new(path: impl Into<PathBuf>, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { path: path.into(), args, env: Vec::new() }
    }

    /// As a person would type it: with its name alone.
    #[must_use]
    pub fn line(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let quoted = self.args.iter().map(|arg| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./%@".contains(c);
            match !arg.is_empty() && arg.chars().all(plain) {
                true => arg.clone(),
                false => format!("'{}'", arg.replace('\'', "'\\''")),
            }
        });
        std::iter::once(name.into_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().process_group(0);
        command.env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin").env("LC_ALL", "C");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started, or does not end within `limit`: then it is killed.
    pub fn run(&self, limit: Duration) -> Result<Answer, String> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|err| self.not_started(&err))?;
        let id = child.id();
        let (told, ended) = mpsc::channel();
        std::thread::spawn(move || drop(told.send(child.wait_with_output())));
        match ended.recv_timeout(limit) {
            Ok(Ok(output)) => Ok(answer(&output)),
            Ok(Err(err)) => Err(format!("cannot wait for '{}': {err}", self.line())),
            Err(_) => {
                signal(id, Signal::KILL);
                Err(format!("'{}' did not end within {} s", self.line(), limit.as_secs()))
            }
        }
    }

    /// Starts it, and leaves it running; what it writes can be read line by line.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<Background, String> {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|err| self.not_started(&err))?;
        let (told, lines) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if told.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Background { stdin: child.stdin.take(), child, lines: Mutex::new(lines) })
    }

    /// Starts it, and leaves it running; what it writes goes to the end of a file.
    ///
    /// # Errors
    /// When the file cannot be opened, or it cannot be started.
    pub fn start_into(&self, log: &Path) -> Result<Background, String> {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let opened = opened.and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = opened.map_err(|err| format!("cannot open {}: {err}", log.display()))?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|err| self.not_started(&err))?;
        let (_, lines) = mpsc::channel();
        Ok(Background { stdin: None, child, lines: Mutex::new(lines) })
    }

    fn not_started(&self, err: &std::io::Error) -> String {
        format!("cannot start {}: {err}", self.path.display())
    }
}

fn answer(output: &Output) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code();
    let status = status.or_else(|| Some(128 + output.status.signal()?)).unwrap_or(-1);
    Answer { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn signal(id: u32, signal: Signal) {
    let group = i32::try_from(id).ok().and_then(Pid::from_raw);
    // One that has ended needs none.
    let _ = group.map(|group| kill_process_group(group, signal));
}

/// A program that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    stdin: Option<ChildStdin>,
    /// One that writes is read by one at a time.
    lines: Mutex<Receiver<String>>,
}

impl Background {
    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The next line that it writes; `None` where none comes within `limit`.
    #[must_use]
    pub fn line(&self, limit: Duration) -> Option<String> {
        self.lines.lock().ok()?.recv_timeout(limit).ok()
    }

    /// Sends it a line, and gives the next that it writes.
    #[must_use]
    pub fn tell(&mut self, line: &str, limit: Duration) -> Option<String> {
        let sent = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}"));
        sent.and_then(Result::ok).and_then(|()| self.line(limit))
    }

    /// Asks it to end, and waits; afterwards it is killed. Gives whether it ended by
    /// itself.
    pub fn end(&mut self, limit: Duration) -> bool {
        signal(self.child.id(), Signal::TERM);
        crate::poll(limit, || self.child.try_wait().ok().flatten()).is_some()
    }

    /// Kills it, without a chance to clean up.
    pub fn kill(&mut self) {
        signal(self.child.id(), Signal::KILL);
        // Whoever has ended is waited for at once.
        drop(self.child.wait());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.runs() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Program {
        Program::new("/bin/sh", &["-c", script])
    }

    #[test]
    fn a_program_answers_with_its_status() {
        let answer = sh("echo out; echo err >&2; exit 7").run(SOON).expect("it runs");
        let said = (answer.status, answer.stdout.as_str(), answer.stderr.as_str());
        assert_eq!(said, (7, "out\n", "err\n"));
        assert_eq!(sh("kill -9 $$").run(SOON).expect("it runs").status, 137);
        let program = Program { env: vec![("KLEE_HOST", "x".to_owned())], ..sh("echo $KLEE_HOST") };
        assert_eq!(program.run(SOON).expect("it runs").stdout, "x\n");
        let none = Program::new("/nonexistent/klee", &[]).run(SOON);
        assert!(none.expect_err("not there").contains("cannot start /nonexistent/klee"));
    }

    #[test]
    fn one_that_does_not_end_is_told_and_killed() {
        let err = sh("kill -STOP $$").run(Duration::from_millis(100));
        let err = err.expect_err("overdue");
        assert!(err.contains("did not end within"), "{err}");
    }

    #[test]
    fn one_in_the_background_is_spoken_with_and_ended() {
        let mut cat = Program::new("/bin/cat", &[]).start().expect("it runs");
        assert_eq!(cat.tell("1", SOON).as_deref(), Some("1"));
        assert!(cat.line(Duration::from_millis(10)).is_none());
        assert!(cat.runs());
        assert!(cat.end(SOON));
        assert!(!cat.runs());
        let mut deaf = sh("trap '' TERM; echo ready; while :; do read x || :; done");
        deaf.env.push(("A", "b".to_owned()));
        let mut deaf = deaf.start().expect("it runs");
        assert_eq!(deaf.line(SOON).as_deref(), Some("ready"));
        assert!(!deaf.end(Duration::from_millis(50)));
        deaf.kill();
        assert!(deaf.end(Duration::ZERO));
    }

    #[test]
    fn lines_are_as_a_person_would_type_them() {
        let line =
            Program::new("/tmp/x/klee", &["run", "-n", "a", "sh", "-c", "exit 3", ""]).line();
        assert_eq!(line, "klee run -n a sh -c 'exit 3' ''");
    }
}
