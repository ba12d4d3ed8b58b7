//! Numbers, not tests: `cargo test --release -p kleene-supervise --test
//! measure -- --ignored --nocapture`, after `cargo build --release -p
//! kleene-runtime`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a measurement ends where something is wrong")]
#![allow(dead_code, reason = "the module serves several tests")]

mod common;

use std::{
    fs,
    time::{Duration, Instant},
};

use common::{Got, World, can_run};
use kleene_supervise::proto::{ExitRecord, FromSupervisor, ToSupervisor};

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[0], times[times.len() / 2])
}

fn memory(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let wanted = |line: &&str| ["Pss:", "Rss:", "Private_D"].iter().any(|w| line.starts_with(w));
    let lines: Vec<&str> = text.lines().filter(wanted).collect();
    lines.join(", ").split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
#[ignore = "a measurement"]
fn how_long_and_how_large() {
    if !can_run() {
        return;
    }
    let (mut setups, mut launches, mut firsts, mut ends) = (vec![], vec![], vec![], vec![]);
    for _ in 0..20 {
        let mut world = World::spawned();
        let start = Instant::now();
        world.control.send(&ToSupervisor::Setup(world.setup()));
        assert!(matches!(world.control.next(), Got::Message(FromSupervisor::Ready { .. })));
        setups.push(start.elapsed());
        let start = Instant::now();
        world.control.send(&ToSupervisor::Launch {});
        world.sh("e", "true");
        world
            .control
            .wait(|message| matches!(message, FromSupervisor::Launched { .. }).then_some(()));
        launches.push(start.elapsed());
        world.control.exit_of("e");
        firsts.push(start.elapsed());
        world.control.ended();
        ends.push(start.elapsed());
    }
    for (what, times) in [
        ("set-up", setups),
        ("launch", launches),
        ("launch to the exit of `sh -c true`", firsts),
        ("launch to everything gone", ends),
    ] {
        eprintln!("{what}: min, median {:?}", median(times));
    }
    let mut world = World::running();
    world.sh("main", "while :; do sleep 1000; done");
    world.control.started("main");
    let mut execs = Vec::new();
    for number in 0..200 {
        let start = Instant::now();
        let mut spec = common::sh(&format!("e{number}"), "");
        spec.argv = vec!["true".into()];
        world.control.send(&ToSupervisor::Exec(spec));
        world.control.exit_of(&format!("e{number}"));
        execs.push(start.elapsed());
        world.control.send(&ToSupervisor::Ack { seq: number + 1 });
    }
    eprintln!("exec `true` in a running container: min, median {:?}", median(execs));
    // Programs and libraries are shared among containers, so: of several.
    let mut others: Vec<World> = (0..9).map(|_| World::running()).collect();
    for other in &mut others {
        other.sh("main", "while :; do sleep 1000; done");
        other.control.started("main");
    }
    let holder = {
        let stream = kleene_supervise::client::connect(&world.dir.join("run")).unwrap();
        kleene_supervise::client::handshake(&stream).unwrap().0.pid.unwrap()
    };
    eprintln!("supervisor, one of ten: {}", memory(world.child.id()));
    eprintln!("supervisor, one of ten: {}", memory(others[4].child.id()));
    eprintln!("holder, one of ten: {}", memory(holder.unsigned_abs()));
    if let Some(path) = std::env::var_os("KLEENE_SMAPS") {
        fs::copy(format!("/proc/{}/smaps", world.child.id()), path).unwrap();
    }
    world.control.send(&ToSupervisor::Kill {});
    world.control.wait(|message| {
        matches!(message, FromSupervisor::Exit(ExitRecord::Ended { .. })).then_some(())
    });
}
