//! The blocking half of a container's beginning and end: its directories, its
//! bundle, its supervisor, and their removal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use kleene_engine::host::chain;
use kleene_host::linux::bundle::{self, BundleError, BundleRequest, RootFs, Storage};
use kleene_host::linux::cgroup::{CgroupName, Tree};
use kleene_host::linux::image::HostUsr;
use kleene_host::linux::mounts::Bind;
use kleene_host::linux::storage;
use kleene_model::{Container, ContainerId, Driver, Jail, LinkName};
use kleene_supervise::client;
use kleene_supervise::proto::{
    self, Decoder, FrameKind, FromSupervisor, LogLimits, NetworkNamespace, Setup, SetupFailure,
    ToSupervisor,
};

use tokio::net::UnixStream;

use super::Context;
use super::clear::clear;
use super::warden::nonblocking;

/// How long a supervisor may take to make the namespaces.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long the kernel may take to let a cgroup go.
pub(super) const CGROUP_LIMIT: Duration = Duration::from_secs(2);

/// Where the OCI runtime keeps its state, below the daemon's root.
pub(super) const RUNTIME_ROOT: &str = "runtime";

/// A supervisor that has made its namespaces and waits for the network.
pub(super) struct Made {
    pub(super) stream: UnixStream,
    pub(super) decoder: Decoder,
    pub(super) netns: Option<OwnedFd>,
    pub(super) supervisor: Child,
}

/// Whether containers of a driver see the host's interfaces in a view.
pub(super) fn has_view(driver: Driver) -> bool {
    match driver {
        Driver::Ipnet | Driver::Disabled => true,
        Driver::Vnet | Driver::Host => false,
    }
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
    let lay_out = |storage| lay_out(context, container, addresses, storage);
    let (setup, run_dir) = overlay_or_copy(lay_out)?;
    let log = std::fs::File::create(run_dir.join("supervise.log"))
        .map_err(|err| format!("cannot make the supervisor's log: {err}"))?;
    let spawned = client::spawn(&context.programs.supervise, &run_dir, Stdio::from(log))
        .map_err(|err| chain(&err))?;
    // Before it is told anything, so that all it starts has the same.
    context.descriptors.give_back(&spawned.child);
    made(spawned.child, |decoder| {
        let copied = || lay_out(Storage::Copy).map_err(String::from);
        let netns = converse(&spawned.stream, decoder, setup, copied)?;
        if let Some(netns) = netns.as_ref().filter(|_| has_view(container.driver)) {
            let ping = Jail::parse(&container.jail_param)
                .is_ok_and(|jail| jail.raw_sockets(container.driver));
            context.views.furnish(container.id, netns, skip, ping)?;
        }
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

/// Why a container's files could not be laid out.
#[derive(Debug)]
enum NotLaidOut {
    /// This host mounts no overlay.
    NoOverlay(String),
    /// Anything else.
    Other(String),
}

impl From<String> for NotLaidOut {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<NotLaidOut> for String {
    fn from(why: NotLaidOut) -> Self {
        match why {
            NotLaidOut::NoOverlay(why) | NotLaidOut::Other(why) => why,
        }
    }
}

/// Lays out with overlays, or with a copy of the image where it shows already
/// now that the host mounts none. Where it does not, the supervisor notices.
fn overlay_or_copy<T>(lay_out: impl Fn(Storage) -> Result<T, NotLaidOut>) -> Result<T, String> {
    match lay_out(Storage::Overlay) {
        Err(NotLaidOut::NoOverlay(why)) => {
            tracing::warn!(why, "this host mounts no overlay: the image is copied");
            lay_out(Storage::Copy).map_err(String::from)
        }
        done => done.map_err(String::from),
    }
}

/// Says `Setup` and waits for `Ready`; once more with a copy of the image
/// where the host cannot mount overlays. Gives the network namespace that came
/// with it.
fn converse(
    stream: &StdUnixStream,
    decoder: &mut Decoder,
    setup: Setup,
    copied: impl Fn() -> Result<(Setup, std::path::PathBuf), String>,
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
                let (setup, _) = copied()?;
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

/// Makes the container's directories and bundle.
fn lay_out(
    context: &Context,
    container: &Container,
    addresses: &[IpAddr],
    storage: Storage,
) -> Result<(Setup, std::path::PathBuf), NotLaidOut> {
    let id = container.id.to_string();
    let dir = context.config.container_dir(container.id);
    let run_dir = context.config.run_dir(container.id);
    let log_dir = context.config.log_dir(container.id);
    for dir in [&run_dir, &log_dir] {
        make_dir(dir)?;
    }
    let image = HostUsr::ensure(&context.config.images_dir()).map_err(|err| chain(&err))?;
    let cgroup = cgroup(context, container.id)?;
    let tree = Tree::find().map_err(|err| chain(&err))?;
    let binds = container
        .mounts
        .iter()
        .map(|mount| Bind::new(&mount.source, &mount.destination, mount.read_only))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|err| chain(&err))?;
    let (driver, netns) = match container.driver {
        Driver::Vnet => (bundle::Driver::Vnet, NetworkNamespace::New),
        Driver::Host => (bundle::Driver::Host, NetworkNamespace::Host),
        Driver::Ipnet | Driver::Disabled => (bundle::Driver::View, NetworkNamespace::New),
    };
    let jail = Jail::parse(&container.jail_param).map_err(|refusal| refusal.to_string())?;
    let raw_sockets = jail.raw_sockets(container.driver);
    let bundle = bundle::write(&BundleRequest {
        id: &id,
        name: Some(container.name.as_str()),
        hostname: None,
        addresses,
        cgroup_mode: tree.mode(),
        driver,
        raw_sockets,
        netns: &run_dir.join("netns"),
        holder: &context.programs.holder,
        dir: &dir,
        image: &image,
        cgroup: &cgroup,
        binds: &binds,
        storage,
    })
    .map_err(|err| match err {
        BundleError::NoOverlay { .. } => NotLaidOut::NoOverlay(chain(&err)),
        other => NotLaidOut::Other(chain(&other)),
    })?;
    let setup = Setup {
        container: id,
        netns,
        rootfs: rootfs(bundle.rootfs),
        bundle: bundle.dir,
        runtime: context.programs.runtime.clone(),
        runtime_root: context.config.root.join(RUNTIME_ROOT),
        cgroup: tree.dir(&cgroup),
        log_dir,
        log: LogLimits::default(),
    };
    Ok((setup, run_dir))
}

fn rootfs(made: RootFs) -> proto::RootFs {
    match made {
        RootFs::Overlay { lower, upper, work, merged } => {
            proto::RootFs::Overlay { lower, upper, work, merged }
        }
        RootFs::Dir { path } => proto::RootFs::Dir { path },
    }
}

pub(super) fn cgroup(context: &Context, id: ContainerId) -> Result<CgroupName, String> {
    CgroupName::new(&context.config.cgroup(), &id.to_string()).map_err(|err| chain(&err))
}

fn make_dir(dir: &Path) -> Result<(), String> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|err| format!("cannot make {}: {err}", dir.display()))
}

/// Removes a container's run directory, and with it the exits that its
/// supervisor wrote down.
pub(super) fn clear_run_dir(context: &Context, id: ContainerId) {
    let removed =
        storage::remove_tree_later(&context.config.run_dir(id), &context.config.trash_dir());
    if let Err(err) = removed {
        tracing::warn!(container = %id, why = chain(&err), "the run directory stays");
    }
}

/// Deletes a removed container's files: at once out of sight, then for good.
pub(super) fn discard(context: &Context, id: ContainerId) {
    let dir = context.config.container_dir(id);
    if let Err(err) = storage::remove_tree_later(&dir, &context.config.trash_dir()) {
        tracing::warn!(container = %id, why = chain(&err), "the container's files stay");
    }
    empty_trash(context);
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
        let runtime = context.config.root.join(RUNTIME_ROOT).join(id.to_string());
        if (run_dir.exists() || runtime.exists()) && is_dead(&run_dir) {
            tracing::info!(container = %id, "left behind when the host went down");
            context.left_behind.add(*id);
        }
    }
}

/// Clears what was found and is still there, and then empties the trash.
pub(super) fn clear_up(context: &Context) {
    context.left_behind.settle_all(|id| clear_left_behind(context, id));
    empty_trash(context);
}

fn clear_left_behind(context: &Context, id: ContainerId) {
    clear(context, id);
    clear_run_dir(context, id);
}

/// Moves skeletons that no container stands on into the trash. Before any job,
/// since one that is about to be used is in no bundle yet.
fn forget_skeletons(context: &Context) {
    let containers = context.config.root.join("containers");
    let (images, trash) = (context.config.images_dir(), context.config.trash_dir());
    match HostUsr::remove_older(&images, &containers, &trash) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "older skeletons of the image host-usr are removed"),
        Err(err) => tracing::warn!(why = chain(&err), "older skeletons stay"),
    }
}

/// Moves the files of containers that are no more into the trash: a daemon that
/// was killed may have left them; and what of the image no container uses.
/// `known` are the containers there are.
pub(super) fn collect_garbage(context: &Context, known: &BTreeSet<ContainerId>) {
    let trash = context.config.trash_dir();
    for dir in ["containers", "run", RUNTIME_ROOT] {
        let entries = std::fs::read_dir(context.config.root.join(dir)).into_iter().flatten();
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What is not called like a container is not ours to remove.
            let Ok(id) = ContainerId::parse(&name) else { continue };
            if known.contains(&id) || !is_dead(&context.config.run_dir(id)) {
                continue;
            }
            tracing::info!(path = %path.display(), "left behind by a container that is no more");
            if let Err(err) = storage::remove_tree_later(&path, &trash) {
                tracing::warn!(why = chain(&err), "the files stay");
            }
        }
    }
    forget_skeletons(context);
}

/// Empties the trash, unless somebody is already at it: what comes in the
/// meantime goes with the next removal.
pub(super) fn empty_trash(context: &Context) {
    static AT_IT: Mutex<()> = Mutex::new(());
    let Ok(_alone) = AT_IT.try_lock() else { return };
    if let Err(err) = storage::empty_trash(&context.config.trash_dir()) {
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
    fn a_copy_is_made_where_overlays_are_not_mounted_and_for_no_other_reason() {
        let on = |overlay: fn() -> NotLaidOut| {
            overlay_or_copy(move |storage| match storage {
                Storage::Overlay => Err(overlay()),
                Storage::Copy => Ok(storage),
            })
        };
        assert_eq!(on(|| NotLaidOut::NoOverlay("none".to_owned())), Ok(Storage::Copy));
        assert_eq!(on(|| NotLaidOut::Other("full".to_owned())), Err("full".to_owned()));
        assert_eq!(overlay_or_copy(Ok), Ok(Storage::Overlay));
    }

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
