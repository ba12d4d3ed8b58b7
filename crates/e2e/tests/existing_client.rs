//! The client of Kleene 0.1.1 from the Python Package Index, unmodified.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{LIMIT, cables, is_running, links, said, wait_running};
use kleene_e2e::{Output, Run, SOCKET, World, skip, target_dir};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PACKAGES: [&str; 4] =
    ["kleene-cli==0.1.0rc4", "click==8.1.8", "httpx==0.27.2", "websockets==14.1"];

/// Installs the client beside this build's programs, once. The reason why
/// not, where it cannot be had.
fn client() -> Result<PathBuf, String> {
    let home = target_dir().map_err(|error| error.to_string())?.join("kleene-cli-0.1.0rc4");
    let klee = home.join("bin/klee");
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

#[test]
fn the_transcript_with_the_existing_client() {
    const NAME: &str = "the_transcript_with_the_existing_client";
    let Some(world) = World::open(NAME) else { return };
    let program = match client() {
        Ok(program) => program.display().to_string(),
        Err(why) => return skip(NAME, &why),
    };
    let klee = |args: &[&str]| -> Output {
        let host = format!("http://{SOCKET}");
        let argv = [&[program.as_str(), "--host", &host], args].concat();
        let output = world.run_with(&Run::new(argv));
        assert!(!said(&output).contains("Traceback"), "{output}");
        output
    };
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
