//! What the tests need of the machine.

use crate::sh;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// How one sees that something is there.
enum Probe {
    Program(&'static str),
    Works(&'static str, &'static [&'static str]),
    /// A program that containers have, whose `/usr` is the host's.
    InUsr(&'static str),
    /// A file below any directory of this one.
    Below(&'static str, &'static str),
}

/// What is needed, and the Debian packages that have it.
const NEEDED: [(Probe, &[&str]); 10] = [
    (Probe::Program("cc"), &["gcc", "libc6-dev"]),
    (Probe::Program("ip"), &["iproute2"]),
    (Probe::Program("unshare"), &["util-linux"]),
    (Probe::Program("busybox"), &["busybox-static"]),
    (Probe::Program("curl"), &["curl"]),
    (Probe::Program("nft"), &["nftables"]),
    (Probe::Program("ps"), &["procps"]),
    (Probe::Program("ping"), &["iputils-ping"]),
    (Probe::Program("shellcheck"), &["shellcheck"]),
    (Probe::Works("python3", &["-c", "import venv, ensurepip"]), &["python3-venv"]),
];

/// Services that tests run in containers.
const SERVICES: [(Probe, &[&str]); 10] = [
    (Probe::InUsr("nginx"), &["nginx"]),
    (Probe::Below("/usr/lib/postgresql", "bin/postgres"), &["postgresql"]),
    (Probe::InUsr("redis-server"), &["redis-server"]),
    (Probe::InUsr("dnsmasq"), &["dnsmasq-base"]),
    (Probe::InUsr("sshd"), &["openssh-server"]),
    (Probe::InUsr("ssh"), &["openssh-client"]),
    (Probe::InUsr("iperf3"), &["iperf3"]),
    (Probe::InUsr("node"), &["nodejs"]),
    (Probe::InUsr("java"), &["default-jre-headless"]),
    // A third of what a JDK is.
    (Probe::InUsr("ecj"), &["ecj"]),
];

/// What packages would have started at the next boot.
const UNITS: [(&str, &str); 4] = [
    ("nginx", "nginx"),
    ("postgresql", "postgresql"),
    ("redis-server", "redis-server"),
    ("openssh-server", "ssh"),
];

/// Where Debian's packages ask whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Runs a command while `$0` says that no service may be started. One that is
/// there already stays; ours goes, whatever happens to the command or to us.
const WITHOUT_SERVICES: &str = r#"
if (set -C; printf '%s\n' '#!/bin/sh' '# Of cargo xtask; can be removed.' 'exit 101' >"$0") 2>/dev/null
then
    trap 'rm -f "$0"' EXIT
    trap 'exit 130' HUP INT TERM
    chmod 755 "$0"
elif [ ! -e "$0" ]
then
    echo "cannot write $0" >&2
    exit 1
fi
"$@"
"#;

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

/// The same for services that tests run in containers; none is started.
pub(crate) fn services() -> Result<()> {
    install(&SERVICES)
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
    keep_off(&missing);
    match self::missing(wanted).as_slice() {
        [] => Ok(()),
        still => bail!("still missing after apt-get: {}", still.join(" ")),
    }
}

fn missing(wanted: &[(Probe, &[&'static str])]) -> Vec<&'static str> {
    let absent = wanted.iter().filter(|(probe, _)| match probe {
        Probe::Program(program) => !sh::in_path(program),
        Probe::Works(program, args) => !sh::succeeds(program, args),
        Probe::InUsr(program) => !in_usr(program),
        Probe::Below(dir, file) => !below(dir, file),
    });
    absent.flat_map(|(_, packages)| packages.iter().copied()).collect()
}

fn in_usr(program: &str) -> bool {
    let dirs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(program).is_file())
}

fn below(dir: &str, file: &str) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join(file).is_file())
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = without_services(POLICY, "apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    sh::run_as(&mut command, &format!("apt-get {}", args.join(" ")))
}

fn without_services(policy: &str, program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", WITHOUT_SERVICES, policy, program]);
    command
}

/// Services that were installed for tests do not start at the next boot either.
fn keep_off(installed: &[&str]) {
    let units = UNITS.iter().filter(|(package, _)| installed.contains(package));
    for (_, unit) in units.filter(|_| sh::in_path("systemctl")) {
        if !sh::succeeds("systemctl", &["disable", unit]) {
            println!("NOTE: {unit} starts at the next boot: systemctl disable {unit}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_held_while_the_command_runs() {
        let policy = std::env::temp_dir().join(format!("policy-{}", std::process::id()));
        let run = |line: &str| {
            let mut command = without_services(policy.to_str().unwrap(), "sh");
            command.args(["-c", line, "sh"]).arg(&policy).output().unwrap()
        };
        // It says no, in the code that Debian asks for.
        let asked = run("$1 nginx start; echo $?; exit 7");
        assert_eq!((asked.stdout.as_slice(), asked.status.code()), (&b"101\n"[..], Some(7)));
        assert!(!policy.exists(), "left behind");
        run("kill -TERM $PPID");
        assert!(!policy.exists(), "left behind by a signal");
        // Somebody else's is not ours to change.
        std::fs::write(&policy, "theirs").unwrap();
        let seen = run("cat $1");
        let left = std::fs::read_to_string(&policy).unwrap();
        std::fs::remove_file(&policy).unwrap();
        assert_eq!((seen.stdout.as_slice(), left.as_str()), (&b"theirs"[..], "theirs"));
    }

    #[test]
    fn nothing_runs_that_could_start_a_service() {
        let ran = without_services("/nowhere/policy", "echo").arg("ran").output().unwrap();
        assert_eq!((ran.stdout.as_slice(), ran.status.code()), (&b""[..], Some(1)));
    }
}
