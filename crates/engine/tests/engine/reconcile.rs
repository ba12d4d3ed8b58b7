//! What somebody takes from us comes back; what is somebody else's stays as
//! they made it.

use kleene_engine::Disturbance;
use kleene_engine::change::Mark;
use kleene_engine::fake::{Kernel, Kind, Rig};
use kleene_engine::piece::Piece;
use kleene_engine::{Command, view};
use kleene_model::{Driver, Family};

use crate::ipnet::{connect, host, running_on};
use crate::lives::{add_nic, link};

fn health(rig: &Rig, network: &str) -> (Option<String>, u64) {
    let seen = view::network_inspect(&rig.state(), network).expect("the network");
    (seen.health.degraded, seen.health.healed)
}

/// An `ipnet` container on all three types of networks and a `vnet` one.
fn busy() -> Rig {
    let mut rig = running_on(&["web", "inner", "lan"]);
    rig.container_of("other", Driver::Vnet);
    rig.connect("other", "web");
    rig.run("other", &["serve"]);
    rig.check();
    rig.mended.clear();
    rig
}

#[test]
fn each_piece_that_is_taken_comes_back() {
    let pieces: Vec<Piece> = busy().host.snapshot().pieces();
    assert!(pieces.len() > 30, "{pieces:?}");
    for piece in pieces {
        let mut rig = busy();
        let before = rig.host.snapshot();
        let told = match &piece {
            piece if piece.is_policy() => Disturbance::Anything,
            Piece::Fallback { addr } | Piece::Steer { addr, .. } => {
                Disturbance::RouteGone { addr: *addr }
            }
            Piece::Show { link, addr } => {
                Disturbance::AddressGone { link: link.clone(), addr: (*addr).into() }
            }
            Piece::Answer { link, addr } => {
                Disturbance::AnswerGone { link: link.clone(), addr: *addr }
            }
            piece => panic!("{piece} is of the policy"),
        };
        rig.disturb(|kernel| kernel.take(&piece), &[told]);
        assert_eq!(rig.host.snapshot().without_mirrors(), before.without_mirrors(), "{piece}");
        assert!(!rig.mended.is_empty() && rig.degraded.is_empty(), "{piece}");
        rig.check();
    }
}

#[test]
fn links_that_are_deleted_or_changed_come_back() {
    let gone = |name: &str| Disturbance::LinkGone { link: link(name) };
    let there = |name: &str, up| Disturbance::LinkThere {
        link: link(name),
        up,
        fell: !up,
        mark: None,
        port: None,
    };
    type Act = fn(&mut Kernel);
    let acts: [(Act, Disturbance); 6] = [
        (|k| k.delete(&link("kleene1")).expect("there"), gone("kleene1")),
        (|k| k.delete(&link("kleene0")).expect("there"), gone("kleene0")),
        (|k| k.delete(&link("epair0a")).expect("there"), gone("epair0a")),
        (|k| k.delete(&link("epair1a")).expect("there"), gone("epair1a")),
        (|k| k.set_up(&link("kleene1"), false).expect("there"), there("kleene1", false)),
        (|k| k.set_master(&link("epair1a"), None).expect("there"), there("epair1a", true)),
    ];
    for (act, told) in acts {
        let mut rig = busy();
        rig.disturb(act, std::slice::from_ref(&told));
        rig.check();
        assert!(!rig.mended.is_empty() && rig.degraded.is_empty(), "{told:?}");
        // And all of it can be ended as ever.
        for name in ["site", "other"] {
            rig.ok(Command::ContainerStop { container: name.into(), grace_ms: 0 });
        }
        rig.check();
    }
}

/// The picture has forgotten an interface that went: its addresses are news.
#[test]
fn a_nat_interface_that_vanishes_and_returns() {
    let mut rig = Rig::over(|host| host.kernel(add_nic));
    let mut config = Rig::bridge_config("out", "10.4.6.0/24");
    config.nat = Some("eth0".into());
    rig.ok(Command::NetworkCreate(config));
    assert_eq!(health(&rig, "out").0, None);
    rig.disturb(
        |kernel| kernel.delete(&link("eth0")).expect("there"),
        &[Disturbance::LinkGone { link: link("eth0") }],
    );
    let why = |rig: &Rig| health(rig, "out").0.expect("it is degraded");
    assert!(why(&rig).ends_with("its nat interface eth0 is not there"), "{}", why(&rig));
    assert_eq!(rig.degraded.len(), 1, "said once: {:?}", rig.degraded);
    rig.disturb(
        |kernel| kernel.add_stranger(&link("eth0"), Kind::Other, None).expect("free"),
        &[Disturbance::LinkThere {
            link: link("eth0"),
            up: false,
            fell: false,
            mark: None,
            port: Some(false),
        }],
    );
    assert!(why(&rig).ends_with("its nat interface eth0 has no IPv4 address"), "{}", why(&rig));
    // Link and address in one breath, and the address alone.
    for known in [true, false] {
        if !known {
            rig.disturb(
                |kernel| kernel.delete(&link("eth0")).expect("there"),
                &[Disturbance::LinkGone { link: link("eth0") }],
            );
            rig.host.kernel(|kernel| {
                kernel.add_stranger(&link("eth0"), Kind::Other, None).expect("free");
            });
        }
        let back: ipnet::IpNet = "198.51.100.2/24".parse().expect("an address");
        rig.disturb(
            |kernel| kernel.add_address(&link("eth0"), back).expect("added"),
            &[Disturbance::AddressThere { link: link("eth0"), addr: back }],
        );
        assert_eq!(health(&rig, "out").0, None, "known: {known}");
        rig.check();
    }
}

#[test]
fn a_custom_interface_that_vanishes_and_returns() {
    let mut rig = running_on(&["lan"]);
    rig.host.kernel(|kernel| kernel.delete(&link("eth0")).expect("there"));
    rig.event(kleene_engine::Event::Disturbed {
        disturbances: vec![Disturbance::LinkGone { link: link("eth0") }],
    });
    let (degraded, healed) = health(&rig, "lan");
    let degraded = degraded.expect("it is degraded");
    assert!(degraded.contains("eth0") && degraded.contains("No such device"), "{degraded}");
    assert_eq!(healed, 0);
    assert!(!rig.degraded.is_empty());
    assert!(rig.mended.is_empty(), "nothing came back: {:?}", rig.mended);
    // Its container goes on, and can be stopped and started meanwhile.
    rig.disturb(
        add_nic,
        &[Disturbance::LinkThere {
            link: link("eth0"),
            up: true,
            fell: false,
            mark: None,
            port: Some(false),
        }],
    );
    assert_eq!(health(&rig, "lan"), (None, 1));
    rig.check();
}

#[test]
fn what_we_do_ourselves_concerns_nobody() {
    let mut rig = busy();
    let looks = rig.host.looks();
    let site = rig.state().container_named("site").expect("site").id;
    let addresses: Vec<_> = rig.state().endpoints_of(site).filter_map(|e| e.address.v6).collect();
    rig.ok(Command::ContainerStop { container: "site".into(), grace_ms: 0 });
    rig.settle();
    let told: Vec<Disturbance> = addresses
        .iter()
        .flat_map(|addr| {
            [
                Disturbance::RouteGone { addr: *addr },
                Disturbance::Claimed { addr: *addr },
                Disturbance::AddressGone { link: link("kleene1"), addr: (*addr).into() },
                Disturbance::AnswerGone { link: link("kleene1"), addr: *addr },
            ]
        })
        .chain([Disturbance::LinkGone { link: link("epair0a") }])
        .collect();
    rig.disturb(|_| {}, &told);
    assert_eq!(rig.host.looks(), looks, "looked for nothing");
    // What strangers do to what is theirs concerns nobody, either.
    let theirs = [
        Disturbance::LinkGone { link: link("docker0") },
        Disturbance::LinkThere {
            link: link("docker0"),
            up: true,
            fell: false,
            mark: None,
            port: Some(false),
        },
        Disturbance::AddressThere {
            link: link("docker0"),
            addr: "172.17.0.1/16".parse().expect("net"),
        },
        Disturbance::RouteGone { addr: "10.99.0.9".parse().expect("address") },
    ];
    rig.disturb(|_| {}, &theirs);
    assert_eq!(rig.host.looks(), looks, "looked for somebody else's");
    assert!(rig.mended.is_empty());
    // The twin: one that matters.
    let gone = Disturbance::LinkGone { link: link("kleene1") };
    rig.disturb(|k| k.delete(&link("kleene1")).expect("there"), &[gone]);
    assert_eq!(rig.host.looks(), looks + 1);
}

#[test]
fn a_report_that_comes_late_concerns_nobody() {
    let mut rig = running_on(&["inner", "web"]);
    let site = rig.state().container_named("site").expect("site").id;
    let address = |rig: &Rig| {
        let state = rig.state();
        let on = state.network_named("web").expect("web").id;
        let endpoint = state.endpoints_of(site).find(|e| e.network == on).expect("an endpoint");
        endpoint.address.v6.expect("an address")
    };
    let addr = address(&rig);
    rig.ok(Command::NetworkDisconnect { network: "web".into(), container: "site".into() });
    rig.ok(connect("site", "web"));
    assert_eq!(address(&rig), addr);
    let (looks, cable) = (rig.host.looks(), link("epair0a"));
    // All of it was so in between.
    let late = [
        Disturbance::AddressGone { link: link("kleene1"), addr: addr.into() },
        Disturbance::AnswerGone { link: link("kleene1"), addr },
        Disturbance::LinkGone { link: cable.clone() },
        Disturbance::LinkThere {
            link: cable,
            up: false,
            fell: false,
            mark: None,
            port: Some(false),
        },
    ];
    rig.disturb(|_| {}, &late);
    assert_eq!(rig.host.looks(), looks, "looked for what is there");
    // The twins: it is so.
    for piece in rig.host.snapshot().pieces() {
        let told = match &piece {
            Piece::Show { link, addr } if addr.is_ipv6() => {
                Disturbance::AddressGone { link: link.clone(), addr: (*addr).into() }
            }
            Piece::Answer { link, addr } => {
                Disturbance::AnswerGone { link: link.clone(), addr: *addr }
            }
            _ => continue,
        };
        let looks = rig.host.looks();
        rig.disturb(|kernel| kernel.take(&piece), &[told]);
        assert!(rig.host.looks() > looks, "{piece}");
        rig.check();
    }
    // What cannot be looked at may be so.
    let looks = rig.host.looks();
    rig.host.set_deaf(true);
    rig.disturb(|_| {}, &late[..1]);
    assert_eq!(rig.host.looks(), looks + 1);
}

#[test]
fn a_link_that_was_down_in_between_is_looked_at() {
    let mut rig = busy();
    let looks = rig.host.looks();
    for name in ["kleene1", "eth0", "epair0a"] {
        let kernel = rig.host.snapshot();
        let mark = kernel.links[&link(name)].alias.as_deref().and_then(Mark::parse);
        let told = |fell| Disturbance::LinkThere {
            link: link(name),
            up: true,
            fell,
            mark: mark.clone(),
            port: None,
        };
        let looks = rig.host.looks();
        rig.disturb(|_| {}, &[told(false)]);
        assert_eq!(rig.host.looks(), looks, "{name}");
        let flap = |kernel: &mut Kernel| {
            kernel.set_up(&link(name), false).expect("there");
            kernel.set_up(&link(name), true).expect("there");
        };
        rig.disturb(flap, &[told(true)]);
        assert!(rig.host.looks() > looks, "{name}");
        rig.check();
    }
    assert!(rig.host.looks() > looks && rig.degraded.is_empty());
}

#[test]
fn an_ipv6_address_that_the_kernel_claims_again_is_led_away_again() {
    let mut rig = running_on(&["web"]);
    let addr = "fd05:1::2".parse().expect("address");
    // A look does not show an address as standing that the host answers for.
    let show = Piece::Show { link: link("kleene1"), addr };
    rig.disturb(|kernel| kernel.take(&show), &[Disturbance::Claimed { addr }]);
    rig.check();
    assert_eq!(rig.mended.len(), 1);
}

#[test]
fn the_sources_of_the_host_follow_it() {
    let mut rig = running_on(&["inner"]);
    let source = |rig: &Rig| {
        let kernel = rig.host.snapshot();
        let mut steered = kernel.standing.steered.iter();
        steered.find(|(addr, _)| addr.is_ipv4()).and_then(|(_, (_, source))| *source)
    };
    assert_eq!(source(&rig).map(|a| a.to_string()).as_deref(), Some("192.168.1.5"));
    let (old, new) =
        ("192.168.1.5/24".parse().expect("net"), "192.168.1.6/24".parse().expect("net"));
    rig.disturb(
        |kernel| {
            kernel.remove_address(&link("eth0"), old).expect("there");
            kernel.add_address(&link("eth0"), new).expect("added");
        },
        &[Disturbance::AddressGone { link: link("eth0"), addr: old }],
    );
    assert_eq!(source(&rig).map(|a| a.to_string()).as_deref(), Some("192.168.1.6"));
    rig.check();
    rig.disturb(|_| {}, &[Disturbance::DefaultRoute { family: Family::V4 }]);
    rig.check();
}

#[test]
fn whatever_is_vandalised_comes_back() {
    use kleene_engine::fake::Prng;
    for seed in 0..300 {
        let mut rig = busy();
        let mut random = Prng(seed);
        for _ in 0..3 {
            let kernel = rig.host.snapshot();
            let pieces = kernel.pieces();
            let ours = kernel.links.iter().filter(|(_, l)| l.alias.is_some());
            let ours: Vec<_> = ours.map(|(name, _)| name.clone()).collect();
            let draw = random.draw() as usize;
            rig.host.kernel(|kernel| match draw % 4 {
                0 => kernel.delete(&ours[draw / 4 % ours.len()]).expect("there"),
                1 => kernel.set_up(&ours[draw / 4 % ours.len()], false).expect("there"),
                2 => kernel.add_stranger(&link("docker0"), Kind::Other, None).unwrap_or_default(),
                _ => kernel.take(&pieces[draw / 4 % pieces.len()]),
            });
        }
        rig.disturb(|_| {}, &[Disturbance::Anything]);
        assert!(rig.degraded.is_empty(), "seed {seed}: {:?}", rig.degraded);
        rig.check();
    }
}

#[test]
fn a_stopped_container_has_nothing_to_mend() {
    let mut rig = host();
    rig.ok(connect("site", "web"));
    let before = rig.host.snapshot();
    rig.disturb(|_| {}, &[Disturbance::Anything]);
    assert_eq!(rig.host.snapshot(), before);
    assert!(rig.mended.is_empty());
}
