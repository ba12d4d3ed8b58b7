//! The network stacks of containers that run. A jail keeps its own, and one that
//! shares the host's sees the host's interfaces by itself: there is nothing to hold
//! and nothing to keep up to date.

use std::os::fd::OwnedFd;

use kleene_model::{Container, ContainerId, Driver, LinkName};

use crate::system::{Error, Flow, Outcome};

/// The network stacks of this daemon's containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stacks(());

impl Stacks {
    /// The kernel does it.
    ///
    /// # Errors
    /// None.
    pub(crate) fn keep(&self) -> Result<(), Error> {
        Ok(())
    }

    /// A jail is ready when it is made.
    ///
    /// # Errors
    /// None.
    pub(crate) fn furnish(
        &self,
        _: &Container,
        _netns: Option<&OwnedFd>,
        _skip: Option<LinkName>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Jails are known by their names, not by descriptors: a supervisor hands none
    /// over.
    pub(crate) fn insert(&self, _: ContainerId, _: OwnedFd) {}

    /// As [`Stacks::insert`].
    pub(crate) fn adopt(&self, _: ContainerId, _: Option<Driver>, _: OwnedFd) {}

    /// No interface was left out for a cable.
    pub(crate) fn settle(&self, _: ContainerId) {}

    /// Nothing was kept up to date.
    pub(crate) fn leave(&self, _: ContainerId) {}

    /// Nothing was held.
    pub(crate) fn remove(&self, _: ContainerId) {}

    /// Sends a flow from a container, or from the host.
    ///
    /// # Errors
    /// [`Error::Never`].
    pub(crate) fn send(
        &self,
        _from: Option<ContainerId>,
        _: &Flow,
    ) -> Result<Option<Outcome>, Error> {
        Err(Error::Never("nobody tells whether the host let it pass"))
    }
}
