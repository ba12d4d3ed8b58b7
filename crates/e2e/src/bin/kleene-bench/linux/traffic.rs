//! How much goes through the network of a container, beside what it is to be
//! compared with: the loopback of the host for `ipnet`, a bare veth pair on a
//! bare bridge for `vnet`.

use std::time::Duration;

use kleene_e2e::{Background, Run, World, target_dir};
use serde_json::{Value, json};

use crate::linux::Options;
use crate::linux::figures::median;

/// How long one measurement lasts, in milliseconds.
const TURN: &str = "500";
pub(crate) const PORT: &str = "7000";
/// Where containers find this program.
const HERE: &str = "/bench/kleene-bench";

/// Where a client runs.
#[derive(Clone)]
pub(crate) enum From {
    Host,
    Container(&'static str),
    /// A network namespace, by its path; no seccomp filter is in the way.
    Namespace(String),
}

/// One way through the kernel.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) from: From,
    pub(crate) to: String,
    /// What it is compared with, and the least ratio of streams and of
    /// connections per second.
    beside: Option<(&'static str, f64, f64)>,
}

pub(crate) fn way(
    name: &'static str,
    from: From,
    to: &str,
    beside: Option<(&'static str, f64, f64)>,
) -> Way {
    Way { name, from, to: to.to_owned(), beside }
}

/// `ipnet` beside the loopback of the host.
pub(crate) fn ipnet(options: &Options) -> Result<(), String> {
    let world = open()?;
    let _kleened = world.start_kleened("log_level: info\n");
    let create = ["network", "create", "-t", "loopback", "inner"];
    let subnets = ["--subnet", "10.1.0.0/24", "--subnet6", "fd00:1::/64"];
    world.klee([&create[..4], &subnets[..], &create[4..]].concat()).ok();
    let _host = serve(&world, &From::Host);
    for (name, v4, v6) in [("one", "10.1.0.11", "fd00:1::11"), ("two", "10.1.0.12", "fd00:1::12")] {
        let network = ["-l", "ipnet", "-n", "inner", "--ip", v4, "--ip6", v6];
        container(&world, name, &network)?;
    }
    let one = From::Container("one");
    let ways = [
        way("host loopback, IPv4", From::Host, "127.0.0.1", None),
        way("host loopback, IPv6", From::Host, "::1", None),
        way(
            "host to ipnet, IPv4",
            From::Host,
            "10.1.0.11",
            Some(("host loopback, IPv4", 0.97, 0.90)),
        ),
        way(
            "host to ipnet, IPv6",
            From::Host,
            "fd00:1::11",
            Some(("host loopback, IPv6", 0.97, 0.90)),
        ),
        way(
            "ipnet to ipnet, IPv4",
            one.clone(),
            "10.1.0.12",
            Some(("host loopback, IPv4", 1.0, 0.85)),
        ),
        way("ipnet to ipnet, IPv6", one, "fd00:1::12", Some(("host loopback, IPv6", 1.0, 0.85))),
    ];
    race(&world, &ways, options)
}

/// `vnet` beside bare veth pairs on a bare bridge.
pub(crate) fn net(options: &Options) -> Result<(), String> {
    const BARE: &str = "
set -e
ip link add bare0 type bridge && ip addr add 10.3.0.1/24 dev bare0 && ip link set bare0 up
for n in 1 2; do
    ip netns add bare$n
    ip link add bare${n}a type veth peer name bare${n}b netns bare$n
    ip link set bare${n}a master bare0 up
    ip -n bare$n addr add 10.3.0.1$n/24 dev bare${n}b
    ip -n bare$n link set bare${n}b up
done";
    let world = open()?;
    let _kleened = world.start_kleened("log_level: info\n");
    let create = ["network", "create", "-t", "bridge", "--subnet", "10.2.0.0/24", "web"];
    world.klee(create).ok();
    for (name, v4) in [("one", "10.2.0.11"), ("two", "10.2.0.12")] {
        container(&world, name, &["-l", "vnet", "-n", "web", "--ip", v4])?;
    }
    world.run(["sh", "-c", BARE]).ok();
    let bare = |name: &str| From::Namespace(format!("/run/netns/{name}"));
    let _bare = ["bare1", "bare2"].map(|name| serve(&world, &bare(name)));
    let (one, within) = (From::Container("one"), within(&world, "one")?);
    let ways = [
        way("host to bare veth", From::Host, "10.3.0.11", None),
        way("host to vnet", From::Host, "10.2.0.11", Some(("host to bare veth", 0.97, 0.97))),
        way("bare veth to bare veth", bare("bare1"), "10.3.0.12", None),
        // The same network, with a client that no seccomp filter slows down.
        way(
            "vnet to vnet, no filter",
            within,
            "10.2.0.12",
            Some(("bare veth to bare veth", 0.97, 0.97)),
        ),
        way("vnet to vnet", one, "10.2.0.12", None),
    ];
    race(&world, &ways, options)
}

pub(crate) fn open() -> Result<World, String> {
    World::open("bench").ok_or_else(|| "no throw-away host to measure in".to_owned())
}

pub(crate) fn this_program() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(path.display().to_string())
}

/// Starts a server in a container of its own.
pub(crate) fn container(world: &World, name: &'static str, network: &[&str]) -> Result<(), String> {
    let programs = target_dir().map_err(|error| error.chain())?;
    let mount = format!("{}:/bench:ro", programs.display());
    let run = [&["run", "-d", "--name", name, "-m", &mount][..], network].concat();
    world.klee([&run[..], &["host-usr", HERE, "probe", "serve", "::", PORT]].concat()).ok();
    world.wait_until(Duration::from_secs(10), "a server", || {
        world.klee(["logs", name]).stdout().contains("up")
    });
    Ok(())
}

pub(crate) fn serve(world: &World, place: &From) -> Background {
    let server = world.spawn(command(place, &["serve", "::", PORT]));
    world.wait_until(Duration::from_secs(10), "a server", || server.stdout().contains("up"));
    server
}

/// The network namespace of a container, which outlives the daemon's answers.
pub(crate) fn within(world: &World, name: &str) -> Result<From, String> {
    let listed = world.http("GET", "/containers/list", None);
    let list = listed.expect(200).json.as_array().cloned().unwrap_or_default();
    let jid = list.iter().find(|one| one["name"] == name).map(|one| one["jid"].to_string());
    Ok(From::Namespace(format!("/proc/{}/ns/net", jid.ok_or("no container")?)))
}

fn command(place: &From, words: &[&str]) -> Vec<String> {
    let program = this_program().unwrap_or_default();
    let enter = match place {
        From::Namespace(path) => vec!["nsenter".to_owned(), format!("--net={path}")],
        From::Host | From::Container(_) => Vec::new(),
    };
    let program = match place {
        From::Container(_) => HERE.to_owned(),
        From::Host | From::Namespace(_) => program,
    };
    let words = words.iter().map(|word| (*word).to_owned());
    enter.into_iter().chain([program, "probe".to_owned()]).chain(words).collect()
}

/// A number for each second, of a measurement that lasts `turn` milliseconds.
pub(crate) fn rate(world: &World, way: &Way, what: &str, turn: &str) -> Result<f64, String> {
    let argv = command(&way.from, &[what, &way.to, PORT, turn]);
    let output = match way.from {
        From::Container(name) => {
            let exec = ["exec".to_owned(), name.to_owned()].into_iter().chain(argv);
            world.klee(exec)
        }
        From::Host | From::Namespace(_) => world.run_with(&Run::new(argv)),
    };
    per_second(&output.stdout()).ok_or_else(|| format!("{}: {what}: {output}", way.name))
}

/// What a probe counted, for each second; `None` where it did not come to its end.
pub(crate) fn per_second(line: &str) -> Option<f64> {
    let mut numbers = line.split_whitespace().map(str::parse::<f64>);
    match (numbers.next()?, numbers.next()?) {
        (Ok(count), Ok(nanos)) => Some(count / (nanos / 1e9)),
        _ => None,
    }
}

fn race(world: &World, ways: &[Way], options: &Options) -> Result<(), String> {
    let ways: Vec<&Way> = ways.iter().filter(|way| way.name.contains(&options.only)).collect();
    let mut taken = vec![(Vec::new(), Vec::new()); ways.len()];
    // The first round warms up.
    for round in 0..=options.rounds {
        for (way, (streams, connections)) in ways.iter().zip(&mut taken) {
            let stream = rate(world, way, "stream", TURN)? * 8.0 / 1e9;
            let connection = rate(world, way, "connect", TURN)?;
            if round > 0 {
                streams.push(stream);
                connections.push(connection);
            }
        }
    }
    let rows: Vec<(&Way, f64, f64)> = ways
        .iter()
        .zip(&taken)
        .map(|(way, (streams, connections))| (*way, median(streams), median(connections)))
        .collect();
    println!("{:<24} {:>12} {:>14}", "medians", "Gbit/s", "connections/s");
    let all: Vec<Value> = rows.iter().map(|row| report(row, &rows)).collect();
    crate::linux::write_json(
        options.json.as_deref(),
        &json!({"rounds": options.rounds, "ways": all}),
    )
}

fn report((way, stream, connections): &(&Way, f64, f64), rows: &[(&Way, f64, f64)]) -> Value {
    print!("{:<24} {stream:>12.1} {connections:>14.0}", way.name);
    let beside = way.beside.and_then(|(name, least_stream, least_connections)| {
        let base = rows.iter().find(|row| row.0.name == name)?;
        let (streams, connected) = (stream / base.1, connections / base.2);
        let within = streams >= least_stream && connected >= least_connections;
        print!(
            "   {streams:.2} and {connected:.2} × {name}; budget {least_stream} and \
             {least_connections}: {}",
            if within { "within" } else { "missed" }
        );
        Some(json!({
            "name": name, "stream": streams, "connections": connected,
            "least_stream": least_stream, "least_connections": least_connections,
            "within": within,
        }))
    });
    println!();
    json!({"name": way.name, "gbit": stream, "connections": connections, "beside": beside})
}
