//! Websockets to the daemon.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use kleene_model::api::WebSocketMessage;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::{ANSWER_LIMIT, ApiError, Client, refusal};
use crate::target::Stream;

/// How long a last frame may take.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);

/// What came over a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The daemon says that output follows.
    Starting,
    /// A command's output, or, before [`Frame::Starting`], why there is none.
    Output(Bytes),
    /// The end.
    Close(Close),
    /// The end, without a word.
    Lost,
}

/// A close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    /// 1000 done, 1001 started detached, 1002 bad config, 1011 error.
    pub(crate) code: u16,
    /// Its reason, when it is one of ours.
    pub(crate) message: Option<WebSocketMessage>,
}

/// The reading half.
pub(crate) struct Receiver {
    stream: SplitStream<WebSocketStream<Stream>>,
    started: bool,
}

/// The writing half.
pub(crate) struct Sender {
    sink: SplitSink<WebSocketStream<Stream>, Message>,
}

/// Opens the socket at `path`.
pub(crate) async fn open(client: &Client, path: &str) -> Result<(Sender, Receiver), ApiError> {
    let opened = async {
        let uri = format!("ws://{}{path}", client.authority());
        let stream = client.connect().await?;
        let (socket, _) = client_async(uri, stream).await.map_err(handshake_error)?;
        Ok(socket)
    };
    let socket = timeout(ANSWER_LIMIT, opened).await.map_err(|_| ApiError::TimedOut)??;
    let (sink, stream) = socket.split();
    Ok((Sender { sink }, Receiver { stream, started: false }))
}

fn handshake_error(err: tungstenite::Error) -> ApiError {
    match err {
        tungstenite::Error::Http(answer) => {
            refusal(answer.status(), answer.body().as_deref().unwrap_or_default())
        }
        err => ApiError::Lost(Box::new(err)),
    }
}

impl Receiver {
    /// The next frame that says something.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let Some(Ok(message)) = self.stream.next().await else { return Frame::Lost };
            if let Some(frame) = classify(message, &mut self.started) {
                return frame;
            }
        }
    }
}

/// What a message means; nothing for those of the protocol itself.
fn classify(message: Message, started: &mut bool) -> Option<Frame> {
    match message {
        Message::Text(text) => {
            if !*started && is_starting(&text) {
                *started = true;
                return Some(Frame::Starting);
            }
            Some(Frame::Output(text.into()))
        }
        Message::Binary(bytes) => Some(Frame::Output(bytes)),
        Message::Close(frame) => Some(Frame::Close(close(frame))),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
    }
}

fn is_starting(text: &str) -> bool {
    use kleene_model::api::MessageType::Starting;
    serde_json::from_str::<WebSocketMessage>(text).is_ok_and(|said| said.msg_type == Starting)
}

fn close(frame: Option<CloseFrame>) -> Close {
    match frame {
        Some(CloseFrame { code, reason }) => {
            Close { code: code.into(), message: serde_json::from_str(&reason).ok() }
        }
        None => Close { code: CloseCode::Status.into(), message: None },
    }
}

impl Sender {
    /// Sends the first frame.
    pub(crate) async fn configure(&mut self, config: String) -> Result<(), ApiError> {
        self.sink.send(Message::text(config)).await.map_err(|err| ApiError::Lost(Box::new(err)))
    }

    /// Sends input; an empty piece is its end. Whether the socket still stands.
    pub(crate) async fn input(&mut self, bytes: &[u8]) -> bool {
        self.sink.send(Message::binary(Bytes::copy_from_slice(bytes))).await.is_ok()
    }

    /// Sends a ping, so that nobody on the way takes the socket for dead.
    /// Whether it still stands.
    pub(crate) async fn ping(&mut self) -> bool {
        self.sink.send(Message::Ping(Bytes::new())).await.is_ok()
    }

    /// Says that the user has had enough.
    pub(crate) async fn interrupt(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "interrupted by user".into() };
        // A socket that is gone says the same.
        timeout(FAREWELL_LIMIT, self.sink.send(Message::Close(Some(frame)))).await.ok();
    }

    /// Sends the answer to the daemon's close frame.
    pub(crate) async fn farewell(&mut self) {
        timeout(FAREWELL_LIMIT, self.sink.flush()).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kleene_model::api::MessageType;

    #[test]
    fn only_the_first_starting_is_one() {
        let starting = r#"{"data":"","message":"","msg_type":"starting"}"#;
        let mut started = false;
        assert_eq!(classify(Message::text(starting), &mut started), Some(Frame::Starting));
        let output = classify(Message::text(starting), &mut started);
        assert_eq!(output, Some(Frame::Output(starting.into())));
        assert_eq!(classify(Message::Ping(Bytes::new()), &mut started), None);
        let refused = classify(Message::text("error: x"), &mut false);
        assert_eq!(refused, Some(Frame::Output("error: x".into())));
    }

    #[test]
    fn close_reasons_are_read() {
        let read = |reason: &str| {
            close(Some(CloseFrame { code: CloseCode::Error, reason: reason.into() }))
        };
        let ours = read(r#"{"data":"a","message":"b","msg_type":"error"}"#);
        let message = ours.message.unwrap();
        assert_eq!((ours.code, message.data.as_str(), message.message.as_str()), (1011, "a", "b"));
        assert_eq!(message.msg_type, MessageType::Error);
        for reason in ["", "bye", "[]"] {
            assert_eq!(read(reason), Close { code: 1011, message: None });
        }
        assert_eq!(close(None).code, 1005);
    }
}
