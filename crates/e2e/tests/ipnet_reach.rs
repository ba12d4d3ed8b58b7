//! Who reaches whom, with which address, and what is left of an end.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, WEB, WIRE, addresses_of, all_answered, both, doubled, forward, ground,
    known_outside, member, none_answered, start, supervisor,
};
use common::{LIMIT, is_running, kill9, processes};
use kleene_e2e::{Background, OUTSIDE4, OUTSIDE6, World};

/// Containers by name, driver and network: two of each that can be two.
const CROWD: [(&str, &str, &str); 7] = [
    ("inner-1", "ipnet", INNER),
    ("inner-2", "ipnet", INNER),
    ("web-1", "ipnet", WEB),
    ("web-2", "ipnet", WEB),
    ("web-vnet", "vnet", WEB),
    ("wire-1", "ipnet", WIRE),
    ("wire-2", "ipnet", WIRE),
];

fn crowd(world: &World) -> Vec<(&'static str, [String; 2], Background)> {
    let people = CROWD.iter().map(|(name, driver, network)| {
        member(world, name, driver, &[network]);
        let addresses = addresses_of(world, name, network);
        let serving = Place::In(name).serve(world, &both(&["0.0.0.0", "::"], 9000));
        (*name, addresses, serving)
    });
    people.collect()
}

#[test]
fn containers_reach_each_other_as_themselves() {
    let Some(world) = World::open("containers_reach_each_other_as_themselves") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    let crowd = crowd(&world);
    let mut flows = 0;
    for (name, own, _) in &crowd {
        let others: Vec<String> =
            crowd.iter().flat_map(|(_, addresses, _)| both(addresses, 9000)).collect();
        let seen = Place::In(name).ask(&world, &others);
        for ((to, addresses, _), seen) in crowd.iter().zip(seen.chunks(4)) {
            // To itself, too.
            let expected = if to == name { addresses } else { own };
            assert_eq!(seen, doubled(expected), "{name} to {to}");
            flows += 4;
        }
    }
    println!("{flows} flows");
    assert_eq!(flows, CROWD.len() * CROWD.len() * 4);
}

#[test]
fn a_custom_network_is_reached_from_outside() {
    let Some(world) = World::open("a_custom_network_is_reached_from_outside") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    let crowd = crowd(&world);
    let outside = [OUTSIDE4, OUTSIDE6].map(str::to_owned);
    let _outside = Place::Outside.serve(&world, &both(&outside, 9000));
    // Addresses that nobody has, in the same subnet, are not answered for.
    let nobody = ["192.0.2.99".to_owned(), "2001:db8:1:0:1::99".to_owned()];
    for (name, own, _) in crowd.iter().filter(|(name, ..)| name.starts_with("wire")) {
        assert_eq!(Place::Outside.ask(&world, &both(own, 9000)), doubled(&outside), "{name}");
        assert_eq!(Place::In(name).ask(&world, &both(&outside, 9000)), doubled(own), "{name}");
    }
    let seen = Place::Outside.miss(&world, &both(&nobody, 9000));
    assert!(none_answered(&seen), "{seen:?}");
    // One that is stopped is not answered for either, and when it is back the
    // way is open at once, whatever the outside remembers.
    let own = addresses_of(&world, "wire-1", WIRE);
    world.http("POST", "/containers/wire-1/stop?timeout=1", None).expect(200);
    let seen = Place::Outside.miss(&world, &both(&own, 9000));
    assert!(none_answered(&seen), "{seen:?}");
    start(&world, "wire-1");
    let _serving = Place::In("wire-1").serve(&world, &both(&own, 9000));
    assert_eq!(Place::Outside.ask(&world, &both(&own, 9000)), doubled(&outside));
    // What another network holds is known outside only with a route.
    let inner = addresses_of(&world, "inner-1", INNER);
    let seen = Place::Outside.miss(&world, &both(&inner, 9000));
    assert!(none_answered(&seen), "{seen:?}");
    known_outside(&world, &["10.1.0.0/24", "fd00:1::/64"]);
    assert_eq!(Place::Outside.ask(&world, &both(&inner, 9000)), doubled(&outside));
    assert_eq!(Place::In("inner-1").ask(&world, &both(&outside, 9000)), doubled(&inner));
}

#[test]
fn an_outside_that_knows_the_way_back_answers() {
    let Some(world) = World::open("an_outside_that_knows_the_way_back_answers") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[INNER]);
    member(&world, "wired", "vnet", &[WEB]);
    known_outside(&world, &["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24", "fd00:2::/64"]);
    forward(&world);
    let outside = [OUTSIDE4, OUTSIDE6].map(str::to_owned);
    let _serving = Place::Outside.serve(&world, &both(&outside, 9000));
    // The allowed twin: the host itself.
    assert!(all_answered(&Place::Host.ask(&world, &both(&outside, 9000))));
    for (name, network) in [("plain", INNER), ("wired", WEB)] {
        let own = addresses_of(&world, name, network);
        let seen = Place::In(name).ask(&world, &both(&outside, 9000));
        assert_eq!(seen, doubled(&own), "{name}");
    }
}

#[test]
fn ends_of_all_kinds_leave_nothing() {
    let Some(world) = World::open("ends_of_all_kinds_leave_nothing") else { return };
    let mut kleened = world.start_kleened("");
    let bare = (world.snapshot(), world.settings());
    ground(&world);
    member(&world, "peer", "ipnet", &[INNER, WEB, WIRE]);
    let before = (world.snapshot(), world.settings());
    let stopped = |name: &str| {
        world.wait_until(LIMIT, "its end", || !is_running(&world, name));
        world.assert_back_to(&before.0, LIMIT);
        assert_eq!(world.settings(), before.1);
    };
    let networks = [WIRE, INNER, WEB];
    let id = member(&world, "one", "ipnet", &networks);
    let own = addresses_of(&world, "one", WIRE);
    let serving = Place::In("one").serve(&world, &both(&own, 9000));
    // Neighbours of the host remember it; that goes, too.
    assert_eq!(Place::Outside.ask(&world, &both(&own, 9000))[0], OUTSIDE4);
    world.http("POST", "/containers/one/stop?timeout=1", None).expect(200);
    drop(serving);
    stopped("one");
    start(&world, "one");
    kill9(&world, &processes_in(&world, &id));
    stopped("one");
    start(&world, "one");
    kill9(&world, &supervisor(&world, &id));
    stopped("one");
    start(&world, "one");
    kleened.kill9();
    kill9(&world, &supervisor(&world, &id));
    kleened = kleened.restart();
    // The daemon is another process than before; all else is the same.
    world.wait_until(LIMIT, "its end", || !is_running(&world, "one"));
    world.wait_until(LIMIT, "nothing of it", || {
        let left = before.0.diff(&world.snapshot());
        left.iter().all(|line| line.contains("kleened"))
    });
    assert_eq!(world.settings(), before.1);
    start(&world, "one");
    world.http("DELETE", "/networks/wire", None).expect(200);
    world.http("POST", "/containers/one/stop?timeout=1", None).expect(200);
    for name in ["one", "peer"] {
        world.http("POST", &format!("/containers/{name}/stop?timeout=1"), None);
        world.http("DELETE", &format!("/containers/{name}"), None).expect(200);
    }
    for network in [INNER, WEB] {
        world.http("DELETE", &format!("/networks/{network}"), None).expect(200);
    }
    world.wait_until(LIMIT, "nothing at all", || {
        let left = bare.0.diff(&world.snapshot());
        left.iter().all(|line| line.contains("kleened"))
    });
    assert_eq!(world.settings(), bare.1);
    drop(kleened);
}

/// The command of a container with nothing else in it.
fn processes_in(world: &World, id: &str) -> Vec<String> {
    let supervisor = supervisor(world, id);
    let holder = children(world, &supervisor[0]);
    let inside: Vec<String> = holder.iter().flat_map(|pid| children(world, pid)).collect();
    assert!(!inside.is_empty(), "{supervisor:?} {holder:?} {:?}", processes(world, "sleep"));
    inside
}

fn children(world: &World, parent: &str) -> Vec<String> {
    let listed = world.run(["ps", "-o", "pid=", "--ppid", parent]);
    listed.stdout().split_whitespace().map(str::to_owned).collect()
}
