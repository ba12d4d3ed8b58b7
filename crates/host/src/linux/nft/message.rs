//! Messages to nf_tables, and the transactions that Kleene makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kleene_engine::piece::Piece;
use kleene_model::policy::NetworkRules;

use super::attributes::Writer;
use super::entry::{ELEMENTS, Entry};
use super::layout::{BRIDGE, INET, KINDS, Kind, Layout, TABLE};
use super::network;
use super::pieces::entries;
use super::rule::{CHAIN_NAME, Chain};
use super::set::{Set, Side};

/// Types of messages; those that ask are one above those that tell.
mod kind {
    pub(super) const NEW_TABLE: u16 = 0;
    pub(super) const DEL_TABLE: u16 = 2;
    pub(super) const NEW_CHAIN: u16 = 3;
    pub(super) const DEL_CHAIN: u16 = 5;
    pub(super) const NEW_RULE: u16 = 6;
    pub(super) const DEL_RULE: u16 = 8;
    pub(super) const NEW_SET: u16 = 9;
    pub(super) const NEW_ELEMENTS: u16 = 12;
    pub(super) const DEL_ELEMENTS: u16 = 14;
    pub(super) const NEW_GENERATION: u16 = 15;
}

/// nf_tables among the parts of netfilter.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// The longest list of elements in one message: an attribute holds 64 KiB.
const LIST: usize = 48 * 1024;

/// What a message does: the end of "cannot …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All messages of a transaction together.
    Transaction,
    Make(Kind),
    Delete,
    /// The chains of a network.
    Dismiss,
    Add(Set),
    Remove(Set),
    List,
    ListOthers,
    Open,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction => f.write_str("change anything"),
            Self::Make(Kind::Table) => f.write_str("make the table"),
            Self::Make(Kind::Set) => f.write_str("make a set"),
            Self::Make(Kind::Chain) => f.write_str("make a chain"),
            Self::Make(Kind::Rule) => f.write_str("make a rule"),
            Self::Delete => f.write_str("delete the table"),
            Self::Dismiss => f.write_str("delete the chains of a network"),
            Self::Add(set) => write!(f, "add to {}", set.name()),
            Self::Remove(set) => write!(f, "remove from {}", set.name()),
            Self::List => f.write_str("list the table"),
            Self::ListOthers => f.write_str("list the tables of others beside it"),
            Self::Open => f.write_str("open it"),
        }
    }
}

/// One message, whole but for its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) step: Step,
    family: u8,
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn change(step: Step, family: u8, kind: u16, flags: u16, body: Vec<u8>) -> Self {
        Self { step, family, kind, flags: flags | REQUEST, body }
    }

    fn list(family: u8, told: u16, body: Vec<u8>) -> Self {
        Self { step: Step::List, family, kind: told + 1, flags: REQUEST | DUMP, body }
    }

    /// Asks for all things of a kind that a table has; of chains and tables for
    /// those of all tables.
    pub(super) fn list_all(family: u8, kind: Kind, table: &str) -> Self {
        let body = match kind {
            Kind::Table | Kind::Chain => Vec::new(),
            Kind::Set | Kind::Rule => table_name(table).finish(),
        };
        Self::list(family, told(kind), body)
    }

    /// Asks for the rules of one chain.
    pub(super) fn list_rules(family: u8, table: &str, chain: &str) -> Self {
        let mut body = table_name(table);
        body.text(RULE_CHAIN, chain);
        Self::list(family, kind::NEW_RULE, body.finish())
    }

    /// Asks for a set's elements.
    pub(super) fn list_elements(table: &str, set: Set) -> Self {
        Self::list(family_of(set), kind::NEW_ELEMENTS, table_and_set(table, set).finish())
    }

    /// Asks for the elements of a set of somebody else's.
    pub(super) fn list_named(family: u8, table: &str, set: &str) -> Self {
        const SET: u16 = 2;
        let mut writer = table_name(table);
        writer.text(SET, set);
        Self::list(family, kind::NEW_ELEMENTS, writer.finish())
    }

    /// Asks which transaction was the last.
    pub(super) fn generation() -> Self {
        let list = Self::list(INET, kind::NEW_GENERATION, Vec::new());
        Self { flags: REQUEST | ACK, ..list }
    }

    /// The type of the messages that answer it.
    pub(super) fn answer(&self) -> u16 {
        (NFTABLES << 8 | self.kind).saturating_sub(1)
    }

    /// The bytes of this message alone.
    pub(super) fn alone(&self, sequence: u32) -> Vec<u8> {
        let mut datagram = Vec::new();
        self.write(sequence, &mut datagram);
        datagram
    }

    fn write(&self, sequence: u32, datagram: &mut Vec<u8>) {
        let kind = NFTABLES << 8 | self.kind;
        write(datagram, kind, self.flags, sequence, (self.family, 0), &self.body);
    }
}

/// A transaction: its beginning has the number `first`, its messages those
/// that follow, its end the last.
pub(super) fn transaction(messages: &[Message], first: u32) -> Vec<u8> {
    let length = messages.iter().map(|message| message.body.len() + 20).sum::<usize>();
    let mut datagram = Vec::with_capacity(length + 40);
    write(&mut datagram, BATCH_BEGIN, REQUEST, first, (0, NFTABLES), &[]);
    let mut sequence = first;
    for (place, message) in messages.iter().enumerate() {
        sequence = sequence.wrapping_add(1);
        // Refusals are answered in any case; as many acknowledgements as there
        // are messages may find no room.
        let flags = if place + 1 == messages.len() { ACK } else { 0 };
        let kind = NFTABLES << 8 | message.kind;
        let headed = (message.family, 0);
        write(&mut datagram, kind, message.flags | flags, sequence, headed, &message.body);
    }
    write(&mut datagram, BATCH_END, REQUEST, sequence.wrapping_add(1), (0, NFTABLES), &[]);
    datagram
}

/// Writes headers and a body, whose length is a multiple of four.
pub(in crate::linux) fn write(
    datagram: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    body: &[u8],
) {
    let length = u32::try_from(20 + body.len()).expect("a message holds one attribute's worth");
    datagram.extend_from_slice(&length.to_ne_bytes());
    datagram.extend_from_slice(&kind.to_ne_bytes());
    datagram.extend_from_slice(&flags.to_ne_bytes());
    datagram.extend_from_slice(&sequence.to_ne_bytes());
    datagram.extend_from_slice(&[0; 4]);
    datagram.extend_from_slice(&[family, 0]);
    datagram.extend_from_slice(&resource.to_be_bytes());
    datagram.extend_from_slice(body);
}

/// Whether a message that the kernel tells everybody names a table: one about
/// generations does not.
pub(super) fn tells_of_table(kind: u16) -> bool {
    kind >> 8 == NFTABLES && kind & 0xff != kind::NEW_GENERATION
}

/// Where what is said of a rule has the name of its chain.
const RULE_CHAIN: u16 = 2;

fn told(kind: Kind) -> u16 {
    match kind {
        Kind::Table => kind::NEW_TABLE,
        Kind::Chain => kind::NEW_CHAIN,
        Kind::Rule => kind::NEW_RULE,
        Kind::Set => kind::NEW_SET,
    }
}

fn table_name(table: &str) -> Writer {
    let mut writer = Writer::default();
    writer.text(TABLE, table);
    writer
}

fn table_and_set(table: &str, set: Set) -> Writer {
    const SET: u16 = 2;
    let mut writer = table_name(table);
    writer.text(SET, set.name());
    writer
}

fn family_of(set: Set) -> u8 {
    match set.spec().side {
        Side::Host => INET,
        Side::Wire => BRIDGE,
    }
}

/// The networks among elements.
pub(super) fn networks<'a>(elements: impl IntoIterator<Item = &'a Piece>) -> Vec<NetworkRules> {
    let network = |element: &Piece| match element {
        Piece::Rules { rules } => Some(rules.clone()),
        _ => None,
    };
    elements.into_iter().filter_map(network).collect()
}

/// Makes the host's tables anew, whatever stands there.
pub(super) fn replace(table: &str, elements: &BTreeSet<Piece>) -> Vec<Message> {
    let networks = networks(elements);
    let mut messages = anew(Layout::Host(&networks), table);
    messages.extend(anew(Layout::Wire, table));
    messages.extend(add(table, elements));
    messages
}

/// Makes a table anew, without elements, whatever stands there.
pub(super) fn anew(layout: Layout<'_>, table: &str) -> Vec<Message> {
    // Deleting what is not there would fail, making what is there does not.
    let name = table_name(table).finish();
    let family = layout.family();
    let making = Step::Make(Kind::Table);
    let mut messages = vec![Message::change(making, family, kind::NEW_TABLE, CREATE, name)];
    messages.push(remove(family, table));
    for kind in KINDS {
        messages.extend(make(layout, kind, table));
    }
    messages
}

/// Makes a table where none stands; else nothing is done.
pub(super) fn first(layout: Layout<'_>, table: &str) -> Vec<Message> {
    let all = KINDS.into_iter().flat_map(|kind| make(layout, kind, table));
    let mut messages: Vec<Message> = all.collect();
    if let Some(table) = messages.first_mut() {
        table.flags |= EXCLUSIVE;
    }
    messages
}

fn make(layout: Layout<'_>, kind: Kind, table: &str) -> impl Iterator<Item = Message> {
    const SET_ID: u16 = 10;
    let family = layout.family();
    (1..).zip(layout.describe(kind, table)).map(move |(number, mut body)| {
        if kind == Kind::Set {
            // Wanted for every set, used for those without a name.
            let mut writer = Writer::default();
            writer.number(SET_ID, number);
            body.extend(writer.finish());
        }
        Message::change(Step::Make(kind), family, told(kind), made_with(kind), body)
    })
}

fn made_with(kind: Kind) -> u16 {
    if kind == Kind::Rule { CREATE | APPEND } else { CREATE }
}

/// Deletes a table.
pub(super) fn remove(family: u8, table: &str) -> Message {
    let name = table_name(table).finish();
    Message::change(Step::Delete, family, kind::DEL_TABLE, 0, name)
}

/// Makes the chains of a network, with their rules.
fn admit(table: &str, rules: &NetworkRules) -> Vec<Message> {
    let made =
        |kind, body| Message::change(Step::Make(kind), INET, told(kind), made_with(kind), body);
    let chains = network::chains(rules);
    let chains = chains.iter().map(|chain| made(Kind::Chain, chain.bytes(table)));
    let rules = network::rules(rules);
    chains.chain(rules.iter().map(|rule| made(Kind::Rule, rule.bytes(table)))).collect()
}

/// Deletes the chains of a network. Nothing may lead to them any more.
fn dismiss(table: &str, rules: &NetworkRules) -> Vec<Message> {
    let named = |attribute, chain: &Chain| {
        let mut writer = table_name(table);
        writer.text(attribute, &chain.name);
        writer.finish()
    };
    let delete = |kind, body| Message::change(Step::Dismiss, INET, kind, 0, body);
    let chains = network::chains(rules);
    let emptied = chains.iter().map(|chain| delete(kind::DEL_RULE, named(RULE_CHAIN, chain)));
    let gone = chains.iter().map(|chain| delete(kind::DEL_CHAIN, named(CHAIN_NAME, chain)));
    emptied.chain(gone).collect()
}

/// Whether what is removed is known to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Where it is not, the whole transaction fails.
    There,
    /// Either way: twice the work for the kernel.
    Perhaps,
}

/// Adds and removes elements; one that is in both is there afterwards. Networks
/// that are added must not be there, those that are removed must be.
pub(super) fn change(
    table: &str,
    add_these: &[Piece],
    remove: &[Piece],
    known: Known,
) -> Vec<Message> {
    let added: BTreeSet<&Piece> = add_these.iter().collect();
    let removed: BTreeSet<&Piece> = remove.iter().filter(|e| !added.contains(e)).collect();
    let is_network = |element: &&Piece| matches!(element, Piece::Rules { .. });
    let elements = removed.iter().copied().filter(|element| !is_network(element));
    // Removing what is not there would fail, adding what is there does not. So
    // they are added first, and certainly there. Only the outcome of a
    // transaction is ever seen.
    let mut messages: Vec<_> = match known {
        Known::There => Vec::new(),
        Known::Perhaps => add(table, elements).collect(),
    };
    messages.extend(by_set(entries(removed.iter().copied())).into_iter().flat_map(
        |(set, entries)| {
            let bodies = listed(table, set, &entries).into_iter();
            bodies.map(move |body| {
                Message::change(Step::Remove(set), family_of(set), kind::DEL_ELEMENTS, 0, body)
            })
        },
    ));
    let gone = networks(removed);
    messages.extend(gone.iter().flat_map(|rules| dismiss(table, rules)));
    let new = networks(added.iter().copied());
    messages.extend(new.iter().flat_map(|rules| admit(table, rules)));
    messages.extend(add(table, added));
    messages
}

fn add<'a>(
    table: &str,
    elements: impl IntoIterator<Item = &'a Piece>,
) -> impl Iterator<Item = Message> {
    by_set(entries(elements)).into_iter().flat_map(move |(set, entries)| {
        listed(table, set, &entries).into_iter().map(move |body| {
            Message::change(Step::Add(set), family_of(set), kind::NEW_ELEMENTS, CREATE, body)
        })
    })
}

/// Entries by their sets, in their order.
fn by_set(entries: Vec<(Set, Entry)>) -> BTreeMap<Set, Vec<Entry>> {
    let mut sets: BTreeMap<Set, Vec<Entry>> = BTreeMap::new();
    for (set, entry) in entries {
        sets.entry(set).or_default().push(entry);
    }
    sets
}

/// Entries of a set in as few bodies as hold them.
fn listed(table: &str, set: Set, entries: &[Entry]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut rest = entries.iter().peekable();
    while rest.peek().is_some() {
        let mut writer = table_and_set(table, set);
        writer.nest(ELEMENTS, |w| {
            let start = w.len();
            while w.len() - start < LIST
                && let Some(entry) = rest.next()
            {
                entry.write(w);
            }
        });
        bodies.push(writer.finish());
    }
    bodies
}
