//! The network stacks of containers that run: their namespaces, and what of them
//! shows the host's interfaces.

use std::os::fd::OwnedFd;

use kleene_engine::host::chain;
use kleene_host::linux::net::Namespaces;
use kleene_host::linux::net::trial::{self, Trial};
use kleene_model::{Container, ContainerId, Driver, Jail, LinkName};

use crate::system::{Error, Flow, Heard, Outcome};

use super::views::Views;

/// The network stacks of this daemon's containers. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stacks {
    namespaces: Namespaces,
    views: Views,
}

/// Whether containers of a driver see the host's interfaces in a view.
fn has_view(driver: Driver) -> bool {
    match driver {
        Driver::Ipnet | Driver::Disabled => true,
        Driver::Vnet | Driver::Host => false,
    }
}

impl Stacks {
    /// Starts to keep them like the host, which is that of the calling thread.
    ///
    /// # Errors
    /// When the kernel does not tell of its interfaces, or gives no thread.
    pub(crate) fn keep(&self) -> Result<(), Error> {
        Ok(self.views.start()?)
    }

    /// The namespaces, which the engine's host enters.
    pub(super) fn namespaces(&self) -> Namespaces {
        self.namespaces.clone()
    }

    /// Readies the stack of a container, before anything runs in it. `skip` is the
    /// interface in whose place a cable will stand.
    ///
    /// # Errors
    /// When the host's interfaces cannot be read or the view not be set up.
    pub(crate) fn furnish(
        &self,
        container: &Container,
        netns: Option<&OwnedFd>,
        skip: Option<LinkName>,
    ) -> Result<(), Error> {
        if let Some(netns) = netns.filter(|_| has_view(container.driver)) {
            let ping = Jail::parse(&container.jail_param)
                .is_ok_and(|jail| jail.raw_sockets(container.driver));
            self.views.furnish(container.id, netns, skip, ping)?;
        }
        Ok(())
    }

    /// The engine may use it from now on.
    pub(crate) fn insert(&self, id: ContainerId, netns: OwnedFd) {
        self.namespaces.insert(id, netns);
    }

    /// Takes over the stack of a container that outlived the daemon.
    pub(crate) fn adopt(&self, id: ContainerId, driver: Option<Driver>, netns: OwnedFd) {
        if driver.is_some_and(has_view) {
            self.views.adopt(id, &netns);
        }
        self.namespaces.insert(id, netns);
    }

    /// The cable stands, if there is to be one.
    pub(crate) fn settle(&self, id: ContainerId) {
        self.views.settle(id);
    }

    /// The container has ended: it is not kept like the host any more.
    pub(crate) fn leave(&self, id: ContainerId) {
        self.views.leave(id);
    }

    /// Lets the stack go, and its cables with it.
    pub(crate) fn remove(&self, id: ContainerId) {
        self.namespaces.remove(id);
    }

    /// Sends a flow from a container, or from the host; `None` when its source is not
    /// there. It blocks.
    ///
    /// # Errors
    /// When the container's stack is not known, or the kernel gives no socket, or does
    /// not send.
    pub(crate) fn send(
        &self,
        from: Option<ContainerId>,
        flow: &Flow,
    ) -> Result<Option<Outcome>, Error> {
        let Flow { source, to, protocol } = *flow;
        let trial = Trial { source, to, protocol };
        let sent = match from {
            Some(container) => trial::from_container(&self.namespaces, container, &trial),
            None => trial::from_host(&trial),
        };
        Ok(sent.map_err(|err| chain(&err))?.map(outcome))
    }
}

fn outcome(sent: trial::Outcome) -> Outcome {
    let heard = match sent.heard {
        trial::Heard::Answer => Heard::Answer,
        trial::Heard::Refusal => Heard::Refusal,
        trial::Heard::Nothing => Heard::Nothing,
        trial::Heard::NoRoute => Heard::NoRoute,
    };
    Outcome { heard, tracked: sent.tracked }
}
