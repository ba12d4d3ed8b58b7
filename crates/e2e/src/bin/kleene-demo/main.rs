//! What Kleene does, shown on a throw-away host: a transcript in which each
//! claim is checked against the kernel and from inside the container.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    kleene_e2e::nothing_to_do_here("kleene-demo")
}
