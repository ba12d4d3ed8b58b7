use kleene_model::{InstanceName, MacAddress, NetworkId};

use super::*;
use crate::linux::net::request::{self, MirrorLink, Request};
use crate::linux::net::request_route as route;
use kleene_engine::change::Owner;

/// Who has changed nothing.
const NOBODY: u32 = 99;

/// What the kernel tells looks like what it is asked for.
fn datagram(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.write(0, &mut bytes);
    bytes
}

fn name(text: &str) -> LinkName {
    LinkName::parse(text).expect(text)
}

fn link(text: &str, index: u32, up: bool) -> Vec<u8> {
    let mac = Some(MacAddress([2, 0, 0, 0, 0, 7]));
    let mirror = MirrorLink { kind: "bridge", name: &name(text), index, mtu: 1500, mac, up };
    datagram(&request::make_mirror(mirror))
}

fn gone(index: u32) -> Vec<u8> {
    datagram(&request::delete_link(index))
}

fn addr(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn told(burst: &mut Burst, datagrams: &[Vec<u8>]) -> Vec<Seen> {
    datagrams.iter().for_each(|datagram| burst.hear(datagram, NOBODY));
    assert!(!burst.is_lost());
    let told = burst.tell();
    assert!(burst.is_empty());
    told
}

fn there(text: &str, up: bool) -> Seen {
    Seen::Link {
        name: name(text),
        state: LinkState::There { up, fell: false, master: None, mark: None },
    }
}

fn fallen(text: &str, up: bool) -> Seen {
    let state = LinkState::There { up, fell: true, master: None, mark: None };
    Seen::Link { name: name(text), state }
}

fn missing(text: &str) -> Seen {
    Seen::Link { name: name(text), state: LinkState::Gone }
}

#[test]
fn of_a_link_the_last_is_told_and_nothing_twice() {
    let mut burst = Burst::default();
    let came = [link("one0", 7, false), link("one0", 7, true)];
    assert_eq!(told(&mut burst, &came), [there("one0", true)]);
    assert_eq!(told(&mut burst, &[link("one0", 7, true)]), []);
    let restless = [link("one0", 7, false), link("one0", 7, true)];
    assert_eq!(told(&mut burst, &restless), [fallen("one0", true)], "it was down in between");
    assert_eq!(told(&mut burst, &[link("one0", 7, false)]), [fallen("one0", false)]);
    assert_eq!(told(&mut burst, &[link("one0", 7, true)]), [there("one0", true)]);
    let renamed = [link("two0", 7, true)];
    assert_eq!(told(&mut burst, &renamed), [missing("one0"), there("two0", true)]);
    let swapped =
        [link("one0", 8, true), link("x", 7, true), link("two0", 8, true), link("one0", 7, true)];
    let expected = [there("one0", true), there("two0", true), missing("x")];
    assert_eq!(told(&mut burst, &swapped), expected);
    let made_anew = [gone(8), link("two0", 9, false)];
    assert_eq!(told(&mut burst, &made_anew), [there("two0", false)]);
    assert_eq!(told(&mut burst, &[gone(9), gone(9)]), [missing("two0")]);
    assert_eq!(told(&mut burst, &[gone(9)]), []);
}

#[test]
fn marks_and_masters_are_told_by_name() {
    let instance = InstanceName::parse("main").expect("a name");
    let network = NetworkId::from_bytes([0xa7; 6]).expect("an id");
    let mark = Mark { instance, owner: Owner::Network(network) };
    let record = |index, text: &str, master| LinkRecord {
        index,
        name: Some(text.to_owned()),
        alias: Some(mark.to_string()),
        master,
        ..LinkRecord::default()
    };
    let mut burst = Burst::new(&[record(3, "kleene1", None), record(4, "port", Some(3))]);
    assert!(burst.is_empty());
    let mut freed = link("port", 4, false);
    assert_eq!(told(&mut burst, &[freed.clone()]), [there("port", false)]);
    // Another family speaks of the port that it was.
    freed[16] = 7;
    freed[4..6].copy_from_slice(&kind::LINK_GONE.to_ne_bytes());
    assert_eq!(told(&mut burst, &[freed]), []);
    let mut plugged = datagram(&request::set_master(4, 3));
    plugged[4..6].copy_from_slice(&kind::LINK.to_ne_bytes());
    burst.hear(&plugged, NOBODY);
    let known = burst.known.get_mut(&4).expect("heard of");
    (known.name, known.mark) = (Some(name("port")), Some(mark.clone()));
    let state = LinkState::There {
        up: known.up,
        fell: false,
        master: Some(name("kleene1")),
        mark: Some(mark),
    };
    assert_eq!(burst.state(4, false), Some(state));
}

#[test]
fn addresses_and_routes_are_told_as_they_are_in_the_end() {
    let mut burst = Burst::default();
    told(&mut burst, &[link("wan", 7, true), link("cable", 8, true)]);
    let (four, six) = (addr("10.1.2.3"), addr("fd00::3"));
    let heard = [
        datagram(&route::show(7, four)),
        datagram(&route::show(7, six)),
        datagram(&request::remove_address(7, IpNet::from(six))),
        datagram(&route::fall_back(four)),
        datagram(&route::no_fall_back(four)),
        datagram(&route::steer(8, four, None)),
        datagram(&route::unclaim(7, six)),
        datagram(&route::steer(9, six, None)),
    ];
    let address = |addr: IpAddr, there| Seen::Address {
        link: Some(name("wan")),
        addr: addr.into(),
        ours: there,
        there,
    };
    let route = |addr: IpAddr, table, kind, link: Option<&str>, there| {
        let (link, destination) = (link.map(name), IpNet::from(addr));
        Seen::Route { destination, table, kind, link, ours: kind != RouteKind::Local, there }
    };
    let expected = [
        address(four, true),
        address(six, false),
        route(four, RouteTable::Local, RouteKind::Unicast, Some("cable"), true),
        route(four, RouteTable::Local, RouteKind::Unreachable, None, false),
        route(six, RouteTable::Local, RouteKind::Local, Some("wan"), false),
        route(six, RouteTable::Main, RouteKind::Unicast, None, true),
    ];
    assert_eq!(told(&mut burst, &heard), expected);
}

#[test]
fn what_is_of_no_concern_is_not_told() {
    let mut burst = Burst::default();
    let of = |prefix: &str| {
        let net: IpNet = prefix.parse().expect(prefix);
        let source = if net.addr().is_ipv4() { "10.1.2.3" } else { "fd00::3" };
        datagram(&route::way_out(7, net, addr(source), None))
    };
    for prefix in ["10.0.0.0/8", "10.1.0.0/31", "fd00::/127", "fd00::/32", "fe80::1/128"] {
        assert_eq!(told(&mut burst, &[of(prefix)]), [], "{prefix}");
    }
    for prefix in ["0.0.0.0/0", "128.0.0.0/1", "10.1.2.3/32", "::/0", "2000::/3", "fd00::/128"] {
        assert_eq!(told(&mut burst, &[of(prefix)]).len(), 1, "{prefix}");
    }
    // Types, tables and flags that nobody sets for an address.
    for (at, value) in [(23, 3), (23, 4), (23, 5), (20, 77)] {
        let mut other = of("10.1.2.3/32");
        other[at] = value;
        assert_eq!(told(&mut burst, &[other]), [], "{at} {value}");
    }
    let mut cloned = of("fd00::/128");
    cloned[24..28].copy_from_slice(&0x200_u32.to_ne_bytes());
    assert_eq!(told(&mut burst, &[cloned]), []);
    let neighbour = datagram(&route::meet(7, addr("10.1.2.3"), MacAddress([2; 6])));
    assert_eq!(told(&mut burst, &[neighbour]), []);
    assert_eq!(told(&mut burst, &[datagram(&route::show(7, addr("fe80::1")))]), []);
}

/// A message of nf_tables about a table.
fn rule(message: u8, family: u8, port: u32, table: &str) -> Vec<u8> {
    let mut attribute = (u16::try_from(table.len()).expect("short") + 5).to_ne_bytes().to_vec();
    attribute.extend([1_u16.to_ne_bytes().as_slice(), table.as_bytes(), &[0]].concat());
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    let length = u32::try_from(20 + attribute.len()).expect("short").to_ne_bytes();
    let kind = (10_u16 << 8 | u16::from(message)).to_ne_bytes();
    let header = [&length[..], &kind, &[0; 6], &port.to_ne_bytes(), &[family, 0, 0, 0]].concat();
    [header, attribute].concat()
}

#[test]
fn only_what_others_do_to_our_table_is_told() {
    let hears = |datagram: &[u8], author| {
        let mut burst = Burst::default();
        burst.hear_of_rules(datagram, "kleene-main", author);
        assert!(!burst.is_lost());
        burst.tell() == [Seen::Rules]
    };
    for message in [0, 2, 3, 5, 6, 8, 9, 11, 12, 14] {
        assert!(hears(&rule(message, 1, 9, "kleene-main"), Some(5)), "{message}");
    }
    assert!(hears(&rule(2, 1, 5, "kleene-main"), None), "we have changed nothing yet");
    assert!(!hears(&rule(2, 1, 5, "kleene-main"), Some(5)), "ourselves");
    assert!(!hears(&rule(2, 2, 9, "kleene-main"), Some(5)), "another family");
    assert!(!hears(&rule(15, 1, 9, "kleene-main"), Some(5)), "a generation names no table");
    for other in ["kleene-mai", "kleene-main2", "filter", ""] {
        assert!(!hears(&rule(2, 1, 9, other), Some(5)), "{other}");
    }
    let several = [rule(2, 1, 5, "kleene-main"), rule(2, 1, 9, "kleene-main")].concat();
    assert!(hears(&several, Some(5)));
}

#[test]
fn damaged_bytes_are_lost_and_do_no_harm() {
    let whole = [
        link("one0", 7, true),
        datagram(&route::show(7, addr("10.1.2.3"))),
        datagram(&route::steer(7, addr("fd00::3"), None)),
        rule(12, 1, 9, "kleene-main"),
    ];
    for datagram in &whole {
        for cut in 1..16 {
            let mut burst = Burst::default();
            burst.hear(&datagram[..cut], NOBODY);
            assert!(burst.is_lost() && !burst.is_empty(), "{cut}");
            let mut burst = Burst::default();
            burst.hear_of_rules(&datagram[..cut], "kleene-main", None);
            assert!(burst.is_lost(), "{cut}");
        }
        for at in 0..datagram.len() {
            for value in [0, 1, 4, 0x7f, 0xff] {
                let mut damaged = datagram.clone();
                damaged[at] = value;
                let _ = crate::linux::net::monitor::read_anything(&damaged);
            }
        }
    }
}

#[test]
fn what_the_author_takes_is_told_to_nobody() {
    /// Where a frame says who asked for it.
    const PORT: std::ops::Range<usize> = 12..16;
    let taken = || {
        [
            datagram(&request::remove_address(7, "192.0.2.9/32".parse().expect("a net"))),
            datagram(&route::unsteer(8, addr("10.1.2.3"), None)),
            datagram(&route::no_fall_back(addr("fd00::3"))),
        ]
    };
    let by = |author: u32, mut frame: Vec<u8>| {
        frame[PORT].copy_from_slice(&author.to_ne_bytes());
        frame
    };
    let mut burst = Burst::default();
    told(&mut burst, &[link("wan", 7, true), link("cable", 8, true)]);
    for frame in taken() {
        burst.hear(&by(5, frame), 5);
    }
    assert!(burst.is_empty(), "{burst:?}");
    // The twin: somebody else does.
    for frame in taken() {
        burst.hear(&by(6, frame), 5);
    }
    assert_eq!(burst.tell().len(), 3);
    // What came by itself, and was taken at once, was there for nobody.
    burst.hear(&by(0, datagram(&route::steer(8, addr("10.1.2.3"), None))), 5);
    burst.hear(&by(5, datagram(&route::unsteer(8, addr("10.1.2.3"), None))), 5);
    assert!(burst.is_empty(), "{burst:?}");
}
