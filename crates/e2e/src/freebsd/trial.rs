//! What a check has at hand: tools, `klee`, probes, and waiting.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kleene_host::freebsd::run::{Answer, Call, Tool, Tools};

use super::cables::Cable;
use super::probe::{Address, Heard, PATIENCE, Protocol};
use super::program::{Background, Program};
use super::recorder::{Recorded, Recorder};
use super::recording::{Command, Entry};
use super::report::{Done, Ended, fails, want};
use super::seen::{self, Link};
use super::stage::Stage;

/// How long something of Kleene's may take to be so.
pub const SOON: Duration = Duration::from_secs(10);
/// How long a whole command of `klee` may take.
const KLEE: Duration = Duration::from_secs(30);
/// How many of the last commands are shown with a failure.
const AGAIN: usize = 6;
/// The probe, inside containers.
pub const INSIDE: &str = "/probe/freebsd-accept";

/// Where a probe is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// On the host.
    Host,
    /// In a jail whose root is the host's.
    Outside(&'static str),
    /// In a container, by its id.
    Container(String),
}

/// Where the parts of a run are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Where everything of the run lies.
    pub dir: PathBuf,
    /// The daemon; the supervisor is beside it.
    pub kleened: PathBuf,
    /// The client.
    pub klee: PathBuf,
    /// This program.
    pub own: PathBuf,
}

impl Paths {
    /// Where the API is served.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.dir.join("kleened.sock").display())
    }

    /// A directory that is mounted in every container, with the probe.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        self.dir.join("probe")
    }
}

/// What a check has at hand.
pub struct Trial {
    /// Where everything is.
    pub paths: Paths,
    /// Who does what tools are told.
    pub tools: Arc<dyn Tools>,
    /// Where everything is written down.
    pub recorder: Arc<Recorder>,
    /// Set when the program shall end.
    pub interrupted: Arc<AtomicBool>,
    /// The host's end towards each outside.
    pub cables: [String; 2],
    /// The kernel's variables as they were found, as `NAME=VALUE`.
    pub settings: Vec<String>,
    /// The daemon, while it runs.
    pub daemon: Option<Background>,
    /// The layout, once it was asked for.
    pub(super) stage: Option<Result<Stage, Ended>>,
    /// Pairs of interfaces that have to go.
    pub(super) loose: Vec<Cable>,
    /// What the check at hand has made: containers, networks.
    pub(super) made: (Vec<String>, Vec<String>),
    last: Mutex<Vec<String>>,
}

impl Trial {
    /// Before anything is made.
    #[must_use]
    pub fn new(
        paths: Paths,
        tools: Arc<dyn Tools>,
        recorder: Arc<Recorder>,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        Self {
            paths,
            tools,
            recorder,
            interrupted,
            cables: Default::default(),
            settings: Vec::new(),
            daemon: None,
            stage: None,
            loose: Vec::new(),
            made: Default::default(),
            last: Mutex::default(),
        }
    }

    /// The interface on which ports are published.
    #[must_use]
    pub fn listed(&self) -> &str {
        &self.cables[0]
    }

    /// The interface towards the other outside, on which nothing is published.
    #[must_use]
    pub fn unlisted(&self) -> &str {
        &self.cables[1]
    }

    pub(super) fn go_on(&self) -> Done {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Ended::Interrupted),
            false => Ok(()),
        }
    }

    /// Has a command shown with a failure.
    pub fn note(&self, line: String) {
        if let Ok(mut last) = self.last.lock() {
            if last.len() == AGAIN {
                last.remove(0);
            }
            last.push(line);
        }
    }

    /// The last commands, which begin anew.
    #[must_use]
    pub fn take_last(&self) -> Vec<String> {
        self.last.lock().map(|mut last| std::mem::take(&mut *last)).unwrap_or_default()
    }

    /// A remark in what is written down.
    pub fn remark(&self, text: impl Into<String>) {
        // The checks go on where the disk is full.
        drop(self.recorder.entry(&Entry::Remark(text.into())));
    }

    /// Has a tool do something, whatever status it ends with.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub fn call(&self, call: &Call) -> Done<Answer> {
        self.go_on()?;
        self.note(Recorder::line(call));
        let tools = Recorded { tools: &*self.tools, recorder: &self.recorder };
        tools.call(call).or_else(|err| fails(format!("'{call}' answers"), err.to_string()))
    }

    /// The same with words.
    ///
    /// # Errors
    /// As [`Trial::call`].
    pub fn tool(&self, tool: Tool, args: &[&str]) -> Done<Answer> {
        self.call(&Call::new(tool, args.iter().copied()))
    }

    /// Has a tool do something that has to be done.
    ///
    /// # Errors
    /// As [`Trial::call`], and when it refuses.
    pub fn done(&self, tool: Tool, args: &[&str]) -> Done<String> {
        let answer = self.tool(tool, args)?;
        let expected = || format!("'{tool} {}' is done", args.join(" "));
        want(answer.status == 0, expected(), answer.words())?;
        Ok(answer.stdout)
    }

    /// Has something done in a jail that has to be done there.
    ///
    /// # Errors
    /// As [`Trial::done`].
    pub fn inside(&self, jail: &str, args: &[&str]) -> Done<String> {
        self.done(Tool::Jexec, &[&[jail], args].concat())
    }

    /// Runs a program, whatever status it ends with.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub fn program(&self, program: &Program, limit: Duration) -> Done<Answer> {
        self.go_on()?;
        let line = program.line();
        self.note(line.clone());
        let answered = program.run(limit);
        let entry = match &answered {
            Ok(Answer { status, stdout, stderr }) => {
                Entry::Command(Command::new(line.clone(), stdout, stderr, *status))
            }
            Err(why) => Entry::Remark(why.clone()),
        };
        drop(self.recorder.entry(&entry));
        answered.or_else(|why| fails(format!("'{line}' answers"), why))
    }

    /// Runs `klee`, whatever status it ends with.
    ///
    /// # Errors
    /// As [`Trial::program`].
    pub fn klee(&self, args: &[&str]) -> Done<Answer> {
        let mut program = Program::new(&self.paths.klee, args);
        program.env.push(("KLEE_HOST", self.paths.api()));
        self.program(&program, KLEE)
    }

    /// Runs a command of `klee` that has to be done; gives what it prints.
    ///
    /// # Errors
    /// As [`Trial::klee`], and when it is refused.
    pub fn klee_done(&self, args: &[&str]) -> Done<String> {
        let answer = self.klee(args)?;
        let said = format!("status {}: {}", answer.status, answer.words());
        want(answer.status == 0, format!("'klee {}' is done", args.join(" ")), said)?;
        Ok(answer.stdout)
    }

    /// Runs a command of `klee` that has to be refused in these words.
    ///
    /// # Errors
    /// As [`Trial::klee`], and when it is done, or refused otherwise.
    pub fn klee_refused(&self, args: &[&str], words: &str) -> Done {
        let answer = self.klee(args)?;
        let said = format!("{}{}", answer.stdout, answer.stderr);
        let refused = answer.status != 0 && said.contains(words);
        let expected = format!("'klee {}' is refused: {words}", args.join(" "));
        want(refused, expected, format!("status {}: {}", answer.status, said.trim()))
    }

    /// Waits until something is so.
    ///
    /// # Errors
    /// When it is not so in time, and what the condition itself cannot find out.
    pub fn wait(&self, limit: Duration, what: &str, mut is_so: impl FnMut() -> Done<bool>) -> Done {
        let looked = crate::poll(limit, || match is_so() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(ended) => Some(Err(ended)),
        });
        let seen = || format!("not within {} s", limit.as_secs());
        looked.unwrap_or_else(|| fails(what, seen()))
    }

    /// All interfaces of the host, or of a jail.
    ///
    /// # Errors
    /// As [`Trial::done`].
    pub fn links(&self, jail: Option<&str>) -> Done<BTreeMap<String, Link>> {
        let printed = match jail {
            None => self.done(Tool::Ifconfig, &[])?,
            Some(jail) => self.inside(jail, &["/sbin/ifconfig"])?,
        };
        Ok(seen::links(&printed))
    }

    /// The command line of a probe.
    fn probe(&self, asker: &Asker, words: &[&str]) -> (Option<&'static str>, Vec<String>) {
        let own = self.paths.own.display().to_string();
        let (tool, mut line) = match asker {
            Asker::Host => (None, vec![own]),
            Asker::Outside(jail) => (Some("jexec"), vec![(*jail).to_owned(), own]),
            Asker::Container(id) => (Some("jexec"), vec![id.clone(), INSIDE.to_owned()]),
        };
        line.push("--probe".to_owned());
        line.extend(words.iter().map(|word| (*word).to_owned()));
        (tool, line)
    }

    /// How a person would ask once.
    #[must_use]
    pub fn asked(&self, asker: &Asker, protocol: Protocol, to: (&str, u16)) -> String {
        let (tool, line) = self.probe(asker, &[protocol.name(), to.0, &to.1.to_string()]);
        tool.into_iter().map(str::to_owned).chain(line).collect::<Vec<_>>().join(" ")
    }

    /// Asks once, from somewhere.
    ///
    /// # Errors
    /// When the probe itself does not work.
    pub fn ask(
        &self,
        asker: &Asker,
        protocol: Protocol,
        to: (&str, u16),
        source: Option<&str>,
    ) -> Done<Heard> {
        let port = to.1.to_string();
        let mut words = vec![protocol.name(), to.0, &port];
        words.extend(source);
        let (tool, line) = self.probe(asker, &words);
        let answer = match tool {
            Some(_) => self.call(&Call::new(Tool::Jexec, line).within(PATIENCE * 10))?,
            None => {
                let args: Vec<&str> = line[1..].iter().map(String::as_str).collect();
                self.program(&Program::new(&line[0], &args), PATIENCE * 10)?
            }
        };
        let heard = Heard::parse(answer.stdout.trim_end());
        heard.or_else(|_| fails("the probe tells what it hears", answer.words()))
    }

    /// Starts a probe that stays.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_probe(&self, asker: &Asker, words: &[&str]) -> Done<Background> {
        self.go_on()?;
        let (tool, line) = self.probe(asker, words);
        let path = match tool {
            Some(_) => Tool::Jexec.path().to_owned(),
            None => line[0].clone(),
        };
        let args = if tool.is_some() { &line[..] } else { &line[1..] };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let program = Program::new(path, &args);
        let shown = program.line();
        self.note(format!("{shown} &"));
        self.remark(format!("{shown} &"));
        program.start().or_else(|why| fails(format!("'{shown}' runs"), why))
    }

    /// Serves somewhere, and waits until it does.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn serve(&self, asker: &Asker, name: &str, ports: &str, at: &[&str]) -> Done<Background> {
        let words = [&["serve", name, ports], at].concat();
        let server = self.start_probe(asker, &words)?;
        while let Some(line) = server.line(SOON) {
            if line == "ready" {
                return Ok(server);
            }
            want(line.contains("listening"), format!("{name} serves {at:?}"), line)?;
        }
        fails(format!("{name} serves {at:?} on {ports}"), "it does not say so")
    }

    /// Opens a flow that stays.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn hold(&self, asker: &Asker, protocol: Protocol, to: (&str, u16)) -> Done<Background> {
        let held = self.start_probe(asker, &["hold", protocol.name(), to.0, &to.1.to_string()])?;
        let line = held.line(SOON).unwrap_or_else(|| "nothing".to_owned());
        let answered = Heard::parse(&line).is_ok_and(|heard| heard.is_answer());
        want(answered, format!("an answer of {} port {}", to.0, to.1), line)?;
        Ok(held)
    }

    /// Whether a flow that was held still carries.
    #[must_use]
    pub fn carries(held: &mut Background) -> bool {
        let line = held.tell("more", PATIENCE * 3).unwrap_or_default();
        Heard::parse(&line).is_ok_and(|heard| heard.is_answer())
    }

    /// Whether an echo comes back, with the commands that were recorded.
    ///
    /// # Errors
    /// When ping does not end.
    pub fn echoes(&self, asker: &Asker, to: &str) -> Done<bool> {
        let v4 = ["/sbin/ping", "-q", "-n", "-c1", "-t1", to];
        let v6 = ["/usr/bin/timeout", "-s", "INT", "1", "/sbin/ping6", "-q", "-n", "-c1", to];
        let is_v6 = to.parse::<Address>().is_ok_and(|address| address.ip.is_ipv6());
        let line: &[&str] = if is_v6 { &v6 } else { &v4 };
        let answer = match asker {
            Asker::Host => self.program(&Program::new(line[0], &line[1..]), SOON)?,
            Asker::Outside(jail) => self.tool(Tool::Jexec, &[&[*jail], line].concat())?,
            Asker::Container(id) => self.tool(Tool::Jexec, &[&[id.as_str()], line].concat())?,
        };
        Ok(answer.status == 0 && answer.stdout.contains("1 packets received"))
    }
}
