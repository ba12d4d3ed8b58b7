//! Follows what happens to the host's network, and says what may concern
//! Kleene: what somebody else took away or put in its place.
//!
//! Much of what Kleene does itself is seen too: only who has the picture of the
//! kernel can tell what agrees with it. Left out is what it does to its nftables
//! table, and the routes and IPv4 addresses that it takes away itself, for those
//! messages say who asked for it. A message is older than it seems, and what
//! was taken may be there again.
//!
//! Linux does not tell of everything. What goes in silence goes with something
//! that is told:
//! - the entries by which the host answers for somebody on a wire (proxy
//!   neighbours) are never told of; all of an interface go when it goes down,
//!   and for a single one [`Answers`](super::Answers) looks,
//! - IPv4 routes over an interface go when it goes down,
//! - another mark on an interface that is down is told when it goes up,
//! - a route that was replaced is not told to be gone: another came, to the same
//!   destination.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use ipnet::IpNet;
use kleene_engine::change::Mark;
use kleene_engine::host::HostError;
use kleene_model::LinkName;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use super::LinuxHost;
use super::error::{self, NetError};
use super::listen::{self, Listener};
use super::monitor_burst::Burst;
use super::rules::Author;
use super::socket::Socket;

pub use super::wire::RouteKind;

/// Groups of route-netlink: links, addresses and routes of both families. A bit
/// for each, whose number is one less than the group's.
const ROUTE_GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;
/// The group of netfilter that is told of changes of nftables.
const RULE_GROUPS: u32 = 1 << 6;
/// A burst is over when nothing came for as long.
const QUIET: Duration = Duration::from_millis(2);
/// And when it lasts as long, it is told while it goes on.
const BURST: Duration = Duration::from_millis(50);
/// More than any message; what is longer is only known to be there.
const BUFFER: usize = 64 * 1024;
/// A table with tens of thousands of elements is told of element by element,
/// before anybody can read. Room takes nothing while nothing waits.
const ROOM: usize = 8 * 1024 * 1024;

/// Something that happened in the kernel's network and may concern Kleene. Of
/// what happened to one thing in a short time, the last is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// A link came, went, or changed: name, up or down, master, mark.
    Link {
        /// Its name. One that got another name is gone under the old one.
        name: LinkName,
        /// What is under that name now.
        state: LinkState,
    },
    /// An address came, changed, or went. Link-local IPv6 ones are left out.
    Address {
        /// The link; `None` where it is not known, or its name cannot be spelt.
        link: Option<LinkName>,
        /// The address.
        addr: IpNet,
        /// Whether it carries Kleene's protocol number.
        ours: bool,
        /// Whether it is there now.
        there: bool,
    },
    /// A route came, changed, or went: one to a single address, or wide enough
    /// to be somebody's default route.
    Route {
        /// Where it leads to.
        destination: IpNet,
        /// Where it is looked up.
        table: RouteTable,
        /// What it does.
        kind: RouteKind,
        /// The first link that it leads over.
        link: Option<LinkName>,
        /// Whether it carries Kleene's protocol number.
        ours: bool,
        /// Whether it is there now.
        there: bool,
    },
    /// Somebody else changed, made or deleted our nftables table.
    Rules,
    /// There was too much to hear: everything may have changed. Told alone.
    Overrun,
}

/// What is under a link's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// Nothing.
    Gone,
    /// A link.
    There {
        /// Whether it is administratively up.
        up: bool,
        /// Whether it went down since it was last told of. Much has gone with
        /// that, even if it is up again.
        fell: bool,
        /// The bridge it is a port of.
        master: Option<LinkName>,
        /// The mark it carries, of this daemon or another.
        mark: Option<Mark>,
    },
}

/// The tables of routes in which Kleene has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteTable {
    /// The host's own addresses.
    Local,
    /// Everything else.
    Main,
}

/// Follows the network of a host. Opened before the host is observed, it misses
/// nothing.
#[derive(Debug)]
pub struct Monitor {
    network: Listener,
    rules: Listener,
    /// Lists the links, at first and when something was missed.
    socket: Socket,
    buffer: Vec<u8>,
    burst: Burst,
    /// Our nftables table, and who changes it when we do.
    table: String,
    author: Author,
    /// Who changes the rest when we do.
    route_author: u32,
}

impl Monitor {
    /// Follows the network of the calling thread's network namespace, which is
    /// the host's. What the host does to its nftables table is not told.
    ///
    /// # Errors
    /// When the kernel gives no sockets, or no list of links.
    pub fn open(host: &LinuxHost) -> Result<Self, HostError> {
        Self::open_with_room(host, ROOM)
    }

    /// The same with another amount of room for what waits to be read, so that
    /// tests can fill it.
    #[doc(hidden)]
    pub fn open_with_room(host: &LinuxHost, room: usize) -> Result<Self, HostError> {
        let open = || -> Result<Self, NetError> {
            let network = Listener::open(NETLINK_ROUTE, ROUTE_GROUPS)?;
            let rules = Listener::open(NETLINK_NETFILTER, RULE_GROUPS)?;
            network.hold(room);
            rules.hold(room);
            // Listed after the first change can be heard.
            let mut socket = Socket::open()?;
            let (burst, buffer) = (Burst::new(&socket.links()?), vec![0; BUFFER]);
            let (table, author) = (host.rules.name().to_owned(), host.rules.author());
            let route_author = host.socket.port();
            Ok(Self { network, rules, socket, buffer, burst, table, author, route_author })
        };
        open().map_err(error::host("follow the host's network"))
    }

    /// Waits until something happens, at most for `limit`, and tells it. What
    /// follows closely is told together, so that it may take 50 ms longer.
    ///
    /// # Errors
    /// When the kernel lets nobody wait. Nothing is missed by that.
    pub fn wait(&mut self, limit: Duration) -> Result<Vec<Seen>, HostError> {
        self.follow(limit).map_err(error::host("follow the host's network"))
    }

    fn follow(&mut self, limit: Duration) -> Result<Vec<Seen>, NetError> {
        let deadline = Instant::now() + limit;
        loop {
            self.drain()?;
            if !self.burst.is_empty() {
                listen::calm_down(self, (QUIET, BURST), Self::is_readable, Self::drain)?;
                return self.tell();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.is_readable(left)? {
                return Ok(Vec::new());
            }
        }
    }

    /// Takes what has come so far.
    fn drain(&mut self) -> Result<(), NetError> {
        let Self { network, rules, buffer, burst, table, author, route_author, .. } = self;
        network.drain(buffer, |heard| match heard {
            Some(datagram) => burst.hear(datagram, *route_author),
            None => burst.lose(),
        })?;
        rules.drain(buffer, |heard| match heard {
            Some(datagram) => burst.hear_of_rules(datagram, table, author.get().copied()),
            None => burst.lose(),
        })
    }

    fn is_readable(&self, limit: Duration) -> Result<bool, NetError> {
        listen::is_readable(&[&self.network, &self.rules], limit)
    }

    fn tell(&mut self) -> Result<Vec<Seen>, NetError> {
        if self.burst.is_lost() {
            self.burst = Burst::new(&self.socket.links()?);
            return Ok(vec![Seen::Overrun]);
        }
        Ok(self.burst.tell())
    }
}

/// Reads bytes as if the kernel had told them, in every way that is used.
/// Called by the fuzzer.
#[doc(hidden)]
#[must_use]
pub fn read_anything(bytes: &[u8]) -> usize {
    let mut burst = Burst::default();
    burst.hear(bytes, 7);
    burst.hear_of_rules(bytes, "kleene-main", Some(7));
    let heard = burst.tell().len();
    assert!(burst.is_empty(), "what was told is not told again");
    heard + usize::from(super::listeners::read_anything(bytes))
}
