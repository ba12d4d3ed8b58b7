//! The runtime on Linux.

mod args;
mod bundle;
mod cgroup;
mod commands;
mod executor;
mod seccomp;
#[allow(unsafe_code, reason = "seccomp(2) has no safe interface")]
mod sys;

use std::{error::Error, io::Write as _, process::ExitCode};

/// Why a command failed. The sources say more; all are printed.
#[derive(Debug, thiserror::Error)]
enum RuntimeError {
    #[error("{0}; usage: kleene-runtime --root DIR COMMAND [options] ID")]
    Usage(String),
    #[error("cannot {step} {subject}")]
    Io {
        step: &'static str,
        subject: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the container's configuration {subject}")]
    Config {
        subject: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot {step} container {id}")]
    Container {
        step: &'static str,
        id: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("{0:?} is not a signal")]
    Signal(String),
}

/// The program.
pub(crate) fn main() -> ExitCode {
    // What libcontainer's processes inside the container have to say comes by
    // way of its log only.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::ERROR)
        .with_ansi(false)
        .without_time()
        .with_writer(std::io::stderr)
        .init();
    let result = args::parse(std::env::args_os().skip(1)).and_then(commands::run);
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut text = format!("kleene-runtime: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
