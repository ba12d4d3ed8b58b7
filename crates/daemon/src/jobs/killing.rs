//! Ending a container whose supervisor cannot be asked to do it.

use std::time::{Duration, Instant};

use kleene_engine::host::chain;
use kleene_host::linux::cgroup::Tree;
use kleene_model::ContainerId;
use kleene_supervise::client;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Context;
use super::setup::{cgroup, is_dead};

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
    let killed = cgroup(context, id).and_then(|name| {
        let tree = Tree::find().map_err(|err| chain(&err))?;
        tree.kill(&name).map_err(|err| chain(&err))
    });
    if let Err(why) = killed {
        tracing::warn!(container = %id, why, "the container's cgroup cannot be killed");
    }
    let dir = context.config.run_dir(id);
    let until = Instant::now() + WRITE_LIMIT;
    while !is_dead(&dir) {
        if Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        match kill_listener(&dir) {
            Ok(()) => {
                tracing::warn!(container = %id, "the supervisor did not answer, and was killed")
            }
            Err(why) => tracing::warn!(container = %id, why, "the supervisor cannot be killed"),
        }
        return;
    }
}

/// Kills who listens on a run directory's socket.
fn kill_listener(dir: &std::path::Path) -> Result<(), String> {
    let listener = || -> Result<Pid, String> {
        let stream = client::connect(dir).map_err(|err| chain(&err))?;
        let peer =
            socket_peercred(&stream).map_err(|err| format!("cannot tell who it is: {err}"))?;
        Ok(peer.pid)
    };
    let pid = listener()?;
    let process = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|err| format!("cannot open process {pid:?}: {err}"))?;
    // It listens still, so that the number was its own when it was opened.
    if listener()? != pid {
        return Err("another process has taken its place".to_owned());
    }
    pidfd_send_signal(process, Signal::KILL).map_err(|err| err.to_string())
}
