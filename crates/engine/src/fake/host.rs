//! The fake kernel behind the [`Host`] trait.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kleene_model::{
    Borrowed, ContainerId, Family, InstanceName, LinkName, NetworkType, Ports, Protocol,
};

use super::faults::{Fault, Step, Times};
use super::kernel::{Errno, Kernel, Kind};
use crate::actual::{Actual, HostRoute, Link, LinkKind};
use crate::change::{Change, Mark, Owned};
use crate::host::{ApplyError, Host, HostError, Listener};
use crate::inside::Inside;
use crate::reconcile::Disturbance;

#[derive(Debug)]
struct Inner {
    kernel: Kernel,
    fault: Fault,
    deaf: bool,
    applied: Vec<String>,
    looks: usize,
}

/// A kernel that is only memory. A clone is the same kernel.
#[derive(Debug, Clone)]
pub struct FakeHost {
    inner: Arc<Mutex<Inner>>,
    instance: InstanceName,
}

impl FakeHost {
    /// An empty kernel for the daemon of this name: it tells its own links'
    /// routes from those of others.
    #[must_use]
    pub fn new(instance: InstanceName) -> Self {
        let kernel = Kernel::default();
        let inner =
            Inner { kernel, fault: Fault::default(), deaf: false, applied: Vec::new(), looks: 0 };
        Self { inner: Arc::new(Mutex::new(inner)), instance }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that plays a crash unwinds; what is behind the lock is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the kernel behind the engine's back.
    pub fn kernel<T>(&self, act: impl FnOnce(&mut Kernel) -> T) -> T {
        act(&mut self.lock().kernel)
    }

    /// The kernel as it is now, for comparison.
    #[must_use]
    pub fn snapshot(&self) -> Kernel {
        self.lock().kernel.clone()
    }

    /// The same without what this daemon made.
    #[must_use]
    pub fn strangers(&self) -> Kernel {
        let mut kernel = self.snapshot();
        kernel.links.retain(|_, link| !self.is_ours(link.alias.as_deref()));
        // What is linked into a bridge of ours is a port of nothing then.
        let left: BTreeSet<LinkName> = kernel.links.keys().cloned().collect();
        for link in kernel.links.values_mut() {
            link.master = link.master.take().filter(|master| left.contains(master));
        }
        kernel.namespaces.clear();
        kernel.standing = super::kernel::Standing::default();
        kernel.settings.clear();
        kernel
    }

    fn is_ours(&self, alias: Option<&str>) -> bool {
        alias.and_then(Mark::parse).is_some_and(|mark| mark.instance == self.instance)
    }

    /// The `n`-th change from now is refused; 1 is the next.
    pub fn fail_at(&self, n: usize, times: Times) {
        self.lock().fault.fail_at(n, times);
    }

    /// The daemon dies when `n` more changes have been applied.
    pub fn crash_after(&self, n: usize) {
        self.lock().fault.crash_after(n);
    }

    /// `true`: the kernel does not answer to questions.
    pub fn set_deaf(&self, deaf: bool) {
        self.lock().deaf = deaf;
    }

    /// Nothing fails any more. Whether a fault was still waiting for its step.
    pub fn clear_faults(&self) -> bool {
        let mut inner = self.lock();
        let waited = inner.fault.waits();
        inner.fault.clear();
        inner.deaf = false;
        waited
    }

    /// How often all of it was looked at.
    #[must_use]
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    /// The sentences of the changes applied since the last call.
    pub fn take_applied(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().applied)
    }

    /// The host goes down and comes up again: all that was made is gone, what
    /// `keep` names comes back by the host's own configuration.
    pub fn reboot(&self, keep: &[LinkName]) {
        let mut inner = self.lock();
        let kernel = &mut inner.kernel;
        kernel.namespaces.clear();
        kernel.standing = super::kernel::Standing::default();
        kernel.settings.clear();
        kernel.links.retain(|name, _| keep.contains(name));
        for link in kernel.links.values_mut() {
            link.master = None;
        }
        let kept = kernel.links.clone();
        kernel.routes.retain(|route| route.link.as_ref().is_none_or(|l| kept.contains_key(l)));
    }

    /// A container's network namespace comes to be.
    pub fn make_namespace(&self, container: ContainerId) {
        self.kernel(|kernel| kernel.make_namespace(container));
    }

    /// A container's network namespace goes, with the cables that end in it.
    pub fn destroy_namespace(&self, container: ContainerId) {
        self.kernel(|kernel| kernel.destroy_namespace(container));
    }

    /// Deletes a cable that is out of use, when its mark is still there; it
    /// may be gone already.
    pub fn sweep(&self, link: &Owned) {
        self.kernel(|kernel| {
            if still_ours(kernel, link) {
                kernel.delete(link.link()).expect("the link is there");
            }
        });
    }
}

/// Whether the link exists and still carries the mark it was seen with.
fn still_ours(kernel: &Kernel, owned: &Owned) -> bool {
    let alias = kernel.links.get(owned.link()).and_then(|link| link.alias.as_deref());
    alias == Some(owned.mark().to_string().as_str())
}

/// Carries one change out, whole or not at all.
fn apply_one(kernel: &mut Kernel, change: &Change) -> Result<(), Errno> {
    match change {
        Change::MakeBridge { link, mac, mark } | Change::MakeLoopback { link, mac, mark } => {
            kernel.make_bridge(link, *mac, mark)
        }
        Change::AddAddress { link, addr } => kernel.add_address(link, *addr),
        Change::RemoveAddress { link, addr } => {
            if !still_ours(kernel, link) {
                return Err(Errno::NoDevice);
            }
            kernel.remove_address(link.link(), *addr)
        }
        Change::RaiseLink { link } => kernel.set_up(link, true),
        // What does not carry the mark any more is not what was seen: ours is
        // gone, which counts as done.
        Change::RemoveLink { link } if still_ours(kernel, link) => kernel.delete(link.link()),
        Change::RetireCable { link } if still_ours(kernel, link) => {
            kernel.set_master(link.link(), None)?;
            kernel.set_up(link.link(), false)
        }
        Change::RemoveLink { .. } | Change::RetireCable { .. } => Ok(()),
        Change::RaiseLoopback { container } => kernel.raise_loopback(*container),
        Change::MakeCable { cable, mark } => kernel.make_cable(cable, mark),
        Change::Plug { link, bridge } => kernel.set_master(link, Some(bridge)),
        Change::Unplug { link, bridge } => {
            let port = kernel.links.get(link).and_then(|link| link.master.as_ref());
            if port == Some(bridge) { kernel.set_master(link, None) } else { Ok(()) }
        }
        Change::Isolate { link } => kernel.isolate(link),
        Change::AddInnerRoute { container, link, destination, via } => {
            kernel.add_subnet(*container, link, *destination, *via)
        }
        Change::AnswerAs { container, link, addr, .. } => {
            kernel.answer_as(*container, link, addr.addr())
        }
        // It keeps none.
        Change::Forget { .. } => Ok(()),
        Change::AddInnerAddress { container, link, addr, alone: _ } => {
            kernel.add_inner_address(*container, link, *addr)
        }
        Change::RaiseInnerLink { container, link } => kernel.raise_inner(*container, link),
        Change::AddDefaultRoute { container, link, via } => {
            kernel.add_default(*container, link, *via)
        }
        Change::Put { piece } => kernel.put(piece),
        Change::Take { piece } => {
            kernel.take(piece);
            Ok(())
        }
        Change::PutInside { container, inside } => kernel.put_inside(*container, inside),
        Change::TakeInside { container, inside } => kernel.take_inside(*container, inside),
        Change::RenameInner { container, from, to } => kernel.rename_inner(*container, from, to),
        Change::Set { setting, value } => {
            // As every setting is at first.
            if value == "0" {
                kernel.settings.remove(setting);
            } else {
                kernel.settings.insert(setting.clone(), value.clone());
            }
            Ok(())
        }
    }
}

fn deaf(what: &str) -> HostError {
    HostError { what: what.to_owned(), source: Box::new(Errno::Busy) }
}

impl Host for FakeHost {
    fn observe(&mut self) -> Result<Actual, HostError> {
        let mut inner = self.lock();
        inner.looks += 1;
        if inner.deaf {
            return Err(deaf("list the links"));
        }
        let mut actual = Actual::new();
        for (name, link) in &inner.kernel.links {
            let kind = match link.kind {
                Kind::Bridge => LinkKind::Bridge,
                Kind::Veth { .. } => LinkKind::Cable,
                Kind::Other => LinkKind::Other,
            };
            let seen = Link::observed(name.clone(), kind, link.up, link.alias.as_deref());
            actual.insert(seen.with_mtu(link.mtu).as_isolated(link.isolated));
            for addr in &link.addresses {
                actual.insert_address(name, *addr);
            }
            if let Some(master) = &link.master {
                actual.set_master(name, master.clone());
            }
        }
        inner.kernel.pieces().into_iter().for_each(|piece| actual.insert_piece(piece));
        actual.set_uplink(inner.kernel.uplink());
        Ok(actual)
    }

    fn inside(&mut self, container: ContainerId) -> Result<BTreeSet<Inside>, HostError> {
        let inner = self.lock();
        if inner.deaf {
            return Err(deaf("look into a view"));
        }
        let what = || format!("look into the view of container {container}");
        let refused = |errno: Errno| HostError { what: what(), source: Box::new(errno) };
        inner.kernel.inside(container).map_err(refused)
    }

    fn to_borrow(
        &mut self,
        link: &LinkName,
        kind: NetworkType,
        family: Family,
    ) -> Result<Vec<Borrowed>, HostError> {
        let own = (format!("{link}/{}/forwarding", family.inet()), false);
        let all = (format!("all/{}/proxy", family.inet()), true);
        let needed = match (kind, family) {
            (NetworkType::Loopback, _) | (NetworkType::Bridge, Family::V4) => Vec::new(),
            (NetworkType::Bridge, Family::V6) => vec![all],
            (NetworkType::Custom, Family::V4) => vec![own],
            (NetworkType::Custom, Family::V6) => vec![own, all],
        };
        let inner = self.lock();
        let settings = &inner.kernel.settings;
        let borrow = |(setting, shared): (String, bool)| {
            let before = settings.get(&setting).cloned().unwrap_or_else(|| "0".to_owned());
            let wanted = "1".to_owned();
            let way = false;
            (before != wanted).then_some(Borrowed {
                setting,
                family,
                shared,
                way,
                either: false,
                before,
                wanted,
            })
        };
        Ok(needed.into_iter().filter_map(borrow).collect())
    }

    fn to_pass(&mut self, link: &LinkName, family: Family) -> Result<Vec<Borrowed>, HostError> {
        let setting = format!("{link}/{}/forwarding", family.inet());
        let before = self.lock().kernel.settings.get(&setting).cloned();
        let before = before.unwrap_or_else(|| "0".to_owned());
        let (shared, way, wanted) = (true, true, "1".to_owned());
        let needed = Borrowed { setting, family, shared, way, either: false, before, wanted };
        Ok(Some(needed).filter(|needed| needed.before != needed.wanted).into_iter().collect())
    }

    fn way_out(&mut self, addr: IpAddr) -> Result<Option<LinkName>, HostError> {
        let routes = self.lock().kernel.all_routes();
        let to = routes.into_iter().filter(|route| route.destination.contains(&addr));
        let best = to.max_by_key(|route| route.destination.prefix_len());
        Ok(best.and_then(|route| route.link))
    }

    fn listeners(
        &mut self,
        protocol: Protocol,
        ports: &[Ports],
    ) -> Result<Vec<Listener>, HostError> {
        let inner = self.lock();
        if inner.kernel.hides_listeners {
            return Err(deaf("look at the sockets of the host"));
        }
        let held = inner.kernel.listeners.iter().filter(|(of, _)| *of == protocol);
        let held = held.filter(|(_, held)| ports.iter().any(|ports| ports.contains(held.port)));
        Ok(held.map(|(_, listener)| listener.clone()).collect())
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        let value = self.lock().kernel.settings.get(name).cloned();
        Some(value.unwrap_or_else(|| "0".to_owned()))
    }

    fn neighbours(&mut self, link: &LinkName) -> Result<BTreeSet<IpAddr>, HostError> {
        let inner = self.lock();
        Ok(inner.kernel.neighbours.get(link).cloned().unwrap_or_default())
    }

    fn has_address(&mut self, addr: IpAddr) -> Result<bool, HostError> {
        let inner = self.lock();
        let mut own = inner.kernel.links.values().flat_map(|link| &link.addresses);
        Ok(own.any(|net| net.addr() == addr))
    }

    fn routes(&mut self) -> Result<Vec<HostRoute>, HostError> {
        let inner = self.lock();
        if inner.deaf {
            return Err(deaf("list the routes"));
        }
        let ours = |route: &HostRoute| {
            let link = route.link.as_ref().and_then(|name| inner.kernel.links.get(name));
            link.is_some_and(|link| self.is_ours(link.alias.as_deref()))
        };
        Ok(inner.kernel.all_routes().into_iter().filter(|route| !ours(route)).collect())
    }

    fn look_again(&mut self, told: &Disturbance) -> Result<Option<Disturbance>, HostError> {
        let inner = self.lock();
        if inner.deaf {
            return Err(deaf("look at what was reported"));
        }
        let kernel = &inner.kernel;
        let there = |link: &LinkName, fell| match kernel.links.get(link) {
            Some(found) => Disturbance::LinkThere {
                link: link.clone(),
                up: found.up,
                fell,
                mark: found.alias.as_deref().and_then(Mark::parse),
                port: Some(found.master.is_some()),
            },
            None => Disturbance::LinkGone { link: link.clone() },
        };
        let shows = |link: &LinkName, addr: IpAddr| {
            let own = kernel
                .links
                .get(link)
                .is_some_and(|link| link.addresses.iter().any(|net| net.addr() == addr));
            own || kernel.standing.shown.contains(&(link.clone(), addr))
        };
        let so = match told {
            Disturbance::LinkGone { link } => return Ok(Some(there(link, false))),
            Disturbance::LinkThere { link, fell, .. } => return Ok(Some(there(link, *fell))),
            Disturbance::AddressGone { link, addr } => {
                addr.addr().is_ipv4() || !shows(link, addr.addr())
            }
            Disturbance::AnswerGone { link, addr } => {
                !kernel.standing.answered.contains(&(link.clone(), *addr))
            }
            // It claims none by itself.
            Disturbance::Claimed { .. }
            | Disturbance::AddressThere { .. }
            | Disturbance::RouteGone { .. }
            | Disturbance::DefaultRoute { .. }
            | Disturbance::Anything => true,
        };
        Ok(so.then(|| told.clone()))
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        for (done, change) in changes.iter().enumerate() {
            let mut inner = self.lock();
            let applied = match inner.fault.step() {
                Step::Go => apply_one(&mut inner.kernel, change),
                Step::Refuse => Err(Errno::Busy),
                Step::Crash => {
                    drop(inner);
                    Fault::die()
                }
            };
            match applied {
                Ok(()) => inner.applied.push(change.to_string()),
                Err(errno) => {
                    let (change, source) = (Box::new(change.clone()), Box::new(errno));
                    return Err(ApplyError { done, change, source });
                }
            }
        }
        Ok(())
    }
}
