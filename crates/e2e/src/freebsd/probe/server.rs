//! Answering.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};

use super::Address;

/// Answers on these addresses and ports, over TCP and UDP, until the process is
/// ended. Says where it listens, line by line, and `ready` when everywhere.
///
/// # Errors
/// The first address that cannot be had, by name, or a closed output.
pub fn serve(
    name: &str,
    ports: &[u16],
    addresses: &[Address],
    say: &dyn Fn(&str) -> io::Result<()>,
) -> io::Result<bool> {
    for address in addresses {
        for port in ports {
            let at = address.with_port(*port);
            let named = |err: io::Error| {
                io::Error::new(err.kind(), format!("{name} cannot have {at}: {err}"))
            };
            let bound = TcpListener::bind(at).and_then(|tcp| Ok((tcp, UdpSocket::bind(at)?)));
            let (tcp, udp) = match bound.map_err(named) {
                Ok(bound) => bound,
                Err(err) => {
                    say(&err.to_string())?;
                    return Ok(false);
                }
            };
            let (own, its) = (name.to_owned(), name.to_owned());
            std::thread::spawn(move || over_tcp(&own, &tcp));
            std::thread::spawn(move || over_udp(&its, &udp));
            say(&format!("{name} listening {at}"))?;
        }
    }
    say("ready")?;
    loop {
        std::thread::park();
    }
}

fn over_tcp(name: &str, listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        let name = name.to_owned();
        std::thread::spawn(move || drop(answer(&name, &stream)));
    }
}

/// The first line is answered with who and whom, later ones come back.
fn answer(name: &str, stream: &TcpStream) -> io::Result<()> {
    let mut write = stream;
    let (peer, own) = (stream.peer_addr()?, stream.local_addr()?);
    for (number, line) in BufReader::new(stream).lines().enumerate() {
        let line = line?;
        match number {
            0 => write.write_all(format!("{name} saw {peer} at {own}\n").as_bytes())?,
            _ => write.write_all(format!("echo {line}\n").as_bytes())?,
        }
    }
    Ok(())
}

fn over_udp(name: &str, socket: &UdpSocket) {
    let mut buffer = [0; 512];
    // An error is an earlier answer's that nobody took.
    loop {
        if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(format!("{name} saw {peer}").as_bytes(), peer));
        }
    }
}
