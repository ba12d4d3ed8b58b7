//! The service script, run by a shell over stand-ins for the base system's tools.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SCRIPT: &str = include_str!("../../../packaging/freebsd/rc.d/kleened");

/// As far as the script goes, what rc.subr(8) does.
const RC_SUBR: &str = r#"
load_rc_config() { :; }
check_pidfile() { cat "$1" 2>/dev/null; }
run_rc_command() {
    [ "$1" != start ] || { $start_precmd && echo "$command $rc_flags $command_args"; return; }
    eval "\$${1}_cmd"
}
"#;

/// A tool that writes down what it is told. Modules that are listed are loaded, and
/// what sysctl answers is in a file.
const STAND_IN: &str = r#"#!/bin/sh
tool=${0##*/}
echo "$tool $*" >>"HERE/calls"
case "$tool" in
kldstat) grep -qx "$3" "HERE/loaded" ;;
sysctl) cat "HERE/sysctl-answer" ;;
esac
"#;

struct Host(PathBuf);

impl Host {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("kleene-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let host = Self(dir);
        for tool in ["kldstat", "kldload", "sysrc", "sysctl", "kleened"] {
            host.put(tool, &STAND_IN.replace("HERE", &host.0.display().to_string()));
        }
        host.put("rc.subr", RC_SUBR);
        host.put("loaded", "");
        host.put("sysctl-answer", "0\n");
        let here = |file: &str| host.0.join(file).display().to_string();
        let script = SCRIPT
            .replace("/etc/rc.subr", &here("rc.subr"))
            .replace("/usr/local/sbin/kleened", &here("kleened"))
            .replace("/var/run/kleened.pid", &here("kleened.pid"))
            .replace("/usr/local/etc/kleened/config.yaml}", &(here("config.yaml") + "}"));
        host.put("script", &script);
        host
    }

    fn put(&self, file: &str, content: &str) {
        let path = self.0.join(file);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a command of the service, and gives what its tools were told.
    fn run(&self, command: &str) -> (Output, String) {
        self.put("calls", "");
        let path = format!("{}:/bin:/usr/bin", self.0.display());
        let script = self.0.join("script");
        let output =
            Command::new("sh").arg(script).arg(command).env("PATH", path).output().unwrap();
        (output, std::fs::read_to_string(self.0.join("calls")).unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn changes(calls: &str) -> Vec<&str> {
    let changes = |line: &&str| {
        line.starts_with("kldload") || line.contains('=') || line.starts_with("kleened")
    };
    calls.lines().filter(changes).collect()
}

#[test]
fn init_does_what_dryinit_says_and_dryinit_does_nothing() {
    let host = Host::new("init");
    host.put("config.yaml", "kleene_root: zroot/kleene\n");
    let config = host.0.join("config.yaml").display().to_string();
    let (output, calls) = host.run("dryinit");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(changes(&calls), [format!("kleened --config {config} dryinit")]);
    let said = String::from_utf8(output.stdout).unwrap();
    let would: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("would run: ")).collect();
    let (output, calls) = host.run("init");
    assert!(output.status.success(), "{output:?}");
    let init = format!("kleened --config {config} init");
    let wanted = would.iter().copied().chain([&*init]).collect::<Vec<_>>();
    assert_eq!(changes(&calls), wanted);
    for step in ["kldload pflog", "kldload zfs", "sysrc pf_enable=YES", "sysrc zfs_enable=YES"] {
        assert!(would.contains(&step), "{step} in {would:?}");
    }
}

#[test]
fn a_directory_needs_no_zfs_and_what_is_there_is_left_alone() {
    let host = Host::new("there");
    host.put("config.yaml", "log_level: info\nkleene_root: /var/db/kleened\n");
    host.put("sysctl-answer", "1\n");
    host.put("loaded", "pf\n");
    let (output, calls) = host.run("init");
    assert!(output.status.success(), "{output:?}");
    let changes = changes(&calls);
    assert!(!calls.contains("zfs") && !calls.contains("racct.enable=1"), "{calls}");
    // pf is loaded already; pflog is not.
    assert!(!changes.contains(&"kldload pf") && changes.contains(&"kldload pflog"), "{changes:?}");
}

#[test]
fn a_step_that_fails_is_not_hidden() {
    let host = Host::new("fails");
    host.put("config.yaml", "kleene_root: /var/db/kleened\n");
    assert!(host.run("init").0.status.success());
    host.put("kldload", "#!/bin/sh\nexit 1\n");
    assert!(!host.run("init").0.status.success());
}

#[test]
fn a_wrong_configuration_is_shown_before_daemon_takes_over() {
    let host = Host::new("start");
    host.put("config.yaml", "");
    let (output, calls) = host.run("start");
    let line = String::from_utf8(output.stdout).unwrap();
    let pid = format!("-p {}", host.0.join("kleened.pid").display());
    for part in ["/usr/sbin/daemon", " -r ", "-P /var/run/kleened.daemon.pid", &pid, "--log-file"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(output.status.success() && calls.contains("dryinit"), "{calls}");
    host.put("kleened", "#!/bin/sh\necho \"'log_level' has 'loud'\" >&2\nexit 1\n");
    let (output, _) = host.run("start");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "daemon was started");
    assert!(said.contains("'loud'"), "{said}");
}

#[test]
fn reload_hangs_kleened_up_and_says_when_there_is_none() {
    let host = Host::new("reload");
    host.put("config.yaml", "");
    assert!(!host.run("reload").0.status.success());
    let mut child = Command::new("sh")
        .args(["-c", "read x"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    host.put("kleened.pid", &child.id().to_string());
    assert!(host.run("reload").0.status.success());
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(child.wait().unwrap().signal(), Some(1));
}

#[test]
fn the_script_the_log_and_the_sample_speak_of_the_same_files() {
    let newsyslog = include_str!("../../../packaging/freebsd/newsyslog.conf");
    let sample = include_str!("../../../packaging/freebsd/config.yaml.sample");
    let paths = Path::new("crates/daemon/src/system/paths.rs");
    let paths = std::fs::read_to_string(crate::sh::workspace().join(paths)).unwrap();
    assert!(SCRIPT.contains("/usr/local/etc/kleened/config.yaml}"));
    for path in ["/usr/local/etc/kleened/config.yaml", "/var/db/kleened"] {
        assert!(paths.contains(&format!("\"{path}\"")), "{path}");
    }
    assert!(sample.contains("kleene_root: /var/db/kleened\n"));
    for path in ["/var/run/kleened.pid", "/var/log/kleened.log"] {
        assert!(SCRIPT.contains(path) && newsyslog.contains(path), "{path}");
    }
}
