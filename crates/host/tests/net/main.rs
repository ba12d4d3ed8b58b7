//! The Linux host against a real kernel, each test in network namespaces of
//! its own. What the kernel has is asked with `ip`, not with our own code.
#![cfg(target_os = "linux")]

mod attach;
mod contract;
mod monitor;
mod refused;
mod scale;
#[path = "../common/testing.rs"]
mod testing;
mod world;
