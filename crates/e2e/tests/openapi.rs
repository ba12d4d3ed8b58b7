//! Each operation of the API document, valid and invalid: the answer has a
//! declared status, and what 0.1.1's clients need of its body.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{bridge, create, endpoint, web};
use kleene_e2e::{Reply, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

fn document() -> Value {
    let text = include_str!("../../../docs/api/kleened-0.1.1.openapi.json");
    serde_json::from_str(text).unwrap()
}

/// Operations that exist in the document but belong to later issues, or that
/// speak another protocol after the first answer.
const ELSEWHERE: [&str; 3] = ["/volumes/", "/images/", "/exec/start"];

/// Methods and paths of the document, without those of other issues.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let here = paths.filter(|(path, _)| !ELSEWHERE.iter().any(|other| path.starts_with(other)));
    let named = here.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        let verbs = methods.filter(|verb| ["get", "post", "delete"].contains(&verb.as_str()));
        verbs.map(|verb| (verb.to_uppercase(), path.clone())).collect::<Vec<_>>()
    });
    named.collect()
}

/// One request, and which of the document's operations it is.
struct Call {
    method: &'static str,
    /// As in the document.
    operation: &'static str,
    path: String,
    body: Option<Value>,
}

fn call(method: &'static str, operation: &'static str, path: &str, body: Option<Value>) -> Call {
    Call { method, operation, path: path.to_owned(), body }
}

fn ask(world: &World, document: &Value, call: &Call) -> Reply {
    let reply = world.http(call.method, &call.path, call.body.as_ref());
    let verb = call.method.to_lowercase();
    let declared = &document["paths"][call.operation][verb]["responses"];
    let status = reply.status.to_string();
    let shown = format!("{} {}: {status} {}", call.method, call.path, reply.text);
    assert!(declared.is_object(), "no such operation in the document: {}", call.operation);
    assert!(declared.get(&status).is_some(), "undeclared: {shown}");
    assert!(reply.status < 500, "our own fault: {shown}");
    if reply.status >= 400 {
        assert!(!reply.message().is_empty(), "a refusal without a message: {shown}");
        assert!(reply.json["code"].is_string() && reply.json["hints"].is_array(), "{shown}");
    }
    reply
}

/// In an order in which each finds what it needs.
fn valid(container: &str, exec: &str) -> Vec<Call> {
    let config = json!({"name": "second", "image": "host-usr", "network_driver": "vnet"});
    let exec_config = json!({"container_id": container, "cmd": ["true"]});
    vec![
        call("POST", "/networks/create", "/networks/create", Some(bridge("two", "10.4.7.0/24"))),
        call("GET", "/networks/list", "/networks/list", None),
        call("GET", "/networks/{network_id}/inspect", "/networks/web/inspect", None),
        call("POST", "/containers/create", "/containers/create", Some(config)),
        call("GET", "/containers/list", "/containers/list?all=true", None),
        call("GET", "/containers/{container_id}/inspect", "/containers/first/inspect", None),
        call(
            "POST",
            "/containers/{container_id}/update",
            "/containers/first/update",
            Some(json!({"env": ["A=b"]})),
        ),
        call(
            "POST",
            "/networks/connect",
            "/networks/connect",
            Some(endpoint("first", "web", "<auto>")),
        ),
        call(
            "POST",
            "/networks/{network_id}/disconnect/{container_id}",
            "/networks/web/disconnect/first",
            None,
        ),
        call("POST", "/exec/create", "/exec/create", Some(exec_config)),
        call(
            "POST",
            "/exec/{exec_id}/stop",
            &format!("/exec/{exec}/stop?force_stop=false&stop_container=false"),
            None,
        ),
        call("POST", "/containers/{container_id}/stop", "/containers/first/stop", None),
        call("DELETE", "/containers/{container_id}", "/containers/first", None),
        call("POST", "/containers/prune", "/containers/prune", None),
        call("DELETE", "/networks/{network_id}", "/networks/two", None),
        call("POST", "/networks/prune", "/networks/prune", None),
    ]
}

fn invalid() -> Vec<Call> {
    let nobody = json!({"container_id": "nobody", "cmd": ["true"]});
    vec![
        call("POST", "/networks/create", "/networks/create", Some(bridge("two", "not a subnet"))),
        call("POST", "/networks/create", "/networks/create", Some(json!({"type": "bridge"}))),
        call("POST", "/networks/create", "/networks/create", Some(json!({"name": 7, "type": []}))),
        call("GET", "/networks/{network_id}/inspect", "/networks/nothing/inspect", None),
        call("DELETE", "/networks/{network_id}", "/networks/nothing", None),
        call(
            "POST",
            "/networks/connect",
            "/networks/connect",
            Some(endpoint("nobody", "nothing", "")),
        ),
        call("POST", "/networks/connect", "/networks/connect", Some(json!({"container": null}))),
        call(
            "POST",
            "/networks/{network_id}/disconnect/{container_id}",
            "/networks/nothing/disconnect/nobody",
            None,
        ),
        call(
            "POST",
            "/containers/create",
            "/containers/create",
            Some(json!({"image": "no-such-image"})),
        ),
        call(
            "POST",
            "/containers/create",
            "/containers/create",
            Some(json!({"network_driver": "x"})),
        ),
        call("GET", "/containers/{container_id}/inspect", "/containers/nobody/inspect", None),
        call(
            "POST",
            "/containers/{container_id}/update",
            "/containers/nobody/update",
            Some(json!({})),
        ),
        call("POST", "/containers/{container_id}/stop", "/containers/nobody/stop", None),
        call("DELETE", "/containers/{container_id}", "/containers/nobody", None),
        call("POST", "/exec/create", "/exec/create", Some(nobody)),
        call(
            "POST",
            "/exec/{exec_id}/stop",
            "/exec/nothing/stop?force_stop=false&stop_container=false",
            None,
        ),
    ]
}

/// Sends a body of that length, and gives the answer's status and body.
fn send_much(world: &World, method: &str, path: &str, length: usize) -> (String, Value) {
    let mut stream = world.connect();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It may hang up before it has heard everything.
    let _ = stream.write_all(&vec![b' '; length]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}")))
}

#[test]
fn what_cannot_be_read_is_refused_as_declared() {
    let Some(world) = World::open("what_cannot_be_read_is_refused_as_declared") else { return };
    let _kleened = world.start_kleened("");
    let document = document();
    web(&world);
    let reads_a_body = |path: &String| {
        let update = path.ends_with("/update");
        update
            || ["/networks/create", "/networks/connect", "/containers/create", "/exec/create"]
                .contains(&path.as_str())
    };
    for (method, path) in operations(&document) {
        let declared = &document["paths"][&path][method.to_lowercase()]["responses"];
        let refused = |status: &str, body: &Value, part: &str| {
            let shown = format!("{method} {path}: {status} {body}");
            assert!(declared.get(status).is_some(), "undeclared: {shown}");
            assert_eq!(body["code"], "invalid-request", "{shown}");
            assert!(body["hints"].is_array(), "{shown}");
            assert!(body["message"].as_str().unwrap().contains(part), "{shown}");
        };
        if reads_a_body(&path) {
            let target = path.replace("{container_id}", "first");
            let (status, body) = send_much(&world, &method, &target, (1 << 20) + 1);
            refused(&status, &body, "larger than 1048576 bytes");
        }
        if let Some((head, tail)) = path.split_once('{') {
            let rest = tail.split_once('}').unwrap().1.replace("{container_id}", "first");
            let query = "?force_stop=false&stop_container=false";
            let reply = world.http(&method, &format!("{head}%ff{rest}{query}"), None);
            refused(&reply.status.to_string(), &reply.json, "UTF-8");
        }
    }
    // The allowed twins: as large as may be, and every character that is one.
    let room = (1 << 20) - json!({"name": "big", "image": ""}).to_string().len();
    let large = json!({"name": "big", "image": "x".repeat(room)});
    let reply = world.http("POST", "/containers/create", Some(&large));
    assert!(reply.message().contains("no such image"), "{}", reply.text.len());
    let create = bridge("\u{fc}", "10.4.8.0/24");
    world.http("POST", "/networks/create", Some(&create)).expect(201);
    world.http("GET", "/networks/%c3%bc/inspect", None).expect(200);
}

#[test]
fn every_operation_answers_as_declared() {
    let Some(world) = World::open("every_operation_answers_as_declared") else { return };
    let _kleened = world.start_kleened("");
    let document = document();
    web(&world);
    let first = create(&world, "first", "vnet");
    let exec = json!({"container_id": first, "cmd": ["true"]});
    let exec = world.http("POST", "/exec/create", Some(&exec)).expect(201).id().to_owned();
    for call in invalid() {
        let reply = ask(&world, &document, &call);
        assert!(reply.status >= 400, "{} {}: {}", call.method, call.path, reply.text);
    }
    let mut asked = BTreeSet::new();
    for call in valid(&first, &exec) {
        let reply = ask(&world, &document, &call);
        // What is not running can neither be stopped nor its execution.
        let may_be_refused = call.operation.ends_with("/stop");
        assert!(
            reply.status < 300 || may_be_refused,
            "{} {}: {}",
            call.method,
            call.path,
            reply.text
        );
        asked.insert((call.method.to_owned(), call.operation.to_owned()));
    }
    let missing: Vec<_> = operations(&document).difference(&asked).cloned().collect();
    assert_eq!(missing, [], "operations that nothing here drives");
}
