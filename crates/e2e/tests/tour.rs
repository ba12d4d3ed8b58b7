//! The tour of README.md, typed as it stands there.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::LIMIT;
use kleene_e2e::{Run, World, target_dir};

/// A line that a reader types, and what the page shows below it.
#[derive(Debug)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The `console` blocks of a section of README.md.
fn steps(section: &str) -> Vec<Step> {
    let page = include_str!("../../../README.md");
    let begin = format!("\n## {section}\n");
    let (_, rest) = page.split_once(&begin).expect("the section");
    let text = rest.split("\n## ").next().unwrap_or_default();
    let mut steps: Vec<Step> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    steps.push(Step { command: command.to_owned(), shown: Vec::new() });
                }
                None if line.is_empty() => {}
                None => steps.last_mut().expect("a command first").shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// A line without what differs from run to run: ids, numbers of interfaces,
/// the width of columns.
fn masked(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let is_id = word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit());
        let (name, peer) = word.split_once("@if").map_or((word, ""), |(name, _)| (name, "@ifN"));
        // The next cable has another number while the kernel still knows the last.
        let end = name.strip_prefix("epair").and_then(|rest| rest.strip_suffix(['a', 'b']));
        match end {
            _ if is_id => "ID".to_owned(),
            Some(number) if number.parse::<u32>().is_ok() => format!("epairN{peer}"),
            _ => format!("{name}{peer}"),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Every shown line is the beginning of a line that was printed, in order.
fn agrees(step: &Step, printed: &str) {
    let mut lines = printed.lines().map(masked);
    for shown in step.shown.iter().map(|line| masked(line)) {
        let found = lines.any(|line| line.starts_with(&shown));
        assert!(found, "`{}` did not print {shown:?}, but:\n{printed}", step.command);
    }
}

/// The command line on a host where we are root and this build's programs
/// stand where `cargo build --release` puts them.
fn as_root(line: &str) -> String {
    let programs = target_dir().unwrap();
    line.replace("sudo target/release/", &format!("{}/", programs.display()))
}

/// The reader's shell: what was typed before still holds.
struct Shell {
    aliases: String,
}

impl Shell {
    fn line(&self, command: &str) -> Run {
        // What a reader sees comes from both.
        Run::new(["sh", "-c", &format!("exec 2>&1\n{}{command}", self.aliases)])
    }

    /// A command line for a program that wants to be told one.
    fn script(&self, command: &str) -> String {
        format!("{}{command}", self.aliases)
    }
}

#[test]
fn the_tour_goes_as_the_readme_says() {
    let Some(world) = World::open("the_tour_goes_as_the_readme_says") else { return };
    let steps = steps("Ten minutes");
    assert!(steps.len() > 12, "{steps:?}");
    let mut typed = steps.iter();
    assert_eq!(typed.next().unwrap().command, "cargo build --release");
    // The daemon as the page starts it: without any configuration.
    let start = as_root(typed.next().unwrap().command.strip_suffix(" &").unwrap());
    let mut daemon = world.spawn(["sh", "-c", &format!("exec {start}")]);
    world.wait_until(LIMIT, "the daemon's socket", || {
        world.path("/run/kleened.sock").exists() || !daemon.running()
    });
    let alias = as_root(&typed.next().unwrap().command);
    assert!(alias.starts_with("alias klee="), "{alias}");
    let shell = Shell { aliases: format!("{alias}\n") };
    let before = world.snapshot();
    for step in typed {
        let printed = match step.command.as_str() {
            line if line.contains(" exec -i -t ") => on_a_terminal(&world, &shell, line),
            line if line.contains(" logs -f ") => followed(&world, &shell, line),
            // The service may need a moment to come up.
            line if line.starts_with("curl ") => {
                world.wait_until(LIMIT, "an answer of the service", || {
                    world.run_with(&shell.line(line)).status == Some(0)
                });
                world.run_with(&shell.line(line)).ok().stdout().into_owned()
            }
            line => world.run_with(&shell.line(line)).ok().stdout().into_owned(),
        };
        agrees(step, &printed);
    }
    world.assert_back_to(&before, LIMIT);
    assert!(daemon.running(), "{}", daemon.stderr());
}

/// A shell on a terminal, left at once.
fn on_a_terminal(world: &World, shell: &Shell, line: &str) -> String {
    let inner = shell.script(line);
    let run = Run::new(["script", "-qec", &inner, "/dev/null"]).stdin("tty\nexit\n");
    let output = world.run_with(&run);
    output.ok().says("/dev/pts/");
    output.stdout().into_owned()
}

/// What follows a log shows what was written so far, and goes on.
fn followed(world: &World, shell: &Shell, line: &str) -> String {
    let mut follower = world.spawn(["sh", "-c", &shell.script(line)]);
    // The service tells about the visitor of before.
    world.wait_until(LIMIT, "the log of the visit", || follower.stdout().contains("response"));
    assert!(follower.running(), "it follows on");
    follower.stdout()
}

#[test]
fn masks_and_parts() {
    assert_eq!(masked("epair0b@if7      UP   10.4.6.2/24"), "epairN@ifN UP 10.4.6.2/24");
    assert_eq!(masked("executable 2fc5447ef1e8 and"), "executable ID and");
    let steps = steps("Ten minutes");
    assert!(steps.iter().any(|step| step.shown.iter().any(|line| line == "7")), "{steps:?}");
}
