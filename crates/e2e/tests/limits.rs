//! How many files may be open: many in the daemon, as before in containers.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{sleeper, web};
use kleene_e2e::World;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Soft and hard limit of open files, as proc(5) tells them.
fn of_process(world: &World, pid: &str) -> (String, String) {
    let text = world.run(["cat", &format!("/proc/{pid}/limits")]).ok().stdout().into_owned();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut fields = line["Max open files".len()..].split_whitespace().map(str::to_owned);
    (fields.next().unwrap(), fields.next().unwrap())
}

#[test]
fn the_daemon_has_many_files_and_containers_the_usual() {
    let Some(world) = World::open("the_daemon_has_many_files_and_containers_the_usual") else {
        return;
    };
    // What the daemon is started with, as a service manager would say it.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(700), maximum }).unwrap();
    let kleened = world.start_kleened("");
    let daemon = common::processes(&world, "kleened --config");
    assert_eq!(daemon.len(), 1);
    let (soft, hard) = of_process(&world, &daemon[0]);
    assert_eq!(soft, hard);
    assert_ne!(soft, "700");
    web(&world);
    sleeper(&world, "own", &["-l", "vnet", "-n", "web"]);
    sleeper(&world, "shared", &[]);
    for name in ["own", "shared"] {
        let soft = world.klee(["exec", name, "sh", "-c", "ulimit -Sn; ulimit -Hn"]);
        assert_eq!(soft.ok().stdout(), format!("700\n{hard}\n"), "{name}");
    }
    let supervisors = common::processes(&world, "kleene-supervise");
    assert_eq!(supervisors.len(), 2, "{supervisors:?}");
    for supervisor in supervisors {
        assert_eq!(of_process(&world, &supervisor).0, "700");
    }
    drop(kleened);
}
