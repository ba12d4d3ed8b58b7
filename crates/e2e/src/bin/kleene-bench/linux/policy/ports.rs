//! Many published ports beside few.

use std::time::{Duration, Instant};

use kleene_e2e::{World, target_dir};
use serde_json::json;

use super::Counts;
use super::rows::{Budget, Row};
use super::stage::{self, FIRST};
use crate::linux::Options;
use crate::linux::figures::{median, millis};
use crate::linux::peers::Contestant;
use crate::linux::run;
use crate::linux::traffic::{self, PORT};

/// Where the one that is asked is published.
const ASKED: u16 = 8080;
/// A port is published and taken back so often in each round.
const AT_ONCE: usize = 10;
/// Turns of each that starts containers in each round: it is short.
const RUNS: usize = 3;
/// The ports of a container that publishes several.
const HUNDRED: u16 = 100;

/// Connections from outside to one port, beside the same with all others there.
pub(super) fn connections(options: &Options, counts: &Counts) -> Result<Vec<Row>, String> {
    let worlds = [stage::host()?, stage::host()?];
    for world in &worlds {
        server(world)?;
    }
    stage::fill(&worlds[1], counts.most - 1)?;
    let mut taken = [Vec::new(), Vec::new()];
    // The first round warms up.
    for round in 0..=options.rounds * stage::TURNS {
        for (world, rates) in worlds.iter().zip(&mut taken) {
            let rate = stage::connections(world, ASKED)?;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    Ok(vec![Row {
        what: format!("connections from outside to one of {} ports", counts.most),
        unit: "1/s",
        measured: median(&taken[1]),
        beside: Some(("when it is the only one".to_owned(), median(&taken[0]))),
        budget: Some(Budget::AtLeast(0.95)),
    }])
}

fn server(world: &World) -> Result<(), String> {
    let port = format!("{ASKED}:{PORT}");
    traffic::container(world, "server", &["-l", "vnet", "-n", "web", "-p", &port])
}

/// What the API takes to publish a port of a container that runs, and to take it back,
/// beside the same with many others there.
pub(super) fn publish(options: &Options, counts: &Counts) -> Result<Vec<Row>, String> {
    let worlds = [stage::host()?, stage::host()?];
    for world in &worlds {
        stage::start(world, "changing", &[], &["sleep", "1000000"]);
    }
    stage::fill(&worlds[1], counts.many)?;
    worlds.iter().try_for_each(check)?;
    let mut taken = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    // The first round warms up.
    for round in 0..=options.rounds {
        for (world, (on, off)) in worlds.iter().zip(&mut taken) {
            for _ in 0..AT_ONCE {
                let times = once(world);
                if round > 0 {
                    on.push(times.0);
                    off.push(times.1);
                }
            }
        }
    }
    let [none, many] = taken;
    let row = |what: &str, measured: &[f64], base: &[f64]| Row {
        what: format!("{what} a port over the API when {} are published", counts.many),
        unit: "ms",
        measured: median(measured),
        beside: Some(("when none is".to_owned(), median(base))),
        budget: Some(Budget::AtMost(2.0)),
    };
    Ok(vec![row("publish", &many.0, &none.0), row("unpublish", &many.1, &none.1)])
}

/// Milliseconds of one change and of the contrary.
fn once(world: &World) -> (f64, f64) {
    let publish = change(world, "publish");
    (publish, change(world, "unpublish"))
}

/// What `publish` and `unpublish` take, in milliseconds.
fn change(world: &World, what: &str) -> f64 {
    let mut body = json!({"host_port": ASKED.to_string(), "protocol": "tcp"});
    if what == "publish" {
        body["interfaces"] = json!([]);
        body["container_port"] = json!(PORT);
    }
    let start = Instant::now();
    let reply = world.http("POST", &format!("/containers/changing/{what}"), Some(&body));
    let took = start.elapsed();
    reply.expect(204);
    millis(took)
}

/// The kernel does what the API says that it did.
fn check(world: &World) -> Result<(), String> {
    change(world, "publish");
    let on = stage::published(world).contains(&ASKED);
    change(world, "unpublish");
    let off = !stage::published(world).contains(&ASKED);
    if on && off { Ok(()) } else { Err(format!("published: {on}, and taken back: {off}")) }
}

/// A container that publishes a hundred ports from its start to its end, beside one that
/// publishes one.
pub(super) fn run(options: &Options, _: &Counts) -> Result<Vec<Row>, String> {
    let world = stage::host()?;
    // They can be published at once.
    stage::fill(&world, HUNDRED)?;
    world.klee(["stop", "-t", "0", "filler-0"]).ok();
    world.klee(["container", "rm", "filler-0"]).ok();
    let klee = target_dir().map_err(|error| error.chain())?.join("klee").display().to_string();
    let contestant = |name, count: u16| {
        let head = [&klee, "run", "--rm", "-l", "vnet", "-n", "web"].map(str::to_owned);
        let ports = (FIRST..FIRST + count).flat_map(|port| ["-p".to_owned(), format!("{port}:80")]);
        let tail = ["host-usr", "true"].map(str::to_owned);
        Contestant { name, argv: head.into_iter().chain(ports).chain(tail).collect(), ours: true }
    };
    let racing = [contestant("one port", 1), contestant("a hundred ports", HUNDRED)];
    let mut taken = [Vec::new(), Vec::new()];
    // The first turns warm up.
    for round in 0..=options.rounds * RUNS {
        for (contestant, times) in racing.iter().zip(&mut taken) {
            let turn = run::turn(&world, contestant)?;
            if round > 0 {
                times.extend(turn.into_iter().map(|nanos| millis(Duration::from_nanos(nanos))));
            }
        }
    }
    Ok(vec![Row {
        what: format!("`klee run --rm` with {HUNDRED} ports"),
        unit: "ms",
        measured: median(&taken[1]),
        beside: Some(("with one port".to_owned(), median(&taken[0]))),
        budget: Some(Budget::AtMost(1.1)),
    }])
}
