//! FreeBSD: what its tools are told and what they answer, as text; images, mounts and
//! jails by them. It is rendered and read on every system, so that it is tested on
//! every system.
#![forbid(unsafe_code)]

pub mod doctor;
pub mod net;
pub mod devfs;
pub mod jail;
mod jail_parameters;
pub mod mount_table;
pub mod mounts;
pub mod pf;
pub mod run;
#[cfg(test)]
pub(crate) mod testing;
mod within;
