//! Published ports follow the default route.

use kleene_e2e::World;

use super::Counts;
use super::rows::{Budget, Row};
use super::stage;
use crate::linux::Options;
use crate::linux::figures::median;
use crate::linux::traffic::{self, PORT};

/// Where the port that is asked is published.
const ASKED: &str = "8080";
/// Moves in each round.
const AT_ONCE: usize = 3;

/// A second uplink, with somebody behind it.
const UPLINK: &str = "
set -e
ip netns add far
ip link add eth1 type veth peer name far1 netns far
ip addr add 198.18.0.2/24 dev eth1 && ip link set eth1 up
ip -n far addr add 198.18.0.1/24 dev far1 && ip -n far link set far1 up";

/// From the change of the route to the first answer by the new interface.
pub(super) fn bench(options: &Options, counts: &Counts) -> Result<Vec<Row>, String> {
    let world = stage::host()?;
    world.run(["sh", "-c", UPLINK]).ok();
    let port = format!("{ASKED}:{PORT}");
    traffic::container(&world, "server", &["-l", "vnet", "-n", "web", "-p", &port])?;
    stage::fill(&world, counts.some - 1)?;
    let mut times = Vec::new();
    for round in 0..=options.rounds {
        for _ in 0..AT_ONCE {
            let took = there_and_back(&world)?;
            if round > 0 {
                times.push(took);
            }
        }
    }
    Ok(vec![Row {
        what: format!("default route moved, until the first of {} ports answers", counts.some),
        unit: "ms",
        measured: median(&times),
        beside: None,
        budget: Some(Budget::AtMost(10.0)),
    }])
}

/// Milliseconds of one move.
fn there_and_back(world: &World) -> Result<f64, String> {
    let program = traffic::this_program()?;
    let to = ["198.18.0.2", ASKED, "via 198.18.0.1 dev eth1"];
    let output = world.run([&[&program, "probe", "moved", "/run/netns/far"][..], &to].concat());
    world.run("ip route replace default via 192.0.2.1 dev eth0".split(' ')).ok();
    let nanos = output.first_line().parse::<f64>();
    nanos.map(|nanos| nanos / 1e6).map_err(|_| format!("the moved route: {output}"))
}
