//! `kleened`: the daemon. Start-up, configuration, sockets, the store, and the
//! jobs that take time; it decides nothing, the engine does.
#![forbid(unsafe_code)]

mod api;
mod config;
mod core;
mod jobs;
mod listen;
mod log;
mod maintenance;
mod reload;
mod root;
mod start;
mod store;
mod system;
#[cfg(test)]
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Overrides};
use crate::log::Log;
use crate::reload::Reload;

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
    /// Make the directory or dataset of everything that Kleene keeps
    Init {
        /// Only tell what would be made
        #[arg(long)]
        dry_run: bool,
    },
    /// Tell what init would make
    Dryinit,
    /// Remove everything on this host that carries this daemon's mark
    Purge {
        /// Only tell what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = run(arguments);
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

fn run(Arguments { overrides, command }: Arguments) -> Result<(), String> {
    let config = Config::load(overrides.clone()).map_err(text)?;
    match command {
        None => {
            let log = Log::start(&config)?;
            start::serve(config, Reload { overrides, log })
        }
        Some(Action::Doctor) => maintenance::doctor(&config),
        Some(Action::Init { dry_run }) => maintenance::init(&config, dry_run),
        Some(Action::Dryinit) => maintenance::init(&config, true),
        Some(Action::Purge { dry_run }) => maintenance::purge(&config, dry_run),
    }
}

fn text(err: config::ConfigError) -> String {
    kleene_engine::host::chain(&err)
}
