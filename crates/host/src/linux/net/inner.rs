//! Sockets and links in containers' namespaces, while a batch is applied.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use kleene_engine::change::Change;
use kleene_model::{ContainerId, LinkName};

use super::apply::{Failure, Run, Space};
use super::error::NetError;
use super::namespaces::visit;
use super::request::{self, Which};
use super::socket::Socket;
use super::standing::THERE;

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
    /// What is set up in a `vnet` container.
    pub(super) fn step_inside(&mut self, change: &Change) -> Result<(), Failure> {
        match change {
            Change::RaiseLoopback { container } => {
                const LOOPBACK: u32 = 1;
                self.push(Space::Inner(*container), request::set_up(LOOPBACK, true))
            }
            Change::AddInnerAddress { container, link, addr, alone } => {
                let index = self.inner_index(*container, link)?;
                let request = match alone {
                    true => request::add_lone_address(index, *addr),
                    false => request::add_address(index, *addr),
                };
                self.push(Space::Inner(*container), request)
            }
            Change::AddInnerRoute { container, link, destination, via } => {
                let index = self.inner_index(*container, link)?;
                let request = request::subnet_route(index, *destination, *via);
                self.push(Space::Inner(*container), request)
            }
            Change::AnswerAs { container, link, addr, direct, via } => {
                let index = self.inner_index(*container, link)?;
                // Cables are numbered, and so are the ends of theirs inside.
                let number = link.inner_number().unwrap_or(index);
                let space = Space::Inner(*container);
                for request in request::answer_routes((index, number), *addr, *direct, *via) {
                    self.push(space, request)?;
                }
                let rule = request::answer_rule(number, addr.addr());
                self.push_or(space, rule, THERE)
            }
            Change::RaiseInnerLink { container, link } => {
                let index = self.inner_index(*container, link)?;
                self.raised.push((self.current, *container, index));
                self.push(Space::Inner(*container), request::set_up(index, true))
            }
            Change::AddDefaultRoute { container, link, via } => {
                let index = self.inner_index(*container, link)?;
                self.push(Space::Inner(*container), request::default_route(index, *via))
            }
            _ => Ok(()),
        }
    }

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
