//! Every change refused in turn: the command says which, and the state of
//! before is back.

use std::collections::BTreeMap;

use kleene_engine::fake::{Kernel, Rig, Times};
use kleene_engine::store::{Key, Record};
use kleene_engine::{Command, Outcome};
use kleene_model::{ExecId, ExecutionState, Refusal, RunState};

use crate::refusals::rig;

type All = (Kernel, BTreeMap<Key, Record>);

fn all(rig: &Rig) -> All {
    (rig.host.snapshot().without_mirrors(), rig.store.snapshot())
}

fn create_dual() -> Command {
    let mut config = Rig::bridge_config("dual", "10.4.7.0/24");
    config.subnet6 = "fd00:7::/64".into();
    Command::NetworkCreate(config)
}

fn remove_web() -> Command {
    Command::NetworkRemove { network: "web".into() }
}

/// A host with `web`, and a container on it and on a second, dual network.
pub(crate) fn with_container() -> (Rig, ExecId) {
    let mut rig = rig();
    rig.ok(create_dual());
    rig.container("site");
    rig.connect("site", "web");
    let mut config = Rig::endpoint_config("site", "dual", "<auto>");
    config.ip_address6 = "<auto>".into();
    rig.ok(Command::NetworkConnect(config));
    let exec = rig.exec("site", &["serve"]);
    (rig, exec)
}

pub(crate) fn with_running() -> Rig {
    let (mut rig, exec) = with_container();
    rig.ok(Rig::start_command(exec));
    rig
}

/// The sentences of a command's changes when nothing fails.
fn sentences(make: &dyn Fn() -> Rig, command: &dyn Fn(&mut Rig) -> Command) -> Vec<String> {
    let mut rig = make();
    let command = command(&mut rig);
    rig.host.take_applied();
    rig.ok(command);
    rig.check();
    rig.host.take_applied()
}

pub(crate) fn each_refused(
    make: &dyn Fn() -> Rig,
    command: &dyn Fn(&mut Rig) -> Command,
    least: usize,
) {
    let sentences = sentences(make, command);
    assert!(sentences.len() >= least, "{sentences:#?}");
    for (at, sentence) in sentences.iter().enumerate() {
        let mut rig = make();
        let first = command(&mut rig);
        let before = all(&rig);
        rig.host.fail_at(at + 1, Times::Once);
        let refusal = rig.refused(first);
        let expected = format!("cannot {sentence}: Device or resource busy (EBUSY)");
        assert_eq!(refusal.to_string(), expected);
        assert!(!rig.host.clear_faults(), "the fault was never reached");
        rig.check();
        let after = all(&rig);
        assert_eq!(after.0, before.0, "{sentence}: something is left");
        same_but_executions(&after.1, &before.1, sentence);
        let again = command(&mut rig);
        rig.ok(again);
        rig.check();
    }
}

/// An execution that could not begin is over; all else is as before.
fn same_but_executions(after: &BTreeMap<Key, Record>, before: &BTreeMap<Key, Record>, why: &str) {
    let rest = |all: &BTreeMap<Key, Record>| {
        let mut all = all.clone();
        all.retain(|key, _| !matches!(key, Key::Execution(_)));
        all
    };
    assert_eq!(rest(after), rest(before), "{why}");
    assert_eq!(after.len(), before.len(), "{why}");
}

#[test]
fn network_create() {
    each_refused(&rig, &|_| create_dual(), 4);
}

#[test]
fn container_start_with_two_networks() {
    let start = |rig: &mut Rig| {
        let exec = rig.exec("site", &["serve"]);
        Rig::start_command(exec)
    };
    each_refused(&|| with_container().0, &start, 14);
}

#[test]
fn network_remove_with_a_running_endpoint() {
    each_refused(&with_running, &|_| remove_web(), 2);
}

#[test]
fn a_cable_that_was_put_back_is_not_swept_away() {
    let mut rig = with_running();
    let before = rig.host.snapshot();
    rig.host.fail_at(2, Times::Once);
    rig.refused(remove_web());
    assert!(rig.supervisors.swept.is_empty(), "{:?}", rig.supervisors.swept);
    assert_eq!(rig.host.snapshot(), before);
    rig.check();
}

#[test]
fn what_cannot_be_undone_is_said_and_the_next_start_heals_it() {
    for n in 1..=7 {
        let mut rig = rig();
        let stored = rig.store.snapshot();
        rig.host.fail_at(n, Times::ForEver);
        let text = rig.refused(create_dual()).to_string();
        let undone = "; and the state of before could not be restored: cannot ";
        assert_eq!(text.contains(undone), n > 1, "{text}");
        rig.host.clear_faults();
        assert_eq!(rig.store.snapshot(), stored);
        rig.restart(true);
        rig.settle();
        rig.check();
        rig.ok(create_dual());
        rig.check();
    }
}

#[test]
fn a_container_that_ends_on_a_kernel_that_refuses_has_ended() {
    let mut rig = with_running();
    let container = rig.state().container_named("site").expect("site").id;
    rig.host.fail_at(1, Times::ForEver);
    rig.ok(Command::ContainerStop { container: "site".into(), grace_ms: 0 });
    rig.host.clear_faults();
    assert!(!rig.state().container(container).expect("site").run.has_network());
    rig.restart(true);
    rig.settle();
    rig.check();
    rig.run("site", &["serve"]);
    rig.check();
}

#[test]
fn a_kernel_that_does_not_answer() {
    let mut rig = rig();
    let before = all(&rig);
    rig.host.set_deaf(true);
    let words = "cannot list the links: Device or resource busy (EBUSY)";
    assert_eq!(rig.refused(create_dual()).to_string(), words);
    assert_eq!(all(&rig), before);
    rig.host.clear_faults();
    rig.ok(create_dual());
}

#[test]
fn every_write_of_every_command_refused() {
    let commands: [fn(&mut Rig) -> Command; 8] = [
        |_| create_dual(),
        |_| remove_web(),
        |_| Command::ContainerCreate(Rig::container_config("new", kleene_model::Driver::Vnet)),
        |_| Command::ContainerRemove { container: "other".into() },
        |_| Command::NetworkConnect(Rig::endpoint_config("other", "web", "<auto>")),
        |_| Command::ContainerPrune,
        |_| {
            let container_id = "other".into();
            Command::ExecCreate(kleene_model::api::ExecConfig {
                container_id,
                ..Default::default()
            })
        },
        |_| Command::NetworkDisconnect { network: "web".into(), container: "idle".into() },
    ];
    let make = || {
        let mut rig = rig();
        for name in ["site", "other", "idle"] {
            rig.container(name);
        }
        rig.connect("site", "web");
        rig.connect("idle", "web");
        rig.run("site", &["serve"]);
        rig
    };
    for command in commands {
        let mut rig = make();
        let before = all(&rig);
        rig.store.fail_at(1, Times::Once);
        let bad = command(&mut rig);
        let refusal = rig.refused(bad);
        assert!(matches!(refusal, Refusal::Host { .. }), "{refusal:?}");
        assert!(refusal.to_string().starts_with("cannot write "), "{refusal}");
        assert_eq!(all(&rig), before, "{refusal}");
        rig.check();
        let good = command(&mut rig);
        rig.ok(good);
        rig.check();
    }
}

#[test]
fn every_write_of_a_start_refused() {
    for n in 1.. {
        let (mut rig, exec) = with_container();
        let before = all(&rig);
        rig.store.fail_at(n, Times::Once);
        let answer = rig.ask(Rig::start_command(exec));
        if rig.store.clear_faults() {
            assert!(n > 4, "a start writes at least four times");
            assert_eq!(answer, Ok(Outcome::Id(exec.to_string())));
            break;
        }
        if let Err(refusal) = answer {
            assert!(refusal.to_string().starts_with("cannot write "), "{refusal}");
            assert_eq!(rig.host.snapshot(), before.0, "write {n}");
            same_but_executions(&rig.store.snapshot(), &before.1, "a refused start");
        }
        // What the store missed it gets with the next write of the same object.
        let again = if n == 1 { exec } else { rig.exec("site", &["serve"]) };
        rig.ask(Rig::start_command(again)).expect("the store takes it again");
        rig.check();
    }
}

#[test]
fn a_store_that_cannot_write_keeps_nobody_from_stopping() {
    let (mut rig, _) = with_container();
    rig.run("site", &["serve"]);
    rig.store.fail_at(1, Times::ForEver);
    let stop = Command::ContainerStop { container: "site".into(), grace_ms: 0 };
    rig.ask(stop).expect("it stops");
    let run = rig.state().container_named("site").map(|c| c.run);
    assert_eq!(run, Some(RunState::Stopped));
}

#[test]
fn an_exit_that_was_not_stored_is_heard_of_again() {
    for stored in [true, false] {
        let (mut rig, _) = with_container();
        let first = rig.run("site", &["serve"]);
        let second = rig.run("site", &["serve"]);
        let container = rig.state().container_named("site").expect("site").id;
        if !stored {
            rig.store.fail_at(1, Times::Once);
        }
        rig.supervisors.exit(container, second, 7);
        rig.settle();
        rig.kill_daemon();
        rig.restart(true);
        rig.settle();
        let state = rig.state();
        let of = |id| state.execution(id).expect("kept").state;
        assert_eq!(of(second), ExecutionState::Exited { code: 7, last: false }, "{stored}");
        assert_eq!(of(first), ExecutionState::Running);
    }
}
