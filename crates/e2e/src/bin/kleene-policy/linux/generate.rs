//! Random topologies from a seed.

use crate::linux::ports::{PUBLISHED, SERVICES};
use crate::linux::rng::Rng;
use crate::linux::topology::{Jar, Net, Port, SECOND, Topology, UPLINK};
use kleene_model::{Driver, NetworkType, Protocol};

/// The topology `number` of a seed.
pub(crate) fn topology(seed: u64, number: usize) -> Topology {
    let mut rng = Rng::new(seed, u64::try_from(number).unwrap_or_default());
    // An interface is in one network at most.
    let mut interfaces = vec![UPLINK, SECOND, "lo"];
    let nets: Vec<Net> =
        (0..=rng.below(6)).map(|number| net(&mut rng, number, &mut interfaces)).collect();
    let mut jars = Vec::new();
    // Their ports are the host's: a second one would find them taken.
    let host = rng.below(40);
    for number in 0..rng.below(13) {
        let is_host = number == host;
        jars.push(if is_host {
            Jar::new(number, Driver::Host, &[])
        } else {
            jar(&mut rng, number, &nets)
        });
    }
    let mut block = PUBLISHED;
    for jar in &mut jars {
        for _ in 0..rng.one([0, 0, 1, 1, 2, 3]) {
            if jar.driver != Driver::Host {
                jar.ports.push(port(&mut rng, block));
                block += 10;
            }
        }
    }
    Topology { number, nets, jars }
}

/// A network; a custom one takes one of these interfaces.
fn net(rng: &mut Rng, number: usize, interfaces: &mut Vec<&str>) -> Net {
    let mut net = match rng.below(10) {
        0..=1 if !interfaces.is_empty() => {
            Net::custom(number, interfaces.remove(rng.below(interfaces.len())))
        }
        0..=4 => Net::new(number, NetworkType::Loopback),
        _ => Net::new(number, NetworkType::Bridge),
    };
    // Most have both families.
    match rng.below(6) {
        0 => net.subnet.v4 = None,
        1 => net.subnet.v6 = None,
        _ => {}
    }
    net.icc = rng.chance(65);
    net.internal = rng.chance(25);
    net.nat = rng.one(["", "<host-gateway>", UPLINK, SECOND]).to_owned();
    // What is behind could not be held to the policy otherwise.
    net.linked = net.kind == NetworkType::Bridge && net.icc && !net.internal && rng.chance(40);
    net
}

fn jar(rng: &mut Rng, number: usize, nets: &[Net]) -> Jar {
    let bridges: Vec<usize> =
        (0..nets.len()).filter(|&net| nets[net].kind == NetworkType::Bridge).collect();
    let vnet = !bridges.is_empty() && rng.chance(50);
    let all: Vec<usize> = (0..nets.len()).collect();
    let mut from = if vnet { bridges } else { all };
    let mut joined = Vec::new();
    for _ in 0..rng.one([1, 1, 1, 2, 2, 3]) {
        if !from.is_empty() {
            joined.push(from.remove(rng.below(from.len())));
        }
    }
    let jar = Jar::new(number, if vnet { Driver::Vnet } else { Driver::Ipnet }, &joined);
    match (vnet, rng.chance(50)) {
        (_, false) => jar,
        (false, true) => jar.raw(),
        (true, true) => jar.escapes(),
    }
}

/// A published port in the ten from `block`.
fn port(rng: &mut Rng, block: u16) -> Port {
    let on: &[&str] = rng.one([&[], &[], &[UPLINK][..], &[SECOND], &[UPLINK, SECOND]]);
    let protocol = rng.one(Protocol::BOTH);
    let inner = rng.one(SERVICES);
    let first = SERVICES[0];
    let last = SERVICES[SERVICES.len() - 1];
    let host_range = format!("{block}:{}", block + last - first);
    match rng.below(5) {
        0 => Port::new(on, protocol, &host_range, &format!("{first}:{last}")),
        1 => Port::new(on, protocol, &host_range, &format!("{first}:*")),
        // Several to one.
        2 => Port::new(on, protocol, &format!("{block}:{}", block + 3), &inner.to_string()),
        _ => Port::new(on, protocol, &block.to_string(), &inner.to_string()),
    }
}
