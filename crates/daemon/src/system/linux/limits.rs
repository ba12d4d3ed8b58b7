//! How many files may be open: as many as the host allows in the daemon, which
//! holds some for every container, and the usual number in containers, where
//! programs go by the soft limit.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit that the daemon was started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors(Rlimit);

impl Descriptors {
    /// Raises the daemon's own soft limit to the hard one.
    pub(crate) fn raise() -> Self {
        let before = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(err) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%err, "the limit of open files stays at {:?}", before.current);
        }
        Self(before)
    }

    /// Gives a child what the daemon was started with.
    pub(crate) fn give_back(&self, child: &std::process::Child) {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let given = prlimit(pid, Resource::Nofile, self.0);
        if let Err(err) = given {
            tracing::warn!(%err, "a container gets the daemon's own limit of open files");
        }
    }
}
