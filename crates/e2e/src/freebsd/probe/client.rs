//! Asking.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{Address, Heard, Protocol};

/// The longest answer, in bytes.
const LONGEST: usize = 512;

/// Asks once, and tells what became of it within `patience`.
#[must_use]
pub fn ask(
    protocol: Protocol,
    to: Address,
    port: u16,
    source: Option<Address>,
    patience: Duration,
) -> Heard {
    let opened = Flow::open(protocol, to.with_port(port), source, patience);
    let flow = match opened {
        Ok(flow) => flow,
        Err(heard) => return heard,
    };
    flow.exchange("hello").unwrap_or_else(|heard| heard)
}

/// One flow that stays open.
#[derive(Debug)]
pub struct Held(Flow);

impl Held {
    /// Opens it, and asks once.
    ///
    /// # Errors
    /// What became of it, where nobody answered.
    pub fn open(
        protocol: Protocol,
        to: Address,
        port: u16,
        patience: Duration,
    ) -> Result<(Self, Heard), Heard> {
        let flow = Flow::open(protocol, to.with_port(port), None, patience)?;
        let heard = flow.exchange("hello")?;
        Ok((Self(flow), heard))
    }

    /// Sends a line, and tells what comes back.
    pub fn send(&mut self, line: &str) -> Heard {
        self.0.exchange(line).unwrap_or_else(|heard| heard)
    }
}

#[derive(Debug)]
enum Flow {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Flow {
    fn open(
        protocol: Protocol,
        to: SocketAddr,
        source: Option<Address>,
        patience: Duration,
    ) -> Result<Self, Heard> {
        let at = |step| move |errno| Heard::refused(step, errno);
        let io = |step| move |err| Heard::refused(step, errno(&err));
        let fd = socket(protocol, to).map_err(at("socket"))?;
        if let Some(source) = source {
            rustix::net::bind(&fd, &source.with_port(0)).map_err(at("bind"))?;
        }
        connect(&fd, to, patience).map_err(at("connect"))?;
        match protocol {
            Protocol::Tcp => {
                let stream = TcpStream::from(fd);
                let ready = stream.set_nonblocking(false);
                let ready = ready.and_then(|()| stream.set_read_timeout(Some(patience)));
                ready
                    .and_then(|()| stream.set_write_timeout(Some(patience)))
                    .map_err(io("socket"))?;
                Ok(Self::Tcp(stream))
            }
            Protocol::Udp => {
                let socket = UdpSocket::from(fd);
                let ready = socket.set_nonblocking(false);
                ready
                    .and_then(|()| socket.set_read_timeout(Some(patience)))
                    .map_err(io("socket"))?;
                Ok(Self::Udp(socket))
            }
        }
    }

    /// Sends a line and waits for one.
    fn exchange(&self, line: &str) -> Result<Heard, Heard> {
        let io = |step| move |err| Heard::refused(step, errno(&err));
        let mut buffer = [0; LONGEST];
        let (from, count) = match self {
            Self::Tcp(stream) => {
                let mut stream = stream;
                stream.write_all(format!("{line}\n").as_bytes()).map_err(io("send"))?;
                (stream.local_addr(), whole(|| stream.read(&mut buffer)).map_err(io("recv"))?)
            }
            Self::Udp(socket) => {
                whole(|| socket.send(line.as_bytes())).map_err(io("send"))?;
                (socket.local_addr(), whole(|| socket.recv(&mut buffer)).map_err(io("recv"))?)
            }
        };
        if count == 0 {
            return Err(Heard::refused("recv", Errno::CONNRESET));
        }
        let text = String::from_utf8_lossy(&buffer[..count]).trim_end().to_owned();
        Ok(Heard::Answer { from: from.map_err(io("socket"))?, text })
    }
}

fn socket(protocol: Protocol, to: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    rustix::net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

fn connect(fd: &OwnedFd, to: SocketAddr, patience: Duration) -> Result<(), Errno> {
    match rustix::net::connect(fd, &to) {
        Err(Errno::INPROGRESS) => {}
        done => return done,
    }
    let limit = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
    let ready =
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&limit)))?;
    if ready == 0 {
        return Err(Errno::TIMEDOUT);
    }
    sockopt::socket_error(fd)?
}

/// Does it again where a signal came between.
fn whole<T>(mut done: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match done() {
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn errno(err: &std::io::Error) -> Errno {
    match err.kind() {
        std::io::ErrorKind::WriteZero => Errno::PIPE,
        _ => Errno::from_io_error(err).unwrap_or(Errno::IO),
    }
}
