//! What a transaction has touched: what is written down, and what the plan
//! looks at.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kleene_model::{ContainerId, Endpoint, EndpointId, LinkName, NetworkId};

use crate::state::State;
use crate::store::Key;

/// The objects that a transaction has touched. No part of a state's value: a
/// snapshot with none equals the same state with some.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// What the store is told of.
    pub keys: BTreeSet<Key>,
    /// Addresses that an endpoint has or had.
    pub addresses: BTreeSet<IpAddr>,
    /// Containers whose view may have to change.
    pub containers: BTreeSet<ContainerId>,
    /// Endpoints to be looked at, without being written.
    pub endpoints: BTreeSet<EndpointId>,
    /// Cables that containers have or had.
    pub cables: BTreeSet<LinkName>,
    /// Networks to be looked at, without being written.
    pub networks: BTreeSet<NetworkId>,
    /// Whether what the policy holds of the host as a whole is to be looked at.
    pub host: bool,
}

impl Touched {
    /// An endpoint as it is now or was until now.
    pub(crate) fn endpoint(&mut self, endpoint: &Endpoint) {
        self.addresses.extend(endpoint.address.present().map(|(_, addr)| *addr));
        self.containers.insert(endpoint.container);
        self.networks.insert(endpoint.network);
    }

    /// Only what is stored under one key.
    #[must_use]
    pub fn one(key: Key) -> Self {
        Self { keys: BTreeSet::from([key]), ..Self::default() }
    }
}

impl State {
    /// Has the next plan look at a container, its endpoints and their networks.
    pub fn touch_endpoints_of(&mut self, id: ContainerId) {
        let endpoints: Vec<Arc<Endpoint>> = self.endpoints_of(id).cloned().collect();
        self.touched.containers.insert(id);
        for endpoint in endpoints {
            self.touched.endpoints.insert(endpoint.id);
            self.touched.endpoint(&endpoint);
        }
    }
}
