//! What no client of ours would send: each gets an answer, or its
//! connection is closed, and the daemon lives on.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{SUBNET, bridge};
use kleene_e2e::World;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Sends bytes, closes the sending half, and gives what came back.
fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = world.connect();
    // It may hang up before it has heard everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    heard(stream)
}

/// The same for a request that is whole. Its sender stays: who hangs up before
/// the answer may get none.
fn raw_whole(world: &World, bytes: &[u8]) -> String {
    let mut stream = world.connect();
    stream.write_all(bytes).unwrap();
    heard(stream)
}

fn heard(mut stream: UnixStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Neither a success nor our own fault.
fn is_refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 4")
}

#[test]
fn garbage_kills_no_daemon() {
    let Some(world) = World::open("garbage_kills_no_daemon") else { return };
    let mut kleened = world.start_kleened("");
    let before = world.snapshot();
    let deep = "[".repeat(100_000);
    let json = "application/json";
    let inputs: Vec<Vec<u8>> = vec![
        vec![],
        vec![0; 4096],
        b"GET".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)).into_bytes(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(10_000)).into_bytes(),
        post("/networks/create", json, ""),
        post("/networks/create", json, "{"),
        post("/networks/create", json, "[]"),
        post("/networks/create", json, "null"),
        post("/networks/create", json, "{\"name\": 7}"),
        post("/networks/create", json, "{\"name\": \"\\ud800\"}"),
        post("/networks/create", json, &deep),
        post("/networks/create", json, &format!("{{\"name\": \"{}\"}}", "a".repeat(1 << 20))),
        post("/networks/create", "text/plain", "{}"),
        post("/containers/create", json, "{\"cmd\": {}}"),
        post("/containers/create", json, "{\"env\": [\"\\u0000=1\"], \"image\": \"host-usr\"}"),
        post("/networks/connect", json, "{\"container\": \"\", \"network\": \"\"}"),
        b"POST /networks/create HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /networks/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
    ];
    for input in inputs {
        let answer = raw(&world, &input);
        let shown = String::from_utf8_lossy(&input[..input.len().min(120)]).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 5"), "{shown:?}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{shown:?}: {answer}");
        assert!(!answer.contains("panicked"), "{shown:?}: {answer}");
    }
    assert!(kleened.pid().is_some());
    world.http("GET", "/networks/list", None).expect(200);
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
    kleened.kill9();
    assert!(!kleened.log().contains("panicked"), "{}", kleened.log());
}

#[test]
fn half_a_request_keeps_nobody_waiting() {
    let Some(world) = World::open("half_a_request_keeps_nobody_waiting") else { return };
    let _kleened = world.start_kleened("");
    let mut half = world.connect();
    half.write_all(b"POST /networks/create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let silent = world.connect();
    world.http("POST", "/networks/create", Some(&bridge("web", SUBNET))).expect(201);
    drop((half, silent));
    world.http("GET", "/networks/list", None).expect(200);
}

#[test]
fn a_web_page_may_not_command_the_daemon() {
    let Some(world) = World::open("a_web_page_may_not_command_the_daemon") else { return };
    let _kleened = world.start_kleened("");
    let request = |more: &str| {
        format!("GET /networks/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
    };
    assert!(
        raw_whole(&world, request("").as_bytes()).starts_with("HTTP/1.1 200"),
        "the allowed twin"
    );
    let answer = raw_whole(&world, request("Origin: http://evil.example\r\n").as_bytes());
    assert!(is_refused(&answer), "{answer}");
}

#[test]
fn paths_and_methods_that_do_not_exist() {
    let Some(world) = World::open("paths_and_methods_that_do_not_exist") else { return };
    let _kleened = world.start_kleened("");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/networks"),
        ("DELETE", "/networks/list/x"),
        ("PUT", "/networks/create"),
        ("GET", "/../../etc/passwd"),
        ("GET", "/networks/%2e%2e/inspect"),
        ("GET", "/networks/%ff/inspect"),
    ] {
        let reply = world.http(method, path, None);
        assert!(
            (400..500).contains(&reply.status),
            "{method} {path}: {} {}",
            reply.status,
            reply.text
        );
    }
    // A slash at the end is fine, as it was.
    world.http("GET", "/networks/list/", None).expect(200);
}

#[test]
fn names_that_must_not_work() {
    let Some(world) = World::open("names_that_must_not_work") else { return };
    let _kleened = world.start_kleened("");
    let create = |name: &str| {
        let body =
            json!({"name": name, "image": "host-usr", "cmd": ["true"], "network_driver": "host"});
        world.http("POST", "/containers/create", Some(&body))
    };
    create("fine.name-1_x").expect(201);
    for name in ["x", "-x", ".x", "a b", "a/b", "../x", "a\n", "ä", ""] {
        let reply = create(name);
        assert_eq!(reply.status, 404, "{name:?}: {}", reply.text);
        let text = format!("{name} does not match /?[a-zA-Z0-9][a-zA-Z0-9_.-]+$");
        assert_eq!(reply.message(), text);
    }
}
