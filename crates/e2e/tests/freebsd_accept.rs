//! The program `freebsd-accept` as a process: what it does where there is no FreeBSD,
//! and its probe, which is the same everywhere.

use std::time::Duration;

use kleene_e2e::freebsd::probe::Heard;
use kleene_e2e::freebsd::program::Program;

const SOON: Duration = Duration::from_secs(20);

fn program(args: &[&str]) -> Program {
    Program::new(env!("CARGO_BIN_EXE_freebsd-accept"), args)
}

#[cfg(not(target_os = "freebsd"))]
#[test]
fn elsewhere_it_says_so_and_changes_nothing() {
    let answer = program(&["--only", "rule-2"]).run(SOON).expect("it ends");
    assert_eq!(answer.status, 2, "{}", answer.stderr);
    assert!(answer.stderr.contains("runs on FreeBSD only"), "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
    let answer = program(&["--sleep"]).run(SOON).expect("it ends");
    assert_eq!(answer.status, 2);
    assert!(answer.stderr.contains("unknown: --sleep"), "{}", answer.stderr);
    // What needs no FreeBSD works.
    let answer = program(&["--list"]).run(SOON).expect("it ends");
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(answer.stdout.lines().any(|line| line.starts_with("rule-12-host ")));
}

#[test]
fn probes_serve_ask_and_hold_each_as_a_process() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("its number").port().to_string();
    drop(free);
    let ask = |protocol: &str| {
        let words = ["--probe", protocol, "127.0.0.1", &port];
        let answer = program(&words).run(SOON).expect("it ends");
        (answer.status, Heard::parse(answer.stdout.trim_end()).expect("the probe's words"))
    };
    let (status, heard) = ask("tcp");
    assert_eq!((status, heard.to_string().as_str()), (1, "connect: ECONNREFUSED"));
    let server = program(&["--probe", "serve", "A1", &port, "127.0.0.1"]);
    let mut server = server.start().expect("it runs");
    assert_eq!(server.line(SOON), Some(format!("A1 listening 127.0.0.1:{port}")));
    assert_eq!(server.line(SOON).as_deref(), Some("ready"));
    for protocol in ["tcp", "udp"] {
        let (status, heard) = ask(protocol);
        assert_eq!((status, heard.name()), (0, Some("A1")), "{heard}");
    }
    let hold = program(&["--probe", "hold", "tcp", "127.0.0.1", &port]);
    let mut held = hold.start().expect("it runs");
    assert!(held.line(SOON).is_some_and(|line| line.contains("A1 saw")));
    assert!(held.tell("more", SOON).is_some_and(|line| line.ends_with("echo more")));
    assert!(server.end(SOON));
    let gone = held.tell("more", SOON).expect("a line");
    assert!(!Heard::parse(&gone).expect("the probe's words").is_answer(), "{gone}");
}
