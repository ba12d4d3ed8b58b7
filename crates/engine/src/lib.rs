//! Every decision of Kleene, as a state machine without sockets, files,
//! processes or clocks.
//!
//! [`Engine::handle`] takes one [`Input`] and answers with [`Effect`]s. Every
//! change of state goes through `Engine::commit`.
#![forbid(unsafe_code)]

pub mod actual;
mod borrow;
pub mod change;
pub mod command;
mod containers;
#[cfg(feature = "fake")]
pub mod contract;
mod endpoints;
mod engine;
mod executions;
#[cfg(feature = "fake")]
pub mod fake;
pub mod host;
mod ipam;
mod lifecycle;
mod lookup;
mod networks;
pub mod piece;
mod plan;
mod plan_ipnet;
mod pool;
mod pools;
mod state;
pub mod store;
mod touched;
pub mod view;
mod ways;

pub use command::{Command, Effect, Event, ExecSpec, Input, Job, Outcome, Token};
pub use engine::{Engine, Given, StartError};
pub use executions::DEFAULT_GRACE_MS;
pub use host::Host;
pub use plan::{Scope, plan};
pub use state::State;
pub use store::Store;
pub use touched::Touched;
