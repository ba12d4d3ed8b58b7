//! Several clients at once on one object: one wins, the others are told, and
//! the state is one of those that they asked for.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, addresses_of, all_answered, auto, both as on_both, endpoint_of, member, network,
};
use common::{
    LIMIT, cables, create, endpoint, is_running, processes, said, sleeper, wait_running, web,
};
use kleene_e2e::{Output, Reply, World};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs both at once.
fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), other.join().unwrap())
    })
}

/// Done, or refused with a reason.
#[track_caller]
fn answered(reply: &Reply) {
    let fine = reply.status < 300 || reply.status < 500 && !reply.message().is_empty();
    assert!(fine, "{} {}", reply.status, reply.text);
}

#[test]
fn twenty_runs_at_once_on_one_network() {
    let Some(world) = World::open("twenty_runs_at_once_on_one_network") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    world.klee(["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "true"]).ok();
    let before = world.snapshot();
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let world = &world;
        let run = |code: i32| {
            // All are up before any ends: no address is used twice.
            let script = format!(
                "ip -o -4 addr show scope global; echo >/all/{code}; \
                 while [ \"$(ls /all | wc -l)\" -lt 20 ]; do sleep 0.02; done; exit {code}"
            );
            let options = ["run", "--rm", "-l", "vnet", "-n", "web", "-m", "/run/all:/all"];
            world.klee([&options[..], &["host-usr", "sh", "-c", &script]].concat())
        };
        world.run(["mkdir", "/run/all"]).ok();
        let running: Vec<_> = (0..20).map(|code| scope.spawn(move || run(code))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut given = BTreeSet::new();
    for (code, output) in (0..).zip(&outputs) {
        output.code(code);
        let stdout = output.stdout().into_owned();
        let address = stdout.split_whitespace().find(|word| word.starts_with("10.4.6."));
        assert!(given.insert(address.unwrap().to_owned()), "{address:?} twice");
    }
    world.wait_until(LIMIT, "all of them removed", || {
        world.klee(["lsc", "-a", "-q"]).stdout().trim().is_empty()
    });
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn a_network_removed_while_a_container_connects() {
    let Some(world) = World::open("a_network_removed_while_a_container_connects") else { return };
    let _kleened = world.start_kleened("");
    create(&world, "joins", "vnet");
    for _ in 0..10 {
        web(&world);
        let (connected, removed) = both(
            || world.http("POST", "/networks/connect", Some(&endpoint("joins", "web", "<auto>"))),
            || world.http("DELETE", "/networks/web", None),
        );
        removed.expect(200);
        answered(&connected);
        let inspected = world.http("GET", "/containers/joins/inspect", None);
        assert_eq!(inspected.json["container_endpoints"], serde_json::json!([]));
        assert!(common::links(&world, "bridge").is_empty());
    }
}

#[test]
fn a_container_removed_while_it_starts() {
    let Some(world) = World::open("a_container_removed_while_it_starts") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    let before = world.snapshot();
    for _ in 0..6 {
        create(&world, "fleeting", "vnet");
        let connect = endpoint("fleeting", "web", "<auto>");
        world.http("POST", "/networks/connect", Some(&connect)).expect(204);
        let (started, removed) = both(
            || world.klee(["start", "-d", "fleeting"]),
            || world.http("DELETE", "/containers/fleeting", None),
        );
        answered(&removed);
        if removed.status == 200 {
            assert!(!said(started.fails()).is_empty(), "{started}");
        } else {
            assert_eq!(removed.message(), "you cannot remove a running container");
            started.ok();
            wait_running(&world, "fleeting");
            world.klee(["stop", "fleeting"]).ok();
            world.klee(["rmc", "fleeting"]).ok();
        }
        assert!(processes(&world, "sleep 1000").is_empty());
        world.assert_back_to(&before, LIMIT);
    }
}

#[test]
fn two_stops_and_two_starts() {
    let Some(world) = World::open("two_stops_and_two_starts") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "twice", &["-l", "vnet", "-n", "web"]);
    for _ in 0..2 {
        let stop = || world.http("POST", "/containers/twice/stop", None);
        let (one, other) = both(stop, stop);
        answered(&one);
        answered(&other);
        assert!(one.status == 200 || other.status == 200);
        assert!(!is_running(&world, "twice"));
        world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
        let start = || world.klee(["start", "-d", "twice"]);
        let (one, other) = both(start, start);
        assert!(one.status == Some(0) || other.status == Some(0), "{one}{other}");
        wait_running(&world, "twice");
        assert_eq!(cables(&world).len(), 1);
        assert!(processes(&world, "kleene-supervise").len() == 1);
    }
    let (stopped, exec) = both(
        || world.http("POST", "/containers/twice/stop", None),
        || world.klee(["exec", "twice", "true"]),
    );
    answered(&stopped);
    assert!(exec.status.is_some(), "{exec}");
    world.klee(["stop", "twice"]);
    world.wait_until(LIMIT, "its end", || !is_running(&world, "twice"));
    world.klee(["rmc", "twice"]).ok();
}

#[test]
fn an_interface_may_vanish_in_the_middle_of_a_connect() {
    let Some(world) = World::open("an_interface_may_vanish_in_the_middle_of_a_connect") else {
        return;
    };
    let _kleened = world.start_kleened("");
    network(&world, INNER, "loopback", &json!({"subnet": "10.1.0.0/24", "subnet6": "fd00:1::/64"}));
    member(&world, "it", "ipnet", &[INNER]);
    let own = addresses_of(&world, "it", INNER);
    let _serving = Place::In("it").serve(&world, &on_both(&own, 9000));
    let before = (world.snapshot(), world.settings());
    let (mut joined, mut refused) = (0, 0);
    for _ in 0..10 {
        let plug = "ip link add port0 type veth peer name port1; ip link set port0 up; \
             ip link set port1 up; ip addr add 10.7.0.1/24 dev port0";
        world.run(["sh", "-c", plug]).ok();
        let subnets =
            json!({"interface": "port0", "subnet": "10.7.0.64/26", "subnet6": "fd00:7::/64"});
        network(&world, "port", "custom", &subnets);
        let gone = AtomicBool::new(false);
        let visits = || {
            // Until it is gone and that was said.
            let was = refused;
            while !gone.load(Ordering::Relaxed) || refused == was {
                let reply = world.http("POST", "/networks/connect", Some(&auto("it", "port")));
                if reply.status < 300 {
                    joined += 1;
                    let path = "/networks/port/disconnect/it";
                    world.http("POST", path, None).expect(204);
                } else {
                    refused += 1;
                    let why = reply.message();
                    assert!(why.contains("port0") || why.contains("No such device"), "{why}");
                    assert!(endpoint_of(&world, "it", "port").is_none(), "half made: {why}");
                }
            }
        };
        let unplug = || {
            world.run(["ip", "link", "del", "port0"]).ok();
            gone.store(true, Ordering::Relaxed);
        };
        both(visits, unplug);
        // Its other network was never touched.
        assert!(all_answered(&Place::Host.ask(&world, &on_both(&own, 9000))));
        world.http("DELETE", "/networks/port", None).expect(200);
        world.assert_back_to(&before.0, LIMIT);
        assert_eq!(world.settings(), before.1);
    }
    println!("joined {joined} times, refused {refused} times");
    assert!(joined > 0 && refused > 0, "{joined} and {refused}");
}
