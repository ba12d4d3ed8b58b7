//! What the engine asks of a host's kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_model::{
    Borrowed, ContainerId, Driver, Family, Jail, LinkName, NetworkType, Ports, Protocol, Refusal,
};

use crate::actual::{Actual, HostRoute};
use crate::change::Change;
use crate::inside::Inside;
use crate::reconcile::Disturbance;

/// Why the host could not be asked or changed. The source is the kernel's or
/// the tool's own word.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct HostError {
    /// What was attempted: `list the links`, `open a netlink socket`.
    pub what: String,
    /// What the kernel said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why a batch of changes could not be applied. Changes before it stand.
#[derive(Debug, thiserror::Error)]
#[error("cannot {change}")]
pub struct ApplyError {
    /// How many changes of the batch were applied before it; more may have
    /// been, where the kernel takes several at once: observe.
    pub done: usize,
    /// The change that failed.
    pub change: Box<Change>,
    /// What the kernel said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A socket of a program of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its address; `None` on the wildcard.
    pub addr: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// `nginx (pid 17)`, or what else is known of its program.
    pub holder: String,
}

/// What a policy promises, of what needs somebody else's leave on some hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Containers of a network are kept from each other, or from everything else:
    /// the interface of such a network, where it is there already.
    Apart(Option<LinkName>),
    /// What leaves a network gets another source.
    Translate,
    /// Ports of the host lead to containers.
    Publish,
}

/// The kernel of a host, as far as networks and endpoints go.
pub trait Host {
    /// Looks at everything.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn observe(&mut self) -> Result<Actual, HostError>;

    /// Looks at the one thing that a report is about, and says what the report
    /// would be now; `None` where there is nothing to report any more. A host
    /// that cannot look at it alone says what was told.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn look_again(&mut self, told: &Disturbance) -> Result<Option<Disturbance>, HostError>;

    /// The host's routes of both families, without those of Kleene's own links
    /// and without local, link-local and multicast ones.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn routes(&mut self) -> Result<Vec<HostRoute>, HostError>;

    /// Looks into the view of an `ipnet` container.
    ///
    /// # Errors
    /// When its namespace cannot be entered, or the kernel does not answer.
    fn inside(&mut self, container: ContainerId) -> Result<BTreeSet<Inside>, HostError>;

    /// The settings that have to change before addresses of containers can
    /// stand on the interface of a network of this type: what they are, and
    /// what they shall be. None of those of Kleene's own interfaces.
    ///
    /// # Errors
    /// When they cannot be read, or this host cannot do it.
    fn to_borrow(
        &mut self,
        link: &LinkName,
        kind: NetworkType,
        family: Family,
    ) -> Result<Vec<Borrowed>, HostError>;

    /// The same for an interface by which traffic of containers leaves the host
    /// or comes to it.
    ///
    /// # Errors
    /// When they cannot be read.
    fn to_pass(&mut self, link: &LinkName, family: Family) -> Result<Vec<Borrowed>, HostError>;

    /// The settings of the host as a whole that have to change before networks of
    /// this type carry traffic of containers with this driver. A host that sets them interface by interface has
    /// none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn to_carry(
        &mut self,
        _: Driver,
        _: NetworkType,
        _: Family,
    ) -> Result<Vec<Borrowed>, HostError> {
        Ok(Vec::new())
    }

    /// Why the host cannot keep a promise: what its administrator has to do first.
    /// `None` when it can. Most hosts keep all. What was found at the last look is
    /// good enough where it is good news.
    ///
    /// # Errors
    /// When it cannot be told.
    fn hindrance(&mut self, _: &Promise) -> Result<Option<String>, HostError> {
        Ok(None)
    }

    /// Whether a container may have these jail parameters on this system: of most
    /// there is nothing but what jails have in common with everything else.
    ///
    /// # Errors
    /// What is wrong with one of them, or that the system does not have it.
    fn permit_jail_parameters(&self, parameters: &[String]) -> Result<(), Refusal> {
        Jail::parse(parameters).map(drop)
    }

    /// All that shall stand does: what else there is of ours that no picture shows
    /// goes. Says what went.
    ///
    /// # Errors
    /// When something stays.
    fn tidy(&mut self) -> Result<Vec<String>, HostError> {
        Ok(Vec::new())
    }

    /// The value of a setting that was borrowed; `None` when it cannot be read,
    /// as when its interface is gone.
    fn setting(&mut self, name: &str) -> Option<String>;

    /// Addresses that others are known to use on the wire of an interface.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn neighbours(&mut self, link: &LinkName) -> Result<BTreeSet<IpAddr>, HostError>;

    /// Whether the host itself answers on an address.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn has_address(&mut self, addr: IpAddr) -> Result<bool, HostError>;

    /// The interface by which the host's routes lead to an address; `None` where
    /// none does, or the host itself answers.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn way_out(&mut self, addr: IpAddr) -> Result<Option<LinkName>, HostError>;

    /// The sockets of the host's programs that hold any of these ports, asked for at
    /// once.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn listeners(
        &mut self,
        protocol: Protocol,
        ports: &[Ports],
    ) -> Result<Vec<Listener>, HostError>;

    /// Carries changes out, in order.
    ///
    /// # Errors
    /// The first change that was refused.
    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError>;
}

/// An error and all its sources in one line, each said once.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
