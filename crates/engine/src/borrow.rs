//! Settings of interfaces that are not Kleene's: changed while addresses of
//! containers stand on them, and put back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kleene_model::{
    Borrowed, Container, ContainerId, Driver, Dual, Family, LinkName, Listed, Nat, Network,
    NetworkId, NetworkType, PublishedPort, Refusal,
};

use crate::command::Effect;
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
        for (network, address) in needs {
            for (family, _) in address.present() {
                if container.driver == Driver::Ipnet {
                    self.borrow(*network, family)?;
                }
                self.let_carry(*network, container.driver, family)?;
                self.open_ways(*network, family, &container.ports)?;
            }
        }
        Ok(())
    }

    /// Writes down what has to change of the interfaces by which a network's
    /// traffic leaves the host, and by which its published ports are asked for.
    fn open_ways(
        &mut self,
        id: NetworkId,
        family: Family,
        ports: &[PublishedPort],
    ) -> Result<(), Refusal> {
        let Some(network) = self.state.network(id) else { return Ok(()) };
        let mut links: BTreeSet<LinkName> = BTreeSet::new();
        links.extend(self.actual.uplink(family).link.clone());
        if let Nat::Interface(link) = &network.nat {
            links.insert(link.clone());
        }
        links.extend(ports.iter().flat_map(|port| match &port.on {
            Listed::Uplink => Vec::new(),
            Listed::These(links) => links.iter().cloned().collect(),
        }));
        links.retain(|link| self.actual.link(link).is_some_and(|link| link.mark().is_none()));
        for link in links {
            if self.opened.insert((family, link.clone())) {
                let needed = self.host.to_pass(&link, family);
                let lent = needed
                    .map_err(|err| host_refused(&err))
                    .and_then(|needed| self.lend(id, needed));
                if lent.is_err() {
                    self.opened.remove(&(family, link));
                }
                lent?;
            }
        }
        Ok(())
    }

    /// Writes down what has to change of the host as a whole.
    fn let_carry(&mut self, id: NetworkId, driver: Driver, family: Family) -> Result<(), Refusal> {
        let Some(kind) = self.state.network(id).map(|network| network.kind) else { return Ok(()) };
        let needed = self.host.to_carry(driver, kind, family).map_err(|err| host_refused(&err))?;
        self.lend(id, needed)
    }

    /// The ways of traffic have changed: those of now are opened, too.
    pub(crate) fn open_new_ways(&mut self) {
        let used: Vec<(NetworkId, Family)> = self
            .state
            .networks()
            .flat_map(|network| Family::BOTH.map(|family| (network.id, family)))
            .filter(|(id, family)| self.state.is_used(*id, *family))
            .collect();
        let publish = self.state.containers().filter(|c| c.run.has_network());
        let ports: Vec<PublishedPort> = publish.flat_map(|c| c.ports.clone()).collect();
        for (id, family) in used {
            // It is tried again with the next look.
            if let Err(refused) = self.open_ways(id, family, &ports) {
                self.effects.push(Effect::Degraded { why: refused.to_string() });
            }
        }
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
        let needed = needed.map_err(|err| host_refused(&err))?;
        self.lend(id, needed)
    }

    /// Writes down what has to change of what is not ours, and changes it.
    fn lend(&mut self, id: NetworkId, mut needed: Vec<Borrowed>) -> Result<(), Refusal> {
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
        let state = &self.state;
        let used = |family| state.networks().any(|network| state.is_used(network.id, family));
        let used = Dual::from_fn(used);
        self.opened.retain(|(family, _)| *used.get(*family));
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
        let used = |family| {
            let heir = |n: &&Arc<Network>| n.id != id && next.is_used(n.id, family);
            next.networks().find(heir).map(|heir| heir.id)
        };
        let heir = |b: &Borrowed| match (b.way, b.either) {
            (true, true) => Family::BOTH.into_iter().find_map(used),
            (true, false) => used(b.family),
            (false, _) => stood_on(b.family),
        };
        let heirs: Vec<(NetworkId, Borrowed)> =
            shared.into_iter().filter_map(|b| Some((heir(&b)?, b))).collect();
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
