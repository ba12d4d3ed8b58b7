//! Which containers have published which ports of the host.

use kleene_model::{Container, ContainerId, Family, Ports, Protocol, PublishedPort};

use crate::state::State;

impl State {
    /// Why a container's publication is not in force; `None` when it is.
    #[must_use]
    pub fn held(&self, id: ContainerId, place: usize) -> Option<&str> {
        self.held.get(&(id, place)).map(String::as_str)
    }

    /// Notes whether a container's publication is in force.
    pub(crate) fn set_held(&mut self, id: ContainerId, place: usize, why: Option<String>) {
        match why {
            Some(why) => drop(self.held.insert((id, place), why)),
            None => drop(self.held.remove(&(id, place))),
        }
    }

    /// The addresses and places of a container's publications have changed.
    pub(crate) fn forget_held(&mut self, id: ContainerId) {
        let places: Vec<usize> =
            self.held.range((id, 0)..=(id, usize::MAX)).map(|((_, place), _)| *place).collect();
        for place in places {
            self.held.remove(&(id, place));
        }
    }

    /// Keeps account of the ports of a container that comes or goes.
    pub(crate) fn index_ports(&mut self, container: &Container, there: bool) {
        for port in &container.ports {
            let (protocol, id) = (port.protocol, container.id);
            match (port.host.count() == 1, there) {
                (true, true) => drop(self.single_ports.insert((protocol, port.host.first, id))),
                (true, false) => drop(self.single_ports.remove(&(protocol, port.host.first, id))),
                (false, true) => drop(self.port_ranges.insert((protocol, port.host, id))),
                (false, false) => drop(self.port_ranges.remove(&(protocol, port.host, id))),
            }
        }
    }

    /// The containers that publish any of these ports.
    pub(crate) fn publishers(
        &self,
        protocol: Protocol,
        ports: Ports,
    ) -> impl Iterator<Item = ContainerId> {
        let single = (protocol, ports.first, lowest())..=(protocol, ports.last, highest());
        let exact = self.single_ports.range(single).map(|(_, _, id)| *id);
        let ranges = self
            .port_ranges
            .iter()
            .filter(move |(of, range, _)| *of == protocol && range.meets(ports));
        exact.chain(ranges.map(|(_, _, id)| *id))
    }

    /// Those of the host's ports of a container's publication that no earlier
    /// one leads elsewhere, for flows that come in by no interface.
    ///
    /// Single ports are asked for before ranges are, so a range keeps those that
    /// a single one takes from it.
    pub(crate) fn free_inside(
        &self,
        container: &Container,
        place: usize,
        family: Family,
    ) -> Vec<Ports> {
        let Some(port) = container.ports.get(place) else { return Vec::new() };
        let (protocol, wanted) = (port.protocol, port.host);
        // Of thousands, few are of the same port: nothing else is looked up.
        let meets = |port: &PublishedPort| port.protocol == protocol && port.host.meets(wanted);
        let led_by = |of: &Container, ports: usize| -> Vec<Ports> {
            let ports = of.ports.iter().enumerate().take(ports);
            let ports = ports.filter(|(at, port)| meets(port) && self.held(of.id, *at).is_none());
            ports.map(|(_, port)| port.host).collect()
        };
        let mut taken = led_by(container, place);
        for id in self.publishers(protocol, wanted) {
            let Some(other) = self.container(id).filter(|other| other.id != container.id) else {
                continue;
            };
            let earlier = other.sequence < container.sequence;
            if earlier && other.run.has_network() && self.target(id, family).is_some() {
                taken.extend(led_by(other, other.ports.len()));
            }
        }
        let mut free = vec![wanted];
        for hole in taken {
            free = free.into_iter().flat_map(|part: Ports| part.without(hole)).collect();
        }
        free
    }
}

fn lowest() -> ContainerId {
    crate::state::lowest(ContainerId::from_bytes)
}

fn highest() -> ContainerId {
    crate::state::highest(ContainerId::from_bytes)
}
