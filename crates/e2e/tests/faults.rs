//! What goes wrong on a host: reboots, killed helpers, a full disk.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{
    LIMIT, addresses, cables, create, endpoint, is_running, kill9, links, processes, said, sleeper,
    wait_running, web,
};
use kleene_e2e::{World, target_dir};
use serde_json::{Value, json};

/// The address of a container's only endpoint.
fn address(world: &World, name: &str) -> String {
    let inspected = world.http("GET", &format!("/containers/{name}/inspect"), None);
    let endpoint = &inspected.expect(200).json["container_endpoints"][0];
    endpoint["ip_address"].as_str().unwrap_or_default().to_owned()
}

fn entries(world: &World, dir: &str) -> Vec<String> {
    let listed = std::fs::read_dir(world.path(dir)).into_iter().flatten().flatten();
    listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn after_a_reboot_networks_are_back_and_containers_startable() {
    let Some(world) = World::open("after_a_reboot_networks_are_back_and_containers_startable")
    else {
        return;
    };
    let mut kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "first", &["-l", "vnet", "-n", "web", "--ip", "10.4.6.9"]);
    sleeper(&world, "second", &["-l", "vnet", "-n", "web"]);
    sleeper(&world, "third", &[]);
    let second = address(&world, "second");
    // The allowed twin: without a reboot they are adopted.
    kleened.kill9();
    let mut kleened = kleened.restart();
    world.wait_until(LIMIT, "the adoption", || {
        world.klee(["exec", "second", "true"]).status == Some(0)
    });
    assert_eq!(processes(&world, "sleep 1000").len(), 3);
    // The host goes down: no process, no link, another boot.
    kleened.kill9();
    kill9(&world, &processes(&world, "kleene-supervise"));
    world.wait_until(LIMIT, "the end of all containers", || {
        processes(&world, "sleep 1000").is_empty() && cables(&world).is_empty()
    });
    world.run(["ip", "link", "del", "kleene0"]).ok();
    world.write("/run/boot_id", "01234567-89ab-cdef-0123-456789abcdef\n");
    let boot_id = "/proc/sys/kernel/random/boot_id";
    world.run(["mount", "--bind", "/run/boot_id", boot_id]).ok();
    let _kleened = kleened.restart();
    let bridges = links(&world, "bridge");
    assert_eq!((bridges.len(), addresses(&bridges[0])), (1, vec!["10.4.6.1/24".to_owned()]));
    for name in ["first", "second", "third"] {
        assert!(!is_running(&world, name), "{name}");
    }
    assert!(cables(&world).is_empty());
    assert_eq!(address(&world, "first"), "10.4.6.9");
    // What they were doing is over, and they do it again when told to.
    for name in ["first", "second", "third"] {
        world.klee(["start", "-d", name]).ok();
        wait_running(&world, name);
    }
    assert_eq!(cables(&world).len(), 2);
    for (name, ip) in [("first", "10.4.6.9"), ("second", second.as_str())] {
        let inside = world.klee(["exec", name, "ip", "-o", "addr"]);
        inside.ok().says(&format!("{ip}/24"));
        world.run(["busybox", "ping", "-c", "1", "-W", "2", ip]).ok();
    }
    world.klee(["stop", "first", "second", "third"]).ok();
    world.klee(["rmc", "first", "second", "third"]).ok();
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    assert_eq!(entries(&world, "/k/run"), [""; 0]);
}

/// Puts a program before `kleene-runtime`, in this world only. With `/run/die`
/// it is killed: before (`early`) or after (`late`) it did what the named
/// command says.
fn fragile_runtime(world: &World) {
    let runtime = target_dir().unwrap().join("kleene-runtime").display().to_string();
    world.run(["cp", &runtime, "/run/kleene-runtime"]).ok();
    let script = "#!/bin/sh\n\
        read when command </run/die\n\
        case \" $* \" in *\" $command \"*) ;; *) exec /run/kleene-runtime \"$@\" ;; esac\n\
        [ \"$when\" = early ] || /run/kleene-runtime \"$@\"\n\
        kill -KILL $$\n";
    world.write("/run/fragile", script);
    world.run(["chmod", "+x", "/run/fragile"]).ok();
    world.write("/run/die", "early never\n");
    world.run(["mount", "--bind", "/run/fragile", &runtime]).ok();
}

#[test]
fn a_runtime_that_is_killed_leaves_nothing() {
    let Some(world) = World::open("a_runtime_that_is_killed_leaves_nothing") else { return };
    fragile_runtime(&world);
    let _kleened = world.start_kleened("");
    web(&world);
    let run = ["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "echo", "alive"];
    // The allowed twin.
    world.klee(run).ok().says("alive");
    let before = world.snapshot();
    for death in ["early create", "late create", "early start", "late start"] {
        world.write("/run/die", format!("{death}\n"));
        let output = world.klee(run);
        if output.status != Some(0) {
            output.code(125);
            assert!(said(&output).contains("error"), "{death}: {output}");
        }
        world.assert_back_to(&before, LIMIT);
        world.write("/run/die", "early never\n");
        world.klee(run).ok().says("alive");
    }
    world.klee(["container", "prune", "-f"]).ok();
    assert_eq!(entries(&world, "/k/run"), [""; 0]);
}

#[test]
fn a_supervisor_killed_during_a_stop_ends_the_container() {
    let Some(world) = World::open("a_supervisor_killed_during_a_stop_ends_the_container") else {
        return;
    };
    let _kleened = world.start_kleened("");
    web(&world);
    let before = world.snapshot();
    deaf(&world);
    let stop = world.klee_spawn(["stop", "mute"]);
    world.wait_until(LIMIT, "TERM", || said(&world.klee(["logs", "mute"])).contains("told"));
    kill9(&world, &processes(&world, "kleene-supervise"));
    stop.wait(LIMIT).ok();
    assert!(!is_running(&world, "mute"));
    world.klee(["rmc", "mute"]).ok();
    world.assert_back_to(&before, LIMIT);
}

/// Runs a container that hears TERM, says so, and goes on.
fn deaf(world: &World) {
    let script = "trap 'echo told' TERM; echo ready; while :; do sleep 0.05; done";
    let options = ["run", "-d", "--name", "mute", "-l", "vnet", "-n", "web"];
    world.klee([&options[..], &["host-usr", "sh", "-c", script]].concat()).ok();
    world.wait_until(LIMIT, "its trap", || said(&world.klee(["logs", "mute"])).contains("ready"));
}

#[test]
fn a_daemon_killed_during_a_stop_does_not_undo_it() {
    let Some(world) = World::open("a_daemon_killed_during_a_stop_does_not_undo_it") else {
        return;
    };
    let mut kleened = world.start_kleened("");
    web(&world);
    deaf(&world);
    let stop = world.klee_spawn(["stop", "mute"]);
    world.wait_until(LIMIT, "TERM", || said(&world.klee(["logs", "mute"])).contains("told"));
    kleened.kill9();
    drop(stop);
    assert!(!processes(&world, "trap 'echo told'").is_empty(), "its grace is not over");
    world.wait_until(LIMIT, "its end without the daemon", || {
        processes(&world, "trap 'echo told'").is_empty()
    });
    let _kleened = kleened.restart();
    world.wait_until(LIMIT, "the news", || !is_running(&world, "mute"));
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    world.klee(["start", "-d", "mute"]).ok();
    wait_running(&world, "mute");
    assert_eq!(cables(&world).len(), 1);
}

#[test]
fn a_container_whose_supervisor_hangs_can_be_stopped() {
    let Some(world) = World::open("a_container_whose_supervisor_hangs_can_be_stopped") else {
        return;
    };
    let mut kleened = world.start_kleened("");
    web(&world);
    let supervisors = |signal: &str| {
        for pid in processes(&world, "kleene-supervise") {
            world.run(["kill", signal, &pid]).ok();
        }
    };
    // The allowed twin: one that goes on in time is asked, and asks its
    // container.
    deaf(&world);
    supervisors("-STOP");
    kleened.kill9();
    let mut kleened = kleened.restart();
    let stop = world.klee_spawn(["stop", "mute"]);
    // The daemon has it written down before anybody can be asked.
    world.wait_until(LIMIT, "the order", || {
        let store = "cat /k/metadata.sqlite* | grep -q '\"run\":\"stopping\"'";
        world.run(["sh", "-c", store]).status == Some(0)
    });
    supervisors("-CONT");
    world.wait_until(LIMIT, "TERM", || said(&world.klee(["logs", "mute"])).contains("told"));
    stop.wait(LIMIT).ok();
    assert!(!is_running(&world, "mute"));
    // One that does not: stopped means stopped, whether the daemon has spoken
    // with it before or not.
    for spoken_with in [false, true] {
        world.klee(["start", "-d", "mute"]).ok();
        wait_running(&world, "mute");
        supervisors("-STOP");
        if !spoken_with {
            kleened.kill9();
            kleened = kleened.restart();
        }
        assert!(is_running(&world, "mute"));
        assert!(!processes(&world, "trap 'echo told'").is_empty());
        world.klee_spawn(["stop", "mute"]).wait(LIMIT).ok();
        assert!(!is_running(&world, "mute"));
        assert_eq!(processes(&world, "trap 'echo told'"), [""; 0]);
        assert_eq!(processes(&world, "kleene-supervise"), [""; 0]);
    }
    world.wait_until(LIMIT, "no cable", || cables(&world).is_empty());
    world.wait_until(LIMIT, "no run directory", || entries(&world, "/k/run").is_empty());
    world.klee(["rmc", "mute"]).ok();
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let Some(world) = World::open("a_full_disk_is_told_and_survived") else { return };
    world.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", "/k"]).ok();
    let mut kleened = world.start_kleened("");
    web(&world);
    create(&world, "idle", "vnet");
    let script = "echo before; while :; do read line && echo \"$line\"; done";
    let mut steady =
        world.klee_spawn(["run", "-i", "--name", "steady", "host-usr", "sh", "-c", script]);
    world.wait_until(LIMIT, "its output", || steady.stdout().contains("before"));
    world.run(["sh", "-c", "cat /dev/zero >/k/fill"]).fails();
    let asked: [(&str, &str, Value); 4] = [
        ("POST", "/containers/create", json!({"name": "more", "image": "host-usr"})),
        ("POST", "/networks/create", common::bridge("more", "10.4.7.0/24")),
        ("POST", "/networks/connect", endpoint("idle", "web", "<auto>")),
        ("POST", "/exec/create", json!({"container_id": "steady", "cmd": ["true"]})),
    ];
    // Whether there is room for a last line or not: done, or refused with a
    // reason, and never half.
    let mut refused = 0;
    for _ in 0..40 {
        for (method, path, body) in &asked {
            let reply = world.http(method, path, Some(body));
            refused += usize::from(reply.message().contains("full"));
            assert!(reply.status < 500, "{path}: {} {}", reply.status, reply.text);
            assert!(reply.status < 300 || !reply.message().is_empty(), "{path}: {}", reply.text);
        }
    }
    assert!(refused > 0, "the disk was never full");
    let output = world.klee(["run", "--rm", "host-usr", "true"]);
    assert!(output.status == Some(0) || said(&output).contains("rror"), "{output}");
    // Output that cannot be kept is still delivered.
    steady.send("lost or not\n");
    let flood = "x".repeat(1000) + "\n";
    for _ in 0..100 {
        steady.send(&flood);
    }
    steady.send("during\n");
    world.wait_until(LIMIT, "its output", || steady.stdout().contains("during"));
    assert!(is_running(&world, "steady"));
    assert!(kleened.pid().is_some());
    // With room again, all works again.
    world.run(["rm", "/k/fill"]).ok();
    steady.send("after\n");
    world.wait_until(LIMIT, "its log", || world.klee(["logs", "steady"]).contains("after"));
    world.klee(["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "true"]).ok();
    world.klee(["exec", "steady", "true"]).ok();
    kleened.kill9();
    assert!(!kleened.log().contains("panicked"), "{}", kleened.log());
    let _kleened = kleened.restart();
    world.wait_until(LIMIT, "the adoption", || {
        world.klee(["exec", "steady", "true"]).status == Some(0)
    });
}
