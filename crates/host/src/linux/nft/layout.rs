//! What Kleene's tables are made of, as data, and the bytes that describe it to
//! the kernel. The kernel describes what it has in the same way, so the same
//! bytes tell whether the table still is as it was made.

use kleene_model::policy::NetworkRules;

use super::attributes::Writer;
use super::rule::{Chain, Rule};
use super::set::{Set, Side};
use super::{host, network, replies, wire};

/// The kind of thing that a message makes or lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Chain,
    Rule,
    Set,
}

/// In the order in which they are made. Rules lead to chains and elements, and
/// ask sets.
pub(super) const KINDS: [Kind; 4] = [Kind::Table, Kind::Set, Kind::Chain, Kind::Rule];

/// Where every description has the table's name.
pub(super) const TABLE: u16 = 1;

impl Kind {
    /// Where a description has what a list of this kind is put in order by: a
    /// rule its chain, for the rules of one chain have an order of their own.
    pub(super) fn order(self) -> u16 {
        match self {
            Self::Table => 1,
            Self::Set | Self::Rule => 2,
            Self::Chain => 3,
        }
    }
}

/// Families of tables: those that see IPv4 and IPv6, and those of bridges.
pub(super) const INET: u8 = 1;
pub(super) const BRIDGE: u8 = 7;

/// The tables that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout<'a> {
    /// The host's, which holds the policy, with these networks.
    Host(&'a [NetworkRules]),
    /// That of the host's bridges, which holds who speaks on which cable.
    Wire,
    /// That of a view, by which answers come from the address that was asked.
    Replies,
}

impl Layout<'_> {
    pub(super) fn family(self) -> u8 {
        match self {
            Self::Host(_) | Self::Replies => INET,
            Self::Wire => BRIDGE,
        }
    }

    /// The descriptions of all things of a kind, in order.
    pub(super) fn describe(self, kind: Kind, table: &str) -> Vec<Vec<u8>> {
        match kind {
            Kind::Table => vec![table_bytes(table)],
            Kind::Set => match self {
                Self::Host(_) => Set::of(Side::Host).map(|set| set.bytes(table)).collect(),
                Self::Wire => Set::of(Side::Wire).map(|set| set.bytes(table)).collect(),
                Self::Replies => replies::sets(table),
            },
            Kind::Chain => self.chains().iter().map(|chain| chain.bytes(table)).collect(),
            Kind::Rule => self.rules().iter().map(|rule| rule.bytes(table)).collect(),
        }
    }

    /// In the order of their names.
    fn chains(self) -> Vec<Chain> {
        let mut chains = match self {
            Self::Host(networks) => {
                let mut chains = host::chains();
                chains.extend(networks.iter().flat_map(network::chains));
                chains
            }
            Self::Wire => wire::chains(),
            Self::Replies => replies::chains().to_vec(),
        };
        chains.sort_by(|one, other| one.name.cmp(&other.name));
        chains
    }

    /// By their chains in order.
    fn rules(self) -> Vec<Rule> {
        let mut rules = match self {
            Self::Host(networks) => {
                let mut rules = host::rules();
                rules.extend(networks.iter().flat_map(network::rules));
                rules
            }
            Self::Wire => wire::rules(),
            Self::Replies => replies::rules(),
        };
        rules.sort_by(|one, other| one.chain.cmp(&other.chain));
        rules
    }
}

pub(super) fn described(table: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.text(TABLE, table);
    fill(&mut writer);
    writer.finish()
}

/// A comment, as `nft` reads and shows it.
pub(super) fn comment(kind: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).expect("comments are short");
    [&[kind, length], text.as_bytes(), &[0]].concat()
}

fn table_bytes(name: &str) -> Vec<u8> {
    const FLAGS: u16 = 2;
    const USERDATA: u16 = 6;
    described(name, |w| {
        // A table can be put to sleep by a flag.
        w.number(FLAGS, 0);
        w.put(USERDATA, &comment(0, "kleened keeps this table as it is"));
    })
}

#[cfg(test)]
mod tests {
    use super::super::attributes::values;
    use super::*;

    #[test]
    fn everything_is_described_in_the_order_that_lists_are_put_into() {
        let layouts = [Layout::Host(&[]), Layout::Wire, Layout::Replies];
        let all = layouts.map(|layout| KINDS.map(|kind| (layout, kind)));
        for (layout, kind) in all.into_iter().flatten() {
            let all = layout.describe(kind, "kleene");
            let order: Vec<_> = all.iter().map(|one| values(one, kind.order()).next()).collect();
            assert!(order.is_sorted(), "{kind:?}");
            assert!(order.iter().all(Option::is_some), "{kind:?}");
            assert!(all.iter().all(|one| values(one, TABLE).eq([b"kleene\0"])), "{kind:?}");
        }
    }
}
