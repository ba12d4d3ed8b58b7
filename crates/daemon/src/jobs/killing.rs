//! Ending a container whose supervisor cannot be asked to do it.

use std::time::{Duration, Instant};

use kleene_engine::host::chain;
use kleene_model::ContainerId;

use super::Context;
use super::setup::is_dead;
use crate::system;

/// How long a supervisor may take to write down that its container has ended.
/// With the usual grace a stop is answered before clients lose patience.
const WRITE_LIMIT: Duration = Duration::from_millis(500);

/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The moment, or never.
pub(super) async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Kills a container whose supervisor does not do it. That it has ended is
/// noticed where its supervisor is listened to or looked for.
pub(super) async fn kill_soon(context: &Context, id: ContainerId) {
    let context = context.clone();
    if let Err(err) = tokio::task::spawn_blocking(move || kill(&context, id)).await {
        tracing::error!(container = %id, %err, "killing ended unexpectedly");
    }
}

/// Kills the container's processes. A supervisor that is well, but of another
/// version, writes their exits down and ends by itself; any other is killed,
/// and its holder ends with it. Blocking.
fn kill(context: &Context, id: ContainerId) {
    if let Err(err) = system::kill(&context.config, id) {
        tracing::warn!(container = %id, why = chain(&err), "its processes cannot be killed");
    }
    let dir = context.config.run_dir(id);
    let until = Instant::now() + WRITE_LIMIT;
    while !is_dead(&dir) {
        if Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        match system::kill_listener(&dir) {
            Ok(()) => {
                tracing::warn!(container = %id, "the supervisor did not answer, and was killed")
            }
            Err(err) => {
                tracing::warn!(container = %id, why = chain(&err), "the supervisor cannot be killed");
            }
        }
        return;
    }
}
