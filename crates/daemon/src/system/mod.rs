//! What the daemon needs of the system that it runs on, besides the engine's
//! `Host`: one module per system, side by side, and one choice, [`imp`]. Everything
//! else of the daemon names only what this module exports, and compiles for every
//! system unchanged.
//!
//! That of FreeBSD is compiled for tests on every system.

#[cfg(any(target_os = "freebsd", test))]
#[cfg_attr(
    not(target_os = "freebsd"),
    allow(dead_code, unused_imports, reason = "in use on FreeBSD only")
)]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
pub(crate) mod paths;
mod types;

#[cfg(target_os = "freebsd")]
use freebsd as imp;
#[cfg(target_os = "linux")]
use linux as imp;

pub(crate) use imp::{
    Descriptors, Firewalls, Host, Monitor, Programs, RUN_STATE, Reader, Stacks, boot_id,
    check_mount, check_root, clear, create_image, discard_image, discard_root, empty_trash,
    explained, forget_roots, forget_skeletons, hear_drops, host, images, inspect, kill,
    kill_listener, lay_out, lay_out_without_overlay, prepare_root, purge, remove_later, sweep,
};
pub(crate) use kleene_host::doctor::{Finding, Level};
pub(crate) use types::{Counted, Error, Flow, Heard, ImageMade, Outcome};
