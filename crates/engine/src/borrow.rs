//! Settings of interfaces that are not Kleene's: changed while addresses of
//! containers stand on them, and put back.

use std::net::IpAddr;
use std::sync::Arc;

use kleene_model::{
    Borrowed, Container, ContainerId, Driver, Dual, Family, Network, NetworkId, NetworkType,
    Refusal,
};

use crate::engine::Engine;
use crate::host::Host;
use crate::networks::host_refused;
use crate::state::State;
use crate::store::{Durability, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// Writes down which settings the networks of a container that gets its
    /// addresses need, and what they are now. The plan changes them.
    ///
    /// Committed for itself, before anything is changed: whatever happens after
    /// that leads back over a state that knows what they were.
    pub(crate) fn borrow_for(
        &mut self,
        container: &Container,
        needs: &[(NetworkId, Dual<Option<IpAddr>>)],
    ) -> Result<(), Refusal> {
        if container.driver != Driver::Ipnet {
            return Ok(());
        }
        for (network, address) in needs {
            for (family, _) in address.present() {
                self.borrow(*network, family)?;
            }
        }
        Ok(())
    }

    fn borrow(&mut self, id: NetworkId, family: Family) -> Result<(), Refusal> {
        let Some(network) = self.state.network(id).filter(|n| n.kind != NetworkType::Loopback)
        else {
            return Ok(());
        };
        // Looked at once, before the first address: what it is from then on is
        // what it was made.
        if self.state.is_stood_on(id, family) {
            return Ok(());
        }
        let needed = self.host.to_borrow(&network.interface, network.kind, family);
        let mut needed = needed.map_err(|err| host_refused(&err))?;
        needed.retain(|borrowed| !self.state.has_borrowed(id, &borrowed.setting));
        if needed.is_empty() {
            return Ok(());
        }
        for borrowed in &needed {
            self.actual.set_setting(borrowed.setting.clone(), borrowed.before.clone());
        }
        let mut next = self.state.clone();
        next.edit_network(id, |network| network.borrowed.extend(needed));
        self.commit(next, Durability::Process)
    }

    /// Forgets the settings that were put back, once they were: a daemon that
    /// dies in between puts them back at its next start.
    pub(crate) fn give_back(&mut self, container: ContainerId) {
        let networks: Vec<NetworkId> =
            self.state.endpoints_of(container).map(|endpoint| endpoint.network).collect();
        for network in networks.into_iter().chain(self.state.lenders().collect::<Vec<_>>()) {
            self.forget_borrowed(network);
        }
    }

    /// After a reboot of the host its settings are what it made them.
    pub(crate) fn forget_all_borrowed(&mut self) {
        let borrows = self.state.networks().filter(|network| !network.borrowed.is_empty());
        let borrows: Vec<NetworkId> = borrows.map(|network| network.id).collect();
        for id in borrows {
            self.state.edit_network(id, |network| network.borrowed.clear());
        }
    }

    /// What was changed for a network that goes, and is needed by others, is
    /// theirs to put back.
    pub(crate) fn hand_over(next: &mut State, id: NetworkId) {
        let Some(network) = next.network(id) else { return };
        let shared = network.borrowed.iter().filter(|b| b.shared && next.is_needed(id, b));
        let shared: Vec<Borrowed> = shared.cloned().collect();
        let stood_on = |family| {
            let heir = |n: &&Arc<Network>| {
                n.id != id && n.kind != NetworkType::Loopback && next.is_stood_on(n.id, family)
            };
            next.networks().find(heir).map(|heir| heir.id)
        };
        let heirs: Vec<(NetworkId, Borrowed)> =
            shared.into_iter().filter_map(|b| Some((stood_on(b.family)?, b))).collect();
        for (heir, borrowed) in heirs {
            next.edit_network(heir, |network| network.borrowed.push(borrowed));
        }
    }

    /// Whether a setting is what it was before. That of an interface which is
    /// gone has gone with it.
    pub(crate) fn is_put_back(&self, borrowed: &Borrowed) -> bool {
        self.actual.setting(&borrowed.setting).is_none_or(|value| *value == borrowed.before)
    }

    /// What [`Self::give_back`] does for one network.
    pub(crate) fn forget_borrowed(&mut self, id: NetworkId) {
        let Some(network) = self.state.network(id).filter(|n| !n.borrowed.is_empty()) else {
            return;
        };
        let mut changed = Network::clone(network);
        changed
            .borrowed
            .retain(|borrowed| !self.is_put_back(borrowed) || self.state.is_needed(id, borrowed));
        if changed.borrowed.len() == network.borrowed.len() {
            return;
        }
        let mut next = self.state.clone();
        next.put_network(Arc::new(changed));
        // Refused by the store, it is tried again with the next end.
        drop(self.commit(next, Durability::Process));
    }
}
