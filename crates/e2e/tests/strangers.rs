//! Others who make, rename and delete links on the same host.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{LIMIT, addresses, bridge, cables, is_running, links, processes, said, sleeper, web};
use kleene_e2e::World;
use serde_json::Value;

/// A link, with everything that somebody might change on it.
fn link(world: &World, name: &str) -> Value {
    let found = world.ip_json(["addr", "show", "dev", name]);
    let mut link = found[0].clone();
    // Counters of time are not the link's own.
    link["linkinfo"]["info_data"] = Value::Null;
    link
}

#[test]
fn a_strangers_link_with_our_name_is_left_alone() {
    let Some(world) = World::open("a_strangers_link_with_our_name_is_left_alone") else { return };
    let mut kleened = world.start_kleened("");
    world.run(["ip", "link", "add", "kleene0", "type", "bridge"]).ok();
    let bridge_before = link(&world, "kleene0");
    web(&world);
    assert_eq!(links(&world, "bridge").len(), 2);
    let run = ["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "ip", "-br", "addr"];
    // The allowed twin: the first name is free.
    world.klee(run).ok().says("epair0b");
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    world.run(["ip", "link", "add", "epair0a", "type", "veth", "peer", "name", "other"]).ok();
    world.run(["ip", "addr", "add", "10.99.0.1/24", "dev", "epair0a"]).ok();
    let cable_before = link(&world, "epair0a");
    // It was made behind our back: what is asked for works, or it says why
    // not and the state is that of before.
    let before = world.snapshot();
    let output = world.klee(run);
    if output.status == Some(0) {
        output.says("10.4.6.2/24");
    } else {
        assert!(said(output.code(125)).contains("epair0a"), "{output}");
    }
    world.assert_back_to(&before, LIMIT);
    // The next one has seen it.
    let output = world.klee(run);
    assert!(!output.ok().contains("epair0b"), "{output}");
    world.assert_back_to(&before, LIMIT);
    // Nor does a daemon that starts sweep it away.
    kleened.kill9();
    let kleened = kleened.restart();
    world.klee(run).ok();
    kleened.stop().ok();
    assert_eq!(link(&world, "epair0a"), cable_before);
    assert_eq!(link(&world, "kleene0"), bridge_before);
}

#[test]
fn a_mark_of_another_instance_is_not_ours() {
    let Some(world) = World::open("a_mark_of_another_instance_is_not_ours") else { return };
    let mut kleened = world.start_kleened("");
    web(&world);
    let ours = links(&world, "bridge")[0]["ifalias"].as_str().unwrap().to_owned();
    let parts: Vec<&str> = ours.split(':').collect();
    assert_eq!((parts[0], parts.len()), ("kleene", 4), "{ours}");
    let marks = [
        ("theirs0", format!("kleene:another:network:{}", parts[3])),
        ("theirs1", format!("kleene:{}x:network:{}", parts[1], parts[3])),
        ("theirs2", format!("kleene:{}:nothing:{}", parts[1], parts[3])),
        ("theirs3", "kleene".to_owned()),
    ];
    for (name, mark) in &marks {
        world.run(["ip", "link", "add", name, "type", "bridge"]).ok();
        world.run(["ip", "link", "set", name, "alias", mark]).ok();
    }
    // The allowed twin: one with our mark that nobody wants any more goes.
    let stale = format!("kleene:{}:network:abcdefabcdef", parts[1]);
    world.run(["ip", "link", "add", "stale0", "type", "bridge"]).ok();
    world.run(["ip", "link", "set", "stale0", "alias", &stale]).ok();
    kleened.kill9();
    let kleened = kleened.restart();
    world.wait_until(LIMIT, "the stale one gone", || {
        links(&world, "bridge").iter().all(|link| link["ifname"] != "stale0")
    });
    world.klee(["network", "rm", "web"]).ok();
    kleened.stop().ok();
    let left: Vec<String> =
        links(&world, "bridge").iter().map(|l| l["ifname"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, ["theirs0", "theirs1", "theirs2", "theirs3"]);
}

#[test]
fn a_bridge_that_was_deleted_comes_back() {
    let Some(world) = World::open("a_bridge_that_was_deleted_comes_back") else { return };
    let kleened = world.start_kleened("");
    web(&world);
    let run = ["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "true"];
    // The allowed twin.
    world.klee(run).ok();
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    let on_bridge = || addresses(&links(&world, "bridge")[0]);
    let before = on_bridge();
    world.run(["ip", "link", "del", "kleene0"]).ok();
    // Whoever needs it first may be told that it was gone; nothing else.
    let output = world.klee(run);
    if output.status != Some(0) {
        assert!(said(output.code(125)).contains("kleene0"), "{output}");
    }
    world.wait_until(LIMIT, "the bridge", || links(&world, "bridge").len() == 1);
    world.klee(run).ok();
    assert_eq!(on_bridge(), before);
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    drop(kleened);
}

#[test]
fn a_cable_that_was_deleted_ends_nobody() {
    let Some(world) = World::open("a_cable_that_was_deleted_ends_nobody") else { return };
    let kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "cut", &["-l", "vnet", "-n", "web"]);
    assert_eq!(cables(&world).len(), 1);
    world.run(["ip", "link", "del", "epair0a"]).ok();
    assert!(is_running(&world, "cut"));
    world.klee(["exec", "cut", "true"]).ok();
    // A start of the daemon gives it a new one.
    let _kleened = kleened.restart();
    world.wait_until(LIMIT, "its cable", || cables(&world).len() == 1);
    world.klee(["exec", "cut", "ip", "-o", "addr"]).ok().says("10.4.6.2/24");
    world.run(["busybox", "ping", "-c", "1", "-W", "2", "10.4.6.2"]).ok();
    world.klee(["stop", "cut"]).ok();
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    assert!(processes(&world, "sleep 1000").is_empty());
}

#[test]
fn a_subnet_that_somebody_took_meanwhile_is_refused_by_name() {
    let Some(world) = World::open("a_subnet_that_somebody_took_meanwhile_is_refused_by_name")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    let more = bridge("more", "10.4.7.0/24");
    // The allowed twin.
    world.http("POST", "/networks/create", Some(&more)).expect(201);
    world.http("DELETE", "/networks/more", None).expect(200);
    world.run(["ip", "addr", "add", "10.4.7.77/24", "dev", "eth0"]).ok();
    let before = world.snapshot();
    let reply = world.http("POST", "/networks/create", Some(&more));
    assert!(reply.expect(409).message().contains("eth0"), "{}", reply.message());
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
}
