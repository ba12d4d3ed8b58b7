//! Work that takes time: what the engine asks for as [`Job`]s, done here and
//! reported back as events.

mod adoption;
mod attachments;
mod ending;
mod images;
mod killing;
mod setup;
mod warden;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kleene_engine::change::Owned;
use kleene_engine::{Event, Job};
use kleene_model::{ContainerId, RunState};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::core::Core;
use crate::system::{self, Descriptors, Programs, Stacks};

pub(crate) use attachments::{Attachments, Expected};
pub(crate) use images::{Forgotten, Images};
use warden::Order;

/// What every job may use.
#[derive(Clone)]
pub(crate) struct Context {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The engine.
    pub(crate) core: Core,
    /// The containers' network stacks.
    pub(crate) stacks: Stacks,
    /// The clients that wait for output.
    pub(crate) attachments: Attachments,
    /// The programs.
    pub(crate) programs: Arc<Programs>,
    /// The images that are being made.
    pub(crate) images: Images,
    /// How many files containers may have open.
    pub(crate) descriptors: Descriptors,
    /// What containers left behind that had stopped when the daemon started.
    pub(crate) left_behind: Arc<setup::Owed>,
}

/// The task that stays with a container while it has processes.
struct Post {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

/// Does jobs until the engine is gone.
pub(crate) async fn run(context: Context, mut jobs: mpsc::UnboundedReceiver<Job>) {
    tidy_up(&context).await;
    let mut posts: HashMap<ContainerId, Post> = HashMap::new();
    while let Some(job) = jobs.recv().await {
        posts.retain(|_, post| !post.task.is_finished());
        match job {
            Job::Prepare { container } => {
                let (orders, inbox) = mpsc::unbounded_channel();
                let id = container.id;
                let before = posts.remove(&id).map(|post| post.task);
                let task = tokio::spawn(warden::prepare(context.clone(), container, inbox, before));
                posts.insert(id, Post { orders, task });
            }
            Job::Adopt { container } => {
                let (orders, inbox) = mpsc::unbounded_channel();
                let task = tokio::spawn(adoption::adopt(context.clone(), container, inbox, None));
                posts.insert(container, Post { orders, task });
            }
            Job::Launch { container } => order(&context, &posts, container, Order::Launch),
            Job::StartExec(spec) => order(&context, &posts, spec.container, Order::Exec(spec)),
            Job::SignalExec { exec, container, force } => {
                order(&context, &posts, container, Order::Signal { exec, force });
            }
            Job::Acknowledge { exec, container } => {
                // A container that has ended has nobody left to tell.
                if let Some(post) = posts.get(&container) {
                    drop(post.orders.send(Order::Acknowledge { exec }));
                }
            }
            Job::Resize { exec, container, window } => {
                order(&context, &posts, container, Order::Resize { exec, window });
            }
            Job::Stop { container, grace_ms } => {
                order(&context, &posts, container, Order::Stop { grace_ms });
            }
            Job::Kill { container } => order(&context, &posts, container, Order::Kill),
            Job::Discard { container } => {
                tokio::task::spawn_blocking({
                    let context = context.clone();
                    move || setup::discard(&context, container)
                });
            }
            Job::Sweep { links } => drop(tokio::spawn(sweep(context.clone(), links))),
        }
    }
}

/// Before any job, since afterwards a container may be younger than our list of
/// those that are known.
async fn tidy_up(context: &Context) {
    let state = context.core.snapshot();
    let known = state.containers().map(|container| container.id).collect();
    let stopped = state.containers().filter(|container| container.run == RunState::Stopped);
    let stopped = stopped.map(|container| container.id).collect();
    let collected = tokio::task::spawn_blocking({
        let context = context.clone();
        move || {
            setup::find_stopped(&context, &stopped);
            setup::collect_garbage(&context, &known);
        }
    });
    if let Err(err) = collected.await {
        tracing::error!(%err, "looking for what was left behind ended unexpectedly");
    }
    let context = context.clone();
    tokio::task::spawn_blocking(move || setup::clear_up(&context));
}

/// Hands an order to a container's warden. A warden that is about to end
/// reports the container's end itself, when everything is cleared up; a
/// container without one has no process and has ended.
fn order(
    context: &Context,
    posts: &HashMap<ContainerId, Post>,
    container: ContainerId,
    order: Order,
) {
    let undelivered = match posts.get(&container) {
        Some(post) => post.orders.send(order).err().map(|err| err.0),
        None => {
            context.core.event(Event::Ended { container });
            Some(order)
        }
    };
    if let Some(order) = undelivered {
        warden::refuse(context, &order);
    }
}

/// Deletes links that are out of use; `system::sweep` tries as long as it is worth
/// while. Names that are not reported stay held.
async fn sweep(context: Context, links: Vec<Owned>) {
    match tokio::task::spawn_blocking(move || system::sweep(&links)).await {
        Ok(Ok(links)) => context.core.event(Event::Swept { links }),
        Ok(Err(err)) => {
            let why = kleene_engine::host::chain(&err);
            tracing::warn!(why, "links that are out of use could not be deleted");
        }
        Err(err) => tracing::error!(%err, "a sweep ended unexpectedly"),
    }
}

/// Finds the programs beside `kleened` itself.
///
/// # Errors
/// The first that is missing, by name.
pub(crate) fn programs() -> Result<Programs, String> {
    let own =
        std::env::current_exe().map_err(|err| format!("cannot find my own program: {err}"))?;
    Ok(Programs::find(own.parent().unwrap_or(Path::new("/")))?)
}

#[cfg(test)]
pub(crate) mod tests;
