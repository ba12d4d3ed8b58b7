//! Maps, filters, YAML and completion.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::fake::{CONTAINER, Fake};
use super::{klee, run};

const WEB: &str = "2f1dc29b8f36";

fn network(id: &str, name: &str, kind: &str) -> Value {
    json!({
        "id": id, "name": name, "type": kind, "interface": "kleene0",
        "subnet": "10.4.6.0/24", "subnet6": "", "gateway": "<auto>", "gateway6": "",
        "nat": "", "icc": true, "internal": false,
    })
}

fn summary(id: &str, name: &str, driver: &str, running: bool) -> Value {
    json!({
        "id": id, "name": name, "image_id": "aaaaaaaaaaaa", "image_name": "host-usr",
        "image_tag": "latest", "cmd": ["sh"], "user": "", "env": [], "network_driver": driver,
        "public_ports": [], "jail_param": [], "restart_policy": "no", "persist": false,
        "created": "2999-01-01T00:00:00.000000Z", "dataset": "", "running": running, "jid": null,
    })
}

/// Two networks, one with a container, and a container in none.
fn host() -> Fake {
    let fake = Fake::new();
    let (web, inner) = (network(WEB, "web", "bridge"), network("aa", "inner", "loopback"));
    fake.answer("GET /networks/list", 200, &json!([inner, web]).to_string());
    let endpoint = json!({
        "id": "e1", "network_id": WEB, "container_id": CONTAINER, "epair": "epair3",
        "ip_address": "10.4.6.9", "ip_address6": "",
    });
    let inspected = |network: &Value, endpoints: Value| {
        json!({"network": network, "network_endpoints": endpoints}).to_string()
    };
    for name in [WEB, "web"] {
        let path = format!("GET /networks/{name}/inspect");
        fake.answer(&path, 200, &inspected(&web, json!([endpoint])));
    }
    fake.answer("GET /networks/aa/inspect", 200, &inspected(&inner, json!([])));
    let all = json!([
        summary(CONTAINER, "site", "vnet", true),
        summary("cc", "tool", "host", true),
        summary("dd", "old", "ipnet", false),
    ]);
    fake.answer("GET /containers/list?all=true", 200, &all.to_string());
    fake.answer("GET /containers/list", 200, &all.to_string());
    fake
}

#[test]
fn a_map_shows_who_is_where() {
    let fake = host();
    insta::assert_snapshot!(run(&fake, &["network", "map"]), @r"
    exit code: 0
    --- stdout
    host
    |- inner  loopback  kleene0  10.4.6.0/24
    |- web  bridge  kleene0  10.4.6.0/24 (gateway 10.4.6.1)
    |  `- site  vnet  running  10.4.6.9
    `- in no network
       |- tool  host   running
       `- old   ipnet  stopped
    --- stderr
    ");
    let utf8 = klee(&fake, &["network", "map"]).env("LANG", "C.UTF-8").output().expect("klee");
    assert!(String::from_utf8_lossy(&utf8.stdout).contains("└─ site"), "{utf8:?}");
    let dot = run(&fake, &["network", "map", "-o", "dot"]);
    assert!(dot.contains(&format!("n{WEB} -- c{CONTAINER} [label=\"10.4.6.9\"];")), "{dot}");
    let text = klee(&fake, &["network", "map", "-o", "json"]).output().expect("klee").stdout;
    let map: Value = serde_json::from_slice(&text).expect("json");
    assert_eq!(map["networks"][1]["containers"][0]["addresses"], json!(["10.4.6.9"]));
    assert_eq!(map["alone"][0]["name"], "tool");
}

#[test]
fn filters_are_or_within_a_key_and_and_between_keys() {
    let fake = host();
    let names = |words: &[&str]| {
        let output = klee(&fake, &[&["lsc", "-a", "-q"], words].concat()).output().expect("klee");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]).len(), 3);
    assert_eq!(names(&["-f", "driver=host"]), ["cc"]);
    assert_eq!(names(&["-f", "driver=host", "-f", "driver=ipnet"]), ["cc", "dd"]);
    assert_eq!(names(&["-f", "driver=host", "-f", "status=stopped"]), [""; 0]);
    assert_eq!(names(&["-f", "network=web"]), [CONTAINER]);
    assert_eq!(names(&["-f", "name=*o*"]), ["cc", "dd"]);
    let nets = run(&fake, &["lsn", "-q", "-f", "type=bridge"]);
    assert!(nets.contains(WEB) && !nets.contains("aa\n"), "{nets}");
    // The text of the daemon is filtered alike.
    let json = run(&fake, &["lsn", "-o", "json", "-f", "subnet=10.4.6.77", "-f", "name=inner"]);
    assert!(json.contains("inner") && !json.contains("\"web\""), "{json}");
    let unknown = run(&fake, &["lsc", "-f", "colour=red"]);
    assert!(unknown.contains("exit code: 2"), "{unknown}");
    assert!(unknown.contains("there is no key 'colour'; keys: id, name, driver"), "{unknown}");
}

#[test]
fn yaml_is_the_daemons_json_in_another_form() {
    let fake = host();
    let text = klee(&fake, &["network", "inspect", "web", "-o", "yaml"]).output().expect("klee");
    let yaml = String::from_utf8(text.stdout).expect("utf-8");
    let read: Value = serde_saphyr::from_str(&yaml).expect("yaml");
    let json = klee(&fake, &["network", "inspect", "web"]).output().expect("klee").stdout;
    assert_eq!(read, serde_json::from_slice::<Value>(&json).expect("json"), "{yaml}");
    let table = run(&fake, &["network", "inspect", "web", "-o", "table"]);
    for part in ["interface:", "10.4.6.1", "site", "epair3a", "running"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

/// What a shell's script is answered.
fn completed(fake: &Fake, shell: &str, words: &[&str]) -> String {
    let index = (words.len() - 1).to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_klee"))
        .env_clear()
        .env("HOME", fake.path(""))
        .env("KLEE_HOST", fake.host())
        .env("COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", index)
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_IFS", "\n")
        .arg("--")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("klee runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn names_are_completed_live_in_every_shell() {
    let fake = host();
    for shell in ["bash", "zsh", "fish"] {
        let networks = completed(&fake, shell, &["klee", "network", "inspect", ""]);
        assert!(networks.contains("web") && networks.contains("inner"), "{shell}: {networks}");
        let some = completed(&fake, shell, &["klee", "network", "rm", "w"]);
        assert!(some.contains("web") && !some.contains("inner"), "{shell}: {some}");
        let joined = completed(&fake, shell, &["klee", "network", "connect", "web", ""]);
        assert!(joined.contains("site") && !joined.contains("tool"), "{shell}: {joined}");
        let stopped = completed(&fake, shell, &["klee", "stop", ""]);
        assert!(stopped.contains("site") && stopped.contains("tool"), "{shell}: {stopped}");
        let script = run(&fake, &["completions", shell]);
        assert!(script.contains("exit code: 0") && script.contains("klee"), "{shell}: {script}");
    }
    // Without a daemon there is nothing to say, and nothing said.
    let nobody = Fake::new();
    let none = completed(&nobody, "bash", &["klee", "network", "inspect", ""]);
    assert!(!none.contains("web"), "{none}");
}

#[test]
fn interfaces_are_linked_and_endpoints_have_options() {
    let fake = host();
    fake.answer("POST /networks/web/link/eth1?force=false", 204, "");
    fake.answer("POST /networks/web/link/eth0?force=true", 204, "");
    fake.answer("POST /networks/web/unlink/eth1", 204, "");
    fake.answer("POST /networks/connect", 204, "");
    for words in [
        vec!["network", "link", "web", "eth1"],
        vec!["network", "link", "--force", "web", "eth0"],
        vec!["network", "unlink", "web", "eth1"],
        vec!["network", "connect", "--mtu", "1400", "--priority", "-2", "web", "site"],
    ] {
        let shown = run(&fake, &words);
        assert!(shown.contains("exit code: 0"), "{words:?}: {shown}");
    }
    let body = fake.body("POST /networks/connect");
    assert_eq!((&body["mtu"], &body["priority"]), (&json!(1400), &json!(-2)));
    assert_eq!(body.get("mac"), None, "what was not typed is not sent");
}
