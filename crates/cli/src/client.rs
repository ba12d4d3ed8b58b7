//! Requests to the daemon over HTTP/1.1, one connection kept open.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kleene_model::api::ErrorResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::target::{Stream, Target};

/// How long the daemon may take to answer.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const ANSWER_MAX: usize = 64 << 20;

/// Why a request failed. `Display` never repeats its source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No connection.
    #[error("unable to connect to kleened: {target}")]
    Connect {
        /// Where it should listen.
        target: Target,
        /// Why not.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("Error! Timed out while waiting for Kleene to respond.")]
    TimedOut,
    /// The connection broke.
    #[error("ERROR! Connection closed unexpectedly.")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
    /// The daemon refused.
    #[error("{}", .0.message)]
    Refused(ErrorResponse),
    /// The daemon failed and did not say why.
    #[error("unknown backend error")]
    Backend,
    /// A status without a text.
    #[error("unrecognized status-code received from kleened: {0}")]
    Status(u16),
    /// An answer that is none.
    #[error("Error! Unexpected response received from Kleened.")]
    Unexpected(#[source] Box<dyn Error + Send + Sync>),
}

impl ApiError {
    /// Whether the daemon answered and said no.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Backend | Self::Status(_))
    }

    /// Whether the refusal has this code, or, from a daemon that sends none,
    /// this text.
    pub(crate) fn is(&self, code: &str, text: &str) -> bool {
        match self {
            Self::Refused(body) if body.code.is_empty() => body.message == text,
            Self::Refused(body) => body.code == code,
            _ => false,
        }
    }

    /// What the user may do about it.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Refused(body) => body.hints.clone(),
            Self::Connect { target, source } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    vec![format!("{target} is not for everyone: try sudo, or join its group")]
                }
                _ => vec!["is kleened running? --host or KLEE_HOST says where".to_owned()],
            },
            _ => Vec::new(),
        }
    }
}

/// The way to the daemon.
pub(crate) struct Client {
    target: Target,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// A request without its connection.
struct Call {
    method: Method,
    path: String,
    body: Option<Bytes>,
}

impl Client {
    /// Connects when it is first needed.
    pub(crate) fn new(target: Target) -> Self {
        Self { target, idle: Mutex::new(None) }
    }

    /// `GET`, as the text of the answer.
    pub(crate) async fn get(&self, path: String) -> Result<Bytes, ApiError> {
        self.call(Call { method: Method::GET, path, body: None }, ANSWER_LIMIT).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: String) -> Result<Bytes, ApiError> {
        self.call(Call { method: Method::DELETE, path, body: None }, ANSWER_LIMIT).await
    }

    /// `POST` without a body; the daemon may take `limit` for it.
    pub(crate) async fn post_for(&self, path: String, limit: Duration) -> Result<Bytes, ApiError> {
        self.call(Call { method: Method::POST, path, body: None }, limit).await
    }

    /// `POST` with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Bytes, ApiError> {
        let body = serde_json::to_vec(body).map_err(|err| ApiError::Unexpected(Box::new(err)))?;
        let call = Call { method: Method::POST, path: path.to_owned(), body: Some(body.into()) };
        self.call(call, ANSWER_LIMIT).await
    }

    /// `GET` of a body without an end: its pieces are read by the caller.
    pub(crate) async fn stream(&self, path: String) -> Result<Incoming, ApiError> {
        let call = Call { method: Method::GET, path, body: None };
        let answer = async {
            let (mut sender, request) = (self.open().await?, self.request(&call)?);
            let response =
                sender.send_request(request).await.map_err(|err| ApiError::Lost(Box::new(err)))?;
            if response.status().is_success() {
                return Ok(response.into_body());
            }
            Err(refusal(response.status(), &whole(response).await?))
        };
        timeout(ANSWER_LIMIT, answer).await.map_err(|_| ApiError::TimedOut)?
    }

    /// A stream of its own, for a websocket.
    pub(crate) async fn connect(&self) -> Result<Stream, ApiError> {
        let target = self.target.clone();
        self.target.connect().await.map_err(|source| ApiError::Connect { target, source })
    }

    /// The `Host` of requests.
    pub(crate) fn authority(&self) -> String {
        self.target.authority()
    }

    async fn call(&self, call: Call, limit: Duration) -> Result<Bytes, ApiError> {
        let answer = async {
            let response = self.send(&call).await?;
            let status = response.status();
            let body = whole(response).await?;
            if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
        };
        timeout(limit, answer).await.map_err(|_| ApiError::TimedOut)?
    }

    /// Sends on the connection of the last request; on a new one when the
    /// daemon has closed that before it read anything.
    async fn send(&self, call: &Call) -> Result<Response<Incoming>, ApiError> {
        let mut idle = self.idle.lock().await;
        let lost = |err: hyper::Error| ApiError::Lost(Box::new(err));
        if let Some(mut sender) = idle.take()
            && sender.ready().await.is_ok()
        {
            match sender.send_request(self.request(call)?).await {
                Ok(response) => {
                    *idle = Some(sender);
                    return Ok(response);
                }
                Err(err) if err.is_canceled() => {}
                Err(err) => return Err(lost(err)),
            }
        }
        let mut sender = self.open().await?;
        let response = sender.send_request(self.request(call)?).await.map_err(lost)?;
        *idle = Some(sender);
        Ok(response)
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, ApiError> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) =
            handshake(stream).await.map_err(|err| ApiError::Lost(Box::new(err)))?;
        // It ends with the sender or with the stream; either shows in the request.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.path)
            .header(HOST, self.target.authority());
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(call.body.clone().unwrap_or_default());
        request.body(body).map_err(|err| ApiError::Unexpected(Box::new(err)))
    }
}

/// The whole body of an answer.
async fn whole(response: Response<Incoming>) -> Result<Bytes, ApiError> {
    match Limited::new(response.into_body(), ANSWER_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(err) if err.is::<LengthLimitError>() => Err(ApiError::Unexpected(err)),
        Err(err) => Err(ApiError::Lost(err)),
    }
}

/// What an answer that is no success says.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    match serde_json::from_slice::<ErrorResponse>(body) {
        Ok(body) => ApiError::Refused(body),
        Err(_) if status == StatusCode::INTERNAL_SERVER_ERROR => ApiError::Backend,
        Err(_) => ApiError::Status(status.as_u16()),
    }
}

/// Reads an answer.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|err| ApiError::Unexpected(Box::new(err)))
}

/// `text` as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_hold_every_name() {
        assert_eq!(segment("2f1dc29b8f36"), "2f1dc29b8f36");
        assert_eq!(segment("/a b?ü%"), "%2Fa%20b%3F%C3%BC%25");
    }

    #[test]
    fn refusals_are_read_with_and_without_a_body() {
        let text = |status, body: &str| {
            refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes()).to_string()
        };
        assert_eq!(text(404, r#"{"message":"no such container"}"#), "no such container");
        assert_eq!(text(500, "oops"), "unknown backend error");
        assert_eq!(text(422, "{}"), "unrecognized status-code received from kleened: 422");
    }

    #[test]
    fn known_refusals_are_recognised_by_code_or_by_text() {
        let refused = |code: &str, message: &str| {
            ApiError::Refused(ErrorResponse {
                message: message.to_owned(),
                code: code.to_owned(),
                hints: vec![],
            })
        };
        let is = |err: ApiError| err.is("container-not-running", "container not running");
        assert!(is(refused("container-not-running", "x")));
        assert!(is(refused("", "container not running")));
        assert!(!is(refused("busy", "container not running")));
    }

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A daemon that answers one request per connection.
    async fn answer_once(listener: &TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await.unwrap();
        String::from_utf8(request).unwrap()
    }

    async fn listening() -> (TcpListener, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        (listener, Client::new(Target::parse(&host).unwrap()))
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_made_again() {
        let (listener, client) = listening().await;
        for _ in 0..2 {
            let (request, answer) =
                tokio::join!(answer_once(&listener), client.get("/networks/list".to_owned()));
            assert_eq!(answer.unwrap(), "[]");
            assert!(request.starts_with("GET /networks/list HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("host: {}\r\n", client.authority())), "{request}");
            let closed = async {
                while !client.idle.lock().await.as_ref().is_some_and(SendRequest::is_closed) {
                    tokio::task::yield_now().await;
                }
            };
            closed.await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_answer_is_given_up() {
        let (_listener, client) = listening().await;
        let before = tokio::time::Instant::now();
        let err = client.get("/networks/list".to_owned()).await.unwrap_err();
        assert_eq!(err.to_string(), "Error! Timed out while waiting for Kleene to respond.");
        assert_eq!(before.elapsed().as_secs(), 60);
    }
}
