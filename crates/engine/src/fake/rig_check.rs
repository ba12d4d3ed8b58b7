//! What must hold whenever nothing is on its way.

use std::collections::BTreeSet;

use kleene_model::{Container, Driver, Endpoint, LinkName, RunState};

use super::kernel::Kernel;
use super::rig::Rig;
use crate::actual::{Actual, Link};
use crate::change::Change;
use crate::host::Host;
use crate::piece::Piece;
use crate::plan::{Scope, plan};
use crate::state::State;
use crate::store::{Key, Record};

macro_rules! hold {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

impl Rig {
    /// Checks every invariant of a settled daemon.
    ///
    /// # Panics
    /// With the first that does not hold.
    pub fn check(&mut self) {
        if let Err(why) = self.checked() {
            panic!("{why}\nstate: {:#?}\nkernel: {:#?}", self.state(), self.host.snapshot());
        }
    }

    fn checked(&mut self) -> Result<(), String> {
        let state = self.state();
        let kernel = self.host.snapshot();
        self.kernel_is_as_desired(&state)?;
        for (token, answers) in &self.answers {
            hold!(answers.len() == 1, "{token:?} was answered {} times", answers.len());
        }
        self.nothing_is_left_behind(&state, &kernel)?;
        indexes_agree(&state)?;
        let stored = self.store.snapshot();
        hold!(stored == records(&state), "the store holds something else than the state");
        for container in state.containers() {
            for endpoint in state.endpoints_of(container.id) {
                inside_stands(&state, &kernel, container, endpoint)?;
            }
        }
        Ok(())
    }

    fn kernel_is_as_desired(&self, state: &State) -> Result<(), String> {
        let engine = self.engine.as_ref().ok_or("the daemon is dead")?;
        let seen = self.host.clone().observe().map_err(|err| err.to_string())?;
        let mut seen = seen.with_containers_of(&engine.actual);
        for container in state.containers().map(|container| container.id) {
            if let Ok(inside) = self.host.kernel(|kernel| kernel.inside(container)) {
                seen.set_inside(container, inside);
            }
        }
        let missing = plan(Scope::All, &seen, state, &self.instance);
        // A look does not show settings: they are written whatever they were.
        let settings = self.host.snapshot().settings;
        let stands = |change: &&Change| match change {
            Change::Set { setting, value } => {
                settings.get(setting).map_or("0", String::as_str) == value
            }
            _ => false,
        };
        let missing = missing.iter().filter(|change| !stands(change));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        hold!(missing.is_empty(), "the kernel is not as desired: {missing:?}");
        // The picture may not know what strangers did since.
        let ours = |actual: &Actual| -> Vec<Link> {
            actual.links().filter(|link| link.owned(&self.instance).is_some()).cloned().collect()
        };
        hold!(
            ours(&engine.actual) == ours(&seen),
            "the picture is not the kernel: {:#?} is not {:#?}",
            ours(&engine.actual),
            ours(&seen)
        );
        let shadowed = self.host.snapshot().standing.shadowed;
        hold!(shadowed.is_empty(), "{shadowed:?} are unreachable in spite of their cables");
        let standing =
            |actual: &Actual| -> BTreeSet<Piece> { actual.all_pieces().cloned().collect() };
        hold!(
            standing(&engine.actual) == standing(&seen),
            "the picture is not what stands: {:#?} is not {:#?}",
            standing(&engine.actual),
            standing(&seen)
        );
        Ok(())
    }

    fn nothing_is_left_behind(&self, state: &State, kernel: &Kernel) -> Result<(), String> {
        let running: BTreeSet<_> = state
            .containers()
            .filter(|container| container.run != RunState::Stopped)
            .map(|container| container.id)
            .collect();
        let living: BTreeSet<_> = self.supervisors.living().collect();
        hold!(running == living, "state says {running:?} run, but {living:?} live");
        for id in kernel.namespaces.keys() {
            hold!(living.contains(id), "the namespace of {id} was left behind");
        }
        let engine = self.engine.as_ref().ok_or("the daemon is dead")?;
        for container in state.containers().map(|container| container.id) {
            let known = engine.actual.namespace(container).is_some();
            hold!(!known || living.contains(&container), "{container} is dead and still known");
        }
        let waiting = [engine.pending.len(), engine.starting.len(), engine.stopping.len()];
        hold!(waiting == [0; 3], "somebody still waits: {waiting:?}");
        hold!(engine.idle.iter().all(|id| living.contains(id)), "the dead are no longer idle");
        Ok(())
    }
}

fn records(state: &State) -> std::collections::BTreeMap<Key, Record> {
    let executions = state
        .containers()
        .flat_map(|container| state.executions_of(container.id).map(|e| Key::Execution(e.id)));
    let images = state.images().filter(|image| !image.is_built_in());
    let images = images.map(|image| Key::Image(image.id));
    let keys = state.all_keys().into_iter().chain(executions).chain(images);
    keys.filter_map(|key| state.record(key).map(|record| (key, record))).collect()
}

fn indexes_agree(state: &State) -> Result<(), String> {
    let mut addresses = BTreeSet::new();
    let mut cables = BTreeSet::new();
    for network in state.networks() {
        let named = state.network_named(network.name.as_str());
        hold!(named == Some(network), "network {} is not found by name", network.name);
        let on = state.network_on(network.interface.as_str());
        hold!(on == Some(network), "network {} is not found by interface", network.name);
        for endpoint in state.endpoints_of_network(network.id) {
            hold!(endpoint.network == network.id, "an endpoint of another network");
            let mut own = state.endpoints_of(endpoint.container);
            hold!(own.any(|e| e == endpoint), "endpoint {} is not its container's", endpoint.id);
            for (_, addr) in endpoint.address.present() {
                hold!(addresses.insert((network.id, *addr)), "{addr} was given twice");
                hold!(state.has_address(network.id, *addr), "{addr} is not reserved");
            }
            if let Some(cable) = endpoint.cable {
                hold!(cables.insert(cable), "cable {cable} was given twice");
            }
        }
    }
    for container in state.containers() {
        let named = state.container_named(container.name.as_str());
        hold!(named == Some(container), "container {} is not found by name", container.name);
        let mut endpoints = BTreeSet::new();
        for endpoint in state.endpoints_of(container.id) {
            hold!(endpoints.insert(endpoint.network), "connected twice to one network");
            let network = state.network(endpoint.network);
            hold!(network.is_some(), "endpoint {} has no network", endpoint.id);
            let vnet = container.driver == Driver::Vnet && container.run.has_network();
            hold!(
                endpoint.cable.is_some() == vnet,
                "cable of {}: {:?}",
                container.name,
                endpoint.cable
            );
        }
        let ipnet = container.driver == Driver::Ipnet && container.run.has_network();
        hold!(
            container.cable.is_some() == (ipnet && !endpoints.is_empty()),
            "routed cable of {}: {:?}",
            container.name,
            container.cable
        );
        if let Some(cable) = &container.cable {
            hold!(cables.insert(cable.number), "cable {} was given twice", cable.number);
        }
        for execution in state.executions_of(container.id) {
            hold!(execution.container == container.id, "an execution of another container");
        }
    }
    Ok(())
}

fn inside_stands(
    state: &State,
    kernel: &Kernel,
    container: &Container,
    endpoint: &Endpoint,
) -> Result<(), String> {
    let Some(cable) = endpoint.cable else { return Ok(()) };
    let (host, inner) = (LinkName::cable_host(cable), LinkName::cable_container(cable));
    let network = state.network(endpoint.network).ok_or("no network")?;
    let end = kernel.links.get(&host).ok_or_else(|| format!("{host} is not there"))?;
    hold!(end.master.as_ref() == Some(&network.interface) && end.up, "{host} is not plugged");
    let namespace = kernel.namespaces.get(&container.id).ok_or("no namespace")?;
    hold!(namespace.loopback_up, "the loopback of {} is down", container.name);
    let link = namespace.links.get(&inner).ok_or_else(|| format!("{inner} is not there"))?;
    hold!(link.up, "{inner} is down");
    for (family, addr) in endpoint.address.present() {
        let subnet = network.subnet.get(family).ok_or("no subnet")?;
        let addr = subnet.with_prefix(*addr);
        hold!(link.addresses.contains(&addr), "{addr} is not on {inner}");
    }
    Ok(())
}
