//! What all sockets have in common: a configuration, a beginning, output, and
//! an end.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, Interval, interval_at, timeout};
use tokio_tungstenite::tungstenite::Bytes;

use crate::client::{ANSWER_LIMIT, ApiError, Client};
use crate::interrupts::{Interrupt, Interrupts};
use crate::socket::{Close, Frame, Receiver, Sender, open};

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How it ended.
pub(crate) enum Ending {
    /// The daemon said so.
    Closed(Close),
    /// The connection broke.
    Lost,
    /// A signal ended it.
    Interrupted(Interrupt),
    /// What comes cannot be written on.
    Output(io::Error),
}

/// A socket whose daemon knows what to do.
pub(crate) struct Session {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// What the daemon said before it began, if it did not.
    pub(crate) refusals: Vec<String>,
}

impl Session {
    /// Opens the socket at `path` and sends the first frame.
    pub(crate) async fn open(
        client: &Client,
        path: &str,
        config: &impl Serialize,
    ) -> Result<Self, ApiError> {
        let config =
            serde_json::to_string(config).map_err(|err| ApiError::Unexpected(Box::new(err)))?;
        let (mut sender, receiver) = open(client, path).await?;
        sender.configure(config).await?;
        Ok(Self { sender, receiver, refusals: Vec::new() })
    }

    /// Waits until output may follow, or for the end.
    pub(crate) async fn begin(
        &mut self,
        interrupts: &mut Interrupts,
    ) -> Result<Option<Ending>, ApiError> {
        let begun = begun(&mut self.receiver, &mut self.refusals);
        tokio::select! {
            biased;
            begun = timeout(ANSWER_LIMIT, begun) => begun.map_err(|_| ApiError::TimedOut),
            interrupt = interrupts.next() => Ok(Some(Ending::Interrupted(interrupt))),
        }
    }
}

async fn begun(receiver: &mut Receiver, refusals: &mut Vec<String>) -> Option<Ending> {
    loop {
        match receiver.next().await {
            Frame::Starting => return None,
            Frame::Output(text) => refusals.push(String::from_utf8_lossy(&text).into_owned()),
            Frame::Close(close) => return Some(Ending::Closed(close)),
            Frame::Lost => return Some(Ending::Lost),
        }
    }
}

/// Hands output to `put` until the end.
pub(crate) async fn pump_output(
    receiver: &mut Receiver,
    mut put: impl AsyncFnMut(Bytes) -> io::Result<()>,
) -> Ending {
    loop {
        match receiver.next().await {
            Frame::Output(piece) => {
                if let Err(err) = put(piece).await {
                    return Ending::Output(err);
                }
            }
            Frame::Close(close) => return Ending::Closed(close),
            Frame::Lost => return Ending::Lost,
            Frame::Starting => {}
        }
    }
}

/// When a ping is due.
pub(crate) fn pings() -> Interval {
    interval_at(Instant::now() + PING_EVERY, PING_EVERY)
}

/// Sends pings and nothing else. It never ends: when the socket is gone, the
/// output says why.
pub(crate) async fn keep_alive(sender: &mut Sender) -> Infallible {
    let mut pings = pings();
    loop {
        pings.tick().await;
        if !sender.ping().await {
            return pending().await;
        }
    }
}
