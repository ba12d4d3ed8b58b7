//! What a map of the host's networks shows.

use kleene_model::api::{ContainerSummary, EndPoint, Network, NetworkInspect};
use serde::Serialize;

use super::subnets::{self, Leg};

/// The networks of a host with what is connected to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Picture {
    pub(super) networks: Vec<Place>,
    /// Containers that are in no network.
    pub(super) alone: Vec<Resident>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) interface: String,
    pub(super) subnets: Vec<Leg>,
    /// Interfaces of the host that are linked into it.
    pub(super) linked: Vec<String>,
    /// Why something of it is missing.
    pub(super) degraded: Option<String>,
    pub(super) containers: Vec<Resident>,
}

/// A container, in a network or in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Resident {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) running: bool,
    pub(super) addresses: Vec<String>,
    /// In how many networks it is.
    pub(super) networks: usize,
}

/// Draws together what the daemon says of each.
pub(super) fn compose(networks: &[NetworkInspect], containers: &[ContainerSummary]) -> Picture {
    let endpoints = || networks.iter().flat_map(|network| &network.network_endpoints);
    let count = |id: &str| endpoints().filter(|endpoint| endpoint.container_id == id).count();
    let resident = |summary: &ContainerSummary, addresses: Vec<String>| Resident {
        id: summary.container.id.clone(),
        name: summary.container.name.clone(),
        driver: summary.container.network_driver.to_string(),
        running: summary.container.running,
        addresses,
        networks: count(&summary.container.id),
    };
    let place = |inspected: &NetworkInspect| {
        let inside = |endpoint: &EndPoint| {
            let mut all = containers.iter();
            let summary = all.find(|summary| summary.container.id == endpoint.container_id)?;
            let both = [endpoint.ip_address.clone(), endpoint.ip_address6.clone()];
            let addresses = both.into_iter().filter(|address| !address.is_empty());
            Some(resident(summary, addresses.collect()))
        };
        let Network { id, name, kind, interface, .. } = inspected.network.clone();
        Place {
            id,
            name,
            kind: kind.to_string(),
            interface,
            subnets: subnets::legs(&inspected.network),
            linked: inspected.linked.clone(),
            degraded: inspected.health.degraded.clone(),
            containers: inspected.network_endpoints.iter().filter_map(inside).collect(),
        }
    };
    let alone = containers.iter().filter(|summary| count(&summary.container.id) == 0);
    Picture {
        networks: networks.iter().map(place).collect(),
        alone: alone.map(|summary| resident(summary, Vec::new())).collect(),
    }
}
