//! Sockets and links in containers' namespaces, while a batch is applied.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use kleene_model::{ContainerId, LinkName};

use super::apply::{Failure, Run};
use super::error::NetError;
use super::namespaces::visit;
use super::request::Which;
use super::socket::Socket;

/// What is known of a container's namespace while a batch is applied.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) socket: Option<(Arc<OwnedFd>, Socket)>,
    pub(super) indexes: HashMap<LinkName, u32>,
    /// Ends of new cables that want their settings, and the changes that made them.
    pub(super) raw: Vec<(usize, LinkName)>,
}

impl Inner {
    pub(super) fn socket(&mut self) -> Option<&mut Socket> {
        self.socket.as_mut().map(|(_, socket)| socket)
    }
}

impl Run<'_, '_> {
    pub(super) fn inner_index(
        &mut self,
        container: ContainerId,
        link: &LinkName,
    ) -> Result<u32, Failure> {
        // A cable that waits to be made is made before anyone looks for it.
        self.flush_made()?;
        let known = self.inner.get(&container).and_then(|inner| inner.indexes.get(link));
        if let Some(index) = known {
            return Ok(*index);
        }
        let found = self.inner_socket(container)?.link(Which::Name(link));
        let Some(found) = self.fail(found)? else {
            return Err(self.failure(NetError::NoLink(link.clone())));
        };
        let inner = self.inner.entry(container).or_default();
        inner.indexes.insert(link.clone(), found.index);
        Ok(found.index)
    }

    /// The socket in a container, opened where it is missing.
    pub(super) fn inner_socket(&mut self, container: ContainerId) -> Result<&mut Socket, Failure> {
        let ready = |inner: &Inner| inner.socket.is_some() && inner.raw.is_empty();
        if !self.inner.get(&container).is_some_and(ready) {
            self.settle(container)?;
        }
        let socket = self.inner.get_mut(&container).and_then(Inner::socket);
        socket.ok_or_else(|| Failure::new(self.current, NetError::NoNamespace(container)))
    }

    /// Enters a container: its cables get their settings, we get a socket.
    pub(super) fn settle(&mut self, container: ContainerId) -> Result<(), Failure> {
        let netns = self.fail(self.host.namespaces.get(container))?;
        let raw = self.inner.entry(container).or_default().raw.clone();
        let at = raw.first().map_or(self.current, |(at, _)| *at);
        let links: Vec<LinkName> = raw.into_iter().map(|(_, link)| link).collect();
        let kept = self.host.namespaces.take_socket(container).filter(|_| links.is_empty());
        let socket = match kept {
            Some(socket) => socket,
            None => visit(&netns, &links).map_err(|error| Failure::new(at, error))?,
        };
        let inner = self.inner.entry(container).or_default();
        inner.raw.clear();
        inner.socket = Some((netns, socket));
        Ok(())
    }
}
