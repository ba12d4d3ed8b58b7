//! `container exec`, `start` and `restart`: executions in a container that
//! exists.

use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::ArgValueCompleter;

use super::run::EXIT_CODES;
use crate::client::Client;
use crate::completion;
use crate::execution::{Execution, IoArgs};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::ui::Ui;

/// `container exec`
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    io: IoArgs,
    /// Environment variable; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User of the command [default: the container's]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    user: String,
    /// Working directory of the command [default: /]
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "DIRECTORY")]
    workdir: String,
    /// Container, and the command with its arguments in place of the container's
    #[arg(
        required = true, trailing_var_arg = true, value_name = "CONTAINER [COMMAND]",
        add = ArgValueCompleter::new(completion::container_then_command)
    )]
    words: Vec<String>,
}

/// `container start`
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    io: IoArgs,
    /// Containers to start
    #[arg(
        required = true, value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::containers)
    )]
    containers: Vec<String>,
}

/// `container restart`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RestartArgs {
    /// Seconds between the stop signal and the end [default: 3]
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Containers to restart
    #[arg(
        required = true, value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::containers)
    )]
    containers: Vec<String>,
}

pub(super) async fn exec(ui: &mut Ui, client: &Client, args: ExecArgs) -> Result<u8, Failure> {
    let ExecArgs { io, env, user, workdir, words } = args;
    let mut words = words.into_iter();
    let container = words.next().unwrap_or_default();
    let execution =
        Execution { env, user, workdir, cmd: words.collect(), ..io.execution(&container) };
    execution.carry_out(ui, client, &mut Interrupts::listen()?).await
}

pub(super) async fn start(ui: &mut Ui, client: &Client, args: StartArgs) -> Result<u8, Failure> {
    if !args.io.is_detached() && args.containers.len() != 1 {
        return Err(Failure::OneAtATime);
    }
    let mut interrupts = Interrupts::listen()?;
    if let [container] = &args.containers[..] {
        return args.io.execution(container).carry_out(ui, client, &mut interrupts).await;
    }
    let mut failed = false;
    for container in &args.containers {
        let execution = args.io.execution(container);
        let done = execution.carry_out(ui, client, &mut interrupts).await;
        failed |= report(ui, container, done)?;
    }
    if failed { Err(Failure::Reported) } else { Ok(0) }
}

pub(super) async fn restart(
    ui: &mut Ui,
    client: &Client,
    args: RestartArgs,
) -> Result<u8, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut failed = false;
    for container in &args.containers {
        let done = restart_one(ui, client, container, args.timeout, &mut interrupts).await;
        failed |= report(ui, container, done)?;
    }
    if failed { Err(Failure::Reported) } else { Ok(0) }
}

/// Stops it if it runs, and starts its own command.
async fn restart_one(
    ui: &mut Ui,
    client: &Client,
    container: &str,
    timeout: Option<u32>,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    match client.container_stop(container, timeout).await {
        Ok(id) => ui.data(&id)?,
        Err(err) if err.is("container-not-running", "container not running") => {}
        Err(err) => return Err(err.into()),
    }
    let io = IoArgs { detach: true, ..IoArgs::default() };
    io.execution(container).carry_out(ui, client, interrupts).await
}

/// Whether it failed; failures that end everything are passed on.
fn report(ui: &mut Ui, container: &str, done: Result<u8, Failure>) -> Result<bool, Failure> {
    match done {
        Ok(_) => Ok(false),
        Err(err @ (Failure::Interrupted { .. } | Failure::Stdout(_))) => Err(err),
        Err(err) => {
            // This one names the container itself.
            let named = matches!(err, Failure::ExecCreate { .. });
            ui.failure((!named).then_some(container), &err);
            Ok(true)
        }
    }
}
