//! What the websockets of the API have in common: the configuration comes first,
//! a Close with a reason last.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use kleene_model::api::{MessageType, WebSocketMessage};
use kleene_model::lenient;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::App;

/// The first frame could not be understood.
pub(super) const CLOSE_BAD_CONFIG: u16 = close_code::PROTOCOL;

/// Largest frame of a client, in bytes.
const FRAME_MAX: usize = 1 << 20;

/// How long a client may take to answer our Close.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);

/// The same when the daemon ends, which waits for it.
const PARTING_LIMIT: Duration = Duration::from_millis(100);

/// Takes a client, and serves it by its own task. The daemon's end waits for it.
pub(super) fn accept<F>(
    app: App,
    upgrade: WebSocketUpgrade,
    serve: impl FnOnce(App, Client) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let sockets = app.sockets.clone();
    upgrade.max_message_size(FRAME_MAX).on_upgrade(move |socket| {
        let client = Client { socket, ending: app.ending.clone() };
        sockets.track_future(async move { serve(app, client).await })
    })
}

/// The client's end.
pub(super) struct Client {
    pub(super) socket: WebSocket,
    /// Set when the daemon ends.
    ending: CancellationToken,
}

impl Client {
    pub(super) async fn say(&mut self, text: String) {
        self.send(Message::Text(text.into())).await;
    }

    /// Says that output follows.
    pub(super) async fn starting(&mut self) {
        let starting = WebSocketMessage {
            data: String::new(),
            message: String::new(),
            msg_type: MessageType::Starting,
        };
        // A struct of two texts and an enum always serialises.
        self.say(serde_json::to_string(&starting).unwrap_or_default()).await;
    }

    /// Says the end.
    pub(super) async fn close(&mut self, code: u16, kind: MessageType, message: &str) {
        self.close_with(code, kind, message, "").await;
    }

    /// The same with a result.
    pub(super) async fn close_with(
        &mut self,
        code: u16,
        kind: MessageType,
        message: &str,
        data: &str,
    ) {
        let reason =
            WebSocketMessage { data: data.to_owned(), message: message.to_owned(), msg_type: kind };
        let reason = reason.close_reason().into();
        self.send(Message::Close(Some(CloseFrame { code, reason }))).await;
        // The other side's Close, or its going: then nothing is cut off. One
        // that does neither is left.
        let (socket, ending) = (&mut self.socket, &self.ending);
        let parting = async {
            ending.cancelled().await;
            tokio::time::sleep(PARTING_LIMIT).await;
        };
        tokio::select! {
            () = async { while let Some(Ok(_)) = socket.recv().await {} } => {}
            () = tokio::time::sleep(FAREWELL_LIMIT) => {}
            () = parting => {}
        }
    }

    /// The configuration; `None` after the end. One that cannot be read is told by
    /// `refuse`, as each operation of 0.1.1 tells it in its own way.
    pub(super) async fn config<T: DeserializeOwned>(
        &mut self,
        refuse: impl AsyncFnOnce(&mut Self, String),
    ) -> Option<T> {
        let ending = self.ending.clone();
        let first = tokio::select! {
            first = self.first_frame() => first,
            () = ending.cancelled() => {
                self.close(close_code::ERROR, MessageType::Error, "kleened ends").await;
                return None;
            }
        };
        match first {
            Ok(config) => Some(config),
            Err(why) => {
                refuse(self, why).await;
                None
            }
        }
    }

    async fn send(&mut self, message: Message) {
        // One that is gone is noticed where it is read from.
        drop(self.socket.send(message).await);
    }

    async fn first_frame<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        loop {
            let bytes = match self.socket.recv().await {
                Some(Ok(Message::Text(text))) => Bytes::from(text),
                Some(Ok(Message::Binary(_))) => {
                    return Err("the first must be a text frame".to_owned());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Err(err)) => return Err(err.to_string()),
                Some(Ok(Message::Close(_))) | None => {
                    return Err("no configuration came".to_owned());
                }
            };
            return lenient::body(&bytes).map_err(|refusal| {
                let why = refusal.to_string();
                why.strip_prefix("invalid request: ").unwrap_or(&why).to_owned()
            });
        }
    }
}
