//! Black-box tests of Kleene, and the throw-away host they run in.
//!
//! A [`World`] is one pretended host: its own processes, mounts, network,
//! host name and cgroups, joined to a second network namespace that plays
//! the rest of the world. Everything in it ends with its first process, and
//! its first process ends with the test. Tests ask the kernel with `ip -j`,
//! `ss` and packets, never with Kleene's own code.
#![forbid(unsafe_code)]

pub mod cgroup;
mod daemon;
mod error;
mod http;
#[doc(hidden)]
pub mod inside;
mod output;
mod process;
mod requires;
mod snapshot;
mod wait;
mod world;

pub use daemon::{Kleened, SOCKET};
pub use error::{Result, WorldError};
pub use http::Reply;
pub use output::{Output, Pump};
pub use process::{Background, Run};
pub use requires::{skip, target_dir};
pub use snapshot::Snapshot;
pub use wait::{poll, wait_until};
pub use world::{FAR4, FAR6, Netns, OUTSIDE4, OUTSIDE6, WORLD4, WORLD6, World};
