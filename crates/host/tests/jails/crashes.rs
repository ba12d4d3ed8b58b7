//! The daemon dies after every call of a tool, and another one goes on.

use kleene_engine::Command;
use kleene_model::NetworkType;

use crate::lives::anything;
use crate::rig::{Rig, connect, differ, disconnect, network, with_running};

type Act = fn(&mut Rig);

#[test]
fn whenever_the_daemon_dies_another_one_leads_to_one_of_both_states() {
    let acts: [(&str, Act); 7] = [
        ("create", |rig| {
            drop(rig.ask(Command::NetworkCreate(network("x", NetworkType::Loopback, 3))))
        }),
        ("connect own", |rig| drop(rig.ask(connect("own", "two")))),
        ("connect shared", |rig| drop(rig.ask(connect("shared", "two")))),
        ("disconnect own", |rig| drop(rig.ask(disconnect("own", "one")))),
        ("disconnect shared", |rig| drop(rig.ask(disconnect("shared", "one")))),
        ("remove", |rig| drop(rig.ask(Command::NetworkRemove { network: "two".to_owned() }))),
        ("stop", |rig| rig.stop("own")),
    ];
    for (name, act) in acts {
        let mut rig = with_running();
        act(&mut rig);
        rig.event(anything());
        let after = rig.picture();
        let before = with_running().picture();
        let mut died = 0;
        for calls in 0.. {
            let mut rig = with_running();
            rig.die_after(calls);
            if !rig.crash_during(act) {
                break;
            }
            died += 1;
            let last = rig.system.log().pop().expect("a call");
            rig.restart();
            rig.event(anything());
            assert_eq!(rig.degraded, Vec::<String>::new(), "{name}, after {calls} calls");
            if last.args.iter().any(|arg| arg == "create") {
                // What was made has no mark yet: it is left, and in nobody's way.
                continue;
            }
            let is = rig.picture();
            if let (Some(forth), Some(back)) = (differ(&after, &is), differ(&before, &is)) {
                panic!(
                    "{name}, after {calls} calls it is neither what it shall be:\n{forth}nor what it was:\n{back}"
                );
            }
        }
        assert!(died > 3, "{name}: it calls no tools");
    }
}

#[test]
fn a_daemon_that_comes_back_disturbs_nothing() {
    let mut rig = with_running();
    let before = rig.picture();
    let calls = rig.system.log().len();
    rig.restart();
    let changed: Vec<String> = rig.system.log()[calls..]
        .iter()
        .filter(|call| {
            let text = call.to_string();
            let asks = [
                "ifconfig -a",
                "ifconfig -l",
                "ifconfig -f",
                "netstat",
                "pfctl -s",
                "pfctl -vs",
                "jls",
                "sysctl -n",
                "arp",
                "ndp",
                "sockstat",
                "ps",
            ];
            let shows =
                text.contains(" -T show") || text.contains(" -s rules") || text.contains(" -s nat");
            !shows && !asks.iter().any(|ask| text.starts_with(ask))
        })
        .map(ToString::to_string)
        .collect();
    assert_eq!(changed, Vec::<String>::new(), "everything stands already");
    assert_eq!(differ(&before, &rig.picture()), None);
    assert_eq!(rig.degraded, Vec::<String>::new());
}

#[test]
fn after_a_reboot_networks_stand_and_containers_are_stopped() {
    let mut rig = with_running();
    rig.stop("own");
    rig.stop("shared");
    let stopped = rig.shown("ifconfig", &["kleene0"]).lines().count();
    rig.start("own");
    rig.start("shared");
    rig.kill_daemon();
    rig.system.reboot();
    rig.tell("ifconfig", &["em0", "inet", "192.0.2.10/24", "alias"]);
    rig.tell("pfctl", &["-e"]);
    rig.load_main(kleene_host::freebsd::pf::MAIN);
    rig.restart_after(false);
    assert_eq!(rig.degraded, Vec::<String>::new());
    assert_eq!(rig.shown("ifconfig", &["kleene0"]).lines().count(), stopped);
    assert_eq!(rig.ask_tool("ifconfig", &["-g", "kleene_cab"]).stdout, "");
    rig.start("own");
    rig.start("shared");
    assert_eq!(rig.shown("ifconfig", &["-g", "kleene_cab"]), "epair0a\n");
}
