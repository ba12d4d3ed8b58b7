//! UDP services on the wildcard, in an `ipnet` container with several addresses:
//! answers come from the address that was asked, though they name no source.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, WEB, WIRE, addresses_of, connect, disconnect, ground, known_outside, member, udp,
};
use common::{LIMIT, is_running, processes};
use kleene_e2e::World;

const PORT: u16 = 9000;
/// What a question of some bytes is.
const SHORT: &str = "64";

/// From where a container's service answers, asked on these addresses in turn.
#[track_caller]
fn heard(world: &World, place: Place<'_>, length: &str, addresses: &[String]) -> Vec<String> {
    heard_on(world, place, length, addresses, PORT)
}

#[track_caller]
fn heard_on(
    world: &World,
    place: Place<'_>,
    length: &str,
    addresses: &[String],
    port: u16,
) -> Vec<String> {
    let sockets = udp(addresses, port);
    let words: Vec<&str> =
        ["heard", length].into_iter().chain(sockets.iter().map(String::as_str)).collect();
    let said = place.probe(world, &words);
    said.ok().stdout().lines().map(str::to_owned).collect()
}

/// A service's addresses, those of IPv4 first, and the first of them again: who
/// asks another address, and comes back.
fn turns(world: &World, name: &str, networks: &[&str]) -> Vec<String> {
    let pairs = networks.iter().map(|network| addresses_of(world, name, network));
    let (v4, v6): (Vec<String>, Vec<String>) = pairs.map(|[v4, v6]| (v4, v6)).unzip();
    let again = [v4[0].clone(), v6[0].clone()];
    [&v4[..], &v6[..], &again[..]].concat()
}

/// Those of a service's addresses that somebody outside of its networks may ask,
/// or a container in one of them: what is published leads to the first.
fn open_to(place: Place<'_>, own: &[String], networks: &[&str]) -> Vec<String> {
    let one = match place {
        Place::Host | Place::In("many" | "it") => return own.to_vec(),
        Place::In("on-web" | "wired" | "one" | "stack") => WEB,
        Place::In("on-wire" | "peer") => WIRE,
        Place::In(_) | Place::Outside => INNER,
    };
    let count = networks.len();
    let may = |(at, _): &(usize, &String)| {
        let at = if *at >= 2 * count { 0 } else { at % count };
        at == 0 || networks[at] == one
    };
    own.iter().enumerate().filter(may).map(|(_, addr)| addr.clone()).collect()
}

/// Takes away what makes it so, as nobody but root of the host can.
#[track_caller]
fn break_it(world: &World, command: &str) {
    let inside = processes(world, command);
    let pid = inside.last().expect("a process of the container");
    world.run(["nsenter", "-t", pid, "-n", "nft", "delete", "table", "inet", "kleene"]).ok();
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let Some(world) = World::open("answers_come_from_the_address_that_was_asked") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    known_outside(&world, &["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24", "fd00:2::/64"]);
    let networks = [INNER, WEB, WIRE];
    for (name, driver, network) in [
        ("on-inner", "ipnet", INNER),
        ("on-web", "ipnet", WEB),
        ("on-wire", "ipnet", WIRE),
        ("wired", "vnet", WEB),
    ] {
        member(&world, name, driver, &[network]);
    }
    member(&world, "many", "ipnet", &networks);
    let _dual = Place::In("many").start(&world, &["plain", "dual", "9000"], "up\n");
    let _segments = Place::In("many").start(&world, &["plain", "segments", "9001"], "up\n");
    let _named = Place::In("many").start(&world, &["plain", "pktinfo", "9002"], "up\n");
    let _four = Place::In("many").start(&world, &["plain", "v4", "9003"], "up\n");
    let own = turns(&world, "many", &networks);
    let clients = ["on-inner", "on-web", "on-wire", "wired", "many"].map(Place::In);
    let all = own;
    for place in [Place::Host, Place::Outside].into_iter().chain(clients) {
        let own = open_to(place, &all, &networks);
        assert_eq!(heard(&world, place, SHORT, &own), own, "{place:?}");
        // In fragments; on the way to a port of the bridge, the first that is too
        // long is lost, and says so, whoever sends it.
        let long = if place == Place::In("wired") { "1400" } else { "4001" };
        assert_eq!(heard(&world, place, long, &own), own, "{place:?}");
        // Cut by the kernel, as late as it can.
        assert_eq!(heard_on(&world, place, "4001", &own, 9001), own, "{place:?}");
        // Who names a source keeps it.
        assert_eq!(heard_on(&world, place, SHORT, &own, 9002), own, "{place:?}");
        let v4: Vec<String> = own.iter().filter(|addr| addr.contains('.')).cloned().collect();
        assert_eq!(heard_on(&world, place, SHORT, &v4, 9003), v4, "{place:?}");
    }
    let own = all;
    // What comes of no more than its own doing: the container cannot see it.
    let listed = Place::In("many").run(&world, &["nft", "list", "ruleset"]);
    assert!(!listed.stdout().contains("kleene"), "{listed}");
    Place::In("many").run(&world, &["nft", "delete", "table", "inet", "kleene"]).fails();
    let nested = "unshare -Ur nft delete table inet kleene";
    Place::In("many").run(&world, &["sh", "-c", nested]).fails();
    assert_eq!(heard(&world, Place::Host, SHORT, &own), own);
    // Without it, the kernel chooses: it is no accident.
    break_it(&world, "plain dual");
    let seen = heard(&world, Place::Host, SHORT, &own);
    assert_ne!(seen, own, "the twin");
    assert!(seen.iter().all(|from| own.contains(from)), "{seen:?}");
}

#[test]
fn sockets_that_are_bound_answer_as_before() {
    let Some(world) = World::open("sockets_that_are_bound_answer_as_before") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "many", "ipnet", &[INNER, WEB]);
    member(&world, "one", "ipnet", &[WEB]);
    member(&world, "stack", "vnet", &[WEB]);
    for (name, networks) in [("many", &[INNER, WEB][..]), ("one", &[WEB]), ("stack", &[WEB])] {
        let own = turns(&world, name, networks);
        let bound: Vec<_> = own[..2 * networks.len()]
            .iter()
            .map(|addr| Place::In(name).start(&world, &["echo", addr, "9000"], "up\n"))
            .collect();
        let _wild = Place::In(name).start(&world, &["plain", "dual", "9001"], "up\n");
        let all = own;
        for place in [Place::Host, Place::In("one"), Place::In("stack")] {
            let own = open_to(place, &all, networks);
            assert_eq!(heard(&world, place, SHORT, &own), own, "{name} from {place:?}");
            assert_eq!(heard_on(&world, place, SHORT, &own, 9001), own, "{name} from {place:?}");
        }
        drop(bound);
    }
}

#[test]
fn an_address_that_comes_while_the_service_runs_answers_too() {
    let Some(world) = World::open("an_address_that_comes_while_the_service_runs_answers_too")
    else {
        return;
    };
    let mut kleened = world.start_kleened("");
    ground(&world);
    member(&world, "peer", "ipnet", &[WIRE]);
    member(&world, "it", "ipnet", &[INNER]);
    let _serving = Place::In("it").start(&world, &["plain", "dual", "9000"], "up\n");
    let answers = |networks: &[&str], when: &str| {
        let own = turns(&world, "it", networks);
        for place in [Place::Host, Place::In("peer")] {
            let own = open_to(place, &own, networks);
            assert_eq!(heard(&world, place, SHORT, &own), own, "{when}: {place:?}");
        }
    };
    answers(&[INNER], "with one address of a family");
    connect(&world, "it", WEB);
    answers(&[INNER, WEB], "with two");
    connect(&world, "it", WIRE);
    answers(&[INNER, WEB, WIRE], "with three");
    disconnect(&world, "it", INNER);
    answers(&[WEB, WIRE], "without the first");
    disconnect(&world, "it", WEB);
    answers(&[WIRE], "with one left");
    connect(&world, "it", INNER);
    answers(&[WIRE, INNER], "with two again");
    // The service and what leads its answers outlive the daemon; what is missing
    // is put there by the next.
    let adopted = || {
        world.wait_until(LIMIT, "the adoption", || {
            let runs = |name| {
                is_running(&world, name) && world.klee(["exec", name, "true"]).status == Some(0)
            };
            runs("it") && runs("peer")
        });
    };
    kleened.kill9();
    kleened = kleened.restart();
    adopted();
    answers(&[WIRE, INNER], "after a restart");
    connect(&world, "it", WEB);
    answers(&[WIRE, INNER, WEB], "with one that came after the restart");
    break_it(&world, "plain dual");
    kleened.kill9();
    let _kleened = kleened.restart();
    adopted();
    answers(&[WIRE, INNER, WEB], "mended by a restart");
}
