//! The daemon's own life: crashes, restarts, ends that nobody expected.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{LIMIT, cables, is_running, processes, said, sleeper, wait_running, web};
use kleene_e2e::{World, poll};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

#[test]
fn the_socket_is_for_root_and_its_group() {
    let Some(world) = World::open("the_socket_is_for_root_and_its_group") else { return };
    let _kleened = world.start_kleened("");
    let metadata = std::fs::metadata(world.path("/run/kleened.sock")).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
}

#[test]
fn a_second_daemon_on_one_root_is_refused() {
    let Some(world) = World::open("a_second_daemon_on_one_root_is_refused") else { return };
    let kleened = world.start_kleened("");
    let program = kleene_e2e::target_dir().unwrap().join("kleened").display().to_string();
    let second = [&program, "--kleene-root", "/k", "--api-listening-socket", "http:///run/2.sock"];
    let output = world.run(second);
    assert!(said(output.fails()).contains("/k"), "{output}");
    // The first one does not mind.
    world.http("GET", "/networks/list", None).expect(200);
    // Another root is another daemon.
    let other = [&program, "--kleene-root", "/k2", "--api-listening-socket", "http:///run/2.sock"];
    let mut other = world.spawn(other);
    world.wait_until(LIMIT, "the other daemon's socket", || {
        world.path("/run/2.sock").exists() || !other.running()
    });
    assert!(other.running(), "{}", other.stderr());
    drop(other);
    kleened.stop().ok();
}

#[test]
fn a_clean_stop_leaves_containers_running() {
    let Some(world) = World::open("a_clean_stop_leaves_containers_running") else { return };
    let kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "stays", &["-l", "vnet", "-n", "web", "--ip", "10.4.6.9"]);
    kleened.stop().ok();
    assert!(!world.path("/run/kleened.sock").exists());
    assert_eq!(processes(&world, "sleep 1000").len(), 1);
    let ping = ["busybox", "ping", "-c", "1", "-W", "2", "10.4.6.9"];
    world.run(ping).ok();
    let _kleened = world.start_kleened("");
    assert!(is_running(&world, "stays"));
    world.klee(["exec", "stays", "true"]).ok();
    world.klee(["stop", "stays"]).ok();
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
}

#[test]
fn what_happens_while_the_daemon_is_dead_is_not_lost() {
    let Some(world) = World::open("what_happens_while_the_daemon_is_dead_is_not_lost") else {
        return;
    };
    let mut kleened = world.start_kleened("");
    web(&world);
    let script = "while [ ! -e /go ]; do sleep 0.05; done; echo written meanwhile; exit 9";
    let run = ["run", "-d", "--name", "job", "-l", "vnet", "-n", "web", "host-usr", "sh", "-c"];
    let started = world.klee([&run[..], &[script]].concat());
    let exec = said(started.ok());
    let exec = exec.split("created execution instance ").nth(1).unwrap_or_default();
    let exec = exec.split_whitespace().next().unwrap_or_default().to_owned();
    wait_running(&world, "job");
    let job = processes(&world, "written meanwhile");
    let job = job.first().expect("the job's process").clone();
    kleened.kill9();
    // Into the container without the daemon: through its process.
    world.run(["sh", "-c", &format!("touch /proc/{job}/root/go")]).ok();
    world.wait_until(LIMIT, "the job's end", || processes(&world, "written meanwhile").is_empty());
    let _kleened = kleened.restart();
    world.wait_until(LIMIT, "the news of its end", || !is_running(&world, "job"));
    world.klee(["logs", "job"]).ok().says("written meanwhile");
    let inspected = world.http("GET", &format!("/exec/{exec}/inspect"), None);
    assert_eq!(inspected.expect(200).json["exit_code"], 9, "{}", inspected.text);
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
}

#[test]
fn a_run_survives_or_is_told_when_the_daemon_dies() {
    let Some(world) = World::open("a_run_survives_or_is_told_when_the_daemon_dies") else { return };
    let mut kleened = world.start_kleened("");
    let command = ["run", "--name", "cut", "host-usr", "sh", "-c", "echo up; exec sleep 1000"];
    let client = world.klee_spawn(command);
    world.wait_until(LIMIT, "the first output", || client.stdout().contains("up"));
    kleened.kill9();
    let output = client.wait(LIMIT);
    output.code(125);
    let _kleened = kleened.restart();
    world.wait_until(LIMIT, "the adoption", || {
        world.klee(["exec", "cut", "true"]).status == Some(0)
    });
    assert!(is_running(&world, "cut"));
    world.klee(["stop", "cut"]).ok();
}

#[test]
fn killed_at_any_moment_of_a_run_nothing_is_left_behind() {
    let Some(world) = World::open("killed_at_any_moment_of_a_run_nothing_is_left_behind") else {
        return;
    };
    let mut kleened = world.start_kleened("");
    web(&world);
    world.klee(["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "true"]).ok();
    let before = world.snapshot();
    for milliseconds in [1, 5, 10, 20, 30, 45, 60] {
        let client = world.klee_spawn(["run", "-l", "vnet", "-n", "web", "host-usr", "true"]);
        // Not a wait for something: a moment to strike at.
        poll(Duration::from_millis(milliseconds), || None::<()>);
        kleened.kill9();
        drop(client);
        kleened = kleened.restart();
        let running = || world.http("GET", "/containers/list", None).json != serde_json::json!([]);
        world.wait_until(LIMIT, "the end of what ran", || !running());
        world.klee(["container", "prune", "-f"]).ok();
        let left = || -> Vec<String> {
            let all = before.diff(&world.snapshot());
            all.into_iter().filter(|line| !line.contains("kleened")).collect()
        };
        world.wait_until(LIMIT, &format!("nothing left ({milliseconds} ms)"), || left().is_empty());
    }
}

#[test]
fn ends_that_nobody_expected() {
    let Some(world) = World::open("ends_that_nobody_expected") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    let before = world.snapshot();
    for victim in ["kleene-supervise", "/run/.kleene/holder", "sleep 1000"] {
        sleeper(&world, "victim", &["-l", "vnet", "-n", "web"]);
        let killed = processes(&world, victim);
        assert!(!killed.is_empty(), "no process {victim}");
        world.run(["kill", "-KILL", &killed[0]]).ok();
        world.wait_until(LIMIT, &format!("the end after {victim}"), || {
            !is_running(&world, "victim")
        });
        world.klee(["rmc", "victim"]).ok();
        world.assert_back_to(&before, LIMIT);
    }
}

#[test]
fn a_client_that_vanishes_ends_its_execution() {
    let Some(world) = World::open("a_client_that_vanishes_ends_its_execution") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "stays", &[]);
    let mut client = world.klee_spawn(["exec", "-i", "stays", "sleep", "4242"]);
    world.wait_until(LIMIT, "the execution", || !processes(&world, "sleep 4242").is_empty());
    client.kill();
    // What klee itself had started, then what the daemon was asked for.
    world.wait_until(LIMIT, "its end", || processes(&world, "sleep 4242").is_empty());
    assert!(is_running(&world, "stays"));
}

#[test]
fn a_client_that_reads_nothing_stops_nobody() {
    let Some(world) = World::open("a_client_that_reads_nothing_stops_nobody") else { return };
    let _kleened = world.start_kleened("");
    // More than all buffers between the command and the client hold.
    let flood = "echo up; busybox seq 1 1000000; echo over";
    let mut client = world.klee_spawn(["run", "--name", "loud", "host-usr", "sh", "-c", flood]);
    world.wait_until(LIMIT, "the first output", || client.stdout().contains("up"));
    client.signal(rustix::process::Signal::STOP);
    world.wait_until(LIMIT, "the end of the loud one", || {
        let known = world.http("GET", "/containers/loud/inspect", None).status == 200;
        known && !is_running(&world, "loud") && world.klee(["logs", "loud"]).contains("over")
    });
    client.kill();
}

#[test]
fn a_stranger_is_told_how_to_become_root() {
    let Some(world) = World::open("a_stranger_is_told_how_to_become_root") else { return };
    let program = kleene_e2e::target_dir().unwrap().join("kleened").display().to_string();
    let output = world.run(["setpriv", "--reuid", "65534", "--clear-groups", &program]);
    assert!(said(output.fails()).contains("sudo"), "{output}");
    assert_eq!(said(&output).trim().lines().count(), 1, "{output}");
}

#[test]
fn the_log_of_who_never_pauses_has_an_end() {
    let Some(world) = World::open("the_log_of_who_never_pauses_has_an_end") else { return };
    let _kleened = world.start_kleened("");
    world.klee(["run", "-d", "--name", "chatty", "host-usr", "sh", "-c", "echo first; yes"]).ok();
    let written = || world.klee(["logs", "--tail", "3", "chatty"]).ok().stdout().into_owned();
    world.wait_until(LIMIT, "three lines", || written() == "y\ny\ny\n");
    world.klee(["logs", "chatty"]).ok().says("y");
    world.klee(["stop", "-t", "0", "chatty"]).ok();
}

#[test]
fn a_supervisor_that_hangs_is_not_taken_for_dead() {
    let Some(world) = World::open("a_supervisor_that_hangs_is_not_taken_for_dead") else { return };
    let mut kleened = world.start_kleened("");
    sleeper(&world, "held", &[]);
    let supervisor = processes(&world, "kleene-supervise");
    kleened.kill9();
    world.run(["kill", "-STOP", &supervisor[0]]).ok();
    let kleened = kleened.restart();
    let log = || kleened.log().contains("cannot be taken over yet");
    world.wait_until(LIMIT, "the daemon to tell", log);
    assert!(is_running(&world, "held") && !processes(&world, "sleep 1000").is_empty());
    // A daemon that is asked to end does so all the same.
    kleened.stop().ok();
    world.run(["kill", "-CONT", &supervisor[0]]).ok();
    let _kleened = world.start_kleened("");
    world.wait_until(LIMIT, "its adoption", || {
        world.klee(["exec", "held", "true"]).status == Some(0)
    });
    world.klee(["stop", "-t", "0", "held"]).ok();
}

#[test]
fn what_is_kept_is_for_root_alone() {
    let Some(world) = World::open("what_is_kept_is_for_root_alone") else { return };
    world.run(["chmod", "0755", "/k"]).ok();
    let _kleened = world.start_kleened("");
    let read = |who: &'static str| {
        world.run(["setpriv", "--reuid", who, "--clear-groups", "cat", "/k/metadata.sqlite"])
    };
    read("0").ok();
    read("65534").fails();
}

#[test]
fn a_hangup_opens_the_log_again_and_takes_over_what_may_change() {
    let name = "a_hangup_opens_the_log_again_and_takes_over_what_may_change";
    let Some(world) = World::open(name) else { return };
    let kleened = world.start_kleened("log_file: /run/lines\n");
    let lines = |file: &str| world.read(file).unwrap_or_default();
    world.wait_until(LIMIT, "its first lines", || lines("/run/lines").contains("kleened serves"));
    std::fs::rename(world.path("/run/lines"), world.path("/run/lines.0")).unwrap();
    let config = world.read("/etc/kleened.yaml").unwrap();
    let changed = config.replace("log_level: debug", "log_level: info\nlog_drops: true");
    world.write("/etc/kleened.yaml", format!("{changed}socket_group: root\n"));
    kleened.hang_up();
    world.wait_until(LIMIT, "a log of its own", || {
        lines("/run/lines").contains("these need another start")
    });
    let now = lines("/run/lines");
    assert!(now.contains("socket_group") && !now.contains("api_listening"), "{now}");
    let drops = world.http("GET", "/networks/log_drops", None);
    assert_eq!(drops.expect(200).json["on"], true);
    // Until then that is so, however often the same file is read.
    kleened.hang_up();
    world.wait_until(LIMIT, "the same once more", || {
        lines("/run/lines").matches("these need another start").count() == 2
    });
    // A file that is wrong changes nothing, and the daemon goes on.
    world.write("/etc/kleened.yaml", "no_such_key: 1\n");
    kleened.hang_up();
    world.wait_until(LIMIT, "the refusal", || {
        lines("/run/lines").contains("the configuration stays as it is")
    });
    world.http("GET", "/networks/list", None).expect(200);
    assert!(!lines("/run/lines").contains("DEBUG"), "{}", lines("/run/lines"));
    kleened.stop().ok();
}

#[test]
fn init_makes_what_dryinit_says() {
    let Some(world) = World::open("init_makes_what_dryinit_says") else { return };
    let program = kleene_e2e::target_dir().unwrap().join("kleened").display().to_string();
    let told = |action: &str| {
        let output = world.run([&*program, "--kleene-root", "/new/root", action]);
        output.ok().stdout().into_owned()
    };
    let would = told("dryinit");
    assert!(would.contains("would make directory /new/root/images\n"), "{would}");
    assert!(!world.path("/new").exists());
    let made = told("init");
    assert_eq!(made.replace("making", "would make"), would);
    let mode = std::fs::metadata(world.path("/new/root")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Nothing is left to be made.
    assert_eq!(told("init"), "root: /new/root\n");
}
