//! From a configuration to a daemon that serves, and back down.

use std::sync::Arc;
use std::time::Duration;

use kleene_engine::{Command, Effect, Engine};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, App, Peer};
use crate::config::{Address, Config};
use crate::core::Core;
use crate::jobs::{self, Attachments, Context, Images};
use crate::listen::{Listener, listen};
use crate::reload::Reload;
use crate::root;
use crate::store::SqliteStore;
use crate::system::{self, Descriptors, Firewalls, Monitor, Programs, Reader, Stacks};

/// The name of the fact that tells boots apart.
const BOOT: &str = "boot";

/// How long open connections may take to end.
const END_LIMIT: Duration = Duration::from_secs(3);

/// Serves until TERM or INT; at HUP the configuration is read again.
///
/// # Errors
/// Why the daemon cannot run, in one line.
pub(crate) fn serve(config: Config, reload: Reload) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("kleened must run as root: sudo kleened".to_owned());
    }
    let programs = jobs::programs()?;
    let lock = root::take(&config)?;
    let descriptors = Descriptors::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| format!("cannot start the runtime: {err}"))?;
    let served = runtime.block_on(run(Arc::new(config), Arc::new(programs), descriptors, reload));
    // A job that hangs must not keep the daemon alive, and none may still be at
    // work on the root when another daemon gets it: the process ends next.
    runtime.shutdown_timeout(END_LIMIT);
    if served.is_ok() {
        tracing::info!("kleened has ended");
    }
    std::mem::forget(lock);
    served
}

async fn run(
    config: Arc<Config>,
    programs: Arc<Programs>,
    descriptors: Descriptors,
    reload: Reload,
) -> Result<(), String> {
    // Without a handler it would end the daemon.
    let hangup = signal(SignalKind::hangup());
    let hangup = hangup.map_err(|err| format!("cannot wait for signals: {err}"))?;
    let stacks = Stacks::default();
    let attachments = Attachments::default();
    let images = Images::default();
    let mut listeners = Vec::new();
    for address in &config.addresses {
        listeners.push(listen(address, config.socket_group.as_deref()).await?);
    }
    let mut measured = Vec::new();
    for address in &config.metrics {
        measured.push(listen(address, config.socket_group.as_deref()).await?);
    }
    if config.addresses.iter().any(|address| matches!(address, Address::Tcp(_))) {
        tracing::warn!(
            "the API is served over TCP: every local user and every container with the host \
             driver is root on this host"
        );
    }
    let (queue, jobs) = mpsc::unbounded_channel();
    // It has to be open before the host is looked at.
    let (hand_over, monitor) = std::sync::mpsc::channel();
    let core = Core::start(queue, {
        let (config, stacks) = (Arc::clone(&config), stacks.clone());
        move || engine(&config, &stacks, &hand_over)
    })?;
    let monitor = monitor.recv().map_err(|_| "the engine ended while it started")?;
    monitor.follow(core.clone())?;
    let firewalls = Firewalls::start(core.clone(), config.instance.clone())?;
    stacks.keep()?;
    let context = Context {
        config: Arc::clone(&config),
        core: core.clone(),
        stacks: stacks.clone(),
        attachments: attachments.clone(),
        programs,
        descriptors,
        images: images.clone(),
        left_behind: Arc::default(),
    };
    tokio::spawn(jobs::run(context, jobs));
    let deaf = system::hear_drops(core.clone()).err().map(String::from);
    if config.log_drops {
        told_from_the_start(&core, deaf.as_deref()).await;
    }
    tokio::spawn(reload.at_each(hangup, Arc::clone(&config), core.clone()));
    let app = App {
        core,
        stacks,
        reader: Reader::default(),
        deaf: deaf.map(Arc::from),
        config: Arc::clone(&config),
        attachments,
        images,
        firewalls,
        sockets: TaskTracker::new(),
        ending: CancellationToken::new(),
    };
    tracing::info!(root = %config.root.display(), instance = %config.instance, "kleened serves");
    let served = TaskTracker::new();
    for listener in listeners {
        served.spawn(serve_on(listener, api::router(app.clone()), app.ending.clone()));
    }
    for listener in measured {
        served.spawn(serve_on(listener, api::metrics_router(app.clone()), app.ending.clone()));
    }
    served.close();
    let served = finish(&app, &served).await;
    remove_sockets(&config);
    app.core.end().await;
    served
}

/// Waits for the signal to end, then for what is under way. Without its engine
/// the daemon could only refuse: it ends, so that who watches it starts another.
async fn finish(app: &App, served: &TaskTracker) -> Result<(), String> {
    let handle = |kind| signal(kind).map_err(|err| format!("cannot wait for signals: {err}"));
    let (mut term, mut int) = (handle(SignalKind::terminate())?, handle(SignalKind::interrupt())?);
    let ends = tokio::select! {
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
        () = app.core.stopped() => {
            Err("the engine has stopped unexpectedly: start kleened again".to_owned())
        }
    };
    match &ends {
        Ok(()) => tracing::info!("kleened ends; containers go on"),
        Err(why) => tracing::error!(why, "kleened ends; containers go on"),
    }
    app.ending.cancel();
    app.sockets.close();
    let ended = tokio::time::timeout(END_LIMIT, async {
        app.sockets.wait().await;
        served.wait().await;
    });
    if ended.await.is_err() {
        tracing::warn!("some clients did not end in time");
    }
    ends
}

/// Has blocked packets told of, as the configuration says.
async fn told_from_the_start(core: &Core, deaf: Option<&str>) {
    let done = match deaf {
        Some(why) => Err(why.to_owned()),
        None => core.command(Command::LogDrops { on: true }).await.map_err(|no| no.to_string()),
    };
    if let Err(why) = done {
        tracing::warn!(why, "log_drops: blocked packets cannot be told of");
    }
}

async fn serve_on(listener: Listener, routes: axum::Router, ending: CancellationToken) {
    let routes = routes.into_make_service_with_connect_info::<Peer>();
    let ending = async move { ending.cancelled().await };
    let served = match listener {
        Listener::Unix(unix) => axum::serve(unix, routes).with_graceful_shutdown(ending).await,
        Listener::Tcp(tcp) => axum::serve(tcp, routes).with_graceful_shutdown(ending).await,
    };
    if let Err(err) = served {
        tracing::error!(%err, "a listener ended");
    }
}

fn remove_sockets(config: &Config) {
    for address in config.addresses.iter().chain(&config.metrics) {
        if let Address::Unix(path) = address
            && let Err(err) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %err, "cannot remove the socket");
        }
    }
}

type Made = (Engine<system::Host, SqliteStore>, Vec<Effect>);

/// Runs on the engine's thread.
fn engine(
    config: &Config,
    stacks: &Stacks,
    hand_over: &std::sync::mpsc::Sender<Monitor>,
) -> Result<Made, String> {
    let chain = |err: &(dyn std::error::Error + 'static)| kleene_engine::host::chain(err);
    let boot = system::boot_id()?;
    let store = SqliteStore::open(&config.root.join("metadata.sqlite")).map_err(|e| chain(&e))?;
    let same_boot = store.fact(BOOT).map_err(|err| chain(&err))?.as_deref() == Some(&boot);
    let host = system::host(&config.instance, stacks)?;
    let monitor = Monitor::open(&host)?;
    // Whoever waits for it is there.
    drop(hand_over.send(monitor));
    store.set_fact(BOOT, &boot).map_err(|err| chain(&err))?;
    let (engine, effects, failure) =
        Engine::start(host, store, config.instance.clone(), config.subnet_pools.clone(), same_boot)
            .map_err(|e| chain(&e))?;
    if let Some(failure) = failure {
        let why = chain(&failure);
        tracing::error!(why, "the host could not be brought to the stored state");
    }
    Ok((engine, effects))
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
