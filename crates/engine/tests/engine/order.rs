//! The order of a plan, and that it asks for nothing that is there.

use std::sync::Arc;

use kleene_engine::actual::{Actual, Link, LinkKind};
use kleene_engine::change::{Change, Mark};
use kleene_engine::fake::Rig;
use kleene_engine::store::Record;
use kleene_engine::{Scope, State, plan};
use kleene_model::InstanceName;

use crate::faults::with_running;
use crate::lives::link;

fn instance() -> InstanceName {
    InstanceName::parse("main").expect("a name")
}

fn sentences(actual: &Actual, desired: &State) -> Vec<String> {
    let changes = plan(Scope::All, actual, desired, &instance());
    changes.iter().map(ToString::to_string).collect()
}

/// A picture with links of ours that nobody wants.
fn leftovers() -> Actual {
    let mut actual = Actual::new();
    for (name, kind, mark) in [
        ("kleene8", LinkKind::Bridge, "kleene:main:network:aaaaaaaaaaaa"),
        ("epair8a", LinkKind::Cable, "kleene:main:endpoint:aaaaaaaaaaaa"),
        ("kleene9", LinkKind::Bridge, "kleene:other:network:aaaaaaaaaaaa"),
        ("eth0", LinkKind::Other, ""),
    ] {
        actual.insert(Link::observed(link(name), kind, true, Some(mark)));
    }
    actual
}

#[test]
fn what_goes_comes_first_cables_before_bridges_then_networks() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    let planned = sentences(&leftovers(), &rig.state());
    assert_eq!(planned[..2], ["unplug cable epair8a", "remove interface kleene8"]);
    assert_eq!(planned[2..4], ["hold the rules of kleene0", "meet 10.4.6.0/24 as 10.4.6.1"]);
    assert!(planned[4].starts_with("make bridge kleene0 ("), "{planned:?}");
    assert_eq!(planned[5..], ["add address 10.4.6.1/24 to kleene0", "bring kleene0 up"]);
}

#[test]
fn a_plan_towards_nothing_takes_away_only_what_is_ours() {
    let planned = sentences(&leftovers(), &State::default());
    assert_eq!(planned, ["unplug cable epair8a", "remove interface kleene8"]);
    assert_eq!(sentences(&Actual::new(), &State::default()), [] as [&str; 0]);
}

#[test]
fn a_cable_without_a_namespace_waits() {
    let rig = with_running();
    let planned = sentences(&Actual::new(), &rig.state());
    assert!(planned.iter().all(|sentence| !sentence.contains("epair")), "{planned:?}");
}

#[test]
fn absorbing_a_plan_leaves_nothing_to_plan() {
    let rig = with_running();
    let state = rig.state();
    let container = state.container_named("site").expect("site").id;
    let mut actual = leftovers();
    actual.enter(container, false);
    let changes = plan(Scope::All, &actual, &state, &instance());
    assert!(changes.len() > 15, "{changes:?}");
    changes.iter().for_each(|change| actual.absorb(change));
    assert_eq!(sentences(&actual, &state), [] as [&str; 0]);
}

#[test]
fn an_address_too_many_goes_and_one_too_few_comes() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    let state = rig.state();
    let mut actual = Actual::new();
    let changes = plan(Scope::All, &actual, &state, &instance());
    changes
        .iter()
        .filter(|c| !matches!(c, Change::AddAddress { .. }))
        .for_each(|c| actual.absorb(c));
    actual.insert_address(&link("kleene0"), "10.4.6.77/24".parse().expect("net"));
    assert_eq!(
        sentences(&actual, &state),
        ["add address 10.4.6.1/24 to kleene0", "remove address 10.4.6.77/24 from kleene0"]
    );
}

#[test]
fn a_bridge_of_ours_under_another_name_is_replaced() {
    let mut rig = Rig::new();
    rig.network("web", "10.4.6.0/24");
    let state = rig.state();
    let id = state.network_named("web").expect("web").id;
    let mark = format!("kleene:main:network:{id}");
    let mut actual = Actual::new();
    actual.insert(Link::observed(link("renamed"), LinkKind::Bridge, true, Some(&mark)));
    let planned = sentences(&actual, &state);
    assert_eq!(planned[0], "remove interface renamed");
    assert!(planned[3].starts_with("make bridge kleene0 "), "{planned:?}");
    assert!(Mark::parse(&mark).is_some());
}

#[test]
fn a_state_read_back_from_its_records_is_the_same_state() {
    let rig = with_running();
    let records: Vec<Record> = rig.store.snapshot().into_values().collect();
    let mut back = State::from_records(records.clone());
    let state = rig.state();
    assert_eq!(back.all_keys(), state.all_keys());
    assert!(back.take_touched().keys.is_empty());
    assert_eq!(back.next_sequence(), state.next_sequence());
    for key in state.all_keys() {
        assert_eq!(back.record(key), state.record(key));
    }
    for record in records {
        if let Record::Endpoint(endpoint) = record {
            let endpoint = Arc::clone(&endpoint);
            for (_, addr) in endpoint.address.present() {
                assert!(back.has_address(endpoint.network, *addr));
            }
            let cable = endpoint.cable.expect("it runs");
            assert_ne!(back.take_cable(|_| true), Some(cable));
        }
    }
}
