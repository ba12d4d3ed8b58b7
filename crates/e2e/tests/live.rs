//! Networks that running containers join and leave: what flows elsewhere does
//! not notice, what is new works at once, and what is gone has left nothing.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, WEB, WIRE, addresses_of, all_answered, both, connect, disconnect, doubled,
    forward, ground, known_outside, member, network, none_answered, on, start, tcp,
};
use common::{LIMIT, create, is_running};
use kleene_e2e::{Background, OUTSIDE4, OUTSIDE6, World};
use serde_json::json;
use std::collections::BTreeMap;

const BASE: &str = "base";
const SECOND: &str = "second";

/// Two bridge networks beside [`ground`]'s; `base` has a peer that gives back
/// what it hears.
fn base(world: &World) -> (Vec<Background>, [String; 2]) {
    let subnets = [
        (BASE, json!({"subnet": "10.5.0.0/24", "subnet6": "fd00:5::/64"})),
        (SECOND, json!({"subnet": "10.6.0.0/24", "subnet6": "fd00:6::/64"})),
    ];
    for (name, subnets) in &subnets {
        network(world, name, "bridge", subnets);
    }
    member(world, "peer", "ipnet", &[BASE]);
    let echo = |address| Place::In("peer").start(world, &["echo", address, "9100"], "up\n");
    (vec![echo("0.0.0.0"), echo("::")], addresses_of(world, "peer", BASE))
}

/// A stream and a ping-pong in each family, for as long as this lives.
struct Steady<'a> {
    world: &'a World,
    talks: Vec<Background>,
}

impl<'a> Steady<'a> {
    #[track_caller]
    fn start(world: &'a World, container: &str, with: &[String; 2]) -> Self {
        let talk = |address: &String| {
            let talk =
                Place::In(container).start(world, &["steady", address, "9100"], "udp flows\n");
            world.wait_until(LIMIT, "a stream", || talk.stdout().contains("tcp flows\n"));
            talk
        };
        Self { world, talks: with.iter().map(talk).collect() }
    }

    /// Ends it: nothing was lost, and it went on to the end.
    #[track_caller]
    fn end(self, what: &str) {
        for mut talk in self.talks {
            talk.close_stdin();
            self.world.wait_until(LIMIT, "the last word", || talk.stdout().contains("udp good"));
            let said = talk.stdout();
            let results: Vec<&str> = said.lines().filter(|line| line.contains("good")).collect();
            println!("{what}: {results:?}");
            assert_eq!(results.len(), 2, "{said}");
            assert!(
                results.iter().all(|line| line.ends_with("lost 0 fine")),
                "{what}: {results:?}"
            );
        }
    }
}

/// Joins a network, uses it at once in both families, and leaves it again.
#[track_caller]
fn visit(world: &World, name: &str, round: u16) {
    let own = connect(world, "it", name);
    // Of the round before, one may listen for a moment longer.
    let port = 9000 + round;
    let serving = Place::In("it").serve(world, &both(&own, port));
    let seen = Place::Host.ask(world, &both(&own, port));
    assert!(all_answered(&seen), "{name}: {seen:?}");
    let friend = format!("on-{name}");
    let theirs = addresses_of(world, &friend, name);
    assert_eq!(Place::In(&friend).ask(world, &both(&own, port)), doubled(&theirs), "{name}");
    assert_eq!(Place::In("it").ask(world, &tcp(&theirs, 9000)), own, "{name}");
    disconnect(world, "it", name);
    let seen = Place::Host.miss(world, &tcp(&own, port));
    assert!(none_answered(&seen), "{name}: {seen:?}");
    // A cable is out of use at once, and with its end inside it goes soon.
    world.wait_until(LIMIT, "no address inside", || {
        Place::In("it").bind(world, &tcp(&own, 9050)) == ["EADDRNOTAVAIL", "EADDRNOTAVAIL"]
    });
    drop(serving);
}

fn visits(test: &str, driver: &str, networks: &[&str]) {
    let Some(world) = World::open(test) else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    let (_echo, peer) = base(&world);
    let mut friends = Vec::new();
    for name in networks {
        let friend = format!("on-{name}");
        member(&world, &friend, "ipnet", &[name]);
        friends.push(Place::In(&friend).serve(&world, &both(&["0.0.0.0", "::"], 9000)));
    }
    member(&world, "it", driver, &[BASE]);
    let steady = Steady::start(&world, "it", &peer);
    for round in 0..3 {
        networks.iter().for_each(|name| visit(&world, name, round));
    }
    steady.end(test);
}

#[test]
fn nothing_is_lost_while_an_ipnet_container_visits() {
    let networks = [INNER, WEB, WIRE, SECOND];
    visits("nothing_is_lost_while_an_ipnet_container_visits", "ipnet", &networks);
}

#[test]
fn nothing_is_lost_while_a_vnet_container_visits() {
    visits("nothing_is_lost_while_a_vnet_container_visits", "vnet", &[WEB, SECOND]);
}

/// The way out of a container before and after its first network has gone.
fn moves(test: &str, driver: &str) {
    let Some(world) = World::open(test) else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    let (_echo, peer) = base(&world);
    known_outside(&world, &["10.2.0.0/24", "fd00:2::/64", "10.5.0.0/24", "fd00:5::/64"]);
    // What comes back is forwarded on the uplink.
    forward(&world);
    let outside = [OUTSIDE4, OUTSIDE6].map(str::to_owned);
    let _serving = Place::Outside.serve(&world, &both(&outside, 9000));
    member(&world, "it", driver, &[WEB, BASE]);
    let (web, own) = (addresses_of(&world, "it", WEB), addresses_of(&world, "it", BASE));
    let asks = || Place::In("it").ask(&world, &both(&outside, 9000));
    assert_eq!(asks(), doubled(&web), "the first is the way out");
    let steady = Steady::start(&world, "it", &peer);
    disconnect(&world, "it", WEB);
    assert_eq!(asks(), doubled(&own), "the way out has moved");
    steady.end(test);
}

#[test]
fn the_way_out_of_an_ipnet_container_moves_when_its_first_network_goes() {
    moves("the_way_out_of_an_ipnet_container_moves_when_its_first_network_goes", "ipnet");
}

#[test]
fn the_way_out_of_a_vnet_container_moves_when_its_first_network_goes() {
    moves("the_way_out_of_a_vnet_container_moves_when_its_first_network_goes", "vnet");
}

/// A network that was the first and is joined again comes last.
fn comes_back(test: &str, driver: &str) {
    let Some(world) = World::open(test) else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    let (_echo, peer) = base(&world);
    member(&world, "it", driver, &[WEB, BASE]);
    let steady = Steady::start(&world, "it", &peer);
    for round in 0..5 {
        disconnect(&world, "it", WEB);
        let own = connect(&world, "it", WEB);
        let port = 9001 + round;
        let _serving = Place::In("it").serve(&world, &both(&own, port));
        let seen = Place::Host.ask(&world, &both(&own, port));
        assert!(all_answered(&seen), "round {round}: {seen:?}");
    }
    steady.end(test);
}

#[test]
fn an_ipnet_container_comes_back_to_the_network_that_it_left() {
    comes_back("an_ipnet_container_comes_back_to_the_network_that_it_left", "ipnet");
}

#[test]
fn a_vnet_container_comes_back_to_the_network_that_it_left() {
    comes_back("a_vnet_container_comes_back_to_the_network_that_it_left", "vnet");
}

#[test]
fn many_visits_leave_nothing() {
    let Some(world) = World::open("many_visits_leave_nothing") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[INNER]);
    member(&world, "wired", "vnet", &[WEB]);
    network(&world, SECOND, "bridge", &json!({"subnet": "10.6.0.0/24", "subnet6": "fd00:6::/64"}));
    let inside = |name: &str| {
        ["-4", "-6"].map(|family| {
            let place = Place::In(name);
            let shown = place.run(&world, &["ip", family, "route", "show", "table", "all"]);
            let text = shown.ok().stdout().into_owned();
            // The ways by which a `vnet` container answered as itself, while it had
            // several networks, are its own from then on.
            let own = |line: &&str| !line.contains(" table 12582");
            text.lines().filter(own).map(|line| format!("{line}\n")).collect::<String>()
        })
    };
    let views = || ["plain", "wired"].map(|name| (shape(&world, name), inside(name)));
    let before = (world.snapshot(), world.settings(), views());
    let joins = [("plain", WIRE), ("plain", WEB), ("plain", SECOND), ("wired", SECOND)];
    let mut firsts = BTreeMap::new();
    for round in 0..50 {
        for (name, network) in joins {
            let own = connect(&world, name, network);
            // Released addresses are used again.
            let first = firsts.entry(network).or_insert_with(|| own.clone());
            assert_eq!(own, *first, "round {round}");
            disconnect(&world, name, network);
        }
    }
    world.assert_back_to(&before.0, LIMIT);
    assert_eq!(world.settings(), before.1);
    assert_eq!(views(), before.2);
    // And they still talk.
    let own = addresses_of(&world, "wired", WEB);
    let _serving = Place::In("wired").serve(&world, &both(&own, 9000));
    let plain = addresses_of(&world, "plain", INNER);
    assert_eq!(Place::In("plain").ask(&world, &both(&own, 9000)), doubled(&plain));
}

/// Links and addresses of a container, without what the kernel counts.
fn shape(world: &World, name: &str) -> Vec<(String, Vec<String>)> {
    let links = Place::In(name).links(world);
    let names = links.iter().map(|link| link["ifname"].as_str().unwrap().to_owned());
    names.map(|name| (name.clone(), on(&links, &name))).collect()
}

#[test]
fn a_crash_of_the_daemon_between_visits_changes_nothing() {
    let Some(world) = World::open("a_crash_of_the_daemon_between_visits_changes_nothing") else {
        return;
    };
    let mut kleened = world.start_kleened("");
    ground(&world);
    let _echo = base(&world);
    for (name, driver) in [("plain", "ipnet"), ("wired", "vnet")] {
        member(&world, name, driver, &[BASE]);
    }
    let own = addresses_of(&world, "plain", BASE);
    let settled = world.settings();
    let joins = [("plain", WIRE), ("plain", INNER), ("plain", WEB), ("wired", WEB)];
    for round in 0..3 {
        for (name, network) in joins {
            connect(&world, name, network);
        }
        kleened.kill9();
        kleened = kleened.restart();
        world.wait_until(LIMIT, "the adoption", || {
            ["plain", "wired", "peer"].iter().all(|name| {
                is_running(&world, name) && world.klee(["exec", name, "true"]).status == Some(0)
            })
        });
        for (name, network) in joins {
            let own = addresses_of(&world, name, network);
            // Of the round before, one may listen that nobody was there to end.
            let port = 9000 + round;
            let _serving = Place::In(name).serve(&world, &both(&own, port));
            let seen = Place::Host.ask(&world, &both(&own, port));
            let reached = all_answered(&seen);
            assert!(reached, "round {round}: {name} on {network}: {seen:?}");
        }
        kleened.kill9();
        kleened = kleened.restart();
        for (name, network) in joins {
            disconnect(&world, name, network);
        }
    }
    assert_eq!(world.settings(), settled);
    for name in ["plain", "wired"] {
        let loopback = ["127.0.0.1/8", "::1/128"];
        let shown: Vec<String> = shape(&world, name).into_iter().flat_map(|(_, on)| on).collect();
        let left = shown.iter().filter(|addr| !loopback.contains(&addr.as_str())).count();
        assert_eq!(left, 2, "{name}: {shown:?}");
    }
    let _serving = Place::In("plain").serve(&world, &both(&own, 9050));
    let seen = Place::Host.ask(&world, &both(&own, 9050));
    assert!(all_answered(&seen), "{seen:?}");
}

#[test]
fn a_network_that_was_made_again_is_joined_at_once() {
    let Some(world) = World::open("a_network_that_was_made_again_is_joined_at_once") else {
        return;
    };
    let _kleened = world.start_kleened("");
    let subnets = json!({"subnet": "10.1.0.0/24", "subnet6": "fd00:1::/64"});
    for kind in ["loopback", "bridge"] {
        create(&world, "it", "ipnet");
        start(&world, "it");
        for round in 0..3 {
            network(&world, "again", kind, &subnets);
            let own = connect(&world, "it", "again");
            // The server of the round before has the same addresses.
            let port = 9000 + round;
            let _serving = Place::In("it").serve(&world, &both(&own, port));
            let seen = Place::Host.ask(&world, &both(&own, port));
            let reached = all_answered(&seen);
            assert!(reached, "{kind}, round {round}: {seen:?}");
            world.http("DELETE", "/networks/again", None).expect(200);
        }
        world.http("POST", "/containers/it/stop?timeout=1", None).expect(200);
        world.http("DELETE", "/containers/it", None).expect(200);
    }
}

/// The same address again and again, each time behind another MAC address; in
/// between it is asked for, or remembered as what it was.
fn remembered(test: &str, asked_between: bool, other_port: bool) {
    let Some(world) = World::open(test) else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "peer", "ipnet", &[WEB]);
    let mut places = vec![Place::Host, Place::In("peer")];
    if other_port {
        member(&world, "wired", "vnet", &[WEB]);
        places.push(Place::In("wired"));
    }
    for round in 0..6 {
        create(&world, "it", if round % 2 == 0 { "vnet" } else { "ipnet" });
        let own = connect(&world, "it", WEB);
        if asked_between {
            for place in &places {
                let seen = place.miss(&world, &tcp(&own, 9000));
                assert!(none_answered(&seen), "{place:?}: {seen:?}");
            }
        }
        start(&world, "it");
        let serving = Place::In("it").serve(&world, &both(&own, 9000));
        for place in &places {
            // Before a neighbour would ask again by itself.
            let seen = place.miss(&world, &both(&own, 9000));
            let reached = all_answered(&seen);
            assert!(reached, "round {round}: {place:?}: {seen:?}");
        }
        world.http("POST", "/containers/it/stop?timeout=0", None).expect(200);
        world.http("DELETE", "/containers/it", None).expect(200);
        drop(serving);
    }
}

#[test]
fn an_address_that_was_asked_for_answers_at_once() {
    remembered("an_address_that_was_asked_for_answers_at_once", true, true);
}

#[test]
fn an_address_that_was_asked_for_answers_at_once_on_the_first_port() {
    remembered("an_address_that_was_asked_for_answers_at_once_on_the_first_port", true, false);
}

#[test]
fn an_address_that_was_anothers_answers_at_once() {
    remembered("an_address_that_was_anothers_answers_at_once", false, true);
}

#[test]
fn an_address_that_was_anothers_answers_at_once_on_the_first_port() {
    remembered("an_address_that_was_anothers_answers_at_once_on_the_first_port", false, false);
}

#[test]
fn a_bridge_without_ports_goes_on_answering_for_its_containers() {
    let Some(world) = World::open("a_bridge_without_ports_goes_on_answering_for_its_containers")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[WEB]);
    let own = addresses_of(&world, "plain", WEB);
    let _serving = Place::In("plain").serve(&world, &both(&own, 9000));
    for _ in 0..3 {
        // The only port of the bridge comes and goes, and its carrier with it.
        member(&world, "wired", "vnet", &[WEB]);
        let wired = addresses_of(&world, "wired", WEB);
        assert_eq!(Place::In("wired").ask(&world, &both(&own, 9000)), doubled(&wired));
        world.http("POST", "/containers/wired/stop", None).expect(200);
        world.http("DELETE", "/containers/wired", None).expect(200);
        world.wait_until(LIMIT, "no carrier", || {
            let links = Place::Host.links(&world);
            common::net::link(&links, "kleene1").unwrap()["operstate"] == "DOWN"
        });
    }
}
