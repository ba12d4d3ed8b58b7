//! Networks and cables through the base system's tools.
//!
//! [`FreeBsdHost`] implements the engine's [`Host`](kleene_engine::Host). `apply`
//! turns changes into what [`Tools`] are told, one sentence each, and hands the
//! policy to [`Filter`] in pieces that change together; `observe` puts what they
//! print together to a picture. `interfaces`, `routes` and `sockets` read what they
//! print.
//!
//! A tool takes some milliseconds where a system call takes microseconds; nothing
//! here waits for anything but the kernel.

mod apply;
mod error;
pub mod inner;
pub mod interfaces;
mod observe;
pub mod routes;
mod settings;
pub mod sockets;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kleene_engine::Disturbance;
use kleene_engine::actual::{Actual, HostRoute};
use kleene_engine::change::{Change, Mark};
use kleene_engine::host::{ApplyError, Host, HostError, Listener, Promise};
use kleene_engine::inside::Inside;
use kleene_model::{
    Borrowed, ContainerId, Driver, Family, InstanceName, LinkName, NetworkType, Ports, Protocol,
    Refusal,
};

use super::jail::Parameters;
use super::pf::{Filter, Leave};
use super::run::{Call, Tool, Tools};

pub use apply::sweep;
pub use error::NetError;

/// The network of a FreeBSD host and of its jails.
pub struct FreeBsdHost {
    instance: InstanceName,
    tools: Arc<dyn Tools>,
    filter: Filter,
    /// What pf's administrator had done at the last look.
    leave: Option<Leave>,
    /// Addresses of containers that were put on interfaces: pf, which knows all of
    /// them, may have been emptied by somebody.
    shown: BTreeSet<(LinkName, IpAddr)>,
    /// Which bridge a cable was put into: ifconfig does not list all members.
    plugged: BTreeSet<(LinkName, LinkName)>,
    /// Cables whose number the kernel has given away although none is called so: it was
    /// renamed. Numbers are not asked for again, as nobody tells when they are free.
    taken: BTreeSet<LinkName>,
}

impl FreeBsdHost {
    /// The host on which these tools are. Marks of `instance` are ours.
    #[must_use]
    pub fn new(instance: InstanceName, tools: Arc<dyn Tools>) -> Self {
        Self {
            instance,
            tools,
            filter: Filter::default(),
            leave: None,
            shown: BTreeSet::new(),
            plugged: BTreeSet::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Removes everything that this daemon has told pf, whatever is in it.
    ///
    /// # Errors
    /// When pf does not answer, or refuses.
    pub fn remove_rules(&mut self) -> Result<Vec<String>, HostError> {
        let what = error::host("remove what pf was told");
        self.filter.clear(&*self.tools).map_err(NetError::from).map_err(what)
    }

    /// The other daemons that have interfaces on this host. pf has one anchor for all
    /// of them, and they would take each other's rules away.
    ///
    /// # Errors
    /// When the interfaces cannot be listed.
    pub fn other_instances(&self) -> Result<BTreeSet<InstanceName>, HostError> {
        let all = observe::all_interfaces(self.tools());
        let all = all.map_err(error::host("look for other daemons"))?;
        let marks = all.iter().filter_map(|one| Mark::parse(one.description.as_deref()?));
        Ok(marks.map(|mark| mark.instance).filter(|name| *name != self.instance).collect())
    }

    fn tools(&self) -> &dyn Tools {
        &*self.tools
    }
}

impl Host for FreeBsdHost {
    fn observe(&mut self) -> Result<Actual, HostError> {
        observe::observe(self).map_err(error::host("look at the network"))
    }

    fn look_again(&mut self, told: &Disturbance) -> Result<Option<Disturbance>, HostError> {
        // There is nobody who tells of one thing.
        Ok(Some(told.clone()))
    }

    fn routes(&mut self) -> Result<Vec<HostRoute>, HostError> {
        observe::routes(self).map_err(error::host("list the routes"))
    }

    fn inside(&mut self, container: ContainerId) -> Result<BTreeSet<Inside>, HostError> {
        let what = format!("look at the addresses of jail {container}");
        inner::used(self.tools(), container).map_err(error::host(&what))
    }

    fn to_borrow(
        &mut self,
        _: &LinkName,
        _: NetworkType,
        _: Family,
    ) -> Result<Vec<Borrowed>, HostError> {
        // An address of a jail is one of the host's, and is answered for like one.
        Ok(Vec::new())
    }

    fn to_pass(&mut self, _: &LinkName, _: Family) -> Result<Vec<Borrowed>, HostError> {
        // Interfaces have no settings of their own for this.
        Ok(Vec::new())
    }

    fn to_carry(
        &mut self,
        driver: Driver,
        kind: NetworkType,
        family: Family,
    ) -> Result<Vec<Borrowed>, HostError> {
        let what = format!("let {} traffic of containers pass", family.protocol());
        settings::to_carry(self.tools(), driver, kind, family).map_err(error::host(&what))
    }

    fn permit_jail_parameters(&self, parameters: &[String]) -> Result<(), Refusal> {
        Parameters::parse(parameters).map(drop)
    }

    fn hindrance(&mut self, promise: &Promise) -> Result<Option<String>, HostError> {
        if let Some(leave) = self.leave.as_ref().filter(|leave| leave.hindrance(promise).is_none())
        {
            return Ok(leave.hindrance(promise));
        }
        // It may have been mended since.
        let leave = Leave::read(self.tools()).map_err(NetError::from);
        let leave = leave.map_err(error::host("ask pf whether it asks Kleene's rules"))?;
        let hindrance = leave.hindrance(promise);
        self.leave = Some(leave);
        Ok(hindrance)
    }

    fn tidy(&mut self) -> Result<Vec<String>, HostError> {
        let tidied = self.filter.tidy(&*self.tools).map_err(NetError::from);
        tidied.map_err(error::host("take away what pf was told by nobody"))
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        settings::read(self.tools(), name).ok()
    }

    fn neighbours(&mut self, link: &LinkName) -> Result<BTreeSet<IpAddr>, HostError> {
        observe::neighbours(self.tools(), link).map_err(error::host("list the neighbours"))
    }

    fn has_address(&mut self, addr: IpAddr) -> Result<bool, HostError> {
        observe::has_address(self, addr).map_err(error::host("look for an address"))
    }

    fn way_out(&mut self, addr: IpAddr) -> Result<Option<LinkName>, HostError> {
        observe::way_out(self, addr).map_err(error::host("look for a way"))
    }

    fn listeners(
        &mut self,
        protocol: Protocol,
        ports: &[Ports],
    ) -> Result<Vec<Listener>, HostError> {
        let what = error::host("look who listens on a port");
        sockets::listeners(self.tools(), protocol, ports).map_err(what)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        apply::apply(self, changes)
    }
}

/// `ifconfig` with these arguments.
fn ifconfig<const N: usize>(args: [&str; N]) -> Call {
    Call::new(Tool::Ifconfig, args)
}
