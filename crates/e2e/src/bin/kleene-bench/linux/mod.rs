//! See `main.rs`.
#![allow(clippy::print_stdout, reason = "a benchmark is there to be read")]

mod figures;
mod memory;
mod moved;
mod page;
mod peers;
mod plot;
mod policy;
mod policy_page;
mod probe;
mod run;
mod run_report;
mod scale;
mod traffic;

use std::process::ExitCode;

/// What the command line says.
struct Options {
    rounds: usize,
    containers: usize,
    /// The most ports that are published.
    ports: u16,
    json: Option<String>,
    only: String,
}

/// The program.
pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kleene-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<(), String> {
    let (what, rest) = args.split_first().ok_or("what is to be measured?")?;
    match what.as_str() {
        "time" => run::time(rest),
        "probe" => probe::probe(rest),
        "page" => page::write(rest),
        "run" => run::bench(&options(rest)?),
        "net" => traffic::net(&options(rest)?),
        "ipnet" => traffic::ipnet(&options(rest)?),
        "policy" => policy::bench(&options(rest)?),
        "scale" => scale::bench(&options(rest)?),
        _ => Err(format!("there is no benchmark {what}")),
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let only = String::new();
    let mut options = Options { rounds: 20, containers: 1000, ports: 40_000, json: None, only };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{arg} needs a value"))?;
        let wrong = || format!("{arg} {value}?");
        let number = || value.parse().map_err(|_| wrong());
        match arg.as_str() {
            "--rounds" => options.rounds = number()?,
            "--containers" => options.containers = number()?,
            "--ports" => options.ports = value.parse().map_err(|_| wrong())?,
            "--json" => options.json = Some(value.clone()),
            "--only" => options.only.clone_from(value),
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    Ok(options)
}

/// Writes the numbers where they are wanted.
fn write_json(file: Option<&str>, all: &serde_json::Value) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, format!("{all:#}\n")).map_err(|error| format!("write {file}: {error}"))
}
