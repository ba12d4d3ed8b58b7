//! A websocket by hand: what a client library would never send goes out, and
//! what comes back is seen as it is.

use kleene_e2e::World;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The key of RFC 6455's example, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
const PONG: u8 = 10;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// Code and reason.
    Close(u16, String),
    Pong(Vec<u8>),
    /// The connection has ended.
    End,
}

/// One open websocket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: UnixStream,
}

impl Socket {
    /// Opens `/exec/start`.
    #[track_caller]
    pub(crate) fn open(world: &World) -> Self {
        let mut stream = world.connect();
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /exec/start HTTP/1.1\r\nHost: kleened\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.contains(ACCEPT), "{answer}");
        Self { stream }
    }

    /// Opens it, asks for an execution attached, and waits for its beginning.
    #[track_caller]
    pub(crate) fn attach(world: &World, exec: &str) -> Self {
        let mut socket = Self::open(world);
        socket.text(config(exec).to_string());
        socket.starting();
        socket
    }

    /// The bytes of a frame as a client sends it.
    pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
            middle @ 126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Sends bytes; a daemon that has hung up is noticed by who reads.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn text(&mut self, text: impl AsRef<str>) {
        self.raw(&Self::frame(TEXT, text.as_ref().as_bytes()));
    }

    pub(crate) fn binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.raw(&Self::frame(BINARY, bytes.as_ref()));
    }

    /// The next frame; a ping is answered, and not told.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Frame {
        loop {
            match self.any() {
                Ok(frame) => return frame,
                Err(ping) => self.raw(&Self::frame(PONG, &ping)),
            }
        }
    }

    fn any(&mut self) -> Result<Frame, Vec<u8>> {
        let mut head = [0; 2];
        if self.stream.read_exact(&mut head).is_err_and(|error| is_end(&error)) {
            return Ok(Frame::End);
        }
        assert!(head[0] & 0x70 == 0 && head[1] & 0x80 == 0, "no server's frame: {head:?}");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.bytes())),
            127 => u64::from_be_bytes(self.bytes()),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        assert!(head[0] & 0x80 != 0, "a fragment");
        Ok(match head[0] & 0xf {
            PING => return Err(payload),
            TEXT => Frame::Text(String::from_utf8(payload).expect("text is UTF-8")),
            BINARY => Frame::Binary(payload),
            CLOSE => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                Frame::Close(code, String::from_utf8(payload[2..].to_vec()).expect("UTF-8"))
            }
            PONG => Frame::Pong(payload),
            other => panic!("frame {other}: {payload:?}"),
        })
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The frame that says that output follows.
    #[track_caller]
    pub(crate) fn starting(&mut self) {
        let starting = r#"{"data":"","message":"","msg_type":"starting"}"#;
        assert_eq!(self.next(), Frame::Text(starting.to_owned()));
    }

    /// Output up to the Close, and what the Close says: code, kind, message.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, u16, String, String) {
        let mut output = Vec::new();
        loop {
            match self.next() {
                Frame::Text(text) => output.extend(text.into_bytes()),
                Frame::Binary(bytes) => output.extend(bytes),
                Frame::Close(code, reason) => {
                    let (kind, message) = reason_of(&reason);
                    self.raw(&Self::frame(CLOSE, &code.to_be_bytes()));
                    return (output, code, kind, message);
                }
                Frame::Pong(_) => {}
                Frame::End => panic!("no Close came, only {} bytes of output", output.len()),
            }
        }
    }

    /// The Close that comes next.
    #[track_caller]
    pub(crate) fn close(&mut self) -> (u16, String, String) {
        let (output, code, kind, message) = self.rest();
        assert_eq!(String::from_utf8_lossy(&output), "", "output before the Close");
        (code, kind, message)
    }

    /// Reads output until it contains `text`.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            match self.next() {
                Frame::Text(more) => seen.push_str(&more),
                Frame::Pong(_) => {}
                other => panic!("{other:?} before {text:?}"),
            }
        }
    }
}

fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(ends.contains(&error.kind()), "nothing came for {PATIENCE:?}: {error}");
    true
}

/// Kind and message of a Close's reason, which every client can read.
#[track_caller]
fn reason_of(reason: &str) -> (String, String) {
    assert!(!reason.is_empty() && reason.len() <= 123, "{} bytes: {reason:?}", reason.len());
    let reason: Value = serde_json::from_str(reason).expect("a reason is JSON");
    assert_eq!(reason.as_object().map(serde_json::Map::len), Some(3), "{reason}");
    let text = |key: &str| reason[key].as_str().unwrap().to_owned();
    assert_eq!(text("data"), "");
    (text("msg_type"), text("message"))
}

/// What the first frame says: attached, and starting the container.
pub(crate) fn config(exec: &str) -> Value {
    json!({"exec_id": exec, "attach": true, "start_container": true})
}

/// Makes an execution of `sh -c COMMAND`.
#[track_caller]
pub(crate) fn exec(world: &World, container: &str, command: &str) -> String {
    let body = json!({"container_id": container, "cmd": ["sh", "-c", command]});
    world.http("POST", "/exec/create", Some(&body)).expect(201).id().to_owned()
}

/// State and exit code of an execution.
pub(crate) fn state(world: &World, exec: &str) -> (String, Option<i64>) {
    let reply = world.http("GET", &format!("/exec/{exec}/inspect"), None);
    let state = reply.json["state"].as_str().unwrap_or_default().to_owned();
    (state, reply.json["exit_code"].as_i64())
}
