//! The test bench tested: what a world is, and that it leaves nothing behind.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

use kleene_e2e::cgroup::{hierarchies, subdirs};
use kleene_e2e::{FAR4, FAR6, OUTSIDE4, OUTSIDE6, Run, WORLD4, World, wait_until};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// What a world could leave on this machine, had it a leak.
fn cgroups_named(prefix: &str) -> Vec<String> {
    let trees = hierarchies().unwrap();
    let dirs = trees.iter().flat_map(|tree| subdirs(&tree.own));
    let names = dirs.map(|dir| dir.display().to_string());
    names.filter(|name| name.rsplit('/').next().is_some_and(|n| n.starts_with(prefix))).collect()
}

fn host_links() -> String {
    // Without the counters and the time that `-s` or `-d` would add.
    let output = Command::new("ip").args(["-o", "addr"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn host_mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "pid (name) state …"; a zombie is no longer anything.
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[test]
fn the_uplink_carries_both_families() {
    let Some(world) = World::open("the_uplink_carries_both_families") else { return };
    for address in [OUTSIDE4, OUTSIDE6, FAR4, FAR6] {
        world.run(["busybox", "ping", "-c", "1", "-W", "2", address]).ok();
    }
    let serve = ["busybox", "nc", "-l", "-p", "4000", "-e", "echo", "from outside"];
    let server = world.outside().spawn(serve);
    let mut said = String::new();
    world.wait_until(LIMIT, "an answer from outside", || {
        let output = world.run(["busybox", "nc", FAR4, "4000"]);
        said = output.stdout().trim().to_owned();
        output.status == Some(0)
    });
    assert_eq!(said, "from outside");
    drop(server);
    // And the other way.
    world.outside().run(["busybox", "ping", "-c", "1", "-W", "2", WORLD4]).ok();
}

#[test]
fn the_outside_knows_no_way_behind_the_uplink() {
    let Some(world) = World::open("the_outside_knows_no_way_behind_the_uplink") else { return };
    world.run(["ip", "addr", "add", "10.4.6.1/24", "dev", "lo"]).ok();
    let ping = |from: &str| {
        world.run(["busybox", "ping", "-c", "1", "-W", "1", "-I", from, FAR4]).status == Some(0)
    };
    assert!(ping(WORLD4), "the allowed twin");
    assert!(!ping("10.4.6.1"), "the outside answered an address that it has no route to");
}

#[test]
fn it_looks_like_a_host_of_its_own() {
    let Some(world) = World::open("it_looks_like_a_host_of_its_own") else { return };
    world.run(["hostname"]).ok().says(world.name());
    let links = world.ip_json(["link", "show"]);
    let names: Vec<_> = links.as_array().unwrap().iter().map(|l| l["ifname"].clone()).collect();
    assert_eq!(names, ["lo", "eth0"]);
    let listed = world.run(["ls", "/sys/class/net"]);
    assert_eq!(listed.ok().stdout().split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    // Its own processes only, the first one with number 1.
    world.run(["cat", "/proc/1/cmdline"]).ok().says("world-init");
    assert!(!Path::new(&world.path(format!("/proc/{}/root/run", std::process::id()))).exists());
    assert_eq!(world.sysctl("net.ipv4.ip_forward").as_deref(), Some("0"));
    world.run(["sh", "-c", "echo x > /k/file && cat /k/file"]).ok().says("x");
    world.run(["sh", "-c", "echo x > /dev/null; tty; test -c /dev/ptmx"]).ok();
    world.run(["ls", env!("CARGO_MANIFEST_DIR")]).code(if at_its_place() { 0 } else { 2 });
    world.run(["true"]).ok();
    world.run(["sh", "-c", "exit 7"]).code(7);
    world.run(["sh", "-c", "kill -9 $$"]).code(137);
    world.run(["no-such-program"]).code(127);
    world.run_with(&Run::new(["cat"]).stdin("bytes")).ok().says("bytes");
    world.run_with(&Run::new(["sh", "-c", "echo $K"]).env("K", "v w")).ok().says("v w");
}

/// Whether the sources are in a directory that a world has of the host.
fn at_its_place() -> bool {
    ["/tmp", "/var", "/run"].iter().all(|own| !env!("CARGO_MANIFEST_DIR").starts_with(own))
}

#[test]
fn the_limit_ends_a_command_and_what_it_started() {
    let Some(world) = World::open("the_limit_ends_a_command_and_what_it_started") else { return };
    let before = world.snapshot();
    let slow = Run::new(["sh", "-c", "echo early; sleep 100 & sleep 100"]);
    let output = world.run_with(&slow.limit(Duration::from_millis(300)));
    assert_eq!(output.status, None);
    output.says("early");
    assert!(output.took < LIMIT, "{output}");
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn its_cgroups_are_its_own() {
    let Some(world) = World::open("its_cgroups_are_its_own") else { return };
    let before = world.snapshot();
    for tree in hierarchies().unwrap() {
        let seen = tree.mount_point.join("from-inside");
        let seen = seen.to_str().unwrap();
        world.run(["mkdir", seen]).ok();
        assert!(tree.world(world.name()).join("from-inside").is_dir(), "{seen}");
        if tree.v1.is_none() {
            let leave = format!("echo 0 > {seen}/cgroup.procs && cat /proc/self/cgroup");
            world.run(["sh", "-c", &leave]).ok().says("0::/from-inside");
            let mount = tree.mount_point.to_str().unwrap();
            let hand_down = format!(
                "cd {mount}; for c in $(cat cgroup.controllers); do \
                 echo +$c > cgroup.subtree_control || exit 1; done"
            );
            world.run(["sh", "-c", &hand_down]).ok();
        }
        world.run(["rmdir", seen]).ok();
    }
    world.run(["cat", "/proc/1/cgroup"]).ok().says("0::/init");
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn a_snapshot_sees_what_is_left_behind() {
    let Some(world) = World::open("a_snapshot_sees_what_is_left_behind") else { return };
    let before = world.snapshot();
    assert_eq!(before, world.snapshot(), "nothing happened: {:?}", before.diff(&world.snapshot()));
    let traces = [
        ("ip link add br0 type bridge", "ip link del br0", "link: "),
        ("ip addr add 10.9.9.9/32 dev eth0", "ip addr del 10.9.9.9/32 dev eth0", "address: "),
        ("ip route add 10.9.0.0/16 dev eth0", "ip route del 10.9.0.0/16 dev eth0", "route: "),
        ("ip rule add from 10.9.9.9 table 9", "ip rule del from 10.9.9.9 table 9", "rule: "),
        ("ip neigh add proxy 10.9.9.9 dev eth0", "ip neigh del proxy 10.9.9.9 dev eth0", "proxy: "),
        ("ip netns add left", "ip netns del left; umount /run/netns; rmdir /run/netns", "netns: "),
        ("mount -t tmpfs none /k", "umount /k", "mount: "),
        ("nft add table inet left", "nft delete table inet left", "nft: "),
        (
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
            "echo 0 >/proc/sys/net/ipv4/ip_forward",
            "sysctl: ",
        ),
        ("sleep 99 & true", "busybox killall sleep", "process: "),
    ];
    for (make, undo, kind) in traces {
        // In the background nothing may hold the pipes of the command.
        world.run(["sh", "-c", &format!("exec >/dev/null 2>&1; {make}")]).ok();
        let left = before.diff(&world.snapshot());
        assert!(left.iter().any(|line| line.starts_with(&format!("+ {kind}"))), "{make}: {left:?}");
        world.run(["sh", "-c", undo]).ok();
        world.assert_back_to(&before, LIMIT);
    }
}

#[test]
fn two_worlds_do_not_see_each_other() {
    let Some(one) = World::open("two_worlds_do_not_see_each_other") else { return };
    let Some(two) = World::open("two_worlds_do_not_see_each_other") else { return };
    let before = two.snapshot();
    one.run(["ip", "link", "add", "br0", "type", "bridge"]).ok();
    one.run(["sh", "-c", "echo x >/k/x; echo x >/tmp/x; echo x >/etc/x; echo x >/run/x"]).ok();
    one.run(["sh", "-c", "echo x >/var/lib/x; mkdir /sys/fs/cgroup/*/x; true"]).ok();
    one.run(["mount", "-t", "tmpfs", "none", "/k"]).ok();
    assert!(one.read("/etc/x").is_some());
    assert_eq!(before, two.snapshot());
    for path in ["/k/x", "/tmp/x", "/etc/x", "/run/x", "/var/lib/x"] {
        assert!(two.read(path).is_none() && !Path::new(path).exists(), "{path}");
    }
    // One address, two hosts.
    let answers = |world: &World| {
        world.run(["busybox", "ping", "-c", "1", "-W", "1", "10.9.9.9"]).status == Some(0)
    };
    one.outside().run(["ip", "addr", "add", "10.9.9.9/32", "dev", "lo"]).ok();
    assert!(answers(&one), "the allowed twin");
    assert!(!answers(&two));
}

#[test]
fn this_machine_is_left_as_it_was() {
    let (links, mounts) = (host_links(), host_mounts());
    let Some(world) = World::open("this_machine_is_left_as_it_was") else { return };
    world.run(["ip", "link", "add", "br0", "type", "bridge"]).ok();
    world.run(["mount", "-t", "tmpfs", "none", "/var"]).ok();
    world.run(["touch", "/usr/made-by-a-test"]).fails();
    let name = world.name().to_owned();
    assert!(!cgroups_named(&name).is_empty());
    assert_eq!((host_links(), host_mounts()), (links.clone(), mounts.clone()));
    drop(world);
    assert_eq!(cgroups_named(&name), [""; 0]);
    assert_eq!((host_links(), host_mounts()), (links, mounts));
}

#[test]
fn everything_ends_with_the_first_process() {
    let Some(world) = World::open("everything_ends_with_the_first_process") else { return };
    let sleeper = world.spawn(["setsid", "sleep", "1000"]);
    wait_until(LIMIT, "the sleeper", || sleeper.pid().is_some());
    let (name, pid) = (world.name().to_owned(), sleeper.pid().unwrap());
    assert!(is_alive(pid), "the allowed twin");
    world.kill_init();
    wait_until(LIMIT, "the end of all processes", || {
        !is_alive(pid) && !is_alive(world.outside_pid())
    });
    wait_until(LIMIT, "the end of its cgroups", || cgroups_named(&name).is_empty());
}

/// Not a test of its own: the process that the next tests kill. It makes a
/// world, says how to find it, and ends as it is told.
#[test]
fn helper_that_comes_to_a_bad_end() {
    let Ok(end) = std::env::var("KLEENE_E2E_BAD_END") else { return };
    let world = World::new("helper").unwrap();
    let sleeper = world.spawn(["sleep", "1000"]);
    wait_until(LIMIT, "the sleeper", || sleeper.pid().is_some());
    println!("\nworld {} {} {}", world.name(), world.init_pid(), sleeper.pid().unwrap());
    assert!(end != "panic", "as told");
    sleeper.wait(Duration::from_secs(60));
}

/// Starts the helper and gives it, the name of its world, and two processes.
fn doomed(end: &str) -> (Child, String, [u32; 2]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_that_comes_to_a_bad_end", "--nocapture"])
        .env("KLEENE_E2E_BAD_END", end)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.into_iter().find(|line| line.starts_with("world ")).unwrap();
    let mut words = line.split(' ').skip(1);
    let name = words.next().unwrap().to_owned();
    let pids = [words.next().unwrap(), words.next().unwrap()].map(|word| word.parse().unwrap());
    (child, name, pids)
}

#[test]
fn nothing_is_left_of_a_test_that_panics() {
    let Some(_possible) = World::open("nothing_is_left_of_a_test_that_panics") else { return };
    let links = host_links();
    let (mut child, name, pids) = doomed("panic");
    assert!(!child.wait().unwrap().success());
    // The test's own unwinding has waited for it.
    assert_eq!((pids.map(is_alive), cgroups_named(&name)), ([false; 2], vec![]));
    assert_eq!(host_links(), links);
}

#[test]
fn nothing_is_left_of_a_test_that_is_killed() {
    let Some(_possible) = World::open("nothing_is_left_of_a_test_that_is_killed") else { return };
    let (mut child, name, pids) = doomed("kill");
    assert_eq!(pids.map(is_alive), [true; 2], "the allowed twin");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(LIMIT, "the end of its processes", || pids.map(is_alive) == [false; 2]);
    wait_until(LIMIT, "the end of its cgroups", || cgroups_named(&name).is_empty());
}

#[test]
fn the_next_world_sweeps_what_a_killed_keeper_left() {
    let Some(world) = World::open("the_next_world_sweeps_what_a_killed_keeper_left") else {
        return;
    };
    let tree = &hierarchies().unwrap()[0];
    // No process has number 0 or a higher one than the kernel gives.
    let stale = tree.own.join("kleene-test-99999999-0");
    let ours = tree.world(world.name());
    std::fs::create_dir(&stale).unwrap();
    let next = World::new("sweeper").unwrap();
    assert!(!stale.exists() && ours.exists() && tree.world(next.name()).exists());
}
