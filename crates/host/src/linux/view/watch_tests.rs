use kleene_engine::change::Mark;
use kleene_model::{LinkName, MacAddress};

use super::*;
use crate::linux::net::request::{self, MirrorLink, Request};

/// What the kernel says of a link looks like what it is asked to make.
fn datagram(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.write(0, &mut bytes);
    bytes
}

fn says(kind: &str, name: &str, index: u32, mtu: u32) -> Vec<u8> {
    let name = LinkName::parse(name).expect("a name");
    let mac = Some(MacAddress([2, 0, 0, 0, 0, 7]));
    datagram(&request::make_mirror(MirrorLink { kind, name: &name, index, mtu, mac, up: true }))
}

fn marked(index: u32) -> Vec<u8> {
    let mark = Mark::parse("kleene:main:endpoint:2f1dc29b8f36").expect("a mark");
    let mut bytes = datagram(&request::set_mark(index, &mark));
    // The kernel answers a change with the link as it is now.
    bytes[4..6].copy_from_slice(&wire::kind::LINK.to_ne_bytes());
    bytes
}

fn gone(index: u32) -> Vec<u8> {
    datagram(&request::delete_link(index))
}

/// Whether there is something to tell after each of some bursts.
fn told(seen: &mut Seen, bursts: &[&[Vec<u8>]]) -> Vec<bool> {
    let tell = |burst: &&[Vec<u8>]| {
        burst.iter().for_each(|datagram| seen.take_in(datagram));
        seen.tell()
    };
    bursts.iter().map(tell).collect()
}

#[test]
fn what_views_do_not_show_is_not_told() {
    let mut seen = Seen::default();
    let link = |mtu| says("bridge", "one0", 7, mtu);
    let bursts: [&[Vec<u8>]; 6] =
        [&[link(1500)], &[link(1500)], &[link(1400), link(1500)], &[], &[gone(7)], &[link(1500)]];
    assert_eq!(told(&mut seen, &bursts), [true, false, true, false, true, true]);
}

#[test]
fn a_cable_is_told_only_when_it_was_told_of_before() {
    let link = || says("veth", "epair3a", 7, 1500);
    let mut seen = Seen::default();
    let bursts: [&[Vec<u8>]; 3] = [&[link(), link(), marked(7)], &[marked(7)], &[marked(7)]];
    assert_eq!(told(&mut seen, &bursts), [false; 3]);
    let mut seen = Seen::default();
    let bursts: [&[Vec<u8>]; 4] = [&[link()], &[link()], &[marked(7)], &[marked(7)]];
    assert_eq!(told(&mut seen, &bursts), [true, false, true, false]);
    // It may have been listed before it went.
    let mut seen = Seen::default();
    assert_eq!(told(&mut seen, &[&[link(), gone(7)]]), [true]);
}

#[test]
fn damaged_bytes_are_told_and_do_no_harm() {
    let whole = says("bridge", "one0", 7, 1500);
    for cut in 1..16 {
        let mut seen = Seen::default();
        seen.take_in(&whole[..cut]);
        assert!(seen.tell(), "{cut}");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 4, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            Seen::default().take_in(&damaged);
        }
    }
    let mut seen = Seen::default();
    seen.take_in(&whole);
    assert!(seen.tell());
    seen.take_in(&whole[..20]);
    assert!(seen.tell());
    seen.take_in(&whole);
    assert!(seen.tell(), "what it was before is not known any more");
}
