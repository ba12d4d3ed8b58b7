//! `klee container …`

mod create;
mod exec;
mod manage;
mod port;
mod run;
mod show;

pub(crate) use create::CreateArgs;
pub(crate) use exec::{ExecArgs, RestartArgs, StartArgs};
pub(crate) use manage::{RenameArgs, RmArgs, StopArgs, UpdateArgs};
pub(crate) use port::{PortArgs, PublishArgs};
pub(crate) use run::RunArgs;
pub(crate) use show::{InspectContainerArgs, LogsArgs, LsArgs};

use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::ArgValueCompleter;

use crate::client::Client;
use crate::completion;
use crate::failure::Failure;
use crate::output::{self, PruneArgs};
use crate::ui::Ui;

/// A container.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OneContainer {
    /// Container: its name, or the beginning of its id
    #[arg(
        value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::containers)
    )]
    container: String,
}

/// Verbs of containers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ContainerCommand {
    /// Create a container
    Create(CreateArgs),
    /// Run a command in a new container
    Run(RunArgs),
    /// Start stopped containers; attached if there is only one and no --detach
    Start(StartArgs),
    /// Stop running containers
    Stop(StopArgs),
    /// Restart containers
    Restart(RestartArgs),
    /// Run a command in a container; a stopped one is started
    Exec(ExecArgs),
    /// List containers
    Ls(LsArgs),
    /// Display detailed information on a container
    Inspect(InspectContainerArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Remove all stopped containers that are not persistent
    Prune(PruneArgs),
    /// Show the output of a container
    Logs(LogsArgs),
    /// List the published ports of a container
    Port(PortArgs),
    /// Publish ports of a container, running or not
    Publish(PublishArgs),
    /// Publish ports no longer: HOST, as it was published
    Unpublish(PublishArgs),
    /// Rename a container
    Rename(RenameArgs),
    /// Modify a container; what is not given stays as it is
    Update(UpdateArgs),
}

pub(crate) async fn dispatch(
    ui: &mut Ui,
    client: &Client,
    command: ContainerCommand,
) -> Result<u8, Failure> {
    match command {
        ContainerCommand::Create(args) => create::create(ui, client, args).await,
        ContainerCommand::Run(args) => run::run(ui, client, args).await,
        ContainerCommand::Start(args) => exec::start(ui, client, args).await,
        ContainerCommand::Stop(args) => manage::stop(ui, client, args).await,
        ContainerCommand::Restart(args) => exec::restart(ui, client, args).await,
        ContainerCommand::Exec(args) => exec::exec(ui, client, args).await,
        ContainerCommand::Ls(args) => show::ls(ui, client, args).await,
        ContainerCommand::Inspect(args) => show::inspect(ui, client, args).await,
        ContainerCommand::Rm(args) => manage::rm(ui, client, args).await,
        ContainerCommand::Prune(args) => {
            let warning = "WARNING! This will remove all stopped containers.";
            output::prune(ui, client, &args, "/containers/prune".to_owned(), warning).await
        }
        ContainerCommand::Logs(args) => show::logs(client, args).await,
        ContainerCommand::Port(args) => port::port(ui, client, args).await,
        ContainerCommand::Publish(args) => port::publish(client, args).await,
        ContainerCommand::Unpublish(args) => port::unpublish(client, args).await,
        ContainerCommand::Rename(args) => manage::rename(ui, client, args).await,
        ContainerCommand::Update(args) => manage::update(ui, client, args).await,
    }
}
