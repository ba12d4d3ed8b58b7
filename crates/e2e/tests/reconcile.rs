//! What somebody takes from us in the kernel comes back within a second, and is
//! told of; what is theirs stays as they made it.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use std::time::Duration;

use common::{LIMIT, links};
use kleene_e2e::World;
use serde_json::{Value, json};

/// A second is promised; a busy machine gets more.
const SOON: Duration = Duration::from_secs(5);

const SERVER: [&str; 6] = ["python3", "-m", "http.server", "80", "--bind", "::"];

/// Addresses of containers, and whether the outside host reaches them, too.
const REACHED: [(&str, bool); 6] = [
    ("10.4.6.2", false),
    ("[fd00:46::2]", false),
    ("10.4.6.50", false),
    ("[fd00:46::50]", false),
    ("192.0.2.9", true),
    ("[2001:db8:1::9]", true),
];

/// An `ipnet` container on a bridge network and one on the uplink, and a `vnet`
/// container on the bridge, each with a server.
fn build(world: &World) {
    let web = json!({
        "name": "web", "type": "bridge", "subnet": "10.4.6.0/24", "gateway": "<auto>",
        "subnet6": "fd00:46::/64", "gateway6": "<auto>",
    });
    world.http("POST", "/networks/create", Some(&web)).expect(201);
    let lan = json!({
        "name": "lan", "type": "custom", "interface": "eth0", "subnet": "192.0.2.0/24",
        "subnet6": "2001:db8:1::/64",
    });
    world.http("POST", "/networks/create", Some(&lan)).expect(201);
    for (name, driver, network, v4, v6, port) in [
        ("inner", "ipnet", "web", "10.4.6.2", "fd00:46::2", 8080),
        ("own", "vnet", "web", "10.4.6.50", "fd00:46::50", 8081),
        ("outer", "ipnet", "lan", "192.0.2.9", "2001:db8:1::9", 8082),
    ] {
        let run = ["run", "-d", "--name", name, "-l", driver, "-n", network];
        let addresses = ["-p", &format!("{port}:80"), "--ip", v4, "--ip6", v6, "host-usr"];
        world.klee([&run[..], &addresses, &SERVER].concat()).ok();
    }
    world.wait_until(LIMIT, "all servers", || unreached(world).is_empty());
}

fn unreached(world: &World) -> Vec<String> {
    let mut unreached = Vec::new();
    for (address, outside) in REACHED {
        let url = format!("http://{address}/");
        let curl = ["curl", "-s", "-m", "1", "-o", "/dev/null", url.as_str()];
        if world.run(curl).status != Some(0) {
            unreached.push(format!("host to {address}"));
        }
        if outside && world.outside().run(curl).status != Some(0) {
            unreached.push(format!("outside to {address}"));
        }
    }
    unreached
}

fn health(world: &World, network: &str) -> Value {
    let path = format!("/networks/{network}/inspect");
    world.http("GET", &path, None).expect(200).json["health"].clone()
}

fn healed(world: &World) -> u64 {
    ["web", "lan"].iter().map(|network| health(world, network)["healed"].as_u64().unwrap()).sum()
}

/// Does something bad, and waits until nothing is seen of it.
fn mends(world: &World, bad: &[&str]) {
    let before = healed(world);
    world.run(bad).ok();
    // Told of: the counter is what says that it was noticed at all.
    world.wait_until(SOON, &format!("mended after {bad:?}"), || healed(world) > before);
    let still = || unreached(world);
    world.wait_until(SOON, &format!("reached after {bad:?}"), || still().is_empty());
}

#[test]
fn addresses_routes_and_neighbours_come_back() {
    let Some(world) = World::open("addresses_routes_and_neighbours_come_back") else { return };
    let _kleened = world.start_kleened("");
    build(&world);
    let before = world.snapshot();
    for bad in [
        "ip addr del 10.4.6.2/32 dev kleene0",
        "ip -6 addr del fd00:46::2/128 dev kleene0",
        "ip addr del 192.0.2.9/32 dev eth0",
        "ip addr del 10.4.6.1/24 dev kleene0",
        "ip route del 10.4.6.2 dev epair0a table local",
        "ip route del unreachable 10.4.6.2 table local",
        "ip -6 route del fd00:46::2 dev epair0a",
        "ip -6 route del unreachable fd00:46::2 metric 4096",
        "ip neigh del proxy 192.0.2.9 dev eth0",
        "ip neigh del proxy 2001:db8:1::9 dev eth0",
    ] {
        mends(&world, &bad.split(' ').collect::<Vec<_>>());
    }
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn links_come_back() {
    let Some(world) = World::open("links_come_back") else { return };
    let kleened = world.start_kleened("");
    build(&world);
    let cable = |master: bool| {
        let of = |link: &Value| link["master"].is_string() == master;
        let veths = links(&world, "veth").into_iter().filter(of);
        let mut names = veths.filter_map(|link| link["ifname"].as_str().map(str::to_owned));
        names.find(|name| name.starts_with("epair")).unwrap()
    };
    let (routed, plugged) = (cable(false), cable(true));
    for bad in [
        format!("ip link set {routed} down"),
        format!("ip link del {routed}"),
        format!("ip link set {plugged} nomaster"),
        format!("ip link del {plugged}"),
        "ip link set kleene0 down".to_owned(),
        "ip link del kleene0".to_owned(),
    ] {
        mends(&world, &bad.split(' ').collect::<Vec<_>>());
    }
    assert!(kleened.log().contains("mended"), "{}", kleened.log());
    // All can be ended as ever, and leaves nothing.
    for name in ["inner", "own", "outer"] {
        world.klee(["stop", name]).ok();
        world.klee(["rmc", name]).ok();
    }
    world.klee(["network", "rm", "web"]).ok();
    world.klee(["network", "rm", "lan"]).ok();
    world.wait_until(LIMIT, "nothing left", || {
        links(&world, "veth").iter().all(|link| link["ifname"] == "eth0")
            && links(&world, "bridge").is_empty()
    });
}

#[test]
fn guards_come_back() {
    let Some(world) = World::open("guards_come_back") else { return };
    let _kleened = world.start_kleened("");
    build(&world);
    let tables = || world.run(["nft", "list", "tables", "inet"]).stdout().into_owned();
    let table = tables().split_whitespace().last().unwrap().to_owned();
    assert!(table.starts_with("kleene-"), "{table}");
    let ruleset = || {
        let text = world.run(["nft", "list", "table", "inet", &table]).stdout().into_owned();
        // Counters count, and elements are listed in any order.
        let lines = text.lines().map(|line| line.split(" counter ").next().unwrap());
        let mut words: Vec<String> = lines
            .flat_map(|line| line.split([',', '{', '}']))
            .map(|w| w.trim().to_owned())
            .collect();
        words.sort();
        words
    };
    let whole: Vec<String> = ruleset();
    assert!(whole.iter().any(|line| line.contains("10.4.6.2")), "{whole:?}");
    let mends = |bad: &[&str]| {
        world.run(bad).ok();
        world.wait_until(SOON, &format!("whole after {bad:?}"), || ruleset() == whole);
    };
    mends(&["nft", "flush", "ruleset"]);
    // A table of somebody else stays as it is.
    world.run(["nft", "add", "table", "inet", "theirs"]).ok();
    for bad in [
        vec!["nft", "delete", "table", "inet", &table],
        vec!["nft", "flush", "chain", "inet", &table, "input"],
        vec!["nft", "delete", "element", "inet", &table, "addresses4", "{ 10.4.6.2 }"],
        vec!["nft", "add", "rule", "inet", &table, "input", "drop"],
    ] {
        mends(&bad);
        assert!(tables().contains("theirs"), "{bad:?}: {}", tables());
    }
    assert!(unreached(&world).is_empty());
    world.klee(["stop", "inner"]).ok();
    world.klee(["stop", "outer"]).ok();
    world.klee(["stop", "own"]).ok();
    // Networks have rules as long as they are there.
    assert!(tables().contains(&table));
    world.klee(["network", "rm", "web", "lan"]).ok();
    world.wait_until(LIMIT, "no table of ours", || !tables().contains(&table));
    assert!(tables().contains("theirs"));
}

#[test]
fn a_custom_interface_that_goes_and_comes_back() {
    let Some(world) = World::open("a_custom_interface_that_goes_and_comes_back") else { return };
    let kleened = world.start_kleened("");
    world.run("ip link add nic0 type veth peer name nic0p".split(' ')).ok();
    world.run("ip addr add 198.51.100.1/24 dev nic0".split(' ')).ok();
    world.run(["ip", "link", "set", "nic0", "up"]).ok();
    let lan = json!({
        "name": "nic", "type": "custom", "interface": "nic0", "subnet": "198.51.100.0/24",
    });
    world.http("POST", "/networks/create", Some(&lan)).expect(201);
    let run = ["run", "-d", "--name", "site", "-l", "ipnet", "-n", "nic", "--ip", "198.51.100.9"];
    world.klee([&run[..], &["host-usr"], &SERVER].concat()).ok();
    let curl = ["curl", "-s", "-m", "1", "-o", "/dev/null", "http://198.51.100.9/"];
    let reached = || world.run(curl).status == Some(0);
    world.wait_until(LIMIT, "the server", reached);
    assert_eq!(health(&world, "nic")["degraded"], Value::Null);
    world.run("ip link set nic0 name other0".split(' ')).ok();
    world.wait_until(SOON, "degraded", || health(&world, "nic")["degraded"].is_string());
    let why = health(&world, "nic")["degraded"].as_str().unwrap().to_owned();
    assert!(why.contains("nic0") && why.contains("198.51.100.9"), "{why}");
    // The interface under its new name has what it had before Kleene.
    let renamed = world.ip_json(["-4", "addr", "show", "dev", "other0"]);
    assert_eq!(renamed[0]["addr_info"].as_array().unwrap().len(), 1, "{renamed}");
    world.run("ip link set other0 name nic0".split(' ')).ok();
    world.wait_until(SOON, "healthy", || health(&world, "nic")["degraded"].is_null());
    world.wait_until(SOON, "reached again", reached);
    // Gone for good: its container can be stopped, the network removed.
    world.run(["ip", "link", "del", "nic0"]).ok();
    world.wait_until(SOON, "degraded again", || health(&world, "nic")["degraded"].is_string());
    world.klee(["stop", "site"]).ok();
    world.klee(["network", "rm", "nic"]).ok();
    kleened.stop().ok();
}
