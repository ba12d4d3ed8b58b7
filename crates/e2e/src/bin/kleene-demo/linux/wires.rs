//! Custom networks, the driver `disabled`, networks that come and go while
//! containers run, interfaces of the host in a bridge, and what mends itself.

use crate::linux::ask::{
    LIMIT, SITE, SITE6, addresses, all_answer, endpoint, get, get_from, get_from_outside,
    has_address, inside, names, said,
};
use crate::linux::stage::Stage;
use kleene_e2e::{OUTSIDE4, OUTSIDE6, WORLD4, WORLD6, World};
use serde_json::json;
use std::time::Duration;

pub(crate) fn play(world: &World, stage: &mut Stage) {
    custom(world, stage);
    disabled(world, stage);
    live(world, stage);
    linked(world, stage);
    mended(world, stage);
    refused(world, stage);
    stage.claim("stop", "all of these end", || {
        world.klee(["stop", "store", "api", "quiet"]).ok();
    });
}

fn custom(world: &World, stage: &mut Stage) {
    stage.heading("A custom network: the uplink itself");
    let eth0 = || world.ip_json(["addr", "show", "eth0"])[0].clone();
    let (before, link) = (world.settings(), eth0());
    let create = ["network", "create", "-t", "custom", "-i", "eth0"];
    let subnets =
        ["--subnet", "192.0.2.64/26", "--subnet6", "2001:db8:1:0:1::/80", "--nat", "false", "lan"];
    stage.klee(world, &[&create[..], &subnets].concat());
    let run = ["run", "-d", "-n", "lan", "-p", "8090:80", "--name", "cam", "host-usr"];
    let serve = ["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/"];
    stage.klee(world, &[&run[..], &serve].concat());
    stage.host(world, &["ip", "-br", "addr", "show", "eth0"]);
    let own = endpoint(world, "cam", "lan");
    stage.claim("custom", "the container's addresses stand beside the host's own", || {
        let now = eth0();
        assert!(own.iter().all(|address| has_address(&now, address)), "{now}");
        assert_eq!(now["address"], link["address"], "the MAC address stays");
        let had = addresses(&json!([link]));
        assert!(addresses(&json!([now])).is_superset(&had), "{now}");
    });
    stage.claim("custom", "it is reached from outside, in both families", || {
        all_answer(world, &own);
        for address in &own {
            get_from_outside(world, address).ok().says("root:");
        }
    });
    stage.claim("custom", "with the client's own address: no translation", || {
        let logs = said(&world.klee(["logs", "cam"]));
        assert!([OUTSIDE4, OUTSIDE6].iter().all(|address| logs.contains(address)), "{logs}");
    });
    stage.claim("custom", "it reaches the outside as itself", || {
        let serve = ["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/"];
        let server = world.outside().spawn(serve);
        for (address, own) in [OUTSIDE4, OUTSIDE6].iter().zip(&own) {
            let reached = || get_from(world, "cam", address).status == Some(0);
            world.wait_until(LIMIT, "an answer of the outside", reached);
            let seen = || format!("{}{}", server.stdout(), server.stderr()).contains(own.as_str());
            world.wait_until(LIMIT, "the visitor's address", seen);
        }
    });
    stage.claim("custom", "an address that a neighbour has is not given", || {
        world.outside().run(["ip", "addr", "add", "192.0.2.66/24", "dev", "uplink0"]).ok();
        world.run(["ping", "-c", "1", "-W", "2", "192.0.2.66"]).ok();
        let output = world.klee(["run", "-n", "lan", "--ip", "192.0.2.66", "host-usr", "true"]);
        assert!(said(output.fails()).contains("is not free"), "{output}");
        world.outside().run(["ip", "addr", "del", "192.0.2.66/24", "dev", "uplink0"]).ok();
    });
    stage.klee(world, &["stop", "cam"]);
    stage.claim("custom", "with its last container eth0 is exactly what it was", || {
        assert_eq!(addresses(&json!([eth0()])), addresses(&json!([link])));
        assert_eq!(world.settings(), before);
        get_from_outside(world, &own[0]).fails();
    });
}

fn disabled(world: &World, stage: &mut Stage) {
    stage.heading("disabled: interfaces to be seen, nothing to be reached");
    let run = ["run", "-d", "-l", "disabled", "--name", "quiet", "host-usr", "sleep", "1000"];
    stage.klee(world, &run);
    stage.klee(world, &["exec", "quiet", "ip", "-br", "addr"]);
    stage.claim("disabled", "it sees every interface, and no address but ::1", || {
        let seen = inside(world, "quiet");
        assert_eq!(names(&seen), names(&world.ip_json(["addr"])));
        assert_eq!(addresses(&seen), ["::1".to_owned()].into());
    });
    stage.claim("disabled", "it reaches nothing: host, containers, outside", || {
        let serve = ["busybox", "httpd", "-f", "-p", "80", "-h", "/"];
        let _servers = [world.spawn(serve), world.outside().spawn(serve)];
        let all = [SITE, SITE6, WORLD4, WORLD6, OUTSIDE4, OUTSIDE6];
        // The host reaches all of them.
        all_answer(world, &all);
        for address in all {
            get_from(world, "quiet", address).code(7);
        }
    });
    stage.claim("disabled", "it joins no network", || {
        let output = world.klee(["network", "connect", "web", "quiet"]);
        let text = "containers with the 'disabled' network-driver cannot connect to networks.";
        assert!(said(output.fails()).contains(text), "{output}");
    });
}

fn live(world: &World, stage: &mut Stage) {
    stage.heading("Networks come and go while containers run");
    stage.klee(world, &["network", "connect", "web", "store"]).ok();
    let new = endpoint(world, "store", "web");
    stage.claim("live", "the new addresses are in use at once, in both families", || {
        for address in &new {
            get(world, address).ok().says("root:");
            get_from(world, "site", address).ok().says("root:");
        }
    });
    stage.claim("live", "and the old ones still are", || {
        for address in endpoint(world, "store", "inner") {
            get(world, &address).ok().says("root:");
        }
    });
    stage.klee(world, &["network", "disconnect", "web", "store"]).ok();
    stage.claim("live", "after disconnect they are gone, inside, outside and on the host", || {
        let (seen, host) =
            (addresses(&inside(world, "store")), addresses(&world.ip_json(["addr"])));
        for address in &new {
            assert!(!seen.contains(address) && !host.contains(address), "{seen:?} {host:?}");
            get(world, address).fails();
        }
    });
    stage.klee(world, &["network", "create", "-t", "bridge", "--subnet", "10.9.0.0/24", "more"]);
    stage.klee(world, &["network", "connect", "more", "site"]).ok();
    stage.claim("live", "a running vnet container gets a second cable", || {
        let [address, _] = endpoint(world, "site", "more");
        get(world, &address).ok().says("root:");
        get(world, SITE).ok().says("root:");
    });
    stage.klee(world, &["network", "rm", "more"]).ok();
    stage.claim("live", "and loses it with the network", || {
        let gone = || !addresses(&inside(world, "site")).iter().any(|a| a.starts_with("10.9.0."));
        world.wait_until(LIMIT, "no address of it inside", gone);
        get(world, SITE).ok().says("root:");
    });
}

fn linked(world: &World, stage: &mut Stage) {
    stage.heading("An interface of the host in a bridge network");
    let plugged = [
        "link add plug1 type veth peer name eth1 netns 1",
        "addr add 10.4.6.200/24 dev plug1",
        "addr add fd00:4:6::200/64 dev plug1 nodad",
        "link set plug1 up",
    ];
    for words in plugged {
        world.outside().run(["ip"].into_iter().chain(words.split(' '))).ok();
    }
    world.run(["ip", "link", "set", "eth1", "up"]).ok();
    stage.claim("link", "who is behind it reaches nobody before", || {
        get_from_outside(world, SITE).fails();
    });
    stage.klee(world, &["network", "link", "web", "eth1"]);
    stage.host(world, &["ip", "-br", "link", "show", "master", "kleene0"]);
    stage.claim("link", "then it is in the network, in both families", || {
        for address in [SITE, SITE6] {
            let reached = || get_from_outside(world, address).status == Some(0);
            world.wait_until(LIMIT, "an answer behind eth1", reached);
        }
        let logs = said(&world.klee(["logs", "site"]));
        assert!(["10.4.6.200", "fd00:4:6::200"].iter().all(|from| logs.contains(from)), "{logs}");
    });
    stage.klee(world, &["network", "unlink", "web", "eth1"]);
    stage.claim("link", "and out of it again", || {
        get_from_outside(world, SITE).fails();
    });
    world.outside().run(["ip", "link", "del", "plug1"]).ok();
}

fn mended(world: &World, stage: &mut Stage) {
    stage.heading("What somebody takes away comes back");
    stage.host(world, &["ip", "link", "del", "kleene0"]);
    stage.claim("mended", "a deleted bridge is back within a second, and all that it had", || {
        let site = || get(world, SITE).status == Some(0) && get(world, SITE6).status == Some(0);
        world.wait_until(Duration::from_secs(1), "the site", site);
        for address in endpoint(world, "api", "web") {
            get_from(world, "site", &address).ok().says("root:");
        }
    });
    stage.host(world, &["nft", "flush", "ruleset"]);
    stage.claim("mended", "a flushed table, too", || {
        let there = || world.run(["nft", "list", "ruleset"]).contains("10.4.6.");
        world.wait_until(Duration::from_secs(1), "the guards", there);
    });
    stage.claim("mended", "inspect counts it", || {
        let health = world.http("GET", "/networks/web/inspect", None).json["health"].clone();
        assert!(health["healed"].as_u64() >= Some(1) && health["degraded"].is_null(), "{health}");
    });
}

/// What a driver never does, it says.
fn refused(world: &World, stage: &mut Stage) {
    stage.claim("host-ports", "a host container publishes no ports, ever", || {
        let output = world.klee(["run", "-l", "host", "-p", "8080:80", "host-usr", "true"]);
        assert!(said(output.fails()).contains("publish"), "{output}");
    });
}
