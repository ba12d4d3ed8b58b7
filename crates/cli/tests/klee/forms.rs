//! One answer in three forms, whole and filtered.

use std::io::Write as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::fake::{CONTAINER, Fake};
use super::{klee, run};

const WEB: &str = "2f1dc29b8f36";

fn container(id: &str, name: &str, driver: &str) -> Value {
    json!({
        "id": id, "name": name, "image_id": "aaaaaaaaaaaa",
        // What YAML could take for something else.
        "cmd": ["sh", "-c", "a: b\n# c", "12e3", ""], "user": "no", "env": ["A=1"],
        "network_driver": driver, "public_ports": [], "jail_param": [], "restart_policy": "no",
        "persist": false, "created": "2026-11-24T13:00:00.000000Z", "dataset": "", "running":
        driver == "vnet",
    })
}

fn summary(id: &str, name: &str, driver: &str) -> Value {
    let mut summary = container(id, name, driver);
    summary["image_name"] = json!("host-usr");
    summary["image_tag"] = json!("latest");
    summary["jid"] = Value::Null;
    summary
}

fn network(id: &str, name: &str, kind: &str) -> Value {
    json!({
        "id": id, "name": name, "type": kind, "interface": "kleene0",
        "subnet": "10.4.6.0/24", "subnet6": "fd00:4::/64", "gateway": "<auto>",
        "gateway6": "<auto>", "nat": "<host-gateway>", "icc": true, "internal": false,
    })
}

fn host() -> Fake {
    let fake = Fake::new();
    let web = network(WEB, "web", "bridge");
    let image = json!({
        "id": "aaaaaaaaaaaa", "name": "host-usr", "tag": "latest", "cmd": ["/bin/sh"], "env": [],
        "user": "root", "instructions": [["FROM x", "@1"]], "created": "2026-11-24T13:00:00Z",
        "dataset": "",
    });
    let endpoint = |container: &str, epair: Value, address: &str, address6: &str| {
        json!({
            "id": "e1", "network_id": WEB, "container_id": container, "epair": epair,
            "ip_address": address, "ip_address6": address6,
        })
    };
    let site = endpoint(CONTAINER, json!("epair3"), "10.4.6.9", "fd00:4::9");
    let endpoints = json!([site, endpoint("dd", Value::Null, "10.4.6.2", "")]);
    let answer =
        |what: &str, body: Value| fake.answer(&format!("GET {what}"), 200, &body.to_string());
    answer("/networks/list", json!([network("aa", "inner", "loopback"), web]));
    answer("/networks/web/inspect", json!({"network": web, "network_endpoints": endpoints}));
    answer("/images/list", json!([image]));
    answer("/images/host-usr/inspect", image);
    answer(
        "/containers/list?all=true",
        json!([summary(CONTAINER, "site", "vnet"), summary("dd", "old", "ipnet")]),
    );
    answer("/containers/list", json!([summary(CONTAINER, "site", "vnet")]));
    let mount = json!({
        "container_id": CONTAINER, "type": "nullfs", "destination": "/d", "source": "/srv",
        "read_only": true,
    });
    answer(
        "/containers/site/inspect",
        json!({
            "container": container(CONTAINER, "site", "vnet"), "container_endpoints": [site],
            "container_mountpoints": [mount],
        }),
    );
    fake
}

fn stdout(fake: &Fake, words: &[&str]) -> String {
    let output = klee(fake, words).output().expect("klee runs");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Read by Python, for which YAML is 1.1; nothing where it is not there.
fn read_by_python(yaml: &str) -> Option<Value> {
    let mut python = Command::new("python3")
        .args(["-c", "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // Without its module it is gone before it reads.
    python.stdin.take()?.write_all(yaml.as_bytes()).ok();
    let output = python.wait_with_output().ok()?;
    if !output.status.success() {
        eprintln!("skipped: python3 has no module yaml");
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn yaml_says_what_json_says() {
    let fake = host();
    for words in [
        &["network", "ls"][..],
        &["lsn", "-f", "name=web"],
        &["lsn", "-f", "name=nobody"],
        &["isn", "web"],
        &["lsc", "-a"],
        &["isc", "site"],
        &["lsi"],
        &["isi", "host-usr"],
    ] {
        let json: Value =
            serde_json::from_str(&stdout(&fake, &[words, &["-o", "json"]].concat())).expect("JSON");
        let yaml = stdout(&fake, &[words, &["-o", "yaml"]].concat());
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).expect("YAML"), json, "{yaml}");
        if let Some(read) = read_by_python(&yaml) {
            assert_eq!(read, json, "{yaml}");
        }
    }
    // The order is the daemon's.
    fake.answer("GET /networks/z/inspect", 200, r#"{"z":1,"network":{"id":"x"},"a":[]}"#);
    assert_eq!(stdout(&fake, &["isn", "z", "-o", "yaml"]), "z: 1\nnetwork:\n  id: x\na: []\n");
}

#[test]
fn a_network_for_people_tells_who_is_in_it() {
    let fake = host();
    assert_snapshot!(run(&fake, &["network", "inspect", "web", "-o", "table"]), @"
    exit code: 0
    --- stdout
    id:         2f1dc29b8f36
    name:       web
    type:       bridge
    interface:  kleene0
    subnet:     10.4.6.0/24
    gateway:    10.4.6.1
    subnet:     fd00:4::/64
    gateway:    fd00:4::1
    nat:        <host-gateway>
    icc:        yes
    internal:   no

    CONTAINER ID   NAME   DRIVER   STATUS    INTERFACE   IPV4       IPV6
    173a1a8d848d   site   vnet     running   epair3a     10.4.6.9   fd00:4::9
    dd             old    ipnet    stopped               10.4.6.2
    --- stderr
    ");
}

#[test]
fn a_container_and_an_image_for_people() {
    let fake = host();
    assert_snapshot!(run(&fake, &["isc", "site", "-o", "table"]), @r"
    exit code: 0
    --- stdout
    id:              173a1a8d848d
    name:            site
    image:           aaaaaaaaaaaa
    command:         sh -c a: b\n# c 12e3
    user:            no
    environment:     A=1
    driver:          vnet
    status:          running
    restart policy:  no
    persistent:      no
    created:         2026-11-24T13:00:00.000000Z

    NETWORK   IPV4       IPV6        CABLE    DEFAULT
    web       10.4.6.9   fd00:4::9   epair3   no

    SOURCE   DESTINATION   ACCESS
    /srv     /d            read-only
    --- stderr
    ");
    assert_snapshot!(run(&fake, &["isi", "host-usr", "-o", "table"]), @"
    exit code: 0
    --- stdout
    id:       aaaaaaaaaaaa
    name:     host-usr
    tag:      latest
    command:  /bin/sh
    user:     root
    created:  2026-11-24T13:00:00Z

    SNAPSHOT   INSTRUCTION
    @1         FROM x
    --- stderr
    ");
}

#[test]
fn an_inspection_is_json_unless_asked_otherwise() {
    let fake = host();
    for words in [["isn", "web"], ["isc", "site"], ["isi", "host-usr"]] {
        let text = stdout(&fake, &words);
        assert_eq!(text, stdout(&fake, &[&words[..], &["-o", "json"]].concat()), "{words:?}");
        serde_json::from_str::<Value>(&text).expect("JSON");
    }
}

#[test]
fn stopped_containers_are_found_by_their_state() {
    let fake = host();
    assert_eq!(stdout(&fake, &["lsc", "-q"]), format!("{CONTAINER}\n"));
    assert_eq!(stdout(&fake, &["lsc", "-q", "-f", "status=stopped"]), "dd\n");
    assert_eq!(stdout(&fake, &["lsc", "-q", "-f", "status=running"]), format!("{CONTAINER}\n"));
    assert_eq!(stdout(&fake, &["lsc", "-aq", "-f", "network=web", "-f", "driver=ipnet"]), "dd\n");
    assert_eq!(
        stdout(&fake, &["lsc", "-aq", "-f", "image=aaaa", "-f", "name=s*"]).lines().count(),
        1
    );
    assert_eq!(stdout(&fake, &["lsi", "-q", "-f", "name=host-usr:latest"]), "aaaaaaaaaaaa\n");
    assert_eq!(stdout(&fake, &["lsi", "-q", "-f", "tag=v2"]), "");
}

#[test]
fn a_filter_that_cannot_be_is_bad_usage() {
    let fake = host();
    assert_snapshot!(run(&fake, &["lsn", "-f", "driver=vnet"]), @"
    exit code: 2
    --- stdout
    --- stderr
    error: invalid value 'driver=vnet' for '--filter <KEY=VALUE>': there is no key 'driver'; keys: id, name, type, interface, subnet

    For more information, try '--help'.
    ");
    assert_snapshot!(run(&fake, &["lsc", "-f", "status=dead"]), @"
    exit code: 2
    --- stdout
    --- stderr
    error: invalid value 'status=dead' for '--filter <KEY=VALUE>': 'status' is one of: running, stopped

    For more information, try '--help'.
    ");
    assert!(run(&fake, &["lsi", "-f", "name"]).starts_with("exit code: 2"));
    // A network that is not there is no empty list.
    fake.refuse("GET /networks/nope/inspect", 404, "network-not-found", "network not found");
    assert!(run(&fake, &["lsc", "-f", "network=nope"]).starts_with("exit code: 1"));
}
