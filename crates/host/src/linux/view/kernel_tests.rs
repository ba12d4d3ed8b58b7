//! What is not to be seen from outside: both kinds of mirrors, old kernels, and
//! what a view costs.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use kleene_engine::host::chain;

use super::*;
use crate::linux::testing::{self, namespace};

const KINDS: [Kind; 2] = [Kind::Ifb, Kind::Bridge];

/// Runs a test for each kind that this kernel has, with a namespace for it, or
/// says loudly that it did not.
fn each_kind(test: impl Fn(Kind, &OwnedFd)) {
    if !testing::is_root_with("ip") {
        return;
    }
    for kind in KINDS {
        let netns = namespace();
        let mut socket = enter(netns.as_fd(), Socket::open).expect("a socket");
        if kind == Kind::Ifb && !kind.is_known(&mut socket).expect("an answer") {
            eprintln!("SKIPPED: the kernel has no ifb");
            continue;
        }
        test(kind, &netns);
    }
}

fn ip(netns: &OwnedFd, line: &str) {
    testing::inside(netns, || testing::ip(&line.split(' ').collect::<Vec<_>>()));
}

fn wanted() -> Vec<Mirror> {
    let mirror = |number: u8| Mirror {
        name: LinkName::parse(&format!("eth{number}")).expect("a name"),
        index: 10 + u32::from(number),
        mtu: 1400 + u32::from(number),
        mac: Some(MacAddress([2, 0, 0, 0, 0, number])),
        up: number.is_multiple_of(2),
    };
    (0..10).map(mirror).collect()
}

/// The mirrors of a view, as views show the host's links.
fn there(netns: &OwnedFd) -> Vec<Mirror> {
    let mut socket = enter(netns.as_fd(), Socket::open).expect("a socket");
    let mut mirrors: Vec<Mirror> =
        socket.links().expect("a list").iter().filter_map(mirror).collect();
    mirrors.sort();
    mirrors
}

fn furnished(kind: Kind, netns: &OwnedFd, wanted: &[Mirror]) {
    let done = furnish_as(Some(kind), netns.as_fd(), wanted, None).expect("a view");
    assert_eq!((done.made, whole(&done)), (wanted.len(), Vec::new()));
}

fn whole(done: &Done) -> Vec<String> {
    done.failed.iter().map(|error| chain(error)).collect()
}

#[test]
fn a_kind_is_known_or_not() {
    each_kind(|kind, netns| {
        let mut socket = enter(netns.as_fd(), Socket::open).expect("a socket");
        ip(netns, "link add br0 type bridge");
        assert_eq!(kind.is_known(&mut socket).ok(), Some(true));
        let nobodys = request::list_kind("kleene-none");
        let decode = |bytes: &[u8]| super::super::net::wire::link(bytes).map(Some);
        let all = socket.list(&nobodys, 16, decode).expect("a list");
        assert!(all.len() > 1, "of an unknown kind are all: {all:?}");
    });
}

#[test]
fn each_kind_shows_what_is_wanted_and_carries_addresses() {
    each_kind(|kind, netns| {
        let mut wanted = wanted();
        furnished(kind, netns, &wanted);
        assert_eq!(there(netns), wanted, "{kind:?}");
        let mut socket = enter(netns.as_fd(), Socket::open).expect("a socket");
        let made = socket.links().expect("a list");
        assert!(made.iter().all(|link| link.index == 1 || Kind::of(link) == Some(kind)));

        let (first, second) = (wanted[0].name.clone(), wanted[2].name.clone());
        (wanted[0].name, wanted[2].name) = (second, first);
        wanted[4].mac = Some(MacAddress([2, 0, 0, 0, 0, 99]));
        wanted[5].up = true;
        wanted[6].mtu = 9000;
        drop(wanted.drain(7..));
        let done = sync_as(Some(kind), netns.as_fd(), &wanted, None).expect("a view");
        assert_eq!((whole(&done), done.renamed), (Vec::new(), 2), "{kind:?}");
        wanted.sort();
        assert_eq!(there(netns), wanted, "{kind:?}");

        ip(netns, "addr add 10.7.0.9/32 dev eth4");
        ip(netns, "addr add fd07::9/128 dev eth4 nodad");
        for addr in ["10.7.0.9:7", "[fd07::9]:7"] {
            let addr: SocketAddr = addr.parse().expect("an address");
            let deadline = Instant::now() + Duration::from_secs(5);
            let connect = || {
                let _listener = TcpListener::bind(addr);
                Ok(TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok())
            };
            while !enter(netns.as_fd(), connect).expect("enter") {
                assert!(Instant::now() < deadline, "{kind:?}: {addr} cannot be used");
            }
        }
    });
}

/// What kernels before 6.2 need works on later ones too.
#[test]
fn mirrors_that_go_down_to_be_renamed_come_up_again() {
    each_kind(|kind, netns| {
        let mut wanted = wanted();
        furnished(kind, netns, &wanted);
        ip(netns, "addr add fd07::9/128 dev eth0 nodad");
        let names: Vec<LinkName> = wanted.iter().map(|mirror| mirror.name.clone()).collect();
        for (mirror, name) in wanted.iter_mut().zip(names.into_iter().cycle().skip(1)) {
            mirror.name = name;
        }
        let mut socket = enter(netns.as_fd(), Socket::open).expect("a socket");
        let links = socket.links().expect("a list");
        let all: Vec<&Mirror> = wanted.iter().collect();
        let (steps, _) = plan(&links, &BTreeSet::new(), &all, true);
        let requests: Vec<Request> = steps.iter().flat_map(|step| step.requests(kind)).collect();
        assert_eq!(requests.len(), 20 + 5 * 3, "five of them go down twice and up once");
        let mut done = Done::default();
        assert!(!carry_out(&mut socket, kind, &steps, &mut done).expect("answers"));
        assert_eq!((whole(&done), done.renamed), (Vec::new(), 10));
        wanted.sort();
        assert_eq!(there(netns), wanted);
        let addresses = socket.addresses().expect("a list");
        let kept = addresses.iter().find(|record| record.addr.to_string() == "fd07::9/128");
        assert_eq!(kept.map(|record| record.index), Some(10), "addresses stay");
    });
}

#[test]
fn what_somebody_put_into_a_view_costs_only_an_index() {
    each_kind(|kind, netns| {
        ip(netns, "link add veth7 index 17 type veth peer name far0 index 900");
        ip(netns, "link add eth8 index 901 type veth peer name far1 index 902");
        let mut wanted = wanted();
        wanted[9].mtu = 100_000;
        wanted[1].mtu = 20;
        let done = furnish_as(Some(kind), netns.as_fd(), &wanted, None).expect("a view");
        assert_eq!((done.made, whole(&done)), (8, Vec::new()));
        let shown = there(netns);
        assert_eq!(shown.len(), 8 + 4);
        let of = |name: &str| shown.iter().find(|mirror| mirror.name.as_str() == name);
        assert_eq!(of("eth7"), None, "its index is a cable's");
        assert_eq!(of("eth8").map(|mirror| mirror.index), Some(901), "its name is a cable's");
        let (high, low) = match kind {
            Kind::Ifb => (100_000, 20),
            Kind::Bridge => (65_535, 68),
        };
        assert_eq!(of("eth9").map(|mirror| mirror.mtu), Some(high));
        assert_eq!(of("eth1").map(|mirror| mirror.mtu), Some(low));
    });
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Printed, never judged: the budget is checked by the benchmarks.
#[test]
fn what_a_view_costs() {
    each_kind(|kind, _| {
        let mut all = wanted();
        let (mut bare, mut full, mut idle, mut away) = (vec![], vec![], vec![], vec![]);
        for _ in 0..15 {
            let (one, two) = (namespace(), namespace());
            let start = Instant::now();
            furnished(kind, &one, &[]);
            bare.push(start.elapsed());
            let start = Instant::now();
            furnished(kind, &two, &all);
            full.push(start.elapsed());
            let start = Instant::now();
            sync_as(Some(kind), two.as_fd(), &all, None).expect("a view");
            idle.push(start.elapsed());
            let last = all.split_off(5);
            let start = Instant::now();
            sync_as(Some(kind), two.as_fd(), &all, None).expect("a view");
            away.push(start.elapsed());
            all.extend(last);
        }
        let [bare, full, idle, away] = [bare, full, idle, away].map(median);
        println!(
            "{kind:?}: a view without interfaces {bare:?}, with 10 {full:?}; \
             nothing to do {idle:?}; 5 to delete {away:?} (medians)"
        );
    });
}
