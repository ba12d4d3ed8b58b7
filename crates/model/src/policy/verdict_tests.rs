//! The policy's table, row by row, in both families.

use super::*;
use crate::addr::Dual;

struct Stage {
    policy: Policy,
}

fn link(name: &str) -> LinkName {
    LinkName::parse(name).expect("name")
}

fn addr(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn network(number: u8) -> NetworkId {
    NetworkId::from_bytes([0xa0, 0, 0, 0, 0, number]).expect("id")
}

fn container(number: u8) -> ContainerId {
    ContainerId::from_bytes([0xc0, 0, 0, 0, 0, number]).expect("id")
}

/// `v4` 10.0.N.D, `v6` fd00:N::D.
fn at(family: Family, net: u8, host: u8) -> IpAddr {
    match family {
        Family::V4 => addr(&format!("10.0.{net}.{host}")),
        Family::V6 => addr(&format!("fd00:{net}::{host}")),
    }
}

fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => addr("198.51.100.7"),
        Family::V6 => addr("2001:db8::7"),
    }
}

fn own(family: Family) -> IpAddr {
    match family {
        Family::V4 => addr("192.0.2.1"),
        Family::V6 => addr("2001:db8:1::1"),
    }
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => addr("127.0.0.1"),
        Family::V6 => addr("::1"),
    }
}

const OPEN: u8 = 1;
const CLOSED: u8 = 2;
const INTERNAL: u8 = 3;
const PLAIN: u8 = 4;

/// Four networks; in each two containers, .2 (publishes 8000+N → 80 on eth0)
/// and .3 (publishes nothing).
fn stage() -> Stage {
    let mut policy = Policy::default();
    for number in [OPEN, CLOSED, INTERNAL, PLAIN] {
        let subnet = Dual::from_fn(|family| {
            let text = match family {
                Family::V4 => format!("10.0.{number}.0/24"),
                Family::V6 => format!("fd00:{number}::/64"),
            };
            Some(Subnet::parse(family, &text).expect("subnet"))
        });
        policy.networks.insert(
            network(number),
            NetworkRules {
                id: network(number),
                kind: NetworkType::Bridge,
                interface: link(&format!("kleene{number}")),
                subnet,
                icc: number != CLOSED,
                internal: number == INTERNAL,
                nat: if number == PLAIN { Nat::None } else { Nat::HostGateway },
            },
        );
        let near = Dual::from_fn(|family| Some(at(family, number, 1)));
        policy.near.insert(network(number), near);
        for host in [2, 3] {
            for family in Family::BOTH {
                policy.members.insert(
                    at(family, number, host),
                    Member {
                        network: network(number),
                        container: container(number * 16 + host),
                        driver: if host == 2 { Driver::Ipnet } else { Driver::Vnet },
                    },
                );
                policy.host.addresses.insert(at(family, number, 1));
            }
        }
        let port = u16::from(number) + 8000;
        policy.publications.push(Publication {
            container: container(number * 16 + 2),
            target: Dual::from_fn(|family| Some(at(family, number, 2))),
            ports: vec![PublishedPort {
                on: Listed::Uplink,
                protocol: Protocol::Tcp,
                host: crate::Ports { first: port, last: port },
                container: crate::Ports { first: 80, last: 80 },
            }],
        });
    }
    for family in Family::BOTH {
        policy.host.addresses.insert(own(family));
    }
    policy.host.uplink = Dual::from_fn(|_| Some(link("eth0")));
    policy.host.first.insert(link("eth0"), Dual::from_fn(|family| Some(own(family))));
    Stage { policy }
}

const WEB: Payload = Payload::Port(Protocol::Tcp, 80);

fn tcp(port: u16) -> Payload {
    Payload::Port(Protocol::Tcp, port)
}

impl Stage {
    fn from(&self, net: u8, host: u8, to: IpAddr, payload: Payload) -> Verdict {
        let source = at(Family::of(to), net, host);
        self.flow(Origin::Container(container(net * 16 + host)), source, to, payload)
    }

    fn flow(&self, from: Origin, source: IpAddr, to: IpAddr, payload: Payload) -> Verdict {
        self.policy.verdict(&Flow { from, source, to, payload, out: Some(link("eth0")) })
    }
}

fn is(verdict: Verdict, blocked: Option<Blocked>, rule: Rule) -> Translation {
    assert_eq!((verdict.blocked, verdict.rule), (blocked, rule), "{verdict:?}");
    verdict.translation
}

const PASS: Option<Blocked> = None;
const REFUSED: Option<Blocked> = Some(Blocked::Refused);
const DROPPED: Option<Blocked> = Some(Blocked::Dropped);

#[test]
fn containers_among_themselves() {
    let stage = stage();
    for family in Family::BOTH {
        let of = |net, host| at(family, net, host);
        is(stage.from(OPEN, 3, of(OPEN, 3), Payload::Echo), PASS, Rule::Own);
        is(stage.from(OPEN, 2, of(OPEN, 3), Payload::Echo), PASS, Rule::SameNetwork);
        is(stage.from(CLOSED, 2, of(CLOSED, 3), WEB), REFUSED, Rule::SameNetwork);
        is(stage.from(CLOSED, 3, of(CLOSED, 2), WEB), PASS, Rule::SameNetwork);
        is(stage.from(CLOSED, 3, of(CLOSED, 2), tcp(81)), REFUSED, Rule::SameNetwork);
        is(stage.from(CLOSED, 3, of(CLOSED, 2), Payload::Echo), REFUSED, Rule::SameNetwork);
        is(stage.from(OPEN, 3, of(CLOSED, 2), WEB), PASS, Rule::OtherNetwork);
        is(stage.from(OPEN, 3, of(CLOSED, 2), tcp(8002)), REFUSED, Rule::OtherNetwork);
        is(stage.from(OPEN, 3, of(INTERNAL, 2), WEB), PASS, Rule::OtherNetwork);
        is(stage.from(OPEN, 3, of(INTERNAL, 3), WEB), REFUSED, Rule::OtherNetwork);
        is(stage.from(INTERNAL, 3, of(OPEN, 2), WEB), REFUSED, Rule::Internal);
        is(stage.from(INTERNAL, 3, of(INTERNAL, 2), tcp(7)), PASS, Rule::SameNetwork);
    }
}

#[test]
fn containers_and_the_outside() {
    let stage = stage();
    for family in Family::BOTH {
        let far = outside(family);
        let nat = is(stage.from(OPEN, 3, far, WEB), PASS, Rule::OutsideNat);
        assert_eq!(nat.source, Some(own(family)));
        let plain = is(stage.from(PLAIN, 3, far, Payload::Echo), PASS, Rule::OutsidePlain);
        assert_eq!(plain, Translation::default());
        is(stage.from(INTERNAL, 3, far, WEB), REFUSED, Rule::Internal);
        // By another way than the nat interface.
        let mut flow = Flow {
            from: Origin::Container(container(OPEN * 16 + 3)),
            source: at(family, OPEN, 3),
            to: far,
            payload: WEB,
            out: Some(link("eth1")),
        };
        is(stage.policy.verdict(&flow), REFUSED, Rule::OutsideNat);
        flow.out = None;
        is(stage.policy.verdict(&flow), REFUSED, Rule::OutsideNat);
    }
}

#[test]
fn a_nat_interface_without_an_address_lets_nothing_out() {
    let mut stage = stage();
    stage.policy.host.first.clear();
    is(stage.from(OPEN, 3, outside(Family::V4), WEB), REFUSED, Rule::OutsideNat);
    stage.policy.host.uplink = Dual::default();
    is(stage.from(OPEN, 3, outside(Family::V4), WEB), REFUSED, Rule::OutsideNat);
    is(stage.from(PLAIN, 3, outside(Family::V4), WEB), PASS, Rule::OutsidePlain);
}

#[test]
fn the_host_and_containers() {
    let stage = stage();
    for family in Family::BOTH {
        let host = |to, payload| stage.flow(Origin::Host, own(family), to, payload);
        is(host(at(family, INTERNAL, 3), tcp(9)), PASS, Rule::FromHost);
        is(stage.from(OPEN, 3, own(family), tcp(22)), PASS, Rule::ToHost);
        is(stage.from(OPEN, 3, at(family, CLOSED, 1), Payload::Echo), PASS, Rule::ToHost);
        is(stage.from(INTERNAL, 3, at(family, INTERNAL, 1), tcp(22)), REFUSED, Rule::Internal);
        let taken = stage.flow(Origin::Host, at(family, OPEN, 3), outside(family), WEB);
        is(taken, DROPPED, Rule::HostAsContainer);
        is(host(own(family), tcp(22)), PASS, Rule::NotOurs);
    }
}

#[test]
fn what_comes_from_outside() {
    let stage = stage();
    for family in Family::BOTH {
        let by = |name: &str, to, payload| {
            stage.flow(Origin::Interface(link(name)), outside(family), to, payload)
        };
        for net in [OPEN, CLOSED, INTERNAL, PLAIN] {
            let port = u16::from(net) + 8000;
            let led = is(by("eth0", own(family), tcp(port)), PASS, Rule::Published);
            assert_eq!((led.to, led.source), (Some((at(family, net, 2), 80)), None));
            is(by("eth0", at(family, net, 2), WEB), PASS, Rule::Published);
            is(by("eth0", at(family, net, 2), tcp(port)), DROPPED, Rule::Unpublished);
            is(by("eth0", at(family, net, 3), WEB), DROPPED, Rule::Unpublished);
            is(by("eth1", at(family, net, 2), WEB), DROPPED, Rule::Unlisted);
            is(by("eth1", own(family), tcp(port)), PASS, Rule::NotOurs);
        }
        is(by("eth0", own(family), tcp(22)), PASS, Rule::NotOurs);
        is(by("eth0", outside(family), WEB), PASS, Rule::NotOurs);
        let spoofed = stage.flow(
            Origin::Interface(link("eth0")),
            at(family, OPEN, 3),
            at(family, OPEN, 2),
            WEB,
        );
        is(spoofed, DROPPED, Rule::Spoofed);
    }
}

#[test]
fn published_ports_of_the_host_from_this_host() {
    let stage = stage();
    for family in Family::BOTH {
        let port = tcp(8002);
        let target = Some((at(family, CLOSED, 2), 80));
        let led = is(stage.from(OPEN, 3, own(family), port), PASS, Rule::Hairpin);
        assert_eq!((led.to, led.source), (target, None));
        // Inside one subnet, and to itself: answers would go the short way.
        for host in [2, 3] {
            let led = is(stage.from(CLOSED, host, own(family), port), PASS, Rule::Hairpin);
            assert_eq!((led.to, led.source), (target, Some(at(family, CLOSED, 1))));
        }
        is(stage.from(INTERNAL, 3, own(family), port), REFUSED, Rule::Internal);
        let led = is(stage.flow(Origin::Host, own(family), own(family), port), PASS, Rule::Hairpin);
        assert_eq!((led.to, led.source), (target, None));
    }
    let local = |family| stage.flow(Origin::Host, loopback(family), loopback(family), tcp(8002));
    let led = is(local(Family::V4), PASS, Rule::Hairpin);
    assert_eq!(led.source, Some(at(Family::V4, CLOSED, 1)));
    // Linux has no plain translation for it.
    is(local(Family::V6), PASS, Rule::NotOurs);
}

#[test]
fn sources_that_somebody_else_has() {
    let stage = stage();
    for family in Family::BOTH {
        let sends = |host: u8, source| {
            let from = Origin::Container(container(OPEN * 16 + host));
            stage.flow(from, source, at(family, OPEN, 2), WEB)
        };
        is(sends(3, at(family, OPEN, 3)), PASS, Rule::SameNetwork);
        is(sends(3, at(family, PLAIN, 3)), DROPPED, Rule::Spoofed);
        is(sends(3, outside(family)), DROPPED, Rule::Spoofed);
        is(sends(2, at(family, OPEN, 3)), DROPPED, Rule::SpoofedIpnet);
        is(sends(2, own(family)), DROPPED, Rule::SpoofedIpnet);
    }
}

#[test]
fn what_is_behind_a_linked_interface_is_in_the_network() {
    let stage = stage();
    for family in Family::BOTH {
        let behind = at(family, OPEN, 77);
        let from =
            |to, payload| stage.flow(Origin::Interface(link("kleene1")), behind, to, payload);
        is(from(at(family, OPEN, 3), tcp(9)), PASS, Rule::SameNetwork);
        is(from(at(family, PLAIN, 3), tcp(9)), REFUSED, Rule::OtherNetwork);
        is(from(at(family, PLAIN, 2), WEB), PASS, Rule::OtherNetwork);
        is(from(own(family), tcp(22)), PASS, Rule::ToHost);
        is(stage.from(OPEN, 3, behind, WEB), PASS, Rule::SameNetwork);
        is(stage.from(PLAIN, 3, behind, WEB), REFUSED, Rule::OtherNetwork);
        let outer = stage.flow(Origin::Interface(link("eth0")), outside(family), behind, WEB);
        is(outer, DROPPED, Rule::Unpublished);
    }
}

#[test]
fn every_rule_has_its_own_number() {
    let numbers: BTreeSet<u8> = Rule::ALL.iter().map(|rule| rule.number()).collect();
    assert_eq!(numbers.len(), Rule::ALL.len());
}
