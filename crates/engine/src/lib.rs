//! Every decision of Kleene, as a state machine without sockets, files,
//! processes or clocks.
//!
//! [`Engine::handle`] takes one [`Input`] and answers with [`Effect`]s. Every
//! change of state that somebody asks for goes through `Engine::commit`.
#![forbid(unsafe_code)]

mod absorb;
pub mod actual;
mod borrow;
pub mod change;
pub mod command;
mod containers;
#[cfg(feature = "fake")]
pub mod contract;
#[cfg(feature = "fake")]
pub mod contract_ipnet;
mod converge;
mod endpoints;
mod engine;
mod executions;
mod explain;
#[cfg(feature = "fake")]
pub mod fake;
mod health;
pub mod host;
mod images;
pub mod inside;
mod ipam;
mod lifecycle;
mod link;
mod linked;
mod lookup;
mod networks;
pub mod passage;
pub mod piece;
mod plan;
mod plan_inner;
mod plan_ipnet;
mod plan_policy;
mod pool;
mod pools;
mod ports;
mod publish;
pub mod reconcile;
mod state;
pub mod store;
mod touched;
pub mod view;
mod ways;

pub use command::{Command, Effect, Event, ExecSpec, Input, Job, Outcome, Token};
pub use engine::{Engine, Given, StartError};
pub use executions::DEFAULT_GRACE_MS;
pub use health::Health;
pub use host::Host;
pub use plan::{Scope, plan};
pub use reconcile::Disturbance;
pub use state::State;
pub use store::Store;
pub use touched::Touched;
