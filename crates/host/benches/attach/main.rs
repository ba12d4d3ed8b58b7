//! What it takes to attach a running container to a network and to detach it,
//! in the engine and the host's kernel, without REST and without a disk: one
//! container after another, up to a thousand on one network. Beside each, its
//! floor: the same messages, built beforehand, over sockets that are open, and
//! nothing else.
//!
//! `attach [--containers N] [--only TEXT] [--json FILE]`, as root.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a benchmark is there to be read")]

mod daemon;
mod floor;
#[path = "../../tests/common/testing.rs"]
mod testing;

use std::time::Duration;

use kleene_model::{ContainerId, Driver, NetworkType};
use serde_json::{Value, json};

use daemon::Daemon;
use floor::Floor;

/// What is measured: a driver, and a type of network.
const VARIANTS: [(&str, Driver, NetworkType, usize); 4] = [
    ("ipnet loopback", Driver::Ipnet, NetworkType::Loopback, 1000),
    ("ipnet bridge", Driver::Ipnet, NetworkType::Bridge, 1000),
    ("ipnet custom", Driver::Ipnet, NetworkType::Custom, 1000),
    // A bridge has 1023 ports, and slows down on the way there.
    ("vnet bridge", Driver::Vnet, NetworkType::Bridge, 200),
];

/// Which addresses an endpoint gets.
const FAMILIES: [(&str, bool, bool); 3] =
    [("v4", true, false), ("v6", false, true), ("both", true, true)];

fn main() {
    let (mut containers, mut only, mut file) = (None, String::new(), None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--containers" => containers = Some(value().parse().expect("a number")),
            "--only" => only = value(),
            "--json" => file = Some(value()),
            // Cargo's own.
            "--bench" => {}
            _ => panic!("unknown option {arg}"),
        }
    }
    assert!(rustix::process::geteuid().is_root(), "this needs root");
    let mut rows = Vec::new();
    for (name, driver, kind, most) in VARIANTS {
        if name.contains(&only) {
            let netns = testing::namespace();
            let count = containers.unwrap_or(most).min(most);
            rows.extend(testing::inside(&netns, || variant(name, driver, kind, count)));
        }
    }
    if let Some(file) = file {
        std::fs::write(&file, format!("{}\n", Value::Array(rows))).expect("write the numbers");
    }
}

/// Measures one container after another; each stays.
fn variant(name: &str, driver: Driver, kind: NetworkType, count: usize) -> Vec<Value> {
    let mut daemon = Daemon::start(kind);
    let mut floor = Floor::open();
    let mut rows = Vec::new();
    for number in 1..=count {
        let container = daemon.container(driver, number);
        floor.enter(daemon.namespace(container));
        for (family, v4, v6) in FAMILIES {
            // Once to hear what is said to the kernel, once to say the same
            // without Kleene, once for the clock.
            let (_, attach) = daemon.recorded(|daemon| daemon.attach(container, v4, v6));
            let (_, detach) = daemon.recorded(|daemon| daemon.detach(container));
            let owned = daemon.sweep();
            let floor_attach = floor.play(&attach);
            let floor_detach = floor.play(&detach);
            daemon.sweep_again(owned);
            let attach = daemon.attach(container, v4, v6);
            let detach = daemon.detach(container);
            daemon.sweep();
            rows.push(json!({
                "variant": name, "family": family, "container": number,
                "attach_us": micros(attach), "detach_us": micros(detach),
                "floor_attach_us": micros(floor_attach), "floor_detach_us": micros(floor_detach),
            }));
        }
        if number == count {
            dissect(&mut daemon, &mut floor, container);
        }
        daemon.attach(container, true, true);
    }
    print(name, &rows, count);
    rows
}

/// What the kernel spends its time on, at the last container.
fn dissect(daemon: &mut Daemon, floor: &mut Floor, container: ContainerId) {
    let (_, attach) = daemon.recorded(|daemon| daemon.attach(container, true, true));
    let (_, detach) = daemon.recorded(|daemon| daemon.detach(container));
    let owned = daemon.sweep();
    for (what, sent) in [("attach", attach), ("detach", detach)] {
        for (step, took) in floor.dissect(&sent) {
            println!("    {what}: {:>7.1} µs  {step}", micros(took));
        }
    }
    daemon.sweep_again(owned);
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The medians of the first tenth and of the last.
fn print(name: &str, rows: &[Value], count: usize) {
    let tenth = (count / 10).max(1);
    for (family, ..) in FAMILIES {
        for what in ["attach", "detach"] {
            let median = |key: &str, from: usize, to: usize| {
                let of = rows.iter().filter(|row| row["family"] == family);
                let mut times: Vec<f64> =
                    of.skip(from).take(to - from).filter_map(|row| row[key].as_f64()).collect();
                times.sort_by(f64::total_cmp);
                times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
            };
            let (own, floor) = (format!("{what}_us"), format!("floor_{what}_us"));
            let ends = [(0, tenth), (count - tenth, count)];
            let own = ends.map(|(from, to)| median(&own, from, to));
            let floor = ends.map(|(from, to)| median(&floor, from, to));
            println!(
                "{name:<15} {family:<5} {what}: first {tenth} {:>7.0} µs, {:.2} × the floor; \
                 last {:>7.0} µs, {:.2} × the floor; growth {:.2}, of the floor {:.2}",
                own[0],
                own[0] / floor[0],
                own[1],
                own[1] / floor[1],
                own[1] / own[0],
                floor[1] / floor[0],
            );
        }
    }
}
