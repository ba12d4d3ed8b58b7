//! A host full of containers: all of them are there, are found again by a daemon
//! that comes back, and leave nothing. How fast that is, is a benchmark.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

mod common;

use common::net::{
    Place, addresses_of, all_answered, both, endpoint_of, member, network, on, start, supervisor,
};
use common::{LIMIT, cables, kill9, processes};
use kleene_e2e::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const IPNET: usize = 100;
const VNET: usize = 20;

fn names(driver: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{driver}-{number}")).collect()
}

/// Running containers of a driver on a network of its own.
fn fill(world: &World, driver: &str, count: usize) {
    for name in names(driver, count) {
        member(world, &name, driver, &[&format!("of-{driver}")]);
    }
}

/// The addresses of everybody on a network, as its inspection lists them.
fn listed(world: &World, network: &str) -> BTreeSet<String> {
    let seen = world.http("GET", &format!("/networks/{network}/inspect"), None);
    let endpoints = seen.expect(200).json["network_endpoints"].as_array().unwrap().clone();
    let of = |key: &'static str| move |one: &Value| one[key].as_str().unwrap().to_owned();
    let (four, six) =
        (endpoints.iter().map(of("ip_address")), endpoints.iter().map(of("ip_address6")));
    four.chain(six).collect()
}

fn running(world: &World) -> usize {
    let list = world.http("GET", "/containers/list?all=true", None);
    let list = list.expect(200).json.as_array().unwrap().clone();
    list.iter().filter(|one| one["running"] == true).count()
}

#[test]
fn a_hundred_and_more_live_together_and_outlive_the_daemon() {
    let Some(world) = World::open("a_hundred_and_more_live_together") else { return };
    let mut kleened = world.start_kleened("");
    let bare = world.snapshot();
    let ipnet = json!({"subnet": "10.1.0.0/16", "subnet6": "fd00:1::/64"});
    let vnet = json!({"subnet": "10.2.0.0/16", "subnet6": "fd00:2::/64"});
    network(&world, "of-ipnet", "loopback", &ipnet);
    network(&world, "of-vnet", "bridge", &vnet);
    fill(&world, "ipnet", IPNET);
    fill(&world, "vnet", VNET);
    let whole = |when: &str| {
        assert_eq!(running(&world), IPNET + VNET, "{when}");
        assert_eq!(processes(&world, "sleep 1000").len(), IPNET + VNET, "{when}");
        // What is said to be there is what the kernel has.
        let links = Place::Host.links(&world);
        let shown: BTreeSet<String> = on(&links, "kleene0")
            .into_iter()
            .filter_map(|net| {
                net.strip_suffix("/32").or(net.strip_suffix("/128")).map(str::to_owned)
            })
            .collect();
        let said = listed(&world, "of-ipnet");
        assert_eq!((said.len(), &said), (2 * IPNET, &shown), "{when}");
        assert_eq!(listed(&world, "of-vnet").len(), 2 * VNET, "{when}");
        assert_eq!(cables(&world).len(), IPNET + VNET, "{when}");
    };
    whole("started");
    let own = |name: &str| {
        let (driver, _) = name.split_once('-').unwrap();
        addresses_of(&world, name, &format!("of-{driver}"))
    };
    let ends = ["ipnet-1", "ipnet-100", "vnet-1", "vnet-20"].map(|name| (name, own(name)));
    let _serving =
        ends.each_ref().map(|(name, own)| Place::In(name).serve(&world, &both(own, 9000)));
    let talk = |when: &str, places: &[Place<'_>]| {
        for (name, own) in &ends {
            for place in places {
                let seen = place.ask(&world, &both(own, 9000));
                assert!(all_answered(&seen), "{when}: {place:?} asks {name}: {seen:?}");
            }
        }
    };
    let all_talk =
        |when: &str| talk(when, &[Place::Host, Place::In("ipnet-50"), Place::In("vnet-10")]);
    all_talk("started");
    // It is killed, and another one takes all of them over.
    let before = world.snapshot();
    kleened.kill9();
    talk("nobody's", &[Place::Host]);
    let kleened = kleened.restart();
    world.wait_until(LIMIT, "all adopted", || {
        kleened.log().matches("event=Adopted").count() >= IPNET + VNET
    });
    whole("adopted");
    all_talk("adopted");
    // Clients end with the daemon that they spoke with.
    let changed = before.diff(&world.snapshot());
    assert!(changed.iter().all(|line| line.contains("/klee")), "{changed:#?}");
    // One that died meanwhile is the only one missing.
    let id = endpoint_of(&world, "ipnet-7", "of-ipnet").unwrap()["container_id"].clone();
    let lost = own("ipnet-7");
    kill9(&world, &supervisor(&world, id.as_str().unwrap()));
    world.wait_until(LIMIT, "its end", || running(&world) == IPNET + VNET - 1);
    start(&world, "ipnet-7");
    assert_eq!(own("ipnet-7"), lost);
    whole("started again");
    for name in names("ipnet", IPNET).into_iter().chain(names("vnet", VNET)) {
        world.http("POST", &format!("/containers/{name}/stop?timeout=0"), None).expect(200);
        world.http("DELETE", &format!("/containers/{name}"), None).expect(200);
    }
    for name in ["of-ipnet", "of-vnet"] {
        world.http("DELETE", &format!("/networks/{name}"), None).expect(200);
    }
    world.wait_until(LIMIT, "nothing of it all", || {
        let left = bare.diff(&world.snapshot());
        left.iter().all(|line| line.contains("kleened"))
    });
}
