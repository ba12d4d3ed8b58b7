//! Commands with their input, output and end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::fake::{Act, EXEC, Fake};
use super::{klee, run, run_with_input, shown};

const SEVEN: &str = "executable 2fc5447ef1e8 and its container exited with exit-code 7";

#[test]
fn a_run_passes_output_and_exit_code_on() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("one\n"), Act::Send(b"two\xff\n"), Act::Close(1000, SEVEN)]);
    let words = [
        "run", "-l", "vnet", "-n", "web", "-e", "A=1", "-w", "/tmp", "--name", "site", "host-usr",
        "sh", "-c", "exit 7",
    ];
    assert_snapshot!(run(&fake, &words), @"
    exit code: 7
    --- stdout
    one
    two�
    --- stderr
    173a1a8d848d
    created execution instance 2fc5447ef1e8

    executable 2fc5447ef1e8 and its container exited with exit-code 7
    ");
    assert_eq!(
        fake.asked(),
        [
            "POST /containers/create",
            "POST /networks/connect",
            "POST /exec/create",
            "GET /exec/start"
        ]
    );
    assert_snapshot!(fake.body("POST /containers/create").to_string(), @r#"{"cmd":["sh","-c","exit 7"],"env":["A=1"],"image":"host-usr","jail_param":[],"mounts":[],"name":"site","network_driver":"vnet","persist":false,"public_ports":[],"restart_policy":"no","user":""}"#);
    assert_snapshot!(fake.body("POST /networks/connect").to_string(), @r#"{"container":"173a1a8d848d","ip_address":"<auto>","ip_address6":"<auto>","network":"web"}"#);
    assert_snapshot!(fake.body("POST /exec/create").to_string(), @r#"{"cmd":[],"container_id":"173a1a8d848d","env":[],"tty":false,"user":"","workdir":"/tmp"}"#);
    assert_snapshot!(fake.body("GET /exec/start").to_string(), @r#"{"attach":true,"exec_id":"2fc5447ef1e8","start_container":true}"#);
}

#[test]
fn output_is_not_changed_by_a_byte() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Send(b"a\xff\0b"), Act::Close(1000, SEVEN)]);
    let output = klee(&fake, &["run", "-q", "host-usr"]).output().expect("klee runs");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"a\xff\0b"[..], &b""[..]));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_detached_run_prints_the_container() {
    let fake = Fake::new();
    fake.acts(&[Act::Close(1001, "succesfully started execution instance in detached mode")]);
    assert_snapshot!(run(&fake, &["run", "-d", "host-usr", "sleep", "9"]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    created execution instance 2fc5447ef1e8
    ");
    assert_eq!(fake.body("GET /exec/start")["attach"], json!(false));
}

#[test]
fn the_end_of_input_is_passed_on() {
    let fake = Fake::new();
    fake.acts(&[
        Act::Start,
        Act::Echo,
        Act::Close(1000, "2fc5447ef1e8 has exited with exit-code 0"),
    ]);
    let big: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let output = run_with_input(&fake, &["exec", "-i", "site", "cat"], &big);
    assert_eq!((output.status.code(), output.stdout == big), (Some(0), true));
    assert_snapshot!(String::from_utf8_lossy(&output.stderr), @"
    created execution instance 2fc5447ef1e8

    2fc5447ef1e8 has exited with exit-code 0
    ");
}

#[test]
fn input_may_be_a_file_or_nothing() {
    let fake = Fake::new();
    fake.acts(&[
        Act::Start,
        Act::Echo,
        Act::Close(1000, "2fc5447ef1e8 has exited with exit-code 0"),
    ]);
    std::fs::write(fake.path("input"), "from a file").expect("written");
    let file = std::fs::File::open(fake.path("input")).expect("opened");
    let command = ["exec", "-i", "site", "cat"];
    let output = klee(&fake, &command).stdin(file).output().expect("klee runs");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"from a file"[..]));
    let output = klee(&fake, &command).output().expect("klee runs");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

#[test]
fn output_may_be_a_file() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("text\n"), Act::Close(1000, SEVEN)]);
    let file = std::fs::File::create(fake.path("output")).expect("created");
    let output = klee(&fake, &["start", "-q", "site"]).stdout(file).output().expect("klee runs");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(std::fs::read(fake.path("output")).expect("read"), b"text\n");
}

#[test]
fn without_interactive_input_stays_where_it_is() {
    let fake = Fake::new();
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"not yours").expect("room");
    drop(writer);
    let stdin = reader.try_clone().expect("a second one");
    let output = klee(&fake, &["run", "host-usr"]).stdin(stdin).output().expect("klee runs");
    assert_eq!(output.status.code(), Some(0));
    let mut left = String::new();
    reader.read_to_string(&mut left).expect("read");
    assert_eq!(left, "not yours");
}

/// Starts a command and waits until it has printed `ready`.
fn ready(fake: &Fake, words: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child =
        klee(fake, words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("klee runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("output");
    assert_eq!(line, "ready\n");
    (child, stdout)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

#[test]
fn an_interrupt_ends_the_command_and_removes_the_container() {
    let fake = Fake::new();
    let remove = "DELETE /containers/173a1a8d848d";
    fake.refuse(remove, 409, "container-running", "you cannot remove a running container");
    fake.answer(remove, 200, r#"{"id":"173a1a8d848d"}"#);
    fake.acts(&[Act::Start, Act::Say("ready\n"), Act::AwaitClose]);
    let (child, _stdout) = ready(&fake, &["run", "--rm", "host-usr", "sleep", "9"]);
    signal(&child, Signal::INT);
    assert_snapshot!(shown(&child.wait_with_output().expect("klee ends")), @"
    exit code: 130
    --- stdout
    --- stderr
    173a1a8d848d
    created execution instance 2fc5447ef1e8
    ");
    assert_eq!(fake.closes(), ["interrupted by user"]);
    assert_eq!(fake.asked()[3..], [remove, "POST /containers/173a1a8d848d/stop", remove]);
}

#[test]
fn a_termination_has_its_own_exit_code() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("ready\n"), Act::AwaitClose]);
    let (mut child, _stdout) = ready(&fake, &["start", "-q", "site"]);
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("klee ends").code(), Some(143));
    assert_eq!(fake.closes(), ["interrupted by user"]);
}

#[test]
fn a_reader_that_goes_ends_the_command_quietly() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("ready\n"), Act::Gate, Act::Say("more\n"), Act::AwaitClose]);
    let (child, stdout) = ready(&fake, &["start", "-q", "site"]);
    drop(stdout);
    fake.open_gate();
    assert_snapshot!(shown(&child.wait_with_output().expect("klee ends")), @"
    exit code: 141
    --- stdout
    --- stderr
    ");
    assert_eq!(fake.closes(), ["interrupted by user"]);
}

#[test]
fn a_flood_does_not_drown_an_interrupt() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("ready\n"), Act::Flood]);
    let (mut child, mut stdout) = ready(&fake, &["start", "-q", "site"]);
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().expect("klee ends").code(), Some(130));
    reader.join().expect("no panic").expect("read");
    assert_eq!(fake.closes(), ["interrupted by user"]);
}

#[test]
fn a_reader_that_sleeps_does_not_hold_an_interrupt_up() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("ready\n"), Act::Flood]);
    let (mut child, _stdout) = ready(&fake, &["start", "-q", "site"]);
    signal(&child, Signal::INT);
    assert_eq!(child.wait().expect("klee ends").code(), Some(130));
    assert_eq!(fake.closes(), ["interrupted by user"]);
}

#[test]
fn a_restart_stops_and_starts() {
    let fake = Fake::new();
    fake.answer("POST /containers/site/stop?timeout=1", 200, r#"{"id":"173a1a8d848d"}"#);
    fake.acts(&[Act::Close(1001, "succesfully started execution instance in detached mode")]);
    assert_snapshot!(run(&fake, &["restart", "-t", "1", "site"]), @"
    exit code: 0
    --- stdout
    173a1a8d848d
    --- stderr
    created execution instance 2fc5447ef1e8
    ");
    let config = json!({"exec_id": EXEC, "attach": false, "start_container": true});
    assert_eq!(fake.body("GET /exec/start"), config);
}
