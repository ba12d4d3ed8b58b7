//! See `main.rs`.
#![allow(clippy::print_stdout, reason = "a demonstration is there to be read")]

mod acts;
mod ask;
mod ipnet;
mod policy;
mod rows;
mod stage;
mod wires;

use kleene_e2e::World;
use stage::Stage;
use std::process::ExitCode;
use std::time::Instant;

/// The program.
pub(crate) fn main() -> ExitCode {
    let start = Instant::now();
    let Some(world) = World::open("demo") else { return ExitCode::FAILURE };
    let mut stage = Stage::new();
    stage.heading("A throw-away host, and what is beyond its uplink");
    stage.note("own processes, mounts, network and cgroups; eth0 192.0.2.2, 2001:db8:1::2");
    let ended = acts::play(&world, &mut stage);
    stage.heading("The model, row by row");
    rows::table(&stage);
    let (held, failed) = stage.counts();
    println!("\n{held} claims hold, {failed} do not; {:.1} s", start.elapsed().as_secs_f32());
    if failed == 0 && ended { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
