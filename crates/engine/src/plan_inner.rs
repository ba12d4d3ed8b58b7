//! Plans what is set up inside the stacks of `vnet` containers.

use std::sync::Arc;

use kleene_model::{Container, Driver, Endpoint, Family, LinkName, Network};

use crate::actual::Addressing;
use crate::change::Change;
use crate::plan::Planner;

impl Planner<'_> {
    /// With several networks a container answers as itself, and not by whatever
    /// way is the shortest.
    pub(crate) fn answers(&self, container: &Container, plugged: &[Change]) -> Vec<Change> {
        let made = |change: &Change| match change {
            Change::MakeCable { cable, .. } => cable.container == container.id,
            _ => false,
        };
        let endpoints: Vec<&Arc<Endpoint>> = self.desired.endpoints_of(container.id).collect();
        let several = container.driver == Driver::Vnet && endpoints.len() > 1;
        // A jail's routes know no sources (FreeBSD 13.2).
        let several = several && self.actual.addressing() == Addressing::Routed;
        if !several || !plugged.iter().any(made) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for endpoint in endpoints {
            let (Some(network), Some(number)) =
                (self.desired.network(endpoint.network), endpoint.cable)
            else {
                continue;
            };
            for (family, addr) in endpoint.address.present() {
                let Some(subnet) = network.subnet.get(family) else { continue };
                changes.push(Change::AnswerAs {
                    container: container.id,
                    link: LinkName::cable_container(number),
                    addr: subnet.with_prefix(*addr),
                    direct: network.icc,
                    via: network.gateway_address(family),
                });
            }
        }
        changes
    }

    /// What is set up inside the container, once, when its cable is made. It
    /// is the container's own afterwards.
    pub(crate) fn inside_own_stack(
        &self,
        endpoint: &Endpoint,
        network: &Network,
        number: u32,
    ) -> Vec<Change> {
        let container = endpoint.container;
        let link = LinkName::cable_container(number);
        // Where a port reaches the others although they are kept apart, the policy
        // is asked on the way.
        let alone = !network.icc && self.actual.addressing() == Addressing::Routed;
        let mut changes = Vec::new();
        for (family, addr) in endpoint.address.present() {
            if let Some(subnet) = network.subnet.get(family) {
                let (link, addr) = (link.clone(), subnet.with_prefix(*addr));
                changes.push(Change::AddInnerAddress { container, link, addr, alone });
            }
        }
        changes.push(Change::RaiseInnerLink { container, link: link.clone() });
        // Ports that are isolated reach the others by the gateway, where the
        // policy is asked.
        let families = endpoint.address.present().filter(|_| alone);
        for (family, _) in families {
            let subnet = network.subnet.get(family).map(kleene_model::Subnet::net);
            if let (Some(destination), Some(via)) = (subnet, network.gateway_address(family)) {
                let link = link.clone();
                changes.push(Change::AddInnerRoute { container, link, destination, via });
            }
        }
        changes
    }

    /// The default routes of a `vnet` container, where another endpoint carries
    /// them than did, or its cable is new.
    pub(crate) fn default_routes(&self, container: &Container, plugged: &[Change]) -> Vec<Change> {
        let reached = self.actual.namespace(container.id).is_some();
        if container.driver != Driver::Vnet || !container.run.has_network() || !reached {
            return Vec::new();
        }
        let made = |name: &LinkName| {
            plugged.iter().any(|change| match change {
                Change::MakeCable { cable, .. } => cable.inner == *name,
                _ => false,
            })
        };
        let mut changes = Vec::new();
        for family in Family::BOTH {
            let Some((cable, via)) = self.desired.way_out(container.id, family) else { continue };
            let link = LinkName::cable_container(cable);
            let known = self.actual.default_over(container.id, family) == Some(&link);
            if !known || made(&link) {
                changes.push(Change::AddDefaultRoute { container: container.id, link, via });
            }
        }
        changes
    }
}
