//! How many files may be open.
//!
//! FreeBSD has no way to give another process a limit without stopping to have one
//! oneself (prlimit(2) is Linux's). There the usual soft limit is the hard one
//! (login.conf(5): `openfiles=unlimited` for the class `daemon`), so nothing is
//! raised, and containers have what the daemon was started with.

use rustix::process::{Resource, Rlimit, getrlimit};

/// The limit that the daemon was started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors;

impl Descriptors {
    /// Says where the limit is lower than it could be.
    pub(crate) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum {
            tracing::info!(?current, ?maximum, "the limit of open files stays as it was given");
        }
        Self
    }

    /// A child has what the daemon was started with, already.
    pub(crate) fn give_back(&self, _: &std::process::Child) {}
}
