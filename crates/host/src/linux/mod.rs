//! Linux: images, bundles, mounts, cgroups, and what a host can do.

pub mod bundle;
mod bundle_seed;
mod bundle_spec;
pub mod cgroup;
pub mod doctor;
mod doctor_firewall;
mod doctor_probe;
pub mod image;
pub(crate) mod in_root;
pub mod mounts;
pub mod net;
pub mod nft;
pub mod overlay;
pub mod storage;
#[allow(unsafe_code, reason = "the calls that rustix cannot make safe")]
pub(crate) mod sys;
#[cfg(test)]
#[path = "../../tests/common/testing.rs"]
pub(crate) mod testing;
pub mod view;
