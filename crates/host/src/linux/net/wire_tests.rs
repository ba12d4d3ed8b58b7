use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("short");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + HEADER).expect("short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn refusal(errno: i32, flags: u16, request: &[u8], words: &str) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend_from_slice(request);
    payload.extend(attribute(2, &[0; 4]));
    payload.extend(attribute(1, format!("{words}\0").as_bytes()));
    message(kind::ERROR, flags, 7, &payload)
}

fn only(bytes: &[u8]) -> Frame<'_> {
    frames(bytes).next().expect("one").expect("whole")
}

#[test]
fn several_messages_of_a_datagram_are_told_apart() {
    let datagram =
        [message(16, 2, 1, &[1, 2, 3]), message(kind::DONE, 2 | DUMP_INTERRUPTED, 1, &[0; 4])]
            .concat();
    let all: Vec<Frame<'_>> = frames(&datagram).map(|frame| frame.expect("whole")).collect();
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].kind, all[0].sequence, all[0].payload), (16, 1, &[1, 2, 3][..]));
    assert!(!all[0].interrupted() && all[1].interrupted());
    assert_eq!(all[1].verdict(), Ok(Ok(())));
}

#[test]
fn a_refusal_carries_the_kernels_words() {
    let header = message(16, 5, 7, &[]);
    let whole = message(16, 5, 7, &[9; 24]);
    for (flags, request) in [(HAS_ATTRIBUTES | CAPPED, header), (HAS_ATTRIBUTES, whole)] {
        let bytes = refusal(22, flags, &request, "Nexthop has invalid gateway");
        let refused = only(&bytes).verdict().expect("whole").expect_err("refused");
        assert_eq!(refused.errno(), rustix::io::Errno::INVAL);
        assert_eq!(refused.words(), Some("Nexthop has invalid gateway"));
    }
    let bytes = refusal(17, CAPPED, &message(16, 5, 7, &[]), "unannounced");
    let refused = only(&bytes).verdict().expect("whole").expect_err("refused");
    assert_eq!(refused.words(), None);
}

#[test]
fn links_addresses_and_routes_are_read() {
    let mut payload = vec![0; 16];
    payload[4..8].copy_from_slice(&65_537_u32.to_ne_bytes());
    payload[8..12].copy_from_slice(&0x1003_u32.to_ne_bytes());
    payload.extend(attribute(1, &[2, 0, 0, 0, 0, 7]));
    payload.extend(attribute(3, b"epair1a\0"));
    payload.extend(attribute(4, &1_400_u32.to_ne_bytes()));
    payload.extend(attribute(10, &9_u32.to_ne_bytes()));
    payload.extend(attribute(18 | 0x8000, &attribute(1, b"veth\0")));
    payload.extend(attribute(20, b"kleene:main:endpoint:2f1dc29b8f36\0"));
    let record = link(&payload).expect("link");
    assert_eq!((record.index, record.up, record.master), (65_537, true, Some(9)));
    assert_eq!(record.name.as_deref(), Some("epair1a"));
    assert_eq!((record.mtu, record.mac), (1_400, Some(MacAddress([2, 0, 0, 0, 0, 7]))));
    assert_eq!(record.kind.as_deref(), Some("veth"));
    assert_eq!(record.alias.as_deref(), Some("kleene:main:endpoint:2f1dc29b8f36"));

    let mut payload = vec![2, 24, 0, 0, 5, 0, 0, 0];
    payload.extend(attribute(1, &[10, 0, 0, 2]));
    payload.extend(attribute(2, &[10, 0, 0, 1]));
    let record = address(&payload).expect("address").expect("inet");
    assert_eq!((record.index, record.addr.to_string().as_str()), (5, "10.0.0.1/24"));

    let hops = [[8, 0, 0, 0, 3, 0, 0, 0], [8, 0, 0, 0, 4, 0, 0, 0]].concat();
    let mut payload = vec![2, 16, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0];
    payload.extend(attribute(15, &1_000_u32.to_ne_bytes()));
    payload.extend(attribute(1, &[10, 4, 0, 0]));
    payload.extend(attribute(9, &hops));
    let record = route(&payload).expect("route").expect("inet");
    assert_eq!(record.destination.to_string(), "10.4.0.0/16");
    assert_eq!((record.table, record.kind, record.links), (1_000, RouteKind::Unicast, vec![3, 4]));
}

/// Every cut and every single wrong byte of real messages: no panic, no
/// endless loop.
#[test]
fn damaged_bytes_do_no_harm() {
    let mut link_payload = vec![0; 16];
    link_payload.extend(attribute(3, b"kleene0\0"));
    link_payload.extend(attribute(18, &attribute(1, b"bridge\0")));
    let mut route_payload = vec![10, 64, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    route_payload.extend(attribute(1, &[0xfd; 16]));
    route_payload.extend(attribute(9, &[8, 0, 0, 0, 3, 0, 0, 0]));
    let datagram = [
        message(kind::LINK, 2, 1, &link_payload),
        message(kind::ROUTE, 2, 1, &route_payload),
        message(kind::ADDRESS, 2, 1, &[2, 24, 0, 0, 5, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1]),
        refusal(22, HAS_ATTRIBUTES, &message(16, 5, 7, &[]), "words"),
    ]
    .concat();
    for cut in 0..datagram.len() {
        digest(&datagram[..cut]);
    }
    for at in 0..datagram.len() {
        for value in [0, 1, 3, 4, 0x7f, 0xff] {
            let mut damaged = datagram.clone();
            damaged[at] = value;
            digest(&damaged);
        }
    }
}

fn digest(bytes: &[u8]) {
    for frame in frames(bytes).flatten() {
        let _ = frame.verdict();
        let _ = link(frame.payload);
        let _ = address(frame.payload);
        let _ = route(frame.payload);
    }
}
