//! `/exec/start`: the frames that existing clients know, and what becomes of
//! those that no client should send.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::websocket::{BINARY, CLOSE, Frame, PING, Socket, TEXT, config, exec, state};
use common::{LIMIT, create, is_running, sleeper, web, with};
use kleene_e2e::World;
use serde_json::json;

const LARGE: usize = 2 << 20;

#[test]
fn a_wrong_first_frame_is_told() {
    let Some(world) = World::open("a_wrong_first_frame_is_told") else { return };
    let kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    // The allowed twin.
    let fine = exec(&world, "box", "echo fine");
    let (output, code, kind, _) = Socket::attach(&world, &fine).rest();
    assert_eq!((output.as_slice(), code, kind.as_str()), (&b"fine\n"[..], 1000, "closing"));

    let exec = exec(&world, "box", "true");
    let good = config(&exec);
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body.to_string().into_bytes()
    };
    let wrong = |change: serde_json::Value| with(good.clone(), &change).to_string().into_bytes();
    let frames: Vec<(u8, Vec<u8>, &str)> = vec![
        (TEXT, b"no json".to_vec(), "invalid parameters"),
        (TEXT, b"".to_vec(), "invalid parameters"),
        (TEXT, b"[]".to_vec(), "invalid parameters"),
        (TEXT, "[".repeat(100_000).into_bytes(), "invalid parameters"),
        (TEXT, without("exec_id"), "exec_id"),
        (TEXT, without("attach"), "attach"),
        (TEXT, without("start_container"), "start_container"),
        (TEXT, wrong(json!({"exec_id": 7})), "invalid type"),
        (TEXT, wrong(json!({"attach": "maybe"})), "Invalid boolean. Got: string"),
        (TEXT, wrong(json!({"attach": null})), "invalid"),
        (TEXT, wrong(json!({"start_container": "\u{fc}".repeat(500)})), "invalid"),
        (BINARY, b"\xff\xfe\x00".to_vec(), "text frame"),
        (BINARY, good.to_string().into_bytes(), "text frame"),
        (TEXT, vec![b' '; LARGE], "too long"),
        (BINARY, vec![0; LARGE], "too long"),
    ];
    for (opcode, payload, part) in frames {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        let mut socket = Socket::open(&world);
        socket.raw(&Socket::frame(opcode, &payload));
        let (code, kind, message) = socket.close();
        assert_eq!((code, kind.as_str()), (1002, "error"), "{shown:?}: {message}");
        assert!(message.contains(part), "{shown:?}: {message}");
    }
    // Who leaves without a word, or with one, leaves nothing behind.
    drop(Socket::open(&world));
    let mut half = Socket::open(&world);
    half.raw(&Socket::frame(TEXT, good.to_string().as_bytes())[..9]);
    drop(half);
    let mut leaving = Socket::open(&world);
    leaving.raw(&Socket::frame(CLOSE, &1000_u16.to_be_bytes()));
    assert!(matches!(leaving.next(), Frame::Close(..)));
    assert_eq!(state(&world, &exec), ("created".to_owned(), None));
    assert!(!kleened.log().contains("panicked"), "{}", kleened.log());
}

#[test]
fn frames_that_break_the_protocol_end_the_connection() {
    let Some(world) = World::open("frames_that_break_the_protocol_end_the_connection") else {
        return;
    };
    let kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let good = exec(&world, "box", "true");
    let good = Socket::frame(TEXT, config(&good).to_string().as_bytes());
    let mut unmasked = good.clone();
    unmasked[1] &= 0x7f;
    let mut reserved = good.clone();
    reserved[0] |= 0x70;
    let long_ping = Socket::frame(PING, &[0; 200]);
    let not_utf8 = Socket::frame(TEXT, b"\xff\xfe");
    let endless = [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    for bytes in [unmasked, reserved, long_ping, not_utf8, endless, vec![0xff; 64]] {
        let mut socket = Socket::open(&world);
        socket.raw(&bytes);
        // With a Close or without one: nobody waits for ever.
        while socket.next() != Frame::End {
            let _ = socket.stream.shutdown(std::net::Shutdown::Write);
        }
    }
    // The allowed twin.
    let mut socket = Socket::open(&world);
    socket.raw(&good);
    socket.starting();
    assert_eq!(socket.close().0, 1000);
    assert!(!kleened.log().contains("panicked"), "{}", kleened.log());
}

#[test]
fn what_is_not_started_says_why() {
    let Some(world) = World::open("what_is_not_started_says_why") else { return };
    let _kleened = world.start_kleened("");
    create(&world, "stopped", "host");
    let refused = |config: &serde_json::Value, reason: &str| {
        let mut socket = Socket::open(&world);
        socket.text(config.to_string());
        assert_eq!(socket.next(), Frame::Text(format!("error: {reason}")));
        let (code, kind, message) = socket.close();
        let text = "error starting exec instance";
        assert_eq!((code, kind.as_str(), message.as_str()), (1011, "error", text));
    };
    for unknown in ["0123456789ab", "", "no id at all", "\u{fc}"] {
        let reason = format!("could not find execution instance matching '{unknown}'");
        refused(&config(unknown), &reason);
    }
    let first = exec(&world, "stopped", "read line; echo \"got $line\"");
    let no_start = with(config(&first), &json!({"start_container": false}));
    refused(&no_start, "cannot start container when 'start_container' is false.");
    assert!(!is_running(&world, "stopped"));
    // The twin, with the strings that existing clients send.
    let strings = json!({"start_container": "true", "attach": "true", "more": null});
    let mut socket = Socket::open(&world);
    socket.text(with(config(&first), &strings).to_string());
    socket.starting();
    // A second start is refused; the first goes on.
    refused(&config(&first), "executable already started");
    refused(&with(config(&first), &json!({"attach": false})), "executable already started");
    socket.text("all\n");
    let (output, code, _, message) = socket.rest();
    assert_eq!((String::from_utf8(output).unwrap().as_str(), code), ("got all\n", 1000));
    let text = format!("executable {first} and its container exited with exit-code 0");
    assert_eq!(message, text);
    refused(&config(&first), &format!("could not find execution instance matching '{first}'"));
}

#[test]
fn closings_have_the_known_words() {
    let Some(world) = World::open("closings_have_the_known_words") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let detached = exec(&world, "box", "exit 3");
    let mut socket = Socket::open(&world);
    socket.text(with(config(&detached), &json!({"attach": false})).to_string());
    let (code, kind, message) = socket.close();
    let text = "succesfully started execution instance in detached mode";
    assert_eq!((code, kind.as_str(), message.as_str()), (1001, "closing", text));
    world.wait_until(LIMIT, "its end", || state(&world, &detached).1 == Some(3));

    let attached = exec(&world, "box", "exit 4");
    let (code, kind, message) = Socket::attach(&world, &attached).close();
    let text = format!("{attached} has exited with exit-code 4");
    assert_eq!((code, kind.as_str(), message.as_str()), (1000, "closing", text.as_str()));
    // A process in the background that holds the output delays nothing.
    let leaves = exec(&world, "box", "sleep 999 & echo left");
    let (output, code, _, _) = Socket::attach(&world, &leaves).rest();
    assert_eq!((output.as_slice(), code), (&b"left\n"[..], 1000));
}

#[test]
fn input_is_bytes_in_whatever_frames() {
    let Some(world) = World::open("input_is_bytes_in_whatever_frames") else { return };
    let _kleened = world.start_kleened("");
    create(&world, "box", "host");
    let cat = exec(&world, "box", "cat");
    let mut socket = Socket::open(&world);
    // All of it before anything runs; a second configuration is input as well.
    let second = config("0123456789ab").to_string();
    socket.text(config(&cat).to_string());
    socket.text("text \u{fc}\n");
    socket.binary(b"bin\xff\x00\n");
    socket.text(&second);
    // One message in two fragments, with a ping between them.
    let (mut one, mut two) = (Socket::frame(BINARY, b"frag"), Socket::frame(BINARY, b"ment"));
    (one[0], two[0]) = (BINARY, 0x80);
    socket.raw(&one);
    socket.raw(&Socket::frame(PING, b"between"));
    socket.raw(&two);
    socket.text("");
    socket.binary("");
    socket.starting();
    let (output, code, _, _) = socket.rest();
    let expected = [&b"text \xc3\xbc\nbin\xff\x00\n"[..], second.as_bytes(), b"fragment"].concat();
    assert_eq!(String::from_utf8_lossy(&output), String::from_utf8_lossy(&expected));
    assert_eq!((output, code), (expected, 1000));
}

#[test]
fn output_is_text_where_it_can_be() {
    let Some(world) = World::open("output_is_text_where_it_can_be") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    // A character in two halves, the second when the first has been seen.
    let split = exec(&world, "box", r"printf 'a\342'; read go; printf '\202\254b'");
    let mut socket = Socket::attach(&world, &split);
    assert_eq!(socket.next(), Frame::Text("a".to_owned()));
    socket.text("\n");
    assert_eq!(socket.next(), Frame::Text("\u{20ac}b".to_owned()));
    assert_eq!(socket.close().0, 1000);
    // What is none comes as it is.
    let bytes = exec(&world, "box", r"printf '\377\000\376'");
    let mut socket = Socket::attach(&world, &bytes);
    assert_eq!(socket.next(), Frame::Binary(vec![0xff, 0, 0xfe]));
    assert_eq!(socket.close().0, 1000);
    let unfinished = exec(&world, "box", r"printf '\342\202'");
    let mut socket = Socket::attach(&world, &unfinished);
    assert_eq!(socket.next(), Frame::Binary(vec![0xe2, 0x82]));
    assert_eq!(socket.close().0, 1000);
}

#[test]
fn a_client_that_leaves_during_the_start_ends_its_execution() {
    let Some(world) = World::open("a_client_that_leaves_during_the_start_ends_its_execution")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    web(&world);
    create(&world, "box", "vnet");
    let body = json!({"container": "box", "network": "web", "ip_address": "<auto>"});
    world.http("POST", "/networks/connect", Some(&body)).expect(204);
    let patient = exec(&world, "box", "echo up; read line; exit 5");
    // The allowed twin: who stays, keeps it.
    let mut socket = Socket::attach(&world, &patient);
    socket.until("up");
    socket.text("\n");
    assert_eq!(socket.close().0, 1000);
    type Leave = fn(Socket);
    let ways: [(&str, Leave); 4] = [
        ("without a word", drop),
        ("with a Close", |mut socket| {
            socket.raw(&Socket::frame(CLOSE, &1000_u16.to_be_bytes()));
        }),
        ("within a frame", |mut socket| socket.raw(&Socket::frame(BINARY, &[7; 100])[..20])),
        ("after much input", |mut socket| {
            for _ in 0..64 {
                socket.binary([b'\n'; 1024]);
            }
        }),
    ];
    for (how, leave) in ways {
        let left = exec(&world, "box", "exec sleep 4343");
        let mut socket = Socket::open(&world);
        socket.text(config(&left).to_string());
        leave(socket);
        world.wait_until(LIMIT, &format!("the end of what was left {how}"), || {
            state(&world, &left) == ("exited".to_owned(), Some(143))
        });
        world.wait_until(LIMIT, "the container's end", || !is_running(&world, "box"));
    }
    // The same in a container that runs: nobody else is harmed.
    sleeper(&world, "other", &[]);
    let left = exec(&world, "other", "exec sleep 4343");
    let mut socket = Socket::open(&world);
    socket.text(config(&left).to_string());
    drop(socket);
    world.wait_until(LIMIT, "the end", || state(&world, &left).1 == Some(143));
    assert!(is_running(&world, "other"));
}

#[test]
fn who_has_said_nothing_does_not_hold_up_the_end() {
    let Some(world) = World::open("who_has_said_nothing_does_not_hold_up_the_end") else { return };
    let kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let late = exec(&world, "box", "echo late");
    let mut silent = Socket::open(&world);
    // The allowed twin: one that takes its time is served.
    let mut slow = Socket::open(&world);
    world.klee(["exec", "box", "true"]).ok();
    slow.text(config(&late).to_string());
    slow.starting();
    assert_eq!(slow.rest().0, b"late\n");
    // One that neither speaks nor answers a Close.
    let _deaf = Socket::open(&world);
    let before = kleened.log().len();
    let ended = kleened.stop();
    ended.ok();
    let log = world.read("/run/kleened.log").unwrap();
    assert!(!log[before..].contains("did not end in time"), "{}", &log[before..]);
    let (code, kind, message) = silent.close();
    assert_eq!((code, kind.as_str(), message.as_str()), (1011, "error", "kleened ends"));
}
