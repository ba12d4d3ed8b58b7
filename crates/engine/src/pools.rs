//! Which subnets networks get: those that were asked for, if nobody else has
//! them, or the next free ones of the configured pools.

use kleene_model::{Dual, Family, NetworkType, Refusal, Subnet};

use crate::actual::HostRoute;
use crate::engine::Engine;
use crate::host::Host;
use crate::networks::host_refused;
use crate::state::State;
use crate::store::Store;

/// What a request says of one family's subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// None.
    None,
    /// The next free one.
    Auto,
    /// This one.
    Given(Subnet),
}

impl<H: Host, S: Store> Engine<H, S> {
    /// Refuses a subnet that shares addresses with another network's or with a
    /// route of the host, and proposes the next free one; chooses where that
    /// is left to us.
    pub(crate) fn choose_subnets(
        &mut self,
        state: &State,
        kind: NetworkType,
        asked: &Dual<Asked>,
    ) -> Result<Dual<Option<Subnet>>, Refusal> {
        let mut taken = Taken { state, kind, routes: Vec::new() };
        if asked.iter().any(|(_, asked)| *asked != Asked::None) {
            taken.routes = self.host.routes().map_err(|err| host_refused(&err))?;
        }
        Dual::try_from_fn(|family| match *asked.get(family) {
            Asked::None => Ok(None),
            Asked::Given(subnet) => taken.permit(family, subnet).map(Some),
            Asked::Auto => self.next_of_pools(family, &taken).map(Some),
        })
    }

    fn next_of_pools(&self, family: Family, taken: &Taken<'_>) -> Result<Subnet, Refusal> {
        let free = |subnet: &Subnet| taken.is_free(*subnet);
        self.pools
            .subnets(family)
            .find(free)
            .ok_or_else(|| Refusal::PoolsExhausted { family, pools: self.pools.describe(family) })
    }
}

/// Who has which addresses.
struct Taken<'a> {
    state: &'a State,
    kind: NetworkType,
    routes: Vec<HostRoute>,
}

impl Taken<'_> {
    /// Whose addresses a subnet shares; with `routes`, the host's routes count.
    fn holder(&self, subnet: Subnet, routes: bool) -> Option<String> {
        let network = self.state.networks().find_map(|network| {
            let other = (*network.subnet.get(subnet.family()))?;
            subnet.overlaps(other.net()).then(|| format!("{other} of network {}", network.name))
        });
        if network.is_some() || !routes {
            return network;
        }
        let mut routes = self.routes.iter().filter(|route| route.destination.prefix_len() != 0);
        let route = routes.find(|route| subnet.overlaps(route.destination))?;
        Some(match &route.link {
            Some(link) => format!("the host's route {} on {link}", route.destination),
            None => format!("the host's route {}", route.destination),
        })
    }

    /// Whether a network could have it.
    fn is_free(&self, subnet: Subnet) -> bool {
        subnet.reserved().is_none() && self.holder(subnet, true).is_none()
    }

    fn permit(&self, family: Family, subnet: Subnet) -> Result<Subnet, Refusal> {
        // A custom network stands in the middle of one of the host's own.
        let routes = self.kind != NetworkType::Custom;
        let Some(other) = self.holder(subnet, routes) else { return Ok(subnet) };
        let next = next_free(subnet, |candidate| self.is_free(candidate));
        Err(Refusal::SubnetOverlaps {
            field: family.field("subnet"),
            subnet: subnet.net(),
            other,
            next: next.map(Subnet::net),
        })
    }
}

/// The next subnet of the same size that is free, within reach of a search
/// that a user will wait for.
fn next_free(subnet: Subnet, free: impl Fn(Subnet) -> bool) -> Option<Subnet> {
    std::iter::successors(subnet.next(), |candidate| candidate.next()).take(4096).find(|c| free(*c))
}
