//! The table of the host's bridges: what comes out of a container's cable has
//! the container's MAC address, and one of its addresses.
//!
//! What is bridged from one port to another passes no other filter, and what
//! ARP and neighbour discovery say is never a packet's source.

use super::host::CABLE;
use super::reason::{Block, Reason, blocks, ends};
use super::rule::Expression::{Goto, Is, Lookup, Meta as Load, Payload, Reads, Verdict};
use super::rule::{ACCEPT, Chain, Compare, Expression, Header, Hook, Meta, Register, Rule};
use super::set::Set;

const CHECK: &str = "check";
/// Before everything else that bridges do.
const FIRST: i32 = -300;

pub(super) fn chains() -> Vec<Chain> {
    vec![
        Chain::new(CHECK, Hook::filter(0, FIRST)),
        Chain::new(CABLE, None),
        Chain::new(Block::Drop.chain(), None),
    ]
}

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Where frames and packets have what: header, offset in bytes, length.
type Place = (Header, u32, u32);
const ETHER_SOURCE: Place = (Header::Link, 6, 6);
const IPV4_SOURCE: Place = (Header::Network, 12, 4);
const ARP_FORM: Place = (Header::Network, 0, 6);
const ARP_MAC: Place = (Header::Network, 8, 6);
const ARP_ADDRESS: Place = (Header::Network, 14, 4);
const IPV6_LENGTH: Place = (Header::Network, 4, 2);
const IPV6_NEXT: Place = (Header::Network, 6, 1);
const IPV6_SOURCE: Place = (Header::Network, 8, 16);
const ICMPV6_KIND: Place = (Header::Transport, 0, 1);
const ND_TARGET: Place = (Header::Transport, 8, 16);
const ND_OPTION: Place = (Header::Transport, 24, 2);
const ND_OPTION_MAC: Place = (Header::Transport, 26, 6);

/// ICMPv6, and what is in it (RFC 4861).
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Messages of neighbour discovery without an option, and with one that tells a
/// MAC address, in bytes.
const PLAIN: [u8; 2] = [0, 24];
const WITH_MAC: [u8; 2] = [0, 32];

fn load((header, offset, length): Place, to: Register) -> Expression {
    Payload { header, offset, length, to }
}

/// Matches bytes at a place.
fn reads(place: Place, bytes: &[u8]) -> Vec<Expression> {
    vec![load(place, Register::FIRST), Reads(Compare::Equal, bytes.to_vec())]
}

fn holds(kind: [u8; 2]) -> Vec<Expression> {
    vec![Load(Meta::Holds), Reads(Compare::Equal, kind.to_vec())]
}

/// Matches when the set has what is at a place beside the cable, or has not.
fn on_cable(place: Place, set: Set, has: bool) -> Vec<Expression> {
    let lookup = Lookup { set: set.name(), has };
    vec![Load(Meta::InName), load(place, Register::SECOND), lookup]
}

fn lets(about: &'static str, parts: &[Vec<Expression>]) -> Rule {
    let mut expressions = parts.concat();
    expressions.push(Verdict(ACCEPT));
    Rule { chain: CABLE.into(), about, expressions }
}

fn drops(reason: Reason, parts: &[Vec<Expression>]) -> Rule {
    blocks(CABLE, reason, Block::Drop, parts.concat())
}

/// What does not come out of a container's cable must not claim to.
fn claims(parts: &[Vec<Expression>]) -> Rule {
    blocks(CHECK, Reason::OthersAddress, Block::Drop, parts.concat())
}

pub(super) fn rules() -> Vec<Rule> {
    let taken =
        |place, set: Set| vec![load(place, Register::FIRST), Lookup { set: set.name(), has: true }];
    let cable =
        vec![Load(Meta::InName), Lookup { set: Set::WireCables.name(), has: true }, Goto(CABLE)];
    let mac = on_cable(ETHER_SOURCE, Set::WireMacs, false);
    let mut rules = vec![
        Rule { chain: CHECK.into(), about: "out of a container's cable", expressions: cable },
        claims(&[holds(IPV4), taken(IPV4_SOURCE, Set::WireAddresses4)]),
        claims(&[holds(ARP), taken(ARP_ADDRESS, Set::WireAddresses4)]),
        claims(&[holds(IPV6), taken(IPV6_SOURCE, Set::WireAddresses6)]),
        claims(&[only(ADVERTISEMENT), taken(ND_TARGET, Set::WireAddresses6)]),
        drops(Reason::OwnMac, &[mac]),
        lets(
            "14: its own addresses only",
            &[holds(IPV4), on_cable(IPV4_SOURCE, Set::WireSources4, true)],
        ),
    ];
    rules.extend(arp());
    rules.extend(discovery());
    rules.push(lets(
        "14: its own addresses only",
        &[holds(IPV6), on_cable(IPV6_SOURCE, Set::WireSources6, true)],
    ));
    rules.push(drops(Reason::NothingElse, &[]));
    rules.extend(ends(Block::Drop, Set::WireLogged));
    rules
}

fn arp() -> Vec<Rule> {
    // Ethernet and IPv4, of their lengths.
    let form = [holds(ARP), reads(ARP_FORM, &[0, 1, 8, 0, 6, 4])].concat();
    let own_mac = on_cable(ARP_MAC, Set::WireMacs, true);
    let own = on_cable(ARP_ADDRESS, Set::WireSources4, true);
    vec![
        lets("14: ARP tells of its own addresses", &[form.clone(), own_mac.clone(), own]),
        lets(
            "14: ARP asks whether an address is free",
            &[form, own_mac, reads(ARP_ADDRESS, &[0; 4])],
        ),
    ]
}

/// Matches neighbour discovery of these types.
fn of_kind(from: u8, to: u8) -> Vec<Expression> {
    let mut when = holds(IPV6);
    when.extend([Load(Meta::Protocol), Is(Compare::Equal, ICMPV6)]);
    when.extend([load(ICMPV6_KIND, Register::FIRST)]);
    when.extend([Is(Compare::AtLeast, from), Is(Compare::AtMost, to)]);
    when
}

fn only(kind: u8) -> Vec<Expression> {
    of_kind(kind, kind)
}

fn discovery() -> Vec<Rule> {
    let hidden = vec![load(IPV6_NEXT, Register::FIRST), Is(Compare::Unequal, ICMPV6)];
    let own = on_cable(IPV6_SOURCE, Set::WireSources6, true);
    let target = on_cable(ND_TARGET, Set::WireSources6, true);
    let option = |kind| {
        let mut when = reads(IPV6_LENGTH, &WITH_MAC);
        when.extend(reads(ND_OPTION, &[kind, 1]));
        when.extend(on_cable(ND_OPTION_MAC, Set::WireMacs, true));
        when
    };
    let (asks, tells) = ("14: it asks as itself", "14: it tells of its own addresses");
    let nobody = reads(IPV6_SOURCE, &[0; 16]);
    let (solicitation, advertisement) = (only(SOLICITATION), only(ADVERTISEMENT));
    let plain = reads(IPV6_LENGTH, &PLAIN);
    vec![
        // Behind other headers it would not be where it is looked for.
        drops(Reason::Extensions, &[of_kind(133, 137), hidden]),
        lets(
            "14: it asks whether its own address is free",
            &[solicitation.clone(), nobody, target.clone()],
        ),
        lets(asks, &[solicitation.clone(), own.clone(), plain.clone()]),
        lets(asks, &[solicitation, own.clone(), option(1)]),
        lets(tells, &[advertisement.clone(), own.clone(), target.clone(), plain]),
        lets(tells, &[advertisement, own.clone(), target, option(2)]),
        lets("14: it looks for a router", &[only(133), own]),
        drops(Reason::NoRouter, &[of_kind(133, 137)]),
    ]
}
