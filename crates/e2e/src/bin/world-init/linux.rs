//! See `main.rs`.

use kleene_e2e::inside;
use std::process::ExitCode;

/// The program.
pub(crate) fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match inside::main(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("world: {}", error.chain());
            ExitCode::from(inside::FAILED)
        }
    }
}
