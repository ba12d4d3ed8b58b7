//! The harness's end of the probes: they all connect to one socket, which goes on
//! while the daemon stands still.

use crate::linux::place::Place;
use crate::linux::probe::Order;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long a probe may take for what is no flow.
const LIMIT: Duration = Duration::from_secs(20);
/// How long nothing at all may be heard while flows are on their way.
const QUIET: Duration = Duration::from_secs(15);
/// How long nothing may be heard for what arrives to count as all that will.
const LINGER: Duration = Duration::from_millis(150);

/// What came of a flow, as its sender tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Who answered, on which port, and which source it saw. ICMP does not say who.
    Answer {
        by: Option<String>,
        port: u16,
        peer: IpAddr,
    },
    Error(String),
    Silence,
    /// A crafted packet has left; nobody waits for an answer.
    Sent,
}

/// A flow and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    /// Where it arrived, and with which source; TCP tells nothing here.
    pub(crate) arrived: Vec<(String, IpAddr)>,
}

enum News {
    /// Name, and whether it has raw sockets.
    Hello(String, bool, UnixStream),
    Line(String, String),
    Gone(String),
}

/// All probes of a world.
pub(crate) struct Hub {
    news: Receiver<News>,
    probes: BTreeMap<String, (UnixStream, bool)>,
}

impl Hub {
    /// Listens; probes may come from now on.
    pub(crate) fn open(socket: &Path) -> Result<Self, String> {
        let listener = UnixListener::bind(socket)
            .map_err(|error| format!("listen on {}: {error}", socket.display()))?;
        let (send, news) = channel();
        std::thread::spawn(move || accept(&listener, &send));
        Ok(Self { news, probes: BTreeMap::new() })
    }

    /// Waits until all of these have said hello.
    pub(crate) fn wait_for(&mut self, places: &[Place]) -> Result<(), String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let absent = places.iter().find(|place| !self.probes.contains_key(&place.to_string()));
            let Some(absent) = absent else { return Ok(()) };
            let left = deadline.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok(News::Hello(name, raw, stream)) => {
                    self.probes.insert(name, (stream, raw));
                }
                Ok(News::Line(name, line)) => return Err(format!("{name} says: {line}")),
                Ok(News::Gone(name)) => return Err(format!("the probe in {name} ended")),
                Err(_) => return Err(format!("no probe in {absent} after {LIMIT:?}")),
            }
        }
    }

    /// Whether a place may send and see echo requests.
    pub(crate) fn is_raw(&self, place: &Place) -> bool {
        self.probes.get(&place.to_string()).is_some_and(|(_, raw)| *raw)
    }

    fn tell(&mut self, place: &str, line: &str) -> Result<(), String> {
        let (stream, _) = self.probes.get_mut(place).ok_or_else(|| format!("no probe {place}"))?;
        stream.write_all(line.as_bytes()).map_err(|error| format!("tell {place}: {error}"))
    }

    /// Has places serve, and waits until they do.
    pub(crate) fn listen(&mut self, all: &[(Place, String)]) -> Result<(), String> {
        for (place, line) in all {
            self.tell(&place.to_string(), &format!("listen {line}\n"))?;
        }
        for _ in all {
            match self.news.recv_timeout(LIMIT) {
                Ok(News::Line(_, line)) if line == "listening" => {}
                Ok(News::Line(name, line)) => return Err(format!("{name}: {line}")),
                Ok(News::Gone(name)) => return Err(format!("the probe in {name} ended")),
                _ => return Err(format!("a place does not listen after {LIMIT:?}")),
            }
        }
        Ok(())
    }

    /// Sends all of these and gives what came of them, by their numbers.
    pub(crate) fn run(
        &mut self,
        orders: &[(Place, Order)],
    ) -> Result<BTreeMap<u64, Report>, String> {
        let mut reports: BTreeMap<u64, Report> = BTreeMap::new();
        let fresh = || Report { outcome: Outcome::Silence, arrived: Vec::new() };
        for (place, order) in orders {
            reports.insert(order.id, fresh());
            self.tell(&place.to_string(), &order.line())?;
        }
        let mut open = orders.len();
        // Nobody answers a crafted packet; when the last has left, its arrival may
        // not have been told yet.
        let lingers = orders.iter().any(|(_, order)| order.kind.is_crafted());
        while open > 0 || lingers {
            let patience = if open > 0 { QUIET } else { LINGER };
            let (name, line) = match self.news.recv_timeout(patience) {
                Ok(News::Line(name, line)) => (name, line),
                Ok(News::Hello(..)) => continue,
                Ok(News::Gone(name)) => return Err(format!("the probe in {name} ended")),
                Err(_) if open == 0 => break,
                Err(_) => return Err(format!("{open} flows have no end after {QUIET:?}")),
            };
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["done", id, rest @ ..] => {
                    if let Some(report) = number(id).and_then(|id| reports.get_mut(&id)) {
                        open -= 1;
                        report.outcome =
                            outcome(rest).ok_or_else(|| format!("{name} says: {line}"))?;
                    }
                }
                ["seen", id, peer] => {
                    // One that came late from a round before has no report here.
                    if let Some(report) = number(id).and_then(|id| reports.get_mut(&id)) {
                        report.arrived.extend(peer.parse().ok().map(|peer| (name, peer)));
                    }
                }
                _ => return Err(format!("{name} says: {line}")),
            }
        }
        Ok(reports)
    }
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

fn outcome(words: &[&str]) -> Option<Outcome> {
    Some(match words {
        ["answer", by, port, peer] => Outcome::Answer {
            by: (*by != "-").then(|| (*by).to_owned()),
            port: port.parse().ok()?,
            peer: peer.parse().ok()?,
        },
        ["error", why] => Outcome::Error((*why).to_owned()),
        ["silence"] => Outcome::Silence,
        ["sent"] => Outcome::Sent,
        // Closed without a word.
        ["answer", ..] => Outcome::Error("no words".to_owned()),
        _ => return None,
    })
}

fn accept(listener: &UnixListener, news: &Sender<News>) {
    for stream in listener.incoming().flatten() {
        let news = news.clone();
        std::thread::spawn(move || read(stream, &news));
    }
}

fn read(stream: UnixStream, news: &Sender<News>) {
    let Ok(read) = stream.try_clone() else { return };
    let mut lines = BufReader::new(read).lines();
    let Some(Ok(hello)) = lines.next() else { return };
    let mut words = hello.split(' ').skip(1).map(str::to_owned);
    let (Some(name), Some(raw)) = (words.next(), words.next()) else { return };
    if news.send(News::Hello(name.clone(), raw == "raw", stream)).is_err() {
        return;
    }
    for line in lines.map_while(Result::ok) {
        if news.send(News::Line(name.clone(), line)).is_err() {
            return;
        }
    }
    // The harness may be gone before its probes.
    let _ = news.send(News::Gone(name));
}
