//! A throw-away host: a network namespace, perhaps with another beside it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use kleene_engine::piece::{Gate, Piece};
use kleene_host::linux::nft::{NftError, Table};
use kleene_model::policy::NetworkRules;
use kleene_model::{
    Dual, Family, LinkName, MacAddress, Nat, NetworkId, NetworkType, Ports, Protocol, Subnet,
};

use crate::testing::{self, is_root_with, output};
pub(crate) use crate::testing::{inside, namespace, until};

/// How long a packet that should come is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that should not come is waited for; its twin, which took the
/// same way before, came at once.
pub(crate) const BRIEF: Duration = Duration::from_millis(200);
/// The port of services of the throw-away host.
pub(crate) const PORT: u16 = 7;

/// Runs a test in a namespace of its own with `lo` up, or says loudly that it
/// did not.
pub(crate) fn world(test: impl FnOnce() + Send) {
    if !is_root_with("nft") {
        return;
    }
    let netns = namespace();
    inside(&netns, || {
        ip("link set lo up");
        test();
    });
}

/// Runs `ip` in the calling thread's namespace.
pub(crate) fn ip(line: &str) -> String {
    testing::ip(&line.split(' ').collect::<Vec<_>>())
}

/// Runs `nft` in the calling thread's namespace.
pub(crate) fn nft(command: &str) -> String {
    output(Command::new("nft").args(["-a", command]))
}

/// Joins the calling thread's namespace with another by a cable, ends `here`
/// and `there`, both up, with their addresses.
pub(crate) fn cable(here: (&str, &[&str]), netns: &OwnedFd, there: (&str, &[&str])) {
    let own = File::open("/proc/thread-self/ns/net").expect("own namespace");
    inside(netns, || {
        use std::os::fd::AsRawFd;
        let back = format!("/proc/{}/fd/{}", std::process::id(), own.as_raw_fd());
        ip(&format!("link add {} type veth peer name {} netns {back}", there.0, here.0));
        up(there);
    });
    up(here);
    settle();
    inside(netns, settle);
}

/// Waits until all IPv6 addresses of the calling thread's namespace are its own:
/// the kernel makes their routes in its own time, `nodad` or not.
pub(crate) fn settle() {
    let listed = ip("-6 -o address show scope global");
    let own = listed.lines().filter_map(|line| line.split_whitespace().nth(3));
    let own: Vec<&str> = own.filter_map(|net| net.split('/').next()).collect();
    until("all addresses are local", || {
        let local = ip("-6 route show table local");
        own.iter().all(|addr| local.lines().any(|line| line.starts_with(&format!("local {addr} "))))
    });
}

fn up((link, addrs): (&str, &[&str])) {
    for addr in addrs {
        let nodad = if addr.contains(':') { " nodad" } else { "" };
        ip(&format!("address add {addr} dev {link}{nodad}"));
    }
    ip(&format!("link set {link} up"));
}

/// Kleene's table in the calling thread's namespace.
pub(crate) fn table() -> Table {
    Table::open("kleene").expect("a socket")
}

/// A set of elements.
pub(crate) fn these(elements: &[Piece]) -> BTreeSet<Piece> {
    elements.iter().cloned().collect()
}

pub(crate) fn guarded(addr: &str) -> Piece {
    Piece::Guard { addr: address(addr) }
}

pub(crate) fn routed(cable: &str) -> Piece {
    Piece::Check { cable: link(cable) }
}

pub(crate) fn source(cable: &str, addr: &str) -> Piece {
    Piece::Admit { cable: link(cable), addr: address(addr) }
}

/// The rules of a network: `ID KIND INTERFACE SUBNET… [icc] [internal] [nat[=IF]]`.
pub(crate) fn network(text: &str) -> Piece {
    let words: Vec<&str> = text.split(' ').collect();
    let has = |word: &str| words.contains(&word);
    let subnet = |family| {
        let of = |word: &&&str| Subnet::parse(family, word).is_ok();
        words.iter().find(of).map(|word| Subnet::parse(family, word).expect("subnet"))
    };
    let nat = words.iter().find_map(|word| word.strip_prefix("nat="));
    Piece::Rules {
        rules: NetworkRules {
            id: NetworkId::parse(words[0]).expect("id"),
            kind: *NetworkType::ALL.iter().find(|kind| kind.to_string() == words[1]).expect("type"),
            interface: link(words[2]),
            subnet: Dual::from_fn(subnet),
            icc: has("icc"),
            internal: has("internal"),
            nat: match nat {
                Some(name) => Nat::Interface(link(name)),
                None if has("nat") => Nat::HostGateway,
                None => Nat::None,
            },
        },
    }
}

/// A published port: what is led, and what is open. `GATE PROTOCOL HOST ADDR INNER`.
pub(crate) fn published(text: &str) -> [Piece; 2] {
    let words: Vec<&str> = text.split(' ').collect();
    let gate = match words[0] {
        "inside" => Gate::Inside,
        "uplink" => Gate::Uplink,
        name => Gate::Link(link(name)),
    };
    let row = |text: &str| {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        Ports { first: first.parse().expect("port"), last: last.parse().expect("port") }
    };
    let protocol = if words[1] == "tcp" { Protocol::Tcp } else { Protocol::Udp };
    let (ports, addr, inner) = (row(words[2]), address(words[3]), row(words[4]));
    [
        Piece::Lead { gate: gate.clone(), protocol, ports, addr, inner },
        Piece::Open { gate, addr, protocol, ports: inner },
    ]
}

pub(crate) fn near(subnet: &str, addr: &str) -> Piece {
    let family = if addr.contains(':') { Family::V6 } else { Family::V4 };
    let subnet = Subnet::parse(family, subnet).expect("subnet");
    Piece::Near { subnet, addr: address(addr) }
}

pub(crate) fn uplink(family: Family, name: &str) -> Piece {
    Piece::Uplink { family, link: link(name) }
}

pub(crate) fn way(name: &str, addr: &str) -> Piece {
    Piece::Way { link: link(name), addr: address(addr) }
}

pub(crate) fn fence(cable: &str, last: u8) -> Piece {
    Piece::Fence { cable: link(cable), mac: MacAddress([2, 0, 0, 0, 0, last]) }
}

pub(crate) fn speak(cable: &str, addr: &str) -> Piece {
    Piece::Speak { cable: link(cable), addr: address(addr) }
}

fn link(name: &str) -> LinkName {
    LinkName::parse(name).expect("a name")
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What must work, with all that an error says.
pub(crate) fn must<T>(outcome: Result<T, NftError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{}", kleene_engine::host::chain(&error)))
}

/// A socket on the services' port. One that was closed may be held for a moment
/// by a child that another test starts.
pub(crate) fn bound(addr: &str) -> UdpSocket {
    let mut socket = None;
    until("the port is free", || {
        socket = UdpSocket::bind(SocketAddr::new(address(addr), PORT)).ok();
        socket.is_some()
    });
    socket.expect("a socket")
}

/// A UDP service that answers with what it was asked, until it is dropped. It
/// names no source.
pub(crate) struct Echo(UdpSocket, Option<std::thread::JoinHandle<()>>);

impl Echo {
    /// Starts one on the wildcards of both families in the calling thread's
    /// namespace.
    pub(crate) fn start() -> Self {
        Self::start_on("::")
    }

    /// Starts one on an address there.
    pub(crate) fn start_on(addr: &str) -> Self {
        let socket = bound(addr);
        let service = socket.try_clone().expect("a copy");
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok((length, from)) = service.recv_from(&mut buffer)
                && length > 0
            {
                // Refused where a guard stands in the way of the answer.
                let _ = service.send_to(&buffer[..length], from);
            }
        });
        Self(socket, Some(thread))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // What is empty ends the service. It may have ended by itself.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
        // Its port is free then.
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// Whether a packet from `from` to a service on `to` is answered, both in the
/// calling thread's namespace or beyond its cables.
pub(crate) fn answered(from: &str, to: &str, patience: Duration) -> bool {
    let socket = UdpSocket::bind(SocketAddr::new(address(from), 0)).expect("a source");
    socket.set_read_timeout(Some(patience)).expect("a limit");
    let sent = socket.send_to(b"?", SocketAddr::new(address(to), PORT));
    sent.is_ok() && socket.recv_from(&mut [0; 8]).is_ok()
}

/// How many packets the rules of a chain that look at addresses of a family
/// (`ip` or `ip6`) have dropped.
pub(crate) fn dropped(chain: &str, family: &str) -> u64 {
    let listed = nft(&format!("list chain inet kleene {chain}"));
    let rules = listed.lines().filter(|line| line.contains(&format!("{family} ")));
    let counts = rules.filter_map(|line| line.split_once("counter packets ")?.1.split(' ').next());
    counts.map(|count| count.parse::<u64>().expect("a number")).sum()
}
