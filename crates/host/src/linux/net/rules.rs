//! What the host knows of its nftables tables.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use kleene_engine::piece::Piece;
use kleene_model::InstanceName;

use super::error::NetError;
use crate::linux::nft::{Table, table_name};

/// The tables of one daemon, made with their first element and removed with the
/// last: a host without networks has none.
#[derive(Debug)]
pub(super) struct Rules {
    name: String,
    table: Option<Table>,
    /// What is in it, as far as known; `None` when that has to be looked up.
    elements: Option<BTreeSet<Piece>>,
    /// The generation of the namespace's ruleset in which that was all of it, and
    /// the rules were as they are made: while it lasts, nothing has to be looked
    /// up.
    seen_in: Option<u32>,
    author: Author,
}

/// The port of the socket through which a [`Rules`] changes its table, once it
/// has one. The kernel names it with every change that it tells of.
pub(super) type Author = Arc<OnceLock<u32>>;

impl Rules {
    pub(super) fn new(instance: &InstanceName) -> Self {
        Self {
            name: table_name(instance),
            table: None,
            elements: None,
            seen_in: None,
            author: Author::default(),
        }
    }

    fn table(&mut self) -> Result<&mut Table, NetError> {
        if self.table.is_none() {
            let table = Table::open(&self.name).map_err(boxed)?;
            // Known before the first change is made. It is opened once.
            self.author.get_or_init(|| table.port());
            self.table = Some(table);
        }
        self.table.as_mut().ok_or(NetError::Malformed("no nftables socket"))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn author(&self) -> Author {
        self.author.clone()
    }

    /// What stands. A table that somebody else has edited counts as none: the
    /// next change makes it anew.
    pub(super) fn list(&mut self) -> Result<BTreeSet<Piece>, NetError> {
        let before = self.table()?.generation().map_err(boxed)?;
        if let Some(elements) = &self.elements
            && self.seen_in == Some(before)
        {
            return Ok(elements.clone());
        }
        let listed = self.table()?.list().map_err(boxed)?;
        // Of one moment, and if nothing has happened since, of this one.
        let after = self.table()?.generation().map_err(boxed)?;
        self.seen_in = Some(after).filter(|after| *after == before && listed.is_some());
        self.elements = Some(listed.clone().unwrap_or_default());
        Ok(listed.unwrap_or_default())
    }

    /// All or none of it.
    pub(super) fn change(&mut self, add: &[Piece], remove: &[Piece]) -> Result<(), NetError> {
        let mut elements = match self.elements.take() {
            Some(elements) => elements,
            None => self.list()?,
        };
        let was_empty = elements.is_empty();
        let before = self.seen_in.take();
        // Networks are made once, and taken away where they are.
        let is_network = |element: &Piece| matches!(element, Piece::Rules { .. });
        let add = add.iter().filter(|e| !is_network(e) || !elements.contains(e));
        let add: &[Piece] = &add.cloned().collect::<Vec<_>>();
        let remove = remove.iter().filter(|e| !is_network(e) || elements.contains(e));
        let remove: &[Piece] = &remove.cloned().collect::<Vec<_>>();
        for element in remove {
            elements.remove(element);
        }
        elements.extend(add.iter().cloned());
        let table = self.table()?;
        let changed = match (was_empty, elements.is_empty()) {
            (_, true) => table.remove(),
            (true, false) => table.replace(&elements),
            (false, false) => match table.change(add, remove) {
                // Somebody has removed it: it comes back whole.
                Err(error) if error.is_missing() => table.replace(&elements),
                changed => changed,
            },
        };
        changed.map_err(boxed)?;
        // Every transaction counts one up; more were somebody else's.
        let after = table.generation().map_err(boxed)?;
        self.elements = Some(elements);
        self.seen_in = before.filter(|before| before.wrapping_add(1) == after).map(|_| after);
        Ok(())
    }

    /// Removes the tables, whatever is in them.
    pub(super) fn remove(&mut self) -> Result<(), NetError> {
        self.elements = None;
        self.table()?.remove().map_err(boxed)
    }

    /// What is known may no longer be so.
    pub(super) fn doubt(&mut self) {
        self.elements = None;
        self.seen_in = None;
    }
}

pub(super) fn boxed(error: crate::linux::nft::NftError) -> NetError {
    NetError::Rules(Box::new(error))
}
