//! The desired state: persistent maps of shared values, so that keeping the
//! state of before (for roll-back) and handing a snapshot to readers cost
//! nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use kleene_model::addr::number;
use kleene_model::{
    Container, ContainerId, Endpoint, EndpointId, ExecId, Execution, Family, Image, ImageId,
    LinkName, Network, NetworkId, Ports, Protocol, RoutedCable,
};

use crate::health::Health;
use crate::pool::Pool;
use crate::store::{Key, Record};
use crate::touched::Touched;

/// Everything that shall be, with the indexes that make look-ups cheap.
#[derive(Debug, Clone, Default)]
pub struct State {
    networks: OrdMap<NetworkId, Arc<Network>>,
    network_names: OrdMap<String, NetworkId>,
    containers: OrdMap<ContainerId, Arc<Container>>,
    container_names: OrdMap<String, ContainerId>,
    endpoints: OrdMap<EndpointId, Arc<Endpoint>>,
    endpoints_by_network: OrdSet<(NetworkId, EndpointId)>,
    endpoints_by_container: OrdMap<(ContainerId, u32), EndpointId>,
    executions: OrdMap<ExecId, Arc<Execution>>,
    executions_by_container: OrdSet<(ContainerId, ExecId)>,
    pub(crate) images: OrdMap<ImageId, Arc<Image>>,
    address_pools: OrdMap<(NetworkId, Family), Pool>,
    cables: Pool,
    interfaces: OrdMap<String, NetworkId>,
    /// Networks for which settings of the whole host are changed.
    lenders: OrdSet<NetworkId>,
    holders: OrdMap<IpAddr, EndpointId>,
    /// The ports of the host that containers publish, one by one and in ranges.
    pub(crate) single_ports: OrdSet<(Protocol, u16, ContainerId)>,
    pub(crate) port_ranges: OrdSet<(Protocol, Ports, ContainerId)>,
    /// Publications that are not in force, and why, by their place among those of
    /// a container. Not stored: it is found out again.
    pub(crate) held: OrdMap<(ContainerId, usize), String>,
    /// Whether packets that the policy blocks are told of. Not stored: it is what
    /// the daemon was started with until somebody says otherwise.
    pub(crate) log_drops: bool,
    sequence: u64,
    pub(crate) health: OrdMap<NetworkId, Health>,
    pub(crate) touched: Touched,
}

impl State {
    /// A state made of what the store holds, and of the built-in image.
    #[must_use]
    pub fn from_records(records: Vec<Record>) -> Self {
        let mut state = Self::default();
        state.put_image(Arc::new(Image::host_usr()));
        for record in records {
            match record {
                Record::Network(network) => state.put_network(network),
                Record::Container(container) => state.put_container(container),
                Record::Endpoint(endpoint) => state.put_endpoint(endpoint),
                Record::Execution(execution) => state.put_execution(execution),
                Record::Image(image) => state.put_image(image),
            }
        }
        state.touched = Touched::default();
        state
    }

    /// What was touched since the last call.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Every address that an endpoint has.
    pub fn held_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.holders.keys().copied()
    }

    /// Every key of networks, containers and endpoints.
    #[must_use]
    pub fn all_keys(&self) -> BTreeSet<Key> {
        let networks = self.networks.keys().copied().map(Key::Network);
        let containers = self.containers.keys().copied().map(Key::Container);
        let endpoints = self.endpoints.keys().copied().map(Key::Endpoint);
        networks.chain(containers).chain(endpoints).collect()
    }

    /// What the store shall hold under `key`.
    #[must_use]
    pub fn record(&self, key: Key) -> Option<Record> {
        match key {
            Key::Network(id) => self.networks.get(&id).cloned().map(Record::Network),
            Key::Container(id) => self.containers.get(&id).cloned().map(Record::Container),
            Key::Endpoint(id) => self.endpoints.get(&id).cloned().map(Record::Endpoint),
            Key::Execution(id) => self.executions.get(&id).cloned().map(Record::Execution),
            Key::Image(id) => self.images.get(&id).cloned().map(Record::Image),
        }
    }

    // --- networks ---

    /// The network of that id.
    #[must_use]
    pub fn network(&self, id: NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(&id)
    }

    /// All networks.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }

    /// The network of exactly that name.
    #[must_use]
    pub fn network_named(&self, name: &str) -> Option<&Arc<Network>> {
        self.network_names.get(name).and_then(|id| self.networks.get(id))
    }

    /// The network that a host interface represents.
    #[must_use]
    pub fn network_on(&self, interface: &str) -> Option<&Arc<Network>> {
        self.interfaces.get(interface).and_then(|id| self.networks.get(id))
    }

    /// Adds or replaces a network.
    pub fn put_network(&mut self, network: Arc<Network>) {
        self.drop_network_indexes(network.id);
        self.network_names.insert(network.name.to_string(), network.id);
        self.interfaces.insert(network.interface.to_string(), network.id);
        if network.borrowed.iter().any(|borrowed| borrowed.shared) {
            self.lenders.insert(network.id);
        }
        self.touched.keys.insert(Key::Network(network.id));
        self.networks.insert(network.id, network);
    }

    /// Changes a network in place.
    pub fn edit_network(&mut self, id: NetworkId, edit: impl FnOnce(&mut Network)) {
        if let Some(network) = self.networks.get(&id) {
            let mut changed = Network::clone(network);
            edit(&mut changed);
            self.put_network(Arc::new(changed));
        }
    }

    /// Removes a network. Its endpoints must have gone before.
    pub fn remove_network(&mut self, id: NetworkId) {
        self.drop_network_indexes(id);
        self.networks.remove(&id);
        self.health.remove(&id);
        for family in Family::BOTH {
            self.address_pools.remove(&(id, family));
        }
        self.touched.keys.insert(Key::Network(id));
    }

    fn drop_network_indexes(&mut self, id: NetworkId) {
        if let Some(old) = self.networks.get(&id) {
            self.network_names.remove(old.name.as_str());
            self.interfaces.remove(old.interface.as_str());
            self.lenders.remove(&id);
        }
    }

    /// Networks for which settings of the whole host are changed.
    pub fn lenders(&self) -> impl Iterator<Item = NetworkId> {
        self.lenders.iter().copied()
    }

    // --- containers ---

    /// The container of that id.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<&Arc<Container>> {
        self.containers.get(&id)
    }

    /// All containers.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.values()
    }

    /// The container of exactly that name.
    #[must_use]
    pub fn container_named(&self, name: &str) -> Option<&Arc<Container>> {
        self.container_names.get(name).and_then(|id| self.containers.get(id))
    }

    /// The next number in creation order.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }

    /// Adds or replaces a container.
    pub fn put_container(&mut self, container: Arc<Container>) {
        if let Some(old) = self.containers.get(&container.id).cloned() {
            self.container_names.remove(old.name.as_str());
            self.index_ports(&old, false);
        }
        self.index_ports(&container, true);
        self.container_names.insert(container.name.to_string(), container.id);
        if let Some(cable) = &container.cable {
            self.cables.take(u128::from(cable.number));
        }
        self.sequence = self.sequence.max(container.sequence);
        self.touched.keys.insert(Key::Container(container.id));
        self.touched.containers.insert(container.id);
        self.containers.insert(container.id, container);
    }

    /// Sets or clears the cable that leads into a container's view.
    pub fn set_routed_cable(&mut self, id: ContainerId, cable: Option<RoutedCable>) {
        let old = self.containers.get(&id).and_then(|container| container.cable.clone());
        if let Some(old) = old {
            self.touched.cables.insert(old.host());
            self.cables.release(u128::from(old.number));
        }
        self.touched.cables.extend(cable.as_ref().map(RoutedCable::host));
        self.edit_container(id, |container| container.cable = cable);
    }

    /// Changes a container in place.
    pub fn edit_container(&mut self, id: ContainerId, edit: impl FnOnce(&mut Container)) {
        if let Some(container) = self.containers.get(&id) {
            let mut changed = Container::clone(container);
            edit(&mut changed);
            self.put_container(Arc::new(changed));
        }
    }

    /// Removes a container with its executions. Its endpoints must have gone
    /// before.
    pub fn remove_container(&mut self, id: ContainerId) {
        let executions: Vec<ExecId> = self.executions_of(id).map(|e| e.id).collect();
        for execution in executions {
            self.remove_execution(execution);
        }
        if let Some(old) = self.containers.remove(&id) {
            self.container_names.remove(old.name.as_str());
            self.index_ports(&old, false);
            self.forget_held(id);
            if let Some(cable) = &old.cable {
                self.cables.release(u128::from(cable.number));
            }
        }
        self.touched.keys.insert(Key::Container(id));
        self.touched.containers.insert(id);
    }

    // --- endpoints ---

    /// The endpoint of that id.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// The endpoints of a network.
    pub fn endpoints_of_network(&self, id: NetworkId) -> impl Iterator<Item = &Arc<Endpoint>> {
        let (low, high) = endpoint_bounds();
        self.endpoints_by_network
            .range((id, low)..=(id, high))
            .filter_map(|(_, endpoint)| self.endpoints.get(endpoint))
    }

    /// The endpoints of a container, in the order of connection.
    pub fn endpoints_of(&self, id: ContainerId) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints_by_container
            .range((id, 0)..=(id, u32::MAX))
            .filter_map(|(_, endpoint)| self.endpoints.get(endpoint))
    }

    /// Adds or replaces an endpoint; its addresses and cable become reserved.
    pub fn put_endpoint(&mut self, endpoint: Arc<Endpoint>) {
        self.drop_endpoint_indexes(endpoint.id);
        for (family, addr) in endpoint.address.present() {
            self.addresses(endpoint.network, family).take(number(*addr));
            self.holders.insert(*addr, endpoint.id);
        }
        self.touched.endpoint(&endpoint);
        if let Some(cable) = endpoint.cable {
            self.touched.cables.insert(LinkName::cable_host(cable));
            self.cables.take(u128::from(cable));
        }
        self.endpoints_by_network.insert((endpoint.network, endpoint.id));
        self.endpoints_by_container.insert((endpoint.container, endpoint.order), endpoint.id);
        self.touched.keys.insert(Key::Endpoint(endpoint.id));
        self.endpoints.insert(endpoint.id, endpoint);
    }

    /// Sets or clears an endpoint's cable. Its addresses stay reserved as they
    /// are, so that starts and stops cost the same however many there are.
    pub fn set_cable(&mut self, id: EndpointId, cable: Option<u32>) {
        let Some(old) = self.endpoints.get(&id).filter(|old| old.cable != cable) else { return };
        let mut changed = Endpoint::clone(old);
        if let Some(number) = changed.cable {
            self.touched.cables.insert(LinkName::cable_host(number));
            self.cables.release(u128::from(number));
        }
        if let Some(number) = cable {
            self.touched.cables.insert(LinkName::cable_host(number));
            self.cables.take(u128::from(number));
        }
        changed.cable = cable;
        self.touched.keys.insert(Key::Endpoint(id));
        self.touched.endpoint(&changed);
        self.endpoints.insert(id, Arc::new(changed));
    }

    /// The endpoint that has this address. Subnets do not overlap, so there is
    /// at most one.
    #[must_use]
    pub fn holder_of(&self, addr: IpAddr) -> Option<&Arc<Endpoint>> {
        self.holders.get(&addr).and_then(|id| self.endpoints.get(id))
    }

    /// Whether the number of a cable of that name is in use.
    #[must_use]
    pub fn has_cable(&self, host: &LinkName) -> bool {
        host.cable_number().is_some_and(|number| self.cables.contains(number.into()))
    }

    /// Takes the lowest cable number whose name is free, by `usable`.
    pub fn take_cable(&mut self, usable: impl Fn(u32) -> bool) -> Option<u32> {
        // The kernel's opinion of a name changes over time, so numbers refused
        // once must be offered again: those taken on the way are given back.
        let mut refused = Vec::new();
        let found = loop {
            let Some(candidate) = self.cables.take_lowest(0, u128::from(u32::MAX), |_| true) else {
                break None;
            };
            let number = u32::try_from(candidate).unwrap_or(u32::MAX);
            if usable(number) {
                break Some(number);
            }
            refused.push(candidate);
        };
        for candidate in refused {
            self.cables.release(candidate);
        }
        found
    }

    /// Removes an endpoint and frees what it reserved.
    pub fn remove_endpoint(&mut self, id: EndpointId) {
        self.drop_endpoint_indexes(id);
        self.endpoints.remove(&id);
        self.touched.keys.insert(Key::Endpoint(id));
    }

    fn drop_endpoint_indexes(&mut self, id: EndpointId) {
        let Some(old) = self.endpoints.get(&id).cloned() else { return };
        self.touched.endpoint(&old);
        for (family, addr) in old.address.present() {
            self.addresses(old.network, family).release(number(*addr));
            self.holders.remove(addr);
        }
        if let Some(cable) = old.cable {
            self.touched.cables.insert(LinkName::cable_host(cable));
            self.cables.release(u128::from(cable));
        }
        self.endpoints_by_network.remove(&(old.network, id));
        self.endpoints_by_container.remove(&(old.container, old.order));
    }

    /// The addresses in use of one family of a network.
    pub fn addresses(&mut self, network: NetworkId, family: Family) -> &mut Pool {
        self.address_pools.entry((network, family)).or_default()
    }

    /// Whether an endpoint of the network has this address.
    #[must_use]
    pub fn has_address(&self, network: NetworkId, addr: IpAddr) -> bool {
        let pool = self.address_pools.get(&(network, Family::of(addr)));
        pool.is_some_and(|pool| pool.contains(number(addr)))
    }

    // --- executions ---

    /// The execution of that id.
    #[must_use]
    pub fn execution(&self, id: ExecId) -> Option<&Arc<Execution>> {
        self.executions.get(&id)
    }

    /// The executions of a container.
    pub fn executions_of(&self, id: ContainerId) -> impl Iterator<Item = &Arc<Execution>> {
        let (low, high) = execution_bounds();
        self.executions_by_container
            .range((id, low)..=(id, high))
            .filter_map(|(_, execution)| self.executions.get(execution))
    }

    /// Adds or replaces an execution.
    pub fn put_execution(&mut self, execution: Arc<Execution>) {
        self.executions_by_container.insert((execution.container, execution.id));
        self.sequence = self.sequence.max(execution.sequence);
        self.touched.keys.insert(Key::Execution(execution.id));
        self.executions.insert(execution.id, execution);
    }

    /// Changes an execution in place.
    pub fn edit_execution(&mut self, id: ExecId, edit: impl FnOnce(&mut Execution)) {
        if let Some(execution) = self.executions.get(&id) {
            let mut changed = Execution::clone(execution);
            edit(&mut changed);
            self.put_execution(Arc::new(changed));
        }
    }

    /// Removes an execution.
    pub fn remove_execution(&mut self, id: ExecId) {
        if let Some(old) = self.executions.remove(&id) {
            self.executions_by_container.remove(&(old.container, id));
            self.touched.keys.insert(Key::Execution(id));
        }
    }
}

/// The lowest and the highest endpoint id, for ranges.
fn endpoint_bounds() -> (EndpointId, EndpointId) {
    (lowest(EndpointId::from_bytes), highest(EndpointId::from_bytes))
}

/// The lowest and the highest execution id, for ranges.
fn execution_bounds() -> (ExecId, ExecId) {
    (lowest(ExecId::from_bytes), highest(ExecId::from_bytes))
}

pub(crate) fn lowest<T>(make: fn([u8; 6]) -> Option<T>) -> T {
    // The lowest id that is not all decimal digits.
    make([0, 0, 0, 0, 0, 0x0a]).unwrap_or_else(|| unreachable!("0x0a has a letter"))
}

pub(crate) fn highest<T>(make: fn([u8; 6]) -> Option<T>) -> T {
    make([0xff; 6]).unwrap_or_else(|| unreachable!("0xff has letters"))
}
