//! What ends with a change of the policy: addresses in tables, and the states of flows
//! that were let through by what is no more.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_model::{Family, LinkName};

use super::filter::World;
use super::{PfError, Table, nat_label, stale_labels};

/// What goes from tables, and tables that go.
pub(super) fn gone(before: &World, after: &World) -> Result<Vec<Table>, PfError> {
    let after = after.tables()?;
    let mut gone = before.tables()?;
    for table in &mut gone {
        let kept = after.iter().find(|kept| kept.name == table.name);
        table.addresses.retain(|addr| !kept.is_some_and(|kept| kept.addresses.contains(addr)));
    }
    gone.retain(|table| {
        !table.addresses.is_empty() || !after.iter().any(|kept| kept.name == table.name)
    });
    Ok(gone)
}

/// The labels of the rules whose states end with a change.
pub(super) fn stale(before: &World, after: &World) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for (id, rules) in &before.policy.networks {
        let is = after.policy.networks.get(id);
        if is.is_none_or(|is| is.icc != rules.icc || is.internal != rules.internal) {
            labels.insert(format!("kleene:net:{id}"));
        }
        let sources = |world: &World| -> BTreeSet<(LinkName, IpAddr)> {
            let rules = world.policy.networks.get(id);
            let of = |family| {
                let link = world.policy.nat_interface(rules?, family)??;
                let source = world.policy.nat_source(&link, family)?;
                Some((link, source))
            };
            Family::BOTH.into_iter().filter_map(of).collect()
        };
        // Where there was none, nothing has left as somebody else.
        if !sources(before).is_subset(&sources(after)) {
            labels.insert(nat_label(*id));
        }
    }
    for cable in &before.facts.cables {
        if !after.facts.cables.contains(cable) {
            labels.insert(format!("kleene:cable:{}", cable.endpoint));
        }
    }
    for old in &before.policy.publications {
        let new = after.policy.publications.iter().find(|new| new.container == old.container);
        let same =
            |port: &_| new.is_some_and(|new| new.target == old.target && new.ports.contains(port));
        let gone = old.ports.iter().filter(|port| !same(*port));
        let leads = old.target.present().next().is_some();
        labels.extend(
            gone.filter(|_| leads).flat_map(|gone| stale_labels(old.container, &old.ports, gone)),
        );
    }
    labels
}
