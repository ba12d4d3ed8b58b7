//! What Kleene's tables are made of, as data, and the bytes that describe it to
//! the kernel. The kernel describes what it has in the same way, so the same
//! bytes tell whether the table still is as it was made.

use super::attributes::Writer;
use super::element::Set;
use super::replies;
use super::rule::Expression::{Counter, Is, Lookup, Payload, Verdict};
use super::rule::{ACCEPT, Chain, Compare, DROP, Expression, Header, Meta, Register, Rule};

/// The kind of thing that a message makes or lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Chain,
    Rule,
    Set,
}

/// In the order in which they are made.
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

/// The two tables that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The host's, which guards the addresses of containers.
    Guards,
    /// That of a view, by which answers come from the address that was asked.
    Replies,
}

impl Layout {
    /// The descriptions of all things of a kind, in order.
    pub(super) fn describe(self, kind: Kind, table: &str) -> Vec<Vec<u8>> {
        match (self, kind) {
            (_, Kind::Table) => vec![table_bytes(table)],
            (Self::Guards, Kind::Set) => {
                Set::ALL.iter().map(|set| set_bytes(table, *set)).collect()
            }
            (Self::Guards, Kind::Chain) => CHAINS.iter().map(|chain| chain.bytes(table)).collect(),
            (Self::Guards, Kind::Rule) => rules().iter().map(|rule| rule.bytes(table)).collect(),
            (Self::Replies, Kind::Set) => replies::sets(table),
            (Self::Replies, Kind::Chain) => {
                replies::CHAINS.iter().map(|chain| chain.bytes(table)).collect()
            }
            (Self::Replies, Kind::Rule) => {
                replies::rules().iter().map(|rule| rule.bytes(table)).collect()
            }
        }
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

/// Types of keys. The kernel does not care; `nft` shows elements by them.
pub(super) mod key {
    pub(in super::super) const IPV4: u32 = 7;
    pub(in super::super) const IPV6: u32 = 8;
    pub(in super::super) const SERVICE: u32 = 13;
    pub(in super::super) const MARK: u32 = 19;
    pub(in super::super) const IFNAME: u32 = 41;

    pub(in super::super) fn both(first: u32, second: u32) -> u32 {
        first << 6 | second
    }
}

fn set_bytes(table: &str, set: Set) -> Vec<u8> {
    const NAME: u16 = 2;
    const FLAGS: u16 = 3;
    const KEY_TYPE: u16 = 4;
    const KEY_LEN: u16 = 5;
    const USERDATA: u16 = 13;
    // Byte orders: none for a pair, the host's for texts, the network's.
    let (key_type, length, order, about) = match set {
        Set::Addresses4 => (key::IPV4, 4, 2, "addresses that only containers have"),
        Set::Addresses6 => (key::IPV6, 16, 2, "addresses that only containers have"),
        Set::Cables => (key::IFNAME, 16, 1, "cables of containers"),
        Set::Sources4 => (key::both(key::IFNAME, key::IPV4), 20, 0, SOURCES),
        Set::Sources6 => (key::both(key::IFNAME, key::IPV6), 32, 0, SOURCES),
    };
    described(table, |w| {
        w.text(NAME, set.name());
        w.number(FLAGS, 0);
        w.number(KEY_TYPE, key_type);
        w.number(KEY_LEN, length);
        let byte_order = [&[0, 4], u32::to_ne_bytes(order).as_slice()].concat();
        w.put(USERDATA, &[byte_order, comment(7, about)].concat());
    })
}

const SOURCES: &str = "who may speak on which cable";

const INPUT: &str = "input";
const OUTPUT: &str = "output";
const PREROUTING: &str = "prerouting";

/// In the order of their names.
const CHAINS: [Chain; 3] = [
    // Before the filters of others: what they accept would still be dropped
    // here, but what they refuse by an answer should have none.
    Chain { name: INPUT, hook: Some((1, -10)) },
    Chain { name: OUTPUT, hook: Some((3, -10)) },
    // Before connection tracking: what is spoofed makes no state.
    Chain { name: PREROUTING, hook: Some((0, -300)) },
];

/// The two families, each with what differs in their rules.
#[derive(Debug, Clone, Copy)]
struct Version {
    family: u8,
    source: u32,
    destination: u32,
    length: u32,
    addresses: Set,
    sources: Set,
}

const VERSIONS: [Version; 2] = [
    Version {
        family: 2,
        source: 12,
        destination: 16,
        length: 4,
        addresses: Set::Addresses4,
        sources: Set::Sources4,
    },
    Version {
        family: 10,
        source: 8,
        destination: 24,
        length: 16,
        addresses: Set::Addresses6,
        sources: Set::Sources6,
    },
];

/// All rules, by their chains in order.
fn rules() -> Vec<Rule> {
    let neighbours = "neighbour discovery passes";
    let answer = "the host does not answer for a container";
    let speak = "the host does not speak as a container";
    let spoof = "a container has only its own addresses";
    let guard = |chain, about, offset: fn(&Version) -> u32| {
        VERSIONS.map(|version| guard(chain, about, version, offset(&version)))
    };
    let mut rules = vec![neighbour_discovery(INPUT, neighbours)];
    rules.extend(guard(INPUT, answer, |version| version.destination));
    rules.push(neighbour_discovery(OUTPUT, neighbours));
    rules.extend(guard(OUTPUT, speak, |version| version.source));
    rules.extend(VERSIONS.map(|version| source_guard(spoof, version)));
    rules
}

/// Without it nobody finds the addresses that the host answers neighbour
/// solicitations for.
fn neighbour_discovery(chain: &'static str, about: &'static str) -> Rule {
    const IPV6: u8 = 10;
    const ICMPV6: u8 = 58;
    let icmp_type =
        Payload { header: Header::Transport, offset: 0, length: 1, to: Register::First };
    let expressions = vec![
        Expression::Meta(Meta::Family),
        Is(Compare::Equal, IPV6),
        Expression::Meta(Meta::Protocol),
        Is(Compare::Equal, ICMPV6),
        icmp_type,
        Is(Compare::AtLeast, 133),
        Is(Compare::AtMost, 137),
        Verdict(ACCEPT),
    ];
    Rule { chain, about, expressions }
}

/// Drops what has a guarded address at that place of its header.
fn guard(chain: &'static str, about: &'static str, version: Version, offset: u32) -> Rule {
    let Version { family, length, .. } = version;
    let expressions = vec![
        Expression::Meta(Meta::Family),
        Is(Compare::Equal, family),
        Payload { header: Header::Network, offset, length, to: Register::First },
        Lookup { set: version.addresses.name(), has: true },
        Counter,
        Verdict(DROP),
    ];
    Rule { chain, about, expressions }
}

/// Drops what comes in by a cable with a source that is not the cable's.
fn source_guard(about: &'static str, version: Version) -> Rule {
    let Version { family, length, source: offset, .. } = version;
    let expressions = vec![
        Expression::Meta(Meta::InName),
        Lookup { set: Set::Cables.name(), has: true },
        Expression::Meta(Meta::Family),
        Is(Compare::Equal, family),
        Expression::Meta(Meta::InName),
        Payload { header: Header::Network, offset, length, to: Register::Second },
        Lookup { set: version.sources.name(), has: false },
        Counter,
        Verdict(DROP),
    ];
    Rule { chain: PREROUTING, about, expressions }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::values;
    use super::*;

    #[test]
    fn everything_is_described_in_the_order_that_lists_are_put_into() {
        let all = [Layout::Guards, Layout::Replies].map(|layout| KINDS.map(|kind| (layout, kind)));
        for (layout, kind) in all.into_iter().flatten() {
            let all = layout.describe(kind, "kleene");
            let order: Vec<_> = all.iter().map(|one| values(one, kind.order()).next()).collect();
            assert!(order.is_sorted(), "{kind:?}");
            assert!(order.iter().all(Option::is_some), "{kind:?}");
            assert!(all.iter().all(|one| values(one, TABLE).eq([b"kleene\0"])), "{kind:?}");
        }
    }
}
