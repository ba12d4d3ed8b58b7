//! The engine over FreeBSD's tools, on a simulated FreeBSD.
//!
//! What a test asserts it asks the simulated system, by the words with which an
//! administrator would, and not our own picture of it.

mod contract;
mod crashes;
mod faults;
mod lives;
mod policy;
mod reconcile;
mod rig;
mod strangers;
