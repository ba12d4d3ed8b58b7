//! The policy, proved with packets: topologies from a seed are made in throw-away
//! hosts, real TCP, UDP and ICMP flows of both families are sent through them, and
//! what becomes of each is compared with what `Policy::verdict` says.
//!
//! ```text
//! kleene-policy [--flows N] [--seed S] [--topologies T] [--first N]
//!               [--keep-going] [--table FILE]
//! kleene-policy sabotage [--seed S] [NAME…]
//! ```
#![forbid(unsafe_code)]
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

fn main() -> ExitCode {
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
