//! A new view.

use kleene_host::linux::view::interfaces;

use crate::world::{CABLE, World, addresses, ip, ips, listen, names, reaches, shown, until, world};

/// A host with links of several kinds, and a cable that views do not show.
fn populate() {
    ips(&[
        "link add uplink0 mtu 1400 address 02:00:00:00:00:01 type veth peer name far0",
        "link set uplink0 up",
        "link set far0 up",
        "link add kleene0 address 02:00:00:00:00:02 type bridge",
        "link set kleene0 alias kleene:main:network:2f1dc29b8f36 up",
        "link add big0 index 4711 mtu 9000 type bridge",
        "link add epair1a type veth peer name other0",
        "link add epair2a type veth peer name epair2b",
    ]);
    for link in ["epair1a", "epair2a"] {
        ip(&["link", "set", link, "alias", CABLE]);
    }
    ips(&["link del big0", "link add big0 index 4711 mtu 9000 type bridge"]);
}

#[test]
fn a_view_shows_the_hosts_interfaces_and_no_cables() {
    world(|world| {
        populate();
        let done = world.furnish(None);
        let mut host = shown();
        host.retain(|link| !["epair1a", "epair2a"].contains(&link.name.as_str()));
        // The other end has no mark: it stands for a link that users made.
        let expected = ["big0", "epair2b", "far0", "kleene0", "other0", "uplink0"];
        assert_eq!(host.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(world.within(shown), host);
        assert_eq!(done.made, expected.len());
        assert!(host.iter().any(|link| link.up) && host.iter().any(|link| !link.up));
    });
}

#[test]
fn a_view_has_no_address_but_its_own_loopback() {
    world(|world| {
        populate();
        ips(&["addr add 10.7.0.1/24 dev kleene0", "addr add fd07::1/64 dev uplink0 nodad"]);
        let own = || addresses().iter().any(|addr| addr.starts_with("fe80::"));
        until("the host's links, the twins, have addresses of their own", own);
        let _listener = listen("10.7.0.1", 7);
        assert!(reaches("10.7.0.1", 7), "the twin: the host itself reaches it");
        world.furnish(None);
        assert_eq!(world.within(addresses), ["::1/128 lo"]);
        // Not even when a mirror goes down and up.
        for state in ["down", "up"] {
            ip(&["link", "set", "uplink0", state]);
            world.sync();
        }
        assert_eq!(world.within(addresses), ["::1/128 lo"]);
        assert!(!world.within(|| reaches("10.7.0.1", 7)), "there is no route to the host");
    });
}

#[test]
fn the_loopback_of_a_view_is_its_own() {
    world(|world| {
        populate();
        let host4 = listen("127.0.0.1", 7007);
        let host6 = listen("::1", 7007);
        world.furnish(None);
        for addr in ["127.0.0.1", "::1"] {
            assert!(reaches(addr, 7007), "the host itself reaches it: {addr}");
            assert!(!world.within(|| reaches(addr, 7007)), "out of reach: {addr}");
        }
        drop((host4, host6));
        world.within(|| {
            for addr in ["127.0.0.1", "127.8.9.10", "::1"] {
                let listener = listen(addr, 7008);
                assert!(reaches(addr, 7008), "{addr}");
                drop(listener);
                // A child of another test may have the socket until its `exec`.
                until(&format!("nobody listens on {addr}"), || !reaches(addr, 7008));
            }
        });
    });
}

#[test]
fn addresses_can_be_used_on_mirrors() {
    world(|world| {
        populate();
        world.furnish(None);
        world.within(|| {
            for link in ["kleene0", "uplink0"] {
                ip(&["addr", "add", "10.7.0.9/32", "dev", link]);
                ip(&["addr", "add", "fd07::9/128", "dev", link, "nodad"]);
                for addr in ["10.7.0.9", "fd07::9"] {
                    let _listener = listen(addr, 7009);
                    // The kernel may take a moment with its route.
                    until(&format!("{addr} works on {link}"), || reaches(addr, 7009));
                }
                ip(&["addr", "flush", "dev", link]);
            }
        });
    });
}

#[test]
fn the_place_of_a_cable_stays_free() {
    world(|world| {
        populate();
        world.furnish(Some("kleene0"));
        assert!(!world.within(names).contains(&"kleene0".to_owned()));
        let index = interfaces().expect("list").into_iter().find(|m| m.name.as_str() == "kleene0");
        let index = index.expect("the network's interface").index.to_string();
        world.within(|| {
            let line = format!("link add kleene0 index {index} type veth peer name x index 999");
            ips(&[&line]);
        });
    });
}

/// A daemon that was killed in between begins again.
#[test]
fn a_view_can_be_furnished_again() {
    world(|world| {
        ips(&["link add one0 type bridge", "link add two0 mtu 1300 type bridge"]);
        world.furnish(Some("one0"));
        ips(&["link set two0 mtu 1350 up"]);
        let done = world.furnish(None);
        assert_eq!((done.made, done.changed), (1, 2));
        world.assert_same();
        assert_eq!(world.within(addresses), ["::1/128 lo"]);
    });
}

const WITHOUT: &[&str] =
    &["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", "--ambient-caps=-all"];

fn try_all(world: &World, prefix: &[&str]) -> Vec<bool> {
    let lines = [
        "ip link set kleene0 mtu 1300",
        "ip link set kleene0 down",
        "ip link set kleene0 name mine0",
        "ip link add new0 type bridge",
        "ip addr add 10.7.0.5/24 dev uplink0",
        "ip route add unreachable 10.8.0.0/24",
        "ip link del uplink0",
    ];
    let run = |line: &str| {
        let args: Vec<&str> = prefix.iter().copied().chain(line.split(' ')).collect();
        world.execute(&args).status.success()
    };
    lines.map(run).to_vec()
}

#[test]
fn nothing_can_be_configured_without_the_capability() {
    world(|world| {
        populate();
        world.furnish(None);
        let look = [WITHOUT, &["ip", "-j", "link"]].concat();
        assert!(world.execute(&look).status.success(), "looking is permitted");
        let before = world.within(|| (shown(), addresses()));
        assert_eq!(try_all(world, WITHOUT), [false; 7]);
        let nested = [WITHOUT, &["unshare", "--user", "--map-root-user"]].concat();
        let look = [&nested[..], &["ip", "-j", "link"]].concat();
        assert!(world.execute(&look).status.success(), "looking is permitted there, too");
        assert_eq!(try_all(world, &nested), [false; 7], "nor from a user namespace within");
        assert_eq!(world.within(|| (shown(), addresses())), before);
        assert_eq!(try_all(world, &[]), [true; 7], "the twin: with it everything can");
    });
}
