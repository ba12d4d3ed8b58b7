//! What readers see: the API's bodies, made of a snapshot of the state.

use std::sync::Arc;

use kleene_model::api;
use kleene_model::{
    Container, ContainerId, Driver, Dual, Endpoint, EndpointId, EndpointOptions, Execution,
    ExecutionState, Gateway, Image, Listed, Nat, Network, NetworkId, PublishedPort, Refusal,
};

use crate::health::Health;
use crate::lookup;
use crate::state::State;

/// `GET /networks/list`, by name.
#[must_use]
pub fn network_list(state: &State) -> Vec<api::Network> {
    let mut list: Vec<api::Network> = state.networks().map(|n| network(n)).collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

/// The id of a container.
///
/// # Errors
/// [`Refusal::ContainerNotFound`], [`Refusal::Ambiguous`].
pub fn container_id(state: &State, ident: &str) -> Result<ContainerId, Refusal> {
    lookup::container(state, ident).map(|container| container.id)
}

/// The id of a network.
///
/// # Errors
/// [`Refusal::NetworkNotFound`], [`Refusal::Ambiguous`].
pub fn network_id(state: &State, ident: &str) -> Result<NetworkId, Refusal> {
    lookup::network(state, ident).map(|network| network.id)
}

/// `GET /networks/{id}/inspect`
///
/// # Errors
/// [`Refusal::NetworkNotFound`], [`Refusal::Ambiguous`].
pub fn network_inspect(state: &State, ident: &str) -> Result<api::NetworkInspect, Refusal> {
    let found = lookup::network(state, ident)?;
    let mut endpoints: Vec<_> = state.endpoints_of_network(found.id).collect();
    endpoints.sort_by_key(|endpoint| (endpoint.address.v4, endpoint.address.v6, endpoint.id));
    Ok(api::NetworkInspect {
        network: network(found),
        network_endpoints: endpoints
            .into_iter()
            .map(|e| endpoint(state, e, &state.carriers(e.container)))
            .collect(),
        linked: found.linked.iter().map(|linked| linked.link.to_string()).collect(),
        health: health(state.health(found.id)),
        counters: Vec::new(),
    })
}

fn health(health: Health) -> api::NetworkHealth {
    let Health { degraded, healed } = health;
    api::NetworkHealth { degraded, healed, foreign: Vec::new() }
}

fn network(network: &Network) -> api::Network {
    let text = |gateway: Gateway| match gateway {
        Gateway::None => String::new(),
        Gateway::Auto => api::AUTO.to_owned(),
        Gateway::Given(addr) => addr.to_string(),
    };
    let subnet = network.subnet.map(|_, s| s.map(|s| s.to_string()).unwrap_or_default());
    let gateway = network.gateway.map(|_, gateway| text(gateway));
    api::Network {
        id: network.id.to_string(),
        name: network.name.to_string(),
        kind: network.kind,
        interface: network.interface.to_string(),
        subnet: subnet.v4,
        subnet6: subnet.v6,
        gateway: gateway.v4,
        gateway6: gateway.v6,
        nat: match &network.nat {
            Nat::None => String::new(),
            Nat::HostGateway => api::HOST_GATEWAY.to_owned(),
            Nat::Interface(link) => link.to_string(),
        },
        icc: network.icc,
        internal: network.internal,
    }
}

fn endpoint(
    state: &State,
    endpoint: &Endpoint,
    carriers: &Dual<Option<EndpointId>>,
) -> api::EndPoint {
    let address = endpoint.address.map(|_, a| a.map(|a| a.to_string()).unwrap_or_default());
    let vnet = state.container(endpoint.container).is_some_and(|c| c.driver == Driver::Vnet);
    let EndpointOptions { mac, mtu, priority } = endpoint.options;
    let carries = carriers.map(|_, carrier| carrier == Some(endpoint.id));
    api::EndPoint {
        id: endpoint.id.to_string(),
        network_id: endpoint.network.to_string(),
        container_id: endpoint.container.to_string(),
        epair: endpoint.cable.filter(|_| vnet).map(|number| format!("epair{number}")),
        ip_address: address.v4,
        ip_address6: address.v6,
        mac: mac.map(|mac| mac.to_string()),
        mtu,
        priority,
        default_route: carries.v4,
        default_route6: carries.v6,
    }
}

/// `GET /containers/list`, newest first.
#[must_use]
pub fn container_list(state: &State, all: bool) -> Vec<api::ContainerSummary> {
    let mut found: Vec<&Arc<Container>> =
        state.containers().filter(|c| all || c.run.is_running()).collect();
    found.sort_by_key(|c| std::cmp::Reverse(c.sequence));
    found
        .into_iter()
        .map(|c| {
            let image = state.image(c.image);
            api::ContainerSummary {
                container: container(state, c),
                image_name: image.map(|image| image.name.clone()).unwrap_or_default(),
                image_tag: image.map(|image| image.tag.clone()).unwrap_or_default(),
                jid: c.pid,
            }
        })
        .collect()
}

/// `GET /containers/{id}/inspect`
///
/// # Errors
/// [`Refusal::ContainerNotFound`], [`Refusal::Ambiguous`].
pub fn container_inspect(state: &State, ident: &str) -> Result<api::ContainerInspect, Refusal> {
    let found = lookup::container(state, ident)?;
    let mount = |mount: &kleene_model::Mount| api::MountPoint {
        container_id: found.id.to_string(),
        kind: api::MountType::Nullfs,
        destination: mount.destination.clone(),
        source: mount.source.clone(),
        read_only: mount.read_only,
    };
    let carriers = state.carriers(found.id);
    let endpoints = state.endpoints_of(found.id).map(|e| endpoint(state, e, &carriers));
    Ok(api::ContainerInspect {
        container: container(state, found),
        container_endpoints: endpoints.collect(),
        container_mountpoints: found.mounts.iter().map(mount).collect(),
    })
}

fn container(state: &State, container: &Container) -> api::Container {
    let ports = container.ports.iter().enumerate();
    let ports = ports.map(|(place, port)| published(state, container, place, port));
    api::Container {
        id: container.id.to_string(),
        name: container.name.to_string(),
        image_id: container.image.to_string(),
        cmd: container.cmd.clone(),
        user: container.user.clone(),
        env: container.env.clone(),
        network_driver: container.driver,
        public_ports: ports.collect(),
        jail_param: container.jail_param.clone(),
        restart_policy: "no".to_owned(),
        persist: container.persist,
        created: container.created.clone(),
        dataset: String::new(),
        running: container.run.is_running(),
    }
}

/// A published port, and where it leads now.
fn published(
    state: &State,
    container: &Container,
    place: usize,
    port: &PublishedPort,
) -> api::PublishedPort {
    let target = Dual::from_fn(|family| {
        let target = state.target(container.id, family);
        target.map(|addr| addr.to_string()).unwrap_or_default()
    });
    api::PublishedPort {
        interfaces: match &port.on {
            Listed::Uplink => Vec::new(),
            Listed::These(links) => links.iter().map(ToString::to_string).collect(),
        },
        host_port: port.host.to_string(),
        container_port: port.container.to_string(),
        protocol: port.protocol.to_string(),
        ip_address: target.v4,
        ip_address6: target.v6,
        degraded: state.held(container.id, place).map(str::to_owned),
    }
}

/// `GET /exec/{id}/inspect`
///
/// # Errors
/// [`Refusal::ExecNotFound`].
pub fn exec_inspect(state: &State, ident: &str) -> Result<api::ExecInspect, Refusal> {
    let exec = lookup::execution(state, ident)?;
    let Execution { id, container, cmd, env: _, user: _, workdir: _, tty, sequence: _, state: now } =
        &**exec;
    let of_container = state.container(*container).map(|c| c.cmd.clone()).unwrap_or_default();
    let (text, exit) = match now {
        ExecutionState::Created => ("created", None),
        ExecutionState::Starting => ("starting", None),
        ExecutionState::Running => ("running", None),
        ExecutionState::Exited { code, last } => ("exited", Some((*code, *last))),
    };
    Ok(api::ExecInspect {
        id: id.to_string(),
        container_id: container.to_string(),
        cmd: if cmd.is_empty() { of_container } else { cmd.clone() },
        state: text.to_owned(),
        exit_code: exit.map(|(code, _)| code),
        container_ended: exit.map(|(_, last)| last),
        tty: *tty,
    })
}

/// `GET /images/list`, newest first.
#[must_use]
pub fn image_list(state: &State) -> Vec<api::Image> {
    let mut found: Vec<&Arc<Image>> = state.images().collect();
    found.sort_by(|one, other| other.created.cmp(&one.created));
    found.into_iter().map(|found| image(found)).collect()
}

/// `GET /images/{id}/inspect`
///
/// # Errors
/// [`Refusal::ImageNotFound`], [`Refusal::Ambiguous`].
pub fn image_inspect(state: &State, reference: &str) -> Result<api::Image, Refusal> {
    lookup::image(state, reference).map(|found| image(found))
}

fn image(image: &Image) -> api::Image {
    api::Image {
        id: image.id.to_string(),
        name: image.name.clone(),
        tag: image.tag.clone(),
        cmd: image.cmd.clone(),
        env: image.env.clone(),
        user: image.user.clone(),
        instructions: Vec::new(),
        created: image.created.clone(),
        dataset: image.dataset.clone(),
    }
}
