//! What the tests need of the machine.

use crate::sh;
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// How one sees that something is there.
enum Probe {
    Program(&'static str),
    Works(&'static str, &'static [&'static str]),
}

/// What is needed, and the Debian packages that have it.
const NEEDED: [(Probe, &[&str]); 9] = [
    (Probe::Program("cc"), &["gcc", "libc6-dev"]),
    (Probe::Program("ip"), &["iproute2"]),
    (Probe::Program("unshare"), &["util-linux"]),
    (Probe::Program("busybox"), &["busybox-static"]),
    (Probe::Program("curl"), &["curl"]),
    (Probe::Program("nft"), &["nftables"]),
    (Probe::Program("ps"), &["procps"]),
    (Probe::Program("ping"), &["iputils-ping"]),
    (Probe::Works("python3", &["-c", "import venv, ensurepip"]), &["python3-venv"]),
];

/// Engines to be measured against.
const PEERS: [(Probe, &[&str]); 4] = [
    (Probe::Program("runc"), &["runc"]),
    (Probe::Program("crun"), &["crun"]),
    (Probe::Program("podman"), &["podman"]),
    (Probe::Program("lxc-execute"), &["lxc"]),
];

/// Installs what the tests need and is missing. Without root or without
/// apt-get it only says what is missing: the tests then skip loudly.
pub(crate) fn for_tests() -> Result<()> {
    install(&NEEDED)
}

/// Installs the engines to be measured against.
pub(crate) fn peers() -> Result<()> {
    install(&PEERS)
}

fn install(wanted: &[(Probe, &[&'static str])]) -> Result<()> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !sh::in_path("apt-get") {
        println!("MISSING: install what Debian calls: {names}");
        return Ok(());
    }
    if !sh::is_root() {
        println!("MISSING: sudo apt-get install {names}");
        return Ok(());
    }
    let install = ["install", "-y", "--no-install-recommends"];
    // A fresh machine may have no package lists at all, or old ones.
    if apt(&[&install, missing.as_slice()].concat()).is_err() {
        apt(&["update"])?;
        apt(&[&install, missing.as_slice()].concat())?;
    }
    match self::missing(wanted).as_slice() {
        [] => Ok(()),
        still => bail!("still missing after apt-get: {}", still.join(" ")),
    }
}

fn missing(wanted: &[(Probe, &[&'static str])]) -> Vec<&'static str> {
    let absent = wanted.iter().filter(|(probe, _)| match probe {
        Probe::Program(program) => !sh::in_path(program),
        Probe::Works(program, args) => !sh::succeeds(program, args),
    });
    absent.flat_map(|(_, packages)| packages.iter().copied()).collect()
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    sh::run(&mut command)
}
