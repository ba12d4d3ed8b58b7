//! Networks and cables through route-netlink, without any process.
//!
//! [`LinuxHost`] implements the engine's [`Host`](kleene_engine::Host). Its
//! way down: `apply` turns changes into `request`s (and `request_route`s),
//! `socket` sends several of them at once over a `channel` and reads every
//! answer, `wire` takes the kernel's bytes apart. What is nftables' goes through
//! `rules` to [`nft`](super::nft). [`monitor`] follows what others do to the
//! same network, with sockets of its own (`listen`); `answers` looks at the one
//! thing that nobody is told of.

mod again;
mod announce;
mod answers;
mod apply;
pub(in crate::linux) mod channel;
pub(in crate::linux) mod error;
mod flows;
mod inner;
mod inside;
pub(in crate::linux) mod listen;
mod listeners;
mod make;
pub mod monitor;
mod monitor_burst;
pub(in crate::linux) mod namespaces;
mod observe;
#[cfg(feature = "record")]
pub mod record;
mod replies;
pub(in crate::linux) mod request;
mod request_route;
mod rules;
pub(in crate::linux) mod settings;
pub(in crate::linux) mod socket;
mod standing;
mod sweep;
pub mod trial;
mod usual;
pub(in crate::linux) mod wire;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use kleene_engine::Disturbance;
use kleene_engine::actual::{Actual, HostRoute};
use kleene_engine::change::Change;
use kleene_engine::host::{ApplyError, Host, HostError, Listener};
use kleene_engine::inside::Inside;
use kleene_model::{
    Borrowed, ContainerId, Family, InstanceName, LinkName, NetworkType, Ports, Protocol,
};

pub use answers::Answers;
pub use error::{KernelError, NetError};
pub(in crate::linux) use flows::probe as can_forget_flows;
pub use namespaces::Namespaces;
pub use socket::Socket;
pub use sweep::sweep;
pub(in crate::linux) use usual::usual_passages;

/// The network of a Linux host, and of the containers whose namespaces are
/// known.
///
/// It belongs to the network namespace of the thread that made it, and must be
/// used from threads in that same namespace.
#[derive(Debug)]
pub struct LinuxHost {
    instance: InstanceName,
    namespaces: Namespaces,
    socket: Socket,
    /// Indexes of the host's links, as far as known. Emptied by every failure:
    /// what somebody else did to the links shows as one.
    indexes: HashMap<LinkName, u32>,
    numbers: make::Numbers,
    /// Our nftables tables.
    rules: rules::Rules,
    /// What the kernel has let through.
    flows: flows::Tracked,
    /// Routed cables, and whose they are.
    routed: HashMap<LinkName, ContainerId>,
    /// Whether this kernel has no dummy interfaces.
    lacks_dummy: bool,
    /// Sends frames; opened when the first is due, and kept: to close such a
    /// socket waits for the kernel, for tens of milliseconds.
    frames: Option<OwnedFd>,
}

impl LinuxHost {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn new(instance: InstanceName, namespaces: Namespaces) -> Result<Self, HostError> {
        let socket = Socket::open().map_err(error::host("open a netlink socket"))?;
        let (indexes, numbers) = (HashMap::new(), make::Numbers::random());
        let (rules, routed) = (rules::Rules::new(&instance), HashMap::new());
        Ok(Self {
            instance,
            namespaces,
            socket,
            indexes,
            numbers,
            rules,
            flows: flows::Tracked::default(),
            routed,
            lacks_dummy: false,
            frames: None,
        })
    }

    /// Removes this daemon's nftables tables, whatever is in them.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn remove_tables(&mut self) -> Result<(), HostError> {
        self.rules.remove().map_err(error::host("remove the nftables tables"))
    }
}

impl Host for LinuxHost {
    fn observe(&mut self) -> Result<Actual, HostError> {
        let seen = observe::observe(&mut self.socket)?;
        (self.indexes, self.routed) = (seen.indexes, seen.routed);
        let mut actual = seen.actual;
        let standing = standing::observe(self, &mut actual);
        standing.map_err(error::host("look at the addresses of containers"))?;
        Ok(actual)
    }

    fn inside(&mut self, container: ContainerId) -> Result<BTreeSet<Inside>, HostError> {
        let what = format!("look into the view of container {container}");
        inside::look(self, container).map_err(error::host(&what))
    }

    fn to_borrow(
        &mut self,
        link: &LinkName,
        kind: NetworkType,
        family: Family,
    ) -> Result<Vec<Borrowed>, HostError> {
        let what = format!("use {link} for {} addresses of containers", family.protocol());
        settings::to_borrow(link, kind, family).map_err(error::host(&what))
    }

    fn to_pass(&mut self, link: &LinkName, family: Family) -> Result<Vec<Borrowed>, HostError> {
        let what = format!("let {} traffic of containers pass {link}", family.protocol());
        settings::to_pass(link, family).map_err(error::host(&what))
    }

    fn way_out(&mut self, addr: IpAddr) -> Result<Option<LinkName>, HostError> {
        standing::way_out(&mut self.socket, addr).map_err(error::host("look for a way"))
    }

    fn listeners(
        &mut self,
        protocol: Protocol,
        ports: &[Ports],
    ) -> Result<Vec<Listener>, HostError> {
        listeners::on(protocol, ports).map_err(error::host("look who listens on a port"))
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        settings::value(name)
    }

    fn neighbours(&mut self, link: &LinkName) -> Result<BTreeSet<IpAddr>, HostError> {
        observe::neighbours(&mut self.socket, link).map_err(error::host("list the neighbours"))
    }

    fn has_address(&mut self, addr: IpAddr) -> Result<bool, HostError> {
        again::has_address(&mut self.socket, addr).map_err(error::host("look for an address"))
    }

    fn routes(&mut self) -> Result<Vec<HostRoute>, HostError> {
        observe::routes(&mut self.socket, &self.instance)
    }

    fn look_again(&mut self, told: &Disturbance) -> Result<Option<Disturbance>, HostError> {
        again::look(&mut self.socket, told).map_err(error::host("look at what was reported"))
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        let applied = apply::apply(self, changes);
        if applied.is_err() {
            self.indexes.clear();
            self.rules.doubt();
        }
        applied
    }
}
