//! The rules that other engines write for published ports, beside ours. What is measured
//! is the kernel's time for the rules: the others' are loaded by hand, with a bare bridge,
//! a bare veth pair and the same server behind them.

mod rules;

use kleene_e2e::{Background, Run, World};
use serde_json::{Value, json};

use super::Counts;
use super::stage::{self, FIRST};
use crate::linux::Options;
use crate::linux::figures::median;
use crate::linux::traffic::{self, From, PORT};

/// A server on a bare bridge, and a host that forwards.
const BARE: &str = "
set -e
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link add bare0 type bridge && ip addr add 10.3.0.1/24 dev bare0 && ip link set bare0 up
ip netns add bare1
ip link add bare1a type veth peer name bare1b netns bare1
ip link set bare1a master bare0 up
ip -n bare1 addr add 10.3.0.11/24 dev bare1b
ip -n bare1 link set bare1b up
ip -n bare1 route add default via 10.3.0.1";

/// Who leads the ports.
#[derive(Clone, Copy)]
enum Shape {
    Ours,
    Netavark,
    Docker,
}

const SHAPES: [(Shape, &str); 3] = [
    (Shape::Ours, "Kleene"),
    (Shape::Netavark, "rules of netavark (nftables)"),
    (Shape::Docker, "rules of Docker (iptables)"),
];

/// A host in which the last of its ports leads to a server.
struct Host {
    shape: usize,
    ports: u16,
    world: World,
    _server: Background,
    rates: Vec<f64>,
}

/// Connections from outside to the last port, for each shape and count.
pub(super) fn bench(options: &Options, counts: &Counts) -> Result<Vec<Value>, String> {
    let numbers = [1, counts.some, counts.many];
    let mut hosts = Vec::new();
    for ports in numbers {
        for (number, (shape, _)) in SHAPES.iter().enumerate() {
            hosts.push(host(number, *shape, ports)?);
        }
    }
    // The first round warms up.
    for round in 0..=options.rounds * stage::TURNS {
        for host in &mut hosts {
            let rate = stage::connections(&host.world, last(host.ports)?)?;
            if round > 0 {
                host.rates.push(rate);
            }
        }
    }
    let mut table = Vec::new();
    println!("{:<30} {:>10} {:>14}", "connections/s to the last port", "ports", "");
    for (number, (_, name)) in SHAPES.iter().enumerate() {
        let of_shape = hosts.iter().filter(|host| host.shape == number);
        let rates: Vec<Value> = of_shape
            .map(|host| {
                let rate = median(&host.rates);
                println!("{name:<30} {:>10} {rate:>14.0}", host.ports);
                json!({"ports": host.ports, "connections": rate})
            })
            .collect();
        table.push(json!({"name": name, "rates": rates}));
    }
    Ok(table)
}

/// The port that is asked; it is published last.
fn last(count: u16) -> Result<u16, String> {
    stage::range(count).map(|ports| ports.end - 1)
}

fn host(number: usize, shape: Shape, ports: u16) -> Result<Host, String> {
    let (world, place) = match shape {
        Shape::Ours => {
            let world = stage::host()?;
            stage::fill(&world, ports - 1)?;
            let publish = ["-p".to_owned(), format!("{}:{PORT}", last(ports)?)];
            stage::start(&world, "server", &publish, &["sleep", "1000000"]);
            // Without the container's filter of system calls: the others have none.
            let place = traffic::within(&world, "server")?;
            (world, place)
        }
        Shape::Netavark | Shape::Docker => {
            let world = traffic::open()?;
            stage::show_frames(&world, false)?;
            world.run(["sh", "-c", BARE]).ok();
            let text = match shape {
                Shape::Docker => rules::docker(FIRST, last(ports)?, PORT),
                Shape::Ours | Shape::Netavark => rules::netavark(FIRST, last(ports)?, PORT),
            };
            let load = Run::new(["nft", "-f", "-"]).stdin(text).limit(stage::LIMIT);
            world.run_with(&load).ok();
            (world, From::Namespace("/run/netns/bare1".to_owned()))
        }
    };
    let server = traffic::serve(&world, &place);
    Ok(Host { shape: number, ports, world, _server: server, rates: Vec::new() })
}
