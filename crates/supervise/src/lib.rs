//! The parent of one container's processes, and how to talk to it.
//!
//! Two programs come from this crate: `kleene-supervise`, which stays outside
//! the container and outlives the daemon, and `kleene-holder`, the container's
//! process number one. The library is what the daemon needs of them, and what
//! the two share.

#![forbid(unsafe_code)]

pub mod client;
pub mod exits;
pub mod fdpass;
pub mod log;
pub mod proto;
pub mod users;
pub mod wire;
