//! When a fake refuses, and when the whole daemon "dies".

use std::panic::resume_unwind;

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// One step is refused.
    Once,
    /// That step and every later one are refused.
    ForEver,
}

/// What unwinds out of a fake where the daemon is to be killed. Caught by
/// [`crate::fake::Rig::crash_during`].
#[derive(Debug)]
pub struct Crash;

/// What shall go wrong, counted in steps from now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault {
    refuse: Option<(usize, Times)>,
    crash: Option<usize>,
}

impl Fault {
    /// The `n`-th step from now is refused; 1 is the next.
    pub fn fail_at(&mut self, n: usize, times: Times) {
        self.refuse = Some((n, times));
    }

    /// The daemon dies when `n` more steps have been done; 0: instead of the
    /// next one.
    pub fn crash_after(&mut self, n: usize) {
        self.crash = Some(n);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a fault still waits for its step.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.crash.is_some() || matches!(self.refuse, Some((n, _)) if n > 0)
    }

    /// Counts one step and says what becomes of it. After [`Step::Crash`] call
    /// [`Fault::die`], without holding a lock.
    pub(super) fn step(&mut self) -> Step {
        match self.crash.as_mut() {
            Some(0) => {
                self.crash = None;
                return Step::Crash;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        match self.refuse {
            None => Step::Go,
            Some((0 | 1, Times::ForEver)) => {
                self.refuse = Some((0, Times::ForEver));
                Step::Refuse
            }
            Some((0 | 1, Times::Once)) => {
                self.refuse = None;
                Step::Refuse
            }
            Some((n, times)) => {
                self.refuse = Some((n - 1, times));
                Step::Go
            }
        }
    }

    /// Kills the daemon: unwinds without a message, up to the rig.
    pub(super) fn die() -> ! {
        resume_unwind(Box::new(Crash))
    }
}

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is done.
    Go,
    /// It is refused.
    Refuse,
    /// The daemon is dead.
    Crash,
}
