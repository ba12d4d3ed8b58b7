//! A netlink socket that is asked and answers: what route-netlink and netfilter
//! have in common.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::error::NetError;
use super::wire::Frame;

/// The kernel answers at once; what waits are only deletions and others'
/// transactions, for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel fills at most half of it with a part of a list.
const BUFFER: usize = 64 * 1024;

/// A netlink socket that is asked and answers. It belongs to the network
/// namespace in which it was opened, wherever it is used.
#[derive(Debug)]
pub(in crate::linux) struct Channel {
    socket: Socket,
    /// Where the kernel's answers go.
    port: u32,
    #[cfg(feature = "record")]
    origin: super::record::Origin,
    /// Empty while nothing is read.
    buffer: Vec<u8>,
}

impl Channel {
    /// Opens a socket in the calling thread's network namespace.
    pub(in crate::linux) fn open(protocol: isize) -> Result<Self, NetError> {
        let open = || -> io::Result<Self> {
            let mut socket = Socket::new(protocol)?;
            let port = socket.bind_auto()?.port_number();
            // Nobody but the kernel can send to a connected socket.
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            // A refusal would carry the refused message, elements and all.
            socket.set_cap_ack(true)?;
            Ok(Self {
                socket,
                port,
                #[cfg(feature = "record")]
                origin: super::record::Origin::here(protocol)?,
                buffer: Vec::new(),
            })
        };
        open().map_err(failed("open a netlink socket"))
    }

    /// The socket's own number.
    pub(in crate::linux) fn port(&self) -> u32 {
        self.port
    }

    /// Gives the memory back that reading takes, until something is read again.
    pub(super) fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    /// Asks the kernel to apply the filters of lists, which old ones do not.
    pub(super) fn filter_lists(&mut self) {
        // A favour: they are applied here again.
        let _ = self.socket.set_netlink_get_strict_chk(true);
    }

    /// Sends a datagram; until when its answers are waited for.
    pub(in crate::linux) fn send(&self, datagram: &[u8]) -> Result<Instant, NetError> {
        #[cfg(feature = "record")]
        super::record::note(self.origin, datagram);
        let failed = failed("send to the kernel");
        let sent = loop {
            match self.socket.send(datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent.map_err(failed)?,
            }
        };
        if sent != datagram.len() {
            return Err(failed(io::ErrorKind::WriteZero.into()));
        }
        Ok(Instant::now() + PATIENCE)
    }

    /// The next datagram, waited for until the deadline.
    pub(in crate::linux) fn receive(&mut self, deadline: Instant) -> Result<&[u8], NetError> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        self.buffer.resize(BUFFER, 0);
        let length = loop {
            match recv(&self.socket, self.buffer.as_mut_slice(), flags) {
                Ok((_, length)) => break length,
                Err(Errno::AGAIN) => self.wait(deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("read the kernel's answer")(errno.into())),
            }
        };
        self.buffer.get(..length).ok_or(NetError::Malformed("a datagram does not fit"))
    }

    fn wait(&self, deadline: Instant) -> Result<(), NetError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NetError::Silent(PATIENCE));
        }
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(failed("wait for the kernel's answer")(errno.into())),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> NetError + Copy {
    move |source| NetError::Socket { what, source }
}

/// Which message of a datagram another answers. Those of earlier datagrams,
/// given up at their deadline, are far out of the range.
pub(in crate::linux) fn place(frame: &Frame<'_>, first: u32) -> Option<usize> {
    usize::try_from(frame.sequence.wrapping_sub(first)).ok()
}
