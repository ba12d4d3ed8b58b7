//! `freebsd-accept`: Kleene held to its promises on a real FreeBSD, by hand.
//!
//! Every other test of the FreeBSD half runs on a simulated host. This is one program
//! that a person starts as root on a real system: it makes two outsides, starts a
//! daemon of its own, checks row by row what the model and the policy promise, asking
//! the system and real packets, and removes all of it again. `--record` writes down
//! each command with its answer, in the form of the recordings from which the FreeBSD
//! half was written.
//!
//! All of it is built on every system, so that its reading, its rows and its probe are
//! tested on every system.

pub mod cables;
pub mod checks;
pub mod flows;
pub mod layout;
pub mod options;
pub mod place;
pub mod probe;
pub mod program;
pub mod recorder;
pub mod recording;
pub mod report;
pub mod seen;
pub mod stage;
pub mod state;
pub mod trial;

use std::fs::File;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use checks::Check;
use kleene_host::freebsd::run::System;
use options::{Options, Run};
use place::Place;
use recorder::Recorder;
use report::{Counts, Ended, Outcome};
use trial::{Paths, Trial};

/// The longest path of a directory of a run, in bytes: a socket's path has at most 103
/// (FreeBSD 13.2, unix(4)).
const LONGEST_DIR: usize = 80;

/// The program, by the words behind its name.
#[must_use]
pub fn main(words: &[String]) -> ExitCode {
    match Options::read(words) {
        Err(why) => {
            complain(&format!("{why}\n\n{}", options::USE));
            ExitCode::from(2)
        }
        Ok(Options::Help) => say(options::USE.trim_end()),
        Ok(Options::List) => {
            let lines = checks::all().map(|check| format!("{:<22} {}", check.name, check.what));
            say(&lines.collect::<Vec<_>>().join("\n"))
        }
        Ok(Options::Probe(words)) => {
            probe::run(&words.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Ok(Options::Run(_)) if !cfg!(target_os = "freebsd") => {
            complain("runs on FreeBSD only: it makes jails and asks pf");
            ExitCode::from(2)
        }
        Ok(Options::Run(run)) => match accept(&run) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                complain(&why);
                ExitCode::from(2)
            }
        },
    }
}

fn say(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    // With standard error closed there is nobody to tell.
    drop(writeln!(io::stderr(), "freebsd-accept: {text}"));
}

/// Whoever has closed the output still has everything removed.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

/// A whole run: whether nothing fails, and nothing is left.
fn accept(run: &Run) -> Result<bool, String> {
    let begun = Instant::now();
    if !checks::all().any(|check| run.wants(check.name)) {
        return Err(format!("no check is called like {}; see --list", run.only.join(" or ")));
    }
    let paths = find(run)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    watch(&interrupted).map_err(|err| format!("cannot take signals: {err}"))?;
    let recorder = Arc::new(record(run)?);
    let mut trial = Trial::new(paths, Arc::new(System), recorder, interrupted);
    let mut place = Place::default();
    begin(&trial, "the place of the run");
    let prepared = catch_unwind(AssertUnwindSafe(|| place.prepare(&mut trial, run.replace_pf)));
    let prepared = prepared.unwrap_or_else(|_| Err("panicked while it made its place".to_owned()));
    let (mut outcomes, mut ends) = (Vec::new(), Vec::new());
    if prepared.is_ok() {
        for check in checks::all().filter(|check| run.wants(check.name)) {
            let outcome = carry_out(check, &mut trial);
            print(&outcome.lines());
            let interrupted = outcome.ended == Err(Ended::Interrupted);
            outcomes.push(outcome);
            if interrupted {
                ends.push("interrupted".to_owned());
                break;
            }
            if let Err(why) = again(&mut trial) {
                print(&format!("the checks end here: {why}\n"));
                ends.push(why);
                break;
            }
        }
    }
    keep_log(run, &trial);
    begin(&trial, "the end of the run");
    // Nothing interrupts what puts the system back.
    trial.interrupted = Arc::default();
    let left = catch_unwind(AssertUnwindSafe(|| place.leave(&mut trial)));
    let left = left.unwrap_or_else(|_| vec!["panicked while it put things back".to_owned()]);
    for line in &left {
        print(&format!("fails  {:<22} {line}\n", "nothing-left"));
    }
    prepared?;
    let counts = Counts::of(&outcomes);
    print(&format!("\n{}\n", counts.line(begun.elapsed())));
    Ok(counts.fail == 0 && left.is_empty() && ends.is_empty())
}

/// Starts the daemon again where it has ended by itself, which is told: else all that
/// follow would fail for it.
fn again(trial: &mut Trial) -> Result<(), String> {
    if trial.daemon.as_mut().is_some_and(program::Background::runs) {
        return Ok(());
    }
    print("kleened has ended by itself, and is started again\n");
    let started = place::start_daemon(trial);
    started.map_err(|ended| format!("kleened does not start again: {ended:?}"))
}

/// The daemon's log goes with the run's directory: beside what is recorded it stays.
fn keep_log(run: &Run, trial: &Trial) {
    let Some(record) = &run.record else { return };
    let mut kept = record.clone().into_os_string();
    kept.push(".kleened.log");
    let log = trial.paths.dir.join("kleened.log");
    if log.exists()
        && let Err(err) = std::fs::copy(&log, &kept)
    {
        complain(&format!("cannot keep the log as {}: {err}", kept.display()));
    }
}

fn begin(trial: &Trial, section: &str) {
    // The checks go on where the disk is full.
    drop(trial.recorder.section(section));
}

fn carry_out(check: &Check, trial: &mut Trial) -> Outcome {
    let begun = Instant::now();
    begin(trial, &format!("{}: {}", check.name, check.what));
    drop(trial.take_last());
    let ended = catch_unwind(AssertUnwindSafe(|| (check.run)(trial)));
    let mut ended = ended.unwrap_or_else(|_| report::fails("the check itself works", "a panic"));
    let again = trial.take_last();
    if trial.interrupted.load(Ordering::Relaxed) {
        // What it made is removed with everything else.
        ended = Err(Ended::Interrupted);
    } else {
        let left = trial.clear_check();
        if ended.is_ok() && !left.is_empty() {
            ended = report::fails("what the check made is removed", left.join("\n"));
        }
    }
    Outcome { name: check.name, what: check.what, ended, again, took: begun.elapsed() }
}

/// Where everything is; refuses where something is missing.
fn find(run: &Run) -> Result<Paths, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("must run as root: it makes jails and changes pf".to_owned());
    }
    let own = std::env::current_exe().map_err(|err| format!("cannot find my program: {err}"))?;
    let (kleened, klee) = programs(&own)?;
    let default = || format!("/tmp/kleene-accept-{}", std::process::id()).into();
    let dir: PathBuf = run.dir.clone().unwrap_or_else(default);
    if dir.exists() {
        return Err(format!("{} exists: it is removed in the end, so name another", dir.display()));
    }
    if dir.as_os_str().len() > LONGEST_DIR {
        return Err(format!("{}: longer than {LONGEST_DIR} bytes", dir.display()));
    }
    Ok(Paths { dir, kleened, klee, own })
}

/// The daemon and the client that belong to this program: in its own directory, or
/// where the archive puts them.
fn programs(own: &Path) -> Result<(PathBuf, PathBuf), String> {
    let here = own.parent().unwrap_or_else(|| Path::new("/"));
    // It is `libexec/kleene/freebsd-accept` there.
    let installed = here.parent().and_then(Path::parent).unwrap_or(here);
    let (sbin, bin) = (installed.join("sbin"), installed.join("bin"));
    let lacks = |dirs: [&Path; 2]| {
        let programs = [(dirs[0], "kleened"), (dirs[0], "kleene-supervise"), (dirs[1], "klee")];
        programs.map(|(dir, name)| dir.join(name)).into_iter().find(|path| !path.is_file())
    };
    for dirs in [[here, here], [&sbin, &bin]] {
        if lacks(dirs).is_none() {
            return Ok((dirs[0].join("kleened"), dirs[1].join("klee")));
        }
    }
    let missing = [[here, here], [&sbin, &bin]].map(lacks).into_iter().flatten();
    let missing: Vec<String> = missing.map(|path| path.display().to_string()).collect();
    let missing = missing.join(", nor ");
    Err(format!("kleened, kleene-supervise and klee are not all here: there is no {missing}"))
}

/// The recorder, with its first lines.
fn record(run: &Run) -> Result<Recorder, String> {
    let Some(path) = &run.record else { return Ok(Recorder::default()) };
    let cannot = |err: io::Error| format!("cannot write {}: {err}", path.display());
    let recorder = Recorder::to(File::create(path).map_err(cannot)?);
    let ask = |words: &[&str]| {
        let program = program::Program::new(words[0], &words[1..]);
        let answer = program.run(trial::SOON)?;
        Ok::<String, String>(answer.stdout.trim().to_owned())
    };
    let title = format!(
        "{}: what the base system's tools really answer",
        ask(&["/usr/bin/uname", "-srm"])?
    );
    let lines = [
        title.clone(),
        "=".repeat(title.len()),
        format!("Recorded by freebsd-accept at {}.", ask(&["/bin/date", "-u"])?),
        ask(&["/usr/bin/uname", "-v"])?,
    ];
    recorder.head(&lines).map_err(cannot)?;
    Ok(recorder)
}

/// Takes the signals that would end the program, from now on.
fn watch(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    let interrupted = interrupted.clone();
    let wait = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    _ = hangup.recv() => {}
                }
                interrupted.store(true, Ordering::Relaxed);
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            std::fs::write(path, "").expect("a file");
        }
        let top = dir.path().to_owned();
        (dir, top)
    }

    #[test]
    fn programs_are_beside_it_or_where_the_archive_puts_them() {
        let (_dir, top) = with(&["a/kleened", "a/klee", "a/kleene-supervise"]);
        let found = programs(&top.join("a/freebsd-accept"));
        assert_eq!(found, Ok((top.join("a/kleened"), top.join("a/klee"))));

        let (_dir, top) = with(&["l/sbin/kleened", "l/sbin/kleene-supervise", "l/bin/klee"]);
        let found = programs(&top.join("l/libexec/kleene/freebsd-accept"));
        assert_eq!(found, Ok((top.join("l/sbin/kleened"), top.join("l/bin/klee"))));

        std::fs::remove_file(top.join("l/sbin/kleene-supervise")).expect("removed");
        let why = programs(&top.join("l/libexec/kleene/freebsd-accept")).expect_err("one lacks");
        let missing = top.join("l/sbin/kleene-supervise");
        assert!(why.contains(&format!("{}", missing.display())), "{why}");
    }
}
