//! Waiting in tests: the one place that sleeps.

use std::time::Duration;

/// Waits for a condition that nobody tells of.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}
