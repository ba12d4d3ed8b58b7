//! Subnets that overlap, that are chosen by us, and interfaces that vanish.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, WIRE, addresses_of, all_answered, both, connect, create_network, endpoint_of,
    ground, holder, member, network, start, start_with,
};
use common::{LIMIT, create, is_running, said};
use kleene_e2e::{OUTSIDE4, Reply, WORLD6, World};
use serde_json::{Value, json};

/// The subnet that a refusal proposes.
fn proposed(reply: &Reply) -> String {
    let (_, next) = reply.message().split_once("the next free subnet is ").expect("a proposal");
    next.to_owned()
}

#[test]
fn an_overlap_is_refused_in_both_families_and_the_proposal_is_good() {
    let Some(world) =
        World::open("an_overlap_is_refused_in_both_families_and_the_proposal_is_good")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    ground(&world);
    for route in ["10.2.1.0/24 dev eth0", "fd00:2:0:1::/64 dev eth0"] {
        world.run(["sh", "-c", &format!("ip route add {route}")]).ok();
    }
    let before = world.snapshot();
    // What is asked for, who has it, and what is free next: the second of each
    // has a route of the host behind it.
    let cases = [
        ("subnet", "10.1.0.0/24", INNER, "10.1.1.0/24"),
        ("subnet", "10.2.0.0/24", "web", "10.2.2.0/24"),
        ("subnet", "10.1.0.128/25", INNER, "10.1.1.0/25"),
        ("subnet", "192.0.2.64/28", WIRE, "192.0.3.0/28"),
        ("subnet6", "fd00:1::/64", INNER, "fd00:1:0:1::/64"),
        ("subnet6", "fd00:2::/64", "web", "fd00:2:0:2::/64"),
    ];
    for kind in ["loopback", "bridge"] {
        for (field, subnet, holder, next) in cases {
            let reply = create_network(&world, "more", kind, &json!({field: subnet}));
            let text = reply.expect(409).message();
            assert!(text.starts_with(&format!("invalid {field}: {subnet} overlaps ")), "{text}");
            assert!(text.contains(holder), "{text}");
            assert_eq!(proposed(&reply), next, "{text}");
        }
        let reply = create_network(&world, "more", kind, &json!({"subnet": "10.2.1.128/25"}));
        assert!(reply.expect(409).message().contains("the host's route 10.2.1.0/24"));
    }
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
    // A custom network stands in the middle of the host's, not of another's.
    world.run(["ip", "link", "add", "port0", "type", "veth", "peer", "name", "port1"]).ok();
    let custom = |subnet: &str| {
        let changes = json!({"interface": "port0", "subnet": subnet});
        create_network(&world, "more", "custom", &changes)
    };
    assert!(custom("10.1.0.0/16").expect(409).message().contains(INNER));
    assert!(custom("192.0.2.64/26").expect(409).message().contains(WIRE));
    custom("10.2.1.0/24").expect(201);
    world.http("DELETE", "/networks/more", None).expect(200);
    // What was proposed can be had.
    for (field, subnet, ..) in cases {
        let refused = create_network(&world, "more", "bridge", &json!({field: subnet}));
        let changes = json!({field: proposed(&refused)});
        create_network(&world, "more", "bridge", &changes).expect(201);
        world.http("DELETE", "/networks/more", None).expect(200);
    }
}

#[test]
fn automatic_subnets_are_free_ones() {
    let Some(world) = World::open("automatic_subnets_are_free_ones") else { return };
    let _kleened = world.start_kleened("subnet_pools:\n  - \"10.80.0.0/22\"\n  - \"fd80::/62\"\n");
    let auto = json!({"subnet": "<auto>", "subnet6": "<auto>"});
    let made = |name: &str, kind: &str, changes: &Value| {
        create_network(&world, name, kind, changes).expect(201);
        let shown = world.http("GET", &format!("/networks/{name}/inspect"), None).json;
        ["subnet", "subnet6"].map(|key| shown["network"][key].as_str().unwrap().to_owned())
    };
    world.run(["ip", "route", "add", "10.80.1.0/24", "dev", "eth0"]).ok();
    world.run(["ip", "route", "add", "fd80:0:0:1::/64", "dev", "eth0"]).ok();
    assert_eq!(made("one", "loopback", &auto), ["10.80.0.0/24", "fd80::/64"]);
    // A route of the host is stepped over.
    assert_eq!(made("two", "bridge", &auto), ["10.80.2.0/24", "fd80:0:0:2::/64"]);
    // None stays none, one family at a time.
    assert_eq!(made("none", "loopback", &json!({"subnet": "", "subnet6": ""})), ["", ""]);
    assert_eq!(made("six", "loopback", &json!({"subnet6": "<auto>"})), ["", "fd80:0:0:3::/64"]);
    let before = world.snapshot();
    let reply = create_network(&world, "more", "loopback", &auto);
    let text = reply.expect(409).message();
    assert!(text.contains("no free IPv6 subnet is left") && text.contains("fd80::/62"), "{text}");
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
    // They are used, and come back when their network goes.
    member(&world, "it", "ipnet", &["two"]);
    assert_eq!(addresses_of(&world, "it", "two")[0], "10.80.2.1");
    world.http("DELETE", "/networks/one", None).expect(200);
    assert_eq!(made("again", "loopback", &auto), ["10.80.0.0/24", "fd80::/64"]);
}

#[test]
fn klee_chooses_both_subnets_when_none_is_typed() {
    let Some(world) = World::open("klee_chooses_both_subnets_when_none_is_typed") else { return };
    let _kleened = world.start_kleened("");
    let shown = |name: &str| {
        let shown = world.http("GET", &format!("/networks/{name}/inspect"), None).json;
        ["subnet", "subnet6"].map(|key| shown["network"][key].as_str().unwrap().to_owned())
    };
    world.klee(["network", "create", "both"]).ok();
    let subnets = shown("both");
    assert!(subnets[0].ends_with("/24") && subnets[1].ends_with("/64"), "{subnets:?}");
    world.klee(["network", "create", "four", "--subnet", "10.1.0.0/24"]).ok();
    assert_eq!(shown("four"), ["10.1.0.0/24", ""]);
    world.klee(["network", "create", "six", "--subnet6", "fd00:1::/64"]).ok();
    assert_eq!(shown("six"), ["", "fd00:1::/64"]);
    world.klee(["network", "create", "none", "--subnet", "", "--subnet6", ""]).ok();
    assert_eq!(shown("none"), ["", ""]);
}

#[test]
fn an_interface_may_vanish_under_its_custom_network() {
    let Some(world) = World::open("an_interface_may_vanish_under_its_custom_network") else {
        return;
    };
    let _kleened = world.start_kleened("");
    network(&world, INNER, "loopback", &json!({"subnet": "10.1.0.0/24", "subnet6": "fd00:1::/64"}));
    let plug = || {
        let line = "ip link add port0 type veth peer name port1; ip link set port0 up; \
             ip link set port1 up; ip addr add 10.7.0.1/24 dev port0";
        world.run(["sh", "-c", line]).ok();
    };
    let bare = (world.snapshot(), world.settings());
    plug();
    let port = json!({"interface": "port0", "subnet": "10.7.0.64/26", "subnet6": "fd00:7::/64"});
    network(&world, "port", "custom", &port);
    member(&world, "it", "ipnet", &["port", INNER]);
    let own = addresses_of(&world, "it", "port");
    let inner = addresses_of(&world, "it", INNER);
    assert_eq!(holder(&Place::Host.links(&world), &own[0]).unwrap().0, "port0");
    let serving = Place::In("it").serve(&world, &both(&inner, 9000));
    world.run(["ip", "link", "del", "port0"]).ok();
    // It lives on, and its other network with it.
    let seen = Place::Host.ask(&world, &both(&inner, 9000));
    assert!(all_answered(&seen), "{seen:?}");
    assert!(is_running(&world, "it"));
    drop(serving);
    world.http("POST", "/containers/it/stop?timeout=1", None).expect(200);
    assert_eq!(addresses_of(&world, "it", "port"), own, "what is reserved stays so");
    // Nobody starts on an interface that is not there.
    let refused = world.klee(["start", "-d", "it"]);
    assert!(said(refused.fails()).contains("port0"), "{refused}");
    assert!(!is_running(&world, "it"));
    let links = Place::Host.links(&world);
    assert!(own.iter().chain(&inner).all(|addr| holder(&links, addr).is_none()), "{links:?}");
    // Back is back.
    plug();
    start(&world, "it");
    let serving = Place::In("it").serve(&world, &both(&own, 9000));
    let seen = Place::Host.ask(&world, &both(&own, 9000));
    assert!(all_answered(&seen), "{seen:?}");
    drop(serving);
    // And the network can go without its interface, with everything of it.
    world.run(["ip", "link", "del", "port0"]).ok();
    world.http("DELETE", "/networks/port", None).expect(200);
    assert!(endpoint_of(&world, "it", "port").is_none());
    start_with(&world, "it", &["true"]);
    let serving = Place::In("it").serve(&world, &both(&inner, 9001));
    let seen = Place::Host.ask(&world, &both(&inner, 9001));
    assert!(all_answered(&seen), "{seen:?}");
    drop(serving);
    world.http("POST", "/containers/it/stop?timeout=1", None).expect(200);
    world.http("DELETE", "/containers/it", None).expect(200);
    world.assert_back_to(&bare.0, LIMIT);
    assert_eq!(world.settings(), bare.1);
}

#[test]
fn a_custom_interface_that_goes_down_and_up_has_its_addresses_again() {
    let Some(world) =
        World::open("a_custom_interface_that_goes_down_and_up_has_its_addresses_again")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    ground(&world);
    create(&world, "it", "ipnet");
    let own = connect(&world, "it", WIRE);
    start(&world, "it");
    let _serving = Place::In("it").serve(&world, &both(&own, 9000));
    assert_eq!(Place::Outside.ask(&world, &both(&own, 9000))[0], OUTSIDE4);
    world.run(["ip", "link", "set", "eth0", "down"]).ok();
    world.run(["ip", "link", "set", "eth0", "up"]).ok();
    // The kernel forgets the host's own in IPv6; that is the host's business.
    let own6 = format!("{WORLD6}/64");
    world.run(["ip", "addr", "add", &own6, "dev", "eth0", "nodad"]).ok();
    world.wait_until(LIMIT, "its addresses on the host", || {
        let links = Place::Host.links(&world);
        own.iter().all(|addr| holder(&links, addr).is_some_and(|(link, _)| link == "eth0"))
    });
    world.wait_until(LIMIT, "answers outside", || {
        let seen = Place::Outside.miss(&world, &both(&own, 9000));
        all_answered(&seen)
    });
}
