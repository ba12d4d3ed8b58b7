//! Where the two halves of an attached execution meet: a client's websocket,
//! which knows that it wants the output, and the container's warden, which can
//! open a connection for it before the first byte is written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use kleene_model::ExecId;
use kleene_supervise::client;
use kleene_supervise::proto::{self, Decoder, FromSupervisor, ToSupervisor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::warden::nonblocking;

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

/// Opens a connection that carries one execution's input and output.
pub(super) async fn attach(dir: &Path, exec: &str) -> Result<UnixStream, String> {
    let dir = dir.to_owned();
    let connected = tokio::task::spawn_blocking(move || client::connect(&dir)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => return Err(kleene_engine::host::chain(&err)),
        Err(err) => return Err(err.to_string()),
    };
    let mut stream = nonblocking(stream).map_err(|err| err.to_string())?;
    let message = ToSupervisor::Attach { exec: exec.to_owned() };
    let frame = proto::encode(&message).map_err(|err| err.to_string())?;
    stream.write_all(&frame).await.map_err(|err| err.to_string())?;
    // Exactly one frame answers, and nothing follows before the execution is
    // started: no output can be swallowed with it.
    let mut decoder = Decoder::new();
    let mut byte = [0; 512];
    loop {
        let count = stream.read(&mut byte).await.map_err(|err| err.to_string())?;
        if count == 0 {
            return Err("the supervisor closed the connection".to_owned());
        }
        decoder.push(byte.get(..count).unwrap_or_default());
        if let Some(frame) = decoder.next_frame().map_err(|err| err.to_string())? {
            return match proto::decode(&frame.payload) {
                Ok(FromSupervisor::Attached { .. }) => Ok(stream),
                Ok(FromSupervisor::Error { message }) => Err(message),
                _ => Err("the supervisor gave another answer".to_owned()),
            };
        }
    }
}
