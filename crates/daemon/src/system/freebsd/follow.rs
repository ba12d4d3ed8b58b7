//! Follows the host's network by the clock: no tool of the base system tells of
//! changes.

use std::time::{Duration, Instant};

use kleene_engine::{Disturbance, Event};

use crate::core::Core;
use crate::system::Error;

use super::Host;

/// How often everything is looked at. Each look starts a handful of tools.
const EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether the daemon ends.
const TURN: Duration = Duration::from_millis(500);

/// The clock.
pub(crate) struct Monitor;

impl Monitor {
    /// Nothing has to be open before the host is looked at.
    ///
    /// # Errors
    /// None.
    pub(crate) fn open(_: &Host) -> Result<Self, Error> {
        Ok(Self)
    }

    /// Starts the thread that has everything looked at again and again.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn follow(self, core: Core) -> Result<(), Error> {
        std::thread::Builder::new()
            .name("follow".to_owned())
            .spawn(move || follow(&core, EVERY))
            .map_err(|err| format!("cannot start the thread that follows the network: {err}"))?;
        Ok(())
    }
}

fn follow(core: &Core, every: Duration) {
    let mut looked = Instant::now();
    while core.is_running() {
        std::thread::sleep(TURN.min(every));
        if looked.elapsed() >= every {
            // The next one is due when this one is done, however long it takes.
            core.tell_and_wait(Event::Disturbed { disturbances: vec![Disturbance::Anything] });
            looked = Instant::now();
        }
    }
}
