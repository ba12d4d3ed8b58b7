//! Kleene's own nftables tables, written and read in this process.
//!
//! The one of the host, [`Table`], guards the addresses of containers that stand on the host. It
//! outlives the daemon, and what guards an address stands before the address
//! can be used and goes after it. Its rules never change; what changes are
//! elements of its sets ([`Element`]), at a cost that does not depend on how
//! many there are.
//!
//! The one of a view, [`Replies`], stands where a container has several
//! addresses of a family, and has answers over UDP come from the one asked.
//! Packets keep its maps.
//!
//! `layout`, `rule` and `replies` say what they are made of, `message` makes
//! transactions of it, `socket` carries them out. Reading goes the same way back: the kernel
//! lists what it has, `attributes::covers` compares it with the layout, and
//! `element` reads what is in the sets.
#![forbid(unsafe_code)]

mod attributes;
mod element;
mod layout;
mod message;
mod replies;
mod rule;
mod socket;

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::net::NetError;
use super::net::wire::Frame;
use attributes::{covers, values};
use element::Set;
use layout::{KINDS, Kind, Layout, TABLE};
use message::{Message, Step};
use socket::{Failure, Socket, TRIES, is_disturbed};

pub use element::Element;

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

/// Kleene's table of the family `inet`, there or not.
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

    /// The port of its socket, which the kernel names with every change that was
    /// made through it.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// What is in the sets; `None` when there is no such table or it is not
    /// whole: a chain, set or rule is missing, was changed, or is not ours.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn list(&mut self) -> Result<Option<BTreeSet<Element>>, NftError> {
        let outcome = self.list_until_quiet();
        outcome.map_err(|source| failed(&self.name, Failure { step: Step::List, source }))
    }

    /// Makes the table, whatever stands there, with exactly these elements. At
    /// no moment is there none: packets meet the old one or the new one.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn replace(&mut self, elements: &BTreeSet<Element>) -> Result<(), NftError> {
        self.transact(&message::replace(&self.name, elements))
    }

    /// Adds and removes elements, all or none. One that is there already, or
    /// gone already, is no error; one that is in both lists is there afterwards.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses: [`NftError::is_missing`]
    /// where there is no table.
    pub fn change(&mut self, add: &[Element], remove: &[Element]) -> Result<(), NftError> {
        let messages = message::change(&self.name, add, remove);
        if messages.is_empty() { Ok(()) } else { self.transact(&messages) }
    }

    /// Removes the table, whatever is in it. Gone already counts as done.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn remove(&mut self) -> Result<(), NftError> {
        match self.transact(&[message::remove(&self.name)]) {
            Err(error) if error.is_missing() => Ok(()),
            outcome => outcome,
        }
    }

    fn transact(&mut self, messages: &[Message]) -> Result<(), NftError> {
        self.socket.transact(messages).map_err(|failure| failed(&self.name, failure))
    }

    /// A list takes several questions: the answers belong together when no
    /// transaction came in between.
    fn list_until_quiet(&mut self) -> Result<Option<BTreeSet<Element>>, NetError> {
        // The kernel counts a generation up a moment before it is the one that
        // is listed, so what was seen once is looked at again.
        let mut last = None;
        for _ in 0..2 * TRIES {
            match self.list_once() {
                Err(error) if is_disturbed(&error) => last = None,
                Ok(seen) if last.as_ref() == Some(&seen) => return Ok(seen),
                Ok(seen) => last = Some(seen),
                Err(error) => return Err(error),
            }
        }
        Err(NetError::Restless(TRIES))
    }

    fn list_once(&mut self) -> Result<Option<BTreeSet<Element>>, NetError> {
        let before = self.socket.ask(&Message::generation())?;
        let seen = match self.look() {
            // It went while it was looked at, or was not there to begin with.
            Err(error) if is_missing(&error) => None,
            seen => seen?,
        };
        let after = self.socket.ask(&Message::generation())?;
        if before == after { Ok(seen) } else { Err(NetError::Restless(1)) }
    }

    fn look(&mut self) -> Result<Option<BTreeSet<Element>>, NetError> {
        if !looks_whole(&mut self.socket, Layout::Guards, &self.name)? {
            return Ok(None);
        }
        let mut elements = BTreeSet::new();
        for set in Set::ALL {
            for part in self.socket.ask(&Message::list_elements(&self.name, set))? {
                let Some(read) = set.read(&part) else { return Ok(None) };
                elements.extend(read);
            }
        }
        Ok(Some(elements))
    }
}

/// The table of a view: UDP services on the wildcard answer from the address
/// that was asked. It belongs to the network namespace of the thread that opened
/// it, wherever it is used.
#[derive(Debug)]
pub struct Replies {
    socket: Socket,
}

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
        match self.socket.transact(&[message::remove(REPLIES)]) {
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

/// Whether a message tells of a table of the family `inet`, or of something in
/// it.
pub(super) fn is_about(frame: &Frame<'_>, table: &str) -> bool {
    let [family, _, _, _, ref attributes @ ..] = *frame.payload else { return false };
    let mut names = values(attributes, TABLE);
    message::tells_of_table(frame.kind)
        && family == message::INET
        && names.any(|name| name.strip_suffix(&[0]) == Some(table.as_bytes()))
}

fn failed(table: &str, Failure { step, source }: Failure) -> NftError {
    NftError::Failed { table: table.to_owned(), what: step.to_string(), source }
}

/// Whether a table is as we made it, without a look at elements.
fn looks_whole(socket: &mut Socket, layout: Layout, table: &str) -> Result<bool, NetError> {
    for kind in KINDS {
        let listed = socket.ask(&Message::list_all(kind, table))?;
        if !is_whole(layout, kind, table, listed) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether what the kernel listed of a kind is, in this table, what we made.
fn is_whole(layout: Layout, kind: Kind, table: &str, mut listed: Vec<Vec<u8>>) -> bool {
    let name = [table.as_bytes(), &[0]].concat();
    listed.retain(|found| values(found, TABLE).eq([name.as_slice()]));
    // The kernel lists in the order of making, which differs when somebody
    // else made a chain anew. The order of a chain's rules stays.
    listed.sort_by(|one, other| {
        let order = |found| values(found, kind.order()).next();
        order(one.as_slice()).cmp(&order(other.as_slice()))
    });
    let ours = layout.describe(kind, table);
    listed.len() == ours.len() && listed.iter().zip(&ours).all(|(found, own)| covers(found, own))
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
    let elements = Set::ALL.iter().filter_map(|set| set.read(bytes)).map(|read| read.len());
    let whole = |layout| {
        let kinds = KINDS.iter();
        kinds.filter(move |kind| is_whole(layout, **kind, "kleene", vec![bytes.to_vec()])).count()
    };
    elements.sum::<usize>() + whole(Layout::Guards) + whole(Layout::Replies)
}

#[cfg(test)]
mod tests;
