//! The firewalls of others on this host: who is told of what they drop.
//!
//! Reading them takes as long as they are big, so the engine has no part in it: it
//! says which ways flows take, and a thread of ours, or the task of a request,
//! asks the tables of others about those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kleene_engine::host::chain;
use kleene_engine::passage::{Explained, Passing};
use kleene_engine::{Command, Outcome, State};
use kleene_host::linux::nft::foreign::{Foreign, Obstacle, Watch};
use kleene_model::api::{Explanation, ForeignChain};
use kleene_model::{InstanceName, NetworkId};

use crate::core::Core;
use crate::system::Error;

/// How long a wait for news lasts. Whether there are other networks is looked at in
/// between.
const TURN: Duration = Duration::from_millis(500);

/// How often everything is looked at, whatever was told: routes of the host change,
/// and nobody tells of `iptables-legacy`.
const SLOW: Duration = Duration::from_secs(60);

/// How long is waited after the kernel did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the firewalls of others. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Firewalls {
    /// By networks' names, the chains that drop their traffic.
    found: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Firewalls {
    /// Starts the thread that watches them.
    ///
    /// # Errors
    /// When the kernel gives no socket or no thread.
    pub(crate) fn start(core: Core, instance: InstanceName) -> Result<Self, Error> {
        let firewalls = Self::default();
        // It has to be open before they are looked at.
        let watch = Watch::open(&instance).map_err(|err| chain(&err))?;
        let known = firewalls.clone();
        let watcher = Watcher { core, instance, watch, known, told: BTreeMap::new() };
        std::thread::Builder::new()
            .name("firewalls".to_owned())
            .spawn(move || watcher.follow())
            .map_err(|err| format!("cannot start the thread that watches firewalls: {err}"))?;
        Ok(firewalls)
    }

    /// The chains that drop a network's traffic.
    pub(crate) fn of(&self, network: &str) -> Vec<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(network).cloned().unwrap_or_default()
    }

    fn put(&self, now: BTreeMap<String, Vec<String>>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Adds to what the policy says what the firewalls of others make of it. It blocks.
pub(crate) fn explained(instance: &InstanceName, explained: Vec<Explained>) -> Vec<Explanation> {
    let passes = explained.iter().any(|one| one.passage.is_some());
    let foreign = passes.then(|| Foreign::of_host(instance));
    let ask = |one: Explained| {
        let Explained { mut explanation, passage } = one;
        explanation.foreign = match (&foreign, passage) {
            (Some(Ok(foreign)), Some(passage)) => {
                foreign.obstacles(&passage).into_iter().map(told).collect()
            }
            (Some(Err(err)), Some(_)) => vec![ForeignChain {
                verdict: "may drop".to_owned(),
                chain: format!("nobody knows which: {}", chain(err)),
                line: String::new(),
            }],
            _ => Vec::new(),
        };
        explanation
    };
    explained.into_iter().map(ask).collect()
}

fn told(obstacle: Obstacle) -> ForeignChain {
    let verdict = if obstacle.certain { "drops" } else { "may drop" };
    ForeignChain { verdict: verdict.to_owned(), chain: obstacle.chain, line: obstacle.line }
}

/// What of the state decides which ways there are: the networks, whether somebody is
/// in them, and how many publish ports.
type Outline = (Vec<(NetworkId, bool)>, usize);

fn outline(state: &State) -> Outline {
    let networks = state
        .networks()
        .map(|network| (network.id, state.endpoints_of_network(network.id).next().is_some()));
    let publish = state.containers().filter(|container| !container.ports.is_empty());
    (networks.collect(), publish.count())
}

struct Watcher {
    core: Core,
    instance: InstanceName,
    watch: Watch,
    known: Firewalls,
    /// What is in the log: chains and their lines, and whose traffic they drop.
    told: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Watcher {
    fn follow(mut self) {
        let mut seen: Option<(Outline, Instant)> = None;
        while self.core.is_running() {
            let changed = match self.watch.wait(TURN) {
                Ok(changed) => changed,
                Err(err) => {
                    tracing::error!(why = chain(&err), "cannot watch the firewalls of others");
                    std::thread::sleep(PAUSE);
                    true
                }
            };
            let now = outline(&self.core.snapshot());
            let same = |(before, at): &(Outline, Instant)| *before == now && at.elapsed() < SLOW;
            if changed || !seen.as_ref().is_some_and(same) {
                if let Err(why) = self.look() {
                    tracing::warn!(why, "cannot read the firewalls of others");
                }
                seen = Some((now, Instant::now()));
            }
        }
    }

    fn look(&mut self) -> Result<(), String> {
        let asked = self.core.ask(Command::NetworkPassings);
        let passings = match asked.map_err(|refusal| refusal.to_string())? {
            Outcome::Passings(passings) => passings,
            other => unreachable!("ways were asked for: {other:?}"),
        };
        let mut certain: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if passings.iter().any(|passing| !passing.passages.is_empty()) {
            let foreign = Foreign::of_host(&self.instance).map_err(|err| chain(&err))?;
            for Passing { network, passages } in passings {
                let all = passages.iter().flat_map(|passage| foreign.obstacles(passage));
                for obstacle in all.filter(|obstacle| obstacle.certain) {
                    let names = found.entry(network.clone()).or_default();
                    if !names.contains(&obstacle.chain) {
                        names.push(obstacle.chain.clone());
                    }
                    let key = (obstacle.chain, obstacle.line);
                    certain.entry(key).or_default().insert(network.clone());
                }
            }
        }
        self.tell(certain);
        self.known.put(found);
        Ok(())
    }

    fn tell(&mut self, now: BTreeMap<(String, String), BTreeSet<String>>) {
        for (key @ (chain, line), networks) in &now {
            if self.told.get(key) != Some(networks) {
                let networks = names(networks);
                tracing::warn!(
                    chain,
                    line,
                    networks,
                    "a firewall of somebody else drops what passes here; the line would let it pass"
                );
            }
        }
        for (key @ (chain, _), networks) in &self.told {
            if !now.contains_key(key) {
                let networks = names(networks);
                tracing::info!(chain, networks, "a firewall of somebody else lets it pass again");
            }
        }
        self.told = now;
    }
}

fn names(networks: &BTreeSet<String>) -> String {
    networks.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
