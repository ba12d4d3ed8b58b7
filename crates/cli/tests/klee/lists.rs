//! Lists, inspections and the verbs that take several names.

use insta::assert_snapshot;
use serde_json::json;

use super::fake::{CONTAINER, Fake};
use super::{klee, run, run_with_input, shown};

fn summary(name: &str, running: bool) -> serde_json::Value {
    json!({
        "id": CONTAINER, "name": name, "image_id": "aaaaaaaaaaaa",
        "image_name": if running { "host-usr" } else { "" }, "image_tag": "latest",
        "cmd": ["sh", "-c", "exit 7"], "user": "", "env": [], "network_driver": "vnet",
        "public_ports": [], "jail_param": [], "restart_policy": "no", "persist": false,
        "created": "2999-01-01T00:00:00.000000Z", "dataset": "", "running": running,
        "jid": if running { json!(4711) } else { json!(null) },
    })
}

fn network(id: &str, name: &str, subnet6: &str) -> serde_json::Value {
    json!({
        "id": id, "name": name, "type": "bridge", "interface": "kleene0",
        "subnet": "10.4.6.0/24", "subnet6": subnet6, "gateway": "<auto>", "gateway6": "",
        "nat": "<host-gateway>", "icc": true, "internal": false,
    })
}

#[test]
fn containers_are_listed() {
    let fake = Fake::new();
    let both = json!([summary("site", true), summary("old", false)]).to_string();
    fake.answer("GET /containers/list?all=true", 200, &both);
    assert_snapshot!(run(&fake, &["lsc", "-a"]), @"
    exit code: 0
    --- stdout
    CONTAINER ID   NAME   IMAGE             COMMAND        CREATED                  AUTORUN   STATUS    JID
    173a1a8d848d   site   host-usr:latest   sh -c exit 7   Less than a second ago   no        running   4711
    173a1a8d848d   old    aaaaaaaaaaaa      sh -c exit 7   Less than a second ago   no        stopped
    --- stderr
    ");
}

#[test]
fn networks_are_listed() {
    let fake = Fake::new();
    let two = json!([network("2f1dc29b8f36", "web", ""), network("a", "b", "fd00::/64")]);
    fake.answer("GET /networks/list", 200, &two.to_string());
    assert_snapshot!(run(&fake, &["lsn"]), @"
    exit code: 0
    --- stdout
    ID             NAME   TYPE     SUBNET
    2f1dc29b8f36   web    bridge   10.4.6.0/24
    a              b      bridge   10.4.6.0/24 fd00::/64
    --- stderr
    ");
    assert_snapshot!(run(&fake, &["network", "ls", "-q"]), @"
    exit code: 0
    --- stdout
    2f1dc29b8f36
    a
    --- stderr
    ");
    assert_snapshot!(run(&fake, &["network", "ls", "-o", "json"]), @r#"
    exit code: 0
    --- stdout
    [
      {
        "gateway": "<auto>",
        "gateway6": "",
        "icc": true,
        "id": "2f1dc29b8f36",
        "interface": "kleene0",
        "internal": false,
        "name": "web",
        "nat": "<host-gateway>",
        "subnet": "10.4.6.0/24",
        "subnet6": "",
        "type": "bridge"
      },
      {
        "gateway": "<auto>",
        "gateway6": "",
        "icc": true,
        "id": "a",
        "interface": "kleene0",
        "internal": false,
        "name": "b",
        "nat": "<host-gateway>",
        "subnet": "10.4.6.0/24",
        "subnet6": "fd00::/64",
        "type": "bridge"
      }
    ]
    --- stderr
    "#);
}

#[test]
fn an_inspection_is_the_daemons_own_json() {
    let fake = Fake::new();
    fake.answer("GET /networks/a%2Fb/inspect", 200, r#"{"z":1,"network":{"id":"x"},"a":[]}"#);
    assert_snapshot!(run(&fake, &["isn", "a/b"]), @r#"
    exit code: 0
    --- stdout
    {
      "z": 1,
      "network": {
        "id": "x"
      },
      "a": []
    }
    --- stderr
    "#);
}

#[test]
fn a_network_is_created_with_the_defaults_of_the_model() {
    let fake = Fake::new();
    fake.answer("POST /networks/create", 201, r#"{"id":"2f1dc29b8f36"}"#);
    let run = run(&fake, &["network", "create", "-t", "bridge", "--subnet", "10.4.6.0/24", "web"]);
    assert_snapshot!(run, @"
    exit code: 0
    --- stdout
    2f1dc29b8f36
    --- stderr
    ");
    assert_snapshot!(fake.body("POST /networks/create").to_string(), @r#"{"gateway":"<auto>","gateway6":"<auto>","icc":true,"interface":"","internal":false,"name":"web","nat":"<host-gateway>","subnet":"10.4.6.0/24","subnet6":"","type":"bridge"}"#);
}

#[test]
fn several_names_go_on_after_a_failure() {
    let fake = Fake::new();
    fake.answer("DELETE /networks/web", 200, r#"{"id":"2f1dc29b8f36"}"#);
    fake.refuse("DELETE /networks/nope", 404, "network-not-found", "network not found.");
    assert_snapshot!(run(&fake, &["rmn", "nope", "web"]), @"
    exit code: 1
    --- stdout
    2f1dc29b8f36
    --- stderr
    nope: network not found.
    hint: mind the network-not-found
    ");
    assert_snapshot!(run(&fake, &["rmn", "nope"]), @"
    exit code: 1
    --- stdout
    --- stderr
    network not found.
    hint: mind the network-not-found
    ");
}

#[test]
fn force_stops_before_it_removes() {
    let fake = Fake::new();
    assert_snapshot!(run(&fake, &["rmc", "-f", CONTAINER]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    ");
    assert_eq!(
        fake.asked(),
        ["POST /containers/173a1a8d848d/stop", "DELETE /containers/173a1a8d848d"]
    );
}

#[test]
fn a_container_that_does_not_run_is_removed_by_force_too() {
    let fake = Fake::new();
    let stop = "POST /containers/173a1a8d848d/stop";
    fake.refuse(stop, 404, "container-not-running", "container not running");
    assert_snapshot!(run(&fake, &["rmc", "-f", CONTAINER]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    ");
}

#[test]
fn stop_passes_the_grace_on() {
    let fake = Fake::new();
    fake.answer("POST /containers/site/stop?timeout=9", 200, r#"{"id":"173a1a8d848d"}"#);
    assert_snapshot!(run(&fake, &["stop", "-t", "9", "site"]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    ");
}

#[test]
fn prune_asks() {
    let fake = Fake::new();
    fake.answer("POST /containers/prune", 200, r#"["173a1a8d848d"]"#);
    assert_snapshot!(shown(&run_with_input(&fake, &["container", "prune"], b"n\n")), @"
    exit code: 1
    --- stdout
    --- stderr
    WARNING! This will remove all stopped containers.
    Are you sure you want to continue? [y/N]: 
    Aborted!
    ");
    assert!(fake.asked().is_empty());
    assert_snapshot!(shown(&run_with_input(&fake, &["container", "prune"], b"y\n")), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    WARNING! This will remove all stopped containers.
    Are you sure you want to continue? [y/N]:
    ");
    assert_snapshot!(run(&fake, &["container", "prune", "-f"]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    ");
}

#[test]
fn logs_are_copied_as_they_are() {
    let fake = Fake::new();
    fake.answer("GET /containers/site/logs?tail=2&timestamps=true", 200, "one\ntwo\u{e9}\n");
    assert_snapshot!(run(&fake, &["logs", "-t", "--tail", "2", "site"]), @"
    exit code: 0
    --- stdout
    one
    twoé
    --- stderr
    ");
    assert_snapshot!(run(&fake, &["logs", "nope"]), @"
    exit code: 1
    --- stdout
    --- stderr
    nobody expects GET /containers/nope/logs
    ");
}

#[test]
fn a_rename_sends_nothing_but_the_name() {
    let fake = Fake::new();
    fake.answer("POST /containers/site/update", 201, r#"{"id":"173a1a8d848d"}"#);
    assert_snapshot!(run(&fake, &["container", "rename", "site", "web"]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    ");
    assert_eq!(fake.body("POST /containers/site/update"), json!({"name": "web"}));
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let fake = Fake::new();
    fake.answer("GET /networks/list", 200, "[]");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = klee(&fake, &["lsn"]).stdout(writer).output().expect("klee runs");
    assert_snapshot!(shown(&output), @"
    exit code: 141
    --- stdout
    --- stderr
    ");
}

#[test]
fn settings_come_from_flags_then_environment_then_file() {
    let fake = Fake::new();
    fake.answer("GET /networks/list", 200, "[]");
    let with = |host: Option<&str>, config: &str| {
        std::fs::write(fake.path("klee_config.yaml"), config).expect("written");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_klee"));
        command.env_clear().current_dir(fake.path("")).arg("lsn");
        if let Some(host) = host {
            command.env("KLEE_HOST", host);
        }
        shown(&command.output().expect("klee runs"))
    };
    let good = format!("host: {}\n", fake.host());
    assert_eq!(with(None, &good), with(Some(&fake.host()), "host: http:///nowhere\n"));
    assert_snapshot!(with(Some("http:///nowhere"), &good), @"
    exit code: 1
    --- stdout
    --- stderr
    unable to connect to kleened: /nowhere: No such file or directory (os error 2)
    hint: is kleened running? --host or KLEE_HOST says where
    ");
    assert_snapshot!(with(None, "hots: x\n"), @"
    exit code: 1
    --- stdout
    --- stderr
    Error! Config file klee_config.yaml is not valid: parameter name 'hots' unknown
    ");
}
