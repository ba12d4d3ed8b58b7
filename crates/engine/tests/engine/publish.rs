//! Published ports: who gets them, and that they come and go with what they lead to.

use kleene_engine::actual::HostRoute;
use kleene_engine::fake::{Kind, Rig};
use kleene_engine::host::Listener;
use kleene_engine::piece::{Gate, Piece};
use kleene_engine::{Command, Disturbance, Outcome, view};
use kleene_model::api::{ExplainConfig, PublishedPortConfig, UnpublishConfig};
use kleene_model::{Driver, Family, Protocol};

use crate::crashes::at_every_step;
use crate::faults::each_refused;
use crate::lives::{add_nic, link};

fn port(on: &[&str], host: &str, container: &str) -> PublishedPortConfig {
    PublishedPortConfig {
        interfaces: on.iter().map(|name| (*name).to_owned()).collect(),
        host_port: host.to_owned(),
        container_port: container.to_owned(),
        protocol: "tcp".to_owned(),
    }
}

fn publish(container: &str, config: PublishedPortConfig) -> Command {
    Command::ContainerPublish { container: container.to_owned(), config: Box::new(config) }
}

fn unpublish(container: &str, host: &str) -> Command {
    let config = UnpublishConfig {
        interfaces: None,
        host_port: host.to_owned(),
        protocol: "tcp".to_owned(),
    };
    Command::ContainerUnpublish { container: container.to_owned(), config: Box::new(config) }
}

/// A host with two networks and running containers of these drivers, `one` first.
fn rig(drivers: &[(&str, Driver)]) -> Rig {
    let mut rig = Rig::new();
    rig.host.kernel(|kernel| {
        add_nic(kernel);
        kernel.add_stranger(&link("eth1"), Kind::Other, None).expect("free");
    });
    rig.network("web", "10.4.6.0/24");
    rig.network("back", "10.4.7.0/24");
    for (name, driver) in drivers {
        rig.container_of(name, *driver);
        rig.connect(name, "web");
        rig.run(name, &["serve"]);
    }
    rig.check();
    rig
}

/// Where the host's ports lead to: gate, first port, address, first port there.
fn leads(rig: &Rig) -> Vec<(Gate, u16, String, u16)> {
    let pieces = rig.host.snapshot().pieces();
    let lead = |piece| match piece {
        Piece::Lead { gate, ports, addr, inner, .. } => {
            Some((gate, ports.first, addr.to_string(), inner.first))
        }
        _ => None,
    };
    let mut leads: Vec<_> = pieces.into_iter().filter_map(lead).collect();
    leads.sort();
    leads
}

#[test]
fn a_port_of_a_container_that_runs_comes_and_goes() {
    for driver in [Driver::Ipnet, Driver::Vnet] {
        let mut rig = rig(&[("one", driver)]);
        let before = rig.host.snapshot();
        assert_eq!(rig.ok(publish("one", port(&[], "8080", "80"))), Outcome::Done);
        rig.check();
        let own = view::container_inspect(&rig.state(), "one").expect("there").container;
        let to = own.public_ports[0].ip_address.clone();
        let at = |gate| (gate, 8080, to.clone(), 80);
        assert_eq!(leads(&rig), [at(Gate::Inside), at(Gate::Uplink)]);
        // It follows the first network, and its priority.
        rig.ok(Command::NetworkConnect(kleene_model::api::EndPointConfig {
            priority: Some(1),
            ..Rig::endpoint_config("one", "back", "<auto>")
        }));
        rig.check();
        assert!(leads(&rig).iter().all(|(_, _, addr, _)| addr.starts_with("10.4.7.")));
        let network = "back".to_owned();
        rig.ok(Command::NetworkDisconnect { network, container: "one".into() });
        rig.check();
        assert_eq!(leads(&rig), [at(Gate::Inside), at(Gate::Uplink)]);
        rig.ok(unpublish("one", "8080"));
        rig.check();
        assert_eq!(leads(&rig), []);
        assert_eq!(rig.host.snapshot().standing.policy, before.standing.policy);
        assert_eq!(
            rig.refused(unpublish("one", "8080")).to_string(),
            "container one does not publish port 8080/tcp of the host"
        );
    }
}

#[test]
fn the_older_one_gets_what_comes_by_no_interface() {
    let mut rig = rig(&[("one", Driver::Ipnet), ("two", Driver::Vnet)]);
    rig.ok(publish("two", port(&["eth1"], "8000:8010", "9000:*")));
    rig.ok(publish("one", port(&["eth0"], "8005", "80")));
    rig.check();
    let inside = |rig: &Rig| -> Vec<(u16, u16)> {
        let inside = leads(rig).into_iter().filter(|(gate, ..)| *gate == Gate::Inside);
        inside.map(|(_, host, _, inner)| (host, inner)).collect()
    };
    assert_eq!(inside(&rig), [(8000, 9000), (8005, 80), (8006, 9006)]);
    rig.ok(unpublish("one", "8005"));
    rig.check();
    assert_eq!(inside(&rig), [(8000, 9000)]);
}

#[test]
fn who_holds_a_port_is_named() {
    let mut rig = rig(&[("one", Driver::Ipnet), ("two", Driver::Ipnet)]);
    rig.ok(publish("one", port(&[], "8080", "80")));
    let stored = rig.store.snapshot();
    let mut refused = |name: &str, config| {
        let text = rig.refused(publish(name, config)).to_string();
        assert_eq!(rig.store.snapshot(), stored, "{text}");
        text
    };
    let taken = "port 8080/tcp of the host is published already, by container one";
    assert_eq!(refused("two", port(&[], "8080", "81")), taken);
    assert_eq!(refused("two", port(&["eth0"], "8080", "81")), taken);
    assert_eq!(
        refused("two", port(&[], "8000:8100", "81")),
        "port 8000:8100/tcp of the host is published already, by container one"
    );
    assert_eq!(
        refused("one", port(&["eth0"], "8080", "81")),
        "port 8080/tcp of the host is published already, by the same container"
    );
    assert_eq!(
        refused("two", port(&["eth9"], "8081", "81")),
        "interface eth9 does not exist on the host"
    );
    // The allowed twin: elsewhere.
    rig.ok(publish("two", port(&["eth1"], "8080", "81")));
    let nginx = Listener { addr: None, port: 8090, holder: "nginx (pid 7)".into() };
    rig.host.kernel(|kernel| kernel.listeners.push((Protocol::Tcp, nginx)));
    assert_eq!(
        rig.refused(publish("one", port(&[], "8090", "80"))).to_string(),
        "port 8090/tcp of the host is in use, by nginx (pid 7)"
    );
    rig.check();
}

#[test]
fn a_port_that_is_held_at_the_start_waits_until_it_is_free() {
    let mut rig = rig(&[("one", Driver::Ipnet)]);
    rig.ok(publish("one", port(&[], "8080", "80")));
    rig.ok(Command::ContainerStop { container: "one".into(), grace_ms: 0 });
    rig.settle();
    assert_eq!(leads(&rig), []);
    let held = Listener { addr: None, port: 8080, holder: "nginx (pid 7)".into() };
    rig.host.kernel(|kernel| kernel.listeners.push((Protocol::Tcp, held)));
    rig.run("one", &["serve"]);
    rig.check();
    assert_eq!(leads(&rig), []);
    let degraded = |rig: &Rig| {
        let seen = view::container_inspect(&rig.state(), "one").expect("there");
        seen.container.public_ports[0].degraded.clone()
    };
    assert_eq!(degraded(&rig).as_deref(), Some("port 8080/tcp is held by nginx (pid 7)"));
    let nothing = Disturbance::Anything;
    rig.disturb(|kernel| kernel.listeners.clear(), &[nothing]);
    rig.check();
    assert_eq!((leads(&rig).len(), degraded(&rig)), (2, None));
}

#[test]
fn a_port_that_is_held_stays_so_when_nobody_tells() {
    let mut rig = rig(&[("one", Driver::Ipnet)]);
    rig.ok(publish("one", port(&[], "8080", "80")));
    rig.ok(Command::ContainerStop { container: "one".into(), grace_ms: 0 });
    rig.settle();
    let held = Listener { addr: None, port: 8080, holder: "nginx (pid 7)".into() };
    rig.host.kernel(|kernel| kernel.listeners.push((Protocol::Tcp, held)));
    rig.run("one", &["serve"]);
    assert_eq!((leads(&rig), rig.degraded.len()), (Vec::new(), 0));
    rig.disturb(|kernel| kernel.hides_listeners = true, &[Disturbance::Anything]);
    assert_eq!(leads(&rig), []);
    let said = rig.degraded.pop().expect("it is said");
    assert!(said.starts_with("who holds published ports cannot be told: "), "{said}");
    rig.disturb(
        |kernel| {
            kernel.hides_listeners = false;
            kernel.listeners.clear();
        },
        &[Disturbance::Anything],
    );
    rig.check();
    assert_eq!((leads(&rig).len(), rig.degraded.len()), (2, 0));
}

#[test]
fn a_port_that_is_held_stays_so_when_another_goes() {
    let mut rig = rig(&[("one", Driver::Ipnet)]);
    rig.ok(publish("one", port(&[], "8080", "80")));
    rig.ok(publish("one", port(&[], "8081", "81")));
    rig.ok(Command::ContainerStop { container: "one".into(), grace_ms: 0 });
    rig.settle();
    let held = Listener { addr: None, port: 8081, holder: "nginx (pid 7)".into() };
    rig.host.kernel(|kernel| kernel.listeners.push((Protocol::Tcp, held)));
    rig.run("one", &["serve"]);
    assert_eq!(leads(&rig).len(), 2, "the other one is led");
    rig.host.take_applied();
    rig.ok(unpublish("one", "8080"));
    assert_eq!(leads(&rig), []);
    let led = |line: &String| line.starts_with("lead ");
    assert!(!rig.host.take_applied().iter().any(led), "not for a moment");
    rig.check();
}

/// A thousand ports are not written anew when the way out is another.
#[test]
fn a_moved_default_route_touches_no_port() {
    let mut rig = rig(&[("one", Driver::Ipnet)]);
    rig.ok(publish("one", port(&[], "8080", "80")));
    let before = leads(&rig);
    rig.host.take_applied();
    let moved = Disturbance::DefaultRoute { family: Family::V4 };
    rig.disturb(
        |kernel| {
            let eth1 = link("eth1");
            let own = "192.168.2.5/24".parse().expect("a net");
            kernel.add_address(&eth1, own).expect("free");
            let default = |route: &&mut HostRoute| route.destination.prefix_len() == 0;
            kernel.routes.iter_mut().find(default).expect("a default route").link = Some(eth1);
        },
        &[moved],
    );
    rig.check();
    let ports = |line: &&String| line.contains("/tcp ");
    let applied = rig.host.take_applied();
    assert!(applied.iter().any(|line| line == "take eth1 for the way out (IPv4)"), "{applied:?}");
    assert_eq!(applied.iter().filter(ports).count(), 0, "{applied:?}");
    assert_eq!(leads(&rig), before);
}

#[test]
fn publishing_is_whole_or_not_at_all() {
    let made = || rig(&[("one", Driver::Vnet)]);
    let ports = || publish("one", port(&[], "8000:8003", "9000:*"));
    each_refused(&made, &|_| ports(), 3);
    at_every_step(
        &made,
        &|rig| {
            rig.send(ports());
        },
        &|rig| {
            rig.settle();
            rig.check();
        },
    );
}

#[test]
fn what_becomes_of_a_flow_is_explained() {
    let mut rig = rig(&[("one", Driver::Ipnet), ("two", Driver::Vnet)]);
    rig.ok(publish("two", port(&[], "8080", "80")));
    // It does not run, and is asked about like the others.
    rig.container_of("three", Driver::Ipnet);
    rig.connect("three", "back");
    let mut ask = |from: &str, to: &str, port: Option<u16>| {
        let config =
            ExplainConfig { from: from.into(), to: to.into(), port, protocol: Some("tcp".into()) };
        match rig.ok(Command::NetworkExplain(config)) {
            Outcome::Explained(all) => {
                let [one] = &all[..] else { panic!("{all:?}") };
                let passes = one.explanation.verdict == "passes";
                assert_eq!(one.passage.is_some(), passes, "{one:?}");
                let one = &one.explanation;
                (one.verdict.clone(), one.rule, one.led_to.clone(), one.change.clone())
            }
            other => panic!("{other:?}"),
        }
    };
    let said = |verdict: &str, rule, led: &str, change: &str| {
        (verdict.to_owned(), rule, led.to_owned(), change.to_owned())
    };
    assert_eq!(ask("one", "two", Some(81)), said("passes", 2, "", ""));
    assert_eq!(ask("host", "one", None), said("passes", 8, "", ""));
    assert_eq!(ask("three", "outside", None), said("passes", 6, "", ""));
    assert_eq!(ask("three", "two", Some(80)), said("passes", 3, "", ""));
    let publish = "klee publish one HOST:81/tcp";
    assert_eq!(ask("outside", "one", Some(81)), said("dropped", 9, "", publish));
    assert_eq!(ask("outside", "two", Some(80)), said("passes", 10, "", ""));
    assert_eq!(ask("outside", "192.168.1.5", Some(8080)), said("passes", 10, "10.4.6.3:80", ""));
    assert_eq!(ask("host", "127.0.0.1", Some(8080)), said("passes", 12, "10.4.6.3:80", ""));
    assert_eq!(ask("10.4.6.2", "10.4.6.3", Some(9)), said("passes", 2, "", ""));
    let none = Command::NetworkExplain(ExplainConfig {
        from: "nobody".into(),
        to: "host".into(),
        port: None,
        protocol: None,
    });
    assert_eq!(rig.refused(none).to_string(), "container not found");
}
