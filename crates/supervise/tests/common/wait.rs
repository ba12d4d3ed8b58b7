//! Waiting: the one place that sleeps.

use std::time::{Duration, Instant};

use super::LIMIT;

/// Waits for a condition, up to `limit`; whether it came true.
pub(crate) fn poll(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Waits for a condition.
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(poll(LIMIT, condition), "waited in vain for: {what}");
}
