//! The client of Kleene 0.1.1 from the Python Package Index, unmodified.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::net::{INNER, Place, WEB, WIRE, addresses_of, all_answered, on, tcp};
use common::{LIMIT, cables, is_running, links, said, wait_running};
use kleene_e2e::{Output, Run, SOCKET, World, skip, target_dir};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGES: [&str; 4] =
    ["kleene-cli==0.1.0rc4", "click==8.1.8", "httpx==0.27.2", "websockets==14.1"];

/// Installs the client beside this build's programs, once. The reason why
/// not, where it cannot be had.
fn client() -> Result<PathBuf, String> {
    let home = target_dir().map_err(|error| error.to_string())?.join("kleene-cli-0.1.0rc4");
    let klee = home.join("bin/klee");
    // Another test may be at it.
    let lock = File::create(home.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if home.join("complete").exists() {
        return Ok(klee);
    }
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{program}: {complaint}")) }
    };
    // The system's own, which a world has at its place as well.
    run("/usr/bin/python3", &["-m", "venv", "--clear", home.to_str().unwrap_or_default()])?;
    let pip = home.join("bin/pip").display().to_string();
    run(&pip, &[&["install", "--quiet"][..], &PACKAGES].concat())?;
    std::fs::write(home.join("complete"), "").map_err(|error| error.to_string())?;
    Ok(klee)
}

/// A world, and the client; or it is said loudly why not.
fn open(test: &str) -> Option<(World, PathBuf)> {
    let world = World::open(test)?;
    match client() {
        Ok(program) => Some((world, program)),
        Err(why) => {
            skip(test, &why);
            None
        }
    }
}

fn use_client(world: &World, program: &Path, args: &[&str]) -> Output {
    let (program, host) = (program.display().to_string(), format!("http://{SOCKET}"));
    let output = world.run_with(&Run::new([&[program.as_str(), "--host", &host], args].concat()));
    assert!(!said(&output).contains("Traceback"), "{output}");
    output
}

#[test]
fn the_transcript_with_the_existing_client() {
    let Some((world, program)) = open("the_transcript_with_the_existing_client") else { return };
    let klee = |args: &[&str]| use_client(&world, &program, args);
    let _kleened = world.start_kleened("");
    let before = world.snapshot();
    klee(&["network", "create", "-t", "bridge", "--subnet", "10.4.6.0/24", "web"]).ok();
    assert_eq!(links(&world, "bridge").len(), 1);
    klee(&["network", "ls"]).ok().says("web").says("bridge");
    klee(&["network", "inspect", "web"]).ok().says("10.4.6.0/24");

    let run = ["run", "-l", "vnet", "-n", "web", "host-usr", "ip", "-br", "addr"];
    let output = klee(&run);
    output.ok().says("created execution instance ").says("10.4.6.2/24").says("127.0.0.1/8");
    output.says("and its container exited with exit-code 0");
    let run = ["run", "-d", "-l", "vnet", "-n", "web", "--ip", "10.4.6.9", "--name", "site"];
    klee(&[&run[..], &["host-usr", "sleep", "1000"]].concat()).ok();
    wait_running(&world, "site");
    world.run(["busybox", "ping", "-c", "1", "-W", "2", "10.4.6.9"]).ok();
    klee(&["exec", "site", "ip", "route"]).ok().says("default via 10.4.6.1");
    klee(&["lsc"]).ok().says("site").says("running");
    klee(&["container", "inspect", "site"]).ok().says("vnet");
    klee(&["run", "host-usr", "sh", "-c", "exit 7"]).says("exit-code 7");

    // Refusals come as texts, not as Python's.
    klee(&["rmc", "site"]).says("you cannot remove a running container");
    klee(&["network", "create", "-t", "bridge", "--subnet", "10.4.7.0/24", "web"])
        .says("network name is already taken");
    klee(&["network", "disconnect", "web", "nobody"]);
    klee(&["network", "inspect", "nothing"]).says("network not found");

    klee(&["stop", "site"]).ok();
    assert!(!is_running(&world, "site"));
    assert!(cables(&world).is_empty());
    klee(&["rmc", "site"]).ok();
    klee(&["container", "prune", "-f"]).ok();
    klee(&["network", "rm", "web"]).ok();
    world.assert_back_to(&before, LIMIT);
}

#[test]
fn every_type_and_driver_with_the_existing_client() {
    let Some((world, program)) = open("every_type_and_driver_with_the_existing_client") else {
        return;
    };
    let klee = |args: &[&str]| use_client(&world, &program, args);
    let _kleened = world.start_kleened("");
    let before = (world.snapshot(), world.settings());
    let create = ["network", "create"];
    let both = |v4, v6| ["--subnet", v4, "--subnet6", v6];
    klee(&[&create[..], &both("10.1.0.0/24", "fd00:1::/64"), &["inner"]].concat()).ok();
    let bridge = both("10.2.0.0/24", "fd00:2::/64");
    klee(&[&create[..], &["-t", "bridge"], &bridge, &["web"]].concat()).ok();
    let wire = both("192.0.2.64/26", "2001:db8:1:0:1::/80");
    klee(&[&create[..], &["-t", "custom", "-i", "eth0"], &wire, &["wire"]].concat()).ok();
    let listed = klee(&["network", "ls"]);
    listed.ok().says("inner").says("web").says("wire").says("custom").says("loopback");
    // Without a driver it is `ipnet` where there is a network, else `host`.
    let sleep = ["host-usr", "sleep", "1000"];
    for (name, network) in [("one", "inner"), ("two", "wire"), ("three", "web")] {
        klee(&[&["run", "-d", "--name", name, "-n", network][..], &sleep].concat()).ok();
        wait_running(&world, name);
        klee(&["container", "inspect", name]).ok().says("ipnet");
    }
    klee(&["run", "host-usr", "ip", "-br", "link"]).ok().says("eth0").says("kleene0");
    klee(&["run", "-l", "disabled", "host-usr", "ip", "-br", "addr"]).ok().says("::1/128");
    // In both families by itself, and what it has is on the host's interface.
    for (name, network, device, v4, v6) in [
        ("one", INNER, "kleene0", "10.1.0.1", "fd00:1::1"),
        ("two", WIRE, "eth0", "192.0.2.65", "2001:db8:1:0:1::1"),
    ] {
        assert_eq!(addresses_of(&world, name, network), [v4, v6]);
        let inside = klee(&["exec", name, "ip", "-br", "addr"]);
        inside.ok().says(&format!("{v4}/32")).says(&format!("{v6}/128"));
        let shown = on(&Place::Host.links(&world), device);
        assert!(shown.contains(&format!("{v4}/32")) && shown.contains(&format!("{v6}/128")));
    }
    // Live, while it runs.
    klee(&["network", "connect", "--ip", "10.2.0.77", "web", "one"]).ok();
    klee(&["exec", "one", "ip", "-br", "addr"]).ok().says("10.2.0.77/32").says("10.1.0.1/32");
    let served = addresses_of(&world, "one", WEB);
    let serving = Place::In("one").serve(&world, &tcp(&served[..1], 9000));
    assert!(all_answered(&Place::In("three").ask(&world, &tcp(&served[..1], 9000))));
    drop(serving);
    klee(&["network", "disconnect", "web", "one"]).ok();
    let left = klee(&["exec", "one", "ip", "-br", "addr"]);
    assert!(!left.ok().contains("10.2.0.77"), "{left}");
    // Refusals come as texts.
    klee(&["network", "connect", "--ip", "10.9.9.9", "web", "one"]).says("10.9.9.9");
    klee(&["network", "rm", "nothing"]).says("network not found");
    klee(&["run", "-l", "vnet", "-n", "inner", "host-usr", "true"]).says("vnet");
    for name in ["one", "two", "three"] {
        klee(&["stop", name]).ok();
        klee(&["rmc", name]).ok();
    }
    klee(&["container", "prune", "-f"]).ok();
    klee(&["network", "prune", "-f"]).ok();
    world.assert_back_to(&before.0, LIMIT);
    assert_eq!(world.settings(), before.1);
}
