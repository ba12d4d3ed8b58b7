//! `klee network test`: a flow is sent, and what became of it stands beside what the
//! policy says. What really became of it is asked of who was asked.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::LIMIT;
use common::net::{Place, addresses_of, both};
use kleene_e2e::{Output, World};
use serde_json::Value;

fn furnish(world: &World) {
    let create = ["network", "create", "-t", "bridge", "--subnet"];
    world.klee([&create[..], &["10.4.6.0/24", "--subnet6", "fd00:6::/64", "web"]].concat()).ok();
    world.klee([&create[..], &["10.4.7.0/24", "--internal", "shut"]].concat()).ok();
    for line in [
        "-l ipnet -n web -p 8080:80 --name shop",
        "-l vnet -n web --name near",
        "-l vnet -n web --name next",
        "-l ipnet -n shut --name caged",
    ] {
        let words = ["run", "-d"].into_iter().chain(line.split(' '));
        world.klee(words.chain(["host-usr", "sleep", "1000"]).collect::<Vec<_>>()).ok();
    }
}

/// Of each family: what the policy says, what became of it, whether they agree.
fn test(world: &World, from: &str, to: &str) -> Vec<(String, String, Option<bool>)> {
    let output = world.klee(["network", "test", from, to, "-o", "json"]);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let row = |row: &Value| (text(row, "verdict"), text(row, "packet"), row["agrees"].as_bool());
    let rows: Vec<_> = output.json().as_array().unwrap().iter().map(row).collect();
    let disagree = rows.iter().any(|(.., agrees)| *agrees == Some(false));
    assert_eq!(output.status, Some(i32::from(disagree)), "{output}");
    rows
}

#[track_caller]
fn each(rows: &[(String, String, Option<bool>)], verdict: &str, packet: &str) {
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!((row.0.as_str(), row.1.as_str(), row.2), (verdict, packet, Some(true)));
    }
}

fn says(output: &Output, what: &str) {
    assert_eq!(output.status, Some(1), "{output}");
    assert!(output.stderr().contains(what), "{output}");
}

const ANSWERED: &str = "passed, and was answered";
const CLOSED: &str = "passed, and its destination refused it";

#[test]
fn what_is_sent_does_what_the_policy_says() {
    let Some(world) = World::open("what_is_sent_does_what_the_policy_says") else { return };
    let _kleened = world.start_kleened("");
    furnish(&world);
    let own = |name: &str| addresses_of(&world, name, "web").to_vec();
    let _shop = Place::In("shop").serve(&world, &both(&own("shop"), 80));
    let _next = Place::In("next").serve(&world, &both(&own("next"), 80));
    // Whoever serves, and whoever does not.
    for (from, to) in [("near", "shop"), ("near", "next"), ("host", "shop"), ("shop", "next")] {
        for protocol in ["tcp", "udp"] {
            let seen = test(&world, from, &format!("{to}:80/{protocol}"));
            assert_eq!(seen.len(), 2, "both families");
            if protocol == "tcp" {
                each(&seen, "passes", ANSWERED);
            }
            // A service may have no answer to nothing.
            assert!(seen.iter().all(|row| row.0 == "passes" && row.2 != Some(false)), "{seen:?}");
            each(&test(&world, from, &format!("{to}:81/{protocol}")), "passes", CLOSED);
        }
    }
    each(&test(&world, "near", "host:8080"), "passes", ANSWERED);
    each(&test(&world, "host", "127.0.0.1:8080"), "passes", ANSWERED);
    // What may not pass, whether somebody is there or not.
    for protocol in ["tcp", "udp"] {
        let refused = "refused on its way";
        each(&test(&world, "caged", &format!("10.4.6.2:80/{protocol}")), "refused", refused);
        each(&test(&world, "near", &format!("caged:80/{protocol}")), "refused", refused);
    }
    let shown = world.klee(["network", "test", "caged", "10.4.6.2:80"]).ok().stdout().into_owned();
    for word in ["refused", "13: ", "refused on its way", "yes"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    // Somebody else's rule: the packet knows.
    each(&test(&world, "near", "shop:80"), "passes", ANSWERED);
    let drop = "table ip filter { chain forward { type filter hook forward priority 0; \
                policy drop; ct state established accept; }; }";
    world.run(["nft", drop]).ok();
    let seen = test(&world, "near", "10.4.6.2:80");
    let blocked = ("passes".to_owned(), "dropped on its way".to_owned(), Some(false));
    assert_eq!(seen, [blocked]);
    let shown = world.klee(["network", "test", "near", "10.4.6.2:80"]).stdout().into_owned();
    for word in ["NO", "drops", "chain forward", "insert rule ip filter forward"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    world.run(["nft", "delete table ip filter"]).ok();
    each(&test(&world, "near", "10.4.6.2:80"), "passes", ANSWERED);

    // What cannot be sent.
    let tried = |from: &str, to: &str| world.klee(["network", "test", from, to]);
    says(&tried("near", "shop"), "a flow that is sent needs a port");
    says(&tried("outside", "shop:80"), "unsupported: sending a flow from outside");
    says(&tried("nobody", "shop:80"), "container not found");
    let nobody = "unsupported: sending a flow from 10.4.6.99, which is not on this host";
    says(&tried("10.4.6.99", "shop:80"), nobody);
    let stopped = own("next")[0].clone();
    world.klee(["stop", "-t", "0", "next"]).ok();
    world.wait_until(LIMIT, "the end", || {
        let seen = world.http("GET", "/containers/next/inspect", None);
        seen.expect(200).json["container"]["running"] == false
    });
    says(&tried("near", "next:80"), "container next does not run");
    says(&tried("next", "shop:80"), "container next does not run");
    says(&tried(&stopped, "shop:80"), "container next does not run");
}
