//! The throw-away host of tests on Linux.

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
mod world;

pub use daemon::{Kleened, SOCKET};
pub use error::{Result, WorldError};
pub use http::Reply;
pub use output::{Output, Pump};
pub use process::{Background, Run};
pub use requires::{skip, target_dir};
pub use snapshot::Snapshot;
pub use world::{FAR4, FAR6, Netns, OUTSIDE4, OUTSIDE6, WORLD4, WORLD6, World};
