//! A synchronous route-netlink socket.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use kleene_model::Family;

use super::channel::{Channel, place};
use super::error::{KernelError, NetError};
use super::request::{self, Request, Which};
use super::request_route;
use super::wire::{
    self, AddressRecord, LinkRecord, Malformed, NeighbourRecord, RouteRecord, frames, kind,
};

/// How often a list is read again because it changed meanwhile.
const TRIES: u32 = 16;
/// Acknowledgements wait in the socket's buffer, which holds some two hundred.
/// Even, and never reached by length first: the two messages that make and mark
/// a link stay together.
const BATCH: usize = 64;
/// The longest datagram that is sent, unless one message alone is longer.
const DATAGRAM: usize = 32 * 1024;

/// A synchronous route-netlink socket. It belongs to the network namespace in
/// which it was opened, wherever it is used.
#[derive(Debug)]
pub struct Socket {
    channel: Channel,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open() -> Result<Self, NetError> {
        let mut channel = Channel::open(NETLINK_ROUTE)?;
        channel.filter_lists();
        Ok(Self { channel, sequence: 0 })
    }

    /// The socket's own number: it is told with what the socket changes.
    pub(super) fn port(&self) -> u32 {
        self.channel.port()
    }

    /// The same socket with less memory, until it is used again.
    pub(super) fn rested(mut self) -> Self {
        self.channel.rest();
        self
    }

    /// Sends requests for changes, as many at once as fit, and reads every
    /// answer. A refused one does not stop those behind it.
    pub(in crate::linux) fn batch(
        &mut self,
        requests: &[&Request],
    ) -> Result<Vec<Result<(), KernelError>>, NetError> {
        let mut verdicts = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let mut length = 0;
            let fit = rest.iter().take(BATCH).take_while(|request| {
                length += request.len();
                length <= DATAGRAM
            });
            let (now, later) = rest.split_at(fit.count().max(1));
            verdicts.extend(self.exchange(now)?);
            rest = later;
        }
        Ok(verdicts)
    }

    fn exchange(
        &mut self,
        requests: &[&Request],
    ) -> Result<Vec<Result<(), KernelError>>, NetError> {
        let (first, deadline) = self.send(requests)?;
        let mut verdicts: Vec<Option<Result<(), KernelError>>> = vec![None; requests.len()];
        while verdicts.iter().any(Option::is_none) {
            for frame in frames(self.channel.receive(deadline)?) {
                let frame = frame?;
                let place = place(&frame, first);
                if let Some(verdict) = place.and_then(|place| verdicts.get_mut(place)) {
                    *verdict = Some(frame.verdict()?);
                }
            }
        }
        Ok(verdicts.into_iter().flatten().collect())
    }

    /// The link, or `None` when there is none.
    pub(in crate::linux) fn link(
        &mut self,
        which: Which<'_>,
    ) -> Result<Option<LinkRecord>, NetError> {
        match self.answer(&request::get_link(which), kind::LINK, wire::link)? {
            Ok(link) => Ok(Some(link)),
            Err(refused) if refused.errno() == Errno::NODEV => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// All links.
    pub(in crate::linux) fn links(&mut self) -> Result<Vec<LinkRecord>, NetError> {
        self.list(&request::list_links(), kind::LINK, |payload| wire::link(payload).map(Some))
    }

    /// All addresses of both families.
    pub(in crate::linux) fn addresses(&mut self) -> Result<Vec<AddressRecord>, NetError> {
        self.list(&request::list_addresses(), kind::ADDRESS, wire::address)
    }

    /// The routes of a family in a table. Only those: a kernel that does not
    /// filter lists all.
    pub(super) fn routes(
        &mut self,
        family: Family,
        table: u8,
    ) -> Result<Vec<RouteRecord>, NetError> {
        let request = request::list_routes(family, table);
        let mut list = match self.list(&request, kind::ROUTE, wire::route) {
            // The kernel makes the table with its first route.
            Err(error) if error.errno() == Some(Errno::NOENT) => Vec::new(),
            listed => listed?,
        };
        list.retain(|record| {
            let of_family = Family::of(record.destination.addr()) == family;
            of_family && record.table == u32::from(table)
        });
        Ok(list)
    }

    /// The neighbours of a family: those that are known, or those for which the
    /// host answers.
    pub(super) fn neighbours(
        &mut self,
        family: Family,
        proxies: bool,
    ) -> Result<Vec<NeighbourRecord>, NetError> {
        let request = request_route::list_neighbours(family, proxies);
        let mut list = self.list(&request, kind::NEIGHBOUR, wire::neighbour)?;
        list.retain(|record| record.proxy == proxies && Family::of(record.addr) == family);
        Ok(list)
    }

    /// Whether an IPv6 address stands on a link.
    pub(super) fn has_address6(&mut self, index: u32, addr: Ipv6Addr) -> Result<bool, NetError> {
        let request = request::get_address6(index, addr);
        self.is_there(&request, kind::ADDRESS, &[Errno::ADDRNOTAVAIL, Errno::NODEV])
    }

    /// Whether the host answers for an address on a link.
    pub(super) fn answers_for(&mut self, index: u32, addr: IpAddr) -> Result<bool, NetError> {
        let request = request_route::get_answer(index, addr);
        self.is_there(&request, kind::NEIGHBOUR, &[Errno::NOENT, Errno::NODEV])
    }

    fn is_there(
        &mut self,
        request: &Request,
        wanted: u16,
        missing: &[Errno],
    ) -> Result<bool, NetError> {
        match self.answer(request, wanted, |_| Ok(()))? {
            Ok(()) => Ok(true),
            Err(refused) if missing.contains(&refused.errno()) => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    /// The neighbours of a family that are known on a link. Only those: a kernel
    /// that does not filter lists all.
    pub(super) fn neighbours_on(
        &mut self,
        index: u32,
        family: Family,
    ) -> Result<Vec<NeighbourRecord>, NetError> {
        let request = request_route::list_neighbours_on(index, family);
        let mut list = self.list(&request, kind::NEIGHBOUR, wire::neighbour)?;
        let of = |record: &NeighbourRecord| Family::of(record.addr) == family;
        list.retain(|record| !record.proxy && record.index == index && of(record));
        Ok(list)
    }

    /// The way to an address, or `None` where there is none.
    pub(super) fn way_to(&mut self, to: IpAddr) -> Result<Option<RouteRecord>, NetError> {
        /// Nothing leads there, or an unreachable, prohibited or black hole does.
        const NONE: [Errno; 4] =
            [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ACCESS, Errno::INVAL];
        match self.answer(&request_route::which_way(to), kind::ROUTE, wire::route)? {
            Ok(route) => Ok(route),
            Err(refused) if NONE.contains(&refused.errno()) => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// The one answer to a request, or the kernel's refusal.
    fn answer<T>(
        &mut self,
        request: &Request,
        wanted: u16,
        decode: impl Fn(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Result<T, KernelError>, NetError> {
        let (first, deadline) = self.send(&[request])?;
        loop {
            for frame in frames(self.channel.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, first) != Some(0) {
                    continue;
                }
                if frame.kind == wanted {
                    return Ok(Ok(decode(frame.payload)?));
                }
                return match frame.verdict()? {
                    Err(refused) => Ok(Err(refused)),
                    Ok(()) => Err(NetError::Malformed("an answer is not what was asked for")),
                };
            }
        }
    }

    /// The list that a request asks for.
    pub(in crate::linux) fn list<T>(
        &mut self,
        request: &Request,
        wanted: u16,
        decode: impl Fn(&[u8]) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, NetError> {
        for _ in 0..TRIES {
            if let Some(list) = self.list_once(request, wanted, &decode)? {
                return Ok(list);
            }
        }
        Err(NetError::Restless(TRIES))
    }

    /// The list, or `None` when it changed while it was read.
    fn list_once<T>(
        &mut self,
        request: &Request,
        wanted: u16,
        decode: impl Fn(&[u8]) -> Result<Option<T>, Malformed>,
    ) -> Result<Option<Vec<T>>, NetError> {
        let (first, deadline) = self.send(&[request])?;
        let (mut list, mut whole) = (Vec::new(), true);
        loop {
            for frame in frames(self.channel.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, first) != Some(0) {
                    continue;
                }
                whole &= !frame.interrupted();
                if matches!(frame.kind, kind::DONE | kind::ERROR) {
                    return match frame.verdict()? {
                        Ok(()) => Ok(whole.then_some(list)),
                        // Newer kernels may end an interrupted list with this.
                        Err(refused) if refused.errno() == Errno::INTR => Ok(None),
                        Err(refused) => Err(refused.into()),
                    };
                }
                if frame.kind == wanted {
                    list.extend(decode(frame.payload)?);
                }
            }
        }
    }

    /// Sends requests in one datagram; the sequence number of the first, and
    /// until when answers are waited for.
    fn send(&mut self, requests: &[&Request]) -> Result<(u32, Instant), NetError> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(requests.iter().map(|request| request.len()).sum());
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.write(self.sequence, &mut datagram);
        }
        Ok((first, self.channel.send(&datagram)?))
    }
}

impl From<Malformed> for NetError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}
