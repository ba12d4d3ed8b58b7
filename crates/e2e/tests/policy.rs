//! The policy, proved with packets, and the proof, proved with sabotage: what
//! `cargo xtask policy` does, in small. See `kleene-policy`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

use kleene_e2e::World;
use std::process::Command;

/// So that it is the same run until somebody wants another.
const SEED: &str = "1";
const PROGRAMS: [&str; 3] = ["nft", "pgrep", "nsenter"];

/// Runs `kleene-policy`, shows what it says, and expects it to be content.
#[track_caller]
fn content(words: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_kleene-policy")).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "kleene-policy {words:?}: {}\n{complained}", output.status);
}

/// Whether this machine can have worlds; it is said where it cannot.
fn can_be_proved(test: &str) -> bool {
    World::open_with(test, &PROGRAMS).is_some()
}

#[test]
fn policy_holds_for_2000_flows() {
    if can_be_proved("policy_holds_for_2000_flows") {
        println!("seed {SEED}");
        content(&["--flows", "2000", "--seed", SEED]);
    }
}

#[test]
fn policy_sabotage() {
    if can_be_proved("policy_sabotage") {
        println!("seed {SEED}");
        content(&["sabotage", "--seed", SEED]);
    }
}
