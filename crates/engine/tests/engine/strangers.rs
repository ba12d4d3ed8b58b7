//! What is somebody else's is never changed, whatever it is called.

use kleene_engine::fake::{Kind, Rig};
use kleene_engine::{Command, Disturbance};

use crate::lives::{add_nic, link};

const OTHER: &str = "kleene:other:network:2f1dc29b8f36";

/// Links of strangers and of another daemon, under the names that ours takes.
fn rig() -> Rig {
    Rig::over(|host| {
        host.kernel(|kernel| {
            add_nic(kernel);
            for (name, kind, alias) in [
                ("kleene0", Kind::Bridge, None),
                ("kleene2", Kind::Bridge, Some(OTHER)),
                ("epair0a", Kind::Other, None),
                ("epair1a", Kind::Other, Some("kleene:other:endpoint:2f1dc29b8f36")),
                ("odd", Kind::Other, Some("kleene:main")),
            ] {
                kernel.add_stranger(&link(name), kind, alias).expect("a free name");
            }
            let net = "10.99.0.1/24".parse().expect("net");
            kernel.add_address(&link("kleene2"), net).expect("added");
            kernel.set_up(&link("kleene2"), true).expect("up");
        });
    })
}

#[test]
fn names_are_skipped_and_strangers_untouched() {
    let mut rig = rig();
    let strangers = rig.host.strangers();
    rig.network("web", "10.4.6.0/24");
    rig.network("more", "10.4.7.0/24");
    rig.container("site");
    rig.connect("site", "web");
    rig.connect("site", "more");
    let state = rig.state();
    let on = |name: &str| state.network_named(name).expect(name).interface.to_string();
    assert_eq!((on("web").as_str(), on("more").as_str()), ("kleene1", "kleene3"));
    rig.run("site", &["serve"]);
    let kernel = rig.host.snapshot();
    for name in ["epair2a", "epair3a"] {
        assert!(kernel.links.contains_key(&link(name)), "{name}");
    }
    rig.check();
    assert_eq!(rig.host.strangers(), strangers);
    rig.ok(Command::ContainerStop { container: "site".into(), grace_ms: 0 });
    rig.ok(Command::NetworkRemove { network: "web".into() });
    rig.restart(true);
    rig.ok(Command::ContainerRemove { container: "site".into() });
    rig.ok(Command::NetworkPrune);
    rig.check();
    assert_eq!(rig.host.snapshot(), strangers);
}

#[test]
fn the_network_of_another_daemon_is_a_route_of_the_host() {
    let mut rig = rig();
    let config = Rig::bridge_config("web", "10.99.0.0/24");
    assert_eq!(
        rig.refused(Command::NetworkCreate(config)).to_string(),
        "invalid subnet: 10.99.0.0/24 overlaps the host's route 10.99.0.0/24 on kleene2, \
         the next free subnet is 10.99.1.0/24"
    );
}

#[test]
fn a_name_taken_behind_our_back_is_skipped() {
    let mut rig = rig();
    rig.network("web", "10.4.6.0/24");
    rig.container("site");
    rig.connect("site", "web");
    for name in ["epair2a", "epair3a"] {
        rig.host.kernel(|k| k.add_stranger(&link(name), Kind::Other, None).expect("free"));
    }
    let strangers = rig.host.strangers();
    rig.run("site", &["serve"]);
    rig.check();
    assert!(rig.host.snapshot().links.contains_key(&link("epair4a")));
    assert_eq!(rig.host.strangers(), strangers);
    // So is it for a container that runs.
    rig.network("more", "10.4.7.0/24");
    rig.connect("site", "more");
    rig.check();
}

#[test]
fn a_stranger_in_place_of_our_bridge_is_left_alone_and_named() {
    let mut rig = rig();
    rig.network("web", "10.4.6.0/24");
    rig.network("more", "10.4.7.0/24");
    rig.reboot(&[link("eth0")]);
    // Somebody was faster after the reboot.
    rig.host.kernel(|k| k.add_stranger(&link("kleene1"), Kind::Bridge, None).expect("free"));
    let strangers = rig.host.strangers();
    rig.restart(false);
    rig.settle();
    assert_eq!(rig.host.strangers(), strangers, "kleene1 is not ours");
    let failure = rig.start_failure.clone().expect("it is said");
    assert!(failure.starts_with("cannot make bridge kleene1 "), "{failure}");
    assert!(failure.ends_with(": File exists (EEXIST)"), "{failure}");
    // The other network stands all the same.
    let kernel = rig.host.snapshot();
    let more = rig.state().network_named("more").expect("more").interface.clone();
    assert!(kernel.links.get(&more).is_some_and(|link| link.up), "{kernel:#?}");
    // And removing ours does not remove theirs.
    rig.ok(Command::NetworkRemove { network: "web".into() });
    assert_eq!(rig.host.strangers(), strangers);
    rig.check();
}

#[test]
fn a_stranger_in_place_of_our_cable_is_left_alone() {
    let mut rig = rig();
    rig.network("web", "10.4.6.0/24");
    let container = rig.container("site");
    rig.connect("site", "web");
    rig.run("site", &["serve"]);
    rig.kill_daemon();
    rig.host.kernel(|kernel| {
        kernel.delete(&link("epair2a")).expect("ours");
        kernel.add_stranger(&link("epair2a"), Kind::Other, None).expect("free now");
    });
    let strangers = rig.host.strangers();
    rig.restart(true);
    rig.settle();
    assert_eq!(rig.host.strangers(), strangers);
    // The container may have been given up for it.
    drop(rig.ask(Command::ContainerStop { container: container.to_string(), grace_ms: 0 }));
    assert_eq!(rig.host.strangers(), strangers);
    rig.run("site", &["serve"]);
    assert_eq!(rig.host.strangers(), strangers);
    rig.check();
}

#[test]
fn what_of_ours_nobody_wants_goes_at_start() {
    let mut rig = rig();
    rig.kill_daemon();
    let strangers = rig.host.strangers();
    rig.host.kernel(|kernel| {
        let network = "kleene:main:network:2f1dc29b8f36";
        kernel.add_stranger(&link("kleene7"), Kind::Bridge, Some(network)).expect("free");
        let endpoint = "kleene:main:endpoint:2f1dc29b8f36";
        kernel.add_stranger(&link("epair7a"), Kind::Other, Some(endpoint)).expect("free");
        kernel.set_master(&link("epair7a"), Some(&link("kleene7"))).expect("plugged");
    });
    rig.restart(true);
    rig.settle();
    assert_eq!(rig.host.snapshot(), strangers);
    rig.check();
}

#[test]
fn one_that_cannot_go_does_not_keep_the_others() {
    let mut rig = rig();
    rig.network("web", "10.4.6.0/24");
    rig.network("more", "10.4.7.0/24");
    rig.reboot(&[link("eth0")]);
    // Somebody else is quicker with the name of the first.
    let first = link("kleene1");
    rig.host.kernel(|k| k.add_stranger(&first, Kind::Other, None).expect("free"));
    rig.restart(false);
    assert!(rig.start_failure.is_some());
    rig.settle();
    assert!(rig.host.snapshot().links.contains_key(&link("kleene3")), "the second is there");
    let degraded = |rig: &Rig| {
        let id = rig.state().network_named("web").expect("web").id;
        rig.state().health(id).degraded
    };
    assert!(degraded(&rig).expect("degraded").contains("kleene1"), "and the first is named");
    // It comes back when the name is free.
    let gone = Disturbance::LinkGone { link: first.clone() };
    rig.disturb(|kernel| kernel.delete(&first).expect("there"), &[gone]);
    assert_eq!(degraded(&rig), None);
    rig.check();
}
