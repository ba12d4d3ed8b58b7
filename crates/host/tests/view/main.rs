//! Views against a real kernel, each test in network namespaces of its own.
//! What the kernel has is asked with `ip`, not with our own code.
#![cfg(target_os = "linux")]

mod furnish;
mod sync;
mod watch;
mod world;
