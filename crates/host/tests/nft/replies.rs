//! The table of a view: what `nft` shows of it, and from where answers come.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;

use kleene_host::linux::nft::Replies;

use crate::testing::output;
use crate::world::{
    Echo, PATIENCE, PORT, address, bound, cable, inside, ip, must, namespace, nft, settle, world,
};

/// Addresses of the service: that of the way to the client first.
const OWN: [[&str; 3]; 2] =
    [["10.0.0.1", "10.9.0.3", "10.9.0.4"], ["fd00::1", "fd09::3", "fd09::4"]];
const CLIENT: [&str; 2] = ["10.0.0.2", "fd00::2"];

/// Puts the table into the calling thread's namespace.
fn put() -> Replies {
    let mut replies = must(Replies::open());
    must(replies.put());
    replies
}

/// Runs a test on a host that has [`OWN`], with a namespace beyond a cable that
/// has [`CLIENT`].
fn with_client(test: impl FnOnce(&OwnedFd) + Send) {
    world(|| {
        let beyond = namespace();
        let ends = (["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]);
        cable(("veth0", &ends.0), &beyond, ("veth1", &ends.1));
        for addr in ["10.9.0.3/32", "10.9.0.4/32", "fd09::3/128 nodad", "fd09::4/128 nodad"] {
            ip(&format!("address add {addr} dev veth0"));
        }
        settle();
        inside(&beyond, || {
            ip("route add 10.9.0.0/24 via 10.0.0.1");
            ip("route add fd09::/64 via fd00::1");
        });
        test(&beyond);
    });
}

/// A client's socket in a namespace.
fn client(netns: &OwnedFd, from: &str) -> UdpSocket {
    inside(netns, || {
        let socket = UdpSocket::bind(SocketAddr::new(address(from), 0)).expect("a source");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        socket
    })
}

/// From where the answer to a question of that length comes. It is the same
/// question that comes back.
fn source(client: &UdpSocket, to: &str, length: usize) -> String {
    let question: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).expect("small")).collect();
    client.send_to(&question, SocketAddr::new(address(to), PORT)).expect("to send");
    let mut answer = vec![0; 65_536];
    let (length, from) = client.recv_from(&mut answer).expect("an answer");
    assert_eq!(answer[..length], question, "{to}");
    assert_eq!(from.port(), PORT);
    from.ip().to_string()
}

/// Puts so many clients into the map of IPv4, from a file: an argument would be
/// too long.
fn fill(count: u32) {
    let one = |n: u32| format!("10.{}.{}.{} . 1 . 2 : 7", 100 + (n >> 16), n >> 8 & 255, n & 255);
    let clients: Vec<String> = (0..count).map(one).collect();
    let lines = format!("add element inet kleene asked4 {{ {} }}\n", clients.join(", "));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(lines.as_bytes()).expect("to write");
    output(Command::new("nft").arg("-f").arg(file.path()));
}

#[test]
fn nft_shows_it_in_plain_words() {
    world(|| {
        let mut replies = put();
        let shown = nft("list ruleset");
        let without_handles: Vec<&str> =
            shown.lines().map(|line| line.split(" # handle").next().unwrap_or(line)).collect();
        assert_eq!(without_handles.join("\n") + "\n", include_str!("golden_replies.txt"));
        must(replies.remove());
        assert_eq!(nft("list ruleset"), "");
        must(replies.remove());
    });
}

#[test]
fn whatever_others_did_to_it_is_noticed() {
    let edits: [&str; 9] = [
        "delete table inet kleene",
        "flush ruleset",
        "flush chain inet kleene reply",
        "add rule inet kleene input counter",
        "insert rule inet kleene output accept",
        "add chain inet kleene mine",
        "add set inet kleene mine { type ipv4_addr; }",
        "add chain inet kleene input { policy drop; }",
        "add table inet kleene { flags dormant; }",
    ];
    world(|| {
        let mut replies = must(Replies::open());
        assert!(!must(replies.stands()));
        for edit in edits {
            must(replies.put());
            assert!(must(replies.stands()), "{edit}");
            nft(edit);
            assert!(!must(replies.stands()), "{edit}");
        }
        // The twin: what packets and others put into the maps is no change.
        must(replies.put());
        nft("add element inet kleene asked4 { 10.0.0.9 . 1 . 2 : 7 }; add table inet mine");
        assert!(must(replies.stands()));
    });
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    with_client(|beyond| {
        let _echo = Echo::start();
        for (own, from) in OWN.into_iter().zip(CLIENT) {
            let asks = client(beyond, from);
            for to in own {
                assert_eq!(source(&asks, to, 9), own[0], "without the table: {to}");
            }
            let mut replies = put();
            // From one port: who asks another address is answered from there.
            for to in own.into_iter().chain(own).chain([own[1], own[1], own[0]]) {
                assert_eq!(source(&asks, to, 9), to);
            }
            for to in own {
                assert_eq!(source(&client(beyond, from), to, 9), to, "a new client");
            }
            // What a wildcard socket sends to others has the kernel's choice.
            must(replies.remove());
            assert_eq!(source(&asks, own[1], 9), own[0], "without the table again");
        }
    });
}

#[test]
fn a_client_takes_one_place() {
    with_client(|beyond| {
        let _echo = Echo::start();
        let _replies = put();
        let asks = client(beyond, CLIENT[0]);
        for _ in 0..200 {
            assert_eq!(source(&asks, OWN[0][1], 9), OWN[0][1]);
        }
        let listed = nft("list map inet kleene asked4");
        assert_eq!(listed.matches("expires").count(), 1, "{listed}");
        // What there is room for is counted with those that are not collected
        // yet: filling the rest succeeds.
        fill(65_535);
    });
}

#[test]
fn long_answers_are_whole() {
    with_client(|beyond| {
        let _echo = Echo::start();
        let _replies = put();
        for (own, from) in OWN.into_iter().zip(CLIENT) {
            let asks = client(beyond, from);
            // What is cut into fragments has its checksum before, and the client's
            // kernel looks at it.
            for length in [1, 2, 1_400, 1_500, 4_001, 60_000] {
                for to in own {
                    assert_eq!(source(&asks, to, length), to, "{length} bytes");
                }
            }
        }
    });
}

#[test]
fn sockets_with_an_address_are_left_alone() {
    with_client(|beyond| {
        let _replies = put();
        for (own, from) in OWN.into_iter().zip(CLIENT) {
            let asks = client(beyond, from);
            let wild = Echo::start();
            assert_eq!(source(&asks, own[1], 9), own[1]);
            // The same client asks a service that is bound: nothing of before
            // says where that one's answers come from.
            drop(wild);
            let bound = Echo::start_on(own[2]);
            assert_eq!(source(&asks, own[2], 9), own[2]);
            drop(bound);
        }
    });
}

#[test]
fn a_connected_socket_keeps_its_source() {
    with_client(|beyond| {
        let _replies = put();
        for (own, from, wild) in [(OWN[0], CLIENT[0], "0.0.0.0"), (OWN[1], CLIENT[1], "::")] {
            let asks = client(beyond, from);
            let echo = Echo::start();
            assert_eq!(source(&asks, own[1], 9), own[1], "the allowed twin");
            drop(echo);
            let socket = bound(wild);
            socket.connect(asks.local_addr().expect("a name")).expect("to connect");
            socket.send(b"!").expect("to send");
            let (_, seen) = asks.recv_from(&mut [0; 8]).expect("a word");
            assert_eq!(seen.ip().to_string(), own[0], "it chose when it was connected");
        }
    });
}

#[test]
fn a_full_map_leaves_the_choice_to_the_kernel() {
    with_client(|beyond| {
        let _echo = Echo::start();
        let mut replies = put();
        let asks = client(beyond, CLIENT[0]);
        assert_eq!(source(&asks, OWN[0][1], 9), OWN[0][1], "the allowed twin");
        must(replies.put());
        fill(65_536);
        let new = client(beyond, CLIENT[0]);
        assert_eq!(source(&new, OWN[0][1], 9), OWN[0][0], "the kernel's choice, not lost");
        assert_eq!(source(&client(beyond, CLIENT[1]), OWN[1][1], 9), OWN[1][1], "IPv6 has its own");
        must(replies.put());
        assert_eq!(source(&new, OWN[0][1], 9), OWN[0][1], "with room again");
    });
}
