//! What goes wrong, or is tried, leaves nobody with what is not theirs.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

mod common;

use common::net::{
    INNER, Place, WEB, WIRE, addresses_of, all_answered, both, connect, disconnect, doubled,
    ground, member, none_answered, start, supervisor, tcp,
};
use common::{LIMIT, cables, create, is_running, kill9, processes};
use kleene_e2e::{Background, OUTSIDE4, OUTSIDE6, World, poll};
use serde_json::json;

const HOLDER: &str = include_str!("common/holder.py");

/// Runs the holder of sockets in a container.
fn holder(world: &World, container: &str, words: &[&str]) -> Background {
    let python = ["exec", "-i", container, "python3", "-I", "-S", "-c", HOLDER];
    let mut started = world.klee_spawn([&python[..], words].concat());
    world.wait_until(LIMIT, "the holder", || started.stdout() == "up\n" || !started.running());
    assert_eq!(started.stdout(), "up\n", "{}", started.stderr());
    started
}

/// What the holder says to an order.
fn order(world: &World, holder: &mut Background, line: &str) -> String {
    let before = holder.stdout().lines().count();
    holder.send(format!("{line}\n"));
    world.wait_until(LIMIT, line, || holder.stdout().lines().count() > before);
    holder.stdout().lines().last().unwrap().to_owned()
}

#[test]
fn a_passed_socket_ends_with_its_container() {
    let Some(world) = World::open("a_passed_socket_ends_with_its_container") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    world.run(["mkdir", "/k-shared"]).ok();
    for name in ["one", "two"] {
        let config = json!({
            "name": name, "image": "host-usr", "cmd": ["sleep", "1000"], "network_driver": "ipnet",
            "mounts": [{"type": "nullfs", "source": "/k-shared", "destination": "/shared",
                        "read_only": false}],
        });
        world.http("POST", "/containers/create", Some(&config)).expect(201);
        connect(&world, name, WIRE);
        start(&world, name);
    }
    let own = addresses_of(&world, "one", WIRE);
    let outside = Place::Outside.start(&world, &["sniff", "uplink0"], "up\n");
    let said = |text: &str| outside.stdout().contains(text);
    let _passes = holder(&world, "one", &["pass", "/shared/socket", &own[0], &own[1]]);
    let mut taken = holder(&world, "two", &["take", "/shared/socket"]);
    let targets = [OUTSIDE4, OUTSIDE6];
    let send = |taken: &mut Background, mark: &str| {
        [0, 1].map(|n| order(&world, taken, &format!("send {n} {} 9009 {mark}-{n}", targets[n])))
    };
    // The allowed twin: a socket is a right, and was given away.
    assert_eq!(send(&mut taken, "first"), ["sent", "sent"]);
    world.wait_until(LIMIT, "what was sent", || said("first-0") && said("first-1"));
    // Its container ends, and its addresses are somebody else's.
    world.http("POST", "/containers/one/stop?timeout=0", None).expect(200);
    send(&mut taken, "second");
    disconnect(&world, "one", WIRE);
    create(&world, "three", "ipnet");
    let body = json!({
        "container": "three", "network": WIRE, "ip_address": own[0], "ip_address6": own[1],
    });
    world.http("POST", "/networks/connect", Some(&body)).expect(204);
    start(&world, "three");
    let _serving = Place::In("three").serve(&world, &both(&own, 9100));
    let seen = Place::Outside.ask(&world, &both(&own, 9100));
    assert_eq!(seen, doubled(&targets.map(str::to_owned)), "the new one answers");
    send(&mut taken, "third");
    assert_eq!([0, 1].map(|n| order(&world, &mut taken, &format!("heard {n}"))), ["nothing"; 2]);
    // What is sent last comes last.
    let last = both(&targets, 9010).into_iter().filter(|socket| socket.starts_with("udp"));
    Place::In("three").send(&world, "plain", &last.collect::<Vec<_>>());
    world.wait_until(LIMIT, "the last", || outside.stdout().matches("plain any").count() >= 2);
    assert!(!said("second") && !said("third"), "{}", outside.stdout());
}

/// How far a start gets before its supervisor is killed.
const POINTS: [&str; 4] = ["its supervisor", "its cable", "its holder", "its command"];

#[test]
fn a_supervisor_killed_at_any_point_leaves_nothing() {
    let Some(world) = World::open("a_supervisor_killed_at_any_point_leaves_nothing") else {
        return;
    };
    let _kleened = world.start_kleened("");
    ground(&world);
    for driver in ["ipnet", "vnet"] {
        let id = create(&world, driver, driver);
        let network = if driver == "ipnet" { WIRE } else { WEB };
        let own = connect(&world, driver, network);
        let (before, settings) = (world.snapshot(), world.settings());
        for point in POINTS {
            let mut client = world.klee_spawn(["start", driver]);
            let there = || match point {
                "its supervisor" => !supervisor(&world, &id).is_empty(),
                "its cable" => !cables(&world).is_empty(),
                "its holder" => !processes(&world, "/run/.kleene/holder").is_empty(),
                _ => !processes(&world, "sleep 1000").is_empty(),
            };
            // The client's start may fail first: it is told, then.
            let seen = poll(LIMIT, || (there() || !client.running()).then(there));
            assert_eq!(seen, Some(true), "{driver}: {point}");
            kill9(&world, &supervisor(&world, &id));
            let said = client.wait(LIMIT);
            assert_ne!(said.status, Some(0), "{driver}: {point}: {said}");
            world.wait_until(LIMIT, "its end", || !is_running(&world, driver));
            world.assert_back_to(&before, LIMIT);
            assert_eq!(world.settings(), settings, "{driver}: {point}");
            let places = [Place::Host, Place::Outside];
            let reach = if driver == "ipnet" { &places[..] } else { &places[..1] };
            for place in reach {
                let seen = place.miss(&world, &both(&own, 9000));
                assert!(none_answered(&seen), "{driver}: {point}: {place:?}: {seen:?}");
            }
            // The allowed twin: the same again, undisturbed.
            start(&world, driver);
            let serving = Place::In(driver).serve(&world, &both(&own, 9000));
            for place in reach {
                let seen = place.ask(&world, &both(&own, 9000));
                assert!(all_answered(&seen), "{driver}: {point}: {place:?}: {seen:?}");
            }
            drop(serving);
            world.http("POST", &format!("/containers/{driver}/stop?timeout=0"), None).expect(200);
            world.assert_back_to(&before, LIMIT);
        }
        world.http("DELETE", &format!("/containers/{driver}"), None).expect(200);
    }
}

/// Whether somebody answers for each of these addresses on a link, as who asks
/// has it in its neighbour table.
fn neighbours(world: &World, place: Place<'_>, link: &str, addresses: &[String]) -> Vec<bool> {
    place.run(world, &["ip", "neigh", "flush", "dev", link]).ok();
    let sockets: Vec<String> = addresses.iter().map(|addr| format!("udp/{addr}/9999")).collect();
    // To be sent is enough.
    place.miss(world, &sockets);
    let settled = || -> Option<Vec<bool>> {
        let shown = place.run(world, &["ip", "-j", "neigh", "show", "dev", link]);
        let list = shown.ok().json().as_array().unwrap().clone();
        let state = |addr: &String| {
            let one = list.iter().find(|one| one["dst"] == addr.as_str())?;
            let failed = one["state"].as_array()?.iter().any(|state| state == "FAILED");
            (failed || one["lladdr"].is_string()).then(|| one["lladdr"].is_string())
        };
        addresses.iter().map(state).collect()
    };
    poll(LIMIT, settled).unwrap_or_else(|| panic!("{place:?}: no verdict on {addresses:?}"))
}

#[test]
fn the_host_answers_for_running_containers_only() {
    let Some(world) = World::open("the_host_answers_for_running_containers_only") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "wired", "vnet", &[WEB]);
    member(&world, "inner", "ipnet", &[INNER]);
    let cable = Place::In("wired").links(&world)[1]["ifname"].as_str().unwrap().to_owned();
    let elsewhere = addresses_of(&world, "inner", INNER);
    let nobody = [["10.2.0.200", "fd00:2::200"], ["192.0.2.100", "2001:db8:1:0:1::200"]];
    for (network, place, link, nobody) in [
        (WEB, Place::In("wired"), cable.as_str(), nobody[0]),
        (WIRE, Place::Outside, "uplink0", nobody[1]),
    ] {
        let (up, down, away) =
            (format!("{network}-1"), format!("{network}-2"), format!("{network}-3"));
        for name in [&up, &down, &away] {
            member(&world, name, "ipnet", &[network]);
        }
        let [up, stopped, gone] =
            [&up, &down, &away].map(|name| addresses_of(&world, name, network));
        let ask = |all: &[&[String; 2]]| -> Vec<bool> {
            let all: Vec<String> = all.iter().copied().flatten().cloned().collect();
            neighbours(&world, place, link, &all)
        };
        // The allowed twin: while they run, it does.
        assert_eq!(ask(&[&up, &stopped, &gone]), [true; 6], "{network}");
        world.http("POST", &format!("/containers/{down}/stop?timeout=0"), None).expect(200);
        disconnect(&world, &away, network);
        // What another network holds is asked for as if it were here.
        for addr in &elsewhere {
            place.run(&world, &["ip", "route", "add", addr, "dev", link]).ok();
        }
        let seen = ask(&[&up, &stopped, &gone, &nobody.map(str::to_owned), &elsewhere]);
        let mut expected = [false; 10];
        expected[..2].fill(true);
        assert_eq!(seen, expected, "{network}");
    }
}

/// Claims addresses on a link, by ARP and by neighbour advertisements.
const CLAIM: &str = r#"
import socket, struct, sys
link, mac, four, six = sys.argv[1:]
mac = bytes.fromhex(mac.replace(":", ""))
one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
one.bind((link, 0))
four, six = socket.inet_pton(socket.AF_INET, four), socket.inet_pton(socket.AF_INET6, six)
every = b"\xff" * 6
for verb in (1, 2):
    arp = struct.pack("!HHBBH", 1, 0x800, 6, 4, verb) + mac + four + every + four
    print(one.send(every + mac + b"\x08\x06" + arp))
body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + six + b"\x02\x01" + mac
to = socket.inet_pton(socket.AF_INET6, "ff02::1")
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
proper = checksum(six + to + struct.pack("!II", len(body), 58) + body)
body = body[:2] + struct.pack("!H", proper) + body[4:]
head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + six + to
print(one.send(b"\x33\x33\0\0\0\1" + mac + b"\x86\xdd" + head + body))
"#;

#[test]
fn a_container_with_raw_sockets_takes_nobodys_address() {
    let Some(world) = World::open("a_container_with_raw_sockets_takes_nobodys_address") else {
        return;
    };
    let _kleened = world.start_kleened("");
    ground(&world);
    let config = json!({
        "name": "raw", "image": "host-usr", "cmd": ["sleep", "1000"], "network_driver": "ipnet",
        "jail_param": ["mount.devfs", "allow.raw_sockets=true"],
    });
    world.http("POST", "/containers/create", Some(&config)).expect(201);
    connect(&world, "raw", WEB);
    start(&world, "raw");
    member(&world, "two", "ipnet", &[WEB]);
    member(&world, "wired", "vnet", &[WEB]);
    let links = Place::In("raw").links(&world);
    let veth = links.iter().find(|link| link["linkinfo"]["info_kind"] == "veth").unwrap();
    let text = |key: &str| veth[key].as_str().unwrap().to_owned();
    let own = addresses_of(&world, "raw", WEB);
    let _own = Place::In("raw").serve(&world, &both(&own, 9000));
    for victim in ["two", "wired"] {
        let theirs = addresses_of(&world, victim, WEB);
        let _serving = Place::In(victim).serve(&world, &both(&theirs, 9000));
        let _false = Place::In("raw").serve(&world, &both(&["0.0.0.0", "::"], 9001));
        let table = || {
            world.run(["ip", "-j", "neigh", "show", "nud", "permanent"]).ok().stdout().into_owned()
        };
        let before = table();
        let talk = |when: &str| {
            for place in [Place::Host, Place::In("two"), Place::In("wired")] {
                let seen = place.ask(&world, &tcp(&[&theirs[..], &own[..]].concat(), 9000));
                assert!(all_answered(&seen), "{when}: {place:?}: {seen:?}");
                let seen = place.miss(&world, &tcp(&theirs, 9001));
                assert!(none_answered(&seen), "{when}: {place:?} is led astray: {seen:?}");
            }
        };
        talk("before");
        let mut claim = vec!["python3", "-I", "-S", "-c", CLAIM];
        let (link, mac) = (text("ifname"), text("address"));
        claim.extend([link.as_str(), &mac, &theirs[0], &theirs[1]]);
        // It may send: that is what it was given.
        Place::In("raw").run(&world, &claim).ok();
        talk("after");
        assert_eq!(table(), before);
    }
}
