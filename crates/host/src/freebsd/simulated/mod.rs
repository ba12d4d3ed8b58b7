//! A FreeBSD that is not there, for tests on every system.
//!
//! [`Simulated`] answers what [`Tools`] are told from the state of a kernel of its
//! own: interfaces, addresses, bridges, network stacks, jails, routes, pf, mounts,
//! devfs rules and ZFS datasets. Output, error text and status are those of FreeBSD
//! 13.2, as far as they are recorded: `tests/freebsd` replays the recordings against
//! it. ZFS and cards are from manuals, not recorded; where a file says so, other things too.
//! `fetch` and `tar` work on real files.
//!
//! A command or option that it does not know is an error ([`ToolError::Start`],
//! "the simulated FreeBSD does not know: …"), never a success.
//!
//! ```
//! use kleene_host::freebsd::run::{Call, Tool, Tools as _};
//! use kleene_host::freebsd::simulated::Simulated;
//!
//! let host = Simulated::new();
//! host.add_nic("em0", "00:1b:21:00:00:01");
//! let call = Call::new(Tool::Ifconfig, ["-l"]);
//! assert_eq!(host.run(&call)?.stdout, "lo0 pflog0 pfsync0 em0\n");
//! # Ok::<(), kleene_host::freebsd::run::ToolError>(())
//! ```

mod fault;
mod pf;
mod quirk;
mod session;
mod somebody;
mod state;
#[cfg(test)]
mod tests;
mod tools;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fault::Fault;
pub use quirk::Quirk;
pub use state::State;

use fault::{Planned, When};
use session::{Session, Stop};

use super::run::{Answer, Call, Tool, ToolError, Tools};

/// A simulated FreeBSD host. Its clones are handles of the same host.
#[derive(Debug, Clone)]
pub struct Simulated {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    planned: Vec<Planned>,
    calls: Vec<Call>,
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulated {
    /// The host of the recordings: `lo0` is up, `pflog0` and `pfsync0` are there, pf
    /// is loaded and disabled, no jail runs, no pool is imported.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner { state: State::new(), planned: Vec::new(), calls: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked elsewhere has changed nothing half.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state, or changes it behind everybody's back.
    pub fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.lock().state)
    }

    /// Has somebody else run a tool: neither counted nor subject to faults. So an
    /// administrator flushes pf (`pfctl -F all`), removes an address, destroys an
    /// interface or loads a ruleset with `set skip on lo`.
    ///
    /// # Panics
    /// When the simulation does not know what the tool is told.
    pub fn somebody(&self, call: &Call) -> Answer {
        let answer = answer(&mut self.lock().state, call);
        answer.unwrap_or_else(|err| {
            let source = std::error::Error::source(&err).map(ToString::to_string);
            panic!("{call}: {}", source.unwrap_or_default())
        })
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls.len() as u64
    }

    /// What was called, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Has the `n`th call from now on, counted from 1, go wrong.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        let mut inner = self.lock();
        let when = When::Nth(inner.calls.len() as u64 + n);
        inner.planned.push(Planned { when, fault });
    }

    /// Has every call of `tool` go wrong that has all `words` among its arguments, in
    /// this order.
    pub fn fail_matching<W: Into<String>>(
        &self,
        tool: Tool,
        words: impl IntoIterator<Item = W>,
        fault: Fault,
    ) {
        let words = words.into_iter().map(Into::into).collect();
        let when = When::Matching(tool, words);
        self.lock().planned.push(Planned { when, fault });
    }

    /// From now on nothing goes wrong any more.
    pub fn fail_no_more(&self) {
        self.lock().planned.clear();
    }

    /// Switches a [`Quirk`] off.
    pub fn without(&self, quirk: Quirk) {
        self.with(|state| state.quirks.remove(&quirk));
    }
}

impl Tools for Simulated {
    fn call(&self, call: &Call) -> Result<Answer, ToolError> {
        let mut inner = self.lock();
        inner.calls.push(call.clone());
        let number = inner.calls.len() as u64;
        let fault = inner.planned.iter().find(|one| one.meets(number, call));
        let fault = fault.map(|one| one.fault.clone());
        if fault == Some(Fault::Refused) {
            return Ok(fault::refusal(call));
        }
        let answer = answer(&mut inner.state, call)?;
        Ok(match fault {
            Some(Fault::RefusedAfterwards) => fault::refusal(call),
            Some(Fault::Cut(bytes)) => fault::cut(answer, bytes),
            Some(Fault::Refused) | None => answer,
        })
    }
}

fn answer(state: &mut State, call: &Call) -> Result<Answer, ToolError> {
    let not_known = |what: String| ToolError::Start {
        tool: call.tool,
        source: std::io::Error::other(format!("the simulated FreeBSD does not know: {what}")),
    };
    let stdin = std::str::from_utf8(&call.stdin);
    let stdin = stdin.map_err(|_| not_known("input that is no text".to_owned()))?;
    let mut session = Session::new(state, None, stdin);
    match session::run(&mut session, call.tool, &call.args) {
        Ok(status) => Ok(Answer { status, stdout: session.out, stderr: session.err }),
        Err(Stop::Unknown(what)) => Err(not_known(what)),
        Err(Stop::Status(status)) => Err(not_known(format!("status {status} of {call}"))),
    }
}
