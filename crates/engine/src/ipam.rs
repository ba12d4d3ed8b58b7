//! Which address an endpoint gets.

use std::net::IpAddr;

use kleene_model::addr::{AddressRequest, number};
use kleene_model::{Family, Network, NetworkType, Refusal, Subnet};

use crate::state::State;

/// Whether somebody else uses an address on a network's wire.
pub(crate) type Busy<'a> = &'a mut dyn FnMut(IpAddr) -> Result<bool, Refusal>;

/// Chooses the address of one family for a new endpoint of `network`, and
/// reserves it in `state`. `busy` tells of addresses that others use on the
/// network's wire: they are not given out, and may be free another time.
///
/// # Errors
/// No subnet, outside, taken, full; and what `busy` says.
pub(crate) fn reserve(
    state: &mut State,
    network: &Network,
    family: Family,
    request: AddressRequest,
    busy: Busy<'_>,
) -> Result<Option<IpAddr>, Refusal> {
    let subnet = *network.subnet.get(family);
    match (request, subnet) {
        (AddressRequest::None, _) | (AddressRequest::Auto, None) => Ok(None),
        (AddressRequest::Given(_), None) => Err(Refusal::NoSubnetForAddress { family }),
        (AddressRequest::Auto, Some(subnet)) => lowest_free(state, network, subnet, busy).map(Some),
        (AddressRequest::Given(addr), Some(subnet)) => {
            given(state, network, subnet, addr, busy).map(Some)
        }
    }
}

/// Whether an endpoint may never have `addr`, and what it is instead.
fn reserved_as(network: &Network, subnet: Subnet, addr: IpAddr) -> Option<&'static str> {
    let small = subnet.prefix() + 1 >= subnet.family().bits();
    let broadcast = match (network.kind, subnet.family()) {
        (NetworkType::Bridge, Family::V4) => !small && addr == subnet.last(),
        (NetworkType::Bridge, Family::V6) | (NetworkType::Loopback | NetworkType::Custom, _) => {
            false
        }
    };
    if network.gateway_address(subnet.family()) == Some(addr) {
        Some("the gateway of the network")
    } else if !small && addr == subnet.network() {
        Some("the address of the network itself")
    } else if broadcast {
        Some("the broadcast address of the network")
    } else {
        None
    }
}

fn lowest_free(
    state: &mut State,
    network: &Network,
    subnet: Subnet,
    busy: Busy<'_>,
) -> Result<IpAddr, Refusal> {
    let family = subnet.family();
    let usable = |n: u128| reserved_as(network, subnet, family.address(n)).is_none();
    state
        .addresses(network.id, family)
        .take_lowest_but(number(subnet.network()), number(subnet.last()), usable, |n| {
            busy(family.address(n))
        })?
        .map(|n| family.address(n))
        .ok_or(Refusal::NetworkFull { family })
}

fn given(
    state: &mut State,
    network: &Network,
    subnet: Subnet,
    addr: IpAddr,
    busy: Busy<'_>,
) -> Result<IpAddr, Refusal> {
    if !subnet.contains(addr) {
        return Err(Refusal::AddressOutside { addr, subnet: subnet.net() });
    }
    if let Some(holder) = reserved_as(network, subnet, addr) {
        return Err(Refusal::AddressTaken { addr, holder: holder.to_owned() });
    }
    if busy(addr)? {
        let holder = format!("used by the host or a neighbour on {}", network.interface);
        return Err(Refusal::AddressTaken { addr, holder });
    }
    if !state.addresses(network.id, subnet.family()).take(number(addr)) {
        let holder = state
            .endpoints_of_network(network.id)
            .find(|endpoint| *endpoint.address.get(subnet.family()) == Some(addr))
            .and_then(|endpoint| state.container(endpoint.container))
            .map_or_else(|| "in use".to_owned(), |c| format!("used by container {}", c.name));
        return Err(Refusal::AddressTaken { addr, holder });
    }
    Ok(addr)
}
