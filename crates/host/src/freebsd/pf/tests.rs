//! Whole texts of topologies, and what no name may do to them.

mod properties;
mod world;

use kleene_model::{ContainerId, Driver, Dual, LinkName, Nat, NetworkType, Protocol};

use super::{MAIN, PfError, Ruleset, Unsupported, check_link, constant, ruleset, stale_labels};
use world::{World, port};

fn shown(ruleset: &Ruleset) -> String {
    let tables = ruleset.tables.iter().map(|table| {
        let addresses = table.addresses.iter().map(|addr| format!(" {addr}"));
        format!("table <{}>:{}\n", table.name, addresses.collect::<String>())
    });
    // The constant ones have a page of their own.
    let constant = constant();
    let anchors = ruleset.anchors.iter().filter(|anchor| !constant.contains(anchor));
    let anchors = anchors.map(|anchor| format!("\n-- {}\n{}", anchor.name, anchor.text));
    tables.chain(anchors).collect()
}

fn golden(name: &str, expected: &str, is: &str) {
    assert!(is == expected, "golden/{name} differs; it is now:\n{is}");
}

#[test]
fn the_order_is_constant() {
    let texts = constant().map(|anchor| format!("\n-- {}\n{}", anchor.name, anchor.text));
    let is = format!("-- the main ruleset\n{MAIN}{}", texts.concat());
    golden("constant.txt", include_str!("golden/constant.txt"), &is);
}

/// The networks and containers at which FreeBSD 13.2 was tried with every flow.
#[test]
fn five_networks_at_once() {
    let mut world = World::new();
    world.near("a00000000000", NetworkType::Loopback, "kleene0", "");
    world.near("b00000000000", NetworkType::Loopback, "kleene1", "10.9.9.254 fd00:9:9::fe");
    world.net("b00000000000").internal = true;
    world.names("b00000000000");
    world.near("c00000000000", NetworkType::Bridge, "kleene2", "10.4.6.1 fd00:4:6::1");
    world.net("c00000000000").icc = false;
    world.near("d00000000000", NetworkType::Bridge, "kleene3", "10.5.5.1 fd00:5:5::1");
    world.net("d00000000000").nat = Nat::Interface(world::link("epair9a"));
    world.near("e00000000000", NetworkType::Custom, "epair9a", "192.0.2.1 2001:db8:9::1");
    let (ipnet, vnet) = (Driver::Ipnet, Driver::Vnet);
    for (container, network, driver, addresses) in [
        ("a00000000001", "a00000000000", ipnet, "10.2.3.1 fd00:2:3::1"),
        ("a00000000002", "a00000000000", ipnet, "10.2.3.2 fd00:2:3::2"),
        ("b00000000001", "b00000000000", ipnet, "10.9.9.1 fd00:9:9::1"),
        ("b00000000002", "b00000000000", ipnet, "10.9.9.2 fd00:9:9::2"),
        ("c00000000001", "c00000000000", vnet, "10.4.6.2 fd00:4:6::2"),
        ("c00000000002", "c00000000000", vnet, "10.4.6.3 fd00:4:6::3"),
        ("c00000000003", "c00000000000", ipnet, "10.4.6.4 fd00:4:6::4"),
        ("c00000000004", "c00000000000", ipnet, "10.4.6.5 fd00:4:6::5"),
        ("d00000000001", "d00000000000", vnet, "10.5.5.2 fd00:5:5::2"),
        ("d00000000002", "d00000000000", vnet, "10.5.5.3 fd00:5:5::3"),
        ("d00000000003", "d00000000000", ipnet, "10.5.5.4 fd00:5:5::4"),
        ("e00000000001", "e00000000000", ipnet, "192.0.2.50 2001:db8:9::50"),
    ] {
        world.join(container, network, driver, addresses);
    }
    for (container, host) in [
        ("a00000000001", 8081),
        ("b00000000001", 8082),
        ("c00000000001", 8080),
        ("c00000000004", 8083),
        ("e00000000001", 8084),
    ] {
        let ports =
            Protocol::BOTH.map(|protocol| port(&["epair9a"], protocol, (host, host), (80, 80)));
        world.publish(container, ports.to_vec());
    }
    golden("five.txt", include_str!("golden/five.txt"), &shown(&world.ruleset()));
}

#[test]
fn where_traffic_gets_another_source() {
    let mut world = World::new();
    // Each family has an uplink of its own, the third interface no IPv6 address.
    world.policy.host.uplink.v6 = Some(world::link("em1"));
    world.near("a00000000000", NetworkType::Bridge, "kleene0", "10.0.1.1 fd00:1::1");
    world.net("a00000000000").nat = Nat::HostGateway;
    world.near("b00000000000", NetworkType::Loopback, "kleene1", "10.0.2.1 fd00:2::1");
    world.net("b00000000000").nat = Nat::Interface(world::link("em2"));
    world.near("c00000000000", NetworkType::Custom, "em0", "192.0.2.1");
    world.net("c00000000000").nat = Nat::Interface(world::link("em0"));
    world.near("d00000000000", NetworkType::Bridge, "kleene3", "10.0.4.1 fd00:4::1");
    world.net("d00000000000").icc = false;
    world.net("d00000000000").nat = Nat::HostGateway;
    world.near("e00000000000", NetworkType::Bridge, "kleene4", "10.0.5.1 fd00:5::1");
    golden("nat.txt", include_str!("golden/nat.txt"), &shown(&world.ruleset()));
    world.policy.host.uplink = Dual::default();
    golden("nat_nowhere.txt", include_str!("golden/nat_nowhere.txt"), &shown(&world.ruleset()));
}

#[test]
fn internal_networks() {
    let mut world = World::new();
    for (id, kind, interface, near, icc) in [
        ("a00000000000", NetworkType::Bridge, "kleene0", "10.0.1.1 fd00:1::1", true),
        ("b00000000000", NetworkType::Bridge, "kleene1", "10.0.2.1 fd00:2::1", false),
        ("c00000000000", NetworkType::Loopback, "kleene2", "fd00:3::1", false),
        ("d00000000000", NetworkType::Custom, "em1", "10.0.4.1", true),
    ] {
        world.near(id, kind, interface, near);
        let net = world.net(id);
        (net.icc, net.internal, net.nat) = (icc, true, Nat::HostGateway);
    }
    world.names("a00000000000");
    world.names("c00000000000");
    world.join("a00000000001", "a00000000000", Driver::Vnet, "10.0.1.2 fd00:1::2");
    world.join("c00000000001", "c00000000000", Driver::Ipnet, "fd00:3::2");
    golden("internal.txt", include_str!("golden/internal.txt"), &shown(&world.ruleset()));
}

#[test]
fn published_ports() {
    let mut world = World::new();
    world.policy.host.uplink.v6 = None;
    world.near("a00000000000", NetworkType::Bridge, "kleene0", "10.0.1.1 fd00:1::1");
    world.near("b00000000000", NetworkType::Loopback, "kleene1", "");
    // Two networks of one container; what it publishes is in the first.
    world.join("a00000000001", "a00000000000", Driver::Ipnet, "10.0.1.2 fd00:1::2");
    world.join("a00000000001", "b00000000000", Driver::Ipnet, "10.0.2.2");
    world.join("a00000000002", "a00000000000", Driver::Vnet, "10.0.1.3 fd00:1::3");
    world.join("a00000000003", "a00000000000", Driver::Vnet, "10.0.1.4");
    world.join("b00000000001", "b00000000000", Driver::Ipnet, "10.0.2.3 fd00:2::3");
    let tcp = Protocol::Tcp;
    // The same ports on other interfaces: the first has those that come in by none.
    world.publish(
        "b00000000001",
        vec![
            port(&["em1"], tcp, (8000, 8003), (9000, 9003)),
            port(&["em0", "em1"], Protocol::Udp, (5000, 5009), (53, 53)),
        ],
    );
    world.publish("a00000000001", vec![port(&[], tcp, (8001, 8005), (7001, 7005))]);
    world.publish(
        "a00000000002",
        vec![
            port(&[], tcp, (8002, 8004), (80, 80)),
            port(&["em0"], Protocol::Udp, (6000, 6001), (6000, 6001)),
        ],
    );
    world.publish("a00000000003", vec![port(&["em0", "em2"], tcp, (443, 443), (8443, 8443))]);
    golden("ports.txt", include_str!("golden/ports.txt"), &shown(&world.ruleset()));
}

/// On a bridge where the host has no address there is no source to give.
#[test]
fn a_bridge_without_the_host() {
    let mut world = World::new();
    world.near("a00000000000", NetworkType::Bridge, "kleene0", "");
    world.join("a00000000001", "a00000000000", Driver::Vnet, "10.0.1.2");
    world.publish("a00000000001", vec![port(&[], Protocol::Tcp, (80, 80), (80, 80))]);
    let texts: String = world.ruleset().anchors.into_iter().map(|anchor| anchor.text).collect();
    assert!(texts.contains("rdr on lo0 ") && !texts.contains("nat on "), "{texts}");
}

#[test]
fn labels_whose_states_go_with_a_port() {
    let container = ContainerId::parse("a00000000001").unwrap();
    let tcp = Protocol::Tcp;
    let range = port(&[], tcp, (9000, 9010), (9000, 9010));
    let one = port(&[], tcp, (80, 80), (9005, 9005));
    let others =
        [port(&[], tcp, (81, 81), (9011, 9011)), port(&[], Protocol::Udp, (80, 80), (9005, 9005))];
    let published = [&[range], &others[..]].concat();
    let labels: Vec<String> = stale_labels(container, &published, &one).into_iter().collect();
    assert_eq!(
        labels,
        ["kleene:pub:a00000000001:tcp:9000:9010", "kleene:pub:a00000000001:tcp:9005"]
    );
}

#[test]
fn no_name_of_an_interface_leaves_its_place() {
    for plain in ["em0", "kleene12", "epair9a", "em0.100", "vm-public", "out", "any", "9", "-x"] {
        assert_eq!(check_link(&world::link(plain)), Ok(()), "{plain}");
    }
    for odd in [
        "\"",
        "a\"b",
        "a'b",
        "#",
        "a#b",
        "{",
        "a}b",
        "$ext",
        "a\\",
        "<a>",
        "a,b",
        "(em0)",
        "!em0",
        "a=b",
        "a*",
        "a|b",
        "a`b",
        "a;b",
        "em0[",
        "é",
        "a\u{200b}b",
        "eth0@if3",
        "a&b",
        "a%b",
    ] {
        let link = world::link(odd);
        let refused = PfError::Interface(link.clone());
        assert_eq!(check_link(&link), Err(refused.clone()), "{odd}");
        assert!(refused.to_string().starts_with("unsupported: pf cannot hold"), "{refused}");
        for world in odd_places(&link) {
            assert_eq!(ruleset(&world.policy, &world.facts), Err(refused.clone()), "{odd}");
        }
    }
    for group in ["all", "lo", "bridge", "epair", "kleene", "kleene_net", "kleene_cab"] {
        let link = world::link(group);
        for world in odd_places(&link) {
            let refused = Err(PfError::Group(link.clone()));
            assert_eq!(ruleset(&world.policy, &world.facts), refused, "{group}");
        }
    }
}

/// A link at each place where a text has one.
fn odd_places(link: &LinkName) -> [World; 5] {
    [0, 1, 2, 3, 4].map(|place| {
        let mut world = World::new();
        world.near("a00000000000", NetworkType::Bridge, "kleene0", "10.0.1.1");
        world.join("a00000000001", "a00000000000", Driver::Vnet, "10.0.1.2");
        world.publish("a00000000001", vec![port(&[], Protocol::Tcp, (80, 80), (80, 80))]);
        match place {
            0 => world.net("a00000000000").interface = link.clone(),
            1 => world.net("a00000000000").nat = Nat::Interface(link.clone()),
            2 => world.policy.host.uplink.v4 = Some(link.clone()),
            3 => world.facts.cables[0].link = link.clone(),
            _ => {
                world.policy.publications[0].ports =
                    vec![port(&[link.as_str()], Protocol::Tcp, (80, 80), (80, 80))];
            }
        }
        world
    })
}

#[test]
fn a_policy_that_contradicts_itself_has_no_text() {
    let base = || {
        let mut world = World::new();
        world.near("a00000000000", NetworkType::Bridge, "kleene0", "10.0.1.1");
        world.join("a00000000001", "a00000000000", Driver::Vnet, "10.0.1.2");
        world.publish("a00000000001", vec![port(&[], Protocol::Tcp, (80, 80), (80, 80))]);
        world
    };
    let addr = "10.0.1.2".parse().unwrap();
    let error = |world: World| ruleset(&world.policy, &world.facts).expect_err("contradicts");
    let mut gone = base();
    gone.policy.members.clear();
    assert_eq!(error(gone), PfError::NoEndpoint(addr));
    let mut others = base();
    others.policy.publications[0].container = ContainerId::parse("b00000000001").unwrap();
    assert_eq!(error(others), PfError::NoEndpoint(addr));
    let mut lost = base();
    let network = lost.net("a00000000000").id;
    lost.policy.networks.clear();
    assert_eq!(error(lost), PfError::NoNetwork(network));
    let mut cable = base();
    cable.policy.networks.clear();
    cable.policy.members.clear();
    cable.policy.publications.clear();
    cable.facts.cables[0].link_local.clear();
    assert_eq!(error(cable), PfError::NoNetwork(network));
    let mut elsewhere = base();
    elsewhere.net("a00000000000").kind = NetworkType::Loopback;
    assert_eq!(error(elsewhere), PfError::NoBridge { addr, kind: NetworkType::Loopback });
}

#[test]
fn what_pf_cannot_hold_has_names() {
    let texts = Unsupported::ALL.map(|what| (what.rule(), what.to_string()));
    assert_eq!(texts.iter().filter(|(rule, _)| *rule == Some(16)).count(), 1);
    assert_eq!(texts.iter().filter(|(rule, _)| *rule == Some(14)).count(), 2);
    assert!(texts.iter().all(|(_, text)| !text.is_empty()));
}
