//! Which address an endpoint gets.

use std::collections::BTreeSet;

use kleene_engine::fake::Rig;
use kleene_engine::{Command, view};
use kleene_model::Driver;
use proptest::prelude::*;

fn address(rig: &Rig, container: &str) -> String {
    let shown = view::container_inspect(&rig.state(), container).expect("it is there");
    let shown: Vec<String> =
        shown.container_endpoints.into_iter().map(|endpoint| endpoint.ip_address).collect();
    shown.join(" ")
}

fn given(rig: &mut Rig, name: &str, network: &str, addr: &str) -> Result<String, String> {
    rig.container_of(name, Driver::Vnet);
    match rig.ask(Command::NetworkConnect(Rig::endpoint_config(name, network, addr))) {
        Ok(_) => Ok(address(rig, name)),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn auto(rig: &mut Rig, name: &str, network: &str) -> String {
    given(rig, name, network, "<auto>").unwrap_or_else(|refusal| refusal)
}

#[test]
fn the_first_after_an_automatic_gateway_is_2() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    assert_eq!(auto(&mut rig, "c1", "web"), "10.4.6.2");
    assert_eq!(auto(&mut rig, "c2", "web"), "10.4.6.3");
    rig.check();
}

#[test]
fn a_manual_gateway_and_the_broadcast_address_are_skipped() {
    let mut rig = Rig::new();
    let mut config = Rig::bridge_config("web", "10.4.6.0/29");
    config.gateway = "10.4.6.3".into();
    rig.ok(Command::NetworkCreate(config));
    let all: Vec<String> = (1..=6).map(|n| auto(&mut rig, &format!("box{n}"), "web")).collect();
    let last = "no more inet IP's left in the network";
    assert_eq!(all, ["10.4.6.1", "10.4.6.2", "10.4.6.4", "10.4.6.5", "10.4.6.6", last]);
    rig.check();
}

#[test]
fn without_a_gateway_the_first_address_is_free() {
    let mut rig = Rig::new();
    let mut config = Rig::bridge_config("web", "10.4.6.0/30");
    config.gateway = String::new();
    rig.ok(Command::NetworkCreate(config));
    let all: Vec<String> = (1..=3).map(|n| auto(&mut rig, &format!("box{n}"), "web")).collect();
    assert_eq!(all, ["10.4.6.1", "10.4.6.2", "no more inet IP's left in the network"]);
    let kernel = rig.host.snapshot();
    assert!(kernel.links.values().all(|link| link.addresses.is_empty()));
}

#[test]
fn an_ipv6_network_has_no_broadcast_address() {
    let mut rig = Rig::new();
    rig.network("six", "fd00:6::/126");
    let ask = |rig: &mut Rig, name: &str| {
        rig.container(name);
        let mut config = Rig::endpoint_config(name, "six", "<auto>");
        config.ip_address6 = "<auto>".into();
        rig.ask(Command::NetworkConnect(config)).map_err(|refusal| refusal.to_string())
    };
    for (name, addr) in [("c1", "fd00:6::2"), ("c2", "fd00:6::3")] {
        ask(&mut rig, name).expect(name);
        let shown = view::container_inspect(&rig.state(), name).expect(name);
        assert_eq!(shown.container_endpoints[0].ip_address6, addr);
        assert_eq!(shown.container_endpoints[0].ip_address, "", "<auto> without a subnet is none");
    }
    let full = "no more inet6 IP's left in the network";
    assert_eq!(ask(&mut rig, "c3"), Err(full.to_owned()));
    rig.check();
}

#[test]
fn released_addresses_are_reused_and_stopping_releases_none() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    for name in ["c2", "c3", "c4"] {
        auto(&mut rig, name, "web");
    }
    let container = rig.state().container_named("c2").expect("c2").id;
    let exec = rig.run("c2", &["serve"]);
    rig.supervisors.exit(container, exec, 0);
    rig.settle();
    assert_eq!(auto(&mut rig, "c5", "web"), "10.4.6.5", "c2 is stopped, not gone");
    rig.ok(Command::NetworkDisconnect { network: "web".into(), container: "c3".into() });
    assert_eq!(auto(&mut rig, "c6", "web"), "10.4.6.3");
    rig.ok(Command::ContainerRemove { container: "c2".into() });
    assert_eq!(auto(&mut rig, "c7", "web"), "10.4.6.2");
    assert_eq!(auto(&mut rig, "c8", "web"), "10.4.6.6");
    rig.check();
}

#[test]
fn a_refused_second_family_reserves_nothing_of_the_first() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    rig.container("c1");
    let mut config = Rig::endpoint_config("c1", "web", "<auto>");
    config.ip_address6 = "fd00::9".into();
    assert_eq!(
        rig.refused(Command::NetworkConnect(config)).to_string(),
        "cannot set ip address because there is no IPv6 subnet defined for this network"
    );
    assert_eq!(auto(&mut rig, "c2", "web"), "10.4.6.2");
}

#[test]
fn after_a_restart_the_same_addresses_are_reserved() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    auto(&mut rig, "c2", "web");
    given(&mut rig, "c9", "web", "10.4.6.9").expect("free");
    rig.restart(true);
    rig.settle();
    assert_eq!(auto(&mut rig, "c3", "web"), "10.4.6.3");
    assert!(given(&mut rig, "c8", "web", "10.4.6.9").is_err());
    rig.check();
}

/// What a test does to a small network: give a free address, a certain one, or
/// take one back.
#[derive(Debug, Clone)]
enum Act {
    Auto(usize),
    Given(usize, u8),
    Drop(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..12_usize).prop_map(Act::Auto),
        2 => (0..12_usize, 0..18_u8).prop_map(|(c, addr)| Act::Given(c, addr)),
        3 => (0..12_usize).prop_map(Act::Drop),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a set of numbers: the lowest free one is given, none twice.
    #[test]
    fn the_lowest_free_address_is_given_and_none_twice(
        acts in acts(),
        gateway in prop_oneof![Just(None), (1..15_u8).prop_map(Some)],
    ) {
        let mut rig = Rig::new();
        let mut config = Rig::bridge_config("web", "10.4.6.0/28");
        config.gateway = gateway.map(|n| format!("10.4.6.{n}")).unwrap_or_default();
        rig.ok(Command::NetworkCreate(config));
        let mut held: Vec<Option<u8>> = vec![None; 12];
        for n in 0..held.len() {
            rig.container(&format!("box{n}"));
        }
        for act in acts {
            let used: BTreeSet<u8> = held.iter().flatten().copied().chain(gateway).collect();
            let connect = |c: usize, ip: &str| {
                Command::NetworkConnect(Rig::endpoint_config(&format!("box{c}"), "web", ip))
            };
            match act {
                Act::Auto(c) if held[c].is_none() => {
                    let lowest = (1..15).find(|n| !used.contains(n));
                    let answer = rig.ask(connect(c, "<auto>"));
                    prop_assert_eq!(answer.is_ok(), lowest.is_some());
                    held[c] = lowest;
                }
                Act::Given(c, addr) if held[c].is_none() => {
                    let free = (1..15).contains(&addr) && !used.contains(&addr);
                    let answer = rig.ask(connect(c, &format!("10.4.6.{addr}")));
                    prop_assert_eq!(answer.is_ok(), free, "{:?}", answer);
                    held[c] = free.then_some(addr);
                }
                Act::Drop(c) if held[c].is_some() => {
                    let (network, container) = ("web".to_owned(), format!("box{c}"));
                    rig.ok(Command::NetworkDisconnect { network, container });
                    held[c] = None;
                }
                Act::Auto(_) | Act::Given(..) | Act::Drop(_) => {}
            }
            for (c, addr) in held.iter().enumerate() {
                let expected = addr.map(|n| format!("10.4.6.{n}")).unwrap_or_default();
                prop_assert_eq!(address(&rig, &format!("box{c}")), expected);
            }
        }
        rig.check();
    }
}
