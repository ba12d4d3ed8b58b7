//! Whose an address of an `ipnet` container is: nobody else can have it, speak
//! with it or answer on it, and the container can have no other.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, WEB, WIRE, addresses_of, all_answered, both, disconnect, doubled, ground, holder,
    member, none_answered, supervisor, tcp,
};
use common::{LIMIT, kill9};
use kleene_e2e::{Background, OUTSIDE4, OUTSIDE6, WORLD4, WORLD6, World};

/// Somebody who is nowhere.
const NOBODY: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];
const WILDCARD: [&str; 2] = ["0.0.0.0", "::"];

#[test]
fn only_own_addresses_can_be_bound() {
    let Some(world) = World::open("only_own_addresses_can_be_bound") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "one", "ipnet", &[WIRE, WEB]);
    member(&world, "two", "ipnet", &[WEB]);
    let own = [addresses_of(&world, "one", WEB), addresses_of(&world, "one", WIRE)].concat();
    let others = addresses_of(&world, "two", WEB);
    let bind = |sockets: &[String]| Place::In("one").bind(&world, sockets);
    let bound = bind(&both(&own, 9000));
    assert!(bound.iter().all(|seen| seen == "bound"), "the allowed twin: {bound:?}");
    let mapped = |addr: &str| format!("::ffff:{addr}");
    let loopback = ["127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mine = [vec![mapped(&own[0]), mapped("0.0.0.0")], loopback].concat();
    let bound = bind(&both(&[mine, WILDCARD.map(str::to_owned).to_vec()].concat(), 9000));
    assert!(bound.iter().all(|seen| seen == "bound"), "the allowed twin: {bound:?}");
    let gateway = ["10.2.0.1", "fd00:2::1"];
    let foreign = [WORLD4, WORLD6, OUTSIDE4, gateway[0], gateway[1], NOBODY[0], NOBODY[1]];
    let mut foreign = foreign.map(str::to_owned).to_vec();
    foreign.extend(others);
    foreign.extend([mapped(WORLD4), mapped(NOBODY[0]), "10.2.0.255".to_owned()]);
    let bound = bind(&both(&foreign, 9000));
    assert!(bound.iter().all(|seen| seen == "EADDRNOTAVAIL"), "{foreign:?}: {bound:?}");
    // One's own for as long as one is connected.
    disconnect(&world, "one", WEB);
    let bound = bind(&tcp(&own, 9000));
    assert_eq!(bound, ["EADDRNOTAVAIL", "EADDRNOTAVAIL", "bound", "bound"]);
    // The same through the other family's sockets, by their real sender.
    let serving = Place::Outside.serve(&world, &tcp(&[OUTSIDE4], 9000));
    let seen = Place::In("one").ask(&world, &[format!("tcp/{}/9000", mapped(OUTSIDE4))]);
    assert_eq!(seen, [own[2].clone()]);
    drop(serving);
}

#[test]
fn the_host_cannot_have_a_containers_address() {
    let Some(world) = World::open("the_host_cannot_have_a_containers_address") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "one", "ipnet", &[WIRE]);
    member(&world, "native", "host", &[]);
    let own = addresses_of(&world, "one", WIRE);
    let sniffer = Place::Outside.start(&world, &["sniff", "uplink0"], "up\n");
    for place in [Place::Host, Place::In("native")] {
        assert_eq!(place.bind(&world, &tcp(&[WORLD4, WORLD6], 9000)), ["bound", "bound"]);
        assert_eq!(place.bind(&world, &tcp(&own[..1], 9000)), ["EADDRNOTAVAIL"]);
        // Linux lets them bind in IPv6; nothing comes out.
        let from = |port: u16| {
            let one = |to: &str, source: &str| format!("udp/{to}/{port}/{source}");
            [one(OUTSIDE6, &own[1]), one(OUTSIDE6, WORLD6), one(OUTSIDE4, WORLD4)]
        };
        let sent = place.send(&world, "plain", &from(9000));
        assert_eq!(sent[1..], ["sent", "sent"], "the allowed twin");
    }
    // With privileges, the sender is told.
    let stolen = [format!("udp/{OUTSIDE4}/9000/{}", own[0])];
    assert_ne!(Place::Host.send(&world, "plain", &stolen), ["sent"]);
    Place::Host.send(&world, "freebind", &stolen);
    Place::Host.send(&world, "transparent", &stolen);
    assert_eq!(heard(&world, &sniffer), ["plain 192.0.2.2", "plain 2001:db8:1::2"]);
}

/// What a sniffer in the outside has heard, each once, when the last of what
/// is sent now has come: what was sent before has come before.
fn heard(world: &World, sniffer: &Background) -> Vec<String> {
    let last = ["transparent any", "transparent6 any"];
    Place::Host.send(world, "transparent", &[format!("udp/{OUTSIDE4}/9009")]);
    Place::Host.send(world, "transparent6", &[format!("udp/{OUTSIDE6}/9009")]);
    world.wait_until(LIMIT, "the last", || last.iter().all(|last| sniffer.stdout().contains(last)));
    let all = sniffer.stdout();
    let mut lines: Vec<String> = all.lines().skip(1).map(str::to_owned).collect();
    lines.retain(|line| !last.contains(&line.as_str()));
    lines.sort();
    lines.dedup();
    lines
}

#[test]
fn no_other_source_gets_out_of_a_container() {
    let Some(world) = World::open("no_other_source_gets_out_of_a_container") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "one", "ipnet", &[WIRE, WEB]);
    member(&world, "two", "ipnet", &[WEB]);
    member(&world, "wired", "vnet", &[WEB]);
    let own = [addresses_of(&world, "one", WIRE), addresses_of(&world, "one", WEB)].concat();
    let two = addresses_of(&world, "two", WEB);
    let wired = addresses_of(&world, "wired", WEB);
    let cable_of = |addr: &str| {
        let route = world.ip_json(["route", "get", addr]);
        route[0]["dev"].as_str().unwrap().to_owned()
    };
    let inner_end = holder(&Place::In("wired").links(&world), &wired[0]).unwrap().0;
    let sniff = |place: Place<'_>, link: &str| place.start(&world, &["sniff", link], "up\n");
    let sniffers = [
        sniff(Place::Outside, "uplink0"),
        sniff(Place::Host, &cable_of(&two[0])),
        sniff(Place::In("wired"), &inner_end),
    ];
    let targets = [[OUTSIDE4.to_owned(), OUTSIDE6.to_owned()], two.clone(), wired];
    let strangers = [[WORLD4, WORLD6].map(str::to_owned), NOBODY.map(str::to_owned), two];
    for target in &targets {
        for (family, target) in target.iter().enumerate() {
            let from = |source: &str| format!("udp/{target}/9000/{source}");
            let foreign: Vec<String> =
                strangers.iter().map(|stranger| from(&stranger[family])).collect();
            let send = |how: &str, sockets: &[String]| Place::In("one").send(&world, how, sockets);
            let free = ["freebind", "freebind6"][family];
            // Any process may set it; what is sent is another matter.
            let tried = send(free, &foreign);
            println!("{free} to {target}: {tried:?}");
            let transparent = ["transparent", "transparent6"][family];
            assert_eq!(send(transparent, &foreign), ["EPERM"; 3]);
            assert_eq!(send("plain", &foreign), ["EADDRNOTAVAIL"; 3]);
            // The allowed twin, and the last to come: its own.
            let mine = [from(&own[family]), from(&own[family + 2])];
            assert_eq!(send(free, &mine), ["sent", "sent"]);
            assert_eq!(send("plain", &mine), ["sent", "sent"]);
        }
    }
    for sniffer in &sniffers {
        world.wait_until(LIMIT, "the last", || {
            sniffer.stdout().contains(&format!("plain {}", own[3]))
        });
        let mut expected: Vec<String> = own.iter().map(|addr| format!("plain {addr}")).collect();
        let free = own.iter().zip(["freebind", "freebind6"].into_iter().cycle());
        expected.extend(free.map(|(addr, how)| format!("{how} {addr}")));
        let all = sniffer.stdout();
        let mut lines: Vec<&str> = all.lines().skip(1).collect();
        lines.sort_unstable();
        lines.dedup();
        expected.sort();
        assert_eq!(lines, expected);
    }
}

#[test]
fn the_source_follows_the_destination() {
    let Some(world) = World::open("the_source_follows_the_destination") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    let _outside = Place::Outside.serve(&world, &both(&[OUTSIDE4, OUTSIDE6], 9000));
    let mut serving = Vec::new();
    for network in [INNER, WEB, WIRE] {
        let name = format!("peer-{network}");
        member(&world, &name, "ipnet", &[network]);
        serving.push(Place::In(&name).serve(&world, &both(&WILDCARD, 9000)));
    }
    let peer = |network: &str| addresses_of(&world, &format!("peer-{network}"), network);
    member(&world, "many", "ipnet", &[WIRE, INNER, WEB]);
    let asks = |addresses: &[String; 2]| Place::In("many").ask(&world, &both(addresses, 9000));
    let outside = [OUTSIDE4, OUTSIDE6].map(str::to_owned);
    for network in [INNER, WEB, WIRE] {
        let own = addresses_of(&world, "many", network);
        assert_eq!(asks(&peer(network)), doubled(&own), "{network}");
    }
    // What no network contains is asked from the first.
    assert_eq!(asks(&outside), doubled(&addresses_of(&world, "many", WIRE)));
    // A server on the wildcard answers from what was asked.
    let _wildcard = Place::In("many").serve(&world, &both(&WILDCARD, 9001));
    for network in [INNER, WEB, WIRE] {
        let own = addresses_of(&world, "many", network);
        let name = format!("peer-{network}");
        let seen = Place::In(&name).ask(&world, &both(&own, 9001));
        assert_eq!(seen, doubled(&peer(network)), "{network}");
    }
    // A source that was chosen by hand is kept.
    let own = addresses_of(&world, "many", INNER);
    let chosen: Vec<String> = both(&peer(WEB), 9000)
        .iter()
        .zip(doubled(&own))
        .map(|(socket, source)| format!("{socket}/{source}"))
        .collect();
    assert_eq!(Place::In("many").ask(&world, &chosen), doubled(&own));
}

#[test]
fn services_of_the_host_do_not_answer_on_a_containers_address() {
    let Some(world) = World::open("services_of_the_host_do_not_answer_on_a_containers_address")
    else {
        return;
    };
    let mut kleened = world.start_kleened("");
    ground(&world);
    member(&world, "native", "host", &[]);
    member(&world, "peer", "ipnet", &[INNER]);
    let _host = Place::Host.serve(&world, &both(&WILDCARD, 9000));
    let _native = Place::In("native").serve(&world, &both(&WILDCARD, 9001));
    let one = member(&world, "one", "ipnet", &[WIRE, WEB, INNER]);
    let own: Vec<String> = [WIRE, WEB, INNER]
        .iter()
        .flat_map(|network| addresses_of(&world, "one", network))
        .collect();
    let nowhere = |what: &str| {
        let twins = [WORLD4, WORLD6].map(str::to_owned);
        for port in [9000, 9001] {
            for place in [Place::Host, Place::In("peer"), Place::Outside] {
                let twin = place.ask(&world, &tcp(&twins, port));
                assert!(all_answered(&twin), "{place:?}: {twin:?}");
                // The outside knows the way to its own subnet only.
                let reach = if place == Place::Outside { 2 } else { own.len() };
                let seen = place.miss(&world, &both(&own[..reach], port));
                assert!(none_answered(&seen), "{what}: {place:?}: {seen:?}");
            }
        }
    };
    nowhere("running");
    let servers = Place::In("one").serve(&world, &tcp(&own, 9000));
    let seen = Place::Host.ask(&world, &tcp(&own, 9000));
    assert!(all_answered(&seen), "its own does: {seen:?}");
    drop(servers);
    // Killed while nobody cleans up: the addresses still stand.
    kleened.kill9();
    let cable = world.ip_json(["route", "get", &own[0]])[0]["dev"].as_str().unwrap().to_owned();
    assert!(cable.starts_with("epair"), "{cable}");
    kill9(&world, &supervisor(&world, &one));
    let links = Place::Host.links(&world);
    assert!(own.iter().all(|addr| holder(&links, addr).is_some()), "{links:?}");
    world.wait_until(LIMIT, "the end of its cable", || {
        world.run(["ip", "link", "show", "dev", &cable]).status != Some(0)
    });
    dead(&world, &own);
    let _kleened = kleened.restart();
    world.wait_until(LIMIT, "no address", || {
        let links = Place::Host.links(&world);
        own.iter().all(|addr| holder(&links, addr).is_none())
    });
}

/// Nothing answers on these addresses, from the host and from outside.
fn dead(world: &World, own: &[String]) {
    let twins = Place::Outside.ask(world, &tcp(&[WORLD4, WORLD6], 9000));
    assert!(all_answered(&twins), "{twins:?}");
    for (place, reach) in [(Place::Host, own.len()), (Place::Outside, 2)] {
        let seen = place.miss(world, &both(&own[..reach], 9000));
        assert!(none_answered(&seen), "{place:?}: {seen:?}");
    }
}
