//! The end of a container's life: what its supervisor wrote down, what has to
//! be cleared up, and who is told when.

use std::path::Path;
use std::process::Child;

use kleene_engine::Event;
use kleene_model::{ContainerId, ExecId};
use kleene_supervise::proto::ExitRecord;

use super::{Context, setup};
use crate::system;

/// A container whose supervisor is gone without a word: what it has written
/// down is reported, and the end.
pub(super) async fn report_the_dead(context: &Context, id: ContainerId, dir: &Path) {
    let exits = tokio::fs::read(dir.join(kleene_supervise::exits::FILE)).await.unwrap_or_default();
    // Those that were reported before change nothing.
    for record in kleene_supervise::exits::read(&exits) {
        if let ExitRecord::Exec { exec, code, last, .. } = record {
            report_exit(context, &exec, code, last);
        }
    }
    finish(context, id, None).await;
}

pub(super) fn report_exit(context: &Context, exec: &str, code: i32, last: bool) {
    match ExecId::parse(exec) {
        Ok(exec) => context.core.event(Event::ExecExited { exec, code, last }),
        Err(err) => tracing::warn!(%err, "a supervisor spoke of an unknown execution"),
    }
}

/// Nothing of the container runs any more: clears up, then reports the end. In
/// this order, because a container that has ended may be started again at once.
///
/// The run directory goes last: until the end is in the store, a daemon that is
/// started in our place finds the exits there.
pub(super) async fn finish(context: &Context, id: ContainerId, failure: Option<String>) {
    context.stacks.leave(id);
    blocking(context, id, |context, id| system::clear(&context.config, &context.programs, id))
        .await;
    let stored = context.core.tell(match failure {
        Some(why) => {
            tracing::warn!(container = %id, why, "a container could not be started");
            Event::StartFailed { container: id, why }
        }
        None => Event::Ended { container: id },
    });
    let stored = stored.await;
    // Its cable goes with the namespace: not before the engine knows that it
    // shall, or it would be missed.
    context.stacks.remove(id);
    if !stored {
        return;
    }
    blocking(context, id, setup::clear_run_dir).await;
    // Deleting for good is slow, and nobody waits for it.
    let context = context.clone();
    tokio::task::spawn_blocking(move || setup::empty_trash(&context.config));
}

async fn blocking(context: &Context, id: ContainerId, work: fn(&Context, ContainerId)) {
    let context = context.clone();
    if let Err(err) = tokio::task::spawn_blocking(move || work(&context, id)).await {
        tracing::error!(container = %id, %err, "clearing up ended unexpectedly");
    }
}

/// Waits for a supervisor that we started: it must not stay a zombie.
pub(super) async fn reap(id: ContainerId, supervisor: Option<Child>) {
    let Some(mut supervisor) = supervisor else { return };
    match tokio::task::spawn_blocking(move || supervisor.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!(container = %id, %status, "the supervisor ended badly"),
        Ok(Err(err)) => tracing::warn!(container = %id, %err, "cannot wait"),
        Err(err) => tracing::error!(container = %id, %err, "waiting ended"),
    }
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
