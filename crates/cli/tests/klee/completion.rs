//! What a shell is told when Tab is pressed.

use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fake::{CONTAINER, Fake};
use super::run;

const KLEE: &str = env!("CARGO_BIN_EXE_klee");

fn container(id: &str, name: &str, driver: &str, running: bool) -> Value {
    json!({
        "id": id, "name": name, "image_id": "aaaaaaaaaaaa", "image_name": "host-usr",
        "image_tag": "latest", "cmd": ["sh"], "user": "", "env": [], "network_driver": driver,
        "public_ports": [], "jail_param": [], "restart_policy": "no", "persist": false,
        "created": "2999-01-01T00:00:00.000000Z", "dataset": "", "running": running, "jid": null,
    })
}

/// Two networks, two containers, two images.
fn host() -> Fake {
    let fake = Fake::new();
    let network = |id: &str, name: &str| {
        json!({
            "id": id, "name": name, "type": "bridge", "interface": "kleene0",
            "subnet": "10.4.6.0/24", "subnet6": "", "gateway": "", "gateway6": "", "nat": "",
            "icc": true, "internal": false,
        })
    };
    let image = |id: &str, name: &str, tag: &str| {
        json!({
            "id": id, "name": name, "tag": tag, "cmd": [], "env": [], "user": "",
            "instructions": [], "created": "", "dataset": "",
        })
    };
    let networks = json!([network("2f1dc29b8f36", "web"), network("3c", "my net;$(x)")]);
    let containers =
        json!([container(CONTAINER, "site", "vnet", true), container("cc", "tool", "host", false)]);
    let images = json!([image("dd", "host-usr", "latest"), image("ee", "base", "v2")]);
    fake.answer("GET /networks/list", 200, &networks.to_string());
    fake.answer("GET /containers/list?all=true", 200, &containers.to_string());
    fake.answer("GET /images/list", 200, &images.to_string());
    fake
}

fn alone(fake: &Fake, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(fake.path("")).stdin(Stdio::null());
    command
}

/// Asks as the script of a shell does; the answer's values.
fn completed(fake: &Fake, shell: &str, words: &[&str]) -> Vec<String> {
    let mut command = alone(fake, KLEE);
    command.env("KLEE_HOST", fake.host()).env("COMPLETE", shell).env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    let output = command.arg("--").args(words).output().expect("klee runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let value = |line: &str| match shell {
        // A colon begins the help, one with a backslash is the value's own.
        "zsh" => {
            let line = line.replace("\\:", "\0");
            line.split(':').next().unwrap_or_default().replace('\0', ":")
        }
        _ => line.split('\t').next().unwrap_or_default().to_owned(),
    };
    text.lines().map(value).collect()
}

/// What is offered that is no option.
fn names(fake: &Fake, words: &[&str]) -> Vec<String> {
    let all = completed(fake, "zsh", words);
    for shell in ["bash", "fish"] {
        assert_eq!(completed(fake, shell, words), all, "{shell}: {words:?}");
    }
    all.into_iter().filter(|text| !text.starts_with('-')).collect()
}

#[test]
fn each_argument_gets_what_it_names() {
    let fake = host();
    let networks = ["web", "my net;$(x)"];
    for words in [
        &["klee", "network", "inspect", ""][..],
        &["klee", "isn", ""],
        &["klee", "network", "rm", "web", ""],
        &["klee", "network", "disconnect", ""],
        &["klee", "run", "--network", ""],
        &["klee", "create", "-n", ""],
    ] {
        assert_eq!(names(&fake, words), networks, "{words:?}");
    }
    for words in [
        &["klee", "logs", ""][..],
        &["klee", "container", "inspect", ""],
        &["klee", "exec", "-it", ""],
        &["klee", "container", "update", "--name", "x", ""],
        &["klee", "rmc", "-f", ""],
    ] {
        assert_eq!(names(&fake, words), ["site", "tool"], "{words:?}");
    }
    assert_eq!(names(&fake, &["klee", "stop", ""]), ["site"]);
    assert_eq!(names(&fake, &["klee", "network", "connect", "web", ""]), ["site"]);
    for words in [
        &["klee", "run", "-l", "vnet", ""][..],
        &["klee", "create", ""],
        &["klee", "isi", ""],
        &["klee", "image", "rm", "base:v2", ""],
        &["klee", "rmi", ""],
        &["klee", "image", "tag", ""],
    ] {
        assert_eq!(names(&fake, words), ["host-usr", "base:v2"], "{words:?}");
    }
    let methods = ["fetch", "fetch-auto", "zfs-copy", "zfs-clone"];
    assert_eq!(names(&fake, &["klee", "image", "create", "-t", "x", ""]), methods);
    // Behind the image is the command's own.
    assert!(names(&fake, &["klee", "run", "host-usr", ""]).is_empty());
    assert!(names(&fake, &["klee", "exec", "site", "sh", ""]).is_empty());
}

#[test]
fn names_come_before_ids() {
    let fake = host();
    assert_eq!(names(&fake, &["klee", "network", "rm", "w"]), ["web"]);
    assert_eq!(names(&fake, &["klee", "network", "rm", "2"]), ["2f1dc29b8f36"]);
    assert!(names(&fake, &["klee", "network", "rm", "x"]).is_empty());
}

#[test]
fn filters_are_completed_by_key_and_by_value() {
    let fake = host();
    let filter = |typed| names(&fake, &["klee", "lsc", "--filter", typed]);
    assert_eq!(filter("n"), ["name=", "network="]);
    assert_eq!(filter("status="), ["status=running", "status=stopped"]);
    assert_eq!(filter("network=w"), ["network=web"]);
    assert_eq!(filter("image=b"), ["image=base:v2"]);
    assert!(filter("colour=").is_empty());
}

#[test]
fn the_daemon_that_was_typed_is_asked() {
    let (fake, other) = (host(), Fake::new());
    other.answer("GET /networks/list", 200, "[]");
    let host = other.host();
    assert!(names(&fake, &["klee", "--host", &host, "network", "rm", ""]).is_empty());
    let joined = format!("--host={host}");
    assert!(names(&fake, &["klee", &joined, "network", "rm", ""]).is_empty());
    assert_eq!(names(&fake, &["klee", "--theme", "simple", "network", "rm", "w"]), ["web"]);
}

#[test]
fn without_a_daemon_nothing_is_said_and_not_for_long() {
    let fake = Fake::new();
    let nobody = "http:///nowhere/kleened.sock";
    assert!(names(&fake, &["klee", "--host", nobody, "network", "rm", ""]).is_empty());
    // One that takes the connection and never answers.
    let place = fake.path("silent");
    let _listener = UnixListener::bind(&place).expect("a socket");
    let silent = format!("http://{}", place.display());
    let before = Instant::now();
    assert!(names(&fake, &["klee", "--host", &silent, "network", "rm", ""]).is_empty());
    // Three shells, 0.3 s each; klee's own limit for an answer is 60 s.
    assert!(before.elapsed() < Duration::from_secs(20));
}

/// What bash itself makes of a line, with klee's own script.
fn in_bash(fake: &Fake, line: &str, word: &str) -> Vec<String> {
    const PRESS_TAB: &str = r#"
        source <("$KLEE" completions bash) || exit 1
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_TYPE=9
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _clap_complete_klee klee "$2" ""
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = alone(fake, "/bin/bash");
    command.env("KLEE", KLEE).env("KLEE_HOST", fake.host()).env("PATH", "/usr/bin:/bin");
    let output = command.args(["-c", PRESS_TAB, "bash", line, word]).output().expect("bash runs");
    assert!(output.status.success(), "{line}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_gets_names_behind_its_own_breaks_too() {
    if !std::path::Path::new("/bin/bash").exists() {
        eprintln!("skipped: there is no /bin/bash");
        return;
    }
    let fake = host();
    assert_eq!(in_bash(&fake, "klee network rm w", "w"), ["web"]);
    assert_eq!(in_bash(&fake, "klee network rm my", "my"), [r"my\ net\;\$\(x\)"]);
    assert_eq!(in_bash(&fake, "klee lsc --filter network=", ""), ["web", r"my\ net\;\$\(x\)"]);
    assert_eq!(in_bash(&fake, "klee run --network=w", "w"), ["web"]);
    assert_eq!(in_bash(&fake, "klee run base:", ""), ["v2"]);
    let typed = format!("klee --host {} network rm w", fake.host());
    assert_eq!(in_bash(&fake, &typed, "w"), ["web"]);
}

#[test]
fn each_shell_has_its_script() {
    let fake = Fake::new();
    for (shell, part) in [
        ("bash", "complete -o nospace"),
        ("zsh", "#compdef klee"),
        ("fish", "complete --keep-order --exclusive --command klee"),
    ] {
        let script = run(&fake, &["completions", shell]);
        assert!(script.starts_with("exit code: 0") && script.contains(part), "{script}");
        assert!(script.contains(KLEE), "{script}");
        assert!(script.ends_with("--- stderr\n"), "{script}");
    }
    assert!(run(&fake, &["completions", "tcsh"]).starts_with("exit code: 2"));
    assert!(fake.asked().is_empty());
}
