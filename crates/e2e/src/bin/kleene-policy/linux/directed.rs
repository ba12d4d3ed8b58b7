//! The topologies that come first: made by hand so that every rule is met with
//! every verdict it can give, in both families.

use crate::linux::topology::{Jar, Net, Port, SECOND, Topology, UPLINK};
use kleene_model::{Driver::Host, Driver::Ipnet, Driver::Vnet, NetworkType, Protocol};

const GATEWAY: &str = "<host-gateway>";

/// All of them.
pub(crate) fn topologies() -> Vec<Topology> {
    let all = [bridges(), loopbacks(), lan(), crossed(), linked()];
    let numbered = all.into_iter().enumerate();
    numbered.map(|(number, topology)| Topology { number, ..topology }).collect()
}

fn tcp(on: &[&str], host: &str, container: &str) -> Port {
    Port::new(on, Protocol::Tcp, host, container)
}

fn udp(on: &[&str], host: &str, container: &str) -> Port {
    Port::new(on, Protocol::Udp, host, container)
}

/// Bridges of every temper, both drivers in each.
fn bridges() -> Topology {
    let bridge = |number| Net::new(number, NetworkType::Bridge);
    Topology {
        nets: vec![
            bridge(0).nat(GATEWAY),
            bridge(1).closed().nat(UPLINK),
            bridge(2).internal(),
            bridge(3).closed().internal(),
        ],
        jars: vec![
            Jar::new(0, Vnet, &[0]).port(tcp(&[], "8000", "7001")),
            Jar::new(1, Ipnet, &[0]).raw(),
            Jar::new(2, Vnet, &[1]).port(udp(&[UPLINK], "8010", "7001")),
            Jar::new(3, Ipnet, &[1]).raw().port(tcp(&[SECOND], "8020:8023", "7003:7006")),
            Jar::new(4, Vnet, &[1]),
            Jar::new(5, Vnet, &[2]).port(tcp(&[], "8030", "7002")),
            Jar::new(6, Ipnet, &[2]).raw(),
            Jar::new(10, Vnet, &[2]).escapes(),
            Jar::new(7, Vnet, &[3]).port(udp(&[], "8040:8043", "7005")),
            Jar::new(8, Ipnet, &[3]).raw(),
            Jar::new(9, Host, &[]),
        ],
        ..Topology::default()
    }
}

/// The same for loopback networks.
fn loopbacks() -> Topology {
    let loopback = |number| Net::new(number, NetworkType::Loopback);
    Topology {
        nets: vec![
            loopback(0).nat(GATEWAY),
            loopback(1).closed(),
            loopback(2).internal(),
            loopback(3).closed().nat(SECOND),
        ],
        jars: vec![
            Jar::new(0, Ipnet, &[0]).raw().port(tcp(&[UPLINK, SECOND], "8000", "7001")),
            Jar::new(1, Ipnet, &[0]),
            Jar::new(2, Ipnet, &[1]).raw().port(udp(&[], "8010:8015", "7001:*")),
            Jar::new(3, Ipnet, &[1]).raw(),
            Jar::new(4, Ipnet, &[2]).raw().port(tcp(&[SECOND], "8020", "7002")),
            Jar::new(5, Ipnet, &[2]).raw(),
            Jar::new(6, Ipnet, &[3]).raw().port(tcp(&[], "8030", "7006")),
            Jar::new(7, Ipnet, &[3]).raw(),
        ],
        ..Topology::default()
    }
}

/// Containers on the interfaces that the host itself is on.
fn lan() -> Topology {
    Topology {
        nets: vec![
            Net::custom(0, UPLINK),
            Net::custom(1, SECOND).closed().nat(GATEWAY),
            Net::custom(2, "lo").internal(),
        ],
        jars: vec![
            Jar::new(0, Ipnet, &[0]).raw().port(tcp(&[], "8000", "7001")),
            Jar::new(1, Ipnet, &[0]).raw(),
            Jar::new(2, Ipnet, &[1]).raw().port(udp(&[SECOND], "8010", "7002")),
            Jar::new(3, Ipnet, &[1]).raw(),
            Jar::new(4, Ipnet, &[2]).raw().port(tcp(&[UPLINK], "8020", "7003")),
            Jar::new(5, Ipnet, &[2]).raw(),
        ],
        ..Topology::default()
    }
}

/// Containers in several networks of different types and tempers.
fn crossed() -> Topology {
    Topology {
        nets: vec![
            Net::new(0, NetworkType::Bridge).nat(GATEWAY),
            Net::new(1, NetworkType::Loopback).internal(),
            Net::custom(2, SECOND),
            Net::new(3, NetworkType::Bridge).closed(),
        ],
        jars: vec![
            Jar::new(0, Ipnet, &[0, 1, 2]).raw().port(tcp(&[], "8000", "7001")),
            Jar::new(1, Ipnet, &[1, 3]).raw().port(udp(&[UPLINK], "8010", "7002")),
            Jar::new(2, Vnet, &[0, 3]).port(tcp(&[SECOND], "8020", "7003")),
            Jar::new(3, Vnet, &[3]),
            Jar::new(4, Ipnet, &[2]).raw(),
            Jar::new(5, Ipnet, &[1]).raw(),
        ],
        ..Topology::default()
    }
}

/// Hosts behind linked interfaces.
fn linked() -> Topology {
    let bridge = |number| Net::new(number, NetworkType::Bridge);
    Topology {
        nets: vec![
            bridge(0).linked().nat(GATEWAY),
            bridge(1).linked(),
            bridge(2).closed().nat(SECOND),
        ],
        jars: vec![
            Jar::new(0, Vnet, &[0]).port(tcp(&[], "8000", "7001")),
            Jar::new(1, Ipnet, &[0]).raw().port(udp(&[], "8010", "7001")),
            Jar::new(2, Vnet, &[1]),
            Jar::new(3, Ipnet, &[1]).raw(),
            Jar::new(4, Vnet, &[2]).port(tcp(&[UPLINK], "8020:8025", "7001:*")),
        ],
        ..Topology::default()
    }
}
