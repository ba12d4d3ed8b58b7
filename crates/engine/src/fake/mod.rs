//! A host without a host, for tests: a kernel, a store and supervisors that
//! behave as the real ones do, keep only what they were told, and fail where a
//! test wants them to.
//!
//! All three are handles: a clone is the same thing. An engine that "crashes"
//! is dropped, and the next one is started over the same kernel, store and
//! supervisors.

mod faults;
mod host;
mod inner;
mod kernel;
mod rig;
mod rig_check;
mod standing;
mod store;
mod supervisors;

pub use faults::{Crash, Fault, Times};
pub use host::FakeHost;
pub use kernel::{Errno, InnerLink, Kernel, KernelLink, Kind, Standing};
pub use rig::{Prng, Rig};
pub use store::MemoryStore;
pub use supervisors::{FakeSupervisors, Script, Work};
