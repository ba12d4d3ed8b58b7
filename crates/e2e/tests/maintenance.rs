//! `kleened` by hand: `doctor`, `purge`, wrong configurations, two daemons.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{LIMIT, cables, links, processes, said, sleeper, web};
use kleene_e2e::{Output, World, target_dir};

const CONFIG: &str = "/etc/kleened.yaml";

fn program(name: &str) -> String {
    target_dir().unwrap().join(name).display().to_string()
}

/// Runs this build's `kleened`.
#[track_caller]
fn kleened(world: &World, args: &[&str]) -> Output {
    world.run([&[program("kleened").as_str()], args].concat())
}

#[test]
fn doctor_tells_what_is_there_and_what_is_missing() {
    let Some(world) = World::open("doctor_tells_what_is_there_and_what_is_missing") else { return };
    let output = kleened(&world, &["doctor"]);
    output.ok();
    assert!(output.stdout().lines().count() > 5, "{output}");
    for line in output.stdout().lines().filter(|line| !line.starts_with(' ')) {
        let level = line.split_whitespace().next().unwrap();
        assert!(["ok", "warn"].contains(&level), "{line}");
    }
    // It looks, and changes nothing.
    let before = world.snapshot();
    kleened(&world, &["doctor"]).ok();
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
    // Without one of its programs beside it.
    world.run(["mkdir", "/run/bin"]).ok();
    let programs = ["kleened", "kleene-supervise", "kleene-runtime", "kleene-holder"];
    for name in programs {
        world.run(["cp", &program(name), "/run/bin/"]).ok();
    }
    world.run(["/run/bin/kleened", "doctor"]).ok();
    for name in &programs[1..] {
        let path = format!("/run/bin/{name}");
        world.run(["mv", &path, "/run/away"]).ok();
        let output = world.run(["/run/bin/kleened", "doctor"]);
        output.fails().says(name);
        assert!(output.stdout().lines().any(|line| line.starts_with("fail")), "{output}");
        // Nor does the daemon itself start.
        assert!(said(world.run(["/run/bin/kleened"]).fails()).contains(name));
        world.run(["mv", "/run/away", &path]).ok();
    }
    // Without `ip`-like rights there is nothing to find out.
    let nobody = ["setpriv", "--reuid", "65534", "--clear-groups"];
    let output = world.run([&nobody[..], &["/run/bin/kleened", "doctor"]].concat());
    output.fails().says("root");
}

#[test]
fn purge_removes_what_is_ours_and_nothing_else() {
    let Some(world) = World::open("purge_removes_what_is_ours_and_nothing_else") else { return };
    let empty = world.snapshot();
    let daemon = world.start_kleened("");
    let purge = ["--config", CONFIG, "purge"];
    let dry = ["--config", CONFIG, "purge", "--dry-run"];
    web(&world);
    sleeper(&world, "wired", &["-l", "vnet", "-n", "web"]);
    sleeper(&world, "plain", &[]);
    sleeper(&world, "shown", &["-l", "ipnet", "-n", "web", "--ip", "10.4.6.77"]);
    assert!(world.run(["ip", "-o", "addr"]).ok().contains("10.4.6.77/32"));
    assert!(world.run(["nft", "list", "tables"]).ok().contains("kleene-"));
    // A stranger's things, and those of another instance.
    world.run(["ip", "link", "add", "epair7a", "type", "veth", "peer", "name", "x7"]).ok();
    world.run(["ip", "link", "add", "kleene7", "type", "bridge"]).ok();
    world.run(["ip", "link", "set", "kleene7", "alias", "kleene:other:network:abcdefabcdef"]).ok();
    // Not while a daemon has the root.
    for command in [&purge[..], &dry[..]] {
        assert!(said(kleened(&world, command).fails()).contains("stop it first"));
    }
    assert_eq!(processes(&world, "sleep 1000").len(), 3);
    daemon.stop().ok();
    // Told, and nothing changed.
    let before = world.snapshot();
    let output = kleened(&world, &dry);
    output.ok().says("would remove link kleene0").says("would remove link epair0a");
    output
        .says("would remove address 10.4.6.77")
        .says("would remove container ")
        .says("would remove cgroup ")
        .says("/k");
    assert!(!output.contains("kleene7") && !output.contains("epair7a"), "{output}");
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
    // Done.
    kleened(&world, &purge).ok();
    world.wait_until(LIMIT, "all of it gone", || {
        processes(&world, "sleep 1000").is_empty() && cables(&world).len() == 1
    });
    let left = links(&world, "bridge");
    assert_eq!((left.len(), &left[0]["ifname"]), (1, &"kleene7".into()));
    assert_eq!(cables(&world)[0]["ifname"], "epair7a");
    assert!(!world.run(["nft", "list", "tables"]).ok().contains("kleene-"));
    for link in ["epair7a", "kleene7"] {
        world.run(["ip", "link", "del", link]).ok();
    }
    world.assert_back_to(&empty, LIMIT);
    // Once more there is nothing to do, and the daemon still starts.
    assert!(!kleened(&world, &purge).ok().contains("removing"), "nothing was left");
    let _daemon = world.start_kleened("");
    assert_eq!(links(&world, "bridge").len(), 1, "the network is in the store");
    common::wait_running(&world, {
        world.klee(["start", "-d", "wired"]).ok();
        "wired"
    });
}

#[test]
fn two_daemons_do_not_meet() {
    let Some(world) = World::open("two_daemons_do_not_meet") else { return };
    let mut one = world.start_kleened("");
    let program = program("kleened");
    let socket = "http:///run/2.sock";
    let other = [program.as_str(), "--kleene-root", "/k2", "--api-listening-socket", socket];
    let mut two = world.spawn(other);
    world.wait_until(LIMIT, "the other daemon", || {
        world.path("/run/2.sock").exists() || !two.running()
    });
    let klee = self::program("klee");
    let at_two = |args: &[&str]| {
        let argv = [&[klee.as_str(), "--host", socket], args].concat();
        world.run(argv)
    };
    web(&world);
    sleeper(&world, "same", &["-l", "vnet", "-n", "web"]);
    let create = ["network", "create", "-t", "bridge", "--subnet", "10.5.6.0/24", "web"];
    at_two(&create).ok();
    let run =
        ["run", "-d", "--name", "same", "-l", "vnet", "-n", "web", "host-usr", "sleep", "2000"];
    at_two(&run).ok();
    assert_eq!((links(&world, "bridge").len(), cables(&world).len()), (2, 2));
    at_two(&["exec", "same", "ip", "-o", "addr"]).ok().says("10.5.6.2/24");
    world.klee(["exec", "same", "ip", "-o", "addr"]).ok().says("10.4.6.2/24");
    // The subnet of the one is a route of the host for the other.
    let overlap = ["network", "create", "-t", "bridge", "--subnet", "10.4.6.0/24", "more"];
    at_two(&overlap).fails().complains("10.4.6.0/24");
    // One is killed, comes back, and clears up: the other does not notice.
    one.kill9();
    let one = one.restart();
    world.klee(["stop", "same"]).ok();
    world.klee(["rmc", "same"]).ok();
    world.klee(["network", "rm", "web"]).ok();
    assert_eq!((links(&world, "bridge").len(), processes(&world, "sleep 2000").len()), (1, 1));
    at_two(&["exec", "same", "ip", "-o", "addr"]).ok().says("10.5.6.2/24");
    world.run(["busybox", "ping", "-c", "1", "-W", "2", "10.5.6.2"]).ok();
    one.stop().ok();
    kleened(&world, &["--config", CONFIG, "purge"]).ok();
    at_two(&["exec", "same", "true"]).ok();
    at_two(&["stop", "same"]).ok();
    assert!(two.running());
}

#[test]
fn wrong_configurations_are_named() {
    let Some(world) = World::open("wrong_configurations_are_named") else { return };
    let fine =
        "kleene_root: /k\napi_listening_sockets:\n  - address: \"http:///run/kleened.sock\"\n";
    let wrong = [
        ("kleene_root: relative\n", "kleene_root"),
        ("no_such_key: 1\n", "no_such_key"),
        ("log_level: loud\n", "loud"),
        ("log_format: xml\n", "xml"),
        ("api_listening_sockets: []\n", "api_listening_sockets"),
        ("api_listening_sockets: [{address: \"http://0.0.0.0:8080\"}]\n", "loopback"),
        ("api_listening_sockets: [{address: \"https://127.0.0.1:8080\"}]\n", "TLS"),
        ("instance: \"Not A Name\"\n", "instance"),
        ("kleene_root: [\n", CONFIG),
        ("\u{0}", CONFIG),
        ("socket_group: no-such-group\nkleene_root: /k\n", "no-such-group"),
    ];
    for (text, part) in wrong {
        world.write(CONFIG, text);
        let output = kleened(&world, &["--config", CONFIG]);
        assert!(said(output.fails()).contains(part), "{text:?}: {output}");
        assert!(said(&output).contains("kleened: "), "{text:?}: {output}");
        assert!(!said(&output).contains("panicked"), "{text:?}: {output}");
    }
    world.write(CONFIG, vec![b'#'; 2 << 20]);
    assert!(said(kleened(&world, &["--config", CONFIG]).fails()).contains("limit"));
    let output = kleened(&world, &["--config", "/no/such/file"]);
    assert!(said(output.fails()).contains("/no/such/file"), "{output}");
    kleened(&world, &["--no-such-flag"]).code(2);
    // The allowed twin.
    world.write(CONFIG, fine);
    let daemon = world.start_kleened("log_format: json\n");
    world.http("GET", "/networks/list", None).expect(200);
    daemon.stop().ok();
    // A directory that cannot be made.
    world.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/k"]).ok();
    let output = kleened(&world, &["--config", CONFIG]);
    assert!(said(output.fails()).contains("/k"), "{output}");
}

#[test]
fn who_is_not_root_gets_one_sentence() {
    let Some(world) = World::open("who_is_not_root_gets_one_sentence") else { return };
    let program = program("kleened");
    let nobody = ["setpriv", "--reuid", "65534", "--clear-groups", &program];
    for args in [&[][..], &["purge"], &["purge", "--dry-run"]] {
        let output = world.run([&nobody[..], args].concat());
        let text = said(output.fails());
        assert!(text.contains("sudo kleened"), "{output}");
        assert_eq!(text.trim().lines().count(), 1, "{output}");
    }
    // The allowed twin.
    kleened(&world, &["purge", "--dry-run"]).ok();
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let Some(world) = World::open("a_newer_store_is_refused_and_left_alone") else { return };
    let daemon = world.start_kleened("");
    let id = web(&world);
    daemon.stop().ok();
    // SQLite keeps the version at byte 60 of the file, big endian.
    let path = world.path("/k/metadata.sqlite");
    let old = std::fs::read(&path).unwrap();
    let mut newer = old.clone();
    newer[60..64].copy_from_slice(&999_u32.to_be_bytes());
    std::fs::write(&path, &newer).unwrap();
    let output = kleened(&world, &["--config", CONFIG]);
    let text = said(output.fails());
    assert!(text.contains("999") && text.contains("metadata.sqlite"), "{output}");
    assert!(std::fs::read(&path).unwrap() == newer, "the store was changed");
    assert_eq!(links(&world, "bridge").len(), 1, "nothing on the host was changed");
    // The allowed twin: its own version.
    std::fs::write(&path, &old).unwrap();
    let _daemon = world.start_kleened("");
    let found = world.http("GET", "/networks/web/inspect", None);
    assert_eq!(found.expect(200).json["network"]["id"], id.as_str());
}
