//! The daemon dies at every step; the next one finds its way.

use kleene_engine::Command;
use kleene_engine::fake::{Kind, Rig, Work};
use kleene_engine::piece::Of;
use kleene_model::{ExecutionState, RunState};

use crate::faults::{with_container, with_running};
use crate::lives::link;
use crate::refusals::rig;

/// Kills the daemon after each change and around each write of what `act`
/// does, and starts the next over what is there.
pub(crate) fn at_every_step(
    make: &dyn Fn() -> Rig,
    act: &dyn Fn(&mut Rig),
    after: &dyn Fn(&mut Rig),
) {
    let mut points = 0;
    for in_store in [false, true] {
        for n in 0.. {
            let mut rig = make();
            let strangers = rig.host.strangers();
            if in_store {
                rig.store.crash_after(n)
            } else {
                rig.host.crash_after(n)
            }
            let died = rig.crash_during(act);
            rig.host.clear_faults();
            rig.store.clear_faults();
            rig.restart(true);
            assert_eq!(rig.start_failure, None, "store {in_store}, step {n}");
            rig.settle();
            rig.check();
            assert_eq!(rig.host.strangers(), strangers);
            after(&mut rig);
            rig.check();
            points += 1;
            if !died {
                break;
            }
        }
    }
    assert!(points > 4, "only {points} points to die at");
}

/// Kills the daemon between any two steps of the queues.
fn between_all_steps(make: &dyn Fn() -> Rig, begin: &dyn Fn(&mut Rig), after: &dyn Fn(&mut Rig)) {
    for steps in 0.. {
        let mut rig = make();
        begin(&mut rig);
        let more = (0..steps).all(|_| rig.step(0));
        rig.restart(true);
        assert_eq!(rig.start_failure, None, "after {steps} steps");
        rig.settle();
        rig.check();
        assert_eq!(rig.supervisors.idle(), [], "after {steps} steps");
        after(&mut rig);
        rig.check();
        if !more {
            return;
        }
    }
}

fn ask(rig: &mut Rig, command: Command) {
    // A crash on the way leaves no answer, and a second try may be refused.
    drop(rig.ask(command));
}

fn dual() -> Command {
    let mut config = Rig::bridge_config("more", "10.4.9.0/24");
    config.subnet6 = "fd00:9::/64".into();
    Command::NetworkCreate(config)
}

#[test]
fn during_network_create() {
    let act = |rig: &mut Rig| ask(rig, dual());
    at_every_step(&rig, &act, &|rig| {
        ask(rig, dual());
        assert!(rig.state().network_named("more").is_some());
    });
}

#[test]
fn during_network_remove_with_a_running_endpoint() {
    let remove = || Command::NetworkRemove { network: "web".into() };
    let act = |rig: &mut Rig| ask(rig, remove());
    at_every_step(&with_running, &act, &|rig| {
        ask(rig, remove());
        assert!(rig.state().network_named("web").is_none());
        assert!(!rig.host.snapshot().links.contains_key(&link("kleene0")));
    });
}

/// Stops the container if it runs, and starts it anew.
fn start_anew(rig: &mut Rig) {
    ask(rig, Command::ContainerStop { container: "site".into(), grace_ms: 0 });
    rig.check();
    let stopped = rig.state().container_named("site").expect("site").run;
    assert_eq!(stopped, RunState::Stopped);
    rig.run("site", &["serve"]);
    assert_eq!(rig.state().container_named("site").expect("site").run, RunState::Running);
}

fn start(rig: &mut Rig) {
    let exec = rig.exec("site", &["serve"]);
    rig.send(Rig::start_command(exec));
}

#[test]
fn during_a_container_start() {
    let act = |rig: &mut Rig| {
        start(rig);
        rig.settle();
    };
    at_every_step(&|| with_container().0, &act, &start_anew);
    between_all_steps(&|| with_container().0, &start, &start_anew);
}

#[test]
fn during_a_whole_life() {
    let run = |rig: &mut Rig| {
        let exec = rig.exec("site", &["exit", "7"]);
        rig.send(Rig::start_command(exec));
    };
    let act = |rig: &mut Rig| {
        run(rig);
        rig.settle();
    };
    at_every_step(&|| with_container().0, &act, &start_anew);
    between_all_steps(&|| with_container().0, &run, &start_anew);
}

#[test]
fn during_a_stop() {
    let stop = |rig: &mut Rig| {
        rig.send(Command::ContainerStop { container: "site".into(), grace_ms: 3000 });
    };
    let act = |rig: &mut Rig| {
        stop(rig);
        rig.settle();
    };
    at_every_step(&with_running, &act, &start_anew);
    between_all_steps(&with_running, &stop, &start_anew);
}

#[test]
fn containers_run_on_while_the_daemon_is_away() {
    let mut rig = with_running();
    let state = rig.state();
    let container = state.container_named("site").expect("site").id;
    let [exec] = rig.supervisors.running(container)[..] else { panic!("one runs") };
    let before = rig.host.snapshot();
    rig.host.take_applied();
    rig.restart(true);
    rig.settle();
    assert_eq!(rig.host.snapshot(), before, "nothing was touched");
    assert_eq!(rig.host.take_applied().len(), 0, "nothing was touched");
    let shown = rig.state();
    assert_eq!(shown.container(container), state.container(container));
    assert_eq!(shown.execution(exec), state.execution(exec));
    rig.check();
}

#[test]
fn an_exit_while_the_daemon_is_away_is_known_afterwards() {
    for code in [0, 7, 143] {
        let mut rig = with_running();
        let container = rig.state().container_named("site").expect("site").id;
        let [exec] = rig.supervisors.running(container)[..] else { panic!("one runs") };
        rig.kill_daemon();
        rig.supervisors.exit(container, exec, code);
        rig.restart(true);
        rig.settle();
        let exited = ExecutionState::Exited { code, last: true };
        assert_eq!(rig.state().execution(exec).map(|e| e.state), Some(exited));
        rig.check();
        rig.run("site", &["serve"]);
        rig.check();
    }
}

#[test]
fn a_cable_that_was_deleted_while_the_daemon_was_away_comes_back() {
    let mut rig = with_running();
    let before = rig.host.snapshot();
    rig.kill_daemon();
    rig.host.kernel(|kernel| kernel.delete(&link("epair0a")).expect("it was there"));
    rig.host.kernel(|kernel| kernel.delete(&link("kleene1")).expect("it was there"));
    rig.restart(true);
    rig.settle();
    rig.check();
    let after = rig.host.snapshot();
    assert_eq!(after.links, before.links);
    assert_eq!(after, before);
}

#[test]
fn after_a_reboot_networks_stand_and_containers_are_stopped() {
    let mut rig = with_running();
    let networks = {
        let mut kernel = rig.host.snapshot();
        kernel.namespaces.clear();
        kernel.links.retain(|_, link| !matches!(link.kind, Kind::Veth { .. }));
        kernel.settings.clear();
        kernel.standing.policy.retain(|piece| match piece.of() {
            Of::Address(_) | Of::Cable(_) | Of::Container(_) => false,
            Of::Network(_) | Of::Subnet(_) | Of::Host => true,
        });
        kernel
    };
    rig.reboot(&[link("eth0"), link("br-lan")]);
    rig.host.kernel(|kernel| {
        kernel.add_stranger(&link("epair0a"), Kind::Other, None).expect("free after a reboot");
    });
    rig.restart(false);
    rig.settle();
    rig.check();
    let state = rig.state();
    let site = state.container_named("site").expect("site");
    assert_eq!((site.run, site.pid), (RunState::Stopped, None));
    for execution in state.executions_of(site.id) {
        let killed = ExecutionState::Exited { code: 137, last: true };
        assert_eq!(execution.state, killed);
    }
    let mut kernel = rig.host.snapshot();
    kernel.links.remove(&link("epair0a"));
    assert_eq!(kernel, networks);
    rig.run("site", &["serve"]);
    assert!(rig.host.snapshot().links.contains_key(&link("epair2a")), "epair0a is a stranger's");
    rig.check();
}

#[test]
fn what_is_asked_for_before_the_adoption_is_not_taken_for_lost() {
    for argv in [&["serve"][..], &["exit", "5"], &["missing"]] {
        let mut rig = with_running();
        rig.restart(true);
        let exec = rig.exec_now("site", argv);
        let token = rig.send(Rig::start_command(exec));
        rig.settle();
        let started = rig.answer(token).is_ok();
        assert_eq!(started, argv != ["missing"]);
        let state = rig.state().execution(exec).map(|e| e.state);
        let expected = match argv {
            ["serve"] => ExecutionState::Running,
            ["exit", _] => ExecutionState::Exited { code: 5, last: false },
            _ => ExecutionState::Exited { code: 127, last: false },
        };
        assert_eq!(state, Some(expected));
        rig.check();
    }
}

#[test]
fn the_name_of_a_cable_is_not_free_before_its_sweep_is_done() {
    let mut rig = with_running();
    rig.ok(Command::NetworkRemove { network: "dual".into() });
    let container = rig.state().container_named("site").expect("site").id;
    let [exec] = rig.supervisors.running(container)[..] else { panic!("one runs") };
    rig.supervisors.exit(container, exec, 0);
    // The two events; the sweep is asked for then, and somebody looks at the
    // kernel before it is done.
    rig.step(0);
    rig.step(0);
    assert_eq!(rig.supervisors.jobs().count(), 1, "the sweep");
    rig.send(dual());
    let exec = rig.exec_now("site", &["serve"]);
    rig.send(Rig::start_command(exec));
    while rig.supervisors.available().len() > 1 {
        // Everything but the sweep, which is first in the queue of jobs.
        let last = rig.supervisors.available().len() - 1;
        rig.step(if matches!(rig.supervisors.available()[0], Work::Event(_)) { 0 } else { last });
    }
    rig.settle();
    rig.check();
}

#[test]
fn a_retired_cable_that_was_looked_at_is_forgotten_after_its_sweep() {
    let mut rig = with_running();
    // The container runs on, so the cable is there until it is swept.
    rig.send(Command::NetworkRemove { network: "dual".into() });
    assert!(rig.host.snapshot().links.contains_key(&link("epair1a")));
    rig.send(dual());
    rig.settle();
    assert!(!rig.host.snapshot().links.contains_key(&link("epair1a")));
    rig.check();
}
