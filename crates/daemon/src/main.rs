//! `kleened`: the daemon. Start-up, configuration, sockets, the store, and the
//! jobs that take time; it decides nothing, the engine does.
#![forbid(unsafe_code)]

mod api;
mod config;
mod core;
mod jobs;
mod listen;
mod maintenance;
mod root;
mod start;
mod store;
mod system;
#[cfg(test)]
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, LogFormat, Overrides};

/// The Kleene daemon: containers and networks of one host
#[derive(Parser)]
#[command(name = "kleened", version)]
struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Tell what this host lacks and what follows
    Doctor,
    /// Remove everything on this host that carries this daemon's mark
    Purge {
        /// Only tell what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => Config::load(arguments.overrides).map_err(text).and_then(|config| {
            log_to_stderr(&config);
            start::serve(config)
        }),
        Some(Action::Doctor) => {
            Config::load(arguments.overrides).map_err(text).and_then(|c| maintenance::doctor(&c))
        }
        Some(Action::Purge { dry_run }) => Config::load(arguments.overrides)
            .map_err(text)
            .and_then(|config| maintenance::purge(&config, dry_run)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Whoever starts the daemon by hand must see why it does not run,
            // also when logging is off.
            maintenance::complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn text(err: config::ConfigError) -> String {
    kleene_engine::host::chain(&err)
}

/// Log lines go to standard error, where service managers expect them.
fn log_to_stderr(config: &Config) {
    let Some(level) = config.log_level else { return };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
