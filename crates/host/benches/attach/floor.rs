//! Says to the kernel what was said to it before, and takes the time.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use kleene_host::linux::net::record::{Origin, Sent};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

use crate::testing::inside;

/// Where the parts of a message's header are.
const FLAGS: std::ops::Range<usize> = 6..8;
const SEQUENCE: std::ops::Range<usize> = 8..12;
const ACKNOWLEDGE: u16 = 4;
const ERROR: u16 = 2;
/// How long the kernel may take with what it does in its own time.
const PATIENCE: Duration = Duration::from_millis(20);

/// Sockets that are open, by where they belong.
pub(crate) struct Floor {
    sockets: HashMap<Origin, Socket>,
}

impl Floor {
    /// Opens sockets in the calling thread's namespace, the host's.
    pub(crate) fn open() -> Self {
        let protocols = [NETLINK_ROUTE, NETLINK_NETFILTER];
        Self { sockets: protocols.into_iter().map(open).collect() }
    }

    /// Opens a socket in a container's namespace.
    pub(crate) fn enter(&mut self, netns: &OwnedFd) {
        let (origin, socket) = inside(netns, || open(NETLINK_ROUTE));
        self.sockets.insert(origin, socket);
    }

    /// Says it again, without the questions: the time that it takes.
    pub(crate) fn play(&self, sent: &[Sent]) -> Duration {
        let mut script: Vec<(&Socket, &[u8], usize, bool)> = Vec::new();
        for sent in sent {
            let messages: Vec<&[u8]> = messages(&sent.datagram).collect();
            let answers = messages.iter().filter(|message| asks_for_answer(message)).count();
            let again = script.last().is_some_and(|(_, last, ..)| same(last, &sent.datagram));
            match script.last_mut() {
                // What the kernel had to be told until it was ready for it.
                Some((.., patient)) if again => *patient = true,
                _ if answers > 0 => {
                    let socket = self.sockets.get(&sent.origin).expect("a socket there");
                    script.push((socket, &sent.datagram, answers, messages.len() == 1));
                }
                _ => {}
            }
        }
        let mut buffer = vec![0; 64 * 1024];
        let start = Instant::now();
        for (socket, datagram, answers, patient) in script {
            while !say(socket, datagram, answers, &mut buffer) && patient {
                std::thread::yield_now();
            }
        }
        start.elapsed()
    }
}

impl Floor {
    /// Says it again message by message: what each is, and its time.
    pub(crate) fn dissect(&self, sent: &[Sent]) -> Vec<(String, Duration)> {
        let mut buffer = vec![0; 64 * 1024];
        let mut steps: Vec<(String, Duration)> = Vec::new();
        let mut last: &[u8] = &[];
        for sent in sent.iter().filter(|sent| messages(&sent.datagram).any(asks_for_answer)) {
            let socket = self.sockets.get(&sent.origin).expect("a socket there");
            let whole = sent.origin.protocol == NETLINK_NETFILTER;
            let parts: Vec<&[u8]> =
                if whole { vec![&sent.datagram] } else { messages(&sent.datagram).collect() };
            if same(last, &sent.datagram) {
                continue;
            }
            last = &sent.datagram;
            for part in parts {
                let answers = messages(part).filter(|message| asks_for_answer(message)).count();
                let start = Instant::now();
                while !say(socket, part, answers, &mut buffer) && start.elapsed() < PATIENCE {
                    std::thread::yield_now();
                }
                steps.push((name(part, whole), start.elapsed()));
            }
        }
        steps
    }
}

/// What a message of route-netlink does.
fn name(message: &[u8], rules: bool) -> String {
    let verb = match u16::from_ne_bytes([message[4], message[5]]) {
        _ if rules => return "nftables transaction".to_owned(),
        16 => "make or set a link",
        17 => "delete a link",
        20 => "add an address",
        21 => "delete an address",
        24 => "add a route",
        25 => "delete a route",
        28 => "add a neighbour",
        29 => "delete a neighbour",
        _ => "something else",
    };
    let family = match message[16] {
        2 => ", IPv4",
        10 => ", IPv6",
        _ => "",
    };
    format!("{verb}{family}")
}

/// Whether the kernel was ready for it: it does not find yet what it makes in
/// its own time.
fn say(socket: &Socket, datagram: &[u8], mut answers: usize, buffer: &mut [u8]) -> bool {
    socket.send(datagram, 0).expect("sent");
    let mut ready = true;
    while answers > 0 {
        let mut room = &mut *buffer;
        let length = socket.recv(&mut room, 0).expect("answers");
        for message in messages(&buffer[..length]) {
            if u16::from_ne_bytes([message[4], message[5]]) == ERROR {
                let code =
                    message.get(16..20).map_or([0; 4], |code| code.try_into().expect("four"));
                let errno = -i32::from_ne_bytes(code);
                ready &= errno != Errno::SRCH.raw_os_error();
                answers -= 1;
            }
        }
    }
    ready
}

fn open(protocol: isize) -> (Origin, Socket) {
    let mut socket = Socket::new(protocol).expect("a socket");
    socket.bind_auto().expect("bound");
    socket.connect(&SocketAddr::new(0, 0)).expect("connected");
    socket.set_cap_ack(true).expect("short answers");
    (Origin::here(protocol).expect("a namespace"), socket)
}

fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = rest.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes) as usize)?;
        let message = rest.get(..length.max(16))?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn asks_for_answer(message: &[u8]) -> bool {
    let flags = u16::from_ne_bytes(message[FLAGS].try_into().expect("two"));
    flags & ACKNOWLEDGE != 0
}

/// Whether two datagrams differ in their numbers only.
fn same(one: &[u8], other: &[u8]) -> bool {
    let bare = |datagram: &[u8]| {
        let mut bare = datagram.to_vec();
        bare.get_mut(SEQUENCE).into_iter().for_each(|number| number.fill(0));
        bare
    };
    one.len() == other.len() && bare(one) == bare(other)
}
