//! What the kernel refuses is told of the right change, and what is not ours
//! is left alone.

use std::error::Error;

use kleene_engine::change::{Change, Owner};
use kleene_engine::host::chain;
use kleene_host::linux::net::{NetError, sweep};
use kleene_model::LinkName;

use crate::world::{World, address, addresses, ask, container, endpoint, ip, shown, world};

/// Applies changes of which the one at `at` must fail; what was said.
fn refused(world: &World, changes: &[Change], at: usize) -> String {
    let error = world.try_apply(changes).expect_err("it must be refused");
    assert_eq!(error.done, at, "{}", chain(&error));
    assert_eq!(*error.change, changes[at]);
    assert!(error.source().is_some_and(|source| source.is::<NetError>()));
    chain(&error)
}

#[test]
fn a_name_that_exists_is_never_taken_over() {
    world(|world| {
        ip(&["link", "add", "kleene1", "type", "bridge"]);
        let before = shown(&LinkName::kleene(1));
        let text = refused(world, &world.bridge(1), 0);
        assert!(text.ends_with("an interface kleene1 exists already"), "{text}");
        assert_eq!(shown(&LinkName::kleene(1)), before, "nothing of it was changed");
        assert_eq!(addresses(&ask(&["addr"]), &LinkName::kleene(1)), [""; 0]);

        let one = world.container(1);
        world.apply(&world.bridge(2));
        world.apply(&world.attach(one, 2, 1));
        let text = refused(world, &world.attach(one, 2, 1), 0);
        assert!(text.ends_with("an interface epair1a exists already"), "{text}");
        assert!(shown(&LinkName::cable_host(1)).is_some());
    });
}

#[test]
fn a_failure_behind_others_names_its_own_change() {
    world(|world| {
        let one = world.container(1);
        world.apply(&world.bridge(1));
        let mut changes = world.attach(one, 1, 1);
        let duplicate = changes[3].clone();
        changes.insert(4, duplicate);
        let text = refused(world, &changes, 4);
        assert!(text.contains("add address 10.9.1.3/24 to epair1b"), "{text}");
        assert!(text.contains("File exists") || text.contains("already"), "{text}");

        let bridge = LinkName::kleene(1);
        let twice = Change::AddAddress { link: bridge, addr: "10.9.1.1/24".parse().expect("net") };
        refused(world, &[twice], 0);
        let changes = world.bridge(3);
        let six = [&changes[..3], &changes[2..]].concat();
        refused(world, &six, 3);
    });
}

#[test]
fn links_and_namespaces_that_are_not_there_are_named() {
    world(|world| {
        let one = world.container(1);
        let changes = world.attach(one, 7, 1);
        let text = refused(world, &changes, 1);
        assert!(text.ends_with("there is no interface kleene7"), "{text}");
        let text = refused(world, &[Change::RaiseLink { link: LinkName::kleene(9) }], 0);
        assert!(text.ends_with("there is no interface kleene9"), "{text}");

        let stranger = container(99);
        let text = refused(world, &[Change::RaiseLoopback { container: stranger }], 0);
        assert!(text.ends_with(&format!("network namespace of container {stranger} is not known")));
        let mut changes = world.bridge(1);
        changes.extend(world.attach(stranger, 1, 2));
        refused(world, &changes, 4);
        assert_eq!(shown(&LinkName::cable_host(2)), None);

        let link = LinkName::cable_container(44);
        let inner = Change::RaiseInnerLink { container: one, link: link.clone() };
        let text = refused(world, &[inner], 0);
        assert!(text.ends_with("there is no interface epair44b"), "{text}");
        let via = address("10.9.1.1");
        let lo = LinkName::parse("lo").expect("name");
        let route = Change::AddDefaultRoute { container: one, link: lo, via };
        let text = refused(world, &[route], 0);
        assert!(text.contains("set the IPv4 default route"), "{text}");
    });
}

#[test]
fn what_lost_its_mark_is_never_taken_away() {
    world(|world| {
        let one = world.container(1);
        let mut changes = world.bridge(1);
        changes.extend(world.attach(one, 1, 1));
        world.apply(&changes);
        let (bridge, cable) = (world.owned_bridge(1), world.owned_cable(1));
        let addr = "10.9.1.1/24".parse().expect("net");
        for alias in ["", "somebody else's", "kleene:other:network:a00000000001"] {
            for link in ["kleene1", "epair1a"] {
                ip(&["link", "set", link, "alias", alias]);
            }
            let found = if alias.is_empty() { "no mark".to_owned() } else { format!("{alias:?}") };
            for change in [
                Change::RemoveLink { link: bridge.clone() },
                Change::RemoveAddress { link: bridge.clone(), addr },
                Change::RetireCable { link: cable.clone() },
            ] {
                let text = refused(world, &[change], 0);
                assert!(
                    text.ends_with(&format!("is not ours any more: it carries {found}")),
                    "{text}"
                );
            }
            assert_eq!(sweep(std::slice::from_ref(&cable)).expect("sweep"), []);
            assert_eq!(addresses(&ask(&["addr"]), bridge.link()), ["10.9.1.1/24", "fd09:1::1/64"]);
            assert_eq!(shown(cable.link()).expect("there")["master"], "kleene1");
        }
    });
}

#[test]
fn an_address_that_is_not_there_cannot_be_removed() {
    world(|world| {
        world.apply(&world.bridge(1));
        let addr = "10.9.1.1/24".parse().expect("net");
        let remove = Change::RemoveAddress { link: world.owned_bridge(1), addr };
        world.apply(std::slice::from_ref(&remove));
        assert_eq!(addresses(&ask(&["addr"]), &LinkName::kleene(1)), ["fd09:1::1/64"]);
        let text = refused(world, &[remove], 0);
        assert!(text.contains("remove address 10.9.1.1/24 from kleene1"), "{text}");
        world.apply(&[Change::RemoveLink { link: world.owned_bridge(1) }]);
        let gone = Change::RemoveAddress { link: world.owned_bridge(1), addr };
        assert!(refused(world, &[gone], 0).ends_with("there is no interface kleene1"));
    });
}

/// A link that was made again by somebody else, with the same name: a cached
/// index must not lead to it.
#[test]
fn a_stale_index_meets_nobody() {
    world(|world| {
        world.apply(&world.bridge(1));
        ip(&["link", "del", "kleene1"]);
        ip(&["link", "add", "kleene1", "type", "bridge"]);
        let raise = Change::RaiseLink { link: LinkName::kleene(1) };
        refused(world, &[raise], 0);
        let bridge = shown(&LinkName::kleene(1)).expect("there");
        assert!(!bridge["flags"].to_string().contains("\"UP\""));
        let mark = world.mark(Owner::Endpoint(endpoint(1)));
        assert_ne!(bridge["ifalias"], mark.to_string());
    });
}
