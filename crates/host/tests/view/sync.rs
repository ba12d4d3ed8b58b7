//! A view follows the host.

use kleene_engine::host::chain;

use crate::world::{addresses, ip, ips, names, shown, world};

#[test]
fn a_view_follows_what_comes_and_goes() {
    world(|world| {
        ips(&["link add one0 type bridge"]);
        world.furnish(None);
        ips(&["link add two0 mtu 1280 type bridge", "link add three0 up type veth peer name far0"]);
        let done = world.sync();
        assert_eq!((done.made, done.deleted, done.renamed, done.changed), (3, 0, 0, 0));
        world.assert_same();
        ips(&["link del one0"]);
        assert_eq!(world.sync().deleted, 1);
        world.assert_same();
        ips(&["link del two0", "link del three0"]);
        assert_eq!(world.sync().deleted, 3, "several at once");
        assert_eq!(world.within(names), [""; 0]);
        // The same name again is another interface.
        ips(&["link add one0 type bridge"]);
        world.sync();
        ips(&["link del one0", "link add one0 type bridge"]);
        let done = world.sync();
        assert_eq!((done.made, done.deleted), (1, 1));
        world.assert_same();
    });
}

#[test]
fn a_view_follows_mtu_and_state() {
    world(|world| {
        ips(&["link add one0 type bridge", "link add two0 up type bridge"]);
        world.furnish(None);
        ips(&["link set one0 mtu 9000 up", "link set two0 down"]);
        let done = world.sync();
        assert_eq!((done.made, done.deleted, done.renamed, done.changed), (0, 0, 0, 3));
        world.assert_same();
    });
}

#[test]
fn a_view_follows_names_that_are_swapped() {
    world(|world| {
        ips(&[
            "link add one0 up type bridge",
            "link add two0 up mtu 1300 type bridge",
            "link add three0 type bridge",
            "link add four0 type bridge",
        ]);
        world.furnish(None);
        world.within(|| {
            ips(&["addr add 10.7.0.9/32 dev one0", "addr add fd07::9/128 dev one0 nodad"]);
        });
        ips(&["link set one0 name uplink0"]);
        let done = world.sync();
        assert_eq!((done.made, done.deleted, done.renamed, done.changed), (0, 0, 1, 0));
        world.assert_same();
        let all = ["10.7.0.9/32 uplink0", "::1/128 lo", "fd07::9/128 uplink0"];
        assert_eq!(world.within(addresses), all);
        ips(&["link set uplink0 name x", "link set two0 name uplink0", "link set x name two0"]);
        assert_eq!(world.sync().renamed, 2);
        world.assert_same();
        let all = ["10.7.0.9/32 two0", "::1/128 lo", "fd07::9/128 two0"];
        assert_eq!(world.within(addresses), all);
        // Round in a circle, while one goes and its name is taken by another.
        ips(&[
            "link set two0 name x",
            "link set three0 name two0",
            "link set uplink0 name three0",
            "link set x name uplink0",
            "link del four0",
            "link set two0 name four0",
            "link add two0 type bridge",
        ]);
        let done = world.sync();
        assert_eq!((done.made, done.deleted, done.renamed), (1, 1, 3));
        world.assert_same();
        let all = ["10.7.0.9/32 uplink0", "::1/128 lo", "fd07::9/128 uplink0"];
        assert_eq!(world.within(addresses), all);
    });
}

#[test]
fn addresses_outlive_an_interface_that_goes_down() {
    world(|world| {
        ips(&["link add one0 up type bridge"]);
        world.furnish(None);
        let list = || addresses().into_iter().filter(|addr| addr.ends_with("one0")).count();
        world.within(|| {
            ips(&["addr add 10.7.0.9/32 dev one0", "addr add fd07::9/128 dev one0 nodad"]);
            assert_eq!(list(), 2);
        });
        for state in ["down", "up"] {
            ip(&["link", "set", "one0", state]);
            assert_eq!(world.sync().changed, 1);
            assert_eq!(world.within(list), 2, "{state}");
        }
        let text = world.within(|| ip(&["-6", "addr", "show", "dev", "one0"]));
        assert!(!text.contains("tentative"), "{text}");
    });
}

#[test]
fn a_view_follows_mac_addresses() {
    world(|world| {
        ips(&["link add one0 up type bridge", "link add two0 type bridge"]);
        world.furnish(None);
        ips(&["link set one0 address 02:00:00:00:00:07"]);
        assert!(world.sync().stale.is_empty());
        world.assert_same();
        // Never at the price of a container's address.
        world.within(|| ips(&["addr add 10.7.0.9/32 dev two0"]));
        ips(&["link set two0 address 02:00:00:00:00:08"]);
        let done = world.sync();
        assert_eq!(world.within(addresses), ["10.7.0.9/32 two0", "::1/128 lo"]);
        assert_eq!(done.stale.is_empty(), world.within(shown) == shown());
    });
}

#[test]
fn the_inner_end_of_a_cable_is_left_alone() {
    world(|world| {
        ips(&["link add kleene0 index 40 type bridge", "link add one0 index 50 type bridge"]);
        world.furnish(Some("kleene0"));
        world.within(|| {
            ips(&[
                "link add kleene0 index 40 type veth peer name epair9b index 60",
                "link set kleene0 mtu 1234 address 02:00:00:00:00:0a up",
                "addr add 10.7.0.9/32 dev kleene0",
            ]);
        });
        let cable = || {
            let mut links = shown();
            links.retain(|link| ["kleene0", "epair9b"].contains(&link.name.as_str()));
            (links, addresses())
        };
        let before = world.within(cable);
        assert_eq!(before.0.len(), 2);
        let check = |rest: &[&str]| {
            world.sync();
            assert_eq!(world.within(cable), before);
            let mut others = world.within(names);
            others.retain(|name| name != "kleene0" && name != "epair9b");
            assert_eq!(others, rest);
        };
        check(&["one0"]);
        ips(&["link set kleene0 up mtu 1400"]);
        check(&["one0"]);
        ips(&["link set kleene0 name renamed0"]);
        check(&["one0"]);
        ips(&["link set one0 name kleene0"]);
        check(&[]);
        ips(&["link set kleene0 name one0", "link add two0 type bridge"]);
        check(&["one0", "two0"]);
        ips(&["link del renamed0"]);
        check(&["one0", "two0"]);
    });
}

#[test]
fn one_that_fails_keeps_no_other_away() {
    world(|world| {
        ips(&["link add one0 index 40 type bridge"]);
        world.furnish(None);
        // Somebody gives a mirror a name that two interfaces will want.
        ips(&["link add two0 index 50 type bridge", "link add three0 index 60 type bridge"]);
        world.within(|| ips(&["link property add dev one0 altname two0"]));
        let done = world.try_sync();
        assert_eq!(done.made, 1);
        assert_eq!(done.failed.len(), 1);
        let text = chain(&done.failed[0]);
        assert!(text.starts_with("cannot mirror two0: "), "{text}");
        assert_eq!(world.within(names), ["one0", "three0"]);
        world.within(|| ips(&["link property del dev one0 altname two0"]));
        world.sync();
        world.assert_same();
    });
}
