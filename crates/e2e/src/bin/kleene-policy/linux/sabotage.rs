//! Whether the proof would notice: each sabotage breaks one thing of the policy in
//! the kernel, behind the back of a daemon that stands still, and some flow must
//! then disagree that agreed before.

use crate::linux::directed;
use crate::linux::options::Options;
use crate::linux::proof::{flows_rng, topology};
use crate::linux::ruleset::Ruleset;
use crate::linux::run::{Disagreement, Trial};
use kleene_e2e::World;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A second is promised; a busy machine gets more.
const MENDED: Duration = Duration::from_secs(10);
/// Flows per topology.
const FLOWS: usize = 400;

/// A sabotage: its name, what it breaks, and how. It picks among what is there;
/// where nothing fits, it does nothing.
struct Sabotage {
    name: &'static str,
    what: &'static str,
    /// Commands for `nft -j`.
    act: fn(&Ruleset) -> Vec<Value>,
}

fn filters(hook: &'static str) -> impl Fn(&str, &str) -> bool {
    move |at, kind| at == hook && kind == "filter"
}

fn called(word: &'static str) -> impl Fn(&str, &str) -> bool {
    move |name, _| name.contains(word)
}

const ALL: [Sabotage; 18] = [
    Sabotage {
        name: "forward-empty",
        what: "nothing looks at what is forwarded",
        act: |rules| rules.flush(filters("forward")),
    },
    Sabotage {
        name: "forward-open",
        what: "everything that is forwarded passes before the rules are asked",
        act: |rules| rules.first("accept", filters("forward")),
    },
    Sabotage {
        name: "forward-shut",
        what: "nothing is forwarded",
        act: |rules| rules.first("drop", filters("forward")),
    },
    Sabotage {
        name: "input-empty",
        what: "nothing looks at what is for the host",
        act: |rules| rules.flush(filters("input")),
    },
    Sabotage {
        name: "output-empty",
        what: "nothing looks at what the host sends",
        act: |rules| rules.flush(filters("output")),
    },
    Sabotage {
        name: "sources-unchecked",
        what: "nothing looks at sources",
        act: |rules| {
            rules.flush(|hook, kind| ["prerouting", "ingress"].contains(&hook) && kind == "filter")
        },
    },
    Sabotage {
        name: "drop-accepts",
        what: "what is to be dropped passes",
        act: |rules| rules.swap("drop", "accept"),
    },
    Sabotage {
        name: "reject-accepts",
        what: "what is to be refused passes",
        act: |rules| rules.swap("reject", "accept"),
    },
    Sabotage {
        name: "reject-silent",
        what: "what is to be refused is dropped",
        act: |rules| rules.swap("reject", "drop"),
    },
    Sabotage {
        name: "accept-drops",
        what: "what is to pass is dropped",
        act: |rules| rules.swap("accept", "drop"),
    },
    Sabotage {
        name: "not-led-in",
        what: "published ports of the host lead nowhere",
        act: |rules| {
            rules.flush(|hook, kind| ["prerouting", "output"].contains(&hook) && kind == "nat")
        },
    },
    Sabotage {
        name: "not-led-in-rules",
        what: "the rules that lead to published ports are gone",
        act: |rules| rules.delete(&["dnat", "redirect"]),
    },
    Sabotage {
        name: "not-translated-out",
        what: "no source is translated",
        act: |rules| rules.delete(&["masquerade", "snat"]),
    },
    Sabotage {
        name: "address-forgotten",
        what: "one container's address is not known to be one",
        act: |rules| rules.forget(1, called("address")),
    },
    Sabotage {
        name: "source-forgotten",
        what: "one container's address is not known to be its own",
        act: |rules| rules.forget(1, called("source")),
    },
    Sabotage {
        name: "port-forgotten",
        what: "one published port of the host leads nowhere",
        act: |rules| rules.forget(1, |_, leads_to| !leads_to.is_empty() && leads_to != "verdict"),
    },
    Sabotage {
        name: "verdict-forgotten",
        what: "one entry of each map of verdicts is gone",
        act: |rules| rules.forget(1, |_, leads_to| leads_to == "verdict"),
    },
    Sabotage {
        name: "bridge-open",
        what: "nothing looks at what a bridge carries",
        act: |rules| rules.flush_family("bridge"),
    },
];

/// Runs all of them, or those that are named; whether each was noticed.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    if let Some(unknown) =
        options.names.iter().find(|name| ALL.iter().all(|one| one.name != name.as_str()))
    {
        return Err(format!("there is no sabotage {unknown}"));
    }
    let wanted = |one: &&Sabotage| {
        options.names.is_empty() || options.names.iter().any(|name| name == one.name)
    };
    let mut open: Vec<&Sabotage> = ALL.iter().filter(wanted).collect();
    let mut tried: BTreeSet<&str> = BTreeSet::new();
    let mut noticed: BTreeMap<&str, String> = BTreeMap::new();
    for number in 0..directed::topologies().len() {
        if open.is_empty() {
            break;
        }
        let Some(world) = World::open("kleene-policy sabotage") else { return Ok(false) };
        let mut scene = match Scene::set(options, &world, number) {
            Ok(scene) => scene,
            Err(why) if options.keep_going => {
                println!("topology {number} cannot be made: {why}");
                continue;
            }
            Err(why) => return Err(why),
        };
        for one in &open {
            if let Some(result) = scene.play(one)? {
                tried.insert(one.name);
                noticed.extend(result.map(|text| (one.name, text)));
            }
        }
        scene.is_as_before()?;
        open.retain(|one| !noticed.contains_key(one.name));
    }
    for one in ALL.iter().filter(wanted) {
        match noticed.get(one.name) {
            Some(text) => println!("red    {:<20} {}\n{text}", one.name, one.what),
            None if tried.contains(one.name) => {
                println!("GREEN  {:<20} {}: nobody noticed", one.name, one.what);
            }
            None => println!("ABSENT {:<20} {}: nothing there to break", one.name, one.what),
        }
    }
    println!("{} of {} noticed", noticed.len(), noticed.len() + open.len());
    Ok(open.is_empty())
}

/// A directed topology with its flows, and a daemon that stands still.
struct Scene<'w> {
    world: &'w World,
    trial: Trial<'w>,
    cases: Vec<crate::linux::judge::Case>,
    rules: Ruleset,
    number: usize,
}

impl<'w> Scene<'w> {
    /// Where everything agrees, or, when disagreements are only counted, with those
    /// flows that do.
    fn set(options: &Options, world: &'w World, number: usize) -> Result<Self, String> {
        let topology = topology(options, number);
        let mut trial = Trial::new(world, &topology)?;
        let cases = trial.draw(&mut flows_rng(options.seed, number), FLOWS)?;
        trial.stage.kleened.pause();
        let before = trial.run(&cases)?;
        if let Some(red) = before.iter().flatten().next()
            && !options.keep_going
        {
            return Err(format!("red before any sabotage:\n{topology}{}", red.text()));
        }
        let agreed = cases.into_iter().zip(&before).filter(|(_, found)| found.is_none());
        let cases = agreed.map(|(case, _)| case).collect();
        let rules = Ruleset::read(world)?;
        Ok(Self { world, trial, cases, rules, number })
    }

    /// Breaks something, looks, and mends it. `None` where there is nothing to
    /// break, else what was noticed, if anything.
    fn play(&mut self, sabotage: &Sabotage) -> Result<Option<Option<String>>, String> {
        let failed = |why: String| format!("sabotage {}: {why}", sabotage.name);
        let commands = (sabotage.act)(&self.rules);
        if commands.is_empty() {
            return Ok(None);
        }
        Ruleset::apply(self.world, commands).map_err(failed)?;
        let found = self.trial.run(&self.cases).map_err(failed)?;
        // The daemon mends what somebody else has done, as soon as it may.
        self.trial.stage.kleened.resume();
        let whole = || self.rules.is_whole(self.world).then_some(());
        let mended = kleene_e2e::poll(MENDED, whole);
        self.trial.stage.kleened.pause();
        if mended.is_none() {
            return Err(failed("it was not mended".to_owned()));
        }
        self.rules = Ruleset::read(self.world).map_err(failed)?;
        let found: Vec<&Disagreement> = found.iter().flatten().collect();
        println!(
            "topology {}, {:<20}: {:>3} of {} flows disagree",
            self.number,
            sabotage.name,
            found.len(),
            self.cases.len()
        );
        Ok(Some(found.first().map(|one| one.text())))
    }

    /// The control: mended, everything agrees again, so it was the sabotage that
    /// was noticed.
    fn is_as_before(&mut self) -> Result<(), String> {
        let after = self.trial.run(&self.cases)?;
        match after.iter().flatten().next() {
            None => Ok(()),
            Some(red) => Err(format!("red after everything was mended:\n{}", red.text())),
        }
    }
}
