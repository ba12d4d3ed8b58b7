//! What others break comes back with the next look.

use kleene_model::{Driver, NetworkType};

use crate::lives::anything;
use crate::rig::Rig;

type Break = fn(&Rig);

#[test]
fn whatever_is_broken_comes_back() {
    let breaks: [(&str, Break); 14] = [
        ("an address of a container", |rig| {
            rig.tell("ifconfig", &["kleene0", "inet", "10.1.0.2", "-alias"]);
        }),
        ("the gateway", |rig| rig.tell("ifconfig", &["kleene0", "inet", "10.1.0.1", "-alias"])),
        ("the bridge", |rig| rig.tell("ifconfig", &["kleene0", "destroy"])),
        ("a bridge that is down", |rig| rig.tell("ifconfig", &["kleene0", "down"])),
        ("a member", |rig| rig.tell("ifconfig", &["kleene0", "deletem", "epair0a"])),
        ("the loopback network", |rig| rig.tell("ifconfig", &["kleene1", "destroy"])),
        ("all addresses of pf", |rig| rig.tell("pfctl", &["-t", "kleene_all", "-T", "flush"])),
        ("one too many", |rig| rig.tell("pfctl", &["-t", "kleene_all", "-T", "add", "9.9.9.9"])),
        ("a table", |rig| rig.tell("pfctl", &["-t", "kleene_all", "-T", "kill"])),
        ("the order", |rig| rig.tell("pfctl", &["-a", "kleene", "-f", "-"])),
        ("a network's rules", |rig| {
            let anchors = rig.shown("pfctl", &["-s", "Anchors", "-v"]);
            let net = anchors.lines().find(|name| name.contains("/net/")).expect("an anchor");
            rig.tell("pfctl", &["-a", net.trim(), "-f", "-"]);
        }),
        ("ports", |rig| {
            let anchors = rig.shown("pfctl", &["-s", "Anchors", "-v"]);
            for name in anchors.lines().filter(|name| name.contains("/pub/")) {
                rig.tell("pfctl", &["-a", name.trim(), "-f", "-"]);
            }
        }),
        ("everything of pf", |rig| {
            rig.tell("pfctl", &["-F", "all"]);
            rig.load_main(kleene_host::freebsd::pf::MAIN);
        }),
        ("a setting", |rig| rig.tell("sysctl", &["net.inet.ip.forwarding=0"])),
    ];
    for (what, break_it) in breaks {
        let mut rig = Rig::new();
        rig.network("br", NetworkType::Bridge, 1);
        rig.network("lo", NetworkType::Loopback, 2);
        for (name, driver, network, port) in [
            ("aa", Driver::Ipnet, "br", "8080:80"),
            ("bb", Driver::Vnet, "br", "8081:80"),
            ("cc", Driver::Ipnet, "lo", "8082:80"),
        ] {
            rig.container(name, driver, &[port]);
            rig.connect(name, network);
            rig.start(name);
        }
        let lines = |rig: &Rig| {
            // In whatever order things came back.
            let picture = rig.picture();
            let ether = |line: &&str| !line.trim().starts_with("ether ");
            let mut lines: Vec<String> = picture.lines().filter(ether).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let before = lines(&rig);
        break_it(&rig);
        assert_ne!(lines(&rig), before, "{what} is broken");
        rig.event(anything());
        let after = lines(&rig);
        if ["the bridge", "the loopback network"].contains(&what) {
            // An interface that is made anew has another place in the kernel.
            assert_eq!(after.len(), before.len(), "{what}\n{before:#?}\n{after:#?}");
        } else {
            assert_eq!(after, before, "{what}");
        }
        assert_eq!(rig.degraded, Vec::<String>::new(), "{what}");
        assert!(!rig.mended.is_empty(), "{what}: it is said");
    }
}
