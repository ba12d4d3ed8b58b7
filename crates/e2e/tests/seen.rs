//! The policy seen from outside: what it has decided on in numbers, and what it
//! blocked in the log.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::LIMIT;
use common::net::{Place, addresses_of, answered, tcp};
use kleene_e2e::{Kleened, WORLD4, World};
use serde_json::Value;

/// A web service with a published port, a neighbour of it, and somebody who may
/// reach nobody.
fn furnish(world: &World) -> [String; 3] {
    let create = ["network", "create", "-t", "bridge", "--subnet"];
    world.klee([&create[..], &["10.4.6.0/24", "web"]].concat()).ok();
    world.klee([&create[..], &["10.4.7.0/24", "--internal", "shut"]].concat()).ok();
    for line in [
        "-l ipnet -n web -p 8080:80 --name shop",
        "-l vnet -n web --name near",
        "-l ipnet -n shut --name caged",
    ] {
        let words = ["run", "-d"].into_iter().chain(line.split(' '));
        world.klee(words.chain(["host-usr", "sleep", "1000"]).collect::<Vec<_>>()).ok();
    }
    let own = |name: &str, network: &str| addresses_of(world, name, network)[0].clone();
    [own("shop", "web"), own("near", "web"), own("caged", "shut")]
}

fn reaches(place: Place<'_>, world: &World, address: &str, port: u16) -> bool {
    answered(&place.ask(world, &tcp(&[address], port))[0])
}

fn misses(place: Place<'_>, world: &World, address: &str, port: u16) -> bool {
    !answered(&place.miss(world, &tcp(&[address], port))[0])
}

/// Packets by network, rule and verdict.
type Rows = BTreeMap<(String, String, String), u64>;

fn rows(listed: &Value) -> Rows {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let row = |row: &Value| {
        let key = (text(row, "network"), text(row, "rule"), text(row, "verdict"));
        (key, row["packets"].as_u64().unwrap())
    };
    listed.as_array().unwrap().iter().map(row).collect()
}

/// The same as `nft` shows it, of both tables.
fn counted_by_nft(world: &World) -> Rows {
    let names: BTreeMap<String, String> = world
        .http("GET", "/networks/list", None)
        .expect(200)
        .json
        .as_array()
        .unwrap()
        .iter()
        .map(|network| ["id", "name"].map(|key| network[key].as_str().unwrap().to_owned()))
        .map(|[id, name]| (id, name))
        .collect();
    let listed = world.run(["nft", "-j", "list", "ruleset"]).ok().json();
    let mut rows = Rows::new();
    for rule in listed["nftables"].as_array().unwrap().iter().map(|one| &one["rule"]) {
        let Some(all) = rule["expr"].as_array() else { continue };
        let of = |key: &str| all.iter().find_map(|one| one.get(key));
        let Some(counter) = of("counter") else { continue };
        let verdict = match of("goto").map(|goto| goto["target"].as_str().unwrap()) {
            Some("refuse") => "refused",
            Some("discard") => "dropped",
            Some(other) => panic!("a counter before {other}"),
            None => "passed",
        };
        let chain = rule["chain"].as_str().unwrap();
        let network = chain.split_once('_').and_then(|(_, id)| names.get(id));
        let comment = rule["comment"].as_str().unwrap().to_owned();
        let key = (network.cloned().unwrap_or_default(), comment, verdict.to_owned());
        *rows.entry(key).or_default() += counter["packets"].as_u64().unwrap();
    }
    rows
}

#[test]
fn what_the_policy_decides_is_counted() {
    let Some(world) = World::open("what_the_policy_decides_is_counted") else { return };
    let _kleened = world.start_kleened("metrics_socket: http://127.0.0.1:9464\n");
    let [shop, _, caged] = furnish(&world);
    let _shop = Place::In("shop").serve(&world, &tcp(&[&shop], 80));
    let _caged = Place::In("caged").serve(&world, &tcp(&[&caged], 80));
    let stats = || world.klee(["network", "stats", "-a", "-o", "json"]).ok().json();
    let count = |rows: &Rows, network: &str, rule: &str, verdict: &str| {
        let key = (network.to_owned(), rule.to_owned(), verdict.to_owned());
        *rows.get(&key).unwrap_or_else(|| panic!("no {key:?} in {rows:?}"))
    };
    let told = [
        ("web", "2: same network", "passed"),
        ("web", "3: other network", "refused"),
        ("shut", "13: internal", "refused"),
        ("web", "10: published", "passed"),
        ("web", "9: not published", "dropped"),
    ];
    let before = rows(&stats());
    for (network, rule, verdict) in told {
        assert_eq!(count(&before, network, rule, verdict), 0, "{rule}");
    }
    assert!(reaches(Place::In("near"), &world, &shop, 80));
    assert!(misses(Place::In("near"), &world, &caged, 80));
    assert!(misses(Place::In("caged"), &world, &shop, 80));
    assert!(reaches(Place::Outside, &world, WORLD4, 8080));
    common::net::known_outside(&world, &["10.4.6.0/24"]);
    assert!(misses(Place::Outside, &world, &shop, 81));
    let after = rows(&stats());
    for (network, rule, verdict) in told {
        assert!(count(&after, network, rule, verdict) > 0, "{rule}: {after:?}");
    }
    // Row by row what `nft` shows, those of the host and of bridges too. Something
    // may always be on its way.
    world.wait_until(LIMIT, "the numbers of nft", || rows(&stats()) == counted_by_nft(&world));
    // Of one network, and in its inspection.
    let of_web = rows(&world.http("GET", "/networks/web/stats", None).expect(200).json);
    assert!(of_web.keys().all(|(network, ..)| network == "web"));
    assert!(count(&of_web, "web", "10: published", "passed") > 0);
    let inspected = world.http("GET", "/networks/web/inspect", None).expect(200).json.clone();
    assert!(count(&rows(&inspected["counters"]), "web", "10: published", "passed") > 0);
    let shown = world.klee(["network", "stats", "web"]).ok().stdout().into_owned();
    let line = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    assert!(shown.lines().any(|found| line(found) == "web 10: published passed"), "{shown}");
    assert!(!shown.contains("11: published elsewhere"), "nothing was decided by it: {shown}");
    let nobody = world.klee(["network", "stats", "nobody"]);
    assert_eq!(nobody.status, Some(1));
    assert!(nobody.stderr().contains("network not found"), "{nobody}");

    // The same for collectors, of whom nobody can do anything else.
    let fetch = |path: &str| {
        let script = "
import sys, urllib.request as r
try:
    with r.urlopen('http://127.0.0.1:9464' + sys.argv[1], timeout=5) as answer:
        print(answer.status, answer.headers['Content-Type'])
        print(answer.read().decode())
except r.HTTPError as error: print(error.code)";
        world.run(["python3", "-c", script, path]).ok().stdout().into_owned()
    };
    let metrics = fetch("/metrics");
    assert!(metrics.starts_with("200 application/openmetrics-text"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
    let row =
        r#"kleene_policy_packets_total{network="web",rule="10: published",verdict="passed"} "#;
    let number = metrics.lines().find_map(|line| line.strip_prefix(row)).expect(row);
    assert!(number.parse::<u64>().unwrap() > 0, "{number}");
    assert!(metrics.contains(r#"kleene_containers_running{driver="ipnet"} 2"#), "{metrics}");
    assert!(fetch("/containers/list").starts_with("404"));
}

fn blocked(kleened: &Kleened<'_>) -> Vec<String> {
    let log = kleened.log();
    let told = log.lines().filter(|line| line.contains("a packet was blocked"));
    told.map(str::to_owned).collect()
}

fn has(line: &str, all: &[&str]) -> bool {
    all.iter().all(|part| line.contains(part))
}

#[test]
fn blocked_packets_are_told_while_somebody_wants_to_know() {
    let Some(world) = World::open("blocked_packets_are_told") else { return };
    let mut kleened = world.start_kleened("");
    let [shop, near, caged] = furnish(&world);
    let _shop = Place::In("shop").serve(&world, &tcp(&[&shop], 80));
    let is_on = || world.klee(["network", "log-drops"]).ok().stdout().trim().to_owned();
    assert_eq!(is_on(), "off");
    assert!(misses(Place::In("caged"), &world, &shop, 80));
    world.klee(["network", "log-drops", "on"]).ok();
    assert_eq!(is_on(), "on");
    // What passes is not told, what does not is.
    assert!(reaches(Place::In("near"), &world, &shop, 80));
    assert!(misses(Place::In("caged"), &world, &shop, 80));
    let to = format!("to {shop}:80/tcp");
    let wanted = ["rule=\"13: internal\"", "network=\"shut\"", "container=\"caged\"", &caged, &to];
    world.wait_until(LIMIT, "the line", || blocked(&kleened).iter().any(|l| has(l, &wanted)));
    assert_eq!(blocked(&kleened).iter().filter(|line| line.contains(&near)).count(), 0);

    // Who lies about itself is known by its cable.
    let lies = "
import socket, sys
s = socket.socket()
s.settimeout(1)
s.bind(('10.4.6.99', 0))
try: s.connect((sys.argv[1], 80)); print('reached')
except OSError: print('missed')";
    let ask = |script: &str| {
        let words = ["exec", "near", "sh", "-c", script];
        world.klee(words).ok().stdout().trim().to_owned()
    };
    let own = r"ip addr add 10.4.6.99/24 dev $(ip -o link | grep -o 'epair[0-9]*b')";
    let script = format!("{own} && python3 -c \"{lies}\" {shop}");
    assert!(ask(&script).ends_with("missed"));
    let wanted = ["network=\"web\"", "container=\"near\"", "rule=\"14: ", "came_by=\"epair"];
    world.wait_until(LIMIT, "the liar", || blocked(&kleened).iter().any(|l| has(l, &wanted)));

    // However much is blocked, only so much is told.
    let start = Instant::now();
    let before = blocked(&kleened).len();
    let flood = format!(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nfor n in range(3000):\n    try: s.sendto(b'x', ('{shop}', 9))\n    except OSError: pass"
    );
    world.klee(["exec", "caged", "python3", "-c", &flood]).ok();
    world.wait_until(LIMIT, "some of it", || blocked(&kleened).len() > before);
    let told = blocked(&kleened).len() - before;
    let most = 20 + 10 * (usize::try_from(start.elapsed().as_secs()).unwrap() + 1);
    assert!(told <= most, "{told} lines of 3000 packets, {most} at most");

    // A daemon that starts does as it was configured.
    let is_asked_for = || {
        let listed = world.run(["nft", "list", "ruleset"]);
        listed.ok().stdout().contains("elements = { ipv4, ipv6 }")
    };
    assert!(is_asked_for());
    kleened.kill9();
    let kleened = kleened.restart();
    assert_eq!(is_on(), "off");
    assert!(!is_asked_for());
    kleened.stop();
    let kleened = world.start_kleened("log_drops: true\n");
    assert_eq!(is_on(), "on");
    let before = blocked(&kleened).len();
    assert!(misses(Place::In("caged"), &world, &shop, 80));
    world.wait_until(LIMIT, "a line", || blocked(&kleened).len() > before);
}

#[test]
fn a_nat_interface_that_goes_is_told_until_it_is_back() {
    let Some(world) = World::open("a_nat_interface_that_goes") else { return };
    let _kleened = world.start_kleened("");
    let host = |line: &str| world.run(line.split(' ')).ok().stdout().into_owned();
    // Another wire, with a namespace at its other end.
    let appear = || {
        host("ip link add eth1 type veth peer name far1 netns far");
        host("ip -n far addr add 198.51.100.1/24 dev far1");
        host("ip -n far link set far1 up");
        host("ip link set eth1 up");
    };
    host("ip netns add far");
    host("ip -n far link set lo up");
    appear();
    let degraded = || {
        let seen = world.http("GET", "/networks/web/inspect", None);
        seen.expect(200).json["health"]["degraded"].as_str().map(str::to_owned)
    };
    let create = ["network", "create", "-t", "bridge", "--subnet", "10.4.6.0/24"];
    world.klee([&create[..], &["--nat-if", "eth1", "web"]].concat()).ok();
    let bare = degraded().expect("it has no address yet");
    assert_eq!(
        bare,
        "nothing of IPv4 leaves network web: its nat interface eth1 has no IPv4 address"
    );
    host("ip addr add 198.51.100.2/24 dev eth1");
    world.wait_until(LIMIT, "an address", || degraded().is_none());
    world.klee("run -d -l vnet -n web --name own host-usr sleep 1000".split(' ')).ok();
    let far = ["ip", "netns", "exec", "far", "python3", "-c"];
    let serve = "
import socket
s = socket.create_server(('198.51.100.1', 80))
print('up', flush=True)
while True: s.accept()[0].close()";
    let server = world.spawn([&far[..], &[serve]].concat());
    world.wait_until(LIMIT, "a server", || server.stdout().contains("up"));
    let knock = "
import socket, sys
try: socket.create_connection(('198.51.100.1', 80), 1)
except OSError: sys.exit(1)";
    let reaches = || world.klee(["exec", "own", "python3", "-c", knock]).status == Some(0);
    assert!(reaches());
    host("ip link del eth1");
    world.wait_until(LIMIT, "what is missing", || {
        degraded().is_some_and(|why| why.ends_with("its nat interface eth1 is not there"))
    });
    let shown = world.klee(["network", "inspect", "web"]).ok().stdout().into_owned();
    assert!(shown.contains("its nat interface eth1 is not there"), "{shown}");
    assert!(!reaches());
    appear();
    host("ip addr add 198.51.100.2/24 dev eth1");
    world.wait_until(LIMIT, "the way back", || degraded().is_none());
    assert!(reaches());
}
