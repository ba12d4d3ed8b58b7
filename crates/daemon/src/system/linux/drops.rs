//! Writes packets that the policy blocked to the log, while somebody wants it.
//!
//! The kernel sends them only while it is asked to (`Command::LogDrops`), and not
//! too many of them. Who hears them always listens: that costs nothing.

use std::net::SocketAddr;
use std::time::Duration;

use kleene_engine::State;
use kleene_engine::host::chain;
use kleene_host::linux::nft::{Blocked, Drops, Packet};
use kleene_model::{Endpoint, LinkName, Protocol, RoutedCable};

use crate::core::Core;
use crate::system::Error;

/// How long is waited after the kernel did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts the thread that listens.
///
/// # Errors
/// Why nothing can be told: no such log in the kernel, another listener, no thread.
pub(crate) fn hear_drops(core: Core) -> Result<(), Error> {
    let drops = Drops::open().map_err(|err| chain(&err))?;
    std::thread::Builder::new()
        .name("drops".to_owned())
        .spawn(move || listen(&core, drops))
        .map_err(|err| err.to_string())?;
    Ok(())
}

fn listen(core: &Core, mut drops: Drops) {
    while core.is_running() {
        match drops.wait() {
            Ok(blocked) => {
                let state = core.snapshot();
                blocked.iter().for_each(|one| tell(&state, &drops, one));
            }
            Err(err) => {
                tracing::error!(why = chain(&err), "cannot hear of blocked packets");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn tell(state: &State, drops: &Drops, blocked: &Blocked) {
    let link = |index: Option<u32>| index.and_then(|index| drops.link(index));
    let (from, to) = (link(blocked.from_link), link(blocked.to_link));
    let endpoint = concerned(state, from.as_ref(), blocked.packet.as_ref());
    let name = |found: Option<String>| found.unwrap_or_default();
    tracing::warn!(
        rule = blocked.rule,
        network = name(endpoint.and_then(|e| Some(state.network(e.network)?.name.to_string()))),
        container =
            name(endpoint.and_then(|e| Some(state.container(e.container)?.name.to_string()))),
        packet = blocked.packet.map(|packet| said(&packet)).unwrap_or_default(),
        came_by = name(from.map(|link| link.to_string())),
        to_leave_by = name(to.map(|link| link.to_string())),
        "a packet was blocked"
    );
}

/// The endpoint that a packet came out of, or else that it was for. A packet may lie
/// about its source, and not about its cable.
fn concerned<'a>(
    state: &'a State,
    from: Option<&LinkName>,
    packet: Option<&Packet>,
) -> Option<&'a Endpoint> {
    let source = packet.and_then(|packet| state.holder_of(packet.source));
    let plugged = || {
        let number = from?.cable_number()?;
        state.endpoints().find(|endpoint| endpoint.cable == Some(number))
    };
    let routed = || {
        let is_own = |cable: &RoutedCable| Some(&cable.host()) == from;
        let container = state.containers().find(|c| c.cable.as_ref().is_some_and(is_own))?;
        // Of the network that it speaks as, where it has several.
        let honest = source.filter(|endpoint| endpoint.container == container.id);
        honest.or_else(|| state.endpoints_of(container.id).next())
    };
    let target = || packet.and_then(|packet| state.holder_of(packet.destination));
    plugged().or_else(routed).or(source).or_else(target).map(|endpoint| &**endpoint)
}

/// `10.0.0.2:40000 to 10.0.0.3:80/tcp`.
fn said(packet: &Packet) -> String {
    let Packet { source, destination, protocol, ports } = *packet;
    let name = match (Protocol::of_number(protocol), protocol) {
        (Some(protocol), _) => protocol.to_string(),
        (None, 1) => "icmp".to_owned(),
        (None, 58) => "icmp6".to_owned(),
        (None, other) => format!("protocol {other}"),
    };
    match ports {
        Some((from, to)) => {
            let (source, destination) =
                (SocketAddr::new(source, from), SocketAddr::new(destination, to));
            format!("{source} to {destination}/{name}")
        }
        None => format!("{source} to {destination}, {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_told_in_one_way() {
        let mut packet = Packet {
            source: "10.0.0.2".parse().expect("an address"),
            destination: "10.0.0.3".parse().expect("an address"),
            protocol: 6,
            ports: Some((40_000, 80)),
        };
        assert_eq!(said(&packet), "10.0.0.2:40000 to 10.0.0.3:80/tcp");
        packet.ports = None;
        packet.protocol = 1;
        assert_eq!(said(&packet), "10.0.0.2 to 10.0.0.3, icmp");
        packet.source = "fd00::2".parse().expect("an address");
        packet.destination = "fd00::3".parse().expect("an address");
        (packet.protocol, packet.ports) = (17, Some((1, 53)));
        assert_eq!(said(&packet), "[fd00::2]:1 to [fd00::3]:53/udp");
    }
}
