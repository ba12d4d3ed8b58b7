//! What an `ipnet` and a `disabled` container see, and what they may not do.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    INNER, Place, WEB, WIRE, addresses_of, all_answered, both, ground, link, member, on, start, tcp,
};
use common::{LIMIT, addresses, create, said};
use kleene_e2e::{FAR4, FAR6, OUTSIDE4, OUTSIDE6, WORLD4, WORLD6, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// A view is like the host after this time at most.
const FOLLOWS: Duration = Duration::from_secs(1);

/// Names and numbers of links; the host's without cables.
fn named(links: &[Value]) -> BTreeSet<(String, u64)> {
    let all = links.iter().map(|link| {
        (link["ifname"].as_str().unwrap().to_owned(), link["ifindex"].as_u64().unwrap())
    });
    all.filter(|(name, _)| !name.starts_with("epair")).collect()
}

fn shown(links: &[Value]) -> BTreeSet<String> {
    links.iter().flat_map(addresses).collect()
}

#[test]
fn every_interface_of_the_host_is_seen_and_only_own_addresses() {
    let Some(world) = World::open("every_interface_of_the_host_is_seen_and_only_own_addresses")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    ground(&world);
    world.run(["ip", "link", "add", "extra0", "type", "bridge"]).ok();
    let everywhere = [(INNER, "kleene0"), (WEB, "kleene1"), (WIRE, "eth0")];
    for (network, interface) in everywhere {
        let name = format!("on-{network}");
        member(&world, &name, "ipnet", &[network]);
        let own = addresses_of(&world, &name, network);
        let own = [format!("{}/32", own[0]), format!("{}/128", own[1])];
        let inside = Place::In(&name).links(&world);
        let host = Place::Host.links(&world);
        assert_eq!(named(&inside), named(&host), "{name}");
        assert_eq!(on(&inside, interface), own);
        assert_eq!(on(&inside, "lo"), ["::1/128"]);
        let mut all: BTreeSet<String> = own.clone().into();
        all.insert("::1/128".to_owned());
        assert_eq!(shown(&inside), all);
        // On the host, they are seen beside what was there.
        assert!(own.iter().all(|addr| on(&host, interface).contains(addr)), "{host:?}");
    }
    member(&world, "everywhere", "ipnet", &[WIRE, INNER, WEB]);
    let inside = Place::In("everywhere").links(&world);
    for (network, interface) in everywhere {
        let own = addresses_of(&world, "everywhere", network);
        assert_eq!(on(&inside, interface), [format!("{}/32", own[0]), format!("{}/128", own[1])]);
    }
    assert_eq!(named(&inside), named(&Place::Host.links(&world)));
    // Sockets of the host are its own.
    let _serving = Place::Host.serve(&world, &tcp(&["0.0.0.0", "::"], 9000));
    let listeners =
        |place: Place<'_>| place.run(&world, &["ss", "-ltnH"]).ok().stdout().into_owned();
    assert!(listeners(Place::Host).contains(":9000"));
    assert_eq!(listeners(Place::In("everywhere")), "");
}

#[test]
fn the_loopback_addresses_are_its_own() {
    let Some(world) = World::open("the_loopback_addresses_are_its_own") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "one", "ipnet", &[INNER]);
    member(&world, "two", "ipnet", &[INNER]);
    let loopback = ["127.0.0.1", "::1"];
    let seen = ["127.0.0.1", "127.0.0.1", "::1", "::1"];
    let _serving = Place::Host.serve(&world, &both(&loopback, 9000));
    // The allowed twin.
    assert_eq!(Place::Host.ask(&world, &both(&loopback, 9000)), seen);
    assert_eq!(Place::In("one").ask(&world, &both(&loopback, 9000)), ["ECONNREFUSED"; 4]);
    let serving = Place::In("one").serve(&world, &both(&loopback, 9000));
    assert_eq!(Place::In("one").ask(&world, &both(&loopback, 9000)), seen);
    assert_eq!(Place::In("two").ask(&world, &both(&loopback, 9000)), ["ECONNREFUSED"; 4]);
    assert_eq!(Place::Host.ask(&world, &both(&loopback, 9000)), seen);
    assert_eq!(serving.stdout().matches(" from ").count(), 4, "only its own: {}", serving.stdout());
    // A service bound to its own addresses does not answer there, and the other
    // way round.
    let own = addresses_of(&world, "one", INNER);
    assert_eq!(Place::In("one").ask(&world, &both(&own, 9000)), ["ECONNREFUSED"; 4]);
    assert_eq!(
        Place::In("one").bind(&world, &tcp(&["127.0.0.2", "127.255.0.9"], 80)),
        ["bound", "bound"]
    );
}

/// What would change the network, with `DEV` for an interface and `OWN` for
/// one of its addresses.
const CHANGES: [&str; 17] = [
    "ip addr add 10.1.0.77/32 dev DEV",
    "ip addr add fd00:1::77/128 dev DEV",
    "ip addr add 127.0.0.9/32 dev lo",
    "ip link set DEV mtu 1400",
    "ip link set DEV address 02:00:00:00:00:01",
    "ip link set DEV promisc on",
    "ip link add x0 type bridge",
    "ip route add 10.99.0.0/16 dev DEV",
    "ip -6 route add fd99::/64 dev DEV",
    "ip route replace unreachable 10.98.0.0/16",
    "ip rule add from 10.1.0.77 lookup 7",
    "ip neigh add 10.1.0.88 lladdr 02:00:00:00:00:01 dev DEV",
    "nft add table inet escape",
    "tc qdisc add dev DEV root pfifo",
    "ip addr del OWN dev DEV",
    "ip link set DEV down",
    "ip link set DEV name renamed0",
];

/// Writes a setting as it is.
const WRITE: &str = "f=/proc/sys/net/ipv4/ip_forward; v=$(cat $f) && echo $v >$f";

#[test]
fn nothing_can_be_configured() {
    let Some(world) = World::open("nothing_can_be_configured") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[INNER]);
    member(&world, "none", "disabled", &[]);
    member(&world, "free", "vnet", &[WEB]);
    // The allowed twins of what is refused in whatever namespace.
    world.run(["unshare", "-Urn", "true"]).ok();
    world.run(["unshare", "-Ur", "true"]).ok();
    world.run(["sh", "-c", WRITE]).ok();
    let before = world.snapshot();
    let views = || ["plain", "none"].map(|name| Place::In(name).links(&world));
    let seen = views();
    let own = addresses_of(&world, "plain", INNER)[0].clone();
    let free = addresses_of(&world, "free", WEB)[0].clone() + "/24";
    let cable = Place::In("free").links(&world)[1]["ifname"].as_str().unwrap().to_owned();
    for change in CHANGES {
        let line = |dev: &str, own: &str| change.replace("DEV", dev).replace("OWN", own);
        let run = |name: &str, line: &str| Place::In(name).run(&world, &["sh", "-c", line]);
        // The allowed twin: a stack of one's own.
        run("free", &line(&cable, &free)).ok();
        for (name, own) in [("plain", &own), ("none", &own)] {
            let refused = run(name, &line("kleene0", &format!("{own}/32")));
            let text = said(refused.fails());
            assert!(text.contains("not permitted"), "{name}: {change}: {refused}");
            let nested = format!("unshare -Urn true || unshare -Ur {}", line("kleene0", own));
            run(name, &nested).fails();
        }
    }
    for name in ["plain", "none"] {
        Place::In(name).run(&world, &["sh", "-c", WRITE]).fails();
    }
    assert_eq!(views(), seen);
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
}

#[test]
fn raw_and_packet_sockets_are_refused() {
    let Some(world) = World::open("raw_and_packet_sockets_are_refused") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[INNER]);
    member(&world, "none", "disabled", &[]);
    member(&world, "free", "vnet", &[WEB]);
    let sockets = [
        ("raw", "AF_INET, SOCK_RAW, 1"),
        ("raw of any protocol", "AF_INET, SOCK_RAW, 255"),
        ("raw6", "AF_INET6, SOCK_RAW, 58"),
        ("packet", "AF_PACKET, SOCK_RAW, 768"),
        ("packet without heads", "AF_PACKET, SOCK_DGRAM, 768"),
    ];
    for (what, arguments) in sockets {
        let line = format!(
            "from socket import *\ntry:\n socket({arguments})\n print(0)\n\
             except OSError as error:\n print(error.errno)"
        );
        let open = |place: Place<'_>| {
            place.run(&world, &["python3", "-I", "-S", "-c", &line]).ok().first_line()
        };
        assert_eq!(open(Place::In("free")), "0", "{what}: the allowed twin");
        for name in ["plain", "none"] {
            assert_eq!(open(Place::In(name)), "1", "{what} in {name}: EPERM");
        }
    }
    let ping = |place: Place<'_>, to: &str| {
        place.run(&world, &["busybox", "ping", "-c", "1", "-W", "2", to]).status
    };
    let own = addresses_of(&world, "plain", INNER);
    for addr in &own {
        assert_eq!(ping(Place::Host, addr), Some(0), "it answers like everybody");
        assert_ne!(ping(Place::In("plain"), addr), Some(0));
    }
    assert_eq!(ping(Place::In("free"), "10.2.0.1"), Some(0));
    assert_ne!(ping(Place::In("plain"), "10.2.0.1"), Some(0));
}

#[test]
fn a_view_follows_the_host() {
    let Some(world) = World::open("a_view_follows_the_host") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[INNER]);
    member(&world, "none", "disabled", &[]);
    let own = addresses_of(&world, "plain", INNER);
    let serving = Place::In("plain").serve(&world, &both(&own, 9000));
    let follow = |what: &str, like: &dyn Fn(&Value, &Value) -> bool, name: &str| {
        for container in ["plain", "none"] {
            world.wait_until(FOLLOWS, &format!("{what} in {container}"), || {
                let (host, inside) =
                    (Place::Host.links(&world), Place::In(container).links(&world));
                let pair = (link(&host, name), link(&inside, name));
                named(&host) == named(&inside)
                    && pair.0.is_some() == pair.1.is_some()
                    && pair.0.zip(pair.1).is_none_or(|(host, inside)| like(host, inside))
            });
        }
    };
    let same = |key: &'static str| move |host: &Value, inside: &Value| host[key] == inside[key];
    let up = |link: &Value| link["flags"].as_array().unwrap().contains(&Value::from("UP"));
    let ip = |line: &str| world.run(["sh", "-c", line]).ok().status;
    ip("ip link add extra0 type bridge");
    follow("added", &same("address"), "extra0");
    ip("ip link set extra0 up");
    follow("up", &|host, inside| up(host) == up(inside), "extra0");
    ip("ip link set extra0 down");
    follow("down", &|host, inside| up(host) == up(inside), "extra0");
    ip("ip link set extra0 mtu 1234");
    follow("its MTU", &same("mtu"), "extra0");
    ip("ip link set extra0 name other0");
    follow("renamed", &same("ifindex"), "other0");
    ip("ip link del other0");
    follow("removed", &same("ifindex"), "other0");
    // The same name with another number is another link.
    ip("ip link add other0 type bridge");
    follow("back", &same("ifindex"), "other0");
    ip("ip link del other0; ip link add other0 type bridge");
    follow("replaced", &same("ifindex"), "other0");
    ip("ip link add veth0 type veth peer name veth1");
    follow("a pair", &same("address"), "veth1");
    common::net::network(&world, "late", "loopback", &serde_json::json!({"subnet": "10.9.0.0/24"}));
    follow("a network", &same("ifindex"), "kleene2");
    world.http("DELETE", "/networks/late", None).expect(200);
    follow("no network", &same("ifindex"), "kleene2");
    // Nothing of that was felt.
    assert!(all_answered(&Place::Host.ask(&world, &both(&own, 9000))));
    drop(serving);
}

#[test]
fn a_disabled_container_reaches_nothing() {
    let Some(world) = World::open("a_disabled_container_reaches_nothing") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    member(&world, "plain", "ipnet", &[WIRE]);
    create(&world, "none", "disabled");
    start(&world, "none");
    let inside = Place::In("none").links(&world);
    assert_eq!(named(&inside), named(&Place::Host.links(&world)));
    assert_eq!(shown(&inside), ["::1/128".to_owned()].into());
    let own = addresses_of(&world, "plain", WIRE);
    let wildcard = ["0.0.0.0", "::"];
    let _host = Place::Host.serve(&world, &tcp(&wildcard, 9000));
    let _outside = Place::Outside.serve(&world, &tcp(&wildcard, 9000));
    let _plain = Place::In("plain").serve(&world, &tcp(&own, 9000));
    let mut targets = own.to_vec();
    targets.extend([WORLD4, WORLD6, OUTSIDE4, OUTSIDE6, FAR4, FAR6, "10.2.0.1"].map(str::to_owned));
    let reached = Place::Host.ask(&world, &tcp(&targets, 9000));
    assert!(all_answered(&reached), "the allowed twin: {reached:?}");
    let reached = Place::In("none").miss(&world, &tcp(&targets, 9000));
    assert!(reached.iter().all(|seen| seen == "ENETUNREACH"), "{reached:?}");
    let bound = Place::In("none").bind(&world, &tcp(&targets, 9000));
    assert!(bound.iter().all(|seen| seen == "EADDRNOTAVAIL"), "{bound:?}");
    // What it does with itself is its own business.
    let loopback = ["127.0.0.1", "::1"];
    assert_eq!(Place::In("none").ask(&world, &both(&loopback, 9000)), ["ECONNREFUSED"; 4]);
    world.http("POST", "/containers/none/stop", None).expect(200);
    start(&world, "none");
    world.wait_until(LIMIT, "the same links", || {
        named(&Place::In("none").links(&world)) == named(&Place::Host.links(&world))
    });
}

#[test]
fn to_the_host_goes_what_the_cable_takes() {
    let Some(world) = World::open("to_the_host_goes_what_the_cable_takes") else { return };
    let _kleened = world.start_kleened("");
    ground(&world);
    for (name, network) in [("inner", INNER), ("web", WEB), ("wire", WIRE)] {
        member(&world, name, "ipnet", &[network]);
        let mtu = |to: &str| {
            let way = Place::In(name).run(&world, &["ip", "-j", "route", "get", to]);
            way.ok().json()[0]["metrics"][0]["mtu"].clone()
        };
        for (host, outside) in [(WORLD4, OUTSIDE4), (WORLD6, OUTSIDE6)] {
            assert!(mtu(host).is_null(), "{name}: {host}: {}", mtu(host));
            // The twin: what is behind the uplink takes what the uplink does.
            assert_eq!(mtu(outside), 1500, "{name}: {outside}");
        }
    }
}
