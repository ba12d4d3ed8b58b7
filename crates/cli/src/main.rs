//! `klee`, the client of Kleene.
//!
//! Three steps: [`cli`] holds exactly what was typed; each verb turns that
//! into a request without asking anybody; then it talks to the daemon. What a
//! command prints goes through [`ui::Ui`]; why it failed, and with which exit
//! code, stands in [`failure::Failure`].
#![forbid(unsafe_code)]

mod api;
mod attach;
mod cli;
mod client;
mod completion;
mod config;
mod container;
mod details;
mod durations;
mod execution;
mod failure;
mod filter;
mod image;
mod interrupts;
mod json;
mod look;
mod mounts;
mod names;
mod network;
mod output;
mod ports;
mod session;
mod socket;
mod stdio;
mod table;
mod target;
mod terminal;
mod ui;
mod value;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, Noun};
use crate::client::Client;
use crate::failure::Failure;
use crate::ui::Ui;

fn main() -> ExitCode {
    // A shell may ask what could be typed next; nothing else is done then.
    let asked = completion::answer();
    let cli = match asked.and_then(|done| if done { Ok(None) } else { Cli::try_parse().map(Some) })
    {
        Ok(Some(cli)) => cli,
        Ok(None) => return ExitCode::SUCCESS,
        Err(err) => {
            // Whoever closed the stream does not want to read it.
            err.print().ok();
            return ExitCode::from(if err.use_stderr() { 2 } else { 0 });
        }
    };
    let runs_a_command = cli.command.runs_a_command();
    let mut ui = Ui::standard();
    match start(&mut ui, cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            ui.failure(None, &failure);
            ExitCode::from(failure.exit_code(runs_a_command))
        }
    }
}

/// Settings, runtime, command.
fn start(ui: &mut Ui, cli: Cli) -> Result<u8, Failure> {
    let noun = match cli.command {
        Command::Noun(noun) => noun,
        Command::Shortcut(shortcut) => shortcut.into(),
        // Needs no daemon.
        Command::Completions { shell } => return completion::print_script(ui, shell).map(|()| 0),
    };
    let client = Client::new(config::target(&cli.settings)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "start", source })?;
    runtime.block_on(dispatch(ui, &client, noun))
}

async fn dispatch(ui: &mut Ui, client: &Client, noun: Noun) -> Result<u8, Failure> {
    match noun {
        Noun::Container { command } => container::dispatch(ui, client, command).await,
        Noun::Image { command } => image::dispatch(ui, client, command).await,
        Noun::Network { command } => network::dispatch(ui, client, command).await,
    }
}
