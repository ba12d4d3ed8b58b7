//! The tables of views by which answers over UDP come from the address asked.
//!
//! To make one takes the kernel longer than most changes, and nothing else waits
//! for it: it is done beside what comes next, and is done when the batch is.

use std::io;
use std::sync::mpsc::Receiver;

use kleene_model::ContainerId;

use super::apply::{Failure, Run};
use super::error::NetError;
use super::namespaces::enter_beside;
use super::rules::boxed;
use crate::linux::nft::{NftError, Replies};

/// A table that is being made or taken away, and by which change.
pub(super) type Changing = (usize, Receiver<Result<(), NetError>>);

impl Run<'_, '_> {
    /// Begins to change the table of a view.
    pub(super) fn change_replies(
        &mut self,
        container: ContainerId,
        change: fn(&mut Replies) -> Result<(), NftError>,
    ) -> Result<(), Failure> {
        self.flush()?;
        // There may be one before it for the same view.
        self.changed_replies()?;
        let netns = self.fail(self.host.namespaces.get(container))?;
        // To close the socket of a table that was taken away waits for the kernel
        // for tens of milliseconds.
        let changing = enter_beside(netns, move || {
            let (changed, open) = match Replies::open() {
                Ok(mut table) => (change(&mut table), Some(table)),
                Err(failed) => (Err(failed), None),
            };
            (allowed(changed), open)
        });
        let changing = self.fail(changing)?;
        self.changing.push((self.current, changing));
        Ok(())
    }

    /// Waits for all that are being changed. The first failure is told.
    pub(super) fn changed_replies(&mut self) -> Result<(), Failure> {
        let mut first = Ok(());
        for (at, changing) in std::mem::take(&mut self.changing) {
            let ended = || NetError::Enter(io::Error::other("the thread has ended"));
            let changed = changing.recv().unwrap_or_else(|_| Err(ended()));
            first = first.and(changed.map_err(|error| Failure::new(at, error)));
        }
        first
    }
}

/// A kernel that does not know what a table is made of goes without: `doctor`
/// says so.
fn allowed(changed: Result<(), NftError>) -> Result<(), NetError> {
    match changed {
        Err(unknown) if unknown.is_unknown() => Ok(()),
        changed => changed.map_err(boxed),
    }
}
