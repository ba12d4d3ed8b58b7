//! Where the two halves of an attached execution meet: a client's websocket,
//! which knows that it wants the output, and the container's warden, which can
//! open a connection for it before the first byte is written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kleene_model::ExecId;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

type Waiting = HashMap<ExecId, oneshot::Sender<UnixStream>>;

/// The clients that wait for their execution. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Attachments(Arc<Mutex<Waiting>>);

impl Attachments {
    /// The client wants this execution's output. `None` when another client
    /// already does.
    pub(crate) fn expect(&self, exec: ExecId) -> Option<Expected> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.contains_key(&exec) {
            return None;
        }
        waiting.insert(exec, sender);
        Some(Expected { exec, receiver, attachments: self.clone() })
    }

    /// Takes the client that waits for this execution.
    pub(crate) fn take(&self, exec: ExecId) -> Option<oneshot::Sender<UnixStream>> {
        self.lock().remove(&exec)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // The map is whole at every moment, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's wait for its execution; it ends with the value.
pub(crate) struct Expected {
    exec: ExecId,
    receiver: oneshot::Receiver<UnixStream>,
    attachments: Attachments,
}

impl Expected {
    /// The connection, once the execution was started.
    pub(crate) fn stream(&mut self) -> Option<UnixStream> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.attachments.take(self.exec);
    }
}
