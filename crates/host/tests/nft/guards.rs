//! What the guards let pass and what they drop, with real packets. Every
//! refusal stands beside its allowed twin.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{
    BRIEF, Echo, PATIENCE, PORT, address, answered, cable, dropped, guarded, inside, ip, must,
    namespace, routed, source, table, these, until, world,
};

fn connects(to: &str, patience: Duration) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(address(to), PORT), patience).is_ok()
}

/// Puts addresses on `lo`, as a dying cable leaves them.
fn local(addrs: &[&str]) {
    for addr in addrs {
        let nodad = if addr.contains(':') { " nodad" } else { "" };
        ip(&format!("address add {addr} dev lo{nodad}"));
    }
}

#[test]
fn a_service_on_the_wildcard_does_not_answer_for_a_container() {
    world(|| {
        local(&["10.7.0.1/32", "10.7.0.2/32", "fd07::1/128", "fd07::2/128"]);
        let _listener = TcpListener::bind(("::", PORT)).expect("a listener of both families");
        let _echo = Echo::start();
        let elements = [guarded("10.7.0.2"), guarded("fd07::2")];
        let mut table = table();
        for (family, wild, own, theirs) in
            [("ip", "0.0.0.0", "10.7.0.1", "10.7.0.2"), ("ip6", "::", "fd07::1", "fd07::2")]
        {
            for to in [own, theirs] {
                assert!(connects(to, PATIENCE), "{to} without a table");
                assert!(answered(wild, to, PATIENCE), "{to} without a table");
            }
            must(table.replace(&these(&elements)));
            assert!(connects(own, PATIENCE), "{own} is nobody else's");
            assert!(answered(own, own, PATIENCE), "{own} is nobody else's");
            assert!(!connects(theirs, BRIEF), "{theirs}");
            // From another address, so that it is the way in that is closed.
            let before = dropped("input", family);
            assert!(!answered(own, theirs, BRIEF), "{theirs}");
            assert_eq!(dropped("input", family), before + 1);

            must(table.change(&[], &elements));
            assert!(connects(theirs, PATIENCE), "{theirs} is free again");
            assert!(answered(own, theirs, PATIENCE), "{theirs} is free again");
            must(table.remove());
        }
    });
}

#[test]
fn from_outside_neither_but_neighbours_are_found() {
    world(|| {
        let outside = namespace();
        let here = ["10.7.0.1/24", "10.7.0.2/24", "fd07::1/64", "fd07::2/64"];
        cable(("up0", &here), &outside, ("up1", &["10.7.0.9/24", "fd07::9/64"]));
        let _listener = TcpListener::bind(("::", PORT)).expect("a listener of both families");
        let mut table = table();
        must(table.replace(&these(&[guarded("10.7.0.2"), guarded("fd07::2")])));
        for (family, own, theirs) in [("-4", "10.7.0.1", "10.7.0.2"), ("-6", "fd07::1", "fd07::2")]
        {
            inside(&outside, || {
                assert!(connects(own, PATIENCE), "{own}");
                assert!(!connects(theirs, BRIEF), "{theirs}");
                // The answer came from the guarded address. A neighbour that is
                // asked again is asked on that address, too.
                let known = || ip(&format!("{family} neighbour show {theirs} dev up1"));
                assert!(known().contains("lladdr"), "{}", known());
                ip(&format!("neighbour change {theirs} dev up1 nud probe"));
                until("it was found again", || known().contains("REACHABLE"));
            });
        }
        must(table.change(&[], &[guarded("10.7.0.2"), guarded("fd07::2")]));
        inside(&outside, || {
            assert!(connects("10.7.0.2", PATIENCE) && connects("fd07::2", PATIENCE))
        });
    });
}

#[test]
fn the_host_does_not_speak_as_a_container() {
    world(|| {
        let outside = namespace();
        let here = ["10.7.0.1/24", "10.7.0.2/24", "fd07::1/64", "fd07::2/64"];
        cable(("up0", &here), &outside, ("up1", &["10.7.0.9/24", "fd07::9/64"]));
        let _echo = inside(&outside, Echo::start);
        let mut table = table();
        let pairs =
            [("ip", "10.7.0.1", "10.7.0.2", "10.7.0.9"), ("ip6", "fd07::1", "fd07::2", "fd07::9")];
        for (family, own, theirs, far) in pairs {
            assert!(answered(own, far, PATIENCE));
            assert!(answered(theirs, far, PATIENCE), "nothing guards it yet");
            must(table.replace(&these(&[guarded(theirs)])));
            assert!(answered(own, far, PATIENCE));
            let socket = UdpSocket::bind(SocketAddr::new(address(theirs), 0)).expect("a source");
            let refused = socket.send_to(b"?", SocketAddr::new(address(far), PORT));
            assert_eq!(refused.expect_err("dropped").kind(), ErrorKind::PermissionDenied);
            assert_eq!(dropped("output", family), 1);
        }
    });
}

#[test]
fn a_cable_carries_only_its_own_sources() {
    world(|| {
        let container = namespace();
        let inner = ["10.8.0.2/24", "10.8.0.3/24", "fd08::2/64", "fd08::3/64"];
        cable(("epair0a", &["10.8.0.1/24", "fd08::1/64"]), &container, ("epair0b", &inner));
        let _echo = Echo::start();
        let pairs =
            [("ip", "10.8.0.2", "10.8.0.3", "10.8.0.1"), ("ip6", "fd08::2", "fd08::3", "fd08::1")];
        let mut table = table();
        let answered =
            |from: &str, to: &str, patience| inside(&container, || answered(from, to, patience));
        for (_, own, other, host) in pairs {
            // Neighbours are known before the guard stands, in both directions.
            assert!(answered(own, host, PATIENCE) && answered(other, host, PATIENCE));
        }
        let own = [source("epair0a", "10.8.0.2"), source("epair0a", "fd08::2")];
        // Another cable's source, and this cable's name is the beginning of its.
        let others = [source("epair0ab", "10.8.0.3"), source("epair0ab", "fd08::3")];
        must(table.replace(&these(&[&own[..], &others, &[routed("epair0ab")]].concat())));
        for (_, own, other, host) in pairs {
            assert!(answered(own, host, PATIENCE) && answered(other, host, PATIENCE));
        }
        must(table.change(&[routed("epair0a")], &[]));
        for (family, own, other, host) in pairs {
            assert!(answered(own, host, PATIENCE), "{own}");
            let before = dropped("cable", family);
            assert!(!answered(other, host, BRIEF), "{other}");
            assert!(dropped("cable", family) > before, "{other}");
            must(table.change(&[source("epair0a", other)], &[]));
            assert!(answered(other, host, PATIENCE), "{other} is its own now");
        }
    });
}

#[test]
fn there_is_no_moment_without_guards() {
    world(|| {
        local(&["10.7.0.1/32", "10.7.0.2/32"]);
        let service = UdpSocket::bind(("10.7.0.2", PORT)).expect("a service");
        service.set_nonblocking(true).expect("a socket");
        let sender = UdpSocket::bind("10.7.0.1:0").expect("a sender");
        let send = || sender.send_to(b"?", ("10.7.0.2", PORT)).expect("sent");
        let mut table = table();
        must(table.replace(&these(&[guarded("10.7.0.2")])));
        let (done, mut sent) = (AtomicBool::new(false), 0);
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                for number in 0..200 {
                    let extra = guarded(&format!("10.7.1.{number}"));
                    must(table.replace(&these(&[guarded("10.7.0.2"), extra])));
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) && !replacing.is_finished() {
                sent += send();
            }
        });
        println!("{sent} packets while the table was replaced 200 times");
        let nothing = service.recv_from(&mut [0; 8]).expect_err("nothing came through");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        must(table.remove());
        send();
        until("an unguarded one comes", || service.recv_from(&mut [0; 8]).is_ok());
    });
}
