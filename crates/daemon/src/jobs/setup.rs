//! The blocking half of a container's beginning and end: its directories, its
//! bundle, its supervisor, and their removal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use kleene_engine::host::chain;
use kleene_model::{Container, ContainerId, LinkName};
use kleene_supervise::client;
use kleene_supervise::proto::{
    self, Decoder, FrameKind, FromSupervisor, Setup, SetupFailure, ToSupervisor,
};
use tokio::net::UnixStream;

use crate::config::Config;
use crate::system;

use super::Context;
use super::warden::nonblocking;

/// How long a supervisor may take to make the namespaces.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A supervisor that has made its namespaces and waits for the network.
pub(super) struct Made {
    pub(super) stream: UnixStream,
    pub(super) decoder: Decoder,
    pub(super) netns: Option<OwnedFd>,
    pub(super) supervisor: Child,
}

/// Makes everything that a container needs before its network. `skip` is the
/// interface in whose place a cable will stand in its view.
///
/// # Errors
/// What failed, in one line; nothing is left running, but files are.
pub(super) fn prepare(
    context: &Context,
    container: &Container,
    addresses: &[IpAddr],
    skip: Option<LinkName>,
) -> Result<Made, String> {
    context.left_behind.settle(container.id, || clear_left_behind(context, container.id));
    let Context { config, programs, .. } = context;
    let setup = system::lay_out(config, programs, container, addresses)?;
    let run_dir = config.run_dir(container.id);
    let log = std::fs::File::create(run_dir.join("supervise.log"))
        .map_err(|err| format!("cannot make the supervisor's log: {err}"))?;
    let spawned = client::spawn(&programs.supervise, &run_dir, Stdio::from(log))
        .map_err(|err| chain(&err))?;
    // Before it is told anything, so that all it starts has the same.
    context.descriptors.give_back(&spawned.child);
    made(spawned.child, |decoder| {
        let copied = || {
            let setup = system::lay_out_without_overlay(config, programs, container, addresses)?;
            Ok(setup)
        };
        let netns = converse(&spawned.stream, decoder, setup, copied)?;
        context.stacks.furnish(container, netns.as_ref(), skip)?;
        Ok((usable(spawned.stream)?, netns))
    })
}

/// A supervisor that gets ready, or is ended: nobody would speak with it.
pub(super) fn made(
    mut supervisor: Child,
    ready: impl FnOnce(&mut Decoder) -> Result<(UnixStream, Option<OwnedFd>), String>,
) -> Result<Made, String> {
    let mut decoder = Decoder::new();
    match ready(&mut decoder) {
        Ok((stream, netns)) => Ok(Made { stream, decoder, netns, supervisor }),
        Err(why) => {
            // It ends by itself when nobody speaks with it; this is quicker.
            put_down(&mut supervisor);
            Err(why)
        }
    }
}

/// Makes the connection one of this runtime.
pub(super) fn usable(stream: StdUnixStream) -> Result<UnixStream, String> {
    let usable = stream.set_read_timeout(None).and_then(|()| nonblocking(stream));
    usable.map_err(|err| format!("cannot talk to the supervisor: {err}"))
}

/// Ends a supervisor that we started.
pub(super) fn put_down(supervisor: &mut Child) {
    // Neither fails: it is our child, and was not waited for.
    drop(supervisor.kill());
    drop(supervisor.wait());
}

/// Says `Setup` and waits for `Ready`; once more with a copy of the image
/// where the host cannot mount overlays. Gives the network namespace that came
/// with it.
fn converse(
    stream: &StdUnixStream,
    decoder: &mut Decoder,
    setup: Setup,
    copied: impl Fn() -> Result<Setup, String>,
) -> Result<Option<OwnedFd>, String> {
    stream.set_read_timeout(Some(READY_LIMIT)).map_err(|err| err.to_string())?;
    client::send(stream, &ToSupervisor::Setup(setup)).map_err(|err| chain(&err))?;
    loop {
        let (frame, descriptor) =
            client::recv_with_fd(stream, decoder).map_err(|err| chain(&err))?;
        if frame.kind != FrameKind::Control {
            continue;
        }
        match proto::decode(&frame.payload).map_err(|err| chain(&err))? {
            FromSupervisor::Ready { .. } => return Ok(descriptor),
            FromSupervisor::SetupFailed { kind: SetupFailure::OverlayUnsupported, .. } => {
                tracing::warn!("this host mounts no overlay: the image is copied");
                let setup = copied()?;
                client::send(stream, &ToSupervisor::Setup(setup)).map_err(|err| chain(&err))?;
            }
            FromSupervisor::SetupFailed { step, message, .. } => {
                return Err(format!("cannot {step}: {message}"));
            }
            FromSupervisor::Error { message } => return Err(message),
            other => tracing::debug!(?other, "before Ready"),
        }
    }
}

/// Removes a container's run directory, and with it the exits that its
/// supervisor wrote down.
pub(super) fn clear_run_dir(context: &Context, id: ContainerId) {
    let removed = system::remove_later(&context.config.run_dir(id), &context.config.trash_dir());
    if let Err(err) = removed {
        tracing::warn!(container = %id, why = chain(&err), "the run directory stays");
    }
}

/// Deletes a removed container's files: at once out of sight, then for good.
pub(super) fn discard(context: &Context, id: ContainerId) {
    let dir = context.config.container_dir(id);
    if let Err(err) = system::remove_later(&dir, &context.config.trash_dir()) {
        tracing::warn!(container = %id, why = chain(&err), "the container's files stay");
    }
    if let Err(err) = system::discard_root(&context.config, id) {
        tracing::warn!(container = %id, why = chain(&err), "the container's root stays");
    }
    empty_trash(&context.config);
}

/// Whether a supervisor's error means that nobody listens on its socket; any
/// other error says nothing about whether it lives.
pub(super) fn is_nobody(err: &client::ClientError) -> bool {
    match err {
        client::ClientError::Connect { source, .. } => {
            matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        }
        _ => false,
    }
}

pub(super) fn is_dead(run_dir: &Path) -> bool {
    client::connect(run_dir).is_err_and(|err| is_nobody(&err))
}

/// Work that is owed to containers: done once for each, in the background or by
/// the first who needs it done.
#[derive(Default)]
pub(crate) struct Owed(Mutex<BTreeMap<ContainerId, Arc<Once>>>);

impl Owed {
    fn list(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Arc<Once>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: ContainerId) {
        self.list().insert(id, Arc::new(Once::new()));
    }

    /// Does the work, or waits for whoever is at it. Nothing where none is owed.
    fn settle(&self, id: ContainerId, work: impl FnOnce()) {
        let owed = self.list().get(&id).cloned();
        if let Some(owed) = owed {
            owed.call_once_force(|_| work());
            self.list().remove(&id);
        }
    }

    fn settle_all(&self, work: impl Fn(ContainerId)) {
        let all: Vec<ContainerId> = self.list().keys().copied().collect();
        for id in all {
            self.settle(id, || work(id));
        }
    }
}

/// Clears what containers that have stopped had only while they ran: a host
/// that went down took their supervisors before they could tell anybody. Whose
/// it is is found at once, before any of them is started again; clearing takes
/// tens of milliseconds for each, and is left to [`clear_up`].
pub(super) fn find_stopped(context: &Context, stopped: &BTreeSet<ContainerId>) {
    for id in stopped {
        let run_dir = context.config.run_dir(*id);
        let root = &context.config.root;
        let mut states = system::RUN_STATE.iter().map(|dir| root.join(dir).join(id.to_string()));
        if (run_dir.exists() || states.any(|state| state.exists())) && is_dead(&run_dir) {
            tracing::info!(container = %id, "left behind when the host went down");
            context.left_behind.add(*id);
        }
    }
}

/// Clears what was found and is still there, and then empties the trash.
pub(super) fn clear_up(context: &Context) {
    context.left_behind.settle_all(|id| clear_left_behind(context, id));
    empty_trash(&context.config);
}

fn clear_left_behind(context: &Context, id: ContainerId) {
    system::clear(&context.config, &context.programs, id);
    clear_run_dir(context, id);
}

/// Moves the files of containers that are no more into the trash: a daemon that
/// was killed may have left them; and what of the image no container uses.
/// `known` are the containers there are.
pub(super) fn collect_garbage(context: &Context, known: &BTreeSet<ContainerId>) {
    let trash = context.config.trash_dir();
    let mut used = known.clone();
    used.extend(living(context));
    for dir in ["containers", "run"].iter().chain(system::RUN_STATE) {
        let entries = std::fs::read_dir(context.config.root.join(dir)).into_iter().flatten();
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What is not called like a container is not ours to remove.
            let Ok(id) = ContainerId::parse(&name) else { continue };
            if used.contains(&id) {
                continue;
            }
            tracing::info!(path = %path.display(), "left behind by a container that is no more");
            if let Err(err) = system::remove_later(&path, &trash) {
                tracing::warn!(why = chain(&err), "the files stay");
            }
        }
    }
    if let Err(err) = system::forget_skeletons(&context.config) {
        tracing::warn!(why = chain(&err), "what no container stands on stays");
    }
    if let Err(err) = system::forget_roots(&context.config, &used) {
        tracing::warn!(why = chain(&err), "roots of containers that are no more stay");
    }
    if let Err(err) = context.images.collect(&context.core, &context.config) {
        tracing::warn!(why = chain(&err), "files of images that are not known stay");
    }
}

/// The containers whose supervisors live, known or not.
fn living(context: &Context) -> BTreeSet<ContainerId> {
    let entries = std::fs::read_dir(context.config.root.join("run")).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ids = names.filter_map(|name| ContainerId::parse(&name).ok());
    ids.filter(|id| !is_dead(&context.config.run_dir(*id))).collect()
}

/// Empties the trash, unless somebody is already at it: what comes in the
/// meantime goes with the next removal.
pub(super) fn empty_trash(config: &Config) {
    static AT_IT: Mutex<()> = Mutex::new(());
    let Ok(_alone) = AT_IT.try_lock() else { return };
    if let Err(err) = system::empty_trash(config) {
        tracing::warn!(why = chain(&err), "the trash could not be emptied");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_owed_is_done_once_and_delays_nobody_else() {
        const LIMIT: Duration = Duration::from_secs(10);
        let [first, second, none] =
            [1, 2, 3].map(|byte| ContainerId::from_bytes([0xc0, 0, 0, 0, 0, byte]).unwrap());
        let owed = Owed::default();
        let counts = [AtomicU32::new(0), AtomicU32::new(0)];
        let count = |id| {
            counts[usize::from(id == second)].fetch_add(1, Ordering::SeqCst);
        };
        owed.add(first);
        owed.add(second);
        let (at_it, is_at_it) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let (owed_to, counted) = (&owed, &count);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                owed_to.settle_all(|id| {
                    if id == first {
                        at_it.send(()).unwrap();
                        goes_on.recv_timeout(LIMIT).unwrap();
                    }
                    counted(id);
                });
            });
            is_at_it.recv_timeout(LIMIT).unwrap();
            // While the background is at the first, the second is not delayed.
            owed.settle(second, || count(second));
            assert_eq!(counts[1].load(Ordering::SeqCst), 1);
            owed.settle(none, || panic!("nothing is owed"));
            // Who needs the first waits for it.
            let waits = scope.spawn(|| {
                owed.settle(first, || panic!("it is under way"));
                counts[0].load(Ordering::SeqCst)
            });
            go_on.send(()).unwrap();
            assert_eq!(waits.join().unwrap(), 1);
        });
        assert_eq!(counts.map(AtomicU32::into_inner), [1, 1]);
        assert!(owed.list().is_empty());
    }
}
