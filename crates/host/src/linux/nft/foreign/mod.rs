//! The firewalls of others on this host: what their chains make of a flow that
//! Kleene passes.
//!
//! Kleene edits no table but its own, and to accept there is not to accept
//! elsewhere. So the chains of all other tables are read as they are (`read`,
//! `nft::ruleset`), and the packets of a flow are followed through them on paper
//! (`walk`, with `packet`, `lookup` and `xt`). What is not known of a packet, or of
//! an expression, is taken both ways (`bits`): a chain passes the flow, drops it, or
//! *may* drop it.
//!
//! Not seen are what `iptables-legacy` holds (named when it holds something), the
//! hooks of network devices, BPF programs, and what is behind a queue.

mod bits;
mod line;
mod lookup;
mod packet;
mod read;
#[cfg(test)]
mod tests;
mod walk;
mod watch;
mod xt;

use std::collections::BTreeMap;

use kleene_engine::passage::{Hook, Layer, Passage, Side, Step};
use kleene_model::LinkName;

use super::layout::{BRIDGE, INET};
use super::ruleset::{self, Base, Chain, Table, TableKey};
use line::nft_name;
use packet::Packet;
use walk::{Fate, Walk};
pub use watch::Watch;

/// Families of tables that see one version of IP.
const IP: u8 = 2;
const IP6: u8 = 10;

/// The tables of others, as they were when they were read.
#[derive(Debug, Default)]
pub struct Foreign {
    tables: BTreeMap<TableKey, Table>,
    /// The tables of `iptables-legacy` and `ip6tables-legacy`, by their version of
    /// IP.
    legacy: Vec<(u8, String)>,
    /// Which versions of IP `br_netfilter` sends from bridges to the hooks of IP.
    bridged: Vec<u8>,
    /// The indexes of interfaces.
    links: BTreeMap<String, u32>,
}

/// A chain of somebody else's that is in the way of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// Whether the flow cannot pass; else it may.
    pub certain: bool,
    /// Which chain, and by what: `table ip filter, chain FORWARD (policy drop)`.
    pub chain: String,
    /// The line to add, for a shell; empty where none would do.
    pub line: String,
}

impl Foreign {
    /// What is in the way of a flow, in the order in which its packets meet it.
    #[must_use]
    pub fn obstacles(&self, passage: &Passage) -> Vec<Obstacle> {
        let mut found: Vec<Obstacle> = Vec::new();
        for obstacle in passage.steps.iter().flat_map(|step| self.at(step, passage)) {
            // An answer meets many a chain again.
            match found
                .iter_mut()
                .find(|known| known.line == obstacle.line && known.is_of(&obstacle))
            {
                Some(known) if obstacle.certain && !known.certain => *known = obstacle,
                Some(_) => {}
                None => found.push(obstacle),
            }
        }
        found.extend(self.unseen(passage));
        found
    }

    fn at(&self, step: &Step, passage: &Passage) -> Vec<Obstacle> {
        let mut found: Vec<(i32, Obstacle)> = Vec::new();
        let index = |name: &str| self.links.get(name).copied();
        let packet = Packet::new(step, &index);
        for ((family, table), held) in &self.tables {
            if !self.meets(*family, step) {
                continue;
            }
            for (name, chain) in &held.chains {
                let Some(base) = chain.base.filter(|base| is_at(*base, step)) else { continue };
                let fate = Walk::new(held, &packet).base(name, chain, base);
                // Of other daemons of ours only what is certain: they keep to their
                // own networks, and nobody can add a line there.
                if !fate.drops || (fate.accepts && table.starts_with("kleene-")) {
                    continue;
                }
                let place = place((*family, table), name, chain, &fate);
                let line = line::line((*family, table), name, step.hook, passage.subject);
                let obstacle = Obstacle { certain: !fate.accepts, chain: place, line };
                found.push((base.priority, obstacle));
            }
        }
        found.sort_by_key(|(priority, _)| *priority);
        found.into_iter().map(|(_, obstacle)| obstacle).collect()
    }

    /// Whether tables of a family see such a packet.
    fn meets(&self, family: u8, step: &Step) -> bool {
        let own = if step.destination.is_ipv6() { IP6 } else { IP };
        let routed = family == own || family == INET;
        match step.layer {
            Layer::Routed => routed,
            Layer::Bridged => family == BRIDGE,
            Layer::BridgedAsRouted => routed && self.bridged.contains(&own),
        }
    }

    /// What cannot be asked.
    fn unseen(&self, passage: &Passage) -> Option<Obstacle> {
        let v6 = passage.subject.addr().is_ipv6();
        let routed = passage.steps.iter().filter(|step| step.layer == Layer::Routed);
        let hooks: Vec<Hook> = routed.map(|step| step.hook).collect();
        let (hook, chain) = match hooks.first()? {
            _ if hooks.contains(&Hook::Forward) => (Hook::Forward, "FORWARD"),
            Hook::Output => (Hook::Output, "OUTPUT"),
            _ => (Hook::Input, "INPUT"),
        };
        let family = if v6 { IP6 } else { IP };
        let mut tables = self.legacy.iter().filter(|(of, _)| *of == family);
        // Nothing is dropped in those of translation.
        let (_, table) = tables.find(|(_, name)| name != "nat")?;
        let program = if v6 { "ip6tables-legacy" } else { "iptables-legacy" };
        let whose = passage.subject.trunc().to_string();
        let line = match table.as_str() {
            "filter" => line::xtables(program, table, chain, hook, &whose),
            _ => String::new(),
        };
        let chain = format!("table {table} of {program} (cannot be read over nftables)");
        Some(Obstacle { certain: false, chain, line })
    }
}

impl Obstacle {
    /// Whether both are of one chain.
    fn is_of(&self, other: &Self) -> bool {
        let chain = |one: &Self| one.chain.split(" (").next().map(str::to_owned);
        chain(self) == chain(other)
    }
}

fn is_at(base: Base, step: &Step) -> bool {
    base.hook == step.hook as u32 && step.priorities.contains(&base.priority)
}

fn place((family, table): (u8, &str), name: &str, chain: &Chain, fate: &Fate) -> String {
    let drops = chain.base.is_some_and(|base| base.drops);
    let why = match &fate.by {
        Some((of, handle)) if of == name => format!("rule with handle {handle}"),
        Some((of, handle)) => format!("rule with handle {handle} in chain {of}"),
        None if drops => "policy drop".to_owned(),
        None => "too many rules to follow".to_owned(),
    };
    // Names are whatever somebody has written.
    let [table, name, why] = [table, name, &why].map(|text| text.escape_debug().to_string());
    format!("table {} {table}, chain {name} ({why})", nft_name(family))
}

/// Reads bytes as if the kernel had listed them, and asks what they make of a
/// packet. Called by the fuzzer.
#[doc(hidden)]
#[must_use]
pub fn read_anything(bytes: &[u8]) -> usize {
    let source = std::net::Ipv4Addr::new(10, 4, 6, 2).into();
    let by = Side::Link(LinkName::kleene(0));
    let passage = Passage::outwards(by, Side::Unknown, source, source.into());
    let mut table = Table::default();
    let named = ruleset::table(bytes).into_iter().count();
    if let Some((_, name, base)) = ruleset::chain(bytes) {
        table.chains.insert(name, Chain { base, rules: Vec::new() });
    }
    if let Some((name, mut set)) = ruleset::set(bytes) {
        set.elements = ruleset::elements(bytes);
        table.sets.insert(name, set);
    }
    let heard = usize::from(watch::tells_of_others(bytes, "anything"));
    let rule = ruleset::rule(bytes);
    let sleeping = table.chains.entry("forward".to_owned()).or_default();
    sleeping.base = Some(Base { hook: Hook::Forward as u32, priority: 0, drops: false });
    sleeping.rules.extend(rule.map(|(_, rule)| rule));
    let tables = BTreeMap::from([((INET, "anything".to_owned()), table)]);
    named + heard + Foreign { tables, ..Foreign::default() }.obstacles(&passage).len()
}
