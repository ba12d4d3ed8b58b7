//! Benchmarks of Kleene, each beside something that it is to be compared with,
//! measured in turns so that the machine's mood is the same for all.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    kleene_e2e::nothing_to_do_here("kleene-bench")
}
