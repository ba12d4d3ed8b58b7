//! What the tests of the daemon share.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

pub(crate) mod net;
pub(crate) mod websocket;

use kleene_e2e::{Output, World};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const SUBNET: &str = "10.4.6.0/24";
pub(crate) const GATEWAY: &str = "10.4.6.1";

/// What `POST /networks/create` takes: a bridge network.
pub(crate) fn bridge(name: &str, subnet: &str) -> Value {
    json!({"name": name, "type": "bridge", "subnet": subnet, "gateway": "<auto>"})
}

/// `value` with some fields replaced.
pub(crate) fn with(mut value: Value, changes: &Value) -> Value {
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    value
}

/// Makes the bridge network `web` and gives its id.
#[track_caller]
pub(crate) fn web(world: &World) -> String {
    let reply = world.http("POST", "/networks/create", Some(&bridge("web", SUBNET)));
    reply.expect(201).id().to_owned()
}

/// Creates a container without starting it. Whoever is outside reaches its ports
/// 9000 to 9200, where the container has an address; those of the host are not
/// what is asked for, so they are any.
#[track_caller]
pub(crate) fn create(world: &World, name: &str, driver: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let first = NEXT.fetch_add(201, Ordering::Relaxed);
    let host = format!("{first}:{}", first + 200);
    let publish = |protocol| {
        json!({
            "interfaces": ["eth0"], "host_port": host, "container_port": "9000:*",
            "protocol": protocol,
        })
    };
    let mut config = json!({
        "name": name, "image": "host-usr", "cmd": ["sleep", "1000"], "network_driver": driver,
    });
    if matches!(driver, "ipnet" | "vnet") {
        config["public_ports"] = json!([publish("tcp"), publish("udp")]);
    }
    world.http("POST", "/containers/create", Some(&config)).expect(201).id().to_owned()
}

/// What `POST /networks/connect` takes.
pub(crate) fn endpoint(container: &str, network: &str, ip: &str) -> Value {
    json!({"container": container, "network": network, "ip_address": ip})
}

/// Everything a client wrote, wherever.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", output.stdout(), output.stderr())
}

/// The links of a kind, as the kernel tells them.
pub(crate) fn links(world: &World, kind: &str) -> Vec<Value> {
    let all = world.ip_json(["addr", "show"]);
    let all = all.as_array().unwrap().clone();
    all.into_iter().filter(|link| link["linkinfo"]["info_kind"] == kind).collect()
}

/// The addresses of a link, without link-local ones.
pub(crate) fn addresses(link: &Value) -> Vec<String> {
    let list = link["addr_info"].as_array().unwrap().iter();
    let global = list.filter(|one| one["scope"] != "link");
    global.map(|one| format!("{}/{}", one["local"].as_str().unwrap(), one["prefixlen"])).collect()
}

/// Cables of ours on the host.
pub(crate) fn cables(world: &World) -> Vec<Value> {
    let veths = links(world, "veth").into_iter();
    veths.filter(|link| link["ifname"].as_str().unwrap().starts_with("epair")).collect()
}

/// Starts a detached container that sleeps.
#[track_caller]
pub(crate) fn sleeper(world: &World, name: &str, options: &[&str]) {
    let command = ["host-usr", "sleep", "1000"];
    let name = ["run", "-d", "--name", name];
    world.klee([&name[..], options, &command].concat()).ok();
    wait_running(world, name[3]);
}

/// Waits until `lsc` calls it running.
#[track_caller]
pub(crate) fn wait_running(world: &World, name: &str) {
    world.wait_until(LIMIT, &format!("{name} running"), || is_running(world, name));
}

/// Whether the API calls a container running.
pub(crate) fn is_running(world: &World, name: &str) -> bool {
    let reply = world.http("GET", &format!("/containers/{name}/inspect"), None);
    reply.json["container"]["running"] == true
}

/// Processes of the world whose command line contains `text`, as numbers in
/// the world.
pub(crate) fn processes(world: &World, text: &str) -> Vec<String> {
    let listed = world.run(["ps", "-eo", "pid,args"]);
    let stdout = listed.ok().stdout().into_owned();
    let found = stdout.lines().filter(|line| line.contains(text) && !line.contains("ps -eo"));
    found.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// Kills processes of the world.
pub(crate) fn kill9(world: &World, pids: &[String]) {
    for pid in pids {
        // Gone meanwhile is as good.
        world.run(["kill", "-KILL", pid]);
    }
}
