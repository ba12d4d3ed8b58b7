//! The whole run: the directed topologies, then random ones.

use crate::linux::ending::Ending;
use crate::linux::judge::Wrong;
use crate::linux::options::Options;
use crate::linux::rng::Rng;
use crate::linux::run::{Disagreement, Trial};
use crate::linux::table::Table;
use crate::linux::topology::Topology;
use crate::linux::{directed, generate, shrink};
use kleene_e2e::World;
use kleene_model::policy::Rule;
use std::collections::BTreeMap;
use std::time::Instant;

/// Flows per topology: as many again cost less than another world, but find less.
const EACH: usize = 300;
/// Apart from the stream of numbers that the topology itself is made of.
const FLOWS_STREAM: u64 = 1 << 32;

/// The topology of a number: the first are the directed ones.
pub(crate) fn topology(options: &Options, number: usize) -> Topology {
    let made = directed::topologies().into_iter().nth(number);
    made.unwrap_or_else(|| generate::topology(options.seed, number))
}

/// The numbers that its flows are drawn with.
pub(crate) fn flows_rng(seed: u64, number: usize) -> Rng {
    Rng::new(seed, FLOWS_STREAM + u64::try_from(number).unwrap_or_default())
}

/// Runs it; whether everything agrees and everything was met.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let mut table = Table::default();
    let mut disagreements: BTreeMap<(Rule, Wrong), usize> = BTreeMap::new();
    let mut ending = Ending::default();
    let mut failed = 0;
    let start = Instant::now();
    println!("seed {}", options.seed);
    let mut number = options.first;
    while table.flows() < options.flows
        && options.topologies.is_none_or(|most| number < options.first + most)
    {
        let topology = topology(options, number);
        let count = EACH.min(options.flows - table.flows());
        let Some(world) = World::open("kleene-policy") else { return Ok(false) };
        let result = one(options, &world, &topology, count, &mut table);
        ending.end(world);
        let found = match result {
            Ok(found) => found,
            Err(why) if options.keep_going => {
                println!("CANNOT be made: {why}");
                failed += 1;
                Vec::new()
            }
            Err(why) => return Err(why),
        };
        if let Some(first) = found.first()
            && !options.keep_going
        {
            explain(options, &topology, first);
            return Ok(false);
        }
        for one in &found {
            *disagreements.entry((one.case.verdict.rule, one.wrong)).or_default() += 1;
        }
        number += 1;
    }
    let took = start.elapsed().as_secs_f32();
    #[expect(clippy::cast_precision_loss, reason = "a rate to be read")]
    let rate = table.flows() as f32 / took;
    let text = table.text();
    println!("\n{text}");
    let topologies = number - options.first;
    println!("{} flows, {topologies} topologies, {took:.1} s: {rate:.0} flows/s", table.flows());
    if let Some(file) = &options.table {
        std::fs::write(file, text).map_err(|error| format!("write {file}: {error}"))?;
    }
    for ((rule, wrong), count) in &disagreements {
        println!("DISAGREES {count:>5} x rule {:>2} ({rule}): {wrong}", rule.number());
    }
    let whole = options.topologies.is_none() && options.first == 0;
    let unmet = if whole { table.unmet() } else { Vec::new() };
    unmet.iter().for_each(|one| println!("NOT MET: {one}"));
    Ok(disagreements.is_empty() && unmet.is_empty() && failed == 0)
}

/// Tries the flows of one topology.
fn one(
    options: &Options,
    world: &World,
    topology: &Topology,
    count: usize,
    table: &mut Table,
) -> Result<Vec<Disagreement>, String> {
    let start = Instant::now();
    let failed = |why: String| format!("seed {}: {why}\n{topology}", options.seed);
    let mut trial = Trial::new(world, topology).map_err(failed)?;
    let made = start.elapsed().as_secs_f32();
    let cases = trial.draw(&mut flows_rng(options.seed, topology.number), count).map_err(failed)?;
    let results = trial.run(&cases).map_err(failed)?;
    for (case, result) in cases.iter().zip(&results) {
        table.count(case, result.is_none());
    }
    let found: Vec<Disagreement> = results.into_iter().flatten().collect();
    let took = start.elapsed().as_secs_f32();
    println!(
        "topology {:>3}: {:>2} networks, {:>2} containers, {:>3} flows, {:>3} tried twice, \
         {:>3} disagree, {made:.1} + {:.1} s",
        topology.number,
        topology.nets.len(),
        topology.jars.len(),
        cases.len(),
        trial.again,
        found.len(),
        took - made
    );
    if options.keep_going {
        found.iter().for_each(|one| print!("{}", one.text()));
    }
    Ok(found)
}

/// Tells of a disagreement, and of the smallest topology that has it.
fn explain(options: &Options, topology: &Topology, found: &Disagreement) {
    println!("\nDISAGREEMENT, seed {}\n{topology}{}", options.seed, found.text());
    println!(
        "again: kleene-policy --seed {} --first {} --topologies 1\n",
        options.seed, topology.number
    );
    match shrink::shrink(topology, found) {
        Some((smallest, still)) => {
            println!("the smallest that has it:\n{smallest}{}", still.text())
        }
        None => println!("nothing can be taken away from it, or it is not always so"),
    }
}
