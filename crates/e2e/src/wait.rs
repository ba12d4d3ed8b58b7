//! The one place that sleeps: waiting for a condition, with a limit.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_micros(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` until it has an answer or `limit` is over. It is asked at
/// least once, and once more after the limit, so a slow machine cannot turn
/// a condition that holds into a failure.
pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let last = start.elapsed() >= limit;
        let answer = look();
        if answer.is_some() || last {
            return answer;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until `cond` holds.
///
/// # Panics
/// When it does not within `limit`; the message names `what` and the limit.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut cond: impl FnMut() -> bool) {
    assert!(poll(limit, || cond().then_some(())).is_some(), "waited {limit:?} in vain for: {what}");
}
