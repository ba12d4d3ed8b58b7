//! Kleene held to its promises on a real FreeBSD, by hand:
//!
//! ```text
//! freebsd-accept [--dir DIR] [--only WORD]… [--record FILE] [--replace-pf]
//! freebsd-accept --list
//! ```
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    kleene_e2e::freebsd::main(&words)
}
