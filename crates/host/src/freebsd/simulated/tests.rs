//! What the recordings do not show: faults, somebody else, quirks, ZFS, and that
//! nothing unknown succeeds.

use super::*;

fn run(host: &Simulated, tool: Tool, words: &str) -> Answer {
    host.call(&Call::new(tool, words.split(' '))).expect("a known command")
}

fn done(host: &Simulated, tool: Tool, words: &str) -> String {
    let answer = run(host, tool, words);
    assert_eq!(answer.status, 0, "{tool} {words}: {}", answer.stderr);
    answer.stdout
}

fn load(host: &Simulated, words: &str, text: &str) -> Answer {
    let call = Call::new(Tool::Pfctl, words.split(' ')).with_stdin(text);
    host.call(&call).expect("a known text")
}

fn unknown(host: &Simulated, tool: Tool, words: &str) -> String {
    let err = host.call(&Call::new(tool, words.split(' '))).expect_err(words);
    let source = std::error::Error::source(&err).map(ToString::to_string).unwrap_or_default();
    assert!(source.starts_with("the simulated FreeBSD does not know: "), "{words}: {source}");
    source
}

#[test]
fn what_is_not_known_is_an_error_and_changes_nothing() {
    let host = Simulated::new();
    done(&host, Tool::Ifconfig, "bridge create name kleene0");
    let before = host.with(|state| format!("{state:?}"));
    for (tool, words) in [
        (Tool::Ifconfig, "kleene0 spanning"),
        (Tool::Ifconfig, "-x"),
        (Tool::Ifconfig, "vlan create"),
        (Tool::Jail, "-l"),
        (Tool::Jls, "--libxo xml"),
        (Tool::Pfctl, "-s Sources"),
        (Tool::Pfctl, "-t x -T zero"),
        (Tool::Sysctl, "net.inet.tcp.cc.algorithm"),
        (Tool::Route, "-n flush"),
        (Tool::Netstat, "-m"),
        (Tool::Mount, "-a"),
        (Tool::Zfs, "upgrade"),
        (Tool::Zfs, "mount -a"),
        (Tool::MountNullfs, "-u /tmp"),
        (Tool::PwdMkdb, "-p /etc/master.passwd"),
        (Tool::Devfs, "rule applyset"),
        (Tool::Sockstat, "-c"),
        (Tool::Arp, "-d 10.0.0.1"),
        (Tool::Ndp, "-c"),
        (Tool::Ps, "-ax"),
        (Tool::Pkill, "sh"),
        (Tool::Kldstat, "-v"),
        (Tool::Umount, "-a"),
    ] {
        unknown(&host, tool, words);
    }
    let known = load(&host, "-f -", "pass quick from 10.0.0.1\n");
    assert_eq!((known.status, &*known.stderr), (0, ""));
    let call = Call::new(Tool::Pfctl, ["-f", "-"]).with_stdin("scrub in all\n");
    assert!(host.call(&call).is_err());
    load(&host, "-f -", "");
    let after = host.with(|state| format!("{state:?}"));
    // pf keeps an anchor for the main ruleset once one was loaded.
    let after = after.replace(
        "anchors: {\"\": Anchor { rules: [], nat: [], rdr: [], tables: {}, \
        stuck: false }}",
        "anchors: {}",
    );
    assert_eq!(before, after);
}

#[test]
fn one_call_fails_and_the_others_do_not() {
    let host = Simulated::new();
    done(&host, Tool::Ifconfig, "lo create name kleene0");
    host.fail_at(2, Fault::Refused);
    done(&host, Tool::Ifconfig, "kleene0 inet 10.0.0.1/32 alias");
    let refused = run(&host, Tool::Ifconfig, "kleene0 inet 10.0.0.2/32 alias");
    assert_eq!((refused.status, &*refused.stderr), (1, "ifconfig: simulated failure\n"));
    done(&host, Tool::Ifconfig, "kleene0 inet 10.0.0.3/32 alias");
    let shown = done(&host, Tool::Ifconfig, "kleene0");
    assert!(shown.contains("10.0.0.1") && !shown.contains("10.0.0.2"), "{shown}");
    assert_eq!(host.calls(), 5);
    assert_eq!(host.log()[1].to_string(), "ifconfig kleene0 inet 10.0.0.1/32 alias");
}

#[test]
fn a_call_may_fail_after_it_worked_or_be_cut() {
    let host = Simulated::new();
    host.fail_matching(Tool::Ifconfig, ["lo", "create"], Fault::RefusedAfterwards);
    assert_eq!(run(&host, Tool::Ifconfig, "lo create name kleene0").status, 1);
    // It is there nevertheless; what does not match goes on.
    assert_eq!(done(&host, Tool::Ifconfig, "-l"), "lo0 pflog0 pfsync0 kleene0\n");
    host.fail_no_more();
    host.fail_matching(Tool::Ifconfig, ["-l"], Fault::Cut(7));
    let cut = run(&host, Tool::Ifconfig, "-l");
    assert_eq!((cut.status, &*cut.stdout), (0, "lo0 pfl"));
    host.fail_no_more();
    assert_eq!(done(&host, Tool::Ifconfig, "-l"), "lo0 pflog0 pfsync0 kleene0\n");
}

#[test]
fn a_reboot_leaves_files_and_datasets_and_a_new_boot_id() {
    let host = Simulated::new();
    host.add_nic("em0", "00:1b:21:00:00:01");
    host.add_pool("tank");
    done(&host, Tool::Zfs, "create tank/kleene");
    done(&host, Tool::Ifconfig, "em0 inet 192.0.2.1/24 alias");
    done(&host, Tool::Jail, "-c name=j1 path=/ vnet persist");
    done(&host, Tool::Ifconfig, "em0 vnet j1");
    load(&host, "-a kleene/x -f -", "pass\n");
    let id = done(&host, Tool::Sysctl, "-n -x kern.boot_id");
    host.reboot();
    assert_ne!(done(&host, Tool::Sysctl, "-n -x kern.boot_id"), id);
    assert_eq!(done(&host, Tool::Ifconfig, "-l"), "lo0 pflog0 pfsync0 em0\n");
    assert!(!done(&host, Tool::Ifconfig, "em0").contains("192.0.2.1"));
    assert!(done(&host, Tool::Ifconfig, "lo0").contains("inet 127.0.0.1 "));
    assert_eq!(done(&host, Tool::Jls, "name"), "");
    assert_eq!(done(&host, Tool::Pfctl, "-s Anchors"), "");
    assert!(done(&host, Tool::Zfs, "list -H -o name,mounted").contains("tank/kleene\tyes"));
}

#[test]
fn somebody_pulls_out_a_card() {
    let host = Simulated::new();
    host.add_nic("em0", "00:1b:21:00:00:01");
    done(&host, Tool::Ifconfig, "em0 inet 192.0.2.1/24 alias");
    done(&host, Tool::Route, "-n add -inet default 192.0.2.254");
    assert!(done(&host, Tool::Netstat, "-rn").contains("default"));
    host.pull_out("em0");
    assert!(!done(&host, Tool::Netstat, "-rn").contains("default"));
    assert_eq!(run(&host, Tool::Ifconfig, "em0").status, 1);
    assert_eq!(host.with(|state| state.interfaces()), ["lo0", "pflog0", "pfsync0"]);
}

/// What is seen of a quirk. A table: every quirk stands there.
fn seen(quirk: Quirk, host: &Simulated) -> String {
    let all = |tool, calls: &[&str]| -> String {
        calls.iter().map(|words| format!("{:?}", run(host, tool, words))).collect()
    };
    match quirk {
        Quirk::FailedNameLeavesLink => {
            all(Tool::Ifconfig, &["lo create name k0", "lo create name k0", "-l"])
        }
        Quirk::AliasTwice => {
            all(Tool::Ifconfig, &["lo0 inet 10.0.0.1/32 alias", "lo0 inet 10.0.0.1/32 alias"])
        }
        Quirk::MoveStrips => {
            done(host, Tool::Jail, "-c name=j1 path=/ vnet persist");
            let calls = ["epair create", "epair0b description x", "epair0b vnet j1"];
            all(Tool::Ifconfig, &calls) + &done(host, Tool::Jexec, "j1 ifconfig epair0b")
        }
        Quirk::MembersShown => {
            done(host, Tool::Ifconfig, "bridge create");
            for number in 0..104 {
                done(host, Tool::Ifconfig, &format!("epair{number} create"));
                done(host, Tool::Ifconfig, &format!("bridge0 addm epair{number}a"));
            }
            done(host, Tool::Ifconfig, "bridge0").matches("member:").count().to_string()
        }
        Quirk::DyingKeepsLinks => {
            done(host, Tool::Jail, "-c name=j1 path=/ vnet persist");
            host.hold_connections("j1", 1);
            done(host, Tool::Jail, "-r j1") + &done(host, Tool::Jls, "-d name dying")
        }
        Quirk::UnknownAnchorIsNoError => all(Tool::Pfctl, &["-a nosuch -s rules"]),
        Quirk::SkipStays => {
            load(host, "-f -", "set skip on lo\n");
            done(host, Tool::Ifconfig, "lo create name k0");
            done(host, Tool::Ifconfig, "k0 -group lo");
            load(host, "-f -", "pass\n");
            done(host, Tool::Pfctl, "-vs Interfaces")
        }
        Quirk::AnchorWithTableStays => {
            load(host, "-a k/x -f -", "pass from <t>\n");
            all(Tool::Pfctl, &["-a k/x -F all", "-s Anchors -v"])
        }
        Quirk::DigitsAreJid => all(Tool::Jail, &["-i -c name=77 path=/ persist", "-r 77"]),
        Quirk::StopForgotten => {
            let words = ["-c", "name=j1", "path=/", "persist", "exec.stop=/bin/echo bye"];
            host.run(&Call::new(Tool::Jail, words)).expect("a jail");
            done(host, Tool::Jail, "-r j1")
        }
        Quirk::RemoveStarDoesNothing => all(Tool::Jail, &["-r *"]),
        Quirk::RouteGoesWithAddress => {
            host.add_nic("em0", "00:1b:21:00:00:01");
            done(host, Tool::Ifconfig, "em0 inet 192.0.2.1/24 alias");
            done(host, Tool::Route, "-n add -inet default 192.0.2.254");
            done(host, Tool::Ifconfig, "em0 inet 192.0.2.1 -alias");
            done(host, Tool::Netstat, "-rn")
        }
        Quirk::FirstMemberSetsMtu => {
            all(
                Tool::Ifconfig,
                &["bridge create", "epair create", "epair0a mtu 9000", "bridge0 addm epair0a"],
            ) + &done(host, Tool::Ifconfig, "bridge0 inet")
        }
        Quirk::LoopbackAddressToFirstUp => {
            done(host, Tool::Ifconfig, "lo0 inet6 ::1 -alias");
            all(Tool::Ifconfig, &["lo create name k0", "k0 up", "k0"])
        }
    }
}

#[test]
fn each_quirk_can_be_switched_off() {
    for quirk in Quirk::ALL {
        let (with, without) = (Simulated::new(), Simulated::new());
        without.without(*quirk);
        assert_ne!(seen(*quirk, &with), seen(*quirk, &without), "{quirk:?}");
    }
}

#[test]
fn a_dying_jail_keeps_its_cable_until_its_connections_end() {
    let host = Simulated::new();
    done(&host, Tool::Ifconfig, "epair create");
    done(&host, Tool::Jail, "-c name=j1 path=/ vnet vnet.interface=epair0b persist");
    host.hold_connections("j1", 1);
    done(&host, Tool::Jail, "-r j1");
    assert_eq!(done(&host, Tool::Jls, "-d name dying"), "j1 true\n");
    assert_eq!(run(&host, Tool::Ifconfig, "epair0b").status, 1);
    host.connections_end();
    assert_eq!(done(&host, Tool::Jls, "-d name dying"), "");
    assert_eq!(run(&host, Tool::Ifconfig, "epair0b").status, 0);
    assert!(host.with(|state| state.jails()).is_empty());
}

#[test]
fn processes_die_by_signals_and_a_jail_by_its_last() {
    let host = Simulated::new();
    done(&host, Tool::Jail, "-c name=j1 path=/ persist");
    host.start_process("j1", "sleep 100", false);
    let stubborn = host.start_process("j1", "sh", true);
    done(&host, Tool::Pkill, "-TERM -j j1 .");
    assert_eq!(done(&host, Tool::Ps, "-o command -J j1"), "COMMAND\nsh\n");
    done(&host, Tool::Jail, "-m name=j1 nopersist");
    assert_eq!(done(&host, Tool::Jls, "name"), "j1\n");
    host.end_process(stubborn);
    assert_eq!(done(&host, Tool::Jls, "name"), "");
    assert_eq!(run(&host, Tool::Pkill, "-KILL -j j1 .").status, 2);
}

#[test]
fn sockets_are_listed_with_who_holds_them() {
    let host = Simulated::new();
    done(&host, Tool::Jail, "-c name=j1 path=/ ip4=inherit persist");
    host.listen(None, "sshd", "tcp4", "*:22");
    host.listen(Some("j1"), "nginx", "tcp4", "*:80");
    let listed = done(&host, Tool::Sockstat, "-46l -P tcp -p 20-30,443");
    assert!(listed.contains("sshd") && !listed.contains("nginx"), "{listed}");
    let listed = done(&host, Tool::Sockstat, "-46l -P tcp");
    let pids: Vec<&str> =
        listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
    let whose = done(&host, Tool::Ps, &format!("--libxo json -o pid,jid -p {}", pids.join(",")));
    assert!(whose.contains("\"jail-id\":\"0\"") && whose.contains("\"jail-id\":\"1\""), "{whose}");
}

#[test]
fn datasets_are_cloned_sent_and_destroyed_in_their_order() {
    let host = Simulated::new();
    assert_eq!(run(&host, Tool::Kldstat, "-q -m zfs").status, 1);
    host.add_pool("tank");
    assert_eq!(run(&host, Tool::Kldstat, "-q -m zfs").status, 0);
    done(&host, Tool::Zfs, "create -o kleene:owner=k1 tank/base");
    done(&host, Tool::Zfs, "snapshot -o kleene:owner=k1 tank/base@image");
    done(&host, Tool::Zfs, "clone -o kleene:owner=k1 tank/base@image tank/c1");
    let get = |words: &str| done(&host, Tool::Zfs, &format!("get -H -o {words}"));
    assert_eq!(get("value,source kleene:owner tank/c1"), "k1\tlocal\n");
    assert_eq!(get("value,source kleene:owner tank"), "-\t-\n");
    assert_eq!(get("value clones tank/base@image"), "tank/c1\n");
    assert_eq!(get("value origin tank/c1"), "tank/base@image\n");
    assert_eq!(
        done(&host, Tool::Zfs, "list -H -o name,mountpoint /tank/c1/etc"),
        "tank/c1\t/tank/c1\n"
    );
    let refused = run(&host, Tool::Zfs, "destroy -r -f tank/base");
    assert!(refused.stderr.contains("has dependent clones"), "{}", refused.stderr);
    done(&host, Tool::Zfs, "destroy -r -f tank/c1");
    done(&host, Tool::Zfs, "destroy -r -f tank/base");
    assert_eq!(done(&host, Tool::Zfs, "list -H -o name"), "tank\n");
    let gone = run(&host, Tool::Zfs, "get -H -o value,source kleene:owner tank/base");
    assert!(gone.stderr.contains("does not exist"), "{}", gone.stderr);
}

#[test]
fn what_is_sent_is_received() {
    let host = Simulated::new();
    host.add_pool("tank");
    done(&host, Tool::Zfs, "create tank/a");
    done(&host, Tool::Zfs, "snapshot tank/a@1");
    let send = Call::new(Tool::Zfs, ["send", "tank/a@1"]);
    let receive = Call::new(Tool::Zfs, ["receive", "-u", "-o", "k:o=x", "tank/b"]);
    host.pipe(&send, &receive).expect("received");
    assert_eq!(done(&host, Tool::Zfs, "list -H -o name,mounted -r tank/b"), "tank/b\tno\n");
    done(&host, Tool::Zfs, "mount tank/b");
    assert!(host.pipe(&send, &receive).expect_err("it is there").says("exists"));
    let nothing = Call::new(Tool::Zfs, ["receive", "tank/c"]);
    assert!(host.run(&nothing).expect_err("no stream").says("cannot receive"));
}

#[test]
fn a_text_for_a_removal_may_be_quoted() {
    let host = Simulated::new();
    done(&host, Tool::Jail, "-c name=j1 path=/ persist");
    let text = "j1 {\n    exec.stop = '/bin/echo it\\'s over';\n    stop.timeout = 0;\n}\n";
    let call = Call::new(Tool::Jail, ["-f", "-", "-r", "j1"]).with_stdin(text);
    assert_eq!(host.run(&call).expect("removed").stdout, "it's over\nj1: removed\n");
    assert!(host.run(&call).expect_err("gone").says("not found"));
}

#[test]
fn states_are_killed_by_label_and_by_address() {
    let host = Simulated::new();
    let ip = |text: &str| text.parse().expect("an address");
    for (label, source, target) in
        [("a", "10.0.0.1", "10.0.0.2"), ("a", "10.0.0.3", "10.0.0.2"), ("b", "10.0.0.1", "fd00::1")]
    {
        host.add_state(label, ip(source), ip(target));
    }
    let killed = |words: &str| run(&host, Tool::Pfctl, words).stderr;
    assert_eq!(killed("-k label -k nosuch"), "killed 0 states\n");
    assert_eq!(killed("-k 10.0.0.3"), "killed 1 states from 1 sources and 0 destinations\n");
    assert_eq!(
        killed("-k 0.0.0.0/0 -k 10.0.0.2"),
        "killed 1 states from 1 sources and 1 destinations\n"
    );
    assert_eq!(killed("-k label -k b"), "killed 1 states\n");
}

#[test]
fn somebody_else_is_neither_counted_nor_hindered() {
    let host = Simulated::new();
    done(&host, Tool::Ifconfig, "lo create name kleene0");
    load(&host, "-a kleene/x -f -", "pass\n");
    host.fail_at(1, Fault::Refused);
    let skip = Call::new(Tool::Pfctl, ["-f", "-"]).with_stdin("set skip on lo\n");
    assert_eq!(host.somebody(&skip).status, 0);
    assert_eq!(host.somebody(&Call::new(Tool::Ifconfig, ["kleene0", "destroy"])).status, 0);
    assert_eq!(host.calls(), 2);
    // The fault is for the next call of ours.
    assert_eq!(run(&host, Tool::Pfctl, "-vs Interfaces").status, 1);
    let shown = done(&host, Tool::Pfctl, "-vs Interfaces");
    assert!(shown.contains("lo0 (skip)") && !shown.contains("pflog0 (skip)"), "{shown}");
    assert_eq!(host.somebody(&Call::new(Tool::Pfctl, ["-F", "all"])).status, 0);
    assert!(!done(&host, Tool::Pfctl, "-vs Interfaces").contains("skip"));
}

/// Words of all tools, some of them wrong.
const WORDS: &[&str] = &[
    "-a",
    "-c",
    "-d",
    "-f",
    "-h",
    "-i",
    "-j",
    "-k",
    "-l",
    "-m",
    "-n",
    "-o",
    "-p",
    "-q",
    "-r",
    "-s",
    "-t",
    "-v",
    "-x",
    "-z",
    "-F",
    "-J",
    "-T",
    "-U",
    "-an",
    "-rn",
    "-vs",
    "-46l",
    "--libxo",
    "json",
    "all",
    "rules",
    "nat",
    "Anchors",
    "Tables",
    "Interfaces",
    "info",
    "add",
    "delete",
    "show",
    "kill",
    "replace",
    "test",
    "flush",
    "get",
    "change",
    "default",
    "-inet",
    "-inet6",
    "-host",
    "lo",
    "epair",
    "bridge",
    "lo0",
    "lo1",
    "epair0a",
    "epair0b",
    "bridge0",
    "em0",
    "create",
    "destroy",
    "name",
    "up",
    "down",
    "inet",
    "inet6",
    "alias",
    "-alias",
    "10.0.0.1/24",
    "10.0.0.1",
    "fd00::1/64",
    "fe80::1%lo0",
    "10.0.0.1/99",
    "prefixlen",
    "200",
    "netmask",
    "255.255.255.0",
    "addm",
    "deletem",
    "private",
    "group",
    "-group",
    "description",
    "mtu",
    "ether",
    "\u{e4}",
    "",
    "02:6b:00:00:00:01",
    "vnet",
    "-vnet",
    "j1",
    "name=j1",
    "name=77",
    "path=/",
    "persist",
    "nopersist",
    "ip4.addr=10.0.0.1",
    "ip4=inherit",
    "interface=lo0",
    "ip4.addr=lo0|10.0.0.9/99",
    "vnet.interface=epair0b",
    "mount.devfs",
    "command=/bin/sh",
    "exit 3",
    "/sbin/ifconfig",
    "*",
    "net.inet.ip.forwarding",
    "net.inet.ip.forwarding=1",
    "kern",
    "kleene",
    "kleene/x",
    "/*",
    "rule",
    "11",
    "hide",
    "path",
    "list",
    "tank",
    "tank/a",
    "tank/a@1",
    "snapshot",
    "clone",
    "rename",
];

#[test]
fn no_words_make_it_panic() {
    let host = Simulated::new();
    host.add_nic("em0", "00:1b:21:00:00:01");
    host.add_pool("tank");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % limit as u64).expect("small")
    };
    let texts = ["", "pass\n", "pass from { 10.0.0.1 \"\n", "table <t> { \u{e4} }\n", "j1 { a='"];
    let mut known = 0;
    for _ in 0..40_000 {
        let tool = Tool::ALL[below(Tool::ALL.len())];
        let words: Vec<&str> = (0..below(6)).map(|_| WORDS[below(WORDS.len())]).collect();
        let call = Call::new(tool, words).with_stdin(texts[below(texts.len())]);
        known += usize::from(host.call(&call).is_ok_and(|answer| answer.status == 0));
    }
    assert!(known > 1000, "only {known} did something");
}

/// The texts that Kleene renders, each with the name of its anchor.
fn rendered() -> Vec<(String, String)> {
    let files = [
        include_str!("../pf/golden/constant.txt"),
        include_str!("../pf/golden/five.txt"),
        include_str!("../pf/golden/internal.txt"),
        include_str!("../pf/golden/nat.txt"),
        include_str!("../pf/golden/nat_nowhere.txt"),
        include_str!("../pf/golden/ports.txt"),
    ];
    let parts = files.iter().flat_map(|file| file.split("-- ").skip(1));
    let named = parts.filter_map(|part| part.split_once('\n'));
    // The main ruleset has a name with blanks there.
    named.map(|(name, text)| (name.trim().replace(' ', "-"), text.to_owned())).collect()
}

#[test]
fn every_text_that_is_rendered_is_read_and_what_is_shown_is_read_alike() {
    let host = Simulated::new();
    let texts = rendered();
    assert!(texts.len() > 30, "{} texts", texts.len());
    let shown = |anchor: &str| {
        let nat = done(&host, Tool::Pfctl, &format!("-a {anchor} -s nat"));
        nat + &done(&host, Tool::Pfctl, &format!("-a {anchor} -s rules"))
    };
    for (name, text) in texts {
        let loaded = load(&host, &format!("-a {name} -f -"), &text);
        assert_eq!((loaded.status, &*loaded.stderr), (0, ""), "{name}:\n{text}");
        let first = shown(&name);
        assert!(first.lines().count() >= text.trim().lines().count(), "{name}:\n{first}");
        let again = load(&host, "-a again -f -", &first);
        assert_eq!((again.status, &*again.stderr), (0, ""), "{name}:\n{first}");
        assert_eq!(shown("again"), first, "{name}");
    }
}
