//! Every order in which commands, jobs and events can meet.

use kleene_engine::fake::Rig;
use kleene_engine::{Command, Event};
use kleene_model::{ExecutionState, RunState};

use crate::faults::{with_container, with_running};

type Act = fn(&mut Rig);

/// Plays `acts` in order, with every possible interleaving of them and of the
/// steps of jobs and events; how many there were.
fn every_order(make: &dyn Fn() -> Rig, acts: &[Act], after: &dyn Fn(&mut Rig)) -> usize {
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut runs = 0;
    loop {
        let mut rig = make();
        let mut acts = acts.iter();
        for depth in 0.. {
            let options = rig.supervisors.available().len() + usize::from(acts.len() > 0);
            if options == 0 {
                break;
            }
            if depth == choices.len() {
                choices.push((0, options));
            }
            let (choice, known) = choices[depth];
            assert_eq!(options, known, "a run does not repeat itself");
            if choice < rig.supervisors.available().len() {
                rig.step(choice);
            } else if let Some(act) = acts.next() {
                act(&mut rig);
            }
        }
        rig.check();
        after(&mut rig);
        rig.check();
        runs += 1;
        // The next order: the last choice that has an alternative.
        while let Some((choice, options)) = choices.pop() {
            if choice + 1 < options {
                choices.push((choice + 1, options));
                break;
            }
        }
        if choices.is_empty() {
            return runs;
        }
    }
}

fn start(rig: &mut Rig, argv: &[&str]) {
    let exec = rig.exec_now("site", argv);
    rig.send(Rig::start_command(exec));
}

fn serve(rig: &mut Rig) {
    start(rig, &["serve"]);
}

fn exit7(rig: &mut Rig) {
    start(rig, &["exit", "7"]);
}

fn stop(rig: &mut Rig) {
    rig.send(Command::ContainerStop { container: "site".into(), grace_ms: 3000 });
}

fn remove_web(rig: &mut Rig) {
    rig.send(Command::NetworkRemove { network: "web".into() });
}

fn make() -> Rig {
    with_container().0
}

/// Whatever happened, it can be stopped and run anew, and then removed.
fn usable(rig: &mut Rig) {
    if rig.state().container_named("site").expect("site").run != RunState::Stopped {
        rig.ok(Command::ContainerStop { container: "site".into(), grace_ms: 0 });
    }
    rig.check();
    rig.run("site", &["serve"]);
    rig.check();
    rig.ok(Command::ContainerStop { container: "site".into(), grace_ms: 0 });
    rig.ok(Command::ContainerRemove { container: "site".into() });
    rig.ok(Command::NetworkPrune);
    assert_eq!(rig.host.snapshot(), rig.host.strangers());
}

#[test]
fn a_stop_at_any_moment_of_a_start() {
    assert!(every_order(&make, &[serve, stop], &usable) > 10);
}

#[test]
fn two_stops() {
    assert!(every_order(&make, &[serve, stop, stop], &usable) > 50);
}

#[test]
fn a_second_start_during_a_stop() {
    assert!(every_order(&with_running, &[stop, serve], &usable) > 10);
}

#[test]
fn a_second_execution_while_the_first_ends() {
    assert!(every_order(&make, &[exit7, serve], &usable) > 20);
}

#[test]
fn a_network_that_goes_during_a_start() {
    assert!(every_order(&make, &[serve, remove_web], &usable) > 10);
}

#[test]
fn an_exit_before_anyone_heard_of_the_start() {
    let early: Act = |rig| start(rig, &["early", "7"]);
    every_order(&make, &[early, stop], &usable);
    let mut rig = make();
    let exec = rig.run("site", &["early", "7"]);
    let ended = rig.state().execution(exec).map(|e| e.state);
    assert_eq!(ended, Some(ExecutionState::Exited { code: 7, last: true }));
    rig.check();
}

#[test]
fn a_container_that_dies_with_a_start_on_its_way() {
    let vanish: Act = |rig| start(rig, &["vanish"]);
    every_order(&make, &[vanish, stop], &usable);
    let mut rig = make();
    let exec = rig.exec("site", &["vanish"]);
    let refusal = rig.refused(Rig::start_command(exec));
    assert_eq!(refusal.to_string(), "container not running");
    let killed = rig.state().execution(exec).map(|e| e.state);
    assert_eq!(killed, Some(ExecutionState::Exited { code: 137, last: true }));
    rig.check();
    usable(&mut rig);
}

#[test]
fn a_first_command_that_cannot_start_ends_its_container() {
    let missing: Act = |rig| start(rig, &["missing"]);
    every_order(&make, &[missing, stop], &usable);
    every_order(&make, &[missing, serve], &usable);
    // Also when executions of earlier lives are remembered.
    let mut rig = make();
    rig.run("site", &["exit", "0"]);
    let exec = rig.exec("site", &["missing"]);
    rig.refused(Rig::start_command(exec));
    let run = rig.state().container_named("site").expect("site").run;
    assert_eq!(run, RunState::Stopped, "nothing runs in it");
    rig.check();
    usable(&mut rig);
}

#[test]
fn a_later_command_that_cannot_start_ends_nothing() {
    let mut rig = make();
    let container = rig.state().container_named("site").expect("site").id;
    rig.run("site", &["leave", "127"]);
    let exec = rig.exec("site", &["missing"]);
    rig.refused(Rig::start_command(exec));
    let run = rig.state().container(container).expect("site").run;
    assert_eq!(run, RunState::Running, "a process was left behind in it");
    rig.check();
    rig.supervisors.leftovers_end(container);
    rig.settle();
    rig.check();
    usable(&mut rig);
}

#[test]
fn preparing_or_launching_fails() {
    for launch in [false, true] {
        let mut rig = make();
        let before = rig.host.snapshot();
        if launch {
            rig.supervisors.fail_next_launch("no holder");
        } else {
            rig.supervisors.fail_next_prepare("no holder");
        }
        let exec = rig.exec("site", &["serve"]);
        let refusal = rig.refused(Rig::start_command(exec));
        let expected =
            if launch { "container not running" } else { "could not start container: no holder" };
        assert!(refusal.to_string() == expected || refusal.to_string().ends_with("no holder"));
        assert_eq!(rig.host.snapshot(), before);
        rig.check();
        usable(&mut rig);
    }
}

#[test]
fn what_comes_late_or_from_nowhere_changes_nothing() {
    let mut rig = make();
    let container = rig.state().container_named("site").expect("site").id;
    let exec = rig.exec("site", &["serve"]);
    let nobody = kleene_model::ContainerId::from_bytes([0xff; 6]).expect("letters");
    let nothing = kleene_model::ExecId::from_bytes([0xff; 6]).expect("letters");
    for (container, exec) in [(container, exec), (nobody, nothing)] {
        let before = rig.store.snapshot();
        for event in [
            Event::Prepared { container },
            Event::Launched { container, pid: 7 },
            Event::Ended { container },
            Event::StartFailed { container, why: "late".into() },
            Event::Adopted { container, pid: Some(7), running: Vec::new() },
            Event::ExecStarted { exec },
            Event::Swept { links: vec![crate::lives::link("kleene0")] },
        ] {
            rig.event(event.clone());
            rig.settle();
            rig.check();
            assert_eq!(rig.store.snapshot(), before, "{event:?}");
        }
    }
    rig.ok(Rig::start_command(exec));
    rig.event(Event::Launched { container, pid: 7 });
    rig.event(Event::Prepared { container });
    rig.settle();
    assert_ne!(rig.state().container(container).expect("site").pid, Some(7));
    usable(&mut rig);
}

#[test]
fn a_prepared_container_that_nobody_wants_any_more_is_killed() {
    let mut rig = make();
    let container = rig.state().container_named("site").expect("site").id;
    serve(&mut rig);
    // A stray end from an earlier life.
    rig.event(Event::Ended { container });
    rig.settle();
    rig.check();
    usable(&mut rig);
}

#[test]
fn the_executions_of_a_container_are_remembered_up_to_a_limit() {
    let mut rig = make();
    let container = rig.state().container_named("site").expect("site").id;
    let execs: Vec<_> = (0..80).map(|_| rig.run("site", &["exit", "3"])).collect();
    let state = rig.state();
    let ended = |e: &kleene_model::Execution| matches!(e.state, ExecutionState::Exited { .. });
    assert_eq!(state.executions_of(container).filter(|e| ended(e)).count(), 64);
    assert!(state.execution(execs[79]).is_some() && state.execution(execs[0]).is_none());
    rig.check();
}

#[test]
fn stopping_an_execution_or_the_whole_container() {
    let mut rig = make();
    let first = rig.run("site", &["serve"]);
    let second = rig.run("site", &["serve"]);
    let exec_stop = |exec: kleene_model::ExecId, force, container| Command::ExecStop {
        exec: exec.to_string(),
        force,
        container,
    };
    rig.ok(exec_stop(second, true, false));
    let state = |rig: &Rig, exec| rig.state().execution(exec).map(|e| e.state);
    assert_eq!(state(&rig, second), Some(ExecutionState::Exited { code: 137, last: false }));
    assert_eq!(state(&rig, first), Some(ExecutionState::Running));
    let third = rig.run("site", &["serve"]);
    rig.ok(Command::ClientGone { exec: third });
    assert_eq!(state(&rig, third), Some(ExecutionState::Exited { code: 143, last: false }));
    rig.ok(exec_stop(first, false, true));
    assert_eq!(state(&rig, first), Some(ExecutionState::Exited { code: 143, last: true }));
    rig.check();
    usable(&mut rig);
}
