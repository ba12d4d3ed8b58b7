//! Published ports: what may be published, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kleene_model::api::PublishedPortConfig;
use kleene_model::{
    Container, ContainerId, Driver, Family, LinkName, Listed, PublishedPort, Refusal, matrix,
};

use crate::engine::Engine;
use crate::host::{Host, Listener};
use crate::networks::host_refused;
use crate::store::Store;

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
