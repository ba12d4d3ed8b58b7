//! Answering, and telling what came.

use super::packet;
use super::{Voice, marked};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, sockopt};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

enum Server {
    Tcp(TcpListener),
    /// The port is told in the answer: a published port may lead to another.
    Udp(UdpSocket, u16),
}

impl Server {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Udp(socket, _) => socket.as_fd(),
        }
    }
}

/// Serves ports on the wildcard, and in UDP on each of the addresses as well, so
/// that answers come from the address that was asked.
pub(super) fn start(name: &str, ports: &str, addresses: &str, voice: &Voice) -> Result<(), String> {
    let ports: Vec<u16> = ports.split(',').filter_map(|port| port.parse().ok()).collect();
    let own: Vec<IpAddr> = addresses.split(',').filter_map(|addr| addr.parse().ok()).collect();
    let wildcards: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let mut servers = Vec::new();
    for port in ports {
        for addr in wildcards {
            let fd = bound(SocketAddr::new(addr, port), SocketType::STREAM)?;
            rustix::net::listen(&fd, 256).map_err(|error| format!("listen: {error}"))?;
            servers.push(Server::Tcp(TcpListener::from(fd)));
        }
        for addr in wildcards.iter().chain(&own) {
            let fd = bound(SocketAddr::new(*addr, port), SocketType::DGRAM)?;
            servers.push(Server::Udp(UdpSocket::from(fd), port));
        }
    }
    let (name, voice) = (name.to_owned(), voice.clone());
    std::thread::spawn(move || serve(&name, &servers, &voice));
    Ok(())
}

fn bound(at: SocketAddr, kind: SocketType) -> Result<OwnedFd, String> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let make = || {
        let fd = rustix::net::socket_with(family, kind, flags, None)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        if at.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        rustix::net::bind(&fd, &at)?;
        Ok(fd)
    };
    make().map_err(|error: rustix::io::Errno| format!("bind {at}: {error}"))
}

fn serve(name: &str, servers: &[Server], voice: &Voice) {
    loop {
        let mut ready: Vec<PollFd<'_>> = servers
            .iter()
            .map(|server| PollFd::from_borrowed_fd(server.fd(), PollFlags::IN))
            .collect();
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let awake = ready.iter().map(|one| !one.revents().is_empty()).collect::<Vec<_>>();
        for (server, _) in servers.iter().zip(awake).filter(|(_, awake)| *awake) {
            match server {
                Server::Tcp(listener) => accept(name, listener),
                Server::Udp(socket, port) => answer(name, socket, *port, voice),
            }
        }
    }
}

fn accept(name: &str, listener: &TcpListener) {
    while let Ok((mut stream, peer)) = listener.accept() {
        let port = stream.local_addr().map(|local| local.port()).unwrap_or_default();
        // A client that is gone already is its own business.
        let _ = stream.write_all(format!("{name} {port} {}\n", peer.ip()).as_bytes());
    }
}

fn answer(name: &str, socket: &UdpSocket, port: u16, voice: &Voice) {
    let mut buffer = [0; 256];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((heard, peer)) => {
                let Some(id) = marked(&buffer[..heard]) else { continue };
                voice.say(&format!("seen {id} {}", peer.ip()));
                let _ = socket.send_to(format!("{name} {port} {}", peer.ip()).as_bytes(), peer);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            // What an answer before met, told now.
            Err(_) => {}
        }
    }
}

/// Tells of what only raw sockets see; whether this place may have them.
pub(super) fn raw(voice: &Voice) -> bool {
    let open = |family, protocol| {
        rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
    };
    let wanted: [(AddressFamily, Protocol, Read); 4] = [
        (AddressFamily::INET, ipproto::ICMP, echo4),
        (AddressFamily::INET6, ipproto::ICMPV6, echo6),
        (AddressFamily::INET, ipproto::TCP, |packet| packet::read_syn(true, packet)),
        (AddressFamily::INET6, ipproto::TCP, |packet| packet::read_syn(false, packet)),
    ];
    let mut sockets = Vec::new();
    for (family, protocol, read) in wanted {
        let Ok(fd) = open(family, protocol) else { return false };
        sockets.push((UdpSocket::from(fd), read));
    }
    for (socket, read) in sockets {
        let voice = voice.clone();
        std::thread::spawn(move || listen(&socket, read, &voice));
    }
    true
}

/// The number of the flow that a packet belongs to.
type Read = fn(&[u8]) -> Option<u64>;

fn echo4(packet: &[u8]) -> Option<u64> {
    requested(true, packet)
}

fn echo6(packet: &[u8]) -> Option<u64> {
    requested(false, packet)
}

fn requested(v4: bool, packet: &[u8]) -> Option<u64> {
    let (is_request, payload) = packet::read_echo(v4, packet)?;
    if is_request { marked(payload) } else { None }
}

fn listen(socket: &UdpSocket, read: Read, voice: &Voice) {
    let mut buffer = [0; 512];
    loop {
        let Ok((heard, peer)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(id) = read(&buffer[..heard]) {
            voice.say(&format!("seen {id} {}", peer.ip()));
        }
    }
}
