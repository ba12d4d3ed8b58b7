//! Tells when the host's links change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kleene_engine::host::HostError;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{Mirror, is_cable, may_become_cable, mirror};
use crate::linux::net::error::{self, NetError};
use crate::linux::net::listen::{self, Listener};
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
    listener: Listener,
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
        let listener = Listener::open(NETLINK_ROUTE, LINKS);
        let listener = listener.map_err(error::host("follow the host's interfaces"))?;
        Ok(Self { listener, buffer: vec![0; BUFFER], seen: Seen::default() })
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
                listen::calm_down(self, (QUIET, BURST), Self::is_readable, Self::drain)?;
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

    /// Takes what has come so far.
    fn drain(&mut self) -> Result<(), NetError> {
        let Self { listener, buffer, seen } = self;
        listener.drain(buffer, |heard| match heard {
            Some(datagram) => seen.take_in(datagram),
            None => seen.lose(),
        })
    }

    fn is_readable(&self, limit: Duration) -> Result<bool, NetError> {
        listen::is_readable(&[&self.listener], limit)
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
        use wire::kind::{LINK, LINK_GONE};
        /// Other families tell of a bridge's ports.
        const ANY: Option<&u8> = Some(&0);
        if !matches!(frame.kind, LINK | LINK_GONE) || frame.payload.first() != ANY {
            return Ok(());
        }
        let link = wire::link(frame.payload)?;
        let now = mirror(&link).filter(|_| frame.kind != LINK_GONE);
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
            self.changed |= now != was || frame.kind == LINK_GONE;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
