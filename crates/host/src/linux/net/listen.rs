//! Sockets on which the kernel tells everybody what changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

use super::error::NetError;

/// Datagrams that are taken before somebody looks at the clock.
const AT_ONCE: usize = 256;

/// A socket that is told of changes. It belongs to the network namespace in
/// which it was opened, wherever it is used.
#[derive(Debug)]
pub(in crate::linux) struct Listener {
    socket: Socket,
    /// The kernel tells nothing more until all that waits has been read.
    losing: bool,
}

impl Listener {
    /// Listens to groups, a bit for each, in the calling thread's network
    /// namespace.
    pub(in crate::linux) fn open(protocol: isize, groups: u32) -> Result<Self, NetError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(protocol)?;
            socket.bind(&SocketAddr::new(0, groups))?;
            Ok(socket)
        };
        let socket = open().map_err(failed("subscribe to what changes"))?;
        Ok(Self { socket, losing: false })
    }

    /// Lets as many bytes wait, as the kernel counts them.
    pub(in crate::linux) fn hold(&self, bytes: usize) {
        // A favour: with less room more is lost, and that is told.
        let _ = sockopt::set_socket_recv_buffer_size_force(&self.socket, bytes);
    }

    /// Takes what has come so far, or much of it. `None` is taken for what came
    /// and nobody knows: it was lost or does not fit. Where more may be lost, it
    /// comes again when nothing is lost any more.
    pub(in crate::linux) fn drain(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(Option<&[u8]>),
    ) -> Result<(), NetError> {
        for _ in 0..AT_ONCE {
            match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((_, length)) => take(buffer.get(..length)),
                Err(Errno::AGAIN) => {
                    if std::mem::take(&mut self.losing) {
                        take(None);
                    }
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                // More came than was read in time.
                Err(Errno::NOBUFS) => {
                    self.losing = true;
                    take(None);
                }
                Err(errno) => return Err(failed("read what changed")(errno.into())),
            }
        }
        Ok(())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until one of them was told something, or for as long.
pub(in crate::linux) fn is_readable(
    listeners: &[&Listener],
    limit: Duration,
) -> Result<bool, NetError> {
    let longest = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    let timeout = Timespec::try_from(limit).unwrap_or(longest);
    let mut polled: Vec<PollFd<'_>> =
        listeners.iter().map(|listener| PollFd::new(*listener, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        // As if something had come: the caller looks how long it may wait.
        Err(Errno::INTR) => Ok(true),
        Err(errno) => Err(failed("wait for changes")(errno.into())),
    }
}

/// Takes the rest of a burst: until nothing has come for `quiet`, and for
/// `longest` at most.
pub(in crate::linux) fn calm_down<F>(
    follower: &mut F,
    (quiet, longest): (Duration, Duration),
    is_readable: impl Fn(&F, Duration) -> Result<bool, NetError>,
    drain: impl Fn(&mut F) -> Result<(), NetError>,
) -> Result<(), NetError> {
    let latest = Instant::now() + longest;
    loop {
        let left = latest.saturating_duration_since(Instant::now()).min(quiet);
        if left.is_zero() || !is_readable(follower, left)? {
            return Ok(());
        }
        drain(follower)?;
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> NetError {
    move |source| NetError::Socket { what, source }
}
