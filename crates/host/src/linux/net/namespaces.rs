//! The network namespaces of containers.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use kleene_model::{ContainerId, LinkName};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::NetError;
use super::settings;
use super::socket::Socket;

/// The network namespaces of containers, by the descriptors that their
/// supervisors handed over. Clones share one registry.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    known: Arc<Mutex<BTreeMap<ContainerId, Known>>>,
}

/// A container's network namespace, and a socket in it: to enter one costs more
/// than all that is changed there at a time. Both hold the namespace.
#[derive(Debug)]
struct Known {
    netns: Arc<OwnedFd>,
    socket: Option<Socket>,
}

impl Namespaces {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A container's network namespace, in place of an earlier one.
    pub fn insert(&self, container: ContainerId, netns: OwnedFd) {
        self.lock().insert(container, Known { netns: Arc::new(netns), socket: None });
    }

    /// Forgets a container's network namespace; whether it was known. The
    /// namespace lives on as long as something else holds it.
    pub fn remove(&self, container: ContainerId) -> bool {
        self.lock().remove(&container).is_some()
    }

    /// Whether a container's network namespace is known.
    #[must_use]
    pub fn contains(&self, container: ContainerId) -> bool {
        self.lock().contains_key(&container)
    }

    /// A container's network namespace.
    pub(super) fn get(&self, container: ContainerId) -> Result<Arc<OwnedFd>, NetError> {
        let netns = self.lock().get(&container).map(|known| Arc::clone(&known.netns));
        netns.ok_or(NetError::NoNamespace(container))
    }

    /// The socket that was kept in a container's namespace, which then is not
    /// kept any more.
    pub(super) fn take_socket(&self, container: ContainerId) -> Option<Socket> {
        self.lock().get_mut(&container)?.socket.take()
    }

    /// Keeps a socket for the next time, unless it belongs to another namespace
    /// than the one that is known by now.
    pub(super) fn keep_socket(&self, container: ContainerId, netns: &Arc<OwnedFd>, socket: Socket) {
        if let Some(known) = self.lock().get_mut(&container)
            && Arc::ptr_eq(&known.netns, netns)
        {
            known.socket = Some(socket.rested());
        }
    }

    /// A map is whole between any two of its calls, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enters a container's network namespace: gives its ends of cables their
/// settings, and opens a socket there.
pub(super) fn visit(netns: &OwnedFd, cables: &[LinkName]) -> Result<Socket, NetError> {
    enter(netns.as_fd(), || {
        for link in cables {
            settings::inner_end(link)?;
        }
        Socket::open()
    })
}

/// Does something in a network namespace, on a short-lived thread, so that no
/// other thread is ever in the wrong one.
pub(in crate::linux) fn enter<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, NetError> + Send,
) -> Result<T, NetError> {
    let inside = || {
        join(netns)?;
        work()
    };
    let spawned = thread::scope(|scope| {
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, inside);
        thread.map(|thread| thread.join())
    });
    match spawned {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(source) => Err(NetError::Enter(source)),
    }
}

/// The same while the caller goes on. What is to be dropped there behind the
/// outcome is waited for by nobody.
pub(super) fn enter_beside<T: Send + 'static, Rest>(
    netns: Arc<OwnedFd>,
    work: impl FnOnce() -> (Result<T, NetError>, Rest) + Send + 'static,
) -> Result<Receiver<Result<T, NetError>>, NetError> {
    let (tell, outcome) = mpsc::channel();
    let inside = move || {
        let (outcome, rest) = match join(netns.as_fd()) {
            Ok(()) => {
                let (outcome, rest) = work();
                (outcome, Some(rest))
            }
            Err(error) => (Err(error), None),
        };
        // Whoever does not listen any more has failed by something else.
        let _ = tell.send(outcome);
        drop(rest);
    };
    let spawned = thread::Builder::new().name(THREAD.to_owned()).spawn(inside);
    spawned.map(|_| outcome).map_err(NetError::Enter)
}

const THREAD: &str = "netns";

/// Takes the calling thread into a network namespace.
fn join(netns: BorrowedFd<'_>) -> Result<(), NetError> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .map_err(|errno| NetError::Enter(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::testing::{is_root_with, namespace};

    #[test]
    fn a_socket_is_kept_for_the_namespace_that_is_known() {
        if !is_root_with("unshare") {
            return;
        }
        let namespaces = Namespaces::new();
        let id = ContainerId::from_bytes([0xc0; 6]).expect("an id");
        let socket = || Socket::open().expect("a socket");
        namespaces.insert(id, namespace());
        let netns = namespaces.get(id).expect("known");
        assert!(namespaces.take_socket(id).is_none());
        namespaces.keep_socket(id, &netns, socket());
        assert!(namespaces.take_socket(id).is_some());
        assert!(namespaces.take_socket(id).is_none(), "taken twice");
        // Another one of the same container: what is kept is not of it.
        namespaces.keep_socket(id, &netns, socket());
        namespaces.insert(id, namespace());
        assert!(namespaces.take_socket(id).is_none(), "of the one before");
        namespaces.keep_socket(id, &netns, socket());
        assert!(namespaces.take_socket(id).is_none(), "kept too late");
        namespaces.remove(id);
        namespaces.keep_socket(id, &netns, socket());
        assert!(namespaces.take_socket(id).is_none(), "of one that is gone");
    }
}
