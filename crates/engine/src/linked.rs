//! Interfaces of the host that are linked into bridge networks.

use std::sync::Arc;

use kleene_model::{LinkName, Linked, Network, NetworkId, NetworkType, Refusal};

use crate::actual::{Link, LinkKind};
use crate::command::Outcome;
use crate::engine::Engine;
use crate::host::Host;
use crate::lookup;
use crate::networks::host_refused;
use crate::store::{Durability, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// Links an interface of the host into a bridge network: what is behind it
    /// is in the network from then on.
    pub(crate) fn network_link(
        &mut self,
        network: &str,
        interface: &str,
        force: bool,
    ) -> Result<Outcome, Refusal> {
        let network = bridge(lookup::network(&self.state, network)?)?;
        let link = LinkName::parse(interface)?;
        let seen = self.host.observe().map_err(|err| host_refused(&err))?;
        self.see(seen);
        // What is behind it could not be held to the policy.
        let closed = match (network.icc, network.internal) {
            (true, false) => None,
            (_, true) => Some("the network is internal".to_owned()),
            (false, false) => Some("containers of the network do not reach each other".to_owned()),
        };
        if let Some(why) = closed.or_else(|| self.unfit(&link, force)) {
            let (name, network) = (link.to_string(), network.name.to_string());
            return Err(Refusal::CannotLink { name, network, why });
        }
        let mut next = self.state.clone();
        next.edit_network(network.id, |network| {
            network.linked.push(Linked { link: link.clone(), leaving: false });
        });
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Done)
    }

    /// Why an interface cannot be a port, if so.
    fn unfit(&self, name: &LinkName, force: bool) -> Option<String> {
        if let Some(holder) = self.state.linked_into(name) {
            return Some(format!("it is linked into network {} already", holder.name));
        }
        if let Some(network) = self.state.network_on(name.as_str()) {
            return Some(format!("it is the interface of network {}", network.name));
        }
        let Some(link) = self.actual.link(name) else {
            return Some("there is no such interface".to_owned());
        };
        if name.is_loopback() {
            return Some("it is a loopback".to_owned());
        }
        if link.mark().is_some() {
            return Some("it is the cable of a container".to_owned());
        }
        if link.kind() == LinkKind::Bridge {
            return Some("it is a bridge, or leads nowhere".to_owned());
        }
        if let Some(master) = link.master() {
            return Some(format!("it is a port of {master}: take it out there first"));
        }
        (!force).then(|| addresses(link)).flatten()
    }

    /// Takes an interface of the host out of a bridge network.
    pub(crate) fn network_unlink(
        &mut self,
        network: &str,
        interface: &str,
    ) -> Result<Outcome, Refusal> {
        let network = bridge(lookup::network(&self.state, network)?)?;
        let link = LinkName::parse(interface)?;
        if !network.linked.iter().any(|linked| linked.link == link) {
            let (name, network) = (link.to_string(), network.name.to_string());
            return Err(Refusal::NotLinked { name, network });
        }
        // The kernel lets it go before it is forgotten: a daemon that dies in
        // between finishes at its next start.
        let mut next = self.state.clone();
        next.edit_network(network.id, |network| {
            for linked in network.linked.iter_mut().filter(|linked| linked.link == link) {
                linked.leaving = true;
            }
        });
        self.commit(next, Durability::Disk)?;
        self.forget_unlinked(network.id)?;
        Ok(Outcome::Done)
    }

    /// Forgets the interfaces that the kernel has let go, and only those.
    pub(crate) fn forget_unlinked(&mut self, id: NetworkId) -> Result<(), Refusal> {
        let Some(network) = self.state.network(id) else { return Ok(()) };
        let bridge = Some(&network.interface);
        let is_free =
            |link: &LinkName| self.actual.link(link).is_none_or(|link| link.master() != bridge);
        let gone = |linked: &Linked| linked.leaving && is_free(&linked.link);
        if !network.linked.iter().any(gone) {
            return Ok(());
        }
        let mut changed = Network::clone(network);
        changed.linked.retain(|linked| !gone(linked));
        let mut next = self.state.clone();
        next.put_network(Arc::new(changed));
        self.commit(next, Durability::Disk)
    }
}

fn bridge(network: &Arc<Network>) -> Result<Arc<Network>, Refusal> {
    match network.kind {
        NetworkType::Bridge => Ok(Arc::clone(network)),
        kind @ (NetworkType::Loopback | NetworkType::Custom) => {
            Err(Refusal::LinkNeedsBridge { network: network.name.to_string(), kind })
        }
    }
}

/// The host cannot be reached any more on addresses of a port.
fn addresses(link: &Link) -> Option<String> {
    let addresses: Vec<String> = link.addresses().iter().map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| {
        format!(
            "it carries the host's own {}, which would no longer be reached: take it off, or \
             force it",
            addresses.join(", ")
        )
    })
}
