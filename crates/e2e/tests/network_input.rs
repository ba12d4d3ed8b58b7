//! What is asked of networks and endpoints and cannot be: each is refused in
//! known words, beside an allowed twin, and changes nothing.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{
    Place, addresses_of, all_answered, auto, connect, create_network, endpoint_of, network,
    none_answered, on, start, tcp,
};
use common::{LIMIT, create, endpoint, links, with};
use kleene_e2e::{OUTSIDE4, OUTSIDE6, Reply, WORLD4, WORLD6, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Connects `it` with these addresses.
fn ask(world: &World, network: &str, v4: &str, v6: &str) -> Reply {
    let body = with(endpoint("it", network, v4), &json!({"ip_address6": v6}));
    world.http("POST", "/networks/connect", Some(&body))
}

/// Both are refused in these words, and nothing has changed.
#[track_caller]
fn refused(world: &World, network: &str, address: [&str; 2], text: &str) {
    let before = world.snapshot();
    let reply = ask(world, network, address[0], address[1]);
    assert_eq!((reply.status, reply.message()), (409, text), "{address:?} in {network}");
    assert!(endpoint_of(world, "it", network).is_none());
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
}

#[track_caller]
fn allowed(world: &World, network: &str, address: [&str; 2], given: [&str; 2]) {
    ask(world, network, address[0], address[1]).expect(204);
    assert_eq!(addresses_of(world, "it", network), given, "{address:?} in {network}");
    world.http("POST", &format!("/networks/{network}/disconnect/it"), None).expect(204);
}

#[test]
fn an_address_needs_a_subnet_of_its_family() {
    let Some(world) = World::open("an_address_needs_a_subnet_of_its_family") else { return };
    let _kleened = world.start_kleened("");
    network(&world, "four", "bridge", &json!({"subnet": "10.1.0.0/24"}));
    network(&world, "six", "loopback", &json!({"subnet6": "fd00:1::/64"}));
    network(&world, "none", "loopback", &json!({}));
    create(&world, "it", "ipnet");
    let no = |family: &str| {
        format!(
            "cannot set ip address because there is no {family} subnet defined for this network"
        )
    };
    // `<auto>` is nothing there, and so is nothing.
    for empty in ["<auto>", ""] {
        allowed(&world, "four", ["10.1.0.9", empty], ["10.1.0.9", ""]);
        allowed(&world, "six", [empty, "fd00:1::9"], ["", "fd00:1::9"]);
        allowed(&world, "none", [empty, empty], ["", ""]);
    }
    refused(&world, "four", ["", "fd00:1::9"], &no("IPv6"));
    refused(&world, "six", ["10.1.0.9", ""], &no("IPv4"));
    refused(&world, "none", ["10.1.0.9", ""], &no("IPv4"));
    refused(&world, "none", ["", "fd00:1::9"], &no("IPv6"));
    // One family refused is all refused.
    refused(&world, "four", ["10.1.0.9", "fd00:1::9"], &no("IPv6"));
    allowed(&world, "four", ["10.1.0.9", ""], ["10.1.0.9", ""]);
}

#[test]
fn an_address_must_be_one() {
    let Some(world) = World::open("an_address_must_be_one") else { return };
    let _kleened = world.start_kleened("");
    let both = json!({"subnet": "10.1.0.0/24", "subnet6": "fd00:1::/64"});
    network(&world, "web", "bridge", &both);
    create(&world, "it", "ipnet");
    allowed(&world, "web", ["10.1.0.9", "fd00:1::9"], ["10.1.0.9", "fd00:1::9"]);
    // The same address, written otherwise.
    allowed(&world, "web", ["", "FD00:0001:0::0009"], ["", "fd00:1::9"]);
    let bad =
        ["nonsense", "10.1.0", "10.1.0.9/24", "10.1.0.256", " 10.1.0.9", "<none>", "0x0a010009"];
    for text in bad.into_iter().chain(["fd00:1::9"]) {
        refused(&world, "web", [text, ""], &format!("could not parse inet address {text}: einval"));
    }
    let bad = ["nonsense", "fd00:1::9/64", "fd00:1::g", "fd00:1::9%eth0", "[fd00:1::9]"];
    for text in bad.into_iter().chain(["10.1.0.9"]) {
        refused(
            &world,
            "web",
            ["", text],
            &format!("could not parse inet6 address {text}: einval"),
        );
    }
    for (v4, v6) in [("10.1.1.9", ""), ("203.0.113.1", ""), ("0.0.0.0", ""), ("127.0.0.1", "")] {
        let text = format!("{v4} is not an address of the network's subnet 10.1.0.0/24");
        refused(&world, "web", [v4, v6], &text);
    }
    for v6 in ["fd00:2::9", "::", "::1", "fe80::1", "ff02::1"] {
        let text = format!("{v6} is not an address of the network's subnet fd00:1::/64");
        refused(&world, "web", ["", v6], &text);
    }
}

#[test]
fn an_address_must_be_free() {
    let Some(world) = World::open("an_address_must_be_free") else { return };
    let _kleened = world.start_kleened("");
    for (name, kind, second) in [("web", "bridge", 1), ("inner", "loopback", 2)] {
        let subnets = json!({
            "subnet": format!("10.{second}.0.0/24"), "subnet6": format!("fd00:{second}::/64"),
        });
        network(&world, name, kind, &subnets);
    }
    let wire = json!({"interface": "eth0", "subnet": "192.0.2.0/24", "subnet6": "2001:db8:1::/64"});
    network(&world, "wire", "custom", &with(wire, &json!({"gateway": "", "gateway6": ""})));
    create(&world, "it", "ipnet");
    create(&world, "other", "ipnet");
    let theirs = connect(&world, "other", "web");
    let taken = |address: [&str; 2], network: &str| {
        let before = world.snapshot();
        let reply = ask(&world, network, address[0], address[1]);
        let text = reply.expect(409).message().to_owned();
        let addr = address.concat();
        assert!(text.starts_with(&format!("{addr} is not free: it is ")), "{text}");
        assert!(endpoint_of(&world, "it", network).is_none());
        assert_eq!(before.diff(&world.snapshot()), [""; 0]);
        text
    };
    assert!(taken([&theirs[0], ""], "web").ends_with("container other"));
    assert!(taken(["", &theirs[1]], "web").ends_with("container other"));
    assert!(taken(["10.1.0.1", ""], "web").contains("gateway"));
    assert!(taken(["", "fd00:1::1"], "web").contains("gateway"));
    assert!(taken(["10.1.0.255", ""], "web").contains("broadcast"));
    for (address, network) in [
        (["10.1.0.0", ""], "web"),
        (["", "fd00:1::"], "web"),
        (["10.2.0.0", ""], "inner"),
        (["192.0.2.0", ""], "wire"),
    ] {
        assert!(taken(address, network).contains("network itself"));
    }
    // Nobody broadcasts on the others, nor in IPv6.
    allowed(&world, "inner", ["10.2.0.255", ""], ["10.2.0.255", ""]);
    allowed(
        &world,
        "web",
        ["", "fd00:1::ffff:ffff:ffff:ffff"],
        ["", "fd00:1::ffff:ffff:ffff:ffff"],
    );
    // On a wire there are others: the host itself, and who answers there.
    for ping in [OUTSIDE4, OUTSIDE6] {
        world.run(["busybox", "ping", "-c", "1", "-W", "2", ping]).ok();
    }
    for (v4, v6) in [(WORLD4, ""), ("", WORLD6), (OUTSIDE4, ""), ("", OUTSIDE6)] {
        assert!(taken([v4, v6], "wire").contains("eth0"));
    }
    // .1 is a neighbour's, .2 the host's.
    ask(&world, "wire", "<auto>", "<auto>").expect(204);
    assert_eq!(addresses_of(&world, "it", "wire"), ["192.0.2.3", "2001:db8:1::3"]);
}

#[test]
fn small_subnets_are_used_to_the_last_address() {
    let Some(world) = World::open("small_subnets_are_used_to_the_last_address") else { return };
    let _kleened = world.start_kleened("");
    let none = json!({"gateway": "", "gateway6": ""});
    let given = json!({"gateway": "10.3.0.2", "gateway6": "fd00:3::2"});
    let networks = [
        ("loop", "loopback", "10.1.0.0/30", "fd00:1::/126", &none, vec![1, 2, 3], vec![1, 2, 3]),
        ("web", "bridge", "10.2.0.0/30", "fd00:2::/126", &json!({}), vec![2], vec![2, 3]),
        ("mid", "bridge", "10.3.0.0/29", "fd00:3::/126", &given, vec![1, 3, 4, 5, 6], vec![1, 3]),
    ];
    for (round, (name, kind, v4, v6, gateways, fours, sixes)) in networks.into_iter().enumerate() {
        let subnets = with(json!({"subnet": v4, "subnet6": v6}), gateways);
        network(&world, name, kind, &subnets);
        let count = fours.len().max(sixes.len());
        let names: Vec<String> = (0..=count).map(|n| format!("{name}-{n}")).collect();
        names.iter().for_each(|name| drop(create(&world, name, "ipnet")));
        for (family, last) in [("", &fours), ("6", &sixes)] {
            let key = format!("ip_address{family}");
            let prefix = if family.is_empty() { "10." } else { "fd00:" };
            let join = |container: &str| {
                let body = with(endpoint(container, name, ""), &json!({key.as_str(): "<auto>"}));
                world.http("POST", "/networks/connect", Some(&body))
            };
            for (container, last) in names.iter().zip(last) {
                join(container).expect(204);
                let endpoint = endpoint_of(&world, container, name).unwrap();
                let addr = endpoint[&key].as_str().unwrap().to_owned();
                assert!(addr.starts_with(prefix) && addr.ends_with(&last.to_string()), "{addr}");
            }
            let full = join(&names[last.len()]);
            let text = format!("no more inet{family} IP's left in the network");
            assert_eq!(full.expect(409).message(), text, "{name}, {round}");
            for container in &names {
                let path = format!("/networks/{name}/disconnect/{container}");
                world.http("POST", &path, None);
            }
        }
    }
    let before = world.snapshot();
    for (field, subnet) in [
        ("subnet", "10.4.0.0/31"),
        ("subnet", "10.4.0.1/32"),
        ("subnet6", "fd00:4::/127"),
        ("subnet6", "fd00:4::1/128"),
    ] {
        for kind in ["loopback", "bridge", "custom"] {
            let changes = json!({field: subnet, "interface": "eth0"});
            let text = format!("invalid {field}: {subnet} has no address for a container");
            let reply = create_network(&world, "tiny", kind, &changes);
            assert_eq!(reply.expect(409).message(), text, "{kind}");
        }
    }
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
}

#[test]
fn interfaces_are_named_and_not_shared() {
    let Some(world) = World::open("interfaces_are_named_and_not_shared") else { return };
    let _kleened = world.start_kleened("");
    network(&world, "web", "bridge", &json!({"subnet": "10.1.0.0/24"}));
    network(&world, "wire", "custom", &json!({"interface": "eth0", "subnet": "192.0.2.64/26"}));
    // `lo` is an interface like all others.
    network(&world, "self", "custom", &json!({"interface": "lo", "subnet": "10.2.0.0/24"}));
    let longest = "a23456789012345";
    network(&world, "long", "loopback", &json!({"interface": longest, "subnet": "10.3.0.0/24"}));
    assert!(on(&Place::Host.links(&world), longest).is_empty());
    assert!(links(&world, "bridge").len() + links(&world, "dummy").len() >= 2);
    let before = world.snapshot();
    let invalid = "invalid interface name";
    let cases = [
        ("custom", "", "a custom network needs an interface of the host"),
        ("custom", "eth7", "interface eth7 does not exist on the host"),
        ("custom", "eth0", "interface eth0 is used by network wire"),
        ("custom", "lo", "interface lo is used by network self"),
        ("custom", "kleene0", "interface kleene0 is used by network web"),
        ("bridge", "eth0", "eth0"),
        ("loopback", "lo", "lo"),
        ("loopback", longest, "is used by network long"),
        ("loopback", "a234567890123456", invalid),
        ("bridge", "a/b", invalid),
        ("bridge", "a b", invalid),
        ("bridge", "a:b", invalid),
        ("bridge", "a\tb", invalid),
        ("bridge", ".", invalid),
        ("bridge", "..", invalid),
        ("loopback", "a\u{7f}", invalid),
    ];
    for (kind, interface, text) in cases {
        let changes = json!({"interface": interface, "subnet": "10.9.0.0/24"});
        let reply = create_network(&world, "more", kind, &changes);
        assert!(reply.expect(409).message().contains(text), "{interface}: {}", reply.message());
    }
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
}

#[test]
fn names_are_told_apart() {
    let Some(world) = World::open("names_are_told_apart") else { return };
    let _kleened = world.start_kleened("");
    let named = |name: &str| create_network(&world, name, "loopback", &json!({}));
    let id = named("first").expect(201).id().to_owned();
    // Up to the limit, and in every script.
    let longest = "n".repeat(255);
    let wide = "é".repeat(127);
    for name in ["x", "with space", "a/b", "netz-ß", longest.as_str(), wide.as_str()] {
        named(name).expect(201);
    }
    let before = world.snapshot();
    let taken = "network name is already taken";
    let invalid = "invalid network name";
    let longer = "n".repeat(256);
    let wider = "é".repeat(128);
    for (name, text) in [
        ("first", taken),
        (&id[..], taken),
        (&id[..1], taken),
        (&id[..11], taken),
        ("", invalid),
        (&longer, invalid),
        (&wider, invalid),
        ("a\nb", invalid),
        ("a\0b", invalid),
        ("a\u{1b}[0m", invalid),
    ] {
        let reply = named(name);
        assert!(reply.expect(409).message().contains(text), "{name:?}: {}", reply.message());
    }
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
    // One more digit than the id has is a name like others.
    named(&format!("{id}0")).expect(201);
}

#[test]
fn a_thousand_addresses_on_one_container() {
    const NETWORKS: usize = 500;
    let Some(world) = World::open("a_thousand_addresses_on_one_container") else { return };
    let _kleened = world.start_kleened("");
    let before = world.snapshot();
    create(&world, "it", "ipnet");
    for number in 0..NETWORKS {
        let (name, high, low) = (format!("n-{number}"), number / 250, number % 250);
        let subnets = json!({
            "subnet": format!("10.{}.{low}.0/24", 100 + high), "subnet6": format!("fd00:{number:x}::/64"),
        });
        network(&world, &name, "loopback", &subnets);
        // Half of them before it runs, and half while it does.
        if number == NETWORKS / 2 {
            start(&world, "it");
        }
        world.http("POST", "/networks/connect", Some(&auto("it", &name))).expect(204);
    }
    let seen = world.http("GET", "/containers/it/inspect", None).expect(200).json.clone();
    let endpoints = seen["container_endpoints"].as_array().unwrap().clone();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let pair = |one: &Value| [text(one, "ip_address"), text(one, "ip_address6")];
    let own: Vec<String> = endpoints.iter().flat_map(pair).collect();
    assert_eq!(own.len(), 2 * NETWORKS);
    let inside: BTreeSet<String> =
        Place::In("it").links(&world).iter().flat_map(common::addresses).collect();
    let wanted: BTreeSet<String> = own
        .iter()
        .map(|addr| format!("{addr}/{}", if addr.contains(':') { 128 } else { 32 }))
        .chain(["::1/128".to_owned()])
        .collect();
    assert_eq!(inside, wanted);
    let some: Vec<String> = own.iter().step_by(99).cloned().collect();
    let serving = Place::In("it").serve(&world, &tcp(&some, 9000));
    assert!(all_answered(&Place::Host.ask(&world, &tcp(&some, 9000))));
    drop(serving);
    world.http("POST", "/containers/it/stop?timeout=0", None).expect(200);
    assert!(none_answered(&Place::Host.miss(&world, &tcp(&some, 9000))));
    start(&world, "it");
    let serving = Place::In("it").serve(&world, &tcp(&some, 9000));
    assert!(all_answered(&Place::Host.ask(&world, &tcp(&some, 9000))));
    drop(serving);
    world.http("POST", "/containers/it/stop?timeout=0", None).expect(200);
    world.http("DELETE", "/containers/it", None).expect(200);
    world.http("POST", "/networks/prune", None).expect(200);
    world.assert_back_to(&before, LIMIT);
}
