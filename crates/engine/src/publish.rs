//! Published ports: what may be published, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kleene_model::api::{PublishedPortConfig, UnpublishConfig};
use kleene_model::{
    Container, ContainerId, Driver, Family, LinkName, Listed, PublishedPort, Refusal, matrix,
};

use crate::command::Outcome;
use crate::engine::Engine;
use crate::host::{Host, Listener};
use crate::lookup;
use crate::networks::host_refused;
use crate::store::{Durability, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// The ports that a container may publish, of those that are asked for.
    pub(crate) fn permit_ports(
        &mut self,
        driver: Driver,
        configs: &[PublishedPortConfig],
    ) -> Result<Vec<PublishedPort>, Refusal> {
        if configs.is_empty() {
            return Ok(Vec::new());
        }
        matrix::publish(driver)?;
        let mut ports = Vec::new();
        for config in configs {
            let port = PublishedPort::parse(config)?;
            self.permit_port(&port, None, &ports)?;
            ports.push(port);
        }
        Ok(ports)
    }

    /// Whether a port may be published, beside others of the same container.
    pub(crate) fn permit_port(
        &mut self,
        port: &PublishedPort,
        own: Option<ContainerId>,
        beside: &[PublishedPort],
    ) -> Result<(), Refusal> {
        if let Listed::These(links) = &port.on {
            // One that nobody asked about may have come since the last look.
            if links.iter().any(|link| self.actual.link(link).is_none()) {
                let seen = self.host.observe().map_err(|err| host_refused(&err))?;
                self.see(seen);
            }
            for link in links {
                if self.actual.link(link).is_none() {
                    return Err(Refusal::NoSuchInterface { name: link.to_string() });
                }
            }
        }
        let taken = |holder: String| Refusal::PortTaken {
            port: port.host,
            protocol: port.protocol,
            holder,
        };
        if beside.iter().any(|other| self.meet(port, other)) {
            return Err(taken("the same container".to_owned()));
        }
        let others = self.state.publishers(port.protocol, port.host);
        for other in others.filter(|id| Some(*id) != own) {
            let Some(other) = self.state.container(other) else { continue };
            if other.ports.iter().any(|held| self.meet(port, held)) {
                return Err(taken(format!("container {}", other.name)));
            }
        }
        match self.held_by_host(port)? {
            None => Ok(()),
            Some(Listener { port: held, holder, .. }) => {
                Err(Refusal::PortHeld { port: held, protocol: port.protocol, holder })
            }
        }
    }

    /// Publishes a port of a container; of a running one at once.
    pub(crate) fn container_publish(
        &mut self,
        ident: &str,
        config: &PublishedPortConfig,
    ) -> Result<Outcome, Refusal> {
        let container = Arc::clone(lookup::container(&self.state, ident)?);
        matrix::publish(container.driver)?;
        let port = PublishedPort::parse(config)?;
        self.permit_port(&port, Some(container.id), &container.ports)?;
        if container.run.has_network() {
            let needs: Vec<_> =
                self.state.endpoints_of(container.id).map(|e| (e.network, e.address)).collect();
            let mut with = Container::clone(&container);
            with.ports.push(port.clone());
            self.borrow_for(&with, &needs)?;
        }
        let mut next = self.state.clone();
        next.edit_container(container.id, |container| container.ports.push(port));
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Done)
    }

    /// Publishes a port no longer. Flows that came by it end.
    pub(crate) fn container_unpublish(
        &mut self,
        ident: &str,
        config: &UnpublishConfig,
    ) -> Result<Outcome, Refusal> {
        let container = Arc::clone(lookup::container(&self.state, ident)?);
        let (protocol, host, on) = PublishedPort::parse_meant(config)?;
        let meant = |port: &PublishedPort| {
            port.protocol == protocol
                && port.host == host
                && on.as_ref().is_none_or(|on| *on == port.on)
        };
        if !container.ports.iter().any(meant) {
            return Err(Refusal::NotPublished);
        }
        let mut next = self.state.clone();
        next.edit_container(container.id, |container| container.ports.retain(|p| !meant(p)));
        // What is behind it has another place now.
        next.forget_held(container.id);
        self.commit(next, Durability::Disk)?;
        self.look_again_at(container.id);
        Ok(Outcome::Done)
    }

    /// Finds out anew which of a container's ports are held.
    fn look_again_at(&mut self, id: ContainerId) {
        let Some(container) = self.state.container(id).cloned() else { return };
        if container.run.has_network() {
            self.look_for_holders(&container);
        }
    }

    /// Whether two publications want the same port of the same interface.
    fn meet(&self, one: &PublishedPort, other: &PublishedPort) -> bool {
        let links = |on: &Listed| -> BTreeSet<LinkName> {
            match on {
                Listed::These(links) => links.clone(),
                Listed::Uplink => {
                    let uplinks = Family::BOTH.map(|family| self.actual.uplink(family));
                    uplinks.into_iter().filter_map(|uplink| uplink.link.clone()).collect()
                }
            }
        };
        let common = match (&one.on, &other.on) {
            (Listed::Uplink, Listed::Uplink) => true,
            (one, other) => !links(one).is_disjoint(&links(other)),
        };
        one.protocol == other.protocol && one.host.meets(other.host) && common
    }

    /// A socket of a program of the host on one of the ports, on the wildcard or
    /// on an address of an interface that they are published on.
    fn held_by_host(&mut self, port: &PublishedPort) -> Result<Option<Listener>, Refusal> {
        let listeners = self.host.listeners(port.protocol, port.host);
        let listeners = listeners.map_err(|err| host_refused(&err))?;
        let links: Vec<LinkName> = match &port.on {
            Listed::These(links) => links.iter().cloned().collect(),
            Listed::Uplink => {
                let uplinks = Family::BOTH.map(|family| self.actual.uplink(family));
                uplinks.into_iter().filter_map(|uplink| uplink.link.clone()).collect()
            }
        };
        let listed = |addr| {
            let mut links = links.iter().filter_map(|link| self.actual.link(link));
            links.any(|link| link.has(addr))
        };
        Ok(listeners.into_iter().find(|listener| listener.addr.is_none_or(listed)))
    }

    /// Looks again which ports of a container that starts, or runs, are held by
    /// programs of the host. Those are not led to it, for as long as they are.
    pub(crate) fn look_for_holders(&mut self, container: &Container) {
        for (place, port) in container.ports.iter().enumerate() {
            // What cannot be asked is taken for free: the kernel leads it, whoever
            // holds it.
            let held = self.held_by_host(port).ok().flatten();
            let held = held.map(|listener| {
                format!("port {}/{} is held by {}", listener.port, port.protocol, listener.holder)
            });
            self.state.set_held(container.id, place, held);
        }
    }

    /// The same for all containers that run.
    pub(crate) fn look_for_all_holders(&mut self) {
        let publish = |container: &&Arc<Container>| {
            container.run.has_network() && !container.ports.is_empty()
        };
        let containers: Vec<Arc<Container>> =
            self.state.containers().filter(publish).cloned().collect();
        for container in containers {
            self.look_for_holders(&container);
        }
    }
}
