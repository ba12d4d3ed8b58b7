//! Ways out of a container that must be closed, each beside what is allowed:
//! the same call outside, or its harmless twin inside.
#![cfg(target_os = "linux")]

mod common;

use common::*;
use kleene_e2e::{Output, World};

/// Runs a shell line in the container `jail`.
fn inside(world: &World, line: &str) -> Output {
    world.klee(["exec", "jail", "sh", "-c", line])
}

/// What fails inside succeeds outside, in the world's own root.
fn only_outside(world: &World, line: &str) {
    world.run(["sh", "-c", line]).ok();
    let refused = inside(world, line);
    assert_ne!(refused.status, Some(0), "possible inside: {line}\n{refused}");
}

/// The first succeeds inside, the second does not.
fn only_the_first(world: &World, allowed: &str, refused: &str) {
    inside(world, allowed).ok();
    let output = inside(world, refused);
    assert_ne!(output.status, Some(0), "possible inside: {refused}\n{output}");
}

#[test]
fn namespaces_and_mounts_are_out_of_reach() {
    let Some(world) = World::open("namespaces_and_mounts_are_out_of_reach") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    only_outside(&world, "unshare --net true");
    only_outside(&world, "unshare --mount true");
    only_outside(&world, "unshare --user true");
    only_outside(&world, "nsenter --target 1 --net true");
    only_outside(&world, "mount -t tmpfs tmpfs /mnt");
    only_the_first(&world, "cat /proc/sys/kernel/hostname", "echo x >/proc/sys/kernel/hostname");
    only_the_first(&world, "ls /sys/class/net", "echo 1 >/sys/class/net/lo/mtu");
    only_the_first(&world, "mkfifo /tmp/pipe", "mknod /tmp/disk b 253 0");
    only_the_first(&world, "hostname", "hostname other");
}

#[test]
fn the_hosts_network_is_seen_and_not_changed() {
    let Some(world) = World::open("the_hosts_network_is_seen_and_not_changed") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    let before = world.snapshot();
    only_the_first(&world, "ip addr show eth0", "ip addr add 10.9.9.9/32 dev lo");
    only_the_first(&world, "ip route", "ip route add 10.9.0.0/16 via 192.0.2.1");
    only_the_first(&world, "ip link", "ip link set lo down");
    only_the_first(&world, "curl -s telnet://192.0.2.1:1; test $? = 7", "ping -c 1 192.0.2.1");
    world.run(["ping", "-c", "1", "-W", "2", "192.0.2.1"]).ok();
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn the_holder_cannot_be_touched_from_inside() {
    let Some(world) = World::open("the_holder_cannot_be_touched_from_inside") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    // A process of one's own can be looked at, written to its end, killed.
    only_the_first(&world, "readlink /proc/self/exe", "readlink /proc/1/exe");
    only_the_first(&world, "cat /proc/self/environ", "cat /proc/1/environ");
    only_the_first(&world, "ls -l /proc/self/fd", "cat /proc/1/fd/0");
    only_the_first(&world, "echo x >/tmp/file", "echo x >/run/.kleene/holder");
    only_the_first(&world, "rm /tmp/file", "rm /run/.kleene/holder");
    inside(&world, "sleep 1000 & kill -KILL $!").ok();
    // TERM is passed on to everybody, as asked; these two do nothing.
    inside(&world, "kill -KILL 1; kill -STOP 1");
    inside(&world, "true").ok();
    assert!(is_running(&world, "jail"));
}

#[test]
fn a_crowd_of_processes_ends_with_its_container() {
    let Some(world) = World::open("a_crowd_of_processes_ends_with_its_container") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    let crowd =
        "trap '' TERM HUP; i=0; while [ $i -lt 200 ]; do setsid sleep 4321 & i=$((i+1)); done";
    inside(&world, crowd).ok();
    world.wait_until(LIMIT, "the crowd", || processes(&world, "sleep 4321").len() == 200);
    world.klee(["stop", "-t", "0", "jail"]).ok();
    world.wait_until(LIMIT, "nobody", || processes(&world, "sleep 4321").is_empty());
    assert!(!is_running(&world, "jail"));
}

#[test]
fn a_mounted_directory_is_what_was_asked_for() {
    let Some(world) = World::open("a_mounted_directory_is_what_was_asked_for") else { return };
    let _kleened = world.start_kleened("");
    world.run(["mkdir", "-p", "/k/data"]).ok();
    world.write("/k/data/file", "from the host\n");
    let run =
        |mount: &str, line: &str| world.klee(["run", "-m", mount, "host-usr", "sh", "-c", line]);
    run("/k/data:/data", "cat /data/file; echo inside >/data/written").ok().says("from the host");
    assert_eq!(world.read("/k/data/written").as_deref(), Some("inside\n"));
    run("/k/data:/data:ro", "cat /data/file").ok();
    let refused = run("/k/data:/data:ro", "echo x >/data/file");
    assert_ne!(refused.status, Some(0), "{refused}");
    for bad in ["/k/none:/data", "/k/data:/", "/k/data:/proc/x", "/k/data:/data/../.."] {
        run(bad, "true").code(125);
    }
    // A link that the container has put where the mount will be leads nowhere
    // but into the container.
    let plant = "mkdir -p /opt/a; ln -s /../../../../k/data /opt/a/link";
    world.klee(["create", "--name", "jail", "-m", "/k/data:/opt/a/link/x", "host-usr"]).ok();
    world.klee(["exec", "jail", "sh", "-c", plant]);
    world.klee(["stop", "-t", "0", "jail"]);
    world.klee(["exec", "jail", "true"]);
    assert!(world.read("/k/data/x").is_none(), "made on the host");
    assert_eq!(world.run(["ls", "/k/data"]).ok().stdout(), "file\nwritten\n");
}
