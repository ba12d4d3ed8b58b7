//! Traffic of containers with the policy on its way, beside the same without.

use std::time::Duration;

use kleene_e2e::{Kleened, World};

use super::Counts;
use super::rows::{Budget, Row};
use crate::Options;
use crate::figures::median;
use crate::traffic::{self, From, Way};

/// The least share of what passes without the policy.
const LEAST: f64 = 0.97;
const LIMIT: Duration = Duration::from_secs(10);

/// Both kinds of cable, from the host and from container to container.
pub(super) fn bench(options: &Options, _: &Counts) -> Result<Vec<Row>, String> {
    let worlds = [traffic::open()?, traffic::open()?];
    let mut ways = Vec::new();
    let mut daemons = Vec::new();
    for world in &worlds {
        daemons.push(fill(world)?);
        ways.push(ways_of(world)?);
    }
    // Containers go on without their daemon, and nobody mends what is deleted.
    if let Some(daemon) = daemons.last_mut() {
        daemon.kill9();
    }
    disarm(&worlds[1])?;
    let mut taken = vec![[(Vec::new(), Vec::new()), (Vec::new(), Vec::new())]; ways[0].len()];
    for round in 0..=options.rounds {
        for (number, sides) in taken.iter_mut().enumerate() {
            for ((world, ways), (streams, connections)) in worlds.iter().zip(&ways).zip(sides) {
                let stream = traffic::rate(world, &ways[number], "stream")? * 8.0 / 1e9;
                let connection = traffic::rate(world, &ways[number], "connect")?;
                if round > 0 {
                    streams.push(stream);
                    connections.push(connection);
                }
            }
        }
    }
    if tables(&worlds[0]).is_empty() || !tables(&worlds[1]).is_empty() {
        return Err("the policy is not as it was when the measurement began".to_owned());
    }
    let rows = ways[0].iter().zip(&taken).flat_map(|(way, [with, without])| {
        let row = |what: &str, unit, measured: &[f64], base: &[f64]| Row {
            what: format!("{what}, {}", way.name),
            unit,
            measured: median(measured),
            beside: Some(("without the policy".to_owned(), median(base))),
            budget: Budget::AtLeast(LEAST),
        };
        [
            row("one stream", "Gbit/s", &with.0, &without.0),
            row("connections", "1/s", &with.1, &without.1),
        ]
    });
    Ok(rows.collect())
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
/// without the daemon.
fn ways_of(world: &World) -> Result<Vec<Way>, String> {
    let way = |name, from, to| traffic::way(name, from, to, None);
    Ok(vec![
        way("host to ipnet", From::Host, "10.1.0.11"),
        way("ipnet to ipnet", traffic::within(world, "one")?, "10.1.0.12"),
        way("host to vnet", From::Host, "10.2.0.11"),
        way("vnet to vnet", traffic::within(world, "three")?, "10.2.0.12"),
    ])
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
