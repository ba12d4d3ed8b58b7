//! `container run`

use clap_complete::engine::ArgValueCompleter;

use super::create::{self, ContainerOptions, Plan};
use super::manage;
use crate::client::Client;
use crate::completion;
use crate::execution::{Execution, IoArgs};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::ui::Ui;

/// `container run`
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    options: ContainerOptions,
    #[command(flatten)]
    io: IoArgs,
    /// Working directory of the command [default: /]
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "DIRECTORY")]
    workdir: String,
    /// Remove the container when the command has ended
    #[arg(long)]
    rm: bool,
    /// Image, and the command with its arguments in place of the image's
    #[arg(
        required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND]",
        add = ArgValueCompleter::new(completion::image_then_command)
    )]
    words: Vec<String>,
}

/// What the exit code of `run`, `exec` and `start` means.
pub(super) const EXIT_CODES: &str = "\
Exit code: the command's own; 125 when Kleene failed, 126 when the command cannot be run, 127 when \
it is not there, 130 or 143 when interrupted, 141 when standard output was closed.";

pub(super) async fn run(ui: &mut Ui, client: &Client, args: RunArgs) -> Result<u8, Failure> {
    let RunArgs { options, io, workdir, rm, words } = args;
    if rm && io.is_detached() {
        return Err(Failure::Unsupported {
            what: "--rm with --detach: remove the container with 'klee rmc' when it has ended",
        });
    }
    let plan = Plan::new(options, words)?;
    let mut interrupts = Interrupts::listen()?;
    let created = interrupts.shield(plan.carry_out(client)).await?;
    let id = created.output?;
    let result = match created.interrupted {
        Some(interrupt) => Err(interrupt.into()),
        None => {
            start(ui, client, &id, Execution { workdir, ..io.execution(&id) }, &mut interrupts)
                .await
        }
    };
    if rm || created.interrupted.is_some() {
        let removal = interrupts.shield(manage::remove_stopped(client, &id)).await?;
        if let Err(err) = removal.output {
            ui.note(&create::left_behind(&id, err));
        }
    }
    result
}

async fn start(
    ui: &mut Ui,
    client: &Client,
    id: &str,
    execution: Execution,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    if execution.detach {
        ui.data(id)?;
    } else if !execution.quiet {
        ui.talk(id)?;
    }
    execution.carry_out(ui, client, interrupts).await
}
