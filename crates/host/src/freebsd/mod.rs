//! FreeBSD: what its tools are told and what they answer, as text; images, mounts and
//! jails by them. It is rendered and read on every system, so that it is tested on
//! every system.

pub mod archive;
pub mod bundle;
mod bundle_seed;
pub mod datasets;
pub mod devfs;
pub mod doctor;
pub mod give;
pub mod image;
pub mod jail;
mod jail_parameters;
pub mod method;
pub mod mount_table;
pub mod mounts;
pub mod net;
pub mod peer;
pub mod pf;
pub mod release;
pub mod run;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
pub mod storage;
pub mod store;
#[allow(unsafe_code, reason = "the calls that rustix cannot make safe")]
mod sys;
#[cfg(test)]
pub(crate) mod testing;
pub mod vectors;
mod within;
