//! The smallest topology in which a disagreement stays.

use crate::linux::ending::Ending;
use crate::linux::flow::Spec;
use crate::linux::place::Place;
use crate::linux::run::{Disagreement, Trial};
use crate::linux::topology::Topology;
use kleene_e2e::World;
use std::time::{Duration, Instant};

/// How long it may take. Each try is a world of its own, and a second or two.
const LIMIT: Duration = Duration::from_secs(90);

/// Looks for it.
struct Search<'a> {
    found: &'a Disagreement,
    ending: Ending,
    until: Instant,
}

/// Takes away what can be taken away, one thing after another; `None` where that
/// is nothing.
pub(crate) fn shrink(
    topology: &Topology,
    found: &Disagreement,
) -> Option<(Topology, Disagreement)> {
    let until = Instant::now() + LIMIT;
    let mut search = Search { found, ending: Ending::default(), until };
    // At one stroke what has nothing to do with the flow, mostly.
    let few = essential(topology, &found.case.spec);
    let mut smallest = search.still(&few).map(|still| (few, still));
    loop {
        let from = smallest.as_ref().map_or(topology, |(smallest, _)| smallest);
        match search.pass(from) {
            Some(smaller) => smallest = Some(smaller),
            None => return smallest,
        }
    }
}

/// Only the containers that have to do with a flow, and their networks.
fn essential(topology: &Topology, spec: &Spec) -> Topology {
    let places = [spec.from.clone(), spec.source.place(), spec.to.place()];
    let mut few = topology.clone();
    few.jars.retain(|jar| places.contains(&Place::In(jar.name.clone())));
    let jars = few.jars.clone();
    few.nets.retain(|net| {
        let joined = jars.iter().any(|jar| jar.nets.contains(&net.name));
        joined || net.linked && places.contains(&Place::Behind(net.name.clone()))
    });
    few
}

impl Search<'_> {
    /// Tries each thing once.
    fn pass(&mut self, topology: &Topology) -> Option<(Topology, Disagreement)> {
        let mut smallest: Option<(Topology, Disagreement)> = None;
        let mut index = 0;
        loop {
            let from = smallest.as_ref().map_or(topology, |(smallest, _)| smallest);
            let candidate = from.smaller().into_iter().nth(index);
            let Some(candidate) = candidate else { return smallest };
            if Instant::now() > self.until {
                return smallest;
            }
            match self.still(&candidate) {
                // What comes next has taken its place.
                Some(still) => smallest = Some((candidate, still)),
                None => index += 1,
            }
        }
    }

    /// Tries the one flow. A topology that the daemon refuses, or that has no such
    /// flow, or another disagreement, is none of the smaller ones.
    fn still(&mut self, topology: &Topology) -> Option<Disagreement> {
        let world = World::new("kleene-policy").ok()?;
        let seen = disagrees(&world, topology, &self.found.case.spec);
        self.ending.end(world);
        seen.filter(|seen| {
            let (now, then) = (&seen.case.verdict, &self.found.case.verdict);
            seen.wrong == self.found.wrong && (now.rule, now.blocked) == (then.rule, then.blocked)
        })
    }
}

fn disagrees(world: &World, topology: &Topology, spec: &Spec) -> Option<Disagreement> {
    let mut trial = Trial::new(world, topology).ok()?;
    let case = trial.case(spec.clone()).ok()?;
    trial.run(&[case]).ok()?.into_iter().flatten().next()
}
