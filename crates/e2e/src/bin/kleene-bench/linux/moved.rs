//! How long published ports are away when the default route moves.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kleene_e2e::poll;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::linux::probe::ONCE;

/// A first packet that is dropped is sent again by the kernel after a second; a new
/// connection asks sooner.
const PATIENCE: Duration = Duration::from_millis(2);
/// Between two attempts, so that the client does not take a processor of its own.
const PAUSE: Duration = Duration::from_micros(100);
/// Until nobody works on what was before, and `ip` reads its input.
const CALM: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(10);

/// Makes `route` the default route of the namespace that it runs in, and prints the
/// nanoseconds until a client in `namespace` is served at `to`. Fails when the client
/// is served without.
pub(crate) fn moved(namespace: &str, to: SocketAddr, route: &str) -> Result<(), String> {
    let failed = |what: &'static str| move |error: Error| format!("{what}: {error}");
    let far = std::fs::File::open(namespace).map_err(failed("open the client's namespace"))?;
    // Started before the clock is.
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed("start ip"))?;
    let mut input = ip.stdin.take().ok_or("ip has no input")?;
    let (refused, is_refused) = mpsc::channel();
    let client = std::thread::spawn(move || -> Result<Instant, String> {
        move_into_link_name_space(far.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("enter the client's namespace: {error}"))?;
        until(|| !served(to)).ok_or("served before the route moved")?;
        if poll(CALM, || served(to).then_some(())).is_some() {
            return Err("served before the route moved".to_owned());
        }
        refused.send(()).map_err(|error| error.to_string())?;
        until(|| served(to)).ok_or_else(|| format!("not served within {LIMIT:?}"))
    });
    // Where it fails, joining says why.
    let start = is_refused.recv().map(|()| Instant::now());
    if start.is_ok() {
        writeln!(input, "route replace default {route}").map_err(failed("ask ip"))?;
    }
    let end = client.join().map_err(|_| "the client panicked")??;
    drop(input);
    let status = ip.wait().map_err(failed("wait for ip"))?;
    if !status.success() {
        return Err(format!("ip route replace default {route}: {status}"));
    }
    let start = start.map_err(|error| error.to_string())?;
    println!("{}", end.duration_since(start).as_nanos());
    Ok(())
}

/// When it held; `None` where it did not within the limit.
fn until(mut holds: impl FnMut() -> bool) -> Option<Instant> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if holds() {
            return Some(Instant::now());
        }
        std::thread::park_timeout(PAUSE);
    }
    None
}

fn served(to: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&[ONCE])?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        if answer == [ONCE] { Ok(()) } else { Err(Error::from(ErrorKind::InvalidData)) }
    };
    ask().is_ok()
}
