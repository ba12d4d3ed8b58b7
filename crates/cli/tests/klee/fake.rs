//! A daemon that says what a test tells it to, on a unix socket in a directory
//! of its own, and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, Stream, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The container that it makes.
pub(crate) const CONTAINER: &str = "173a1a8d848d";
/// The execution that it makes.
pub(crate) const EXEC: &str = "2fc5447ef1e8";

/// What it does on a websocket, in order.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends the `starting` message.
    Start,
    /// Sends a text frame.
    Say(&'static str),
    /// Sends a binary frame.
    Send(&'static [u8]),
    /// Sends back all input until its end.
    Echo,
    /// Waits until the test opens the gate.
    Gate,
    /// Sends without an end, until the client closes.
    Flood,
    /// Waits for the client's close frame and remembers its reason.
    AwaitClose,
    /// Closes with a code and a message.
    Close(u16, &'static str),
    /// Closes with a code and a whole reason.
    CloseAs(u16, &'static str),
    /// Writes bytes that are no frame.
    Spoil(&'static [u8]),
    /// Goes away.
    Vanish,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `POST /containers/create`
    pub(crate) what: String,
    pub(crate) body: Value,
}

type Answers = HashMap<String, Vec<(u16, String)>>;

#[derive(Default)]
struct State {
    answers: Mutex<Answers>,
    seen: Mutex<Vec<Seen>>,
    acts: Mutex<Vec<Act>>,
    closes: Mutex<Vec<String>>,
}

/// The daemon.
pub(crate) struct Fake {
    dir: TempDir,
    state: Arc<State>,
    gate: Arc<Semaphore>,
}

impl Fake {
    /// One that agrees to everything and runs commands that end with 0.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener =
            std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("a socket");
        listener.set_nonblocking(true).expect("not blocking");
        let (state, gate) = (Arc::new(State::default()), Arc::new(Semaphore::new(0)));
        let (served, at_gate) = (Arc::clone(&state), Arc::clone(&gate));
        // It ends with the test process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(serve(listener, served, at_gate));
        });
        let fake = Self { dir, state, gate };
        let id = json!({"id": CONTAINER}).to_string();
        fake.answer("POST /containers/create", 201, &id);
        fake.answer(&format!("DELETE /containers/{CONTAINER}"), 200, &id);
        fake.answer(&format!("POST /containers/{CONTAINER}/stop"), 200, &id);
        fake.answer("POST /exec/create", 201, &json!({"id": EXEC}).to_string());
        fake.answer("POST /networks/connect", 204, "");
        fake.acts(&[Act::Start, Act::Close(1000, ENDED)]);
        fake
    }

    /// Answers a request so, one for a websocket too; the last of several
    /// answers stays.
    pub(crate) fn answer(&self, what: &str, status: u16, body: &str) {
        let mut answers = self.state.answers.lock().expect("not poisoned");
        answers.entry(what.to_owned()).or_default().push((status, body.to_owned()));
    }

    /// Refuses a request so, and forgets what it would have answered.
    pub(crate) fn refuse(&self, what: &str, status: u16, code: &str, message: &str) {
        self.state.answers.lock().expect("not poisoned").remove(what);
        let hints: Vec<String> = vec![format!("mind the {code}")];
        let body = json!({"message": message, "code": code, "hints": hints});
        self.answer(what, status, &body.to_string());
    }

    /// What the next executions do.
    pub(crate) fn acts(&self, acts: &[Act]) {
        *self.state.acts.lock().expect("not poisoned") = acts.to_vec();
    }

    /// Lets one [`Act::Gate`] pass.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    /// Its `--host`.
    pub(crate) fn host(&self) -> String {
        format!("http://{}", self.path("s").display())
    }

    /// A place in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The requests so far, without bodies.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.seen.lock().expect("not poisoned").iter().map(|s| s.what.clone()).collect()
    }

    /// Waits until a request of that kind has come.
    pub(crate) fn until_asked(&self, what: &str) {
        until(what, || self.asked().iter().any(|asked| asked == what));
    }

    /// Waits for the close frame of a client that does not wait for an answer.
    pub(crate) fn until_closed(&self) {
        until("a close frame", || !self.closes().is_empty());
    }

    /// The body of the first request of that kind.
    pub(crate) fn body(&self, what: &str) -> Value {
        let seen = self.state.seen.lock().expect("not poisoned");
        seen.iter().find(|seen| seen.what == what).expect("it was asked").body.clone()
    }

    /// Reasons of the clients' close frames.
    pub(crate) fn closes(&self) -> Vec<String> {
        self.state.closes.lock().expect("not poisoned").clone()
    }
}

fn until(what: &str, came: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !came() {
        assert!(Instant::now() < limit, "{what} did not come within 10 s");
        std::thread::yield_now();
    }
}

/// The closing message of [`Fake::new`].
pub(crate) const ENDED: &str = "executable 2fc5447ef1e8 and its container exited with exit-code 0";

async fn serve(
    listener: std::os::unix::net::UnixListener,
    state: Arc<State>,
    gate: Arc<Semaphore>,
) {
    let listener = UnixListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let (state, gate) = (Arc::clone(&state), Arc::clone(&gate));
        let service = service_fn(move |request| {
            let (state, gate) = (Arc::clone(&state), Arc::clone(&gate));
            async move { Ok::<_, Infallible>(respond(request, state, gate).await) }
        });
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn respond(
    mut request: Request<Incoming>,
    state: Arc<State>,
    gate: Arc<Semaphore>,
) -> Response<Full<Bytes>> {
    let what = format!("{} {}", request.method(), request.uri());
    let refused = state.answers.lock().expect("not poisoned").contains_key(&what);
    if let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| !refused) {
        let accept = derive_accept_key(key.as_bytes());
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgraded.await {
                act(upgraded, what, &state, &gate).await;
            }
        });
        return Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept)
            .body(Full::default())
            .expect("a response");
    }
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    state.seen.lock().expect("not poisoned").push(Seen { what: what.clone(), body });
    let mut answers = state.answers.lock().expect("not poisoned");
    let (status, body) = match answers.get_mut(&what).map(|queue| (queue.len(), queue)) {
        Some((2.., queue)) => queue.remove(0),
        Some((_, queue)) => queue[0].clone(),
        None => (404, json!({"message": format!("nobody expects {what}")}).to_string()),
    };
    Response::builder().status(status).body(Full::from(body)).expect("a response")
}

async fn act(upgraded: Upgraded, what: String, state: &State, gate: &Semaphore) {
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let config = match socket.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).expect("a config"),
        other => panic!("no config frame but {other:?}"),
    };
    state.seen.lock().expect("not poisoned").push(Seen { what, body: config });
    let acts = state.acts.lock().expect("not poisoned").clone();
    for act in acts {
        let done = match act {
            Act::Start => {
                let text = r#"{"data":"","message":"","msg_type":"starting"}"#;
                socket.send(Message::text(text)).await
            }
            Act::Say(text) => socket.send(Message::text(text)).await,
            Act::Send(bytes) => socket.send(Message::binary(bytes)).await,
            Act::Echo => echo(&mut socket).await,
            Act::Gate => {
                gate.acquire().await.expect("the gate stands").forget();
                Ok(())
            }
            Act::Flood => {
                flood(socket, state).await;
                return;
            }
            Act::AwaitClose => {
                await_close(&mut socket, state).await;
                Ok(())
            }
            Act::Close(code, message) => {
                let kind = if code == 1000 || code == 1001 { "closing" } else { "error" };
                let reason = json!({"data": "", "message": message, "msg_type": kind});
                close(&mut socket, code, &reason.to_string()).await
            }
            Act::CloseAs(code, reason) => close(&mut socket, code, reason).await,
            Act::Spoil(bytes) => socket.get_mut().write_all(bytes).await.map_err(Error::Io),
            Act::Vanish => return,
        };
        if done.is_err() {
            return;
        }
    }
    while let Some(Ok(_)) = socket.next().await {}
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Sent = Result<(), Error>;

async fn close(socket: &mut Socket, code: u16, reason: &str) -> Sent {
    let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
    socket.send(Message::Close(Some(frame))).await
}

async fn echo(socket: &mut Socket) -> Sent {
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(bytes) if bytes.is_empty() => break,
            Message::Binary(bytes) => socket.send(Message::Binary(bytes)).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn flood(socket: Socket, state: &State) {
    let (mut sink, mut stream) = socket.split();
    let send = async {
        while sink.send(Message::binary(Bytes::from(vec![b'y'; 64 << 10]))).await.is_ok() {}
    };
    tokio::select! { () = await_close(&mut stream, state) => {}, () = send => {} }
}

async fn await_close(
    frames: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    state: &State,
) {
    while let Some(Ok(message)) = frames.next().await {
        if let Message::Close(Some(frame)) = message {
            let reason = frame.reason.to_string();
            state.closes.lock().expect("not poisoned").push(reason);
        }
    }
}
