//! What pf is told, and what is refused where it cannot be.

use kleene_engine::Command;
use kleene_host::freebsd::pf::{MAIN, counters};
use kleene_host::freebsd::run::Tool;
use kleene_model::api::{PublishedPortConfig, UnpublishConfig};
use kleene_model::{Driver, NetworkId, NetworkType};

use crate::lives::anything;
use crate::rig::{Rig, container, disconnect, has_line, network};

fn table(rig: &Rig, name: &str) -> Vec<String> {
    let shown = rig.shown("pfctl", &["-t", name, "-T", "show"]);
    shown.lines().map(|line| line.trim().to_owned()).collect()
}

fn rules(rig: &Rig, anchor: &str) -> String {
    rig.shown("pfctl", &["-a", anchor, "-s", "rules"])
}

fn nat(rig: &Rig, anchor: &str) -> String {
    rig.shown("pfctl", &["-a", anchor, "-s", "nat"])
}

fn port(host: &str, inner: &str) -> PublishedPortConfig {
    PublishedPortConfig {
        interfaces: Vec::new(),
        host_port: host.to_owned(),
        container_port: inner.to_owned(),
        protocol: "tcp".to_owned(),
    }
}

#[test]
fn pf_knows_every_address_before_it_stands_and_no_longer_than_it_does() {
    let mut rig = Rig::new();
    let net = rig.network("net", NetworkType::Bridge, 1);
    rig.container("aa", Driver::Ipnet, &[]);
    rig.container("bb", Driver::Vnet, &[]);
    for name in ["aa", "bb"] {
        rig.connect(name, "net");
        rig.start(name);
    }
    let all = table(&rig, "kleene_all");
    let link_local = all.iter().find(|addr| addr.starts_with("fe80::")).cloned();
    let link_local = link_local.expect("that of the cable");
    let expected =
        ["10.1.0.2", "10.1.0.3", "fd00:1::2", "fd00:1::3", link_local.as_str()].map(str::to_owned);
    assert_eq!(all, expected);
    assert_eq!(table(&rig, &format!("kleene_n{net}")), expected);
    let none = rig.shown("pfctl", &["-s", "Tables"]);
    assert!(!none.contains("kleene_int"), "nobody is in an internal network: {none}");
    // Whatever becomes usable was told to pf in an earlier call.
    let log = rig.system.log();
    let place = |tool: Tool, words: &[&str]| {
        let at = log.iter().position(|call| {
            let said = [call.args.join(" "), String::from_utf8_lossy(&call.stdin).into_owned()];
            let said = said.join(" ");
            call.tool == tool && words.iter().all(|word| said.contains(word))
        });
        at.unwrap_or_else(|| panic!("{tool} {words:?} was not called"))
    };
    let told = place(Tool::Pfctl, &["kleene_all -T add", "10.1.0.2"]);
    assert!(told < place(Tool::Ifconfig, &["inet 10.1.0.2/32 alias"]));
    let told = place(Tool::Pfctl, &["kleene_all -T add", "10.1.0.3"]);
    assert!(told < place(Tool::Ifconfig, &["kleene0 addm epair0a"]));
    rig.stop("aa");
    rig.stop("bb");
    assert_eq!(table(&rig, "kleene_all"), Vec::<String>::new());
    let log = rig.system.log();
    let last = |tool: Tool, words: &str| {
        log.iter().rposition(|call| {
            let said = format!("{} {}", call.args.join(" "), String::from_utf8_lossy(&call.stdin));
            call.tool == tool && said.contains(words)
        })
    };
    let gone = last(Tool::Ifconfig, "kleene0 inet 10.1.0.2 -alias");
    assert!(gone.is_some() && gone < last(Tool::Pfctl, "kleene_all -T delete"));
}

#[test]
fn ports_are_led_while_the_container_has_an_address() {
    let mut rig = Rig::new();
    rig.network("net", NetworkType::Bridge, 1);
    let id = rig.container("web", Driver::Vnet, &["8080:80"]);
    let anchor = format!("kleene/pub/{id}");
    rig.connect("web", "net");
    rig.start("web");
    let led = "rdr on em0 inet proto tcp from any to (self) port = http-alt -> 10.1.0.2 port 80";
    assert!(has_line(&nat(&rig, &anchor), led), "{}", nat(&rig, &anchor));
    // Another one, while it runs.
    rig.ok(Command::ContainerPublish {
        container: "web".to_owned(),
        config: Box::new(port("9000", "90")),
    });
    assert!(nat(&rig, &anchor).contains("port = 9000 -> 10.1.0.2 port 90"));
    let unpublish = UnpublishConfig {
        interfaces: None,
        host_port: "9000".to_owned(),
        protocol: "tcp".to_owned(),
    };
    rig.ok(Command::ContainerUnpublish {
        container: "web".to_owned(),
        config: Box::new(unpublish),
    });
    assert!(!nat(&rig, &anchor).contains("9000"));
    let killed = format!("-k label -k kleene:pub:{id}:tcp:90");
    assert!(rig.system.log().iter().any(|call| call.args.join(" ") == killed));
    assert!(has_line(&nat(&rig, &anchor), led), "the other one stays");
    rig.ok(disconnect("web", "net"));
    assert_eq!(nat(&rig, &anchor) + &rules(&rig, &anchor), "");
    rig.connect("web", "net");
    assert!(has_line(&nat(&rig, &anchor), led), "it follows");
}

#[test]
fn nat_names_the_hosts_own_address_and_follows_the_default_route() {
    let mut rig = Rig::new();
    rig.system.add_nic("em1", "00:1b:21:00:00:02");
    rig.tell("ifconfig", &["em1", "inet", "198.51.100.10/24", "alias"]);
    let mut config = network("net", NetworkType::Bridge, 1);
    config.nat = Some("<host-gateway>".to_owned());
    let kleene_engine::Outcome::Id(id) = rig.ok(Command::NetworkCreate(config)) else {
        panic!("no id")
    };
    let anchor = format!("kleene/net/{id}");
    let by = |link: &str, source: &str| {
        format!(
            "nat on {link} inet from <kleene_n{id}> to ! <kleene_all> tag KLEENE_NAT_{id} -> \
             {source}"
        )
    };
    assert!(has_line(&nat(&rig, &anchor), &by("em0", "192.0.2.10")), "{}", nat(&rig, &anchor));
    rig.tell("route", &["-n", "delete", "-inet", "default"]);
    rig.tell("route", &["-n", "add", "-inet", "default", "198.51.100.1"]);
    rig.event(anything());
    assert!(has_line(&nat(&rig, &anchor), &by("em1", "198.51.100.10")), "{}", nat(&rig, &anchor));
    assert!(!nat(&rig, &anchor).contains("192.0.2.10"));
    let killed = format!("-k label -k kleene:nat:{id}");
    assert!(rig.system.log().iter().any(|call| call.args.join(" ") == killed));
}

#[test]
fn what_pf_is_not_asked_is_refused_with_the_lines_to_add() {
    let mut rig = Rig::without_pf();
    let promises = |rig: &mut Rig| -> Vec<Result<(), String>> {
        let mut apart = network("apart", NetworkType::Bridge, 1);
        apart.icc = false;
        let mut internal = network("internal", NetworkType::Loopback, 2);
        internal.internal = true;
        let mut nat = network("nat", NetworkType::Bridge, 3);
        nat.nat = Some("<host-gateway>".to_owned());
        let asked = [
            Command::NetworkCreate(apart),
            Command::NetworkCreate(internal),
            Command::NetworkCreate(nat),
            Command::ContainerCreate(container("web", Driver::Ipnet, &["8080:80"])),
        ];
        let mut answer = |command| rig.ask(command).map(drop).map_err(|no| no.to_string());
        asked.map(&mut answer).to_vec()
    };
    for answer in promises(&mut rig) {
        let why = answer.expect_err("refused");
        assert!(why.starts_with("unsupported: ") && why.contains("'pfctl -e'"), "{why}");
    }
    rig.tell("pfctl", &["-e"]);
    for answer in promises(&mut rig) {
        let why = answer.expect_err("refused");
        assert!(MAIN.lines().all(|line| why.contains(&format!("'{line}'"))), "{why}");
    }
    // What promises nothing works.
    rig.network("plain", NetworkType::Loopback, 9);
    // Rules of the administrator around ours are no matter.
    rig.load_main(&format!(
        "nat on em0 inet from 172.16.0.0/12 to any -> 192.0.2.10\n{MAIN}pass quick on em0 all\n"
    ));
    let before = rig.shown("pfctl", &["-s", "rules"]);
    for answer in promises(&mut rig) {
        answer.expect("allowed");
    }
    assert_eq!(rig.shown("pfctl", &["-s", "rules"]), before, "it is theirs");
}

#[test]
fn what_is_skipped_cannot_be_held_apart() {
    let mut rig = Rig::new();
    rig.load_main(&format!("set skip on lo\n{MAIN}"));
    let mut internal = network("internal", NetworkType::Loopback, 2);
    internal.internal = true;
    let why = rig.refused(Command::NetworkCreate(internal.clone()));
    assert!(why.contains("pf filters nothing on lo0") && why.contains("pfctl -F all"), "{why}");
    rig.tell("pfctl", &["-F", "all"]);
    rig.load_main(MAIN);
    rig.ok(Command::NetworkCreate(internal));
}

#[test]
fn no_text_ever_replies_to_lo0_without_a_tag() {
    let mut rig = Rig::new();
    for (octet, kind) in
        [NetworkType::Bridge, NetworkType::Loopback, NetworkType::Custom].into_iter().enumerate()
    {
        let octet = u8::try_from(octet).expect("small") + 1;
        rig.network(&format!("n{octet}"), kind, octet);
        rig.container(&format!("c{octet}"), Driver::Ipnet, &[&format!("808{octet}:80")]);
        rig.connect(&format!("c{octet}"), &format!("n{octet}"));
        rig.start(&format!("c{octet}"));
    }
    rig.container("vv", Driver::Vnet, &["8090:80", "9000:90"]);
    rig.connect("vv", "n1");
    rig.start("vv");
    let mut seen = 0;
    for call in rig.system.log().iter().filter(|call| call.tool == Tool::Pfctl) {
        let text = String::from_utf8_lossy(&call.stdin).into_owned();
        for line in text.lines().filter(|line| line.contains("reply-to (lo0")) {
            seen += 1;
            // It hangs the kernel (FreeBSD 13.2).
            assert!(line.contains("tagged KLEENE_LO"), "{line}");
        }
    }
    assert!(seen > 0, "it is used at all");
}

#[test]
fn services_of_the_host_are_no_holders_in_jails() {
    let mut rig = Rig::new();
    rig.network("net", NetworkType::Loopback, 1);
    let id = rig.container("web", Driver::Ipnet, &[]).to_string();
    rig.connect("web", "net");
    rig.start("web");
    rig.system.listen(Some(&id), "nginx", "tcp4", "10.1.0.1:8080");
    rig.container("one", Driver::Ipnet, &["8080:80"]);
    rig.system.listen(None, "sshd", "tcp4", "*:8081");
    let why = rig.refused(Command::ContainerCreate(container("two", Driver::Ipnet, &["8081:80"])));
    assert!(why.contains("8081") && why.contains("sshd (pid "), "{why}");
}

#[test]
fn a_network_whose_promise_is_broken_later_is_degraded_until_it_is_mended() {
    let mut rig = Rig::new();
    let mut config = network("apart", NetworkType::Bridge, 1);
    config.icc = false;
    rig.ok(Command::NetworkCreate(config));
    rig.network("plain", NetworkType::Bridge, 2);
    assert_eq!((rig.why("apart"), rig.why("plain")), (None, None));
    rig.load_main("pass all\n");
    rig.event(anything());
    let why = rig.why("apart").expect("degraded");
    assert!(why.contains("'anchor \"kleene\"'"), "{why}");
    assert!(rig.degraded.contains(&why), "it is told, too");
    assert_eq!(rig.why("plain"), None);
    rig.load_main(MAIN);
    rig.event(anything());
    assert_eq!(rig.why("apart"), None);
}

#[test]
fn rules_are_counted_for_their_network() {
    let mut rig = Rig::new();
    let mut internal = network("shut", NetworkType::Bridge, 1);
    internal.internal = true;
    let kleene_engine::Outcome::Id(id) = rig.ok(Command::NetworkCreate(internal)) else {
        panic!("no id")
    };
    let open = rig.network("open", NetworkType::Bridge, 2);
    let of = |id: &str| NetworkId::parse(id).expect("an id");
    let rules = |network: Option<NetworkId>| -> Vec<(Option<NetworkId>, &str)> {
        let counted = counters::counters(&rig.system, network).expect("counted");
        counted.iter().map(|one| (one.network, one.rule)).collect()
    };
    let shut = (Some(of(&id)), "13: internal");
    assert!(rules(Some(of(&id))).contains(&shut));
    assert!(rules(Some(of(&open))).iter().all(|(network, _)| *network == Some(of(&open))));
    let all = rules(None);
    assert!(all.contains(&shut) && all.contains(&(None, "9, 11: not published")), "{all:?}");
}
