//! Bridges and cables, and what passes over them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use kleene_engine::Host;
use kleene_engine::actual::{Actual, LinkKind};
use kleene_engine::change::{Change, Owner};
use kleene_host::linux::net::sweep;
use kleene_model::LinkName;

use crate::world::{
    World, addresses, ask, endpoint, inside, ip, listen, network, reaches, shown, until, world,
};

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(300);

fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect(path).trim().to_owned()
}

#[test]
fn a_bridge_is_as_it_was_ordered() {
    world(|world| {
        let changes = world.bridge(1);
        world.apply(&changes[..3]);
        let link = LinkName::kleene(1);
        let bridge = shown(&link).expect("the bridge");
        assert_eq!(bridge["linkinfo"]["info_kind"], "bridge");
        assert_eq!(bridge["linkinfo"]["info_data"]["stp_state"], 0);
        assert_eq!(bridge["group"], "default");
        assert_eq!(bridge["ifalias"], world.mark(Owner::Network(network(1))).to_string());
        let Change::MakeBridge { mac, .. } = &changes[0] else { unreachable!() };
        assert_eq!(bridge["address"], mac.to_string());
        assert!(!bridge["flags"].to_string().contains("UP"), "down: {}", bridge["flags"]);
        world.apply(&changes[3..]);
        let bridge = shown(&link).expect("the bridge");
        assert!(bridge["flags"].to_string().contains("\"UP\""), "up: {}", bridge["flags"]);
        let list = ask(&["addr"]);
        assert_eq!(addresses(&list, &link), ["10.9.1.1/24", "fd09:1::1/64"]);
        assert!(ip(&["-6", "addr", "show", "kleene1"]).contains("fd09:1::1/64 scope global nodad"));
        assert_eq!(read("/proc/sys/net/ipv6/conf/kleene1/accept_ra"), "0");
    });
}

fn attached(world: &World) -> (kleene_model::ContainerId, kleene_model::ContainerId) {
    let (one, two) = (world.container(1), world.container(2));
    let mut changes = world.bridge(1);
    for (container, number) in [(one, 1), (two, 2)] {
        changes.push(Change::RaiseLoopback { container });
        changes.extend(world.attach(container, 1, number));
    }
    world.apply(&changes);
    (one, two)
}

#[test]
fn a_cable_leads_into_its_container() {
    world(|world| {
        let (one, _) = attached(world);
        let cable = world.cable(one, 1);
        let host = shown(&cable.host).expect("the host's end");
        assert_eq!(host["master"], "kleene1");
        assert_eq!(host["address"], cable.host_mac.to_string());
        assert_eq!(host["ifalias"], world.mark(Owner::Endpoint(endpoint(1))).to_string());
        assert_eq!(host["linkinfo"]["info_kind"], "veth");
        assert_eq!(read("/proc/sys/net/ipv6/conf/epair1a/disable_ipv6"), "1");
        assert_eq!(shown(&cable.inner), None, "the inner end is not on the host");
        let bridge = || ip(&["-6", "addr", "show", "kleene1"]);
        until("the bridge has its link-local address", || bridge().contains("fe80::"));
        assert!(!bridge().contains("tentative"), "it serves at once");

        let inside = world.ask_inside(one, &["addr"]);
        assert_eq!(addresses(&inside, &cable.inner), ["10.9.1.3/24", "fd09:1::3/64"]);
        let inner = inside.iter().find(|link| link["ifname"] == "epair1b").expect("inner end");
        assert_eq!(inner["address"], cable.inner_mac.to_string());
        assert!(inner["flags"].to_string().contains("\"UP\""));
        assert!(!inner.to_string().contains("tentative"), "{inner}");
        assert!(inner.to_string().contains("\"nodad\":true"), "{inner}");
        let lo = inside.iter().find(|link| link["ifname"] == "lo").expect("lo");
        assert!(lo["flags"].to_string().contains("\"UP\""));
        for (family, via) in [("-4", "10.9.1.1"), ("-6", "fd09:1::1")] {
            let routes = world.ask_inside(one, &[family, "route", "show", "default"]);
            assert_eq!(routes.len(), 1, "{routes:?}");
            assert_eq!(
                (&routes[0]["gateway"], &routes[0]["dev"]),
                (&via.into(), &"epair1b".into())
            );
        }
        let settings = world.within(one, || {
            ["accept_ra", "accept_dad"]
                .map(|key| read(&format!("/proc/sys/net/ipv6/conf/epair1b/{key}")))
        });
        assert_eq!(settings, ["0", "0"]);
    });
}

#[test]
fn what_is_plugged_in_is_reached_and_what_is_retired_is_not() {
    world(|world| {
        let (one, two) = attached(world);
        let ways = [("10.9.1.4", "10.9.1.1"), ("fd09:1::4", "fd09:1::1")];
        let open = |inner: &str, gateway: &str| -> [TcpListener; 2] {
            [world.within(two, || listen(inner)), listen(gateway)]
        };
        let listeners = ways.map(|(inner, gateway)| open(inner, gateway));
        for (inner, gateway) in ways {
            assert!(world.within(one, || reaches(inner, LONG)), "container to {inner}");
            assert!(world.within(one, || reaches(gateway, LONG)), "container to {gateway}");
            assert!(reaches(inner, LONG), "host to {inner}");
        }
        world.apply(&[Change::RetireCable { link: world.owned_cable(1) }]);
        for (inner, gateway) in ways {
            assert!(!world.within(one, || reaches(inner, SHORT)), "container to {inner}");
            assert!(!world.within(one, || reaches(gateway, SHORT)), "container to {gateway}");
            assert!(reaches(inner, LONG), "the other one stays: host to {inner}");
        }
        drop(listeners);
        let retired = shown(&LinkName::cable_host(1)).expect("not deleted yet");
        assert_eq!(retired["master"], serde_json::Value::Null);
        assert!(!retired["flags"].to_string().contains("\"UP\""));
    });
}

/// A forwarded packet makes the kernel ask for its neighbour with the bridge's
/// link-local address: without it IPv6 is not forwarded to containers.
#[test]
fn ipv6_is_forwarded_to_a_container() {
    world(|world| {
        let (one, two) = (world.container(1), world.container(2));
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("forwarding");
        let mut changes = [world.bridge(1), world.bridge(2)].concat();
        changes.extend(world.attach(one, 1, 1));
        changes.extend(world.attach(two, 2, 2));
        world.apply(&changes);
        let listener = world.within(two, || listen("fd09:2::4"));
        assert!(world.within(one, || reaches("fd09:2::4", LONG)));
        drop(listener);
    });
}

#[test]
fn taking_away_twice_is_done() {
    world(|world| {
        let (_, two) = attached(world);
        let cable = world.owned_cable(1);
        for _ in 0..2 {
            world.apply(&[Change::RetireCable { link: cable.clone() }]);
        }
        assert_eq!(sweep(std::slice::from_ref(&cable)).expect("sweep"), [cable.link().clone()]);
        assert_eq!(shown(cable.link()), None);
        world.apply(&[Change::RetireCable { link: cable.clone() }]);
        assert_eq!(sweep(std::slice::from_ref(&cable)).expect("sweep"), [cable.link().clone()]);

        world.bury(two);
        let other = world.owned_cable(2);
        until("the cable goes with its namespace", || shown(other.link()).is_none());
        world.apply(&[Change::RetireCable { link: other }]);
        for _ in 0..2 {
            world.apply(&[Change::RemoveLink { link: world.owned_bridge(1) }]);
        }
        assert_eq!(shown(&LinkName::kleene(1)), None);
    });
}

#[test]
fn a_sweep_takes_many_at_once_and_nobody_elses() {
    world(|world| {
        let container = world.container(1);
        let mut changes = world.bridge(1);
        for number in 1..=6 {
            changes.extend(world.attach(container, 1, number).into_iter().take(3));
        }
        world.apply(&changes);
        let cables: Vec<_> = (1..=6).map(|number| world.owned_cable(number)).collect();
        for cable in &cables[..5] {
            world.apply(&[Change::RetireCable { link: cable.clone() }]);
        }
        // Number 5 is somebody else's meanwhile, number 6 is in use.
        ip(&["link", "set", "epair5a", "alias", "mine"]);
        let gone = sweep(&cables).expect("sweep");
        assert_eq!(gone, cables[..4].iter().map(|c| c.link().clone()).collect::<Vec<_>>());
        let left: Vec<bool> = cables.iter().map(|c| shown(c.link()).is_some()).collect();
        assert_eq!(left, [false, false, false, false, true, true]);
        assert_eq!(shown(&LinkName::cable_host(5)).expect("kept")["group"], "default");
    });
}

/// The kernel deletes with its one lock held: many links go in pieces, between
/// which the rest of the machine gets its turn.
#[test]
fn many_bridges_go_in_pieces() {
    const BRIDGES: u8 = 48;
    world(|world| {
        let made: Vec<Change> = (1..=BRIDGES).flat_map(|number| world.bridge(number)).collect();
        world.apply(&made);
        let ours = || ask(&["link"]).len() - 1;
        assert_eq!(ours(), usize::from(BRIDGES));
        let seen: BTreeSet<usize> = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut seen = BTreeSet::new();
                until("all of them are gone", || {
                    seen.insert(ours());
                    seen.contains(&0)
                });
                seen
            });
            let remove = |number| Change::RemoveLink { link: world.owned_bridge(number) };
            world.apply(&(1..=BRIDGES).map(remove).collect::<Vec<_>>());
            watching.join().expect("watched")
        });
        assert!(seen.contains(&16) || seen.contains(&32), "seen: {seen:?}");
    });
}

/// A cable that somebody else took is not deleted; when it has vanished, its
/// name is told to be free all the same.
#[test]
fn what_a_sweep_left_alone_is_told_when_it_vanishes() {
    world(|world| {
        let container = world.container(1);
        let mut changes = world.bridge(1);
        for number in 1..=2 {
            changes.extend(world.attach(container, 1, number).into_iter().take(3));
        }
        world.apply(&changes);
        let cables = [1, 2].map(|number| world.owned_cable(number));
        for cable in &cables {
            world.apply(&[Change::RetireCable { link: cable.clone() }]);
        }
        ip(&["link", "set", "epair2a", "alias", "mine"]);
        let netns = std::fs::File::open("/proc/thread-self/ns/net").expect("own namespace").into();
        std::thread::scope(|scope| {
            let sweeping = scope.spawn(|| inside(&netns, || sweep(&cables)));
            until("the first try is over", || shown(cables[0].link()).is_none());
            assert!(shown(cables[1].link()).is_some(), "it is somebody else's");
            ip(&["link", "del", "epair2a"]);
            let gone = sweeping.join().expect("the sweep").expect("sweep");
            assert_eq!(gone, cables.each_ref().map(|cable| cable.link().clone()));
        });
    });
}

#[test]
fn the_picture_is_what_ip_shows_and_what_was_absorbed() {
    world(|world| {
        ip(&["link", "add", "wan", "type", "bridge"]);
        ip(&["link", "set", "wan", "alias", "my uplink"]);
        ip(&["addr", "add", "192.0.2.2/24", "dev", "wan"]);
        ip(&["link", "set", "wan", "up"]);
        let mut absorbed = world.observe();
        let container = world.container(1);
        let changes = [world.bridge(1), world.attach(container, 1, 1)].concat();
        world.apply(&changes);
        changes.iter().for_each(|change| absorbed.absorb(change));
        let observed = world.observe();
        assert_eq!(observed.links().collect::<Vec<_>>(), absorbed.links().collect::<Vec<_>>());
        equals_ip(&observed);
        assert_eq!(
            observed.link(&LinkName::parse("wan").expect("name")).expect("wan").mark(),
            None
        );
    });
}

pub(crate) fn equals_ip(observed: &Actual) {
    let list = ask(&["addr"]);
    assert_eq!(list.len(), observed.links().count());
    for found in &list {
        let name = LinkName::parse(found["ifname"].as_str().expect("name")).expect("name");
        let link = observed.link(&name).expect("observed too");
        let kind = match found["linkinfo"]["info_kind"].as_str() {
            Some("bridge") => LinkKind::Bridge,
            Some("veth") => LinkKind::Cable,
            _ => LinkKind::Other,
        };
        assert_eq!(link.kind(), kind, "{name}");
        assert_eq!(link.is_up(), found["flags"].to_string().contains("\"UP\""), "{name}");
        assert_eq!(link.master().map(LinkName::as_str), found["master"].as_str(), "{name}");
        let mark = link.mark().map(ToString::to_string);
        let alias = found["ifalias"].as_str().filter(|alias| alias.starts_with("kleene:"));
        assert_eq!(mark.as_deref(), alias, "{name}");
        let mut texts: Vec<String> = link.addresses().iter().map(ToString::to_string).collect();
        texts.sort();
        let mut expected = addresses(&list, &name);
        if name.as_str() == "lo" {
            expected = vec!["127.0.0.1/8".to_owned(), "::1/128".to_owned()];
        }
        assert_eq!(texts, expected, "{name}");
    }
}

#[test]
fn the_hosts_own_routes_are_listed_and_nothing_else() {
    world(|world| {
        assert!(world.host.borrow_mut().routes().expect("routes").is_empty());
        for line in [
            "link add wan type bridge",
            "link set wan up",
            "addr add 192.0.2.2/24 dev wan",
            "addr add fd77::2/64 dev wan nodad",
            "route add default via 192.0.2.1",
            "-6 route add default via fd77::1",
            "route add 10.200.0.0/16 via 192.0.2.9",
            "route add 203.0.113.0/24 nexthop via 192.0.2.7 nexthop via 192.0.2.8",
            "route add unreachable 10.66.0.0/16",
            "route add 10.77.0.0/16 via 192.0.2.9 table 77",
        ] {
            ip(&line.split(' ').collect::<Vec<_>>());
        }
        world.apply(&world.bridge(1));
        let routes = world.host.borrow_mut().routes().expect("routes");
        let mut texts: Vec<String> = routes
            .iter()
            .map(|r| format!("{} {}", r.destination, r.link.as_ref().expect("link")))
            .collect();
        texts.sort();
        let expected = [
            "0.0.0.0/0 wan",
            "10.200.0.0/16 wan",
            "192.0.2.0/24 wan",
            "203.0.113.0/24 wan",
            "::/0 wan",
            "fd77::/64 wan",
        ];
        assert_eq!(texts, expected);
    });
}
