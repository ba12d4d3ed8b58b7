//! See `main.rs`.
#![allow(clippy::print_stdout, reason = "a proof is there to be read")]

mod directed;
mod ending;
mod facts;
mod flow;
mod generate;
mod hub;
mod judge;
mod options;
mod place;
mod ports;
mod probe;
mod proof;
mod rng;
mod ruleset;
mod run;
mod sabotage;
mod shrink;
mod stage;
mod table;
mod topology;

use options::Options;
use std::process::ExitCode;

/// The program.
pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((word, rest)) if word == "probe" => probe::main(rest).map(|()| true),
        Some((word, rest)) if word == "sabotage" => {
            Options::read(rest).and_then(|options| sabotage::run(&options))
        }
        _ => Options::read(&args).and_then(|options| proof::run(&options)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("kleene-policy: {why}");
            ExitCode::from(2)
        }
    }
}
