//! The entries by which the host answers for containers on a wire. Linux tells
//! nobody when one goes, so they are looked at again and again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_engine::host::HostError;
use kleene_model::{Family, LinkName};

use super::error::{self, NetError};
use super::request::Which;
use super::request_route::PROTOCOL;
use super::socket::Socket;

/// Looks at the proxy neighbours that carry our protocol number.
#[derive(Debug)]
pub struct Answers {
    socket: Socket,
    last: BTreeSet<(u32, IpAddr)>,
}

impl Answers {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, HostError> {
        let socket = Socket::open().map_err(error::host("open a netlink socket"))?;
        Ok(Self { socket, last: BTreeSet::new() })
    }

    /// Those that have gone since the last look, whoever took them, from links
    /// that are still there.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn gone(&mut self) -> Result<Vec<(LinkName, IpAddr)>, HostError> {
        self.look().map_err(error::host("list the proxy neighbours"))
    }

    fn look(&mut self) -> Result<Vec<(LinkName, IpAddr)>, NetError> {
        let mut now = BTreeSet::new();
        for family in Family::BOTH {
            let list = self.socket.neighbours(family, true)?.into_iter();
            let ours = list.filter(|record| record.protocol == PROTOCOL);
            now.extend(ours.map(|record| (record.index, record.addr)));
        }
        let last = std::mem::replace(&mut self.last, now);
        let mut gone = Vec::new();
        for (index, addr) in last.difference(&self.last) {
            let link = self.socket.link(Which::Index(*index))?.and_then(|link| link.name);
            let link = link.and_then(|name| LinkName::parse(&name).ok());
            gone.extend(link.map(|link| (link, *addr)));
        }
        Ok(gone)
    }
}
