//! Keeps what is sent to the kernel, for the benchmark that sends the same again
//! to measure the kernel's share of it.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::MetadataExt as _;

thread_local! {
    static SENT: RefCell<Option<Vec<Sent>>> = const { RefCell::new(None) };
}

/// Where a socket belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The inode of its network namespace.
    pub namespace: u64,
    /// Its netlink protocol.
    pub protocol: isize,
}

impl Origin {
    /// Of a socket that the calling thread opens.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn here(protocol: isize) -> io::Result<Self> {
        let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
        Ok(Self { namespace, protocol })
    }
}

/// A datagram that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Over which socket.
    pub origin: Origin,
    /// Netlink messages.
    pub datagram: Vec<u8>,
}

/// Keeps what the calling thread sends from now on.
pub fn start() {
    SENT.set(Some(Vec::new()));
}

/// What was sent since the start. Nothing is kept any more.
#[must_use]
pub fn stop() -> Vec<Sent> {
    SENT.take().unwrap_or_default()
}

pub(super) fn note(origin: Origin, datagram: &[u8]) {
    SENT.with_borrow_mut(|sent| {
        if let Some(sent) = sent {
            sent.push(Sent { origin, datagram: datagram.to_vec() });
        }
    });
}
