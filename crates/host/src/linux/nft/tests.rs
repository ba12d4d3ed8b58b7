use std::io;

use kleene_model::LinkName;

use super::super::net::wire::frames;
use super::*;

fn guarded(number: u32) -> Piece {
    Piece::Guard { addr: std::net::Ipv4Addr::from_bits(number).into() }
}

fn sources(count: u32) -> BTreeSet<Piece> {
    let addr = "fd00::1".parse().expect("an address");
    (0..count).map(|n| Piece::Admit { cable: LinkName::cable_host(n), addr }).collect()
}

/// The elements in a message.
fn elements_of(set: Set, body: &[u8]) -> BTreeSet<Piece> {
    let entries = entry::read(set, body).expect("ours");
    contents::elements(&[], &Listed::from([(set, entries)])).expect("whole")
}

/// The attributes of the messages of a transaction, each behind its header.
fn bodies(messages: &[Message]) -> Vec<Vec<u8>> {
    let datagram = message::transaction(messages, 7);
    let frames = frames(&datagram).map(|frame| frame.expect("whole"));
    frames.map(|frame| frame.payload[4..].to_vec()).collect()
}

#[test]
fn a_transaction_is_numbered_from_its_beginning_to_its_end() {
    let messages = message::replace("kleene", &sources(1));
    let datagram = message::transaction(&messages, u32::MAX - 1);
    let frames: Vec<_> = frames(&datagram).map(|frame| frame.expect("whole")).collect();
    let numbers: Vec<u32> = frames.iter().map(|frame| frame.sequence).collect();
    let expected: Vec<u32> = (0..frames.len())
        .map(|n| (u32::MAX - 1).wrapping_add(u32::try_from(n).expect("few")))
        .collect();
    assert_eq!(numbers, expected);
    assert_eq!((frames[0].kind, frames[0].payload), (16, &[0, 0, 0, 10][..]));
    let last = frames.last().expect("an end");
    assert_eq!((last.kind, last.payload), (17, &[0, 0, 0, 10][..]));
    // Each table three times, its parts once each, and the elements.
    let made: usize = [Layout::Host(&[]), Layout::Wire]
        .iter()
        .flat_map(|layout| KINDS.map(|kind| layout.describe(kind, "kleene").len()))
        .sum();
    assert_eq!(frames.len(), 2 + 2 * 2 + made + 1);
}

#[test]
fn elements_share_messages_as_far_as_attributes_hold_them() {
    for (count, messages) in [(1, 1), (500, 1), (4_000, 4)] {
        let elements = sources(count);
        let list: Vec<_> = elements.iter().cloned().collect();
        let adding = message::change("kleene", &list, &[], Known::There);
        assert_eq!(adding.len(), messages, "{count}");
        let read = bodies(&adding)
            .iter()
            .flat_map(|body| elements_of(Set::Sources6, body))
            .collect::<BTreeSet<_>>();
        assert_eq!(read, elements);
        // First all are added, so that none is missing when it is removed.
        assert_eq!(message::change("kleene", &[], &list, Known::There).len(), messages);
        assert_eq!(message::change("kleene", &[], &list, Known::Perhaps).len(), 2 * messages);
    }
    assert!(message::change("kleene", &[], &[], Known::Perhaps).is_empty());
    let one = [guarded(1)];
    assert_eq!(
        message::change("kleene", &one, &one, Known::Perhaps).len(),
        2,
        "one for each table, and nothing is removed"
    );
}

#[test]
fn no_bytes_make_reading_panic() {
    let elements: BTreeSet<_> = (0..3).map(guarded).chain(sources(3)).collect();
    let replies = message::anew(Layout::Replies, "kleene");
    // One in so many: they are much alike.
    let all = bodies(&[message::replace("kleene", &elements), replies].concat());
    for body in all.iter().step_by(11) {
        for cut in 0..body.len() {
            let _ = read_anything(&body[..cut]);
        }
        for place in 0..body.len() {
            for value in [0, 3, 0xff] {
                let mut changed = body.clone();
                changed[place] = value;
                let _ = read_anything(&changed);
            }
        }
    }
}

#[test]
fn what_we_describe_is_whole_and_anything_less_is_not() {
    let all = [Layout::Host(&[]), Layout::Wire, Layout::Replies]
        .map(|layout| KINDS.map(|kind| (layout, kind)));
    for (layout, kind) in all.into_iter().flatten() {
        let is_whole = |kind, table: &str, listed| is_whole(layout, kind, table, listed);
        let all = layout.describe(kind, "kleene");
        assert!(is_whole(kind, "kleene", all.clone()));
        let foreign = layout.describe(kind, "other");
        assert!(is_whole(kind, "kleene", [all.clone(), foreign].concat()), "{kind:?}");
        assert!(!is_whole(kind, "kleene", [all.clone(), all.clone()].concat()), "{kind:?}");
        assert!(!is_whole(kind, "other", all.clone()), "{kind:?}");
        for missing in 0..all.len() {
            let mut some = all.clone();
            some.remove(missing);
            assert!(!is_whole(kind, "kleene", some), "{kind:?} {missing}");
        }
    }
}

#[test]
fn only_what_passes_by_itself_is_tried_again() {
    let socket = |errno: Errno| NetError::Socket { what: "read", source: io::Error::from(errno) };
    assert!(is_disturbed(&socket(Errno::NOBUFS)));
    assert!(!is_disturbed(&socket(Errno::BADF)));
    assert!(is_disturbed(&NetError::Restless(1)));
    assert!(!is_disturbed(&NetError::Malformed("no")));
}
