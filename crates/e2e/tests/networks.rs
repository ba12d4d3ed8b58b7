//! Networks through the API and `klee`, checked in the kernel.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{GATEWAY, LIMIT, SUBNET, addresses, bridge, create, endpoint, links, web, with};
use kleene_e2e::World;
use serde_json::{Value, json};

#[test]
fn a_bridge_network_is_a_bridge_and_leaves_nothing() {
    let Some(world) = World::open("a_bridge_network_is_a_bridge_and_leaves_nothing") else {
        return;
    };
    let _kleened = world.start_kleened("");
    let before = world.snapshot();
    let id = web(&world);
    assert!(id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");

    let bridges = links(&world, "bridge");
    assert_eq!(bridges.len(), 1);
    let link = &bridges[0];
    assert_eq!(link["ifname"], "kleene0");
    assert_eq!(addresses(link), [format!("{GATEWAY}/24")]);
    assert!(link["ifalias"].as_str().unwrap().contains("kleene"), "{link}");
    assert!(link["flags"].as_array().unwrap().contains(&json!("UP")), "{link}");
    world.run(["busybox", "ping", "-c", "1", "-W", "2", GATEWAY]).ok();

    let listed = world.http("GET", "/networks/list", None);
    assert_eq!(listed.expect(200).json[0]["name"], "web");
    let inspected = world.http("GET", "/networks/web/inspect", None).expect(200).json.clone();
    assert_eq!(inspected["network"]["interface"], "kleene0");
    assert_eq!(inspected["network"]["subnet"], SUBNET);
    assert_eq!(inspected["network_endpoints"], json!([]));

    let removed = world.http("DELETE", &format!("/networks/{}", &id[..4]), None);
    assert_eq!(removed.expect(200).id(), id);
    world.assert_back_to(&before, LIMIT);
    let again = world.http("DELETE", &format!("/networks/{id}"), None);
    assert_eq!(again.expect(404).message(), "network not found.");
    let again = world.http("GET", &format!("/networks/{id}/inspect"), None);
    assert_eq!(again.expect(404).message(), "network not found");
}

#[test]
fn what_is_refused_changes_nothing() {
    let Some(world) = World::open("what_is_refused_changes_nothing") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    let fine = bridge("other", "10.4.7.0/24");
    // The allowed twin.
    world.http("POST", "/networks/create", Some(&fine)).expect(201);
    world.http("DELETE", "/networks/other", None).expect(200);
    let before = world.snapshot();
    let refusals: [(Value, &str); 13] = [
        (json!({"name": "web"}), "network name is already taken"),
        (json!({"subnet": "10.4.6.128/25"}), "web"),
        (json!({"subnet": "192.0.2.0/25"}), "192.0.2.0/24"),
        (json!({"subnet": "nonsense"}), "invalid subnet: could not parse cidr block: \"nonsense\""),
        (json!({"subnet": "fd00:7::/64"}), "invalid subnet: wrong IP protocol"),
        (json!({"subnet": "10.4.7.1/24"}), "10.4.7.0/24"),
        (json!({"gateway": "10.4.8.1"}), "10.4.8.1"),
        (json!({"gateway": "10.4.7.1/24"}), "gateway"),
        (json!({"subnet6": "10.4.7.0/24"}), "invalid subnet6: wrong IP protocol"),
        (json!({"interface": "eth0"}), "eth0"),
        (json!({"interface": "kleene0"}), "kleene0"),
        (json!({"interface": "far-too-long-name"}), "interface"),
        (json!({"name": ""}), "name"),
    ];
    for (change, text) in refusals {
        let reply = world.http("POST", "/networks/create", Some(&with(fine.clone(), &change)));
        assert_eq!(reply.status, 409, "{change}: {}", reply.text);
        assert!(reply.message().contains(text), "{change}: {}", reply.message());
        world.assert_back_to(&before, LIMIT);
    }
}

#[test]
fn an_overlap_is_told_with_the_next_free_subnet() {
    let Some(world) = World::open("an_overlap_is_told_with_the_next_free_subnet") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    let reply = world.http("POST", "/networks/create", Some(&bridge("more", "10.4.0.0/16")));
    assert!(reply.expect(409).message().contains("next free subnet"), "{}", reply.message());
    world.run(["ip", "route", "add", "10.77.0.0/16", "dev", "eth0"]).ok();
    let reply = world.http("POST", "/networks/create", Some(&bridge("more", "10.77.3.0/24")));
    assert!(reply.expect(409).message().contains("10.77.0.0/16"), "{}", reply.message());
    // The default route is in nobody's way.
    world.http("POST", "/networks/create", Some(&bridge("more", "10.78.3.0/24"))).expect(201);
}

#[test]
fn addresses_are_given_in_order_and_given_back() {
    let Some(world) = World::open("addresses_are_given_in_order_and_given_back") else { return };
    let _kleened = world.start_kleened("");
    let small = bridge("web", "10.4.6.0/29");
    world.http("POST", "/networks/create", Some(&small)).expect(201);
    let connect = |name: &str, ip: &str| {
        world.http("POST", "/networks/connect", Some(&endpoint(name, "web", ip)))
    };
    for name in ["n2", "n3", "n4", "n5", "n6", "n7"] {
        create(&world, name, "vnet");
    }
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        connect(name, "<auto>").expect(204);
    }
    assert_eq!(
        connect("n7", "<auto>").expect(409).message(),
        "no more inet IP's left in the network"
    );
    let endpoints =
        world.http("GET", "/networks/web/inspect", None).json["network_endpoints"].clone();
    let mut given: Vec<_> =
        endpoints.as_array().unwrap().iter().map(|e| e["ip_address"].as_str().unwrap()).collect();
    given.sort_unstable();
    // .1 is the gateway's, .7 the broadcast address.
    assert_eq!(given, ["10.4.6.2", "10.4.6.3", "10.4.6.4", "10.4.6.5", "10.4.6.6"]);
    world.http("POST", "/networks/web/disconnect/n4", None).expect(204);
    for (ip, why) in [("10.4.6.1", "gateway"), ("10.4.6.2", "n2"), ("10.4.9.2", "10.4.6.0/29")] {
        let reply = connect("n7", ip);
        assert!(reply.expect(409).message().contains(why), "{ip}: {}", reply.message());
    }
    connect("n7", "<auto>").expect(204);
    let inspected = world.http("GET", "/containers/n7/inspect", None);
    assert_eq!(inspected.json["container_endpoints"][0]["ip_address"], "10.4.6.4");
}

#[test]
fn connect_and_disconnect_use_the_known_words() {
    let Some(world) = World::open("connect_and_disconnect_use_the_known_words") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    create(&world, "inner", "vnet");
    create(&world, "outer", "host");
    let connect = |container: &str, network: &str| {
        world.http("POST", "/networks/connect", Some(&endpoint(container, network, "<auto>")))
    };
    connect("inner", "web").expect(204);
    let texts = [
        ("inner", "web", 409, "container already connected to the network"),
        ("inner", "none", 404, "network not found"),
        ("none", "web", 404, "container not found"),
        (
            "outer",
            "web",
            409,
            "containers with the 'host' network-driver cannot connect to networks.",
        ),
    ];
    for (container, network, status, text) in texts {
        let reply = connect(container, network);
        assert_eq!((reply.status, reply.message()), (status, text), "{container} to {network}");
    }
    // 0.1.1's client falls over a 409 here.
    let disconnect = |c: &str| world.http("POST", &format!("/networks/web/disconnect/{c}"), None);
    assert_eq!(disconnect("outer").expect(404).message(), "endpoint configuration not found");
    disconnect("inner").expect(204);
    assert_eq!(disconnect("inner").expect(404).message(), "endpoint configuration not found");
}

#[test]
fn prune_takes_what_nobody_uses() {
    let Some(world) = World::open("prune_takes_what_nobody_uses") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    let idle = bridge("idle", "10.4.7.0/24");
    let idle = world.http("POST", "/networks/create", Some(&idle)).id().to_owned();
    create(&world, "user", "vnet");
    world.http("POST", "/networks/connect", Some(&endpoint("user", "web", ""))).expect(204);
    let pruned = world.http("POST", "/networks/prune", None);
    assert_eq!(pruned.expect(200).json, json!([idle]));
    assert_eq!(links(&world, "bridge").len(), 1);
}

#[test]
fn a_name_is_given_once_however_many_ask() {
    let Some(world) = World::open("a_name_is_given_once_however_many_ask") else { return };
    let _kleened = world.start_kleened("");
    let body = bridge("web", SUBNET);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || world.http("POST", "/networks/create", Some(&body)).status;
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let made = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(made, 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| [201, 409].contains(s)), "{statuses:?}");
    assert_eq!(links(&world, "bridge").len(), 1);
}

#[test]
fn networks_outlive_the_daemon_and_its_crash() {
    let Some(world) = World::open("networks_outlive_the_daemon_and_its_crash") else { return };
    let mut kleened = world.start_kleened("");
    let id = web(&world);
    let index = links(&world, "bridge")[0]["ifindex"].clone();
    kleened.kill9();
    let kleened = kleened.restart();
    assert_eq!(world.http("GET", "/networks/web/inspect", None).json["network"]["id"], id);
    kleened.stop().ok();
    assert_eq!(links(&world, "bridge")[0]["ifindex"], index, "the same bridge all the time");
    let _kleened = world.start_kleened("");
    // A bridge that was lost meanwhile is made again.
    world.http("GET", "/networks/web/inspect", None).expect(200);
    assert_eq!(links(&world, "bridge")[0]["ifindex"], index);
}

#[test]
fn a_lost_bridge_is_made_again_at_start() {
    let Some(world) = World::open("a_lost_bridge_is_made_again_at_start") else { return };
    let mut kleened = world.start_kleened("");
    web(&world);
    kleened.kill9();
    world.run(["ip", "link", "del", "kleene0"]).ok();
    let _kleened = kleened.restart();
    assert_eq!(addresses(&links(&world, "bridge")[0]), [format!("{GATEWAY}/24")]);
}

#[test]
fn both_families_at_once() {
    let Some(world) = World::open("both_families_at_once") else { return };
    let _kleened = world.start_kleened("");
    let dual = json!({"subnet6": "fd00:4:6::/64", "gateway6": "<auto>"});
    let dual = with(bridge("web", SUBNET), &dual);
    world.http("POST", "/networks/create", Some(&dual)).expect(201);
    let bridges = links(&world, "bridge");
    assert_eq!(addresses(&bridges[0]), ["10.4.6.1/24", "fd00:4:6::1/64"]);
    world.run(["busybox", "ping", "-c", "1", "-W", "2", "fd00:4:6::1"]).ok();
}
