//! What happens to the host's network is told, and what is of no concern is
//! not.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use kleene_engine::change::{Change, Mark, Owner};
use kleene_engine::host::chain;
use kleene_engine::piece::Piece;
use kleene_host::linux::net::monitor::{LinkState, Monitor, RouteKind, RouteTable, Seen};
use kleene_model::LinkName;

use crate::world::{World, address, ip, network, world};

const LONG: Duration = Duration::from_secs(5);

fn run(lines: &[&str]) {
    lines.iter().for_each(|line| drop(ip(&line.split(' ').collect::<Vec<_>>())));
}

fn nft(command: &str) {
    let status = Command::new("nft").arg(command).status().expect("nft");
    assert!(status.success(), "{command}");
}

fn open(world: &World) -> Monitor {
    Monitor::open(&world.host.borrow()).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Waits until all of it was told; everything that was, in that time.
fn hear(monitor: &mut Monitor, expected: &[Seen]) -> Vec<Seen> {
    let (mut told, deadline) = (Vec::new(), Instant::now() + LONG);
    while !expected.iter().all(|seen| told.contains(seen)) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "told: {told:#?}\nexpected: {expected:#?}");
        told.extend(monitor.wait(left).expect("to be told"));
    }
    told
}

/// What was told until now: something is done last, and waited for.
fn all(monitor: &mut Monitor) -> Vec<Seen> {
    run(&["link add last type bridge", "link del last"]);
    let last = Seen::Link { name: name("last"), state: LinkState::Gone };
    let mut told = hear(monitor, std::slice::from_ref(&last));
    told.retain(|seen| !matches!(seen, Seen::Link { name, .. } if name.as_str() == "last"));
    told
}

fn name(text: &str) -> LinkName {
    LinkName::parse(text).expect(text)
}

fn link(text: &str, up: bool, master: Option<&str>, mark: Option<&Mark>) -> Seen {
    let (name, master, mark) = (name(text), master.map(name), mark.cloned());
    Seen::Link { name, state: LinkState::There { up, fell: false, master, mark } }
}

/// One that went down.
fn fallen(text: &str, up: bool, mark: Option<&Mark>) -> Seen {
    let state = LinkState::There { up, fell: true, master: None, mark: mark.cloned() };
    Seen::Link { name: name(text), state }
}

fn gone(text: &str) -> Seen {
    Seen::Link { name: name(text), state: LinkState::Gone }
}

fn addr(link: &str, addr: &str, ours: bool, there: bool) -> Seen {
    Seen::Address { link: Some(name(link)), addr: addr.parse().expect(addr), ours, there }
}

/// A route in table `main`, not ours.
fn way(destination: &str, kind: RouteKind, link: &str, there: bool) -> Seen {
    let destination = destination.parse().expect(destination);
    let (table, link) = (RouteTable::Main, Some(name(link)));
    Seen::Route { destination, table, kind, link, ours: false, there }
}

/// The kernel's own route to an address of the host.
fn own_route(addr: &str, link: &str, there: bool) -> Seen {
    let destination = address(addr).into();
    let (table, kind, link) = (RouteTable::Local, RouteKind::Local, Some(name(link)));
    Seen::Route { destination, table, kind, link, ours: false, there }
}

#[test]
fn links_are_told() {
    world(|world| {
        let mut monitor = open(world);
        let mark = world.mark(Owner::Network(network(1)));
        let alias = format!("link set wan alias {mark}");
        let steps: [(&[&str], &[Seen]); 9] = [
            (&["link add wan type bridge"], &[link("wan", false, None, None)]),
            (&["link set wan up"], &[link("wan", true, None, None)]),
            (&[&alias], &[link("wan", true, None, Some(&mark))]),
            (&["link set wan down", "link set wan up"], &[fallen("wan", true, Some(&mark))]),
            (
                &["link add p1 type veth peer name p2", "link set p1 master wan"],
                &[link("p1", false, Some("wan"), None), link("p2", false, None, None)],
            ),
            (&["link set p1 nomaster"], &[link("p1", false, None, None)]),
            (&["link set p1 name p3"], &[gone("p1"), link("p3", false, None, None)]),
            (&["link set wan alias uplink"], &[link("wan", true, None, None)]),
            (&["link del wan", "link del p2"], &[gone("p2"), gone("p3"), gone("wan")]),
        ];
        for (lines, expected) in steps {
            run(lines);
            hear(&mut monitor, expected);
        }
        assert_eq!(all(&mut monitor), []);
        assert_eq!(monitor.wait(Duration::ZERO).expect("silence"), []);
    });
}

#[test]
fn addresses_are_told() {
    world(|world| {
        run(&["link add wan type bridge", "link set wan up"]);
        let mut monitor = open(world);
        run(&["addr add 192.0.2.2/24 dev wan", "addr add fd77::2/64 dev wan nodad"]);
        // The kernel takes its time with the second route.
        let came = [
            addr("wan", "192.0.2.2/24", false, true),
            addr("wan", "fd77::2/64", false, true),
            own_route("192.0.2.2", "wan", true),
            own_route("fd77::2", "wan", true),
        ];
        hear(&mut monitor, &came);
        run(&["addr del 192.0.2.2/24 dev wan", "link set wan down"]);
        let went = [
            fallen("wan", false, None),
            addr("wan", "192.0.2.2/24", false, false),
            addr("wan", "fd77::2/64", false, false),
            own_route("192.0.2.2", "wan", false),
            own_route("fd77::2", "wan", false),
        ];
        hear(&mut monitor, &went);
    });
}

#[test]
fn routes_are_told() {
    world(|world| {
        run(&[
            "link add wan type bridge",
            "link set wan up",
            "addr add 192.0.2.2/24 dev wan",
            "addr add fd77::2/64 dev wan nodad",
        ]);
        let mut monitor = open(world);
        run(&[
            "route add default via 192.0.2.1",
            "-6 route add default via fd77::1",
            "route add 128.0.0.0/1 via 192.0.2.1",
            "route add 10.1.2.3/32 via 192.0.2.9",
            "-6 route add fd01::3/128 via fd77::9",
            "route add blackhole 10.1.2.4/32",
        ]);
        let routes = |there| {
            let of = |to| way(to, RouteKind::Unicast, "wan", there);
            ["0.0.0.0/0", "::/0", "128.0.0.0/1", "10.1.2.3/32", "fd01::3/128"].map(of)
        };
        let told = hear(&mut monitor, &routes(true));
        let hole = |seen: &Seen| {
            matches!(seen, Seen::Route { destination, kind: RouteKind::Other, link: None, there: true, .. }
                if destination.addr() == address("10.1.2.4"))
        };
        assert!(told.iter().any(hole), "{told:?}");
        run(&[
            "route del default",
            "-6 route del default",
            "route del 128.0.0.0/1",
            "route del 10.1.2.3/32",
            "-6 route del fd01::3/128",
        ]);
        hear(&mut monitor, &routes(false));
    });
}

#[test]
fn what_is_of_no_concern_is_not_told() {
    world(|world| {
        run(&["link add wan type bridge", "link set wan up", "addr add 192.0.2.2/24 dev wan"]);
        let mut monitor = open(world);
        run(&[
            "link set wan mtu 1400",
            "link set wan alias uplink",
            "link set wan address 02:00:00:00:00:07",
            "neigh add 192.0.2.9 lladdr 02:00:00:00:00:01 dev wan",
            "neigh del 192.0.2.9 dev wan",
            "route add 10.1.0.0/16 via 192.0.2.9",
            "route add 10.1.2.3/32 via 192.0.2.9 table 77",
            "-6 addr add fe80::7/64 dev wan nodad",
            "-6 addr del fe80::7/64 dev wan",
        ]);
        assert_eq!(all(&mut monitor), []);
    });
}

/// What the documentation of the module says of the kernel's silence.
#[test]
fn the_kernel_keeps_silent_about_what_goes_with_a_link() {
    world(|world| {
        run(&["link add wan type bridge", "link set wan up"]);
        run(&["route add 10.1.2.3/32 dev wan", "neigh add proxy 10.1.2.4 dev wan"]);
        let mut monitor = open(world);
        run(&["neigh add proxy 10.1.2.5 dev wan", "neigh del proxy 10.1.2.5 dev wan"]);
        assert_eq!(all(&mut monitor), []);
        run(&["link set wan down", "link set wan up"]);
        assert_eq!(all(&mut monitor), [fallen("wan", true, None)]);
        assert_eq!(ip(&["route", "show", "10.1.2.3"]), "");
        assert_eq!(ip(&["neigh", "show", "proxy"]), "");
    });
}

fn put(pieces: impl IntoIterator<Item = Piece>) -> Vec<Change> {
    pieces.into_iter().map(|piece| Change::Put { piece }).collect()
}

#[test]
fn what_others_do_to_our_rules_is_told_and_what_we_do_is_not() {
    if Command::new("nft").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("KLEENE_REQUIRE_ROOT_TESTS").is_none_or(|value| value != "1"),
            "this test needs the program nft, and KLEENE_REQUIRE_ROOT_TESTS=1 says that it must run"
        );
        eprintln!("SKIPPED: this test needs the program nft");
        return;
    }
    world(|world| {
        // Opened before the table, whose socket the host opens when it needs it.
        let mut monitor = open(world);
        let guard = |last: u8| Piece::Guard { addr: IpAddr::from([10, 9, 1, last]) };
        let many: Vec<Piece> = (2..250).map(guard).collect();
        for apply in [put([guard(1)]), put(many), put([guard(1)])] {
            world.apply(&apply);
            assert_eq!(all(&mut monitor), []);
        }
        for (foreign, ours) in [
            ("add table inet filter", false),
            ("add table ip kleene-test", false),
            ("add element inet kleene-test addresses4 { 10.9.2.1 }", true),
            ("add chain inet kleene-test other", true),
            ("delete table ip kleene-test", false),
            ("flush ruleset", true),
        ] {
            nft(foreign);
            let expected: &[Seen] = if ours { &[Seen::Rules] } else { &[] };
            assert_eq!(all(&mut monitor), expected, "{foreign}");
        }
        world.apply(&[Change::Take { piece: guard(1) }]);
        world.apply(&put([guard(1)]));
        assert_eq!(all(&mut monitor), []);
    });
}

#[test]
fn what_we_do_ourselves_is_told_as_ours() {
    world(|world| {
        run(&["link add wan type bridge", "link set wan up"]);
        let mut monitor = open(world);
        let (four, six) = (address("10.9.1.3"), address("fd09:1::3"));
        let pieces = [four, six].map(|addr| {
            let link = name("wan");
            [Piece::Guard { addr }, Piece::Fallback { addr }, Piece::Show { link, addr }]
        });
        world.apply(&put(pieces.into_iter().flatten()));
        let told = all(&mut monitor);
        let expected =
            [addr("wan", "10.9.1.3/32", true, true), addr("wan", "fd09:1::3/128", true, true)];
        assert!(expected.iter().all(|seen| told.contains(seen)), "{told:?}");
        let fallback = |seen: &&Seen| {
            matches!(
                seen,
                Seen::Route { kind: RouteKind::Unreachable, ours: true, there: true, .. }
            )
        };
        assert_eq!(told.iter().filter(fallback).count(), 2, "{told:?}");
        // It was led away by us, which is not told: nor that it was there.
        let led_away = |seen: &&Seen| {
            [true, false].iter().any(|there| **seen == own_route("fd09:1::3", "wan", *there))
        };
        assert_eq!(told.iter().filter(led_away).count(), 0, "{told:?}");
        world.apply(&[Change::Take { piece: Piece::Fallback { addr: four } }]);
        world.apply(&[Change::Take { piece: Piece::Fallback { addr: six } }]);
        assert_eq!(all(&mut monitor), []);
        // The twin: somebody else does.
        world.apply(&put([four, six].map(|addr| Piece::Fallback { addr })));
        run(&[
            "route del unreachable 10.9.1.3/32 table local",
            "-6 route del unreachable fd09:1::3/128",
        ]);
        assert_eq!(
            all(&mut monitor)
                .iter()
                .filter(|seen| matches!(seen, Seen::Route { there: false, .. }))
                .count(),
            2
        );

        // Somebody sets it anew: it is not ours any more, and the kernel claims it.
        run(&["addr del fd09:1::3/128 dev wan", "addr add fd09:1::3/128 dev wan nodad"]);
        let theirs = addr("wan", "fd09:1::3/128", false, true);
        hear(&mut monitor, &[theirs, own_route("fd09:1::3", "wan", true)]);
    });
}

#[test]
fn a_network_of_ours_is_told_as_it_stands() {
    world(|world| {
        let mut monitor = open(world);
        let container = world.container(1);
        world.apply(&world.bridge(1));
        world.apply(&world.attach(container, 1, 1));
        let (bridge, cable) =
            (world.mark(Owner::Network(network(1))), world.owned_cable(1).mark().clone());
        let expected = [
            link("epair1a", true, Some("kleene1"), Some(&cable)),
            link("kleene1", true, None, Some(&bridge)),
            addr("kleene1", "10.9.1.1/24", false, true),
            addr("kleene1", "fd09:1::1/64", false, true),
        ];
        hear(&mut monitor, &expected);
        run(&["link del epair1a", "link set kleene1 down"]);
        hear(&mut monitor, &[gone("epair1a"), fallen("kleene1", false, Some(&bridge))]);
    });
}

#[test]
fn too_much_to_hear_is_told_and_heard_on_from_there() {
    world(|world| {
        let room = 4096;
        let monitor = Monitor::open_with_room(&world.host.borrow(), room);
        let mut monitor = monitor.expect("a monitor");
        run(&["link add wan type bridge"]);
        for number in 0..40 {
            run(&[&format!("addr add 10.1.0.{number}/32 dev wan")]);
        }
        assert_eq!(monitor.wait(LONG).expect("to be told"), [Seen::Overrun]);
        assert_eq!(monitor.wait(Duration::ZERO).expect("silence"), []);
        // The link is known although nothing was told of it.
        run(&["addr del 10.1.0.7/32 dev wan"]);
        hear(&mut monitor, &[addr("wan", "10.1.0.7/32", false, false)]);
        run(&["link set wan up"]);
        hear(&mut monitor, &[link("wan", true, None, None)]);
    });
}

#[test]
fn nothing_is_missed_before_the_first_wait_nor_elsewhere() {
    world(|world| {
        let mut monitor = open(world);
        run(&["link add wan type bridge", "addr add 192.0.2.2/24 dev wan"]);
        // It hears of the namespace it was opened in, wherever it is asked.
        let elsewhere = world.container(1);
        let told = world.within(elsewhere, || {
            run(&["link add other type bridge"]);
            let expected =
                [link("wan", false, None, None), addr("wan", "192.0.2.2/24", false, true)];
            hear(&mut monitor, &expected)
        });
        assert!(
            !told
                .iter()
                .any(|seen| matches!(seen, Seen::Link { name, .. } if name.as_str() == "other"))
        );
    });
}
