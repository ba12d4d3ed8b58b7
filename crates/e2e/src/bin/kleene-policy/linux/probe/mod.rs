//! The probe: one in each place. It takes orders from the hub line by line,
//! sends what they say, serves, and tells what it saw.
//!
//! ```text
//! probe → hub   hello NAME raw|cooked
//! hub → probe   listen PORT,PORT ADDRESS,ADDRESS
//! probe → hub   listening            or    cannot listen: WHY
//! hub → probe   flow ID KIND SOURCE DESTINATION PORT MILLISECONDS
//! probe → hub   done ID answer NAME LOCALPORT PEER | error ERRNO | silence | sent
//! probe → hub   seen ID PEER         a datagram, an echo request, a SYN by hand came here
//! ```

mod packet;
mod send;
mod serve;

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// Flows that one place has on their way at once.
const WORKERS: usize = 24;
/// What marks our datagrams; the number of the flow follows.
const MARK: &str = "kleene-policy ";

/// What a flow is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    /// UDP by a socket that may have any source.
    FreeUdp,
    Echo,
    /// A whole packet of our own making.
    CraftedTcp,
    CraftedUdp,
    CraftedEcho,
}

impl Kind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Tcp, "tcp"),
        (Self::Udp, "udp"),
        (Self::FreeUdp, "free-udp"),
        (Self::Echo, "echo"),
        (Self::CraftedTcp, "crafted-tcp"),
        (Self::CraftedUdp, "crafted-udp"),
        (Self::CraftedEcho, "crafted-echo"),
    ];

    /// Whether it is a whole packet, which nobody waits for an answer to.
    pub(crate) fn is_crafted(self) -> bool {
        matches!(self, Self::CraftedTcp | Self::CraftedUdp | Self::CraftedEcho)
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// One flow that is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) source: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) port: u16,
    pub(crate) patience: Duration,
}

impl Order {
    pub(crate) fn line(&self) -> String {
        let Self { id, kind, source, to, port, patience } = self;
        format!("flow {id} {} {source} {to} {port} {}\n", kind.word(), patience.as_millis())
    }

    fn read(words: &[&str]) -> Option<Self> {
        let [id, kind, source, to, port, patience] = words else { return None };
        Some(Self {
            id: id.parse().ok()?,
            kind: Kind::read(kind)?,
            source: source.parse().ok()?,
            to: to.parse().ok()?,
            port: port.parse().ok()?,
            patience: Duration::from_millis(patience.parse().ok()?),
        })
    }
}

/// The way back to the hub, for all threads.
#[derive(Debug, Clone)]
struct Voice(Arc<Mutex<UnixStream>>);

impl Voice {
    fn say(&self, line: &str) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A hub that is gone closes the other direction, too, and that is noticed.
        let _ = stream.write_all(format!("{line}\n").as_bytes());
    }
}

fn mark(id: u64) -> String {
    format!("{MARK}{id}")
}

fn marked(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.strip_prefix(MARK)?.parse().ok()
}

/// `probe HUB NAME`: runs until the hub is gone.
pub(crate) fn main(args: &[String]) -> Result<(), String> {
    let [hub, name] = args else { return Err("probe HUB NAME".to_owned()) };
    let stream = UnixStream::connect(hub).map_err(|error| format!("connect to {hub}: {error}"))?;
    let read = stream.try_clone().map_err(|error| format!("double the connection: {error}"))?;
    let voice = Voice(Arc::new(Mutex::new(stream)));
    let raw = if serve::raw(&voice) { "raw" } else { "cooked" };
    voice.say(&format!("hello {name} {raw}"));
    let (orders, taken) = mpsc::channel();
    workers(taken, &voice);
    for line in BufReader::new(read).lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["listen", ports, addresses] => match serve::start(name, ports, addresses, &voice) {
                Ok(()) => voice.say("listening"),
                Err(why) => voice.say(&format!("cannot listen: {why}")),
            },
            ["flow", rest @ ..] => {
                let order = Order::read(rest).ok_or_else(|| format!("odd order: {line}"))?;
                orders.send(order).map_err(|_| "all workers are gone".to_owned())?;
            }
            _ => return Err(format!("odd line: {line}")),
        }
    }
    Ok(())
}

fn workers(orders: mpsc::Receiver<Order>, voice: &Voice) {
    let orders = Arc::new(Mutex::new(orders));
    for _ in 0..WORKERS {
        let (orders, voice) = (Arc::clone(&orders), voice.clone());
        std::thread::spawn(move || {
            loop {
                let next = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(order) = next else { return };
                let outcome = send::run(&order);
                voice.say(&format!("done {} {outcome}", order.id));
            }
        });
    }
}
