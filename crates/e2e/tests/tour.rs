//! The pages that a reader types along, typed as they stand there: the tour of
//! README.md and the walk-throughs of docs/networks.md.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;
#[path = "tour/page.rs"]
mod page;

use common::LIMIT;
use kleene_e2e::{Background, Netns, Output, Run, World, poll, target_dir};
use page::Step;

const README: &str = include_str!("../../../README.md");
const NETWORKS: &str = include_str!("../../../docs/networks.md");

/// How the README has its reader begin.
fn tour() -> Vec<Step> {
    let steps = page::steps(page::section(README, "Ten minutes"));
    assert!(steps.len() > 12, "{steps:?}");
    assert_eq!(steps[0].command, "cargo build --release");
    steps
}

/// The command line on a host where we are root and this build's programs
/// stand where `cargo build --release` puts them.
fn as_root(line: &str) -> String {
    let programs = target_dir().unwrap();
    let line = line.replace("sudo target/release/", &format!("{}/", programs.display()));
    line.replace("sudo ", "")
}

/// Who types: what was typed before still holds.
struct Reader<'a> {
    world: &'a World,
    aliases: String,
    daemon: Background,
}

impl<'a> Reader<'a> {
    /// Begins as the README says: with a daemon without any configuration, and
    /// the alias.
    fn begin(world: &'a World) -> Self {
        let [_build, start, alias, ..] = &tour()[..] else { panic!("the first steps") };
        let start = as_root(start.command.strip_suffix(" &").unwrap());
        let mut daemon = world.spawn(["sh", "-c", &format!("exec {start}")]);
        world.wait_until(LIMIT, "the daemon's socket", || {
            world.path("/run/kleened.sock").exists() || !daemon.running()
        });
        let alias = as_root(&alias.command);
        assert!(alias.starts_with("alias klee="), "{alias}");
        Self { world, aliases: format!("{alias}\n"), daemon }
    }

    /// A command line for a program that wants to be told one.
    fn script(&self, command: &str) -> String {
        format!("{}{}", self.aliases, as_root(command))
    }

    fn place(&self, step: &Step) -> Netns<'a> {
        if step.outside { self.world.outside() } else { self.world.inside() }
    }

    fn once(&self, step: &Step) -> Output {
        // What a reader sees comes from both.
        let line = format!("exec 2>&1\n{}", self.script(&step.command));
        self.place(step).run_with(&Run::new(["sh", "-c", &line]))
    }

    /// Types one line and compares.
    fn follow(&self, step: &Step) {
        let line = step.command.as_str();
        if line.contains(" exec -i -t ") {
            return step.agrees(&self.on_a_terminal(line)).unwrap();
        }
        if line.contains(" logs -f ") {
            return step.agrees(&self.followed(line)).unwrap();
        }
        let mut last = None;
        let right = |output: &Output| {
            let code = output.status == Some(0);
            code != step.refused && output.status.is_some() && step.agrees(&output.stdout()).is_ok()
        };
        let patience =
            if step.looks() && !step.refused { LIMIT } else { std::time::Duration::ZERO };
        poll(patience, || right(last.insert(self.once(step))).then_some(()));
        let output = last.unwrap_or_else(|| self.once(step));
        if step.refused {
            output.fails()
        } else {
            output.ok()
        };
        step.agrees(&output.stdout()).unwrap_or_else(|why| panic!("{why}"));
    }

    /// A shell on a terminal, left at once.
    fn on_a_terminal(&self, line: &str) -> String {
        let inner = self.script(line);
        let run = Run::new(["script", "-qec", &inner, "/dev/null"]).stdin("tty\nexit\n");
        let output = self.world.run_with(&run);
        output.ok().says("/dev/pts/");
        output.stdout().into_owned()
    }

    /// What follows a log shows what was written so far, and goes on.
    fn followed(&self, line: &str) -> String {
        let mut follower = self.world.spawn(["sh", "-c", &self.script(line)]);
        // The service tells about the visitor of before.
        let told = || follower.stdout().contains("response");
        self.world.wait_until(LIMIT, "the log of the visit", told);
        assert!(follower.running(), "it follows on");
        follower.stdout()
    }

    /// Types all lines; at the end the host is what it was.
    fn follow_all<'s>(mut self, steps: impl IntoIterator<Item = &'s Step>) {
        let (mut typed, mut compared) = (0, 0);
        let before = self.world.snapshot();
        for step in steps {
            self.follow(step);
            (typed, compared) = (typed + 1, compared + step.shown.len());
        }
        println!("{typed} commands, {compared} lines of output");
        self.world.assert_back_to(&before, LIMIT);
        assert!(self.daemon.running(), "{}", self.daemon.stderr());
    }
}

#[test]
fn the_tour_goes_as_the_readme_says() {
    let Some(world) = World::open("the_tour_goes_as_the_readme_says") else { return };
    let steps = tour();
    assert!(steps.iter().any(|step| step.shown.iter().any(|line| line == "7")), "{steps:?}");
    Reader::begin(&world).follow_all(&steps[3..]);
}

#[test]
fn networks_are_as_their_page_says() {
    let Some(world) = World::open("networks_are_as_their_page_says") else { return };
    let settings = world.settings();
    let steps = page::steps(NETWORKS);
    assert!(steps.len() > 90, "only {} steps", steps.len());
    assert!(steps.iter().any(|step| step.refused), "nothing is refused: {steps:?}");
    assert!(steps.iter().any(|step| step.outside), "nobody is outside: {steps:?}");
    Reader::begin(&world).follow_all(&steps);
    assert_eq!(world.settings(), settings);
}
