//! Firewalls of others: what they drop is really dropped, and named, and the line
//! that is told lets it pass.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::LIMIT;
use kleene_e2e::{Background, Kleened, OUTSIDE4, OUTSIDE6, WORLD4, World, target_dir};
use serde_json::Value;

/// Answers on both families, until it is ended.
const SERVE: &str = "
import socket
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    c = s.accept()[0]
    c.send(b'!')
    c.close()";

/// Exits with 0 if somebody answers within a second.
const KNOCK: &str = "
import socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).recv(1) or sys.exit(1)
except OSError: sys.exit(1)";

const NAMES: [(&str, &str, &str); 2] = [("own", "vnet", "8080"), ("shared", "ipnet", "8081")];

/// A host with a network and a container of each kind in it, and somebody outside
/// who takes connections.
fn furnish(world: &World) {
    let subnets = ["--subnet", "10.4.6.0/24", "--subnet6", "fd00:4:6::/64"];
    let create = ["network", "create", "-t", "bridge"];
    world.klee([&create[..], &subnets, &["web"]].concat()).ok();
    for (name, driver, port) in NAMES {
        let published = format!("{port}:80");
        let run = ["run", "-d", "-l", driver, "-n", "web", "-p", &published, "--name", name];
        world.klee([&run[..], &["host-usr", "python3", "-c", SERVE]].concat()).ok();
    }
}

/// The flows of a test: who asks whom, at which port.
fn flows() -> Vec<(&'static str, &'static str, &'static str)> {
    let out =
        NAMES.iter().flat_map(|(name, ..)| [(*name, OUTSIDE4, "80"), (*name, OUTSIDE6, "80")]);
    let inwards = NAMES.iter().map(|(_, _, port)| ("outside", WORLD4, *port));
    out.chain(inwards).collect()
}

fn passes(world: &World, flow: (&str, &str, &str)) -> bool {
    knock(world, flow).wait(LIMIT).status == Some(0)
}

fn knock(world: &World, (from, to, port): (&str, &str, &str)) -> Background {
    let knock = ["python3", "-I", "-S", "-c", KNOCK, to, port];
    match from {
        "outside" => world.outside().spawn(knock),
        "host" => world.spawn(knock),
        name => world.klee_spawn([&["exec", name][..], &knock].concat()),
    }
}

/// What `klee network explain` says of the firewalls of others: verdict, chain, line.
fn explained(world: &World, (from, to, port): (&str, &str, &str)) -> Vec<[String; 3]> {
    let to = if to.contains(':') { format!("[{to}]") } else { to.to_owned() };
    let output = world.klee(["network", "explain", "-o", "json", from, &format!("{to}:{port}")]);
    output.ok();
    let said: Value = serde_json::from_str(&output.stdout()).unwrap();
    let [one] = &said.as_array().unwrap()[..] else { panic!("{said}") };
    assert_eq!(one["verdict"], "passes", "{said}");
    let chains = one["foreign"].as_array().unwrap().iter();
    let text = |chain: &Value, key: &str| chain[key].as_str().unwrap().to_owned();
    chains.map(|chain| ["verdict", "chain", "line"].map(|key| text(chain, key))).collect()
}

fn doctor(world: &World) -> String {
    let kleened = target_dir().unwrap().join("kleened").display().to_string();
    let output = world.run([&kleened, "--config", "/etc/kleened.yaml", "doctor"]);
    let said = output.stdout();
    let lines = said.lines().skip_while(|line| line.split_whitespace().nth(1) != Some("firewall"));
    let found: Vec<&str> = lines.take(3).collect();
    assert!(!found.is_empty(), "{output}");
    found.join("\n")
}

/// Loads a firewall that drops, sees that it does, adds the lines, and sees that all
/// passes again.
fn refused_and_let_pass(world: &World, kleened: &Kleened<'_>, ruleset: &[&str], chain: &str) {
    for flow in flows() {
        world.wait_until(LIMIT, &format!("the twin {flow:?}"), || passes(world, flow));
        assert_eq!(explained(world, flow), [[""; 3]; 0], "{flow:?}");
    }
    assert!(doctor(world).starts_with("ok"), "{}", doctor(world));
    let told = |what: &str| kleened.log().lines().filter(|line| line.contains(what)).count();
    let (dropped, again) = ("somebody else drops what passes here", "lets it pass again");
    let before = told(again);
    world.run(ruleset).ok();
    let family = if chain.contains("table ip ") { 4 } else { 0 };
    let concerned = |to: &str| family == 0 || !to.contains(':');
    let mut lines = Vec::new();
    for flow in flows() {
        assert_eq!(passes(world, flow), !concerned(flow.1), "{flow:?}");
        let said = explained(world, flow);
        if concerned(flow.1) {
            let [[verdict, named, line]] = &said[..] else { panic!("{flow:?}: {said:?}") };
            assert_eq!([verdict, named], ["drops", chain], "{flow:?}");
            lines.push(line.clone());
        } else {
            assert_eq!(said, [[""; 3]; 0], "{flow:?}");
        }
    }
    let found = doctor(world);
    assert!(found.starts_with("warn") && found.contains(chain), "{found}");
    assert!(found.contains(&lines[0]), "{found}");
    world.wait_until(LIMIT, "the warning", || {
        let log = kleened.log();
        log.lines().any(|line| line.contains(dropped) && line.contains(chain))
    });
    let inspected = world.klee(["network", "inspect", "web"]);
    assert!(inspected.stdout().contains(chain), "{inspected}");
    // A flow that is blocked says nothing of it.
    let blocked = world.klee(["network", "explain", "-o", "json", "outside", "own:81"]);
    let blocked: Value = serde_json::from_str(&blocked.stdout()).unwrap();
    for one in blocked.as_array().unwrap() {
        assert_eq!((&one["verdict"], &one["foreign"]), (&"dropped".into(), &Value::Array(vec![])));
    }
    lines.sort();
    lines.dedup();
    for line in &lines {
        world.run(["sh", "-c", line]).ok();
    }
    for flow in flows() {
        world.wait_until(LIMIT, &format!("{flow:?} after the line"), || passes(world, flow));
        assert_eq!(explained(world, flow), [[""; 3]; 0], "{flow:?}");
    }
    world.wait_until(LIMIT, "the end of the warning", || told(again) > before);
    assert!(doctor(world).starts_with("ok"), "{}", doctor(world));
}

#[test]
fn what_a_foreign_firewall_drops_is_named_with_the_line_that_helps() {
    let test = "what_a_foreign_firewall_drops_is_named_with_the_line_that_helps";
    let Some(world) = World::open_with(test, &["nft"]) else { return };
    let kleened = world.start_kleened("");
    let _server = world.outside().spawn(["python3", "-c", SERVE]);
    furnish(&world);
    let ruleset = "table inet filter { chain forward { type filter hook forward priority 0; policy \
                   drop; }; }";
    let chain = "table inet filter, chain forward (policy drop)";
    refused_and_let_pass(&world, &kleened, &["nft", ruleset], chain);
    world.run(["nft", "delete table inet filter"]).ok();
    // Whoever comes from below and accepts does not help, nor harm.
    let accepts = "table ip early { chain f { type filter hook forward priority -300; accept; }; }";
    world.run(["nft", accepts]).ok();
    let ruleset = "table inet guard { chain f { type filter hook forward priority 10; ct state \
                   established,related accept; jump deny; }; chain deny { ct state invalid drop; \
                   iifname \"eth9\" accept; reject; }; }";
    world.run(["nft", ruleset]).ok();
    let said = explained(&world, ("own", OUTSIDE4, "80"));
    assert!(said[0][1].ends_with(" in chain deny)"), "{said:?}");
    let chain = said[0][1].clone();
    world.run(["nft", "delete table inet guard"]).ok();
    refused_and_let_pass(&world, &kleened, &["nft", ruleset], &chain);
}

#[test]
fn dockers_policy_is_named_with_the_line_that_helps() {
    let test = "dockers_policy_is_named_with_the_line_that_helps";
    let Some(world) = World::open_with(test, &["iptables"]) else { return };
    let kleened = world.start_kleened("");
    let _server = world.outside().spawn(["python3", "-c", SERVE]);
    furnish(&world);
    let policy = ["iptables", "-P", "FORWARD", "DROP"];
    let chain = "table ip filter, chain FORWARD (policy drop)";
    refused_and_let_pass(&world, &kleened, &policy, chain);
}

/// Rules of others, each in a chain of its own, and at which hook and priority.
/// Nothing of them hangs on what is not known.
const RULES: &[(&str, &str, &str)] = &[
    ("inet", "forward priority 0", "iifname \"kleene0\" reject"),
    ("inet", "forward priority 0", "iif \"kleene0\" reject"),
    ("inet", "forward priority 0", "oifname \"kleene0\" reject"),
    ("inet", "forward priority 0", "iifname \"epair*\" reject"),
    ("inet", "forward priority 0", "oifname \"epair*\" reject"),
    ("inet", "forward priority 0", "iifname \"eth0\" ct state new reject"),
    ("inet", "forward priority 0", "oifname \"eth0\" ct state established drop"),
    ("inet", "forward priority 0", "ct status dnat reject"),
    ("ip", "forward priority 0", "ip daddr 10.4.6.2 tcp dport 80 reject"),
    ("ip6", "forward priority 0", "ip6 saddr fd00:4:6::/64 reject"),
    ("inet", "input priority 0", "iifname \"kleene0\" reject"),
    ("inet", "input priority 0", "iifname \"epair*\" ct direction original reject"),
    ("inet", "input priority 0", "ip saddr 10.4.6.0/24 ct state established drop"),
    ("inet", "output priority 0", "ip daddr 10.4.6.2 reject"),
    ("inet", "output priority 0", "oifname \"epair*\" reject"),
    ("inet", "output priority -200", "tcp dport 8081 reject"),
    ("inet", "prerouting priority -300", "tcp dport 8080 drop"),
    ("inet", "postrouting priority 50", "ip saddr 10.4.6.2 oifname \"eth0\" drop"),
    ("inet", "postrouting priority 150", "ip saddr 192.0.2.2 oifname \"eth0\" ct state new drop"),
    ("bridge", "forward priority 0", "ip saddr 10.4.6.2 drop"),
];

/// What nobody meets: ports are led elsewhere before.
const TOO_LATE: &[(&str, &str, &str)] = &[
    ("inet", "forward priority 0", "tcp dport 8080 reject"),
    ("inet", "prerouting priority 0", "tcp dport 8080 drop"),
];

/// What is said of a flow is what becomes of it, whichever way it takes.
#[test]
fn what_is_said_of_a_foreign_firewall_is_what_packets_meet() {
    let test = "what_is_said_of_a_foreign_firewall_is_what_packets_meet";
    let Some(world) = World::open_with(test, &["nft"]) else { return };
    let _kleened = world.start_kleened("");
    let _server = world.outside().spawn(["python3", "-c", SERVE]);
    let _own = world.spawn(["python3", "-c", SERVE]);
    furnish(&world);
    let run = ["run", "-d", "-l", "vnet", "-n", "web", "--name", "twin", "host-usr"];
    world.klee([&run[..], &["python3", "-c", SERVE]].concat()).ok();
    let mut all = flows();
    all.extend([
        ("own", "10.4.6.1", "80"),
        ("shared", "10.4.6.1", "80"),
        ("host", "10.4.6.2", "80"),
        ("host", "10.4.6.3", "80"),
        ("host", WORLD4, "8080"),
        ("host", WORLD4, "8081"),
        ("own", "10.4.6.3", "80"),
        ("shared", "10.4.6.2", "80"),
        ("own", "10.4.6.4", "80"),
        ("own", WORLD4, "8081"),
    ]);
    for flow in &all {
        world.wait_until(LIMIT, &format!("{flow:?}"), || passes(&world, *flow));
        assert_eq!(explained(&world, *flow), [[""; 3]; 0], "{flow:?}");
    }
    let mut met = vec![0; all.len()];
    for rule @ (family, hook, what) in RULES.iter().chain(TOO_LATE) {
        let chain = format!("{{ type filter hook {hook}; {what}; }}");
        world.run(["nft", &format!("table {family} foreign {{ chain f {chain}; }}")]).ok();
        let mut dropped = 0;
        let knocks: Vec<_> = all.iter().map(|flow| knock(&world, *flow)).collect();
        let said: Vec<_> = all.iter().map(|flow| explained(&world, *flow)).collect();
        let passed = knocks.into_iter().map(|knock| knock.wait(LIMIT).status == Some(0));
        for (((flow, met), said), passes) in all.iter().zip(&mut met).zip(said).zip(passed) {
            assert_eq!(passes, said.is_empty(), "{flow:?} and {rule:?}: {said:?}");
            assert!(said.iter().all(|[verdict, ..]| verdict == "drops"), "{flow:?}: {said:?}");
            *met += usize::from(!passes);
            dropped += usize::from(!passes);
        }
        assert_eq!(dropped == 0, TOO_LATE.contains(rule), "{rule:?}: {dropped} met it");
        world.run(["nft", "delete", "table", family, "foreign"]).ok();
    }
    for (flow, met) in all.iter().zip(met) {
        assert_ne!(met, 0, "{flow:?} meets nothing");
    }
}
