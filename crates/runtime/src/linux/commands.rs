//! What the commands do.

use std::{error::Error, path::Path};

use libcontainer::{
    container::{Container, builder::ContainerBuilder},
    signal::Signal,
    syscall::syscall::SyscallType,
};

use super::{
    RuntimeError,
    args::{Command, Invocation},
    bundle::Bundle,
    cgroup,
    executor::FilteringExecutor,
};

type Source = Box<dyn Error + Send + Sync>;

/// Runs a command.
pub(super) fn run(invocation: Invocation) -> Result<(), RuntimeError> {
    let Invocation { root, id, command } = invocation;
    let fail = |step| {
        let id = id.clone();
        move |source: Source| RuntimeError::Container { step, id, source }
    };
    match command {
        Command::Create { bundle, pid_file, start } => {
            let made = create(&root, &id, &bundle, pid_file.as_deref());
            Bundle::remove(&root, &id);
            let mut container = made?;
            if start {
                start_or_undo(&mut container).map_err(fail("start"))?;
            }
            Ok(())
        }
        Command::Start => load(&root, &id)
            .and_then(|mut container| container.start().map_err(Source::from))
            .map_err(fail("start")),
        Command::Kill { signal } => {
            let parsed = Signal::try_from(signal.as_str());
            let signal = parsed.map_err(|_| RuntimeError::Signal(signal.clone()))?;
            load(&root, &id)
                .and_then(|mut container| container.kill(signal, false).map_err(Source::from))
                .map_err(fail("signal"))
        }
        Command::Delete { force } => {
            Bundle::remove(&root, &id);
            if force && !root.join(&id).exists() {
                return Ok(());
            }
            load(&root, &id)
                .and_then(|mut container| container.delete(force).map_err(Source::from))
                .map_err(fail("delete"))
        }
        Command::State => {
            let container = load(&root, &id).map_err(fail("find"))?;
            serde_json::to_writer_pretty(std::io::stdout(), &container.state)
                .map_err(|error| fail("print")(error.into()))
        }
    }
}

fn load(root: &Path, id: &str) -> Result<Container, Source> {
    let mut container = Container::load(root.join(id))?;
    container.refresh_status()?;
    Ok(container)
}

fn create(
    root: &Path,
    id: &str,
    bundle: &Path,
    pid_file: Option<&Path>,
) -> Result<Container, RuntimeError> {
    let bundle = Bundle::prepare(bundle, root, id)?;
    cgroup::enter(bundle.cgroups_path.as_deref())?;
    let build = || -> Result<Container, Source> {
        let executor = FilteringExecutor::new(&bundle.capabilities)?;
        let container = ContainerBuilder::new(id.to_owned(), SyscallType::default())
            .with_executor(executor)
            .with_pid_file(pid_file)?
            .with_root_path(root)?
            .validate_id()?
            .as_init(&bundle.dir)
            // It takes the host's cgroup manager for systemd otherwise.
            .with_systemd(false)
            .with_detach(true)
            .build()?;
        Ok(container)
    };
    build().map_err(|source| RuntimeError::Container { step: "create", id: id.to_owned(), source })
}

/// `run` leaves nothing behind when it fails.
fn start_or_undo(container: &mut Container) -> Result<(), Source> {
    container.start().map_err(|error| {
        let _ = container.delete(true);
        Source::from(error)
    })
}
