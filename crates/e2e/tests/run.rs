//! `klee run` and `klee exec`: what a command sees, and what comes back.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{LIMIT, addresses, cables, is_running, links, said, sleeper, wait_running, web};
use kleene_e2e::{Run, SOCKET, World, target_dir};
use std::time::Duration;

/// `klee` with something on its standard input.
fn klee_with_input(args: &[&str], input: &[u8]) -> Run {
    let mut argv = vec![target_dir().unwrap().join("klee").display().to_string()];
    argv.extend(args.iter().map(|arg| (*arg).to_owned()));
    Run::new(argv).stdin(input).env("KLEE_HOST", format!("http://{SOCKET}"))
}

#[test]
fn exit_codes_come_back() {
    let Some(world) = World::open("exit_codes_come_back") else { return };
    let _kleened = world.start_kleened("");
    let run = |command: &[&str]| world.klee([&["run", "host-usr"], command].concat());
    run(&["true"]).ok();
    run(&["sh", "-c", "exit 7"]).code(7);
    run(&["sh", "-c", "kill -KILL $$"]).code(137);
    run(&["sh", "-c", "kill -TERM $$"]).code(143);
    run(&["/no/such/program"]).code(127);
    run(&["/etc/passwd"]).code(126);
    world.klee(["run", "no-such-image", "true"]).code(125).complains("no such image");
    world.klee(["run", "--no-such-option"]).code(2);
    world.klee(["stop", "nothing-of-that-name"]).code(1);
}

#[test]
fn a_run_leaves_nothing_but_the_container() {
    let Some(world) = World::open("a_run_leaves_nothing_but_the_container") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    world.klee(["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "true"]).ok();
    let before = world.snapshot();
    for _ in 0..5 {
        let run = ["run", "--rm", "-l", "vnet", "-n", "web", "host-usr", "sh", "-c", "exit 7"];
        world.klee(run).code(7);
    }
    world.assert_back_to(&before, LIMIT);
    assert_eq!(world.klee(["lsc", "-a", "-q"]).ok().stdout().trim(), "");
    let kept = world.klee(["run", "--name", "kept", "host-usr", "true"]);
    kept.ok();
    world.klee(["lsc", "-a"]).ok().says("kept").says("stopped");
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn what_klee_says_goes_to_stderr_and_output_to_stdout() {
    let Some(world) = World::open("what_klee_says_goes_to_stderr_and_output_to_stdout") else {
        return;
    };
    let _kleened = world.start_kleened("");
    let output = world.klee(["run", "host-usr", "echo", "hello"]);
    assert_eq!(output.ok().stdout(), "hello\n");
    output.complains("created execution instance ");
    output.complains("and its container exited with exit-code 0");
}

#[test]
fn bytes_go_in_and_come_out_unchanged() {
    let Some(world) = World::open("bytes_go_in_and_come_out_unchanged") else { return };
    let _kleened = world.start_kleened("");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let run = klee_with_input(&["run", "-i", "host-usr", "cat"], &bytes);
    assert!(world.run_with(&run).ok().stdout_bytes == bytes, "not the same bytes");
    // Without -i there is nothing to read.
    let run = klee_with_input(&["run", "host-usr", "cat"], b"unread");
    assert_eq!(world.run_with(&run).ok().stdout(), "");
}

#[test]
fn a_vnet_container_has_a_stack_of_its_own() {
    let Some(world) = World::open("a_vnet_container_has_a_stack_of_its_own") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "one", &["-l", "vnet", "-n", "web"]);
    sleeper(&world, "two", &["-l", "vnet", "-n", "web", "--ip", "10.4.6.9"]);
    let inside = |name: &str, command: &[&str]| world.klee([&["exec", name], command].concat());

    let found = inside("two", &["ip", "-j", "-d", "addr"]).ok().json();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["ifname"], "lo");
    assert_eq!(addresses(&found[0])[0], "127.0.0.1/8");
    assert!(found[1]["ifname"].as_str().unwrap().starts_with("epair"));
    assert!(found[1]["ifname"].as_str().unwrap().ends_with('b'));
    assert_eq!(addresses(&found[1]), ["10.4.6.9/24"]);
    inside("two", &["ip", "route"]).ok().says("default via 10.4.6.1");

    // On the host: the other end, in the bridge, without an address.
    let ends = cables(&world);
    assert_eq!(ends.len(), 2);
    for end in &ends {
        assert_eq!((&end["master"], addresses(end)), (&"kleene0".into(), vec![]), "{end}");
        assert!(end["ifname"].as_str().unwrap().ends_with('a'), "{end}");
    }
    // Packets: to the gateway, to each other, from the host.
    let listen = ["exec", "-d", "two", "busybox", "httpd", "-p", "80", "-h", "/"];
    world.klee(listen).ok();
    let url = "http://10.4.6.9/etc/passwd";
    let get = ["curl", "-s", "-m", "2", url];
    world.wait_until(LIMIT, "an answer to a neighbour", || inside("one", &get).status == Some(0));
    inside("one", &get).ok().says("root:");
    world.run(get).ok().says("root:");
    world.run(["busybox", "ping", "-c", "1", "-W", "2", "10.4.6.9"]).ok();
    // It may do what it likes with it, and nobody outside sees it.
    inside("one", &["ip", "link", "add", "br9", "type", "bridge"]).ok();
    inside("one", &["ip", "addr", "add", "10.9.9.9/32", "dev", "lo"]).ok();
    assert_eq!(links(&world, "bridge").len(), 1);
    world.klee(["stop", "one", "two"]).ok();
    world.wait_until(LIMIT, "no cables", || cables(&world).is_empty());
}

#[test]
fn a_host_container_uses_the_host_and_changes_nothing() {
    let Some(world) = World::open("a_host_container_uses_the_host_and_changes_nothing") else {
        return;
    };
    let _kleened = world.start_kleened("");
    sleeper(&world, "seen", &[]);
    let links_before = world.run(["ip", "-o", "addr"]).stdout().into_owned();
    let inside = world.klee(["exec", "seen", "ip", "-o", "addr"]);
    assert_eq!(inside.ok().stdout(), links_before);
    let changes = [
        "ip addr add 192.0.2.77/24 dev eth0",
        "ip addr del 192.0.2.2/24 dev eth0",
        "ip link set eth0 mtu 1400",
        "ip link add x0 type bridge",
        "ip route add 10.99.0.0/16 dev eth0",
        "sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'",
        // Not through a user namespace of its own either.
        "unshare -Ur ip addr add 192.0.2.77/24 dev eth0",
    ];
    for change in changes {
        let output = world.klee(["exec", "seen", "sh", "-c", change]);
        assert!(output.status.is_some_and(|code| code != 0), "{change}: {output}");
        assert_eq!(world.run(["ip", "-o", "addr"]).stdout(), links_before, "{change}");
    }
    // The allowed twins.
    world.run(["ip", "link", "add", "x0", "type", "bridge"]).ok();
    world.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]).ok();
}

#[test]
fn the_container_is_apart_from_the_host() {
    let Some(world) = World::open("the_container_is_apart_from_the_host") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "apart", &[]);
    let inside = |command: &str| world.klee(["exec", "apart", "sh", "-c", command]);
    // Own processes.
    assert!(inside("ls -d /proc/[0-9]*").ok().stdout().lines().count() < 6);
    // Programs below are read-only, the layer above is its own.
    inside("touch /usr/x /etc/x /x").ok();
    for path in ["/usr/x", "/etc/x", "/x"] {
        assert!(world.read(path).is_none(), "{path} on the host");
    }
    // No device of the host but the usual ones; the world has /dev/kmsg.
    world.run(["test", "-e", "/dev/kmsg"]).ok();
    inside("test -c /dev/null && test -c /dev/urandom && test ! -e /dev/kmsg").ok();
    inside("mknod /tmp/k c 1 11").fails();
    inside("mount -t tmpfs none /mnt").fails();
    inside("echo x >/proc/sys/kernel/hostname").fails();
    inside("echo b >/proc/sysrq-trigger").fails();
    inside("cat /proc/kcore").fails();
    inside("dmesg").fails();
    inside("getent passwd root && getent passwd nobody").ok();
}

#[test]
fn options_reach_the_command() {
    let Some(world) = World::open("options_reach_the_command") else { return };
    let _kleened = world.start_kleened("");
    world.run(["mkdir", "/k-shared"]).ok();
    world.write("/k-shared/file", "from the host\n");
    let run = |options: &[&str], command: &str| {
        let tail = ["host-usr", "sh", "-c", command];
        world.klee([&["run", "--rm"], options, &tail].concat())
    };
    run(&["-e", "A=1", "-e", "B=two words"], "echo $A $B").ok().says("1 two words");
    run(&["-u", "nobody"], "id -un").ok().says("nobody");
    run(&["-u", "no-such-user"], "true").code(126);
    run(&["-w", "/usr/share"], "pwd").ok().says("/usr/share");
    run(&["-m", "/k-shared:/shared"], "cat /shared/file; touch /shared/new").ok().says("from the");
    assert!(world.read("/k-shared/new").is_some());
    run(&["-m", "/k-shared:/shared:ro"], "touch /shared/refused").fails();
    run(&["-m", "/k-none:/shared"], "true").code(125);
}

#[test]
fn a_detached_service_is_listed_logged_and_stopped() {
    let Some(world) = World::open("a_detached_service_is_listed_logged_and_stopped") else {
        return;
    };
    let _kleened = world.start_kleened("");
    let serve = "trap 'echo stopping; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    world.klee(["run", "-d", "--name", "site", "host-usr", "sh", "-c", serve]).ok();
    wait_running(&world, "site");
    world.wait_until(LIMIT, "its first line", || world.klee(["logs", "site"]).contains("ready"));
    world.klee(["rmc", "site"]).fails().complains("you cannot remove a running container");
    world.klee(["stop", "site"]).ok();
    assert!(!is_running(&world, "site"));
    // Asked to end, not killed.
    assert!(said(&world.klee(["logs", "site"])).contains("stopping"));
    // One that does not listen is killed after its grace.
    world
        .klee(["run", "-d", "--name", "deaf", "host-usr", "sh", "-c", "trap '' TERM; sleep 99"])
        .ok();
    wait_running(&world, "deaf");
    let stopped = world.klee(["stop", "deaf"]);
    assert!(stopped.ok().took < Duration::from_secs(5), "{stopped}");
    world.klee(["rmc", "site", "deaf"]).ok();
}

#[test]
fn the_container_lives_as_long_as_any_of_its_processes() {
    let Some(world) = World::open("the_container_lives_as_long_as_any_of_its_processes") else {
        return;
    };
    let _kleened = world.start_kleened("");
    let output =
        world.klee(["run", "--name", "two", "host-usr", "sh", "-c", "sleep 99 >/dev/null 2>&1 &"]);
    assert!(said(output.ok()).contains(" has exited with exit-code 0"), "{output}");
    assert!(is_running(&world, "two"));
    world.klee(["exec", "two", "busybox", "killall", "sleep"]).ok();
    world.wait_until(LIMIT, "its end", || !is_running(&world, "two"));
    // exec starts a stopped one again.
    let output = world.klee(["exec", "two", "sh", "-c", "exit 5"]);
    output.code(5);
    assert!(said(&output).contains("and its container exited with exit-code 5"), "{output}");
}

#[test]
fn many_execs_at_once_keep_their_codes_and_outputs() {
    let Some(world) = World::open("many_execs_at_once_keep_their_codes_and_outputs") else {
        return;
    };
    let _kleened = world.start_kleened("");
    sleeper(&world, "busy", &[]);
    std::thread::scope(|scope| {
        for code in 0..12 {
            let world = &world;
            scope.spawn(move || {
                let command = format!("echo out {code}; echo err {code} >&2; exit {code}");
                let output = world.klee(["exec", "busy", "sh", "-c", &command]);
                output.code(code);
                assert!(said(&output).contains(&format!("err {code}\n")), "{output}");
                output.says(&format!("out {code}\n"));
            });
        }
    });
}

#[test]
fn a_terminal_has_the_size_of_the_window() {
    let Some(world) = World::open("a_terminal_has_the_size_of_the_window") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "term", &[]);
    let klee = target_dir().unwrap().join("klee").display().to_string();
    let inner = format!("stty rows 33 cols 77; {klee} exec -i -t term sh -c 'tty; stty size'");
    let run = Run::new(["script", "-qec", &inner, "/dev/null"]);
    let output = world.run_with(&run.env("KLEE_HOST", format!("http://{SOCKET}")));
    output.ok().says("/dev/pts/").says("33 77");
    // The twin: without -t there is none.
    world.klee(["exec", "term", "tty"]).fails().says("not a tty");
}
