//! What tests against a real kernel share: this crate's own, and those of
//! its programs.
#![allow(dead_code, reason = "every test program takes what it needs")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Whether tests that need root can run: says loudly when not, and fails when
/// they are required.
pub(crate) fn is_root(test: &str) -> bool {
    has(test, "root", rustix::process::geteuid().is_root())
}

/// The same for a test that needs a program besides.
pub(crate) fn is_root_with(program: &str) -> bool {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let found = || Command::new(program).arg("-V").output().is_ok();
    is_root(test) && has(test, program, found())
}

fn has(test: &str, needed: &str, there: bool) -> bool {
    if !there {
        assert!(
            std::env::var_os("KLEENE_REQUIRE_ROOT_TESTS").is_none_or(|value| value != "1"),
            "{test} needs {needed}"
        );
        // Not eprintln!, which the test harness swallows.
        writeln!(std::io::stderr(), "SKIPPED: {test} needs {needed}").expect("stderr");
    }
    there
}

/// A new network namespace, made by a child so that no thread of ours is ever
/// in the wrong one.
pub(crate) fn namespace() -> OwnedFd {
    let own = std::fs::read_link("/proc/thread-self/ns/net").expect("own namespace");
    let mut child = Command::new("unshare")
        .args(["--net", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("unshare");
    let path = format!("/proc/{}/ns/net", child.id());
    until("the child is in a namespace of its own", || {
        std::fs::read_link(&path).is_ok_and(|namespace| namespace != own)
    });
    let netns = File::open(&path).expect("the child's namespace").into();
    drop(child.stdin.take());
    child.wait().expect("the child's end");
    netns
}

/// Waits for a condition, at most half a minute: the kernel makes no namespace
/// while it takes others apart.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited half a minute until {what}");
        std::thread::yield_now();
    }
}

/// Runs something in a network namespace, on a thread of its own.
pub(crate) fn inside<T: Send>(netns: &OwnedFd, run: impl FnOnce() -> T + Send) -> T {
    let outcome = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("enter a namespace");
            run()
        });
        thread.join()
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a command that must work prints.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().expect("start a command");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs `ip` in the calling thread's namespace.
pub(crate) fn ip(args: &[&str]) -> String {
    output(Command::new("ip").args(args))
}
