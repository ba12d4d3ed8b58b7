//! What goes wrong, with the exit codes of section 14.

use insta::assert_snapshot;
use serde_json::json;

use super::fake::{Act, EXEC, Fake};
use super::{klee, run, shown};

fn inspected(exit_code: Option<i32>) -> String {
    json!({
        "id": EXEC, "container_id": "173a1a8d848d", "cmd": ["nope"], "state": "exited",
        "exit_code": exit_code, "container_ended": true, "tty": false,
    })
    .to_string()
}

#[test]
fn a_refused_container_is_125_for_run_and_1_for_create() {
    let fake = Fake::new();
    fake.refuse("POST /containers/create", 404, "image-not-found", "no such image 'x'");
    assert_snapshot!(run(&fake, &["run", "x"]), @"
    exit code: 125
    --- stdout
    --- stderr
    could not create container: no such image 'x'
    hint: mind the image-not-found
    ");
    assert_snapshot!(run(&fake, &["create", "x"]), @"
    exit code: 1
    --- stdout
    --- stderr
    could not create container: no such image 'x'
    hint: mind the image-not-found
    ");
}

#[test]
fn a_container_that_cannot_be_connected_is_removed_again() {
    let fake = Fake::new();
    fake.refuse("POST /networks/connect", 404, "network-not-found", "network not found");
    assert_snapshot!(run(&fake, &["run", "-n", "nope", "host-usr", "true"]), @"
    exit code: 125
    --- stdout
    --- stderr
    could not connect container: network not found
    hint: mind the network-not-found
    container 173a1a8d848d was removed again
    ");
    let asked = fake.asked();
    assert_eq!(asked[1..], ["POST /networks/connect", "DELETE /containers/173a1a8d848d"]);
    assert_snapshot!(run(&fake, &["create", "-n", "nope", "host-usr"]), @"
    exit code: 1
    --- stdout
    --- stderr
    could not connect container: network not found
    hint: mind the network-not-found
    container 173a1a8d848d was removed again
    ");
}

#[test]
fn an_invented_name_that_is_taken_is_invented_again() {
    let fake = Fake::new();
    fake.refuse("POST /containers/create", 404, "container-name-taken", "taken");
    fake.answer("POST /containers/create", 201, r#"{"id":"173a1a8d848d"}"#);
    assert_snapshot!(run(&fake, &["create", "host-usr"]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    ");
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn a_given_name_that_is_taken_is_refused() {
    let fake = Fake::new();
    fake.refuse("POST /containers/create", 404, "container-name-taken", "taken");
    assert_snapshot!(run(&fake, &["create", "--name", "site", "host-usr"]), @"
    exit code: 1
    --- stdout
    --- stderr
    could not create container: taken
    hint: mind the container-name-taken
    ");
}

#[test]
fn a_start_that_the_daemon_refuses_is_125() {
    let fake = Fake::new();
    fake.acts(&[
        Act::Say("error: container not found"),
        Act::Close(1011, "error starting exec instance"),
    ]);
    assert_snapshot!(run(&fake, &["start", "site"]), @"
    exit code: 125
    --- stdout
    --- stderr
    created execution instance 2fc5447ef1e8
    error: container not found
    error starting exec instance
    ");
    assert_snapshot!(run(&fake, &["start", "-d", "site"]), @"
    exit code: 125
    --- stdout
    --- stderr
    created execution instance 2fc5447ef1e8
    error: container not found
    error starting exec instance
    ");
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let fake = Fake::new();
    fake.acts(&[
        Act::Say("error: nope: not found"),
        Act::Close(1011, "error starting exec instance"),
    ]);
    fake.answer(&format!("GET /exec/{EXEC}/inspect"), 200, &inspected(Some(127)));
    assert_snapshot!(run(&fake, &["run", "--rm", "host-usr", "nope"]), @"
    exit code: 127
    --- stdout
    --- stderr
    173a1a8d848d
    created execution instance 2fc5447ef1e8
    error: nope: not found
    error starting exec instance
    ");
    assert_eq!(fake.asked().last().map(String::as_str), Some("DELETE /containers/173a1a8d848d"));
}

#[test]
fn an_execution_that_cannot_be_made_is_125() {
    let fake = Fake::new();
    fake.refuse("POST /exec/create", 404, "container-not-found", "container not found");
    assert_snapshot!(run(&fake, &["exec", "nope", "true"]), @"
    exit code: 125
    --- stdout
    --- stderr
    nope: error creating execution instance: container not found
    hint: mind the container-not-found
    ");
}

#[test]
fn a_connection_that_breaks_is_125_unless_the_daemon_knows() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("half\n"), Act::Vanish]);
    assert_snapshot!(run(&fake, &["start", "site"]), @"
    exit code: 125
    --- stdout
    half
    --- stderr
    created execution instance 2fc5447ef1e8
    ERROR! Connection closed unexpectedly. (the daemon does not say how the command ended: see 'klee logs')
    ");
    fake.answer(&format!("GET /exec/{EXEC}/inspect"), 200, &inspected(Some(3)));
    assert_snapshot!(run(&fake, &["start", "site"]), @"
    exit code: 3
    --- stdout
    half
    --- stderr
    created execution instance 2fc5447ef1e8

    executable 2fc5447ef1e8 and its container exited with exit-code 3
    ");
}

#[test]
fn a_daemon_that_is_away_is_named() {
    let fake = Fake::new();
    let away = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_klee"));
        command.env_clear().current_dir(fake.path(""));
        command.args(["--host", "http:///nowhere/kleened.sock"]).args(words);
        shown(&command.output().expect("klee runs"))
    };
    assert_snapshot!(away(&["lsn"]), @"
    exit code: 1
    --- stdout
    --- stderr
    unable to connect to kleened: /nowhere/kleened.sock: No such file or directory (os error 2)
    hint: is kleened running? --host or KLEE_HOST says where
    ");
    assert_snapshot!(away(&["run", "host-usr"]), @"
    exit code: 125
    --- stdout
    --- stderr
    unable to connect to kleened: /nowhere/kleened.sock: No such file or directory (os error 2)
    hint: is kleened running? --host or KLEE_HOST says where
    ");
    assert_snapshot!(away(&["rmc", "a", "b"]), @"
    exit code: 1
    --- stdout
    --- stderr
    unable to connect to kleened: /nowhere/kleened.sock: No such file or directory (os error 2)
    hint: is kleened running? --host or KLEE_HOST says where
    ");
}

#[test]
fn mounts_and_ports_are_read_before_anybody_is_asked() {
    let fake = Fake::new();
    assert_snapshot!(run(&fake, &["create", "-m", "/srv", "host-usr"]), @"
    exit code: 125
    --- stdout
    --- stderr
    invalid mount format '/srv'. Must have at least 2 elements seperated by ':'.
    ");
    assert_snapshot!(run(&fake, &["run", "-p", "80/icmp", "host-usr"]), @"
    exit code: 125
    --- stdout
    --- stderr
    could not decode port to publish: 80/icmp
    ");
    assert_snapshot!(run(&fake, &["run", "-l", "veth", "host-usr"]), @"
    exit code: 125
    --- stdout
    --- stderr
    Error! Could not validate container configuration: 'veth' is not a valid ContainerConfigNetworkDriver
    ");
    assert_snapshot!(run(&fake, &["run", "-d", "--rm", "host-usr"]), @"
    exit code: 125
    --- stdout
    --- stderr
    unsupported: --rm with --detach: remove the container with 'klee rmc' when it has ended
    ");
    assert_snapshot!(run(&fake, &["start", "a", "b"]), @"
    exit code: 125
    --- stdout
    --- stderr
    only one container can be started when attaching to container I/O.
    ");
    assert!(fake.asked().is_empty());
}

#[test]
fn bad_usage_is_2() {
    let fake = Fake::new();
    for words in [
        &["run"][..],
        &["run", "--nope", "host-usr"],
        &["network", "create", "-t", "overlay", "web"],
        &["network", "create"],
        &["frobnicate"],
        &["rmc", ""],
        &["network", "create", "--nat", "perhaps", "web"],
        &[],
    ] {
        let output = klee(&fake, words).output().expect("klee runs");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{words:?}");
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn tls_is_refused_by_name() {
    let fake = Fake::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_klee"));
    let output = command
        .env_clear()
        .current_dir(fake.path(""))
        .args(["--host", "https://a:1", "lsn"])
        .output();
    assert_snapshot!(shown(&output.expect("klee runs")), @"
    exit code: 1
    --- stdout
    --- stderr
    unsupported: TLS: use http:///PATH or http://HOST:PORT in place of 'https://a:1'
    ");
}
