//! What holds of every text, and what redirects do beside what the policy says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_model::policy::{Flow, Origin, Payload};
use kleene_model::{Driver, Family, LinkName, Nat, NetworkType, Ports, Protocol};
use proptest::prelude::*;

use super::world::{World, link, port};
use crate::freebsd::pf::{Anchor, Ruleset, check_link, ruleset};

/// A network: type, icc, internal, nat, and whether the host has an address there.
type Net = (NetworkType, bool, bool, u8, bool);
/// A published port: interfaces, whether TCP, first of the host's, how many more,
/// and what they lead to.
type Published = (u8, bool, u16, u16, bool);
/// A container: network, whether vnet where it can be, families, ports.
type Made = (prop::sample::Index, bool, u8, Vec<Published>);

fn net() -> impl Strategy<Value = Net> {
    let kind = prop::sample::select(NetworkType::ALL.to_vec());
    (kind, any::<bool>(), any::<bool>(), 0..4_u8, any::<bool>())
}

fn container() -> impl Strategy<Value = Made> {
    // Few ports of the host, so that they meet.
    let published = (0..4_u8, any::<bool>(), 8000..8012_u16, 0..5_u16, any::<bool>());
    (any::<prop::sample::Index>(), any::<bool>(), 1..4_u8, prop::collection::vec(published, 0..4))
}

fn world(nets: &[Net], containers: &[Made], uplink: u8) -> World {
    let mut world = World::new();
    if uplink & 1 == 0 {
        world.policy.host.uplink.v6 = None;
    }
    if uplink & 2 == 0 {
        world.policy.host.uplink.v4 = Some(link("em1"));
    }
    for (number, (kind, icc, internal, nat, near)) in nets.iter().enumerate() {
        let id = format!("a0000000000{number}");
        let interface = match kind {
            NetworkType::Custom => "em2".to_owned(),
            _ => format!("kleene{number}"),
        };
        let addresses = format!("10.0.{number}.1 fd00:{number}::1");
        world.near(&id, *kind, &interface, if *near { &addresses } else { "" });
        world.names(&id);
        let nat = match nat {
            0 => Nat::None,
            1 => Nat::HostGateway,
            2 => Nat::Interface(link("em1")),
            // Without an IPv6 address.
            _ => Nat::Interface(link("em2")),
        };
        let net = world.net(&id);
        (net.icc, net.internal, net.nat) = (*icc, *internal, nat);
    }
    for (number, (of, vnet, families, ports)) in containers.iter().enumerate() {
        let of = of.index(nets.len());
        let is_vnet = *vnet && nets[of].0 == NetworkType::Bridge;
        // Later ones have lower ids: the order of names is not that of the list.
        let id = format!("f{:011}", 99 - number);
        let v4 = format!("10.0.{of}.{}", number + 2);
        let v6 = format!("fd00:{of}::{:x}", number + 2);
        let texts = match families {
            1 => v4,
            2 => v6,
            _ => format!("{v4} {v6}"),
        };
        let driver = if is_vnet { Driver::Vnet } else { Driver::Ipnet };
        world.join(&id, &format!("a0000000000{of}"), driver, &texts);
        let ports = ports.iter().map(|(on, tcp, first, more, one)| {
            let on: &[&str] = match on {
                0 => &[],
                1 => &["em0"],
                2 => &["em1"],
                _ => &["em0", "em1"],
            };
            let protocol = if *tcp { Protocol::Tcp } else { Protocol::Udp };
            let inner = if *one { (80, 80) } else { (first - 1000, first - 1000 + more) };
            port(on, protocol, (*first, first + more), inner)
        });
        world.publish(&id, ports.collect());
    }
    world
}

/// The addresses that a line names, tables and `(self)` aside.
fn addresses(line: &str) -> impl Iterator<Item = IpAddr> {
    line.split_whitespace().filter_map(|word| {
        let word = word.trim_matches(|c| c == '(' || c == ')');
        word.split('/').next().and_then(|word| word.parse().ok())
    })
}

fn check_line(line: &str) {
    let first = line.split(' ').next().unwrap_or_default();
    let known = ["pass", "block", "nat", "rdr", "no", "anchor", "nat-anchor", "rdr-anchor"];
    assert!(known.contains(&first), "{line}");
    assert!(line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{line}");
    assert!(
        !line.contains("  ") && !line.contains(['#', '\\', '$', '\'', ';', '|', '=']),
        "{line}"
    );
    let paired = line.replace("->", "");
    for (open, close) in [('{', '}'), ('(', ')'), ('<', '>')] {
        assert_eq!(paired.matches(open).count(), paired.matches(close).count(), "{line}");
    }
    assert!(!line.contains("{ }"), "{line}");
    let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    assert_eq!(line.matches('"').count(), 2 * quoted.len(), "{line}");
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/*".contains(&byte);
    assert!(quoted.iter().all(|text| text.len() <= 63 && text.bytes().all(good)), "{line}");
    if line.contains("reply-to (lo0") {
        assert!(line.contains(" tagged KLEENE_LO "), "{line}");
    }
    assert!(!line.contains(":0)"), "{line}");
    let words: Vec<&str> = line.split(' ').collect();
    for addr in addresses(line) {
        let (own, other) = match Family::of(addr) {
            Family::V4 => ("inet", "inet6"),
            Family::V6 => ("inet6", "inet"),
        };
        assert!(words.contains(&own) && !words.contains(&other), "{line}");
    }
}

fn check(rules: &Ruleset) {
    let tables: BTreeSet<&str> = rules.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(tables.len(), rules.tables.len());
    assert!(tables.iter().all(|name| name.len() <= 31));
    let names: BTreeSet<&str> = rules.anchors.iter().map(|anchor| anchor.name.as_str()).collect();
    assert_eq!(names.len(), rules.anchors.len());
    assert_eq!(rules.anchors.last().map(|anchor| anchor.name.as_str()), Some("kleene"));
    for Anchor { name, text } in &rules.anchors {
        text.lines().for_each(check_line);
        assert!(text.is_empty() || text.ends_with('\n'), "{name}");
        let is_filter =
            |line: &str| ["pass", "block", "anchor"].iter().any(|w| line.starts_with(w));
        assert!(text.lines().map(is_filter).is_sorted(), "{name}: translation comes first");
        let named = text.split('<').skip(1).filter_map(|rest| rest.split('>').next());
        for table in named {
            assert!(tables.contains(table), "{name} names {table}, which is not there");
        }
    }
}

/// Where the texts lead a port of the host, for what comes in by an interface:
/// the first `rdr` of the first container, in the order of names.
fn led(
    rules: &Ruleset,
    on: &str,
    protocol: Protocol,
    addr: IpAddr,
    port: u16,
) -> Option<(IpAddr, u16)> {
    let mut anchors: Vec<&Anchor> =
        rules.anchors.iter().filter(|anchor| anchor.name.starts_with("kleene/pub/")).collect();
    anchors.sort_by(|one, other| one.name.cmp(&other.name));
    let lines = anchors.iter().flat_map(|anchor| anchor.text.lines());
    lines.filter(|line| line.starts_with("rdr ")).find_map(|line| {
        let (what, to) = line.split_once(" -> ").expect("leads somewhere");
        let (places, rest) = what.split_once(&format!(" {} ", Family::of(addr).inet()))?;
        let is_on = places.split_whitespace().any(|place| place.trim_matches('"') == on);
        let ports = rest.strip_prefix(&format!("proto {protocol} from any to (self) port "))?;
        let ports = ports.split(' ').next()?;
        let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
        let ports = Ports { first: first.parse().ok()?, last: last.parse().ok()? };
        if !is_on || !ports.contains(port) {
            return None;
        }
        let (target, inner) = to.split_once(" port ").expect("leads to a port");
        let inner = match inner.strip_suffix(":*") {
            Some(first) => first.parse::<u16>().expect(first) + (port - ports.first),
            None => inner.parse().expect(inner),
        };
        Some((target.parse().expect(target), inner))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_one_that_pf_reads(
        nets in prop::collection::vec(net(), 1..4),
        containers in prop::collection::vec(container(), 0..6),
        uplink in 0..4_u8,
    ) {
        check(&world(&nets, &containers, uplink).ruleset());
    }

    #[test]
    fn redirects_lead_where_the_policy_says(
        nets in prop::collection::vec(net(), 1..3),
        containers in prop::collection::vec(container(), 1..5),
        uplink in 0..4_u8,
    ) {
        let world = world(&nets, &containers, uplink);
        let rules = world.ruleset();
        let own = ["192.0.2.1", "2001:db8:1::1"].map(|text| text.parse::<IpAddr>().expect(text));
        let asked = ["lo0", "kleene_net", "em0", "em1", "em2"];
        for (to, on) in own.iter().flat_map(|to| asked.map(|on| (*to, on))) {
            let outside = on.starts_with("em");
            let from = if outside { Origin::Interface(link(on)) } else { Origin::Host };
            let source = match (outside, Family::of(to)) {
                (false, _) => to,
                (true, Family::V4) => "192.0.2.99".parse().expect("address"),
                (true, Family::V6) => "2001:db8:1::99".parse().expect("address"),
            };
            for (protocol, number) in Protocol::BOTH.iter().flat_map(|protocol| {
                (7998..8018).map(move |number| (*protocol, number))
            }) {
                let payload = Payload::Port(protocol, number);
                let flow = Flow { from: from.clone(), source, to, payload, out: None };
                prop_assert_eq!(
                    led(&rules, on, protocol, to, number),
                    world.policy.verdict(&flow).translation.to,
                    "{}/{} at {} on {}", number, protocol, to, on
                );
            }
        }
    }

    #[test]
    fn names_are_refused_or_stay_in_their_place(text in "\\PC{1,15}|[ -~]{1,15}|[a-z0-9._-]{1,15}") {
        let Ok(name) = LinkName::parse(&text) else { return Ok(()) };
        for world in super::odd_places(&name) {
            match (check_link(&name), ruleset(&world.policy, &world.facts)) {
                (Ok(()), Ok(rules)) => check(&rules),
                (Err(one), Err(other)) => prop_assert_eq!(one, other),
                (one, other) => prop_assert!(false, "{:?} beside {:?}", one, other),
            }
        }
    }
}
