//! `ipnet` containers: what their addresses stand on, and that nothing of it is
//! left or half made.

use std::collections::BTreeSet;

use kleene_engine::fake::{Kernel, Kind, Rig, Standing, Times};
use kleene_engine::inside::Inside;
use kleene_engine::piece::{Of, Piece};
use kleene_engine::{Command, Outcome, view};
use kleene_model::{ContainerId, Driver, LinkName, NetworkType};

use crate::crashes::at_every_step;
use crate::faults::each_refused;
use crate::lives::{add_nic, link, with_nic};

/// Makes a network of both families.
fn network(rig: &mut Rig, kind: NetworkType, name: &str, third: u8) {
    let mut config = Rig::bridge_config(name, &format!("10.5.{third}.0/24"));
    config.kind = kind;
    config.subnet6 = format!("fd05:{third:x}::/64");
    if kind == NetworkType::Custom {
        config.interface = "eth0".into();
    }
    rig.ok(Command::NetworkCreate(config));
}

pub(crate) fn connect(container: &str, network: &str) -> Command {
    let mut config = Rig::endpoint_config(container, network, "<auto>");
    config.ip_address6 = "<auto>".into();
    Command::NetworkConnect(config)
}

fn disconnect(network: &str, container: &str) -> Command {
    Command::NetworkDisconnect { network: network.into(), container: container.into() }
}

fn stop(container: &str) -> Command {
    Command::ContainerStop { container: container.into(), grace_ms: 0 }
}

/// A host with one network of each type, and a stopped `ipnet` container.
pub(crate) fn host() -> Rig {
    let mut rig = Rig::new();
    rig.host.kernel(add_nic);
    network(&mut rig, NetworkType::Loopback, "inner", 0);
    network(&mut rig, NetworkType::Bridge, "web", 1);
    network(&mut rig, NetworkType::Custom, "lan", 2);
    rig.container_of("site", Driver::Ipnet);
    rig
}

pub(crate) fn running_on(networks: &[&str]) -> Rig {
    let mut rig = host();
    for name in networks {
        rig.ok(connect("site", name));
    }
    rig.run("site", &["serve"]);
    rig
}

fn of_containers(mut standing: Standing) -> Standing {
    standing.policy.retain(|piece| match piece.of() {
        Of::Address(_) | Of::Cable(_) | Of::Container(_) => true,
        Of::Network(_) | Of::Subnet(_) | Of::Host => false,
    });
    standing
}

/// What stands for containers; that of networks stands as long as they do.
fn standing(rig: &Rig) -> Standing {
    of_containers(rig.host.snapshot().standing)
}

fn site(rig: &Rig) -> ContainerId {
    rig.state().container_named("site").expect("site").id
}

fn inside(rig: &Rig) -> BTreeSet<String> {
    let id = site(rig);
    let seen = rig.host.kernel(|kernel| kernel.inside(id)).expect("a view");
    let mirrors = |inside: &Inside| matches!(inside, Inside::Mirror { .. });
    seen.into_iter().filter(|inside| !mirrors(inside)).map(|inside| inside.to_string()).collect()
}

fn texts(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_guards_stand_before_the_address_and_go_after_it() {
    let mut rig = Rig::new();
    network(&mut rig, NetworkType::Bridge, "web", 1);
    let mut config = Rig::endpoint_config("site", "web", "<auto>");
    config.ip_address6 = String::new();
    let id = rig.container_of("site", Driver::Ipnet);
    rig.ok(Command::NetworkConnect(config));
    let before = rig.host.snapshot();
    rig.host.take_applied();
    rig.run("site", &["serve"]);
    let view = format!("in the view of container {id}");
    assert_eq!(
        rig.host.take_applied(),
        [
            format!("make cable epair0a, its end kleene0 in container {id}").as_str(),
            "check the sources of epair0a",
            "bring epair0a up",
            &format!("bring kleene0 up {view}"),
            &format!("meet the host over kleene0 (IPv4) {view}"),
            &format!("add address 10.5.1.2 to kleene0 {view}"),
            &format!("route 0.0.0.0/0 over kleene0 from 10.5.1.2 {view}"),
            &format!("route 10.5.1.0/24 over kleene0 from 10.5.1.2 {view}"),
            "guard address 10.5.1.2",
            "admit source 10.5.1.2 from epair0a",
            "make 10.5.1.2 unreachable without its cable",
            "lead 10.5.1.2 into epair0a, from 10.5.1.1",
            "show address 10.5.1.2 on kleene0",
            "answer for 10.5.1.2 on kleene0",
        ]
    );
    rig.check();
    let shown = view::container_inspect(&rig.state(), "site").expect("it is there");
    assert_eq!(shown.container_endpoints[0].epair, None);
    rig.ok(stop("site"));
    rig.settle();
    assert_eq!(
        rig.host.take_applied(),
        [
            "undo: answer for 10.5.1.2 on kleene0",
            "undo: show address 10.5.1.2 on kleene0",
            "undo: lead 10.5.1.2 into epair0a, from 10.5.1.1",
            "undo: make 10.5.1.2 unreachable without its cable",
            "undo: admit source 10.5.1.2 from epair0a",
            "undo: guard address 10.5.1.2",
            "unplug cable epair0a",
            "undo: check the sources of epair0a",
            "forget the flows of 10.5.1.2",
        ]
    );
    rig.check();
    assert_eq!(rig.host.snapshot(), before);
}

#[test]
fn each_type_of_network_shows_the_address_in_its_own_way() {
    for (name, interface, answers) in
        [("inner", "kleene0", false), ("web", "kleene1", true), ("lan", "eth0", true)]
    {
        let mut rig = running_on(&[name]);
        rig.check();
        let standing = standing(&rig);
        let shown: BTreeSet<LinkName> = standing.shown.iter().map(|(l, _)| l.clone()).collect();
        assert_eq!(shown, BTreeSet::from([link(interface)]), "{name}");
        assert_eq!(standing.shown.len(), 2, "{name}: both families");
        assert_eq!(standing.answered.len(), if answers { 2 } else { 0 }, "{name}");
        let guards = standing.policy.iter().filter(|p| matches!(p, Piece::Guard { .. }));
        assert_eq!(guards.count(), 2);
        let state = rig.state();
        let cable = state.container(site(&rig)).and_then(|c| c.cable.clone()).expect("a cable");
        assert_eq!(cable.inner, link(interface), "{name}: it stands in the interface's place");
        rig.ok(stop("site"));
        rig.settle();
        rig.check();
        assert_eq!(self::standing(&rig), Standing::default(), "{name}");
    }
}

#[test]
fn a_second_network_shares_the_cable_and_the_first_one_keeps_the_default_route() {
    let mut rig = running_on(&["web"]);
    rig.ok(connect("site", "inner"));
    rig.check();
    assert_eq!(
        inside(&rig),
        texts(&[
            "bring kleene1 up",
            "meet the host over kleene1 (IPv4)",
            "meet the host over kleene1 (IPv6)",
            "answer over UDP from the address that was asked",
            "add address 10.5.0.2 to kleene0",
            "add address 10.5.1.2 to kleene1",
            "add address fd05::2 to kleene0",
            "add address fd05:1::2 to kleene1",
            "route 0.0.0.0/0 over kleene1 from 10.5.1.2, mtu 1500",
            "route 10.5.0.0/24 over kleene1 from 10.5.0.2",
            "route 10.5.1.0/24 over kleene1 from 10.5.1.2",
            "route 192.168.1.5/32 over kleene1 from 10.5.1.2",
            "route ::/0 over kleene1 from fd05:1::2",
            "route fd05::/64 over kleene1 from fd05::2",
            "route fd05:1::/64 over kleene1 from fd05:1::2",
        ])
    );
    // The first network goes: the cable is renamed, and the other one carries
    // the default route from now on.
    rig.ok(disconnect("web", "site"));
    rig.check();
    assert_eq!(
        inside(&rig),
        texts(&[
            "bring epair0b up",
            "meet the host over epair0b (IPv4)",
            "meet the host over epair0b (IPv6)",
            "answer over UDP from the address that was asked",
            "add address 10.5.0.2 to epair0b",
            "add address 10.5.0.2 to kleene0",
            "add address fd05::2 to epair0b",
            "add address fd05::2 to kleene0",
            "route 0.0.0.0/0 over epair0b from 10.5.0.2, mtu 1500",
            "route 10.5.0.0/24 over epair0b from 10.5.0.2",
            "route 192.168.1.5/32 over epair0b from 10.5.0.2",
            "route ::/0 over epair0b from fd05::2",
            "route fd05::/64 over epair0b from fd05::2",
        ])
    );
    rig.ok(disconnect("inner", "site"));
    rig.check();
    assert_eq!(standing(&rig), Standing::default());
    assert_eq!(rig.state().container(site(&rig)).and_then(|c| c.cable.clone()), None);
    // Live again, from nothing: the view shows the interface already.
    rig.ok(connect("site", "web"));
    rig.check();
    assert!(inside(&rig).contains("add address 10.5.1.2 to kleene1"), "{:?}", inside(&rig));
    assert!(inside(&rig).iter().any(|text| text.starts_with("bring epair")), "{:?}", inside(&rig));
}

#[test]
fn a_moved_default_route_is_never_missing_in_between() {
    let mut rig = running_on(&["web", "inner"]);
    rig.host.take_applied();
    rig.ok(disconnect("web", "site"));
    let applied = rig.host.take_applied();
    let at = |words: &str| {
        let found = applied.iter().position(|sentence| sentence.starts_with(words));
        found.unwrap_or_else(|| panic!("no '{words}' in {applied:#?}"))
    };
    assert!(at("route 0.0.0.0/0 over") < at("undo: add address 10.5.1.2 to epair0b"));
    assert!(!applied.iter().any(|s| s.starts_with("undo: route 0.0.0.0/0")), "{applied:#?}");
}

#[test]
fn a_custom_interface_gets_its_settings_back() {
    let mut rig = host();
    let settings = |rig: &Rig| rig.host.snapshot().settings;
    let names = ["all/inet6/proxy", "eth0/inet/forwarding", "eth0/inet6/forwarding"];
    let open = names.map(|name| (name.to_owned(), "1".to_owned()));
    let (open, as_before) =
        (std::collections::BTreeMap::from(open), std::collections::BTreeMap::new());
    rig.ok(connect("site", "lan"));
    assert!(settings(&rig).is_empty(), "nothing changes before it is needed");
    rig.run("site", &["serve"]);
    assert_eq!(settings(&rig), open);
    rig.ok(stop("site"));
    rig.settle();
    assert_eq!(settings(&rig), as_before);
    rig.check();
    let stored = rig.state().network_named("lan").expect("lan").borrowed.clone();
    assert!(stored.is_empty(), "{stored:?}");
    // Removing the network of a running container gives them back, too.
    rig.run("site", &["serve"]);
    assert_eq!(settings(&rig), open);
    rig.ok(Command::NetworkRemove { network: "lan".into() });
    assert_eq!(settings(&rig), as_before);
    rig.check();
    assert_eq!(standing(&rig), Standing::default());
}

#[test]
fn addresses_of_the_host_and_of_neighbours_are_left_alone() {
    let mut rig = Rig::new();
    with_nic(&rig);
    let mut config = Rig::bridge_config("lan", "192.168.1.0/24");
    config.kind = NetworkType::Custom;
    config.interface = "eth0".into();
    rig.ok(Command::NetworkCreate(config));
    let neighbours = [1, 2].map(|n| format!("192.168.1.{n}").parse().expect("address"));
    rig.host.kernel(|kernel| {
        kernel.neighbours.insert(link("eth0"), neighbours.into_iter().collect());
    });
    let site = rig.container_of("site", Driver::Ipnet);
    for taken in ["192.168.1.5", "192.168.1.2"] {
        let asked = Command::NetworkConnect(Rig::endpoint_config("site", "lan", taken));
        assert_eq!(
            rig.refused(asked).to_string(),
            format!("{taken} is not free: it is used by the host or a neighbour on eth0")
        );
    }
    rig.connect("site", "lan");
    let given = rig.state().endpoints_of(site).next().expect("an endpoint").address.v4;
    // .1 would be the gateway's, .2 is a neighbour's.
    assert_eq!(given.map(|addr| addr.to_string()).as_deref(), Some("192.168.1.3"));
    // A neighbour that has gone is no neighbour.
    rig.host.kernel(|kernel| kernel.neighbours.clear());
    rig.container_of("other", Driver::Ipnet);
    rig.connect("other", "lan");
    let other = rig.state().container_named("other").expect("other").id;
    let given = rig.state().endpoints_of(other).next().expect("an endpoint").address.v4;
    assert_eq!(given.map(|addr| addr.to_string()).as_deref(), Some("192.168.1.2"));
}

#[test]
fn an_address_that_somebody_has_set_is_not_taken_over() {
    let mut rig = host();
    rig.ok(connect("site", "lan"));
    let own = "10.5.2.2/32".parse().expect("net");
    rig.host.kernel(|kernel| kernel.add_address(&link("eth0"), own)).expect("added");
    let exec = rig.exec("site", &["serve"]);
    let text = rig.refused(Rig::start_command(exec)).to_string();
    assert!(text.contains("show address 10.5.2.2 on eth0: File exists"), "{text}");
    rig.settle();
    assert!(rig.host.snapshot().links[&link("eth0")].addresses.contains(&own), "left alone");
    rig.host.kernel(|kernel| kernel.remove_address(&link("eth0"), own)).expect("removed");
    rig.run("site", &["serve"]);
    rig.check();
}

#[test]
fn every_step_refused() {
    let start = |rig: &mut Rig| {
        let exec = rig.exec("site", &["serve"]);
        Rig::start_command(exec)
    };
    let connected = || {
        let mut rig = host();
        for name in ["web", "inner", "lan"] {
            rig.ok(connect("site", name));
        }
        rig
    };
    each_refused(&connected, &start, 40);
    each_refused(&|| running_on(&[]), &|_| connect("site", "web"), 15);
    each_refused(&|| running_on(&["inner"]), &|_| connect("site", "lan"), 12);
    each_refused(&|| running_on(&["web", "inner"]), &|_| disconnect("web", "site"), 12);
    each_refused(&|| running_on(&["lan"]), &|_| disconnect("lan", "site"), 12);
    let remove = |_: &mut Rig| Command::NetworkRemove { network: "web".into() };
    each_refused(&|| running_on(&["web", "inner"]), &remove, 12);
}

#[test]
fn the_daemon_dies_at_every_step() {
    let ask = |rig: &mut Rig, command: Command| drop(rig.ask(command));
    let alive = |rig: &mut Rig| {
        ask(rig, stop("site"));
        rig.run("site", &["serve"]);
    };
    at_every_step(&|| running_on(&["web"]), &|rig| ask(rig, connect("site", "lan")), &alive);
    at_every_step(
        &|| running_on(&["web", "lan"]),
        &|rig| ask(rig, disconnect("web", "site")),
        &alive,
    );
    at_every_step(&|| running_on(&["lan"]), &|rig| ask(rig, disconnect("lan", "site")), &alive);
    let start = |rig: &mut Rig| {
        let exec = rig.exec("site", &["serve"]);
        rig.send(Rig::start_command(exec));
        rig.settle();
    };
    let connected = || {
        let mut rig = host();
        rig.ok(connect("site", "lan"));
        rig.ok(connect("site", "web"));
        rig
    };
    at_every_step(&connected, &start, &alive);
    let whole = |rig: &mut Rig| {
        start(rig);
        ask(rig, stop("site"));
        rig.settle();
    };
    at_every_step(&connected, &whole, &|rig| {
        alive(rig);
        ask(rig, stop("site"));
        let kernel: Kernel = rig.host.snapshot();
        assert_eq!(of_containers(kernel.standing), Standing::default());
        assert!(kernel.settings.is_empty(), "{:?}", kernel.settings);
    });
}

#[test]
fn views_without_networks_hold_nothing() {
    for driver in [Driver::Ipnet, Driver::Disabled] {
        let mut rig = Rig::new();
        let before = with_nic(&rig);
        let id = rig.container_of("tool", driver);
        rig.run("tool", &["serve"]);
        rig.check();
        assert!(rig.host.snapshot().namespaces.contains_key(&id), "{driver} has a view");
        assert!(!rig.host.snapshot().links.values().any(|l| matches!(l.kind, Kind::Veth { .. })));
        rig.ok(stop("tool"));
        rig.settle();
        assert_eq!(rig.host.snapshot(), before);
        assert!(matches!(
            rig.ok(Command::ContainerRemove { container: "tool".into() }),
            Outcome::Id(_)
        ));
    }
}

#[test]
fn a_container_that_ended_unheard_of_gives_settings_back() {
    let mut rig = host();
    let exec = rig.exec_now("site", &["exit", "0"]);
    rig.send(Rig::start_command(exec));
    for _ in 0..5 {
        rig.step(0);
    }
    // It has ended, and nobody has heard of it yet.
    let token = rig.send(connect("site", "lan"));
    assert!(rig.answer(token).is_err());
    rig.network("more", "10.9.0.0/24");
    rig.settle();
    rig.check();
    assert!(rig.host.snapshot().settings.is_empty(), "{:?}", rig.host.snapshot().settings);
}

#[test]
fn a_setting_of_the_whole_host_stays_while_any_network_needs_it() {
    stays_while_needed(|_| Command::NetworkRemove { network: "web".into() });
    // Pruning is removing.
    stays_while_needed(|rig| {
        rig.ok(disconnect("web", "site"));
        Command::NetworkPrune
    });
}

fn stays_while_needed(remove: impl Fn(&mut Rig) -> Command) {
    let mut rig = host();
    rig.container_of("other", Driver::Ipnet);
    let proxy = |rig: &Rig| rig.host.snapshot().settings.get("all/inet6/proxy").cloned();
    rig.ok(connect("site", "web"));
    rig.ok(connect("other", "lan"));
    rig.run("site", &["serve"]);
    rig.run("other", &["serve"]);
    assert_eq!(proxy(&rig).as_deref(), Some("1"));
    // It was changed for the one that goes first.
    rig.ok(stop("site"));
    rig.settle();
    assert_eq!(proxy(&rig).as_deref(), Some("1"));
    rig.check();
    let removing = remove(&mut rig);
    rig.ok(removing);
    assert_eq!(proxy(&rig).as_deref(), Some("1"));
    rig.check();
    rig.ok(disconnect("lan", "other"));
    assert_eq!(proxy(&rig), None);
    rig.check();
}

#[test]
fn a_setting_that_cannot_be_put_back_is_not_forgotten() {
    let mut rig = running_on(&["lan"]);
    let forwards = |rig: &Rig| rig.host.snapshot().settings.get("eth0/inet/forwarding").cloned();
    assert_eq!(forwards(&rig).as_deref(), Some("1"));
    rig.host.crash_after(0);
    let remove = Command::NetworkRemove { network: "lan".into() };
    assert!(rig.crash_during(|rig| drop(rig.ask(remove.clone()))));
    rig.host.clear_faults();
    rig.host.fail_at(1, Times::ForEver);
    rig.restart(true);
    assert!(rig.start_failure.is_some());
    assert_eq!(forwards(&rig).as_deref(), Some("1"));
    rig.host.clear_faults();
    rig.restart(true);
    assert_eq!(forwards(&rig), None);
    assert!(rig.state().network_named("lan").is_none());
}

#[test]
fn a_reboot_forgets_what_settings_were() {
    let mut rig = running_on(&["lan"]);
    assert!(!rig.state().network_named("lan").expect("lan").borrowed.is_empty());
    rig.reboot(&[link("eth0")]);
    // The host's administrator wants it so from now on.
    let setting = "eth0/inet/forwarding".to_owned();
    rig.host.kernel(|kernel| kernel.settings.insert(setting.clone(), "1".into()));
    rig.restart(false);
    assert!(rig.state().network_named("lan").expect("lan").borrowed.is_empty());
    rig.run("site", &["serve"]);
    rig.ok(stop("site"));
    rig.settle();
    assert_eq!(rig.host.snapshot().settings.get(&setting).map(String::as_str), Some("1"));
    rig.check();
}

#[test]
fn the_default_route_follows_the_priority() {
    for driver in [Driver::Ipnet, Driver::Vnet] {
        let mut rig = Rig::new();
        for (name, third) in [("one", 1), ("two", 2), ("three", 3)] {
            network(&mut rig, NetworkType::Bridge, name, third);
        }
        rig.container_of("site", driver);
        let with = |network: &str, priority: i32| {
            let mut config = Rig::endpoint_config("site", network, "<auto>");
            config.priority = Some(priority);
            Command::NetworkConnect(config)
        };
        let carrier = |rig: &Rig| {
            let shown = view::container_inspect(&rig.state(), "site").expect("site");
            let mut carriers = shown.container_endpoints.iter().filter(|e| e.default_route);
            let network = carriers.next().expect("one carries it").network_id.clone();
            assert!(carriers.next().is_none(), "and only one");
            view::network_inspect(&rig.state(), &network).expect("network").network.name
        };
        let kernel_way = |rig: &Rig| {
            let kernel = rig.host.snapshot();
            let namespace = kernel.namespaces.values().next().expect("it runs").clone();
            let v4 = kleene_model::Family::V4;
            let own = namespace.defaults.get(&v4).map(|(_, via)| via.to_string());
            let any = "0.0.0.0/0".parse().expect("net");
            own.or_else(|| namespace.routes.get(&any).map(|(_, source, _)| source.to_string()))
        };
        rig.ok(with("one", 0));
        rig.ok(with("two", 5));
        rig.run("site", &["serve"]);
        rig.check();
        assert_eq!(carrier(&rig), "two", "{driver}");
        assert!(kernel_way(&rig).expect("a way").starts_with("10.5.2."), "{driver}");
        // Live, too; and back when it goes.
        rig.ok(with("three", 9));
        rig.check();
        assert_eq!(carrier(&rig), "three", "{driver}");
        assert!(kernel_way(&rig).expect("a way").starts_with("10.5.3."), "{driver}");
        rig.ok(disconnect("three", "site"));
        rig.check();
        assert!(kernel_way(&rig).expect("a way").starts_with("10.5.2."), "{driver}");
    }
}

#[test]
fn endpoint_options_are_checked() {
    let mut rig = host();
    rig.container_of("own", Driver::Vnet);
    let with = |container: &str, mac: Option<&str>, mtu: Option<u32>| {
        let mut config = Rig::endpoint_config(container, "web", "<auto>");
        config.ip_address6 = "<auto>".into();
        (config.mac, config.mtu) = (mac.map(str::to_owned), mtu);
        Command::NetworkConnect(config)
    };
    // An endpoint without addresses has a wire, too.
    let bare = |mtu: Option<u32>| {
        let mut config = Rig::endpoint_config("own", "web", "");
        config.mtu = mtu;
        Command::NetworkConnect(config)
    };
    for (command, words) in [
        (with("own", Some("x"), None), "'x' is no MAC address of an interface"),
        (with("own", Some("01:00:5e:00:00:01"), None), "is no MAC address of an interface"),
        (with("own", None, Some(1000)), "the mtu must be 1280 to 65535 for IPv6"),
        (with("own", None, Some(70_000)), "the mtu must be 68 to 65535 for IPv4"),
        (bare(Some(60)), "the mtu must be 68 to 65535 for IPv4"),
        (with("site", Some("02:00:00:00:00:01"), None), "unsupported: a MAC address of its own"),
    ] {
        let text = rig.refused(command).to_string();
        assert!(text.contains(words), "{text}");
    }
    rig.ok(with("own", Some("02:00:00:00:00:01"), Some(1400)));
    rig.ok(with("site", None, Some(1400)));
    rig.run("own", &["serve"]);
    rig.run("site", &["serve"]);
    rig.check();
    let mac = |rig: &Rig| {
        let kernel = rig.host.snapshot();
        let mut links = kernel.namespaces.into_values().flat_map(|n| n.links.into_values());
        links.any(|link| link.mac.to_string() == "02:00:00:00:00:01" && link.mtu == 1400)
    };
    assert!(mac(&rig));
    let route = "route 10.5.1.0/24 over kleene1 from 10.5.1.3, mtu 1400";
    assert!(inside(&rig).contains(route), "{:?}", inside(&rig));
}

#[test]
fn settings_of_the_host_are_told_when_they_change() {
    let mut rig = running_on(&["lan"]);
    let set = |value: &str| ("eth0/inet/forwarding".to_owned(), value.to_owned());
    assert!(rig.set.contains(&set("1")), "{:?}", rig.set);
    rig.set.clear();
    rig.ok(stop("site"));
    rig.settle();
    assert!(rig.set.contains(&set("0")), "{:?}", rig.set);
    // So are those of the way out; its own interfaces are nobody's business.
    let mut rig = running_on(&["inner"]);
    rig.ok(stop("site"));
    rig.settle();
    assert!(rig.set.iter().all(|(name, _)| name.starts_with("eth0/")), "{:?}", rig.set);
    assert_eq!(rig.set.len() % 2, 0, "all is put back: {:?}", rig.set);
}

#[test]
fn the_host_on_a_networks_own_wire_is_answered_from_there() {
    let mut rig = Rig::new();
    rig.host.kernel(add_nic);
    network(&mut rig, NetworkType::Loopback, "inner", 0);
    let mut wire = Rig::bridge_config("wire", "192.168.1.0/24");
    (wire.kind, wire.interface) = (NetworkType::Custom, "eth0".into());
    rig.ok(Command::NetworkCreate(wire));
    rig.container_of("site", Driver::Ipnet);
    // The way out begins in the one, and the host's own address is in the other.
    rig.ok(connect("site", "inner"));
    rig.connect("site", "wire");
    rig.run("site", &["serve"]);
    rig.check();
    let to_host = |rig: &Rig| -> Vec<String> {
        inside(rig).into_iter().filter(|line| line.starts_with("route 192.168.1.5/32")).collect()
    };
    assert_eq!(to_host(&rig), ["route 192.168.1.5/32 over kleene0 from 192.168.1.2"]);
    // Nothing is taken for missing.
    rig.disturb(|_| {}, &[kleene_engine::Disturbance::Anything]);
    assert!(rig.mended.is_empty(), "{:?}", rig.mended);
    rig.ok(disconnect("wire", "site"));
    rig.settle();
    assert_eq!(to_host(&rig), ["route 192.168.1.5/32 over kleene0 from 10.5.0.2"]);
    rig.check();
}
