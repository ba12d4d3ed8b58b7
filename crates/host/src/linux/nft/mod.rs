//! Kleene's own nftables tables, written and read in this process.
//!
//! Those of the host, [`Table`], hold the policy: one of the family `inet`, and
//! one of the same name for bridges. They outlive the daemon, and what guards an
//! address stands before the address can be used and goes after it. A network has
//! chains of its own; all else are elements of sets and maps ([`Piece`]), which
//! come and go at a cost that does not depend on how many there are.
//!
//! The one of a view, [`Replies`], stands where a container has several
//! addresses of a family, and has answers over UDP come from the one asked.
//! Packets keep its maps.
//!
//! `layout` says what they are made of: `set`, `host` (with `leave`), `network`,
//! `wire` and `replies`, in terms of `rule`. `pieces` says what is in the sets. `message`
//! makes transactions of it, `socket` carries them out. Reading goes the same way
//! back: the kernel lists what it has, `attributes::covers` compares it with the
//! layout, and `contents` reads what is in the sets. [`foreign`] reads the tables of
//! others, which are never changed.
#![forbid(unsafe_code)]

pub(in crate::linux) mod attributes;
mod contents;
mod counters;
mod drops;
mod entry;
mod families;
pub mod foreign;
mod host;
mod layout;
mod leave;
pub(in crate::linux) mod message;
mod network;
mod pieces;
mod reason;
mod replies;
mod rule;
mod ruleset;
mod set;
mod socket;
mod translate;
mod wire;

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::net::NetError;
use super::net::wire::Frame;
use attributes::{covers, values};
use contents::Listed;
pub use counters::{Count, Counted, Counters, Fate};
pub use drops::{Blocked, Drops, Packet};
use entry::read_comment;
use kleene_engine::piece::Piece;
use kleene_model::InstanceName;
use kleene_model::policy::NetworkRules;
use layout::{BRIDGE, INET, KINDS, Kind, Layout, TABLE};
use message::{Known, Message, Step};
use rule::{CHAIN_NAME, CHAIN_USERDATA};
use set::Set;
use socket::{Failure, Socket, TRIES, is_disturbed};

/// Why the table could not be read or changed. A change that failed did
/// nothing at all.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// `nft` could not write such a name.
    #[error("{0:?} cannot be the name of an nftables table")]
    Name(String),
    /// One step failed, and so all of them.
    #[error("nftables table {table}: cannot {what}")]
    Failed {
        /// The table's name.
        table: String,
        /// `make a rule`.
        what: String,
        /// What the kernel said.
        source: NetError,
    },
}

impl NftError {
    /// Whether the table or a part of it is missing, so that only
    /// [`Table::replace`] helps.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if is_missing(source))
    }

    /// Whether this kernel does not know what a table is to be made of.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        const UNKNOWN: [Option<Errno>; 3] =
            [Some(Errno::NOENT), Some(Errno::OPNOTSUPP), Some(Errno::PROTONOSUPPORT)];
        matches!(self, Self::Failed { source, .. } if UNKNOWN.contains(&source.errno()))
    }
}

fn is_missing(error: &NetError) -> bool {
    error.errno() == Some(Errno::NOENT)
}

/// Kleene's tables of the families `inet` and `bridge`, there or not.
///
/// It belongs to the network namespace of the thread that opened it, wherever
/// it is used.
#[derive(Debug)]
pub struct Table {
    name: String,
    socket: Socket,
}

impl Table {
    /// Opens a socket in the calling thread's network namespace. The name is
    /// one that `nft` can write: a letter, then letters, digits, `-` and `_`, at
    /// most 64 in all.
    ///
    /// # Errors
    /// When the kernel gives no socket, or the name is another.
    pub fn open(name: &str) -> Result<Self, NftError> {
        if !is_name(name) {
            return Err(NftError::Name(name.to_owned()));
        }
        match Socket::open() {
            Ok(socket) => Ok(Self { name: name.to_owned(), socket }),
            Err(source) => Err(failed(name, Failure { step: Step::Open, source })),
        }
    }

    /// That of a daemon: its name is made of the daemon's.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn of(instance: &InstanceName) -> Result<Self, NftError> {
        Self::open(&table_name(instance))
    }

    /// The port of its socket, which the kernel names with every change that was
    /// made through it.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// What is in them; `None` when there is no such table or it is not whole: a
    /// chain, set or rule is missing, was changed, or is not ours.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn list(&mut self) -> Result<Option<BTreeSet<Piece>>, NftError> {
        let listed = self.socket.at_one_moment(|socket| match look(socket, &self.name) {
            // It went while it was looked at, or was not there to begin with.
            Err(error) if is_missing(&error) => Ok(None),
            seen => seen,
        });
        listed.map_err(|source| failed(&self.name, Failure { step: Step::List, source }))
    }

    /// The number of the last transaction in this network namespace, whoever made
    /// it.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn generation(&mut self) -> Result<u32, NftError> {
        let asked = self.socket.ask(&Message::generation());
        let number = asked.and_then(|answers| {
            let told = answers.first().and_then(|answer| values(answer, GENERATION).next());
            let bytes = told.and_then(|number| <[u8; 4]>::try_from(number).ok());
            bytes.map(u32::from_be_bytes).ok_or(NetError::Malformed("no generation"))
        });
        number.map_err(|source| failed(&self.name, Failure { step: Step::List, source }))
    }

    /// Makes the tables, whatever stands there, with exactly these elements. At
    /// no moment is there none: packets meet the old ones or the new ones.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn replace(&mut self, elements: &BTreeSet<Piece>) -> Result<(), NftError> {
        self.transact(&message::replace(&self.name, elements))
    }

    /// Adds and removes elements, all or none. One that is there already, or
    /// gone already, is no error, but for networks; one that is in both lists is
    /// there afterwards.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses: [`NftError::is_missing`]
    /// where there is no table.
    pub fn change(&mut self, add: &[Piece], remove: &[Piece]) -> Result<(), NftError> {
        let change = message::change(&self.name, add, remove, Known::There);
        if change.is_empty() {
            return Ok(());
        }
        match self.transact(&change) {
            // Something is gone already, or all of it.
            Err(error) if error.is_missing() && !remove.is_empty() => {
                let change = message::change(&self.name, add, remove, Known::Perhaps);
                self.transact(&change)
            }
            outcome => outcome,
        }
    }

    /// Removes the tables, whatever is in them. Gone already counts as done.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn remove(&mut self) -> Result<(), NftError> {
        for family in [INET, BRIDGE] {
            match self.transact(&[message::remove(family, &self.name)]) {
                Err(error) if error.is_missing() => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn transact(&mut self, messages: &[Message]) -> Result<(), NftError> {
        self.socket.transact(messages).map_err(|failure| failed(&self.name, failure))
    }
}

fn look(socket: &mut Socket, table: &str) -> Result<Option<BTreeSet<Piece>>, NetError> {
    let chains = socket.ask(&Message::list_all(INET, Kind::Chain, table))?;
    let networks = networks_of(table, &chains);
    for layout in [Layout::Host(&networks), Layout::Wire] {
        if !looks_whole(socket, layout, table)? {
            return Ok(None);
        }
    }
    let mut listed = Listed::new();
    for set in Set::ALL {
        let mut entries = Vec::new();
        for part in socket.ask(&Message::list_elements(table, *set))? {
            let Some(read) = entry::read(*set, &part) else { return Ok(None) };
            entries.extend(read);
        }
        listed.insert(*set, entries);
    }
    Ok(contents::elements(&networks, &listed))
}

/// The networks whose chains were listed.
fn networks_of(table: &str, chains: &[Vec<u8>]) -> Vec<NetworkRules> {
    let own = chains.iter().filter(|chain| is_of(chain, table));
    own.filter_map(|chain| {
        let name = values(chain, CHAIN_NAME).next()?.strip_suffix(&[0])?;
        let about = read_comment(values(chain, CHAIN_USERDATA).next()?)?;
        network::parse(std::str::from_utf8(name).ok()?, &about)
    })
    .collect()
}

/// The table of a view: UDP services on the wildcard answer from the address
/// that was asked. It belongs to the network namespace of the thread that opened
/// it, wherever it is used.
#[derive(Debug)]
pub struct Replies {
    socket: Socket,
}

/// Where the kernel says which generation it is.
const GENERATION: u16 = 1;

/// The name of a view's table.
const REPLIES: &str = "kleene";

impl Replies {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, NftError> {
        match Socket::open() {
            Ok(socket) => Ok(Self { socket }),
            Err(source) => Err(failed(REPLIES, Failure { step: Step::Open, source })),
        }
    }

    /// Makes the table, whatever stands there. It knows no client then.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses: [`NftError::is_unknown`]
    /// where it has no such expressions.
    pub fn put(&mut self) -> Result<(), NftError> {
        // Where there is none, nothing is deleted: what is, holds up whatever comes
        // next in this namespace.
        let made = match self.socket.transact(&message::first(Layout::Replies, REPLIES)) {
            Err(failure) if failure.source.errno() == Some(Errno::EXIST) => {
                self.socket.transact(&message::anew(Layout::Replies, REPLIES))
            }
            made => made,
        };
        made.map_err(|failure| failed(REPLIES, failure))
    }

    /// Removes the table. Gone already counts as done.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn remove(&mut self) -> Result<(), NftError> {
        match self.socket.transact(&[message::remove(INET, REPLIES)]) {
            Err(failure) if is_missing(&failure.source) => Ok(()),
            outcome => outcome.map_err(|failure| failed(REPLIES, failure)),
        }
    }

    /// Whether the table stands as we made it.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn stands(&mut self) -> Result<bool, NftError> {
        for _ in 1..TRIES {
            match self.looks_whole() {
                Err(error) if is_disturbed(&error) => {}
                outcome => return outcome.map_err(Self::unread),
            }
        }
        self.looks_whole().map_err(Self::unread)
    }

    fn looks_whole(&mut self) -> Result<bool, NetError> {
        match looks_whole(&mut self.socket, Layout::Replies, REPLIES) {
            Err(error) if is_missing(&error) => Ok(false),
            outcome => outcome,
        }
    }

    fn unread(source: NetError) -> NftError {
        failed(REPLIES, Failure { step: Step::List, source })
    }
}

/// Whether a message tells of a table of ours, or of something in it.
pub(super) fn is_about(frame: &Frame<'_>, table: &str) -> bool {
    let [family, _, _, _, ref attributes @ ..] = *frame.payload else { return false };
    let mut names = values(attributes, TABLE);
    message::tells_of_table(frame.kind)
        && matches!(family, INET | BRIDGE)
        && names.any(|name| name.strip_suffix(&[0]) == Some(table.as_bytes()))
}

fn failed(table: &str, Failure { step, source }: Failure) -> NftError {
    NftError::Failed { table: table.to_owned(), what: step.to_string(), source }
}

/// Whether a table is as we made it, without a look at elements.
fn looks_whole(socket: &mut Socket, layout: Layout<'_>, table: &str) -> Result<bool, NetError> {
    for kind in KINDS {
        let listed = socket.ask(&Message::list_all(layout.family(), kind, table))?;
        if !is_whole(layout, kind, table, listed) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_of(described: &[u8], table: &str) -> bool {
    let name = [table.as_bytes(), &[0]].concat();
    values(described, TABLE).eq([name.as_slice()])
}

/// Whether what the kernel listed of a kind is, in this table, what we made.
fn is_whole(layout: Layout<'_>, kind: Kind, table: &str, mut listed: Vec<Vec<u8>>) -> bool {
    listed.retain(|found| is_of(found, table));
    // The kernel lists in the order of making, which differs when somebody
    // else made a chain anew. The order of a chain's rules stays.
    listed.sort_by(|one, other| {
        let order = |found| values(found, kind.order()).next();
        order(one.as_slice()).cmp(&order(other.as_slice()))
    });
    let ours = layout.describe(kind, table);
    listed.len() == ours.len() && listed.iter().zip(&ours).all(|(found, own)| covers(found, own))
}

/// The name of a daemon's tables.
pub(in crate::linux) fn table_name(instance: &InstanceName) -> String {
    format!("kleene-{instance}")
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(good)
}

/// Reads bytes as if the kernel had sent them, in every way that is used.
/// Called by the fuzzer.
#[doc(hidden)]
#[must_use]
pub fn read_anything(bytes: &[u8]) -> usize {
    let mut listed = Listed::new();
    for set in Set::ALL {
        listed.extend(entry::read(*set, bytes).map(|entries| (*set, entries)));
    }
    let entries = listed.values().map(Vec::len).sum::<usize>();
    // One set's entries alone make sense more often than all together.
    let told = listed.into_iter().filter(|(set, entries)| {
        contents::elements(&[], &Listed::from([(*set, entries.clone())])).is_some()
    });
    let told = told.count() + counters::read([&bytes.to_vec()]).len();
    let told = told + drops::read(bytes).len();
    let networks = networks_of("kleene", &[bytes.to_vec()]);
    let whole = |layout: Layout<'_>| {
        let kinds = KINDS.iter();
        kinds.filter(move |kind| is_whole(layout, **kind, "kleene", vec![bytes.to_vec()])).count()
    };
    let layouts = [Layout::Host(&networks), Layout::Wire, Layout::Replies];
    entries + told + layouts.map(whole).iter().sum::<usize>()
}

#[cfg(test)]
mod tests;
