use super::*;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::mpsc;

const SOON: Duration = Duration::from_millis(200);

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

/// A port of this machine that nobody has, over TCP and UDP.
fn free(at: &str) -> u16 {
    let found = (0..50).find_map(|_| {
        let tcp = TcpListener::bind((at, 0)).ok()?;
        let port = tcp.local_addr().ok()?.port();
        UdpSocket::bind((at, port)).ok().map(|_| port)
    });
    found.expect("a free port")
}

/// Serves on loopback until the test's process ends.
fn served(at: &'static str) -> u16 {
    let port = free(at);
    let (told, ready) = mpsc::channel();
    std::thread::spawn(move || {
        let say = move |line: &str| told.send(line.to_owned()).map_err(io::Error::other);
        serve("A1", &[port], &[address(at)], &say)
    });
    let lines: Vec<String> = (0..2)
        .map(|_| ready.recv_timeout(Duration::from_secs(10)).expect("it says where it listens"))
        .collect();
    assert_eq!(lines[1], "ready", "{lines:?}");
    port
}

#[test]
fn who_serves_is_heard_over_both_protocols_in_both_families() {
    for at in ["127.0.0.1", "::1"] {
        let port = served(at);
        for protocol in Protocol::BOTH {
            let heard = ask(protocol, address(at), port, Some(address(at)), PATIENCE);
            assert_eq!(heard.name(), Some("A1"), "{heard}");
            assert_eq!(heard.seen().map(|seen| seen.ip()), Some(address(at).ip), "{heard}");
            let Heard::Answer { from, .. } = &heard else { unreachable!("it was an answer") };
            assert_eq!(Some(*from), heard.seen());
            assert_eq!(Heard::parse(&heard.to_string()), Ok(heard));
        }
    }
}

#[test]
fn nobody_silence_and_a_foreign_source_are_told_apart() {
    let to = address("127.0.0.1");
    for protocol in Protocol::BOTH {
        let heard = ask(protocol, to, free("127.0.0.1"), None, PATIENCE);
        assert!(heard.to_string().ends_with(": ECONNREFUSED"), "{heard}");
        // 192.0.2.0/24 is nobody's (RFC 5737).
        let foreign = Address { ip: Ipv4Addr::new(192, 0, 2, 77).into(), scope: 0 };
        let heard = ask(protocol, to, served("127.0.0.1"), Some(foreign), PATIENCE);
        assert_eq!(heard.to_string(), "bind: EADDRNOTAVAIL");
    }
    // One that takes what is sent, and says nothing.
    let mute = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let port = mute.local_addr().expect("its port").port();
    let heard = ask(Protocol::Udp, to, port, None, SOON);
    assert_eq!(heard, Heard::Silence);
    assert_eq!(Heard::parse(&format!("from 192.0.2.2:1: {heard}")), Ok(Heard::Silence));
}

#[test]
fn a_flow_that_is_held_echoes_until_the_other_end_goes() {
    let port = served("127.0.0.1");
    let to = address("127.0.0.1");
    let (mut held, heard) = Held::open(Protocol::Tcp, to, port, PATIENCE).expect("opened");
    assert_eq!(heard.name(), Some("A1"));
    for line in ["1", "2"] {
        assert!(held.send(line).to_string().ends_with(&format!(": echo {line}")));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = listener.local_addr().expect("its port").port();
    let other = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        answer_once(&stream);
    });
    let (mut held, _) = Held::open(Protocol::Tcp, to, port, PATIENCE).expect("opened");
    other.join().expect("it answered");
    let heard = held.send("3");
    assert!(matches!(heard, Heard::Refused { .. }), "{heard}");
}

fn answer_once(stream: &std::net::TcpStream) {
    let mut line = String::new();
    io::BufReader::new(stream).read_line(&mut line).expect("a line");
    let mut write = stream;
    write.write_all(b"A1 saw nobody\n").expect("sent");
}

#[test]
fn orders_are_read_and_nonsense_is_refused() {
    let read = |line: &str| Order::parse(&line.split(' ').collect::<Vec<_>>());
    let at = address("10.2.3.1");
    assert_eq!(
        read("serve A1 80,81 10.2.3.1 fe80::1%4"),
        Ok(Order::Serve {
            name: "A1".to_owned(),
            ports: vec![80, 81],
            addresses: vec![
                at,
                Address { ip: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), scope: 4 }
            ],
        })
    );
    let ask = |source| Order::Ask { protocol: Protocol::Udp, to: at, port: 80, source };
    assert_eq!(read("udp 10.2.3.1 80"), Ok(ask(None)));
    assert_eq!(read("udp 10.2.3.1 80 10.2.3.9"), Ok(ask(Some(address("10.2.3.9")))));
    let hold = Order::Hold { protocol: Protocol::Tcp, to: at, port: 80 };
    assert_eq!(read("hold tcp 10.2.3.1 80"), Ok(hold));
    assert_eq!(read("wait"), Ok(Order::Wait));
    for line in [
        "",
        "serve A1 80",
        "serve A1 x 10.2.3.1",
        "icmp 10.2.3.1 80",
        "tcp 10.2.3.1",
        "tcp 10.2.3.1 65536",
        "tcp host 80",
        "tcp fe80::1%em0 80",
        "tcp 10.2.3.1 80 10.2.3.2 10.2.3.3",
        "hold udp",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

#[test]
fn what_was_recorded_is_understood() {
    // As recorded on FreeBSD 13.2.
    let line = "from [fd00:2:3::1]:16917: A1 saw [fd00:2:3::1]:16917 at [fd00:2:3::1]:81";
    let heard = Heard::parse(line).expect("an answer");
    assert_eq!(heard.name(), Some("A1"));
    assert_eq!(heard.seen(), "[fd00:2:3::1]:16917".parse().ok());
    assert_eq!(heard.to_string(), line);
    assert_eq!(Heard::parse("connect: no answer in 1 s"), Ok(Heard::Silence));
    for line in ["connect: ECONNREFUSED", "send: EPIPE", "connect: EACCES"] {
        assert_eq!(Heard::parse(line).map(|heard| heard.to_string()).as_deref(), Ok(line));
    }
    for line in ["", "A1", "from nowhere: A1", "swim: EPERM"] {
        assert!(Heard::parse(line).is_err(), "{line}");
    }
}
