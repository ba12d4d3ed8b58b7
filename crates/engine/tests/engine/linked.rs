//! Interfaces of the host in bridge networks.

use kleene_engine::fake::{Kernel, Kind, Rig, Times};
use kleene_engine::{Command, Disturbance, view};
use kleene_model::NetworkType;

use crate::crashes::at_every_step;
use crate::faults::each_refused;
use crate::lives::{add_nic, link};

fn link_of(interface: &str) -> Command {
    Command::NetworkLink { network: "web".into(), interface: interface.into(), force: false }
}

fn unlink_of(interface: &str) -> Command {
    Command::NetworkUnlink { network: "web".into(), interface: interface.into() }
}

fn add_port(kernel: &mut Kernel) {
    kernel.add_stranger(&link("eth1"), Kind::Other, None).expect("free");
}

/// A host with two NICs and a bridge network.
fn rig() -> Rig {
    let mut rig = Rig::over(|host| {
        host.kernel(add_nic);
        host.kernel(add_port);
    });
    rig.network("web", "10.4.6.0/24");
    rig
}

fn master(rig: &Rig, name: &str) -> Option<String> {
    rig.host.snapshot().links[&link(name)].master.as_ref().map(ToString::to_string)
}

fn shown(rig: &Rig) -> Vec<String> {
    view::network_inspect(&rig.state(), "web").expect("web").linked
}

#[test]
fn an_interface_is_linked_and_unlinked() {
    let mut rig = rig();
    let before = rig.host.snapshot();
    rig.ok(link_of("eth1"));
    assert_eq!(master(&rig, "eth1").as_deref(), Some("kleene0"));
    assert_eq!(shown(&rig), ["eth1"]);
    rig.check();
    // It stays over a restart, and comes back with the host.
    rig.restart(true);
    rig.check();
    rig.reboot(&[link("eth0"), link("eth1")]);
    rig.restart(false);
    assert_eq!(master(&rig, "eth1").as_deref(), Some("kleene0"));
    rig.check();
    rig.ok(unlink_of("eth1"));
    assert_eq!(shown(&rig), [""; 0]);
    rig.check();
    assert_eq!(rig.host.snapshot().links, before.links);
    // With the network it is let go, too.
    rig.ok(link_of("eth1"));
    rig.ok(Command::NetworkRemove { network: "web".into() });
    assert_eq!(master(&rig, "eth1"), None);
    rig.check();
}

#[test]
fn what_cannot_be_a_port_is_refused_by_name() {
    let mut rig = rig();
    rig.network("more", "10.4.7.0/24");
    let mut inner = Rig::bridge_config("inner", "10.4.8.0/24");
    inner.kind = NetworkType::Loopback;
    rig.ok(Command::NetworkCreate(inner));
    rig.container("site");
    rig.connect("site", "web");
    rig.run("site", &["serve"]);
    rig.host.kernel(|kernel| {
        kernel.add_stranger(&link("br0"), Kind::Bridge, None).expect("free");
        kernel.add_stranger(&link("eth2"), Kind::Other, None).expect("free");
        kernel.set_master(&link("eth2"), Some(&link("br0"))).expect("plugged");
        kernel.add_stranger(&link("lo"), Kind::Other, None).expect("free");
    });
    for (interface, why) in [
        ("eth9", "there is no such interface"),
        ("lo", "it is a loopback"),
        ("br0", "it is a bridge, or leads nowhere"),
        ("eth2", "it is a port of br0: take it out there first"),
        ("epair0a", "it is the cable of a container"),
        ("kleene1", "it is the interface of network more"),
        (
            "eth0",
            "it carries the host's own 192.168.1.5/24, which would no longer be reached: take it \
             off, or force it",
        ),
    ] {
        assert_eq!(
            rig.refused(link_of(interface)).to_string(),
            format!("cannot link interface {interface} into network web: {why}")
        );
    }
    rig.ok(link_of("eth1"));
    let more =
        Command::NetworkLink { network: "more".into(), interface: "eth1".into(), force: true };
    assert_eq!(
        rig.refused(more).to_string(),
        "cannot link interface eth1 into network more: it is linked into network web already"
    );
    let inner =
        Command::NetworkLink { network: "inner".into(), interface: "eth1".into(), force: true };
    assert_eq!(
        rig.refused(inner).to_string(),
        "interfaces can be linked into bridge networks only, and inner is a loopback network"
    );
    assert_eq!(
        rig.refused(unlink_of("eth0")).to_string(),
        "interface eth0 is not linked into network web"
    );
    // Forced, one with addresses is.
    rig.ok(Command::NetworkLink { network: "web".into(), interface: "eth0".into(), force: true });
    assert_eq!(master(&rig, "eth0").as_deref(), Some("kleene0"));
    rig.check();
}

#[test]
fn one_that_vanishes_is_put_back_when_it_returns_and_nobody_elses_is_touched() {
    let mut rig = rig();
    rig.ok(link_of("eth1"));
    let gone = Disturbance::LinkGone { link: link("eth1") };
    rig.disturb(|kernel| kernel.delete(&link("eth1")).expect("there"), &[gone]);
    rig.check();
    let there = |port| Disturbance::LinkThere {
        link: link("eth1"),
        up: true,
        fell: false,
        mark: None,
        port: Some(port),
    };
    rig.disturb(add_port, &[there(false)]);
    assert_eq!(master(&rig, "eth1").as_deref(), Some("kleene0"));
    // Somebody takes it out, and it is put back; somebody puts it elsewhere,
    // and it stays there.
    rig.disturb(|k| k.set_master(&link("eth1"), None).expect("there"), &[there(false)]);
    assert_eq!(master(&rig, "eth1").as_deref(), Some("kleene0"));
    rig.disturb(
        |kernel| {
            kernel.add_stranger(&link("br0"), Kind::Bridge, None).expect("free");
            kernel.set_master(&link("eth1"), Some(&link("br0"))).expect("plugged");
        },
        &[Disturbance::Anything],
    );
    assert_eq!(master(&rig, "eth1").as_deref(), Some("br0"));
    rig.check();
    rig.ok(unlink_of("eth1"));
    assert_eq!(master(&rig, "eth1").as_deref(), Some("br0"));
}

#[test]
fn refused_and_killed_at_every_step() {
    let linked = || {
        let mut rig = rig();
        rig.ok(link_of("eth1"));
        rig
    };
    each_refused(&rig, &|_| link_of("eth1"), 1);
    each_refused(&linked, &|_| unlink_of("eth1"), 1);
    at_every_step(
        &linked,
        &|rig| {
            drop(rig.ask(unlink_of("eth1")));
            drop(rig.ask(link_of("eth1")));
        },
        &|rig| {
            drop(rig.ask(unlink_of("eth1")));
            assert_eq!(master(rig, "eth1"), None);
        },
    );
}

#[test]
fn a_port_that_the_kernel_does_not_let_go_is_not_forgotten() {
    let mut rig = rig();
    rig.ok(link_of("eth1"));
    rig.host.crash_after(0);
    assert!(rig.crash_during(|rig| drop(rig.ask(unlink_of("eth1")))));
    rig.host.clear_faults();
    rig.host.fail_at(1, Times::ForEver);
    rig.restart(true);
    assert!(rig.start_failure.is_some());
    assert_eq!(master(&rig, "eth1").as_deref(), Some("kleene0"));
    rig.host.clear_faults();
    rig.restart(true);
    assert_eq!(master(&rig, "eth1"), None);
    assert_eq!(shown(&rig), [""; 0]);
    rig.check();
}

#[test]
fn a_custom_network_takes_no_port_and_no_cable() {
    let mut rig = rig();
    let on = |interface: &str| {
        let mut config = Rig::bridge_config("lan", "10.9.0.0/24");
        (config.kind, config.interface) = (NetworkType::Custom, interface.into());
        Command::NetworkCreate(config)
    };
    rig.ok(link_of("eth1"));
    rig.container("site");
    rig.ok(Command::NetworkConnect(Rig::endpoint_config("site", "web", "<auto>")));
    rig.run("site", &["serve"]);
    let text = rig.refused(on("eth1")).to_string();
    assert_eq!(text, "interface eth1 is used by network web");
    let text = rig.refused(on("epair0a")).to_string();
    assert!(text.starts_with("interface epair0a is Kleene's own"), "{text}");
    // The allowed twin.
    rig.ok(on("eth0"));
    rig.check();
}
