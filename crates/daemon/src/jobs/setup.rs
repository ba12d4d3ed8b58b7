//! The blocking half of a container's beginning and end: its directories, its
//! bundle, its supervisor, and their removal.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use kleene_engine::host::chain;
use kleene_host::linux::bundle::{self, BundleRequest, RootFs, Storage};
use kleene_host::linux::cgroup::{CgroupName, Tree};
use kleene_host::linux::image::HostUsr;
use kleene_host::linux::mounts::Bind;
use kleene_host::linux::storage;
use kleene_model::{Container, ContainerId, Driver};
use kleene_supervise::client;
use kleene_supervise::proto::{
    self, Decoder, FrameKind, FromSupervisor, LogLimits, NetworkNamespace, Setup, SetupFailure,
    ToSupervisor,
};

use super::Context;

/// How long a supervisor may take to make the namespaces.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long the kernel may take to let a cgroup go.
const CGROUP_LIMIT: Duration = Duration::from_secs(2);

/// Where the OCI runtime keeps its state, below the daemon's root.
const RUNTIME_ROOT: &str = "runtime";

/// A supervisor that has made its namespaces and waits for the network.
pub(super) struct Made {
    pub(super) stream: UnixStream,
    pub(super) decoder: Decoder,
    pub(super) netns: Option<OwnedFd>,
    pub(super) supervisor: Child,
}

/// Makes everything that a container needs before its network.
///
/// # Errors
/// What failed, in one line; nothing is left running.
pub(super) fn prepare(
    context: &Context,
    container: &Container,
    addresses: &[IpAddr],
) -> Result<Made, String> {
    let (setup, run_dir) = lay_out(context, container, addresses, Storage::Overlay)?;
    let log = std::fs::File::create(run_dir.join("supervise.log"))
        .map_err(|err| format!("cannot make the supervisor's log: {err}"))?;
    let spawned = client::spawn(&context.programs.supervise, &run_dir, Stdio::from(log))
        .map_err(|err| chain(&err))?;
    let mut made = Made {
        stream: spawned.stream,
        decoder: Decoder::new(),
        netns: None,
        supervisor: spawned.child,
    };
    let ready =
        converse(&mut made, setup, || lay_out(context, container, addresses, Storage::Copy));
    let ready = ready.and_then(|()| {
        made.stream.set_read_timeout(None).map_err(|err| err.to_string())?;
        made.stream.set_nonblocking(true).map_err(|err| err.to_string())
    });
    if let Err(why) = ready {
        // It ends by itself when nobody speaks with it; this is quicker.
        drop(made.supervisor.kill());
        drop(made.supervisor.wait());
        clear(context, container.id);
        return Err(why);
    }
    Ok(made)
}

/// Says `Setup` and waits for `Ready`; once more with a copy of the image
/// where the host cannot mount overlays.
fn converse(
    made: &mut Made,
    setup: Setup,
    copied: impl Fn() -> Result<(Setup, std::path::PathBuf), String>,
) -> Result<(), String> {
    made.stream.set_read_timeout(Some(READY_LIMIT)).map_err(|err| err.to_string())?;
    client::send(&made.stream, &ToSupervisor::Setup(setup)).map_err(|err| chain(&err))?;
    loop {
        let (frame, descriptor) =
            client::recv_with_fd(&made.stream, &mut made.decoder).map_err(|err| chain(&err))?;
        if frame.kind != FrameKind::Control {
            continue;
        }
        match proto::decode(&frame.payload).map_err(|err| chain(&err))? {
            FromSupervisor::Ready { .. } => {
                made.netns = descriptor;
                return Ok(());
            }
            FromSupervisor::SetupFailed { kind: SetupFailure::OverlayUnsupported, .. } => {
                tracing::warn!("this host mounts no overlay: the image is copied");
                let (setup, _) = copied()?;
                client::send(&made.stream, &ToSupervisor::Setup(setup))
                    .map_err(|err| chain(&err))?;
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
) -> Result<(Setup, std::path::PathBuf), String> {
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
        Driver::Ipnet | Driver::Disabled => {
            return Err(format!("unsupported: the network driver '{}'", container.driver));
        }
    };
    let bundle = bundle::write(&BundleRequest {
        id: &id,
        name: Some(container.name.as_str()),
        hostname: None,
        addresses,
        cgroup_mode: tree.mode(),
        driver,
        netns: &run_dir.join("netns"),
        holder: &context.programs.holder,
        dir: &dir,
        image: &image,
        cgroup: &cgroup,
        binds: &binds,
        storage,
    })
    .map_err(|err| chain(&err))?;
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

fn cgroup(context: &Context, id: ContainerId) -> Result<CgroupName, String> {
    CgroupName::new(&context.config.cgroup(), &id.to_string()).map_err(|err| chain(&err))
}

fn make_dir(dir: &Path) -> Result<(), String> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|err| format!("cannot make {}: {err}", dir.display()))
}

/// Removes what a container has only while it runs.
pub(super) fn clear(context: &Context, id: ContainerId) {
    clear_runtime(context, id);
    let removed =
        storage::remove_tree_later(&context.config.run_dir(id), &context.config.trash_dir());
    if let Err(err) = removed {
        tracing::warn!(container = %id, why = chain(&err), "the run directory stays");
    }
    let cgroup = cgroup(context, id).and_then(|name| {
        let tree = Tree::find().map_err(|err| chain(&err))?;
        tree.remove(&name, CGROUP_LIMIT).map_err(|err| chain(&err))?;
        // The daemon's own goes with its last container.
        tree.remove_parent(&name).map_err(|err| chain(&err))
    });
    if let Err(why) = cgroup {
        tracing::warn!(container = %id, why, "the cgroup stays");
    }
}

/// A supervisor that was killed could not tell the OCI runtime to forget the
/// container.
fn clear_runtime(context: &Context, id: ContainerId) {
    let root = context.config.root.join(RUNTIME_ROOT);
    if !root.join(id.to_string()).exists() {
        return;
    }
    let deleted = std::process::Command::new(&context.programs.runtime)
        .arg("--root")
        .arg(&root)
        .args(["delete", "--force", &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    match deleted {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            tracing::warn!(container = %id, why, "the OCI runtime does not forget the container");
        }
        Err(err) => tracing::warn!(container = %id, %err, "cannot start the OCI runtime"),
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

fn is_dead(run_dir: &Path) -> bool {
    client::connect(run_dir).is_err_and(|err| is_nobody(&err))
}

/// Clears what containers that have stopped had only while they ran: a host
/// that went down took their supervisors before they could tell anybody.
pub(super) fn clear_stopped(context: &Context, stopped: &BTreeSet<ContainerId>) {
    for id in stopped {
        let run_dir = context.config.run_dir(*id);
        let runtime = context.config.root.join(RUNTIME_ROOT).join(id.to_string());
        if (run_dir.exists() || runtime.exists()) && is_dead(&run_dir) {
            tracing::info!(container = %id, "left behind when the host went down");
            clear(context, *id);
        }
    }
}

/// Moves the files of containers that are no more into the trash: a daemon that
/// was killed may have left them. `known` are the containers there are.
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
