//! `klee` as its users start it, against a daemon that says what the test
//! tells it to.

mod attached;
mod completion;
mod fake;
mod forms;
mod images;
mod lists;
mod picture;
mod refused;
mod terminal;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use fake::Fake;

/// A command with an environment of its own.
fn klee(fake: &Fake, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klee"));
    command
        .env_clear()
        .env("HOME", fake.path(""))
        .current_dir(fake.path(""))
        .args(["--host", &fake.host()])
        .args(words)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
fn run(fake: &Fake, words: &[&str]) -> String {
    shown(&klee(fake, words).output().expect("klee runs"))
}

/// The same with input.
fn run_with_input(fake: &Fake, words: &[&str], input: &[u8]) -> Output {
    let mut child = klee(fake, words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("klee runs");
    child.stdin.take().expect("a pipe").write_all(input).expect("klee reads");
    child.wait_with_output().expect("klee ends")
}

/// Exit code, stdout and stderr as one text.
fn shown(output: &Output) -> String {
    format!(
        "exit code: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().map_or("none".to_owned(), |code| code.to_string()),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
}
