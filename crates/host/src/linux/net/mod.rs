//! Networks and cables through route-netlink, without any process.
//!
//! [`LinuxHost`] implements the engine's [`Host`](kleene_engine::Host). Its
//! way down: `apply` turns changes into `request`s, `socket` sends several of
//! them at once and reads every answer, `wire` takes the kernel's bytes apart.
//! Only `request` knows how messages are built.

mod apply;
mod error;
mod make;
mod namespaces;
mod observe;
mod request;
mod settings;
mod socket;
mod sweep;
mod wire;

use std::collections::HashMap;

use kleene_engine::actual::{Actual, HostRoute};
use kleene_engine::change::Change;
use kleene_engine::host::{ApplyError, Host, HostError};
use kleene_model::{InstanceName, LinkName};

pub use error::{KernelError, NetError};
pub use namespaces::Namespaces;
pub use socket::Socket;
pub use sweep::sweep;

/// The network of a Linux host, and of the containers whose namespaces are
/// known.
///
/// It belongs to the network namespace of the thread that made it, and must be
/// used from threads in that same namespace.
#[derive(Debug)]
pub struct LinuxHost {
    instance: InstanceName,
    namespaces: Namespaces,
    socket: Socket,
    /// Indexes of the host's links, as far as known. Emptied by every failure:
    /// what somebody else did to the links shows as one.
    indexes: HashMap<LinkName, u32>,
    numbers: make::Numbers,
}

impl LinuxHost {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn new(instance: InstanceName, namespaces: Namespaces) -> Result<Self, HostError> {
        let socket = Socket::open().map_err(error::host("open a netlink socket"))?;
        let (indexes, numbers) = (HashMap::new(), make::Numbers::random());
        Ok(Self { instance, namespaces, socket, indexes, numbers })
    }
}

impl Host for LinuxHost {
    fn observe(&mut self) -> Result<Actual, HostError> {
        let seen = observe::observe(&mut self.socket)?;
        self.indexes = seen.indexes;
        Ok(seen.actual)
    }

    fn routes(&mut self) -> Result<Vec<HostRoute>, HostError> {
        observe::routes(&mut self.socket, &self.instance)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        let applied = apply::apply(self, changes);
        if applied.is_err() {
            self.indexes.clear();
        }
        applied
    }
}

#[cfg(test)]
#[path = "floor_tests.rs"]
mod tests;
