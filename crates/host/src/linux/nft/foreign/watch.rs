//! Waits until somebody changes a table that is not ours.

use std::time::{Duration, Instant};

use kleene_model::InstanceName;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::super::message::Step;
use super::super::socket::Failure;
use super::super::{NftError, failed, is_about, message};
use crate::linux::net::NetError;
use crate::linux::net::listen::{self, Listener};
use crate::linux::net::wire::frames;
use crate::linux::nft::table_name;

/// The group of netfilter that is told of changes of nftables.
const GROUPS: u32 = 1 << 6;
/// Firewalls are loaded in pieces: they are looked at when nothing more came for as
/// long, and in any case after as long.
const QUIET: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);
/// More than any message; what is longer is only known to be there.
const BUFFER: usize = 64 * 1024;

/// Hears of the tables of others in a network namespace.
#[derive(Debug)]
pub struct Watch {
    listener: Listener,
    /// The name of our own tables.
    own: String,
    buffer: Vec<u8>,
    changed: bool,
}

impl Watch {
    /// Listens in the calling thread's network namespace, which is the host's.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open(instance: &InstanceName) -> Result<Self, NftError> {
        let own = table_name(instance);
        match Listener::open(NETLINK_NETFILTER, GROUPS) {
            Ok(listener) => Ok(Self { listener, own, buffer: vec![0; BUFFER], changed: false }),
            Err(source) => Err(failed(&own, Failure { step: Step::Open, source })),
        }
    }

    /// Waits until a table of somebody else changes, at most for `limit`; whether one
    /// did, or may have. What follows closely is waited for, so that it may take two
    /// seconds longer.
    ///
    /// # Errors
    /// When the kernel lets nobody wait. Nothing is missed by that.
    pub fn wait(&mut self, limit: Duration) -> Result<bool, NftError> {
        let waited = self.follow(limit);
        waited.map_err(|source| failed(&self.own, Failure { step: Step::ListOthers, source }))
    }

    fn follow(&mut self, limit: Duration) -> Result<bool, NetError> {
        let deadline = Instant::now() + limit;
        loop {
            self.drain()?;
            if self.changed {
                listen::calm_down(self, (QUIET, LONGEST), Self::is_readable, Self::drain)?;
                return Ok(std::mem::take(&mut self.changed));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.is_readable(left)? {
                return Ok(false);
            }
        }
    }

    fn drain(&mut self) -> Result<(), NetError> {
        let Self { listener, own, buffer, changed } = self;
        listener.drain(buffer, |heard| {
            *changed |= heard.is_none_or(|datagram| tells_of_others(datagram, own));
        })
    }

    fn is_readable(&self, limit: Duration) -> Result<bool, NetError> {
        listen::is_readable(&[&self.listener], limit)
    }
}

/// Whether a datagram tells of a table that is not ours, or of nobody knows what.
pub(super) fn tells_of_others(datagram: &[u8], own: &str) -> bool {
    frames(datagram).any(|frame| {
        frame.map_or(true, |frame| message::tells_of_table(frame.kind) && !is_about(&frame, own))
    })
}
