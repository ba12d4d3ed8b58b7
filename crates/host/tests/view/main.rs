//! Views against a real kernel, each test in network namespaces of its own.
//! What the kernel has is asked with `ip`, not with our own code.
#![cfg(target_os = "linux")]

mod furnish;
mod sync;
#[path = "../common/testing.rs"]
mod testing;
mod watch;
mod world;
