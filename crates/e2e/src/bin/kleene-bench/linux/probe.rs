//! The two ends of what is measured: how much goes through a connection, and how
//! many connections there are in a second.
//!
//! - `serve ADDRESS PORT`: serves every client as it asks
//! - `stream ADDRESS PORT MILLISECONDS`: prints how many bytes arrived, and
//!   the nanoseconds
//! - `connect ADDRESS PORT MILLISECONDS`: prints how often it was served, and
//!   the nanoseconds
//! - `talk ADDRESS PORT`: asks and is answered over one connection until its
//!   input ends, and prints how often and the longest wait in nanoseconds
//! - `moved NAMESPACE ADDRESS PORT ROUTE`: makes ROUTE the default route, and prints
//!   the nanoseconds until a client in NAMESPACE is served

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::linux::moved;

const STREAM: u8 = b's';
pub(crate) const ONCE: u8 = b'o';
const TALK: u8 = b't';
const CHUNK: usize = 128 * 1024;

pub(crate) fn probe(args: &[String]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let failed = |error: io::Error| format!("{}: {error}", words.join(" "));
    match words.as_slice() {
        ["serve", address, port] => serve(socket(address, port)?).map_err(failed),
        ["stream", address, port, limit] => {
            stream(socket(address, port)?, millis(limit)?).map_err(failed)
        }
        ["connect", address, port, limit] => {
            connect(socket(address, port)?, millis(limit)?).map_err(failed)
        }
        ["moved", namespace, address, port, route] => {
            moved::moved(namespace, socket(address, port)?, route)
        }
        ["talk", address, port] => talk(socket(address, port)?).map_err(failed),
        _ => Err(format!("not a probe: {}", words.join(" "))),
    }
}

fn socket(address: &str, port: &str) -> Result<SocketAddr, String> {
    let address: IpAddr = address.parse().map_err(|_| format!("no address: {address}"))?;
    let port: u16 = port.parse().map_err(|_| format!("no port: {port}"))?;
    Ok((address, port).into())
}

fn millis(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|_| format!("no time: {text}"))
}

fn serve(at: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    println!("up");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || drop(answer(stream)));
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut wanted = [0];
    stream.read_exact(&mut wanted)?;
    match wanted {
        [STREAM] => {
            let (mut buffer, mut total) = (vec![0; CHUNK], 0_u64);
            loop {
                match stream.read(&mut buffer)? {
                    0 => return stream.write_all(&total.to_be_bytes()),
                    count => total += count as u64,
                }
            }
        }
        [TALK] => {
            stream.set_nodelay(true)?;
            loop {
                stream.read_exact(&mut wanted)?;
                stream.write_all(&wanted)?;
            }
        }
        _ => stream.write_all(&wanted),
    }
}

fn stream(to: SocketAddr, limit: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    let chunk = vec![0; CHUNK];
    let start = Instant::now();
    stream.write_all(&[STREAM])?;
    while start.elapsed() < limit {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    println!("{} {}", u64::from_be_bytes(total), start.elapsed().as_nanos());
    Ok(())
}

fn connect(to: SocketAddr, limit: Duration) -> io::Result<()> {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < limit {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(&[ONCE])?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer != [ONCE] {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count += 1;
    }
    println!("{count} {}", start.elapsed().as_nanos());
    Ok(())
}

fn talk(to: SocketAddr) -> io::Result<()> {
    /// A talk, not a load.
    const PAUSE: Duration = Duration::from_millis(1);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[TALK])?;
    println!("up");
    let (mut count, mut longest) = (0_u64, Duration::ZERO);
    while end.recv_timeout(PAUSE).is_err() {
        let (start, mut answer) = (Instant::now(), [0]);
        stream.write_all(&[TALK])?;
        stream.read_exact(&mut answer)?;
        longest = longest.max(start.elapsed());
        count += 1;
    }
    println!("{count} {}", longest.as_nanos());
    Ok(())
}
