//! Tells when the host's links change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use kleene_engine::host::HostError;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{Mirror, is_cable, may_become_cable, mirror};
use crate::linux::net::error::{self, NetError};
use crate::linux::net::wire::{self, Frame, Malformed, frames};

/// A burst is over when nothing came for as long.
const QUIET: Duration = Duration::from_millis(10);
/// And when it lasts as long, it is told while it goes on.
const BURST: Duration = Duration::from_millis(200);
/// More than a message about a link; what is longer is only known to be there.
const BUFFER: usize = 16 * 1024;

/// Follows the links of the host. Opened before [`interfaces`](super::interfaces)
/// is asked, it misses nothing.
///
/// Cables of Kleene's come and go without a word.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
    seen: Seen,
}

/// What came since it was last told.
#[derive(Debug, Default)]
struct Seen {
    changed: bool,
    /// Links that have no mark yet, but the name of a cable.
    unmarked: BTreeSet<u32>,
    /// How views show the links that were told of. Much that happens to a link
    /// they do not show: a bridge speaks of itself with every port.
    shown: BTreeMap<u32, Mirror>,
}

impl Watch {
    /// Follows the links of the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, HostError> {
        const LINKS: u32 = 1;
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, LINKS))?;
            Ok(socket)
        };
        let socket = open()
            .map_err(failed("subscribe to them"))
            .map_err(error::host("follow the host's interfaces"))?;
        Ok(Self { socket, buffer: vec![0; BUFFER], seen: Seen::default() })
    }

    /// Waits until links have changed, at most for `limit`; whether they have.
    /// Changes that follow each other closely are told together, so that it may
    /// take a fifth of a second longer. Changes that were missed because there
    /// were too many count as one.
    ///
    /// # Errors
    /// When the kernel lets nobody wait.
    pub fn wait(&mut self, limit: Duration) -> Result<bool, HostError> {
        self.follow(limit).map_err(error::host("follow the host's interfaces"))
    }

    fn follow(&mut self, limit: Duration) -> Result<bool, NetError> {
        let deadline = Instant::now() + limit;
        loop {
            self.drain()?;
            if self.seen.is_change() {
                self.calm_down()?;
                if self.seen.tell() {
                    return Ok(true);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.is_readable(left)? {
                return Ok(false);
            }
        }
    }

    /// Takes the rest of a burst.
    fn calm_down(&mut self) -> Result<(), NetError> {
        let latest = Instant::now() + BURST;
        loop {
            let left = latest.saturating_duration_since(Instant::now()).min(QUIET);
            if left.is_zero() || !self.is_readable(left)? {
                return Ok(());
            }
            self.drain()?;
        }
    }

    /// Takes what has come so far.
    fn drain(&mut self) -> Result<(), NetError> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            match recv(&self.socket, self.buffer.as_mut_slice(), flags) {
                Ok((_, length)) => match self.buffer.get(..length) {
                    Some(datagram) => self.seen.take_in(datagram),
                    None => self.seen.lose(),
                },
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // More came than was read in time.
                Err(Errno::NOBUFS) => self.seen.lose(),
                Err(errno) => return Err(failed("read what changed")(errno.into())),
            }
        }
    }

    /// Waits until something came, or for as long.
    fn is_readable(&self, limit: Duration) -> Result<bool, NetError> {
        let longest = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
        let timeout = Timespec::try_from(limit).unwrap_or(longest);
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            // As if something had come: the caller looks how long it may wait.
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(failed("wait for changes")(errno.into())),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Seen {
    fn is_change(&self) -> bool {
        self.changed || !self.unmarked.is_empty()
    }

    /// Whether there is something to tell, which then is told.
    fn tell(&mut self) -> bool {
        let change = self.is_change();
        self.changed = false;
        self.unmarked.clear();
        change
    }

    /// Something came, and nobody knows what.
    fn lose(&mut self) {
        self.changed = true;
        self.shown.clear();
    }

    fn take_in(&mut self, datagram: &[u8]) {
        for frame in frames(datagram) {
            if frame.and_then(|frame| self.look_at(&frame)).is_err() {
                self.lose();
            }
        }
    }

    fn look_at(&mut self, frame: &Frame<'_>) -> Result<(), Malformed> {
        const DELETED: u16 = 17;
        /// Other families tell of a bridge's ports.
        const ANY: Option<&u8> = Some(&0);
        if !matches!(frame.kind, wire::kind::LINK | DELETED) || frame.payload.first() != ANY {
            return Ok(());
        }
        let link = wire::link(frame.payload)?;
        let now = mirror(&link).filter(|_| frame.kind != DELETED);
        let was = match now.clone() {
            Some(now) => self.shown.insert(link.index, now),
            None => self.shown.remove(&link.index),
        };
        let was_unmarked = self.unmarked.remove(&link.index);
        if is_cable(&link) {
            // A cable from the start, or something that became one?
            self.changed |= was.is_some() && !was_unmarked;
        } else if may_become_cable(&link) && now.is_some() && (was.is_none() || was_unmarked) {
            self.unmarked.insert(link.index);
        } else {
            self.changed |= now != was || frame.kind == DELETED;
        }
        Ok(())
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> NetError {
    move |source| NetError::Socket { what, source }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
