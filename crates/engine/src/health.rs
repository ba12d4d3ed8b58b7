//! How networks do in the kernel.

use kleene_model::NetworkId;

use crate::state::State;

/// How a network does in the kernel. Not stored: a daemon that starts finds out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why something of it is missing, and stays so.
    pub degraded: Option<String>,
    /// How often something of it was missing and came back.
    pub healed: u64,
}

impl State {
    /// How a network does.
    #[must_use]
    pub fn health(&self, id: NetworkId) -> Health {
        self.health.get(&id).cloned().unwrap_or_default()
    }

    /// Notes how a network does.
    pub fn set_health(&mut self, id: NetworkId, health: Health) {
        self.health.insert(id, health);
    }
}
