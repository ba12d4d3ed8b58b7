//! A synchronous route-netlink socket.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use kleene_model::Family;

use super::error::{KernelError, NetError};
use super::request::{self, Request, Which};
use super::request_route;
use super::wire::{
    self, AddressRecord, Frame, LinkRecord, Malformed, NeighbourRecord, RouteRecord, frames, kind,
};

/// The kernel answers at once; what waits are only deletions, for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a list is read again because it changed meanwhile.
const TRIES: u32 = 16;
/// Acknowledgements wait in the socket's buffer, which holds some two hundred.
/// Even, and never reached by length first: the two messages that make and mark
/// a link stay together.
const BATCH: usize = 64;
/// The longest datagram that is sent, unless one message alone is longer.
const DATAGRAM: usize = 32 * 1024;
/// The kernel fills at most half of it with a part of a list.
const BUFFER: usize = 64 * 1024;

/// A synchronous route-netlink socket. It belongs to the network namespace in
/// which it was opened, wherever it is used.
#[derive(Debug)]
pub struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open() -> Result<Self, NetError> {
        let open = || -> io::Result<netlink_sys::Socket> {
            let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            // Nobody but the kernel can send to a connected socket.
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            // Filters of lists are a favour: they are applied here again.
            let _ = socket.set_netlink_get_strict_chk(true);
            Ok(socket)
        };
        let socket =
            open().map_err(|source| NetError::Socket { what: "open a netlink socket", source })?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
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
        let first = self.send(requests)?;
        let deadline = Instant::now() + PATIENCE;
        let mut verdicts: Vec<Option<Result<(), KernelError>>> = vec![None; requests.len()];
        while verdicts.iter().any(Option::is_none) {
            for frame in frames(self.receive(deadline)?) {
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
        let first = self.send(&[&request::get_link(which)])?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            for frame in frames(self.receive(deadline)?) {
                let frame = frame?;
                match frame.kind {
                    _ if place(&frame, first) != Some(0) => {}
                    kind::LINK => return Ok(Some(wire::link(frame.payload)?)),
                    kind::ERROR => {
                        return match frame.verdict()? {
                            Err(refused) if refused.errno() != Errno::NODEV => Err(refused.into()),
                            _ => Ok(None),
                        };
                    }
                    _ => return Err(NetError::Malformed("an answer is no link")),
                }
            }
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

    /// The way to an address, or `None` where there is none.
    pub(super) fn way_to(&mut self, to: IpAddr) -> Result<Option<RouteRecord>, NetError> {
        let first = self.send(&[&request_route::which_way(to)])?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            for frame in frames(self.receive(deadline)?) {
                let frame = frame?;
                match frame.kind {
                    _ if place(&frame, first) != Some(0) => {}
                    kind::ROUTE => return Ok(wire::route(frame.payload)?),
                    kind::ERROR => return Ok(None),
                    _ => return Err(NetError::Malformed("an answer is no route")),
                }
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
        let first = self.send(&[request])?;
        let deadline = Instant::now() + PATIENCE;
        let (mut list, mut whole) = (Vec::new(), true);
        loop {
            for frame in frames(self.receive(deadline)?) {
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

    /// Sends requests in one datagram; the sequence number of the first.
    fn send(&mut self, requests: &[&Request]) -> Result<u32, NetError> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(requests.iter().map(|request| request.len()).sum());
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.write(self.sequence, &mut datagram);
        }
        let failed = |source| NetError::Socket { what: "send to the kernel", source };
        let sent = loop {
            match self.socket.send(&datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent.map_err(failed)?,
            }
        };
        if sent != datagram.len() {
            return Err(failed(io::ErrorKind::WriteZero.into()));
        }
        Ok(first)
    }

    /// The next datagram, waited for until the deadline.
    fn receive(&mut self, deadline: Instant) -> Result<&[u8], NetError> {
        let failed = |errno: Errno| NetError::Socket {
            what: "read the kernel's answer",
            source: errno.into(),
        };
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let length = loop {
            match recv(&self.socket, self.buffer.as_mut_slice(), flags) {
                Ok((_, length)) => break length,
                Err(Errno::AGAIN) => self.wait(deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        };
        self.buffer.get(..length).ok_or(NetError::Malformed("a datagram does not fit"))
    }

    fn wait(&self, deadline: Instant) -> Result<(), NetError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NetError::Silent(PATIENCE));
        }
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => {
                Err(NetError::Socket { what: "wait for the kernel's answer", source: errno.into() })
            }
        }
    }
}

/// Which request of a datagram a message answers. Those of earlier datagrams,
/// given up at their deadline, are far out of the range.
fn place(frame: &Frame<'_>, first: u32) -> Option<usize> {
    usize::try_from(frame.sequence.wrapping_sub(first)).ok()
}

impl From<Malformed> for NetError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}
