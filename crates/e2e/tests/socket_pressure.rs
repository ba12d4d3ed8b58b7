//! `/exec/start` under pressure: whoever reads or writes too much, too little
//! or not at all holds up nobody else.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::websocket::{BINARY, CLOSE, Frame, PING, Socket, config, exec, state};
use common::{LIMIT, sleeper};
use kleene_e2e::World;

#[test]
fn a_half_frame_is_no_input_and_ends_with_its_client() {
    let Some(world) = World::open("a_half_frame_is_no_input_and_ends_with_its_client") else {
        return;
    };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let cat = exec(&world, "box", "cat; sleep 999");
    let mut socket = Socket::attach(&world, &cat);
    // The allowed twin: a whole one.
    socket.binary("whole\n");
    socket.until("whole\n");
    socket.raw(&Socket::frame(BINARY, &[b'h'; 100])[..50]);
    assert_eq!(state(&world, &cat).0, "running");
    drop(socket);
    world.wait_until(LIMIT, "its end", || state(&world, &cat).1 == Some(143));
    assert!(!world.klee(["logs", "box"]).ok().contains("hh"));
}

#[test]
fn who_never_reads_its_input_still_writes() {
    let Some(world) = World::open("who_never_reads_its_input_still_writes") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let deaf = exec(&world, "box", "read go; busybox seq 1 5000; echo over; exec sleep 999");
    let mut socket = Socket::attach(&world, &deaf);
    let mut sender = socket.stream.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        use std::io::Write as _;
        // Until somebody hangs up: more than all the buffers on the way hold.
        let frame = Socket::frame(BINARY, &[b'\n'; 64 << 10]);
        (0..512).take_while(|_| sender.write_all(&frame).is_ok()).count()
    });
    socket.until("over\n");
    // Others are served meanwhile.
    world.klee(["exec", "box", "true"]).ok();
    socket.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(flood.join().unwrap() < 512, "the flood was held back");
    world.wait_until(LIMIT, "its end", || state(&world, &deaf).1 == Some(143));
}

#[test]
fn much_input_arrives_whole() {
    let Some(world) = World::open("much_input_arrives_whole") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let count = exec(&world, "box", "wc -c");
    let mut socket = Socket::attach(&world, &count);
    for _ in 0..8 {
        // The largest message there may be.
        socket.binary(vec![b'x'; 1 << 20]);
    }
    socket.binary("");
    let (output, code, _, _) = socket.rest();
    assert_eq!((String::from_utf8_lossy(&output).trim(), code), ("8388608", 1000));
    // One byte more ends the connection, and the execution with it.
    let count = exec(&world, "box", "wc -c");
    let mut socket = Socket::attach(&world, &count);
    socket.binary(vec![b'x'; (1 << 20) + 1]);
    while socket.next() != Frame::End {}
    world.wait_until(LIMIT, "its end", || state(&world, &count).1 == Some(143));
}

#[test]
fn a_slow_reader_loses_output_and_never_the_end() {
    let Some(world) = World::open("a_slow_reader_loses_output_and_never_the_end") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let loud = exec(&world, "box", "busybox seq 1 2000000; echo over; exit 6");
    let mut socket = Socket::open(&world);
    socket.text(config(&loud).to_string());
    // Nobody reads, and it ends all the same.
    world.wait_until(LIMIT, "its end", || state(&world, &loud) == ("exited".to_owned(), Some(6)));
    socket.starting();
    let (output, code, _, message) = socket.rest();
    assert!(output.starts_with(b"1\n2\n3\n"), "{:?}", &output[..output.len().min(40)]);
    assert_eq!((code, message), (1000, format!("{loud} has exited with exit-code 6")));
}

#[test]
fn bursts_of_pings_are_answered_and_disturb_nothing() {
    let Some(world) = World::open("bursts_of_pings_are_answered_and_disturb_nothing") else {
        return;
    };
    let _kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    let cat = exec(&world, "box", "cat");
    let mut socket = Socket::open(&world);
    // Before the configuration, and while it starts.
    let pings = Socket::frame(PING, b"early").repeat(200);
    socket.raw(&pings);
    socket.text(config(&cat).to_string());
    socket.raw(&pings);
    socket.binary("one\n");
    let burst: Vec<u8> =
        (0..2000).flat_map(|n: u32| Socket::frame(PING, &n.to_be_bytes())).collect();
    socket.raw(&burst);
    socket.binary("two\n");
    socket.binary("");
    let (mut output, mut answered) = (String::new(), false);
    loop {
        match socket.next() {
            Frame::Text(text) => output.push_str(&text),
            Frame::Pong(payload) => answered |= payload == 1999_u32.to_be_bytes(),
            Frame::Close(code, _) => break assert_eq!(code, 1000),
            other => panic!("{other:?}"),
        }
    }
    assert!(output.ends_with("}one\ntwo\n"), "{output}");
    assert!(answered, "the last ping was not answered");
}

#[test]
fn who_never_answers_the_close_is_left() {
    let Some(world) = World::open("who_never_answers_the_close_is_left") else { return };
    let kleened = world.start_kleened("");
    sleeper(&world, "box", &[]);
    // The allowed twin: who answers is left at once.
    let polite = exec(&world, "box", "true");
    let mut socket = Socket::attach(&world, &polite);
    assert!(matches!(socket.next(), Frame::Close(1000, _)));
    socket.raw(&Socket::frame(CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(socket.next(), Frame::End);
    let silent = exec(&world, "box", "true");
    let mut socket = Socket::attach(&world, &silent);
    assert!(matches!(socket.next(), Frame::Close(1000, _)));
    // No answer: the connection ends within the patience of the test.
    assert_eq!(socket.next(), Frame::End);
    // Nor does one that waits for nothing delay the daemon's end.
    let idle = Socket::open(&world);
    kleened.stop().ok();
    let log = world.read("/run/kleened.log").unwrap();
    assert!(log.contains("kleened has ended") && !log.contains("did not end in time"), "{log}");
    drop(idle);
}
