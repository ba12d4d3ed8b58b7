//! Traffic of containers with the policy on its way, beside the same without.

use std::time::Duration;

use kleene_e2e::{Kleened, Run, World};

use super::Counts;
use super::rows::{Budget, Row};
use super::stage::{FRAMES, TURN, TURNS, show_frames};
use crate::linux::Options;
use crate::linux::figures::median;
use crate::linux::traffic::{self, From, Way};

/// The least share of a stream that passes without the policy. Connections have no
/// budget of their own here: what tracking them costs stands beside.
const LEAST: f64 = 0.97;
const LIMIT: Duration = Duration::from_secs(10);

/// What is on the way of packets.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Policy,
    Nothing,
    /// The kernel's tracking of connections, which every policy with memory needs.
    Tracking,
}

const SIDES: [Side; 3] = [Side::Policy, Side::Nothing, Side::Tracking];

/// Tracks all connections, and decides nothing.
const TRACKING: &str = "
table inet tracking {
    chain prerouting {
        type filter hook prerouting priority filter
        ct state established accept
    }
    chain output {
        type filter hook output priority filter
        ct state established accept
    }
}";

/// What was measured on one way on one side.
#[derive(Clone, Default)]
struct Taken {
    streams: Vec<f64>,
    connections: Vec<f64>,
}

/// Both kinds of cable, from the host and from container to container.
pub(super) fn bench(options: &Options, _: &Counts) -> Result<Vec<Row>, String> {
    let worlds = [traffic::open()?, traffic::open()?, traffic::open()?];
    let (mut ways, mut taken) = (Vec::new(), Vec::new());
    for (world, side) in worlds.iter().zip(SIDES) {
        let mut kleened = fill(world)?;
        ways.push(ways_of(world)?);
        taken.push(vec![Taken::default(); ways[0].len()]);
        if side != Side::Policy {
            // Containers go on without it, and nobody mends what is deleted.
            kleened.kill9();
            disarm(world)?;
        }
        if side == Side::Tracking {
            world.run_with(&Run::new(["nft", "-f", "-"]).stdin(TRACKING)).ok();
        }
    }
    for round in 0..=options.rounds * TURNS {
        for number in 0..ways[0].len() {
            for at in 0..SIDES.len() {
                // Nobody is always the first.
                let at = if round % 2 == 0 { at } else { SIDES.len() - 1 - at };
                let (world, (way, frames)) = (&worlds[at], &ways[at][number]);
                show_frames(world, *frames)?;
                let connections = traffic::rate(world, way, "connect", TURN)?;
                let stream = match SIDES[at] {
                    Side::Policy | Side::Nothing => {
                        traffic::rate(world, way, "stream", TURN)? * 8.0 / 1e9
                    }
                    Side::Tracking => f64::NAN,
                };
                // The first round warms up.
                if round > 0 {
                    taken[at][number].streams.push(stream);
                    taken[at][number].connections.push(connections);
                }
            }
        }
    }
    for (world, side) in worlds.iter().zip(SIDES) {
        if tables(world).is_empty() == (side == Side::Policy) {
            return Err("the policy is not as it was when the measurement began".to_owned());
        }
    }
    let all = ways[0].iter().enumerate().flat_map(|(number, (way, _))| {
        rows_of(way.name, &taken[0][number], &taken[1][number], &taken[2][number])
    });
    Ok(all.collect())
}

fn rows_of(way: &str, policy: &Taken, nothing: &Taken, tracking: &Taken) -> [Row; 3] {
    let row = |what: String, unit, measured: &[f64], base: &[f64], budget| Row {
        what,
        unit,
        measured: median(measured),
        beside: Some(("without the policy".to_owned(), median(base))),
        budget,
    };
    let least = Some(Budget::AtLeast(LEAST));
    let (base, alone) = (&nothing.connections, "nothing but the tracking of connections");
    [
        row(format!("one stream, {way}"), "Gbit/s", &policy.streams, &nothing.streams, least),
        row(format!("connections, {way}"), "1/s", &policy.connections, base, None),
        row(format!("… with {alone}"), "1/s", &tracking.connections, base, None),
    ]
}

/// Two containers of each driver, which serve.
fn fill(world: &World) -> Result<Kleened<'_>, String> {
    let kleened = world.start_kleened("log_level: info\n");
    for (kind, subnet, name) in
        [("loopback", "10.1.0.0/24", "inner"), ("bridge", "10.2.0.0/24", "web")]
    {
        world.klee(["network", "create", "-t", kind, "--subnet", subnet, name]).ok();
    }
    for (name, driver, network, address) in [
        ("one", "ipnet", "inner", "10.1.0.11"),
        ("two", "ipnet", "inner", "10.1.0.12"),
        ("three", "vnet", "web", "10.2.0.11"),
        ("four", "vnet", "web", "10.2.0.12"),
    ] {
        traffic::container(world, name, &["-l", driver, "-n", network, "--ip", address])?;
    }
    Ok(kleened)
}

/// Clients are in namespaces of containers, without their filter of system calls, and
/// without the daemon. With each way whether frames are shown to the rules of IP.
fn ways_of(world: &World) -> Result<Vec<(Way, bool)>, String> {
    let way = |name, from, to| traffic::way(name, from, to, None);
    let three = traffic::within(world, "three")?;
    let mut ways = vec![
        (way("host to ipnet", From::Host, "10.1.0.11"), false),
        (way("ipnet to ipnet", traffic::within(world, "one")?, "10.1.0.12"), false),
        (way("host to vnet", From::Host, "10.2.0.11"), false),
        (way("vnet to vnet", three.clone(), "10.2.0.12"), false),
    ];
    if world.sysctl(FRAMES).is_some() {
        ways.push((way("vnet to vnet with br_netfilter", three, "10.2.0.12"), true));
    }
    Ok(ways)
}

/// Takes the policy away.
fn disarm(world: &World) -> Result<(), String> {
    let there = tables(world);
    if there.is_empty() {
        return Err("there is no policy to be taken away".to_owned());
    }
    for (family, name) in there {
        world.run(["nft", "delete", "table", &family, &name]).ok();
    }
    world.wait_until(LIMIT, "no policy", || tables(world).is_empty());
    Ok(())
}

fn tables(world: &World) -> Vec<(String, String)> {
    own_tables(&world.run(["nft", "list", "tables"]).ok().stdout())
}

/// Families and names of Kleene's tables, of what `nft list tables` says.
fn own_tables(listed: &str) -> Vec<(String, String)> {
    let table = |line: &str| {
        let mut words = line.strip_prefix("table ")?.split_whitespace();
        let (family, name) = (words.next()?, words.next()?);
        name.starts_with("kleene-").then(|| (family.to_owned(), name.to_owned()))
    };
    listed.lines().filter_map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_tables_are_taken() {
        let listed = "table inet kleene-1f\ntable ip nat\ntable bridge kleene-1f\ntable ip kleen\n";
        let own = |family: &str| (family.to_owned(), "kleene-1f".to_owned());
        assert_eq!(own_tables(listed), [own("inet"), own("bridge")]);
        assert!(own_tables("").is_empty());
    }
}
