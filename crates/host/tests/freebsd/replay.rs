//! Replays the recordings, section by section, each run on a host that was just
//! started.

use std::collections::BTreeMap;

use kleene_host::freebsd::simulated::Simulated;

use crate::masks::masked;
use crate::probes;
use crate::recording::{self, Command, Section};
use crate::sections::{self, Plan, SECTIONS};
use crate::shell::{Done, Shape, Shell};

const RECORDINGS: &str = include_str!("recordings-13.2.txt");

/// What came of a line.
enum Outcome {
    Same(usize),
    Differs(String),
    Left(Shape),
}

/// Whether the simulation answered as the real one did.
fn compare(command: &Command, done: &Done) -> Result<(), String> {
    let recorded = |list: &[String]| -> Vec<String> {
        let keep = |line: &&String| !done.probed || !probes::printed(line) && !line.is_empty();
        masked(list.iter().filter(keep).map(String::as_str))
    };
    let simulated = |text: &str| -> Vec<String> {
        masked(text.lines().filter(|line| !done.probed || !line.is_empty()))
    };
    let parts = [
        ("output", recorded(&command.out), simulated(&done.out)),
        ("error", recorded(&command.err), simulated(&done.err)),
    ];
    for (what, real, ours) in parts {
        if real != ours {
            return Err(difference(what, &real, &ours));
        }
    }
    match command.status {
        Some(status) if status != done.status && !done.status_of_probe => {
            Err(format!("status {} instead of {status}", done.status))
        }
        _ => Ok(()),
    }
}

fn difference(what: &str, real: &[String], ours: &[String]) -> String {
    let at = real.iter().zip(ours).take_while(|(real, ours)| real == ours).count();
    let show = |list: &[String]| list.get(at).map_or("(nothing)".to_owned(), Clone::clone);
    format!("{what}, line {}:\n      real {}\n      ours {}", at + 1, show(real), show(ours))
}

/// Runs a line. A file that was never written and is printed in the line itself has
/// the text that is printed: as many lines of it as make the rest agree.
fn replay(host: &Simulated, command: &Command) -> Outcome {
    let shell = Shell { host, here: &command.input };
    if command.typed.ends_with("do echo \"-- $f\"; cat $f; done") {
        adopt(host, command);
        return Outcome::Left(Shape::Loop);
    }
    let before = host.with(|state| state.clone());
    if let Some(file) = printed_file(host, &command.typed) {
        let mut first = None;
        for count in (0..=command.out.len()).rev() {
            host.with(|state| *state = before.clone());
            let text: String =
                command.out[..count].iter().map(|line| format!("{line}\n")).collect();
            host.write_file(&file, &text);
            match shell.run(&command.typed) {
                Err(shape) => return Outcome::Left(shape),
                Ok(done) => match compare(command, &done) {
                    Ok(()) => return Outcome::Same(done.tools),
                    Err(why) => first = first.or(Some(why)),
                },
            }
        }
        return Outcome::Differs(first.unwrap_or_default());
    }
    match shell.run(&command.typed) {
        Err(shape) => {
            host.with(|state| *state = before);
            shell.run_what_can(&command.typed);
            Outcome::Left(shape)
        }
        Ok(done) => match compare(command, &done) {
            Ok(()) => Outcome::Same(done.tools),
            Err(why) => Outcome::Differs(why),
        },
    }
}

/// `for f in …; do echo "-- $f"; cat $f; done` prints files that were never written.
fn adopt(host: &Simulated, command: &Command) {
    let mut file: Option<(&str, String)> = None;
    for line in &command.out {
        match line.strip_prefix("-- ") {
            Some(name) => {
                if let Some((name, text)) = file.replace((name, String::new())) {
                    host.write_file(name, &text);
                }
            }
            None => {
                if let Some((_, text)) = &mut file {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    if let Some((name, text)) = file {
        host.write_file(name, &text);
    }
}

/// `cat FILE; …`
fn printed_file(host: &Simulated, typed: &str) -> Option<String> {
    let at = typed.find("cat /tmp/")?;
    let name = typed[at + 4..].split([';', ' ']).next()?;
    let alone = typed[at + 4 + name.len()..].starts_with(';') || typed.ends_with(name);
    let unknown = at == 0 || host.read_file(name).is_none();
    (alone && unknown).then(|| name.to_owned())
}

fn plan(section: &Section) -> Option<Plan> {
    let found =
        SECTIONS.iter().find(|(run, name, _)| (*run, *name) == (section.run, &*section.name));
    found.map(|(_, _, plan)| *plan)
}

/// What was counted.
#[derive(Debug, Default)]
struct Count {
    lines: usize,
    tools: usize,
    left: BTreeMap<Shape, usize>,
    wrong: Vec<String>,
}

fn run(wanted: impl Fn(&Section, Plan) -> bool) -> Count {
    let mut count = Count::default();
    let mut host = Simulated::new();
    let mut run = 0;
    for section in recording::parse(RECORDINGS) {
        if section.run != run {
            run = section.run;
            host = fresh(run);
        }
        let plan = plan(&section).expect("a plan for every section");
        host.settle();
        for line in sections::before(run, &section.name) {
            if *line == sections::REBOOT {
                host = fresh(run);
                continue;
            }
            let done = Shell { host: &host, here: "" }.run(line);
            let done = done.unwrap_or_else(|shape| panic!("'{line}' {shape}"));
            assert_eq!(done.status, 0, "before {}: {line}: {}", section.name, done.err);
        }
        if matches!(plan, Plan::Not(_)) {
            continue;
        }
        let counts = wanted(&section, plan);
        for command in &section.commands {
            for act in sections::acts(command.line) {
                act.happen(&host);
            }
            let outcome = replay(&host, command);
            if !counts {
                continue;
            }
            match outcome {
                // Nothing of it was ours to compare.
                Outcome::Same(0) => {}
                Outcome::Same(tools) => {
                    count.lines += 1;
                    count.tools += tools;
                }
                Outcome::Left(shape) => *count.left.entry(shape).or_default() += 1,
                Outcome::Differs(why) => {
                    let (line, typed) = (command.line, &command.typed);
                    count.wrong.push(format!("{}, line {line}: {typed}\n    {why}", section.name));
                }
            }
        }
    }
    count
}

/// A host as the recorder started it.
fn fresh(run: u8) -> Simulated {
    let host = Simulated::new();
    if run >= 4 {
        host.load_module("fdescfs");
    }
    if run >= 3 {
        for line in [
            "mount -t nullfs -o ro / /jr",
            "mount -t devfs devfs /jr/dev",
            "mount -t tmpfs tmpfs /jr/tmp",
        ] {
            let done = Shell { host: &host, here: "" }.run(line).expect("a plain line");
            assert_eq!(done.status, 0, "{line}: {}", done.err);
        }
    }
    host
}

#[test]
fn every_section_has_a_plan() {
    let sections = recording::parse(RECORDINGS);
    assert!(sections.len() > 100, "{} sections", sections.len());
    for section in &sections {
        assert!(plan(section).is_some(), "run {}: {}", section.run, section.name);
    }
    for (run, name, _) in SECTIONS {
        let there = |section: &Section| (section.run, &*section.name) == (*run, *name);
        assert!(sections.iter().any(there), "run {run}: {name}");
    }
}

#[test]
fn the_simulation_answers_as_it_was_recorded() {
    let count = run(|_, _| true);
    println!("{} command lines with {} commands are the same", count.lines, count.tools);
    for (shape, number) in &count.left {
        println!("left out: {number} lines, because one {shape}");
    }
    for (run, name, plan) in SECTIONS {
        if let Plan::Not(why) = plan {
            println!("left out: run {run}, {name}: {why}");
        }
    }
    assert!(count.tools >= 900, "only {} commands are compared", count.tools);
    assert!(count.wrong.is_empty(), "{} differ:\n{}", count.wrong.len(), count.wrong.join("\n"));
}
