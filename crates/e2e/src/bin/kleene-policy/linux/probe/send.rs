//! Sending one flow, and what becomes of it.

use super::packet;
use super::{Kind, Order, mark, marked};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, sockopt};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What becomes of a flow, in the words of the protocol.
pub(super) fn run(order: &Order) -> String {
    let outcome = match order.kind {
        Kind::Tcp => tcp(order),
        Kind::Udp | Kind::FreeUdp => udp(order),
        Kind::Echo => echo(order),
        Kind::CraftedTcp | Kind::CraftedUdp | Kind::CraftedEcho => crafted(order),
    };
    outcome.unwrap_or_else(|errno| match errno {
        Errno::AGAIN | Errno::TIMEDOUT => "silence".to_owned(),
        other => format!("error {}", name(other)),
    })
}

fn name(errno: Errno) -> String {
    let known = [
        (Errno::PERM, "EPERM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::INVAL, "EINVAL"),
        (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::HOSTUNREACH, "EHOSTUNREACH"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::PROTO, "EPROTO"),
    ];
    let word = known.iter().find(|(known, _)| *known == errno).map(|(_, word)| *word);
    word.map_or_else(|| format!("E{}", errno.raw_os_error()), str::to_owned)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn socket(
    to: IpAddr,
    kind: SocketType,
    flags: SocketFlags,
    protocol: Option<Protocol>,
) -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(family(to), kind, flags | SocketFlags::CLOEXEC, protocol)
}

fn tcp(order: &Order) -> Result<String, Errno> {
    let deadline = Instant::now() + order.patience;
    let fd = socket(order.to, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    rustix::net::bind(&fd, &SocketAddr::new(order.source, 0))?;
    match rustix::net::connect(&fd, &SocketAddr::new(order.to, order.port)) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let limit = Timespec::try_from(order.patience).map_err(|_| Errno::INVAL)?;
            if poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&limit))? == 0 {
                return Err(Errno::TIMEDOUT);
            }
            sockopt::socket_error(&fd)??;
        }
        Err(error) => return Err(error),
    }
    let mut stream = TcpStream::from(fd);
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(50));
    let mut text = String::new();
    stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(left)))
        .and_then(|()| stream.read_to_string(&mut text))
        .map_err(|error| errno(&error))?;
    Ok(format!("answer {}", text.trim()))
}

fn udp(order: &Order) -> Result<String, Errno> {
    let fd = socket(order.to, SocketType::DGRAM, SocketFlags::empty(), None)?;
    if order.kind == Kind::FreeUdp {
        match order.to {
            IpAddr::V4(_) => sockopt::set_ip_freebind(&fd, true)?,
            IpAddr::V6(_) => sockopt::set_ipv6_freebind(&fd, true)?,
        }
    }
    rustix::net::bind(&fd, &SocketAddr::new(order.source, 0))?;
    rustix::net::connect(&fd, &SocketAddr::new(order.to, order.port))?;
    let socket = UdpSocket::from(fd);
    let mut buffer = [0; 256];
    let heard = socket
        .set_read_timeout(Some(order.patience))
        .and_then(|()| socket.send(mark(order.id).as_bytes()))
        .and_then(|_| socket.recv(&mut buffer))
        .map_err(|error| errno(&error))?;
    Ok(format!("answer {}", String::from_utf8_lossy(&buffer[..heard])))
}

fn icmp(v4: bool) -> Protocol {
    if v4 { ipproto::ICMP } else { ipproto::ICMPV6 }
}

fn echo(order: &Order) -> Result<String, Errno> {
    let v4 = order.to.is_ipv4();
    let deadline = Instant::now() + order.patience;
    let fd = socket(order.to, SocketType::RAW, SocketFlags::empty(), Some(icmp(v4)))?;
    rustix::net::bind(&fd, &SocketAddr::new(order.source, 0))?;
    rustix::net::connect(&fd, &SocketAddr::new(order.to, 0))?;
    let socket = UdpSocket::from(fd);
    let request = packet::echo(v4, ident(order.id), mark(order.id).as_bytes());
    socket.send(&request).map_err(|error| errno(&error))?;
    let mut buffer = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        let heard = socket.set_read_timeout(Some(left)).and_then(|()| socket.recv(&mut buffer));
        let heard = heard.map_err(|error| errno(&error))?;
        // Others' answers come here, too.
        if let Some((false, payload)) = packet::read_echo(v4, &buffer[..heard])
            && marked(payload) == Some(order.id)
        {
            // Who says nothing of himself; the one who was asked tells the hub.
            return Ok(format!("answer - 0 {}", order.source));
        }
    }
}

fn ident(id: u64) -> u16 {
    u16::try_from(id & 0xffff).unwrap_or_default()
}

fn crafted(order: &Order) -> Result<String, Errno> {
    let payload = mark(order.id);
    let (source, to) = (order.source, order.to);
    let ports = (20_000 + ident(order.id) % 20_000, order.port);
    let packet = match order.kind {
        Kind::CraftedTcp => {
            let number = u32::try_from(order.id).map_err(|_| Errno::INVAL)?;
            packet::syn(source, to, ports, number)
        }
        Kind::CraftedUdp => packet::udp(source, to, ports, payload.as_bytes()),
        _ => packet::whole_echo(source, to, ident(order.id), payload.as_bytes()),
    };
    let fd = socket(order.to, SocketType::RAW, SocketFlags::empty(), Some(ipproto::RAW))?;
    rustix::net::sendto(
        &fd,
        &packet,
        rustix::net::SendFlags::empty(),
        &SocketAddr::new(order.to, 0),
    )?;
    Ok("sent".to_owned())
}
