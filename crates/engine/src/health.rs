//! How networks do in the kernel, and whether it tells of what they block.

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

    /// Whether packets that the policy blocks are told of.
    #[must_use]
    pub fn log_drops(&self) -> bool {
        self.log_drops
    }

    /// From now on they are told of, or not.
    pub fn set_log_drops(&mut self, on: bool) {
        self.log_drops = on;
        self.touched.host = true;
    }
}
