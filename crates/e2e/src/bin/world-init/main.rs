//! The processes of a world: see `kleene_e2e::inside`.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    kleene_e2e::nothing_to_do_here("world-init")
}
