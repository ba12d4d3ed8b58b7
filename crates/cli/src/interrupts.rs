//! The signals that ask klee to end, taken so that it can leave nothing behind.

use std::future::{Future, poll_fn};
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Hang-up, interrupt, quit, terminate; with their numbers, the same on Linux
/// and FreeBSD.
const NUMBERS: [u8; 4] = [1, 2, 3, 15];

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupt {
    number: u8,
}

impl From<Interrupt> for Failure {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted { exit_code: 128 + interrupt.number }
    }
}

/// What became of something that a first signal does not stop.
pub(crate) struct Shielded<T> {
    /// Its result.
    pub(crate) output: T,
    /// A signal that came meanwhile.
    pub(crate) interrupted: Option<Interrupt>,
}

/// The signals, while klee takes them.
pub(crate) struct Interrupts {
    signals: Vec<(u8, Signal)>,
}

impl Interrupts {
    /// From now on the signals do not end the process. One that was ignored
    /// when klee was started (`nohup`, a background job) stays so.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let signals = NUMBERS
            .into_iter()
            .filter(|number| ignored & (1 << (number - 1)) == 0)
            .map(|number| Ok((number, signal(SignalKind::from_raw(number.into()))?)))
            .collect::<Result<_, _>>()
            .map_err(|source| Failure::System { what: "listen to signals", source })?;
        Ok(Self { signals })
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) -> Interrupt {
        poll_fn(|context| {
            for (number, signal) in &mut self.signals {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(Interrupt { number: *number });
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Carries `work` to its end although a signal comes; a second one ends it.
    pub(crate) async fn shield<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<Shielded<T>, Failure> {
        let mut work = std::pin::pin!(work);
        let mut interrupted = None;
        loop {
            tokio::select! {
                biased;
                output = &mut work => return Ok(Shielded { output, interrupted }),
                interrupt = self.next() => {
                    if interrupted.replace(interrupt).is_some() {
                        return Err(interrupt.into());
                    }
                }
            }
        }
    }
}

/// The mask of ignored signals of a `/proc/*/status`; nothing where there is none.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tklee\nSigIgn:\t0000000000001001\nSigCgt:\t00\n";
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored(""), 0);
    }
}
