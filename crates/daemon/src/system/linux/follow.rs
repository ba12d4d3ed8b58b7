//! Follows the host's network, and tells the engine what may concern it. What it
//! tells is looked up in the engine's picture, so what Kleene did itself goes by.

use std::time::{Duration, Instant};

use kleene_engine::host::{HostError, chain};
use kleene_engine::{Disturbance, Event};
use kleene_host::linux::net::Answers;
use kleene_host::linux::net::monitor::{self, LinkState, RouteKind, RouteTable, Seen};
use kleene_model::Family;

use crate::core::Core;
use crate::system::Error;

use super::Host;

/// How long a wait for news lasts. What the kernel tells nobody is looked at in
/// between.
const TURN: Duration = Duration::from_millis(500);

/// How often everything is looked at, whatever was told.
const SLOW: Duration = Duration::from_secs(60);

/// How long is waited after the kernel did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The news of the host's network, kept from when it was opened.
pub(crate) struct Monitor(monitor::Monitor);

impl Monitor {
    /// Has the kernel keep its news, before a host is looked at.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub(crate) fn open(host: &Host) -> Result<Self, Error> {
        Ok(Self(monitor::Monitor::open(host).map_err(|err| chain(&err))?))
    }

    /// Starts the thread that follows the network.
    ///
    /// # Errors
    /// When the kernel gives no socket or no thread.
    pub(crate) fn follow(self, core: Core) -> Result<(), Error> {
        let answers = Answers::open().map_err(|err| chain(&err))?;
        let follower = Follower { core, monitor: self.0, answers };
        std::thread::Builder::new()
            .name("follow".to_owned())
            .spawn(move || follower.follow())
            .map_err(|err| format!("cannot start the thread that follows the network: {err}"))?;
        Ok(())
    }
}

struct Follower {
    core: Core,
    monitor: monitor::Monitor,
    answers: Answers,
}

impl Follower {
    fn follow(mut self) {
        let mut looked = Instant::now();
        while self.core.is_running() {
            let mut disturbances = match self.news() {
                Ok(disturbances) => disturbances,
                Err(err) => {
                    tracing::error!(why = chain(&err), "cannot follow the host's network");
                    std::thread::sleep(PAUSE);
                    vec![Disturbance::Anything]
                }
            };
            if looked.elapsed() >= SLOW {
                disturbances.push(Disturbance::Anything);
            }
            if disturbances.contains(&Disturbance::Anything) {
                looked = Instant::now();
            }
            if !disturbances.is_empty() {
                self.core.event(Event::Disturbed { disturbances });
            }
        }
    }

    fn news(&mut self) -> Result<Vec<Disturbance>, HostError> {
        let seen = self.monitor.wait(TURN)?;
        let mut disturbances: Vec<Disturbance> = seen.into_iter().filter_map(disturbance).collect();
        let gone = self.answers.gone()?.into_iter();
        disturbances.extend(gone.map(|(link, addr)| Disturbance::AnswerGone { link, addr }));
        Ok(disturbances)
    }
}

/// What the engine is told of something that was seen.
fn disturbance(seen: Seen) -> Option<Disturbance> {
    match seen {
        Seen::Link { name: link, state: LinkState::Gone } => Some(Disturbance::LinkGone { link }),
        Seen::Link { name: link, state: LinkState::There { up, fell, master, mark } } => {
            Some(Disturbance::LinkThere { link, up, fell, mark, port: Some(master.is_some()) })
        }
        // What goes with its link is told with the link.
        Seen::Address { link: None, .. } | Seen::Address { ours: true, there: true, .. } => None,
        Seen::Address { link: Some(link), addr, there: false, .. } => {
            Some(Disturbance::AddressGone { link, addr })
        }
        Seen::Address { link: Some(link), addr, there: true, .. } => {
            Some(Disturbance::AddressThere { link, addr })
        }
        Seen::Route { destination, table, kind, ours, there, .. } => {
            let addr = destination.addr();
            if destination.prefix_len() != destination.max_prefix_len() {
                return Some(Disturbance::DefaultRoute { family: Family::of(addr) });
            }
            match (there, kind, table) {
                (true, RouteKind::Local, RouteTable::Local) => Some(Disturbance::Claimed { addr }),
                (false, RouteKind::Local, _) => None,
                (true, ..) if ours => None,
                // Somebody's in the place of ours, or ours gone.
                _ => Some(Disturbance::RouteGone { addr }),
            }
        }
        Seen::Rules | Seen::Overrun => Some(Disturbance::Anything),
    }
}
