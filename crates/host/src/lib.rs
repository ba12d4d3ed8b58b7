//! Carries changes out on the host and observes it.
//!
//! One module per system, side by side; [`imp`] is the one this is built for.
//! What is only text, as of [`freebsd`], is built for all of them.

mod accounts;
mod binds;
pub mod doctor;
mod files;
pub mod freebsd;
mod given;
#[cfg(target_os = "linux")]
pub mod linux;
mod skeleton;

#[cfg(target_os = "linux")]
pub use linux as imp;
