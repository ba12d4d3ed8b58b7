//! What runs in a container: its exit codes, its end, and what comes with it.

use std::time::{Duration, Instant};

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::report::{Done, want};
use crate::freebsd::trial::{INSIDE, SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("exec-codes", "run and exec give the command's own exit code", codes),
    check("exec-stop", "stop ends a container that heeds TERM, and one that does not", stop),
    check("exec-orphans", "orphans have the supervisor as parent, and are reaped", orphans),
    check("exec-hooks", "exec.start and exec.stop run in the jail", hooks),
    check("exec-terminal", "-t gives a terminal, and without it there is none", terminal),
    check("exec-devices", "a container sees no pf and no bpf", devices),
];

/// How long a stop may take: 3 s of grace, and what comes after (MODEL).
const STOP: Duration = Duration::from_millis(4500);

fn codes(trial: &mut Trial) -> Done {
    let expected = [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ];
    trial.idle("t1a", &["-l", "host"])?;
    for (script, code) in expected {
        let answer = trial.klee(&["exec", "-q", "t1a", "/bin/sh", "-c", script])?;
        want(answer.status == code, format!("exec '{script}': {code}"), answer.status.to_string())?;
    }
    let missing = trial.klee(&["exec", "-q", "t1a", "/nonexistent"])?;
    want(missing.status == 127, "exec /nonexistent: 127", missing.status.to_string())?;
    let directory = trial.klee(&["exec", "-q", "t1a", "/etc"])?;
    want(directory.status == 126, "exec /etc: 126", directory.status.to_string())?;
    for (number, (script, code)) in expected.into_iter().take(3).enumerate() {
        let name = format!("t1r{number}");
        trial.made.0.push(name.clone());
        let run = ["run", "-q", "--name", &name, "host-usr", "/bin/sh", "-c", script];
        let answer = trial.klee(&run)?;
        want(answer.status == code, format!("run '{script}': {code}"), answer.status.to_string())?;
    }
    Ok(())
}

fn is_gone(trial: &Trial, id: &str) -> Done<bool> {
    Ok(trial.tool(Tool::Jls, &["-j", id])?.status != 0)
}

fn stop(trial: &mut Trial) -> Done {
    let heeds = trial.idle("t1a", &["-l", "host"])?;
    // What a shell ignores, its child does.
    let script = format!("trap '' TERM; exec {INSIDE} --probe wait");
    let deaf = trial.container("t1b", &["-l", "host"], &["/bin/sh", "-c", &script])?;
    trial.wait(SOON, "the command that ignores TERM runs", || {
        let listed = trial.tool(Tool::Ps, &["-o", "command", "-J", &deaf])?;
        Ok(listed.stdout.contains("probe wait"))
    })?;
    for (name, id) in [("t1a", heeds), ("t1b", deaf)] {
        want(!is_gone(trial, &id)?, format!("the jail of {name} is there"), "it is not")?;
        let begun = Instant::now();
        trial.klee_done(&["stop", name])?;
        let took = begun.elapsed();
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f32());
        want(took <= STOP, format!("stop {name} within {}", seconds(STOP)), seconds(took))?;
        trial.wait(SOON, &format!("the jail of {name} is gone"), || is_gone(trial, &id))?;
        let listed = trial.tool(Tool::Ps, &["-J", &id])?;
        want(listed.status != 0, "nothing of it runs", listed.stdout)?;
    }
    Ok(())
}

fn orphans(trial: &mut Trial) -> Done {
    let script = format!("({INSIDE} --probe wait orphan & ) ; exec {INSIDE} --probe wait");
    // `wait` takes no further word, so that the orphan ends, with an error, by itself.
    let id = trial.container("t1a", &["-l", "host"], &["/bin/sh", "-c", &script])?;
    trial.wait(SOON, "only the first command is left, and no zombie", || {
        let listed = trial.done(Tool::Ps, &["-o", "ppid,jid,stat,command", "-J", &id])?;
        let lines: Vec<&str> = listed.lines().skip(1).collect();
        Ok(lines.len() == 1 && !lines[0].contains("defunct"))
    })?;
    let lives = format!("({INSIDE} --probe wait & ) ; exit 0");
    trial.klee_done(&["exec", "-q", "t1a", "/bin/sh", "-c", &lives])?;
    let listed = trial.done(Tool::Ps, &["-o", "ppid,jid,stat,command", "-J", &id])?;
    let parents = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let parents: Vec<String> = parents.map(str::to_owned).collect();
    want(parents.len() == 2, "the first command and an orphan", listed)?;
    for parent in parents {
        let told = trial.done(Tool::Ps, &["-o", "command", "-p", &parent])?;
        let ours = told.contains("kleene-supervise");
        want(ours, format!("process {parent}, a parent, is kleene-supervise"), told)?;
    }
    Ok(())
}

fn hooks(trial: &mut Trial) -> Done {
    let dir = trial.paths.dir.join("hooks");
    let made = std::fs::create_dir(&dir).map_err(|err| err.to_string());
    want(made.is_ok(), format!("{} is made", dir.display()), made.err().unwrap_or_default())?;
    let mount = format!("{}:/hooks", dir.display());
    let start = "exec.start=/usr/bin/touch /hooks/started";
    let stop = "exec.stop=/usr/bin/touch /hooks/stopped";
    trial.idle("t1a", &["-l", "host", "-m", &mount, "-J", start, "-J", stop])?;
    let there = |name: &str| dir.join(name).exists();
    trial.wait(SOON, "exec.start has run", || Ok(there("started")))?;
    want(!there("stopped"), "exec.stop has not run yet", "it has")?;
    trial.klee_done(&["stop", "t1a"])?;
    trial.wait(SOON, "exec.stop has run", || Ok(there("stopped")))
}

fn terminal(trial: &mut Trial) -> Done {
    trial.idle("t1a", &["-l", "host"])?;
    for (option, code) in [("-qt", 0), ("-q", 1)] {
        let answer = trial.klee(&["exec", option, "t1a", "/bin/sh", "-c", "test -t 1"])?;
        let what = format!("exec {option} 'test -t 1': {code}");
        want(answer.status == code, what, answer.status.to_string())?;
    }
    let answer = trial.klee(&["exec", "-qt", "t1a", "/bin/sh", "-c", "exit 7"])?;
    want(answer.status == 7, "the exit code over a terminal: 7", answer.status.to_string())
}

fn devices(trial: &mut Trial) -> Done {
    let id = trial.idle("t1a", &["-l", "host"])?;
    let inside = trial.inside(&id, &["/bin/ls", "/dev"])?;
    let has = |name: &str| inside.split_whitespace().any(|device| device == name);
    want(has("null") && has("random"), "null and random are there", inside.clone())?;
    let hidden = ["pf", "bpf", "mem", "kmem"].iter().all(|name| !has(name));
    want(hidden, "pf, bpf, mem and kmem are not", inside)?;
    let answer = trial.tool(Tool::Jexec, &[&id, "/sbin/pfctl", "-s", "info"])?;
    want(answer.status != 0, "the container cannot ask pf", answer.stdout)
}
