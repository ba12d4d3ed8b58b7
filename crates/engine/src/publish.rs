//! Published ports: what may be published, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kleene_model::api::{PublishedPortConfig, UnpublishConfig};
use kleene_model::{
    Container, ContainerId, Driver, Family, LinkName, Listed, Ports, Protocol, PublishedPort,
    Refusal, matrix,
};

use crate::command::{Effect, Outcome};
use crate::engine::Engine;
use crate::host::{Host, HostError, Listener, Promise, chain};
use crate::lookup;
use crate::networks::host_refused;
use crate::state::State;
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
        self.permit_promise(&Promise::Publish)?;
        let mut ports = Vec::new();
        for config in configs {
            let port = PublishedPort::parse(config)?;
            self.permit_beside(&port, None, &ports)?;
            ports.push(port);
        }
        self.permit_free(&ports)?;
        Ok(ports)
    }

    /// Whether programs of the host leave ports free.
    fn permit_free(&mut self, ports: &[PublishedPort]) -> Result<(), Refusal> {
        let held = self.held_by_host(ports).map_err(|err| host_refused(&err))?;
        match ports.iter().zip(held).find_map(|(port, held)| Some((port.protocol, held?))) {
            None => Ok(()),
            Some((protocol, Listener { port, holder, .. })) => {
                Err(Refusal::PortHeld { port, protocol, holder })
            }
        }
    }

    /// The program of the host that holds a port, for each. They are asked about all
    /// at once: the kernel goes through all sockets for an answer.
    fn held_by_host(
        &mut self,
        ports: &[PublishedPort],
    ) -> Result<Vec<Option<Listener>>, HostError> {
        let mut held = vec![None; ports.len()];
        for protocol in Protocol::BOTH {
            let of = |port: &&PublishedPort| port.protocol == protocol;
            let wanted: Vec<Ports> = ports.iter().filter(of).map(|port| port.host).collect();
            if wanted.is_empty() {
                continue;
            }
            let listeners = self.host.listeners(protocol, &wanted)?;
            for (held, port) in held.iter_mut().zip(ports).filter(|(_, port)| of(port)) {
                *held = self.holder(port, &listeners).cloned();
            }
        }
        Ok(held)
    }

    /// Whether a port may be published, beside others of the same container.
    fn permit_beside(
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
        Ok(())
    }

    /// Publishes a port of a container; of a running one at once.
    pub(crate) fn container_publish(
        &mut self,
        ident: &str,
        config: &PublishedPortConfig,
    ) -> Result<Outcome, Refusal> {
        let container = Arc::clone(lookup::container(&self.state, ident)?);
        matrix::publish(container.driver)?;
        self.permit_promise(&Promise::Publish)?;
        let port = PublishedPort::parse(config)?;
        self.permit_beside(&port, Some(container.id), &container.ports)?;
        self.permit_free(std::slice::from_ref(&port))?;
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
            let (name, port) = (container.name.to_string(), host);
            return Err(Refusal::NotPublished { name, port, protocol });
        }
        let mut next = self.state.clone();
        next.edit_container(container.id, |container| container.ports.retain(|p| !meant(p)));
        // What is behind it has another place now, and is held as before.
        next.forget_held(container.id);
        let stay = container.ports.iter().enumerate().filter(|(_, port)| !meant(port));
        for (place, (old, _)) in stay.enumerate() {
            let held = self.state.held(container.id, old).map(str::to_owned);
            next.set_held(container.id, place, held);
        }
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Done)
    }

    /// Whether two publications want the same port of the same interface.
    fn meet(&self, one: &PublishedPort, other: &PublishedPort) -> bool {
        let common = || match (&one.on, &other.on) {
            (Listed::Uplink, Listed::Uplink) => true,
            (one, other) => !self.links_of(one).is_disjoint(&self.links_of(other)),
        };
        one.protocol == other.protocol && one.host.meets(other.host) && common()
    }

    /// The interfaces that a port is published on now.
    fn links_of(&self, on: &Listed) -> BTreeSet<LinkName> {
        match on {
            Listed::These(links) => links.clone(),
            Listed::Uplink => {
                let uplinks = Family::BOTH.map(|family| self.actual.uplink(family));
                uplinks.into_iter().filter_map(|uplink| uplink.link.clone()).collect()
            }
        }
    }

    /// Of these sockets of programs of the host, one on a port of a publication: on
    /// the wildcard, or on an address of an interface that it is published on.
    fn holder<'l>(&self, port: &PublishedPort, listeners: &'l [Listener]) -> Option<&'l Listener> {
        let links = self.links_of(&port.on);
        let listed = |addr| {
            let mut links = links.iter().filter_map(|link| self.actual.link(link));
            links.any(|link| link.has(addr))
        };
        let on = |listener: &&Listener| {
            port.host.contains(listener.port) && listener.addr.is_none_or(listed)
        };
        listeners.iter().find(on)
    }

    /// Looks which ports of containers that start are held by programs of the host.
    /// Those are not led to them, for as long as they are.
    pub(crate) fn look_for_holders(&mut self, containers: &[&Container]) {
        self.look_for_holders_of(containers, |_, _| true);
    }

    fn look_for_holders_of(
        &mut self,
        containers: &[&Container],
        which: impl Fn(&State, (ContainerId, usize)) -> bool,
    ) {
        let placed = |container: &&Container| {
            let ports = container.ports.iter().cloned().enumerate();
            let id = container.id;
            ports.map(move |(place, port)| ((id, place), port)).collect::<Vec<_>>()
        };
        let placed = containers.iter().flat_map(placed);
        let placed = placed.filter(|(place, _)| which(&self.state, *place));
        let (places, ports): (Vec<(ContainerId, usize)>, Vec<PublishedPort>) = placed.unzip();
        let held = match self.held_by_host(&ports) {
            Ok(held) => held,
            Err(err) => {
                // What is known stays, and what is not is taken for free: the kernel
                // leads it, whoever holds it.
                let why = format!("who holds published ports cannot be told: {}", chain(&err));
                self.effects.push(Effect::Degraded { why });
                return;
            }
        };
        for (((id, place), port), held) in places.into_iter().zip(ports).zip(held) {
            let held = held.map(|listener| {
                format!("port {}/{} is held by {}", listener.port, port.protocol, listener.holder)
            });
            self.state.set_held(id, place, held);
        }
    }

    /// Looks again whether ports of containers that run are still held. Those in force
    /// stay so: whoever takes the port of the host afterwards does not get what is led
    /// to a container.
    pub(crate) fn look_for_all_holders(&mut self) {
        let running = |container: &&Arc<Container>| container.run.has_network();
        let running: Vec<_> = self.state.containers().filter(running).cloned().collect();
        let running: Vec<&Container> = running.iter().map(Arc::as_ref).collect();
        self.look_for_holders_of(&running, |state, (id, place)| state.held(id, place).is_some());
    }
}
