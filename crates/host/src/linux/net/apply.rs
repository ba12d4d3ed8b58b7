//! Carries changes out.
//!
//! What concerns one namespace and stands side by side in the plan goes to the
//! kernel in one datagram; one that makes links ends behind them. The kernel
//! does not stop at a refused message, so what belongs to a new link names it
//! by an index that was free: it meets either that link or none.
//!
//! A link is made and marked in one datagram, that is in one system call: no
//! crash of ours leaves one without its mark.

use std::collections::HashMap;
use std::net::IpAddr;

use kleene_engine::change::{Cable, CableUse, Change, Owned};
use kleene_engine::host::ApplyError;
use kleene_engine::piece::Piece;
use kleene_model::{ContainerId, LinkName};
use rustix::io::Errno;

use super::LinuxHost;
use super::error::{KernelError, NetError};
use super::inner::Inner;
use super::make::Made;
use super::request::{self, Request, Which};
use super::request_route;
use super::settings;
use super::sweep;

/// Carries changes out, in order.
pub(super) fn apply(host: &mut LinuxHost, changes: &[Change]) -> Result<(), ApplyError> {
    let Some(first) = changes.first() else { return Ok(()) };
    let mut run = Run {
        host,
        queue: Vec::new(),
        space: Space::Host,
        elements: Vec::new(),
        inner: HashMap::new(),
        leaving: Vec::new(),
        raised: Vec::new(),
        answered: Vec::new(),
        changing: Vec::new(),
        current: 0,
    };
    let applied = run.all(changes);
    let applied = applied.and(run.changed_replies());
    applied.map_err(|Failure { at, error }| ApplyError {
        done: at,
        change: Box::new(changes.get(at).unwrap_or(first).clone()),
        source: Box::new(error),
    })
}

/// A failure and the number of the change that it hit.
pub(super) struct Failure {
    at: usize,
    error: NetError,
}

impl Failure {
    pub(super) fn new(at: usize, error: NetError) -> Self {
        Self { at, error }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Host,
    Inner(ContainerId),
}

/// Requests of one change that wait for their datagram.
struct Queued<'a> {
    change: usize,
    requests: Vec<Request>,
    makes: Option<Made<'a>>,
    /// The address that it shows on a link.
    shows: Option<(u32, IpAddr)>,
    /// Refusals that are as good as done.
    tolerates: &'static [Errno],
}

/// A batch of changes on its way.
pub(super) struct Run<'h, 'c> {
    pub(super) host: &'h mut LinuxHost,
    queue: Vec<Queued<'c>>,
    space: Space,
    /// Elements of our nftables sets that wait for their transaction: of which
    /// change, and whether they are added.
    pub(super) elements: Vec<(usize, bool, Piece)>,
    pub(super) inner: HashMap<ContainerId, Inner>,
    /// Links that are about to be deleted: of which change, and their indexes.
    leaving: Vec<(usize, &'c Owned, u32)>,
    /// Containers' ends of cables that were raised, and the changes that did it.
    pub(super) raised: Vec<(usize, ContainerId, u32)>,
    /// Addresses that the host answers for from now on, and on which links.
    pub(super) answered: Vec<(u32, IpAddr)>,
    /// Tables of views that are being changed.
    pub(super) changing: Vec<super::replies::Changing>,
    /// The number of the change that is being worked at.
    pub(super) current: usize,
}

impl<'c> Run<'_, 'c> {
    fn all(&mut self, changes: &'c [Change]) -> Result<(), Failure> {
        for (at, change) in changes.iter().enumerate() {
            self.current = at;
            if !matches!(change, Change::RemoveLink { .. }) {
                self.flush_leaving()?;
            }
            self.step(change)?;
        }
        self.flush()?;
        self.flush_leaving()?;
        let unsettled: Vec<ContainerId> = self
            .inner
            .iter()
            .filter(|(_, inner)| !inner.raw.is_empty())
            .map(|(id, _)| *id)
            .collect();
        unsettled.into_iter().try_for_each(|container| self.settle(container))?;
        self.announce()?;
        // After a failure they are not kept: nobody knows what is left to read.
        for (container, inner) in self.inner.drain() {
            if let Some((netns, socket)) = inner.socket {
                self.host.namespaces.keep_socket(container, &netns, socket);
            }
        }
        Ok(())
    }

    fn step(&mut self, change: &'c Change) -> Result<(), Failure> {
        match change {
            Change::MakeBridge { link, mac, mark } => {
                let index = self.free_index()?;
                self.make(Made::Bridge { link, mac: *mac, mark, index })
            }
            Change::MakeLoopback { link, mac, mark } => {
                let index = self.free_index()?;
                self.make(Made::Loopback { link, mac: *mac, mark, index })
            }
            Change::MakeCable { cable, mark } => {
                let (index, inner) = (self.free_index()?, self.inner_number(cable)?);
                self.make(Made::Cable { cable, mark, index, inner })
            }
            Change::AddAddress { link, addr } => {
                let index = self.index(link)?;
                self.push(Space::Host, request::add_address(index, *addr))
            }
            Change::RemoveAddress { link, addr } => match self.owned(link)? {
                Some(index) => self.push(Space::Host, request::remove_address(index, *addr)),
                None => Err(self.failure(NetError::NoLink(link.link().clone()))),
            },
            Change::RaiseLink { link } => {
                let index = self.index(link)?;
                self.push(Space::Host, request::set_up(index, true))
            }
            Change::Plug { link, bridge } => {
                let (index, master) = (self.index(link)?, self.index(bridge)?);
                self.push(Space::Host, request::set_master(index, master))
            }
            Change::Isolate { link } => {
                let index = self.index(link)?;
                self.push(Space::Host, request::isolate(index))
            }
            Change::Unplug { link, bridge } => self.unplug(link, bridge),
            Change::RemoveLink { link } => {
                if let Some(index) = self.owned(link)? {
                    self.leaving.push((self.current, link, index));
                }
                self.host.indexes.remove(link.link());
                Ok(())
            }
            // Down first: a port that leaves its bridge while it is up talks to
            // the host itself.
            Change::RetireCable { link } => self.take_away(link, |index| {
                vec![request::set_up(index, false), request::set_master(index, 0)]
            }),
            Change::RaiseLoopback { .. }
            | Change::AddInnerAddress { .. }
            | Change::AddInnerRoute { .. }
            | Change::AnswerAs { .. }
            | Change::RaiseInnerLink { .. }
            | Change::AddDefaultRoute { .. } => self.step_inside(change),
            Change::Forget { flows } => {
                self.flush()?;
                let forgotten = self.host.flows.forget(flows);
                self.fail(forgotten)
            }
            Change::Put { piece } => self.put(piece),
            Change::Take { piece } => self.take(piece),
            Change::PutInside { container, inside } => self.put_inside(*container, inside),
            Change::TakeInside { container, inside } => self.take_inside(*container, inside),
            Change::RenameInner { container, from, to } => self.rename_inner(*container, from, to),
            Change::Set { setting, value } => {
                self.flush()?;
                let written = settings::write(setting, value);
                self.fail(written)
            }
        }
    }

    /// The index of a cable's inner end: where it stands in the place of an
    /// interface of the host's, that one's.
    fn inner_number(&mut self, cable: &Cable) -> Result<u32, Failure> {
        let stands_in = match cable.purpose {
            CableUse::Port => None,
            CableUse::Routed => self.index_now(&cable.inner)?,
        };
        Ok(stands_in.unwrap_or_else(|| self.host.numbers.draw()))
    }

    pub(super) fn failure(&self, error: impl Into<NetError>) -> Failure {
        Failure { at: self.current, error: error.into() }
    }

    pub(super) fn fail<T>(&self, result: Result<T, NetError>) -> Result<T, Failure> {
        result.map_err(|error| self.failure(error))
    }
}

// What is queued, and how it is sent.
impl<'c> Run<'_, 'c> {
    pub(super) fn push(&mut self, space: Space, request: Request) -> Result<(), Failure> {
        self.push_or(space, request, &[])
    }

    /// The same for a request whose refusal may be as good as done.
    pub(super) fn push_or(
        &mut self,
        space: Space,
        request: Request,
        tolerates: &'static [Errno],
    ) -> Result<(), Failure> {
        self.flush_elements()?;
        if self.space != space || self.queue.last().is_some_and(|last| last.makes.is_some()) {
            self.flush_requests()?;
        }
        self.space = space;
        let (change, requests) = (self.current, vec![request]);
        self.queue.push(Queued { change, requests, makes: None, shows: None, tolerates });
        Ok(())
    }

    /// Sets a container's address on an interface of the host.
    pub(super) fn push_shown(&mut self, index: u32, addr: IpAddr) -> Result<(), Failure> {
        self.push(Space::Host, request_route::show(index, addr))?;
        if let Some(queued) = self.queue.last_mut() {
            queued.shows = Some((index, addr));
        }
        Ok(())
    }

    /// Makes the links that wait to be made.
    pub(super) fn flush_made(&mut self) -> Result<(), Failure> {
        let waits = self.queue.last().is_some_and(|last| last.makes.is_some());
        if waits { self.flush() } else { Ok(()) }
    }

    /// Sends the addresses that wait to be set. To set one has a second step,
    /// which waits for the kernel, and must not find it gone again.
    pub(super) fn flush_shown(&mut self) -> Result<(), Failure> {
        let waits = self.queue.iter().any(|queued| queued.shows.is_some());
        if waits { self.flush() } else { Ok(()) }
    }

    fn make(&mut self, made: Made<'c>) -> Result<(), Failure> {
        self.flush_elements()?;
        if self.space != Space::Host || self.queue.last().is_some_and(|last| last.makes.is_none()) {
            self.flush_requests()?;
        }
        self.space = Space::Host;
        let (change, requests) = (self.current, self.making(&made)?);
        let (makes, shows, tolerates) = (Some(made), None, &[][..]);
        self.queue.push(Queued { change, requests, makes, shows, tolerates });
        Ok(())
    }

    /// Sends what waits. The first refusal is the failure.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        // Only one of them holds anything.
        self.flush_elements()?;
        self.flush_requests()
    }

    pub(super) fn flush_requests(&mut self) -> Result<(), Failure> {
        let queue = std::mem::take(&mut self.queue);
        let Some(first) = queue.first() else { return Ok(()) };
        // What fails from here on fails these, not the one that made room.
        let now = std::mem::replace(&mut self.current, first.change);
        let at = self.current;
        let socket = match self.space {
            Space::Host => &mut self.host.socket,
            Space::Inner(container) => self.inner_socket(container)?,
        };
        let requests: Vec<&Request> = queue.iter().flat_map(|queued| &queued.requests).collect();
        let verdicts = socket.batch(&requests).map_err(|error| Failure { at, error })?;
        let mut verdicts = verdicts.into_iter();
        for queued in queue {
            self.current = queued.change;
            let own = verdicts.by_ref().take(queued.requests.len());
            // All of its verdicts are taken, so that the next gets its own.
            let verdict = own.fold(Ok(()), Result::and);
            self.accept(&queued, verdict)?;
        }
        self.current = now;
        Ok(())
    }

    fn accept(
        &mut self,
        queued: &Queued<'c>,
        verdict: Result<(), KernelError>,
    ) -> Result<(), Failure> {
        match (queued.makes, queued.shows, verdict) {
            (Some(made), _, verdict) => self.made(made, verdict),
            (None, Some(shown), verdict) => self.shown(shown, verdict),
            (None, None, Err(refused)) if queued.tolerates.contains(&refused.errno()) => Ok(()),
            (None, None, verdict) => self.fail(verdict.map_err(NetError::from)),
        }
    }
}

// Links of the host that are there.
impl Run<'_, '_> {
    /// The index of a link of the host.
    pub(super) fn index(&mut self, link: &LinkName) -> Result<u32, Failure> {
        if let Some(index) = self.host.indexes.get(link) {
            return Ok(*index);
        }
        // It may be one of those that are about to be made.
        self.flush()?;
        if let Some(index) = self.host.indexes.get(link) {
            return Ok(*index);
        }
        let found = self.host.socket.link(Which::Name(link));
        match self.fail(found)? {
            Some(found) => {
                self.host.indexes.insert(link.clone(), found.index);
                Ok(found.index)
            }
            None => Err(self.failure(NetError::NoLink(link.clone()))),
        }
    }

    /// The same for a link that may be gone. One that was known is meant, and
    /// no other that has got its name since.
    pub(super) fn index_if_there(&mut self, link: &LinkName) -> Result<Option<u32>, Failure> {
        match self.host.indexes.get(link) {
            Some(index) => Ok(Some(*index)),
            None => self.index_now(link),
        }
    }

    /// The index of the link that has the name now.
    fn index_now(&mut self, link: &LinkName) -> Result<Option<u32>, Failure> {
        self.flush()?;
        let found = self.host.socket.link(Which::Name(link));
        Ok(self.fail(found)?.map(|found| found.index))
    }

    fn unplug(&mut self, link: &LinkName, bridge: &LinkName) -> Result<(), Failure> {
        let bridge = self.index(bridge)?;
        self.flush()?;
        let found = self.host.socket.link(Which::Name(link));
        match self.fail(found)?.filter(|found| found.master == Some(bridge)) {
            Some(found) => {
                let request = request::set_master(found.index, 0);
                self.push_or(Space::Host, request, &[Errno::NODEV])
            }
            None => Ok(()),
        }
    }

    /// The index of a link that still carries our mark; `None` when it is gone.
    fn owned(&mut self, owned: &Owned) -> Result<Option<u32>, Failure> {
        self.flush()?;
        let found = self.host.socket.link(Which::Name(owned.link()));
        let Some(found) = self.fail(found)? else { return Ok(None) };
        if found.alias.as_deref() != Some(owned.mark().to_string().as_str()) {
            let link = owned.link().clone();
            return Err(self.failure(NetError::Foreign { link, found: found.alias }));
        }
        Ok(Some(found.index))
    }

    /// Deletes the links that wait for it, at once: the kernel takes its time for
    /// each deletion, however many there are in one.
    fn flush_leaving(&mut self) -> Result<(), Failure> {
        let leaving = std::mem::take(&mut self.leaving);
        let Some((at, ..)) = leaving.first() else { return Ok(()) };
        let doomed: Vec<(&Owned, u32)> =
            leaving.iter().map(|(_, owned, index)| (*owned, *index)).collect();
        let failed = |error| Failure::new(*at, error);
        match sweep::delete(&mut self.host.socket, &doomed, sweep::is_marked) {
            Ok(None) => Ok(()),
            Ok(Some(refused)) => Err(failed(refused)),
            Err(error) => Err(failed(error)),
        }
    }

    fn take_away(
        &mut self,
        owned: &Owned,
        requests: impl Fn(u32) -> Vec<Request>,
    ) -> Result<(), Failure> {
        let found = self.owned(owned)?;
        self.host.indexes.remove(owned.link());
        // By index: a link that takes the name from now on is not meant.
        for request in found.map(requests).unwrap_or_default() {
            self.push_or(Space::Host, request, &[Errno::NODEV])?;
        }
        Ok(())
    }
}
