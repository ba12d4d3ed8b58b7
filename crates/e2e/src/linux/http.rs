//! A small HTTP/1.1 client over a unix socket: one request, one connection.
//! Our own, because a test must see exactly what the daemon sends.

use crate::linux::error::{Result, WorldError};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longer than any client waits (5 s), so that it is the test that notices.
const LIMIT: Duration = Duration::from_secs(15);

/// An answer of the daemon.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and their values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub json: serde_json::Value,
}

impl Reply {
    /// Asserts the status code.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert!(self.status == status, "expected {status}, got {}: {}", self.status, self.text);
        self
    }

    /// The `message` of a refusal.
    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }

    /// The `id` of a success.
    pub fn id(&self) -> &str {
        self.json["id"].as_str().unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<Reply> {
    let what = || format!("{method} {path}");
    let mut stream = UnixStream::connect(socket).map_err(WorldError::file("connect to", socket))?;
    stream.set_read_timeout(Some(LIMIT)).map_err(WorldError::sys(what()))?;
    let body = body.map(serde_json::Value::to_string);
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: kleened\r\nConnection: close\r\n");
    if let Some(body) = &body {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += body.as_deref().unwrap_or_default();
    stream.write_all(request.as_bytes()).map_err(WorldError::sys(what()))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(WorldError::sys(what()))?;
    parse(&answer).ok_or_else(|| {
        WorldError::Other(format!("{}: no HTTP: {:?}", what(), String::from_utf8_lossy(&answer)))
    })
}

/// Takes an answer apart that ended with its connection.
fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let raw = &answer[end + 4..];
    let chunked = headers.iter().any(|(k, v)| k == "transfer-encoding" && v == "chunked");
    let body = if chunked { unchunk(raw)? } else { raw.to_vec() };
    let length = headers.iter().find(|(k, _)| k == "content-length");
    if length.is_some_and(|(_, v)| v.parse() != Ok(body.len())) {
        return None;
    }
    let text = String::from_utf8(body).ok()?;
    let json = serde_json::from_str(&text).unwrap_or_default();
    Some(Reply { status, headers, text, json })
}

fn unchunk(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = raw.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&raw[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        raw = &raw[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(raw.get(..size)?);
        raw = raw.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_chunked() {
        let plain = b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"id\":\"a\"}";
        let reply = parse(plain).unwrap();
        assert_eq!((reply.status, reply.id()), (201, "a"));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().json, serde_json::json!([1, 2]));
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1").is_none());
        assert!(parse(b"").is_none());
    }
}
