//! Where the daemon listens, and a stream to it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// An address of `--host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `http:///path`
    Unix(PathBuf),
    /// `http://host:port`
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// An address that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(
        "Could not parse the '--host' parameter: '{text}' is neither http:///PATH nor http://HOST[:PORT]"
    )]
    Invalid { text: String },
    #[error("unsupported: TLS: use http:///PATH or http://HOST:PORT in place of '{text}'")]
    Tls { text: String },
}

impl Target {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, TargetError> {
        let invalid = || TargetError::Invalid { text: text.to_owned() };
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(TargetError::Tls { text: text.to_owned() }),
            _ => return Err(invalid()),
        };
        if rest.contains(['?', '#', '@']) || rest.contains(char::is_control) {
            return Err(invalid());
        }
        if rest.starts_with('/') {
            return if rest.len() > 1 { Ok(Self::Unix(rest.into())) } else { Err(invalid()) };
        }
        let place = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(place).ok_or_else(invalid)?;
        let port = match port {
            None => 80,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?,
        };
        if host.is_empty() || host.contains(['/', '[', ']', ' ']) {
            return Err(invalid());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    /// The `Host` header of requests.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }

    /// A new stream to the daemon.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// `[v6]:port`, `[v6]`, `host:port` or `host`.
fn split_port(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((place, None)),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { .. } => f.write_str(&self.authority()),
        }
    }
}

/// A stream of either kind.
pub(crate) type Stream = Box<dyn Duplex>;

/// What HTTP and websockets need of a stream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        let tcp = |host: &str, port| Target::Tcp { host: host.to_owned(), port };
        for (text, target) in [
            ("http:///var/run/kleened.sock", Target::Unix("/var/run/kleened.sock".into())),
            ("http://127.0.0.1:8085", tcp("127.0.0.1", 8085)),
            ("http://box.example:8085/", tcp("box.example", 8085)),
            ("http://box", tcp("box", 80)),
            ("http://[::1]:8085", tcp("::1", 8085)),
            ("http://[::1]", tcp("::1", 80)),
        ] {
            assert_eq!(Target::parse(text), Ok(target), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in [
            "",
            "/var/run/kleened.sock",
            "unix:///x",
            "http://",
            "http:///",
            "http://a:0",
            "http://a:99999",
            "http://a:b:1",
            "http://::1:80",
            "http://u@a:1",
            "http://a/b?c",
            "http://a/b",
            "http://[::1",
            "http://[::1]8085",
        ] {
            assert!(matches!(Target::parse(text), Err(TargetError::Invalid { .. })), "{text}");
        }
        assert!(matches!(Target::parse("https://a:1"), Err(TargetError::Tls { .. })));
    }
}
