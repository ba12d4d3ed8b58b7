//! Networks and containers of every kind, from their making to their end.

use kleene_engine::Command;
use kleene_model::{Driver, NetworkType};

use crate::rig::{Rig, disconnect, has_line};

fn ifconfig(rig: &Rig, link: &str) -> String {
    rig.shown("ifconfig", &["-f", "inet:cidr,inet6:cidr", link])
}

fn used(rig: &Rig, container: &str) -> String {
    rig.shown("jls", &["-n", "-j", container, "ip4.addr", "ip6.addr"]).trim().to_owned()
}

#[test]
fn a_network_is_one_interface_with_our_mark_and_groups() {
    let mut rig = Rig::new();
    let loopback = rig.network("lo", NetworkType::Loopback, 1);
    let bridge = rig.network("br", NetworkType::Bridge, 2);
    let before = ifconfig(&rig, "em0");
    rig.network("nic", NetworkType::Custom, 3);
    let shown = ifconfig(&rig, "kleene0");
    assert!(has_line(&shown, &format!("description: kleene:main:network:{loopback}")), "{shown}");
    assert!(has_line(&shown, "groups: lo kleene kleene_net"), "{shown}");
    assert!(!shown.contains("10.1.0"), "a gateway means nothing there: {shown}");
    let shown = ifconfig(&rig, "kleene1");
    assert!(has_line(&shown, &format!("description: kleene:main:network:{bridge}")), "{shown}");
    assert!(has_line(&shown, "inet 10.2.0.1/24") && has_line(&shown, "inet6 fd00:2::1/64"));
    assert!(shown.starts_with("kleene1: flags=8843<UP,"), "{shown}");
    assert_eq!(ifconfig(&rig, "em0"), before);
    for name in ["lo", "br", "nic"] {
        rig.ok(Command::NetworkRemove { network: name.to_owned() });
    }
    assert_eq!(ifconfig(&rig, "em0"), before);
    assert_eq!(rig.shown("ifconfig", &["-l"]), "lo0 pflog0 pfsync0 em0\n");
}

#[test]
fn addresses_of_ipnet_stand_on_the_network_while_the_container_runs() {
    for (kind, link) in [
        (NetworkType::Loopback, "kleene0"),
        (NetworkType::Bridge, "kleene0"),
        (NetworkType::Custom, "em0"),
    ] {
        let mut rig = Rig::new();
        rig.network("net", kind, 5);
        let id = rig.container("web", Driver::Ipnet, &[]).to_string();
        rig.connect("web", "net");
        let before = ifconfig(&rig, link);
        let (v4, v6) = ("10.5.0.2", "fd00:5::2");
        assert!(!before.contains(&format!("{v4}/32")), "stopped: {before}");
        rig.start("web");
        let shown = ifconfig(&rig, link);
        assert!(has_line(&shown, &format!("inet {v4}/32")), "{kind}: {shown}");
        assert!(has_line(&shown, &format!("inet6 {v6}/128")), "{kind}: {shown}");
        assert_eq!(used(&rig, &id), format!("ip4.addr={v4} ip6.addr={v6}"));
        // The word for addresses at once is taken back from what is not ours.
        assert_eq!(shown.contains("NO_DAD"), kind != NetworkType::Custom, "{shown}");
        rig.stop("web");
        assert!(!rig.has_jail(kleene_model::ContainerId::parse(&id).expect("an id")));
        let after = ifconfig(&rig, link);
        assert!(
            !after.contains(&format!("inet {v4}/")) && !after.contains(&format!("{v6}/")),
            "{kind}: {after}"
        );
        // Its reservation stays.
        rig.start("web");
        assert!(has_line(&ifconfig(&rig, link), &format!("inet {v4}/32")));
    }
}

#[test]
fn ipnet_is_connected_and_disconnected_live() {
    let mut rig = Rig::new();
    rig.network("one", NetworkType::Loopback, 1);
    rig.network("two", NetworkType::Bridge, 2);
    let id = rig.container("web", Driver::Ipnet, &[]).to_string();
    rig.connect("web", "one");
    rig.start("web");
    rig.connect("web", "two");
    assert_eq!(used(&rig, &id), "ip4.addr=10.1.0.2,10.2.0.2 ip6.addr=fd00:1::2,fd00:2::2");
    assert!(has_line(&ifconfig(&rig, "kleene1"), "inet 10.2.0.2/32"));
    rig.ok(disconnect("web", "one"));
    assert_eq!(used(&rig, &id), "ip4.addr=10.2.0.2 ip6.addr=fd00:2::2");
    assert!(!ifconfig(&rig, "kleene0").contains("10.1.0.2"));
    rig.ok(disconnect("web", "two"));
    assert_eq!(used(&rig, &id), "ip4.addr= ip6.addr=");
    rig.connect("web", "one");
    assert_eq!(used(&rig, &id), "ip4.addr=10.1.0.2 ip6.addr=fd00:1::2");
}

#[test]
fn vnet_has_a_cable_into_the_bridge_and_its_addresses_inside() {
    let mut rig = Rig::new();
    rig.network("br", NetworkType::Bridge, 2);
    let id = rig.container("web", Driver::Vnet, &[]).to_string();
    rig.connect("web", "br");
    rig.start("web");
    let outer = ifconfig(&rig, "epair0a");
    assert!(outer.starts_with("epair0a: flags=8963<UP,"), "{outer}");
    assert!(outer.contains("description: kleene:main:endpoint:"), "{outer}");
    assert!(has_line(&outer, &format!("groups: epair k{id}_ kleene kleene_cab")), "{outer}");
    assert!(has_line(&ifconfig(&rig, "kleene0"), "member: epair0a "));
    // It has the same MAC address at each start.
    let ether = |text: &str| -> Option<String> {
        let line = text.lines().find(|line| line.trim().starts_with("ether "))?;
        Some(line.trim().to_owned())
    };
    let (outside, inside) =
        (ether(&outer), ether(&rig.shown("jexec", &[&id, "/sbin/ifconfig", "epair0b"])));
    assert!(outside.is_some() && inside.is_some() && outside != inside);
    let inner = rig.shown("jexec", &[&id, "/sbin/ifconfig"]);
    assert!(has_line(&inner, "inet 10.2.0.2 netmask 0xffffff00"), "{inner}");
    assert!(has_line(&inner, "inet6 fd00:2::2 prefixlen 64"), "{inner}");
    assert!(has_line(&inner, "inet 127.0.0.1 netmask 0xff000000"), "{inner}");
    let routes = rig.shown("jexec", &[&id, "/usr/bin/netstat", "-rn"]);
    assert!(has_line(&routes, "default            10.2.0.1"), "{routes}");
    assert!(has_line(&routes, "default                           fd00:2::1"), "{routes}");
    rig.stop("web");
    assert_eq!(rig.shown("ifconfig", &["-l"]), "lo0 pflog0 pfsync0 em0 kleene0\n");
    // A jail that still owns connections keeps its end of the cable for a minute, but
    // not the cable.
    rig.start("web");
    rig.system.hold_connections(&id, 1);
    rig.stop("web");
    assert_eq!(rig.shown("ifconfig", &["-l"]), "lo0 pflog0 pfsync0 em0 kleene0\n");
    rig.start("web");
    assert!(has_line(&ifconfig(&rig, "kleene0"), "member: epair0a "));
}

#[test]
fn vnet_is_connected_and_disconnected_live() {
    let mut rig = Rig::new();
    rig.network("one", NetworkType::Bridge, 1);
    rig.network("two", NetworkType::Bridge, 2);
    let id = rig.container("web", Driver::Vnet, &[]).to_string();
    rig.connect("web", "one");
    rig.start("web");
    rig.connect("web", "two");
    let inner = rig.shown("jexec", &[&id, "/sbin/ifconfig"]);
    assert!(has_line(&inner, "inet 10.2.0.2 netmask"), "{inner}");
    let default = |rig: &Rig| {
        let routes = rig.shown("jexec", &[&id, "/usr/bin/netstat", "-rn", "-f", "inet"]);
        let line = routes.lines().find(|line| line.starts_with("default"));
        line.and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned)
    };
    assert_eq!(default(&rig).as_deref(), Some("10.1.0.1"));
    rig.ok(disconnect("web", "one"));
    assert_eq!(default(&rig).as_deref(), Some("10.2.0.1"), "another network carries it now");
    assert_eq!(rig.shown("ifconfig", &["-g", "kleene_cab"]), "epair1a\n");
}

#[test]
fn host_and_disabled_have_no_address_and_join_nothing() {
    let mut rig = Rig::new();
    rig.network("net", NetworkType::Bridge, 1);
    for (name, driver) in [("host", Driver::Host), ("off", Driver::Disabled)] {
        rig.container(name, driver, &[]);
        let refused = rig.refused(crate::rig::connect(name, "net"));
        assert_eq!(
            refused,
            format!(
                "containers with the '{}' network-driver cannot connect to networks.",
                if driver == Driver::Host { "host" } else { "disabled" }
            )
        );
        let before = rig.shown("ifconfig", &["-a"]);
        rig.start(name);
        assert_eq!(rig.shown("ifconfig", &["-a"]), before);
        rig.stop(name);
    }
    rig.container("web", Driver::Vnet, &[]);
    rig.connect("web", "net");
}

#[test]
fn interfaces_of_the_host_are_linked_into_a_bridge() {
    let mut rig = Rig::new();
    rig.system.add_nic("em1", "00:1b:21:00:00:02");
    rig.network("br", NetworkType::Bridge, 1);
    let (network, interface) = ("br".to_owned(), "em1".to_owned());
    rig.ok(Command::NetworkLink { network, interface, force: false });
    assert!(has_line(&ifconfig(&rig, "kleene0"), "member: em1 "));
    // It comes back after it was away.
    rig.system.pull_out("em1");
    rig.event(anything());
    rig.system.add_nic("em1", "00:1b:21:00:00:02");
    rig.event(anything());
    assert!(has_line(&ifconfig(&rig, "kleene0"), "member: em1 "));
    let (network, interface) = ("br".to_owned(), "em1".to_owned());
    rig.ok(Command::NetworkUnlink { network, interface });
    assert!(!ifconfig(&rig, "kleene0").contains("em1"));
}

pub(crate) fn anything() -> kleene_engine::Event {
    kleene_engine::Event::Disturbed { disturbances: vec![kleene_engine::Disturbance::Anything] }
}

#[test]
fn more_members_than_ifconfig_lists_stay_plugged() {
    let mut rig = Rig::new();
    rig.network("br", NetworkType::Bridge, 1);
    for n in 0..110 {
        let name = format!("c{n}");
        rig.container(&name, Driver::Vnet, &[]);
        rig.connect(&name, "br");
        rig.start(&name);
    }
    let listed = ifconfig(&rig, "kleene0").matches("member: ").count();
    assert_eq!(listed, 102, "the system lists no more");
    rig.event(anything());
    assert_eq!((&rig.mended, &rig.degraded), (&Vec::new(), &Vec::new()));
    // Another daemon, which has not put them in, finds them there.
    rig.restart();
    rig.event(anything());
    assert_eq!(rig.degraded, Vec::<String>::new());
}

#[test]
fn settings_are_changed_while_they_are_needed() {
    let mut rig = Rig::new();
    let of = |rig: &Rig, name: &str| rig.shown("sysctl", &["-n", name]).trim().to_owned();
    let all = |rig: &Rig| {
        [
            "net.inet.ip.forwarding",
            "net.inet6.ip6.forwarding",
            "net.link.bridge.pfil_member",
            "net.link.bridge.pfil_local_phys",
            "net.link.bridge.pfil_bridge",
        ]
        .map(|name| of(rig, name))
        .join(" ")
    };
    assert_eq!(all(&rig), "0 0 1 0 1", "as a system comes up");
    rig.network("lo", NetworkType::Loopback, 1);
    rig.network("br", NetworkType::Bridge, 2);
    rig.container("aa", Driver::Ipnet, &[]);
    rig.connect("aa", "lo");
    rig.container("bb", Driver::Vnet, &[]);
    rig.connect("bb", "br");
    assert_eq!(all(&rig), "0 0 1 0 1", "nobody runs yet");
    rig.start("aa");
    assert_eq!(all(&rig), "0 0 1 0 1", "its addresses are the host's own");
    rig.start("bb");
    assert_eq!(all(&rig), "1 1 1 1 0");
    rig.stop("bb");
    rig.stop("aa");
    assert_eq!(all(&rig), "0 0 1 0 1", "they are put back");
}
