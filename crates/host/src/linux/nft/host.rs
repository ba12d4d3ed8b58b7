//! The chains of the host's table that do not depend on networks.
//!
//! Sources are checked first, so that what is spoofed makes no state. Then what
//! goes to published ports is led to containers. What is passed on is asked for
//! in the chain of the network that it comes from, or else of that which it goes
//! to. What leaves may get another source.

use super::families::{FAMILIES, Version};
use super::leave::leave;
use super::reason::{Block, Reason, blocks, ends as block_ends};
use super::rule::Expression::{
    And, Dispatch, Goto, Is, Lookup, Map, Meta as Load, Payload, Reads, Translate, Verdict,
};
use super::rule::{
    ACCEPT, Chain, Compare, End, Expression, Flow, Header, Hook, Meta, Register, Rule,
};
use super::set::Set;
use super::translate::Manip;
use kleene_engine::passage;
use kleene_model::Family;

const INPUT: &str = "input";
const OUTPUT: &str = "output";
const FORWARD: &str = "forward";
const PREROUTING: &str = "prerouting";
/// Where what comes out of a container's cable goes on.
pub(super) const CABLE: &str = "cable";
const LEAD: &str = "lead";
const LEAD_IN: &str = "lead_in";
const LEAD_OUT: &str = "lead_out";
pub(super) const LEAVE: &str = "leave";

/// Before the filters of others: what they accept would still be dropped here,
/// but what they refuse by an answer should have none.
const FILTER: i32 = -10;
/// Before connection tracking.
const RAW: i32 = -300;

pub(super) fn chains() -> Vec<Chain> {
    vec![
        Chain::new(PREROUTING, Hook::filter(0, RAW)),
        Chain::new(INPUT, Hook::filter(1, FILTER)),
        Chain::new(FORWARD, Hook::filter(2, FILTER)),
        Chain::new(OUTPUT, Hook::filter(3, FILTER)),
        Chain::new(LEAD_IN, Hook::translate(0, passage::LEAD)),
        Chain::new(LEAD_OUT, Hook::translate(3, passage::LEAD)),
        Chain::new(LEAVE, Hook::translate(4, passage::LEAVE)),
        Chain::new(CABLE, None),
        Chain::new(LEAD, None),
        Chain::new(Block::Refuse.chain(), None),
        Chain::new(Block::Drop.chain(), None),
    ]
}

/// By their chains.
pub(super) fn rules() -> Vec<Rule> {
    let filters = [prerouting(), cable(), input(), output(), forward()];
    let translations = [lead_in(), lead_out(), lead(), leave()];
    let mut rules = [filters.concat(), translations.concat()].concat();
    for how in [Block::Refuse, Block::Drop] {
        rules.extend(block_ends(how, Set::Logged));
    }
    rules
}

pub(super) fn rule(chain: &'static str, about: &'static str, expressions: Vec<Expression>) -> Rule {
    Rule { chain: chain.into(), about, expressions }
}

pub(super) fn has(set: Set) -> Expression {
    Lookup { set: set.name(), has: true }
}

pub(super) fn has_not(set: Set) -> Expression {
    Lookup { set: set.name(), has: false }
}

/// Matches what comes in by an interface of the set.
fn comes_by(set: Set) -> Vec<Expression> {
    vec![Load(Meta::InName), has(set)]
}

fn drops(chain: &'static str, reason: Reason, when: Vec<Expression>) -> Rule {
    blocks(chain, reason, Block::Drop, when)
}

fn ends(mut when: Vec<Expression>, verdict: Expression) -> Vec<Expression> {
    when.push(verdict);
    when
}

/// Matches a flow of which the kernel knows one of these.
fn flow(what: Flow, bits: u32) -> Vec<Expression> {
    vec![
        Expression::Flow(what),
        And(bits.to_ne_bytes().to_vec()),
        Reads(Compare::Unequal, vec![0; 4]),
    ]
}

/// A flow that was let through before, or an error that belongs to one.
fn goes_on() -> Vec<Expression> {
    const ESTABLISHED: u32 = 1 << 1;
    const RELATED: u32 = 1 << 2;
    flow(Flow::State, ESTABLISHED | RELATED)
}

/// A flow that was led elsewhere.
pub(super) fn led() -> Vec<Expression> {
    const DESTINATION: u32 = 1 << 5;
    flow(Flow::Status, DESTINATION)
}

/// Matches neighbour discovery: types 133 to 137 of ICMPv6.
fn neighbour_discovery(from: u8, to: u8) -> Vec<Expression> {
    const IPV6: u8 = 10;
    const ICMPV6: u8 = 58;
    let kind = Payload { header: Header::Transport, offset: 0, length: 1, to: Register::FIRST };
    vec![
        Load(Meta::Family),
        Is(Compare::Equal, IPV6),
        Load(Meta::Protocol),
        Is(Compare::Equal, ICMPV6),
        kind,
        Is(Compare::AtLeast, from),
        Is(Compare::AtMost, to),
    ]
}

/// Every packet comes by here: what decides for most comes first, and a cable is looked
/// up once.
fn prerouting() -> Vec<Rule> {
    let cable = ends(comes_by(Set::Cables), Goto(CABLE));
    let mut rules = vec![rule(PREROUTING, "out of a container's cable", cable)];
    for version in FAMILIES {
        let mut when = version.is();
        when.push(version.load_source(Register::FIRST));
        when.push(has(version.addresses));
        when.extend(by_and_source(version, false));
        rules.push(drops(PREROUTING, Reason::OthersAddress, when));
    }
    // A bridge lets 127.0.0.1 through for what the host itself sends.
    let mut loopback = to_loopback();
    loopback.extend(comes_by(Set::Links));
    rules.push(drops(PREROUTING, Reason::Loopback, loopback));
    rules
}

/// What comes out of a cable.
fn cable() -> Vec<Rule> {
    let mut rules = Vec::new();
    for version in FAMILIES {
        let mut when = version.is();
        when.extend(by_and_source(version, false));
        rules.push(drops(CABLE, Reason::OwnAddresses, when));
    }
    rules.push(drops(CABLE, Reason::Loopback, to_loopback()));
    rules
}

/// Matches what goes to 127.0.0.0/8.
fn to_loopback() -> Vec<Expression> {
    let mut when = FAMILIES[0].is();
    when.push(first_byte(FAMILIES[0].destination));
    when.push(Is(Compare::Equal, 127));
    when
}

pub(super) fn first_byte(offset: u32) -> Expression {
    Payload { header: Header::Network, offset, length: 1, to: Register::FIRST }
}

/// Matches when this source may, or may not, come in by this interface.
fn by_and_source(version: Version, may: bool) -> [Expression; 3] {
    [
        Load(Meta::InName),
        version.load_source(Register::SECOND),
        Lookup { set: version.sources.name(), has: may },
    ]
}

fn input() -> Vec<Rule> {
    let discovery = ends(neighbour_discovery(133, 137), Verdict(ACCEPT));
    let mut rules = vec![rule(INPUT, "neighbour discovery passes", discovery)];
    for version in FAMILIES {
        rules.push(drops(INPUT, Reason::NotForContainer, version.to_container()));
    }
    rules.push(rule(INPUT, "what was let through goes on", ends(goes_on(), Verdict(ACCEPT))));
    let by = vec![Load(Meta::InName), Dispatch { map: Set::HostLinks.name() }];
    rules.push(rule(INPUT, "the network that asks", by));
    rules.extend(by_source(INPUT, [Set::HostSubnets4, Set::HostSubnets6]));
    rules
}

/// Leads what comes by a cable to the chain of its source's network.
fn by_source(chain: &'static str, maps: [Set; 2]) -> Vec<Rule> {
    let rules = FAMILIES.into_iter().zip(maps).map(|(version, map)| {
        let mut when = comes_by(Set::Cables);
        when.extend(version.is());
        when.push(version.load_source(Register::FIRST));
        when.push(Dispatch { map: map.name() });
        rule(chain, "the network that asks", when)
    });
    rules.collect()
}

fn output() -> Vec<Rule> {
    const RELATED: u32 = 1 << 2;
    // Who is told that there is a shorter way would take it, past the policy.
    let goes_by_links = [Load(Meta::OutName), has(Set::Links)];
    let mut redirect4 = FAMILIES[0].is();
    redirect4.extend([
        Load(Meta::Protocol),
        Is(Compare::Equal, 1),
        Payload { header: Header::Transport, offset: 0, length: 1, to: Register::FIRST },
        Is(Compare::Equal, 5),
    ]);
    redirect4.extend(goes_by_links.clone());
    let mut redirect6 = neighbour_discovery(137, 137);
    redirect6.extend(goes_by_links);
    let mut rules = vec![
        drops(OUTPUT, Reason::Redirect, redirect4),
        drops(OUTPUT, Reason::Redirect, redirect6),
        rule(
            OUTPUT,
            "neighbour discovery passes",
            ends(neighbour_discovery(133, 136), Verdict(ACCEPT)),
        ),
        // The reset by which a container is refused has the source of whom it asked.
        rule(
            OUTPUT,
            "so does what tells of an error",
            ends(flow(Flow::State, RELATED), Verdict(ACCEPT)),
        ),
    ];
    for version in FAMILIES {
        let mut when = version.is();
        when.push(version.load_source(Register::FIRST));
        when.push(has(version.addresses));
        rules.push(drops(OUTPUT, Reason::NotAsContainer, when));
    }
    rules
}

fn forward() -> Vec<Rule> {
    let by = vec![Load(Meta::InName), Dispatch { map: Set::FromLinks.name() }];
    let to = vec![Load(Meta::OutName), Dispatch { map: Set::ToLinks.name() }];
    let mut rules = vec![
        rule(FORWARD, "what was let through goes on", ends(goes_on(), Verdict(ACCEPT))),
        rule(FORWARD, "the network that it comes from", by),
    ];
    rules.extend(by_source(FORWARD, [Set::FromSubnets4, Set::FromSubnets6]));
    rules.push(rule(FORWARD, "the network that it goes to", to));
    let maps = [Set::ToSubnets4, Set::ToSubnets6];
    rules.extend(FAMILIES.into_iter().zip(maps).map(|(version, map)| {
        let mut when = version.to_container();
        when.push(version.load_destination(Register::FIRST));
        when.push(Dispatch { map: map.name() });
        rule(FORWARD, "the network that it goes to", when)
    }));
    rules
}

/// Matches what is not the host's own, at one end.
pub(super) fn not_of_host(of: End) -> Vec<Expression> {
    const LOCAL: u32 = 2;
    vec![Expression::Type { of }, Reads(Compare::Unequal, LOCAL.to_ne_bytes().to_vec())]
}

fn lead_in() -> Vec<Rule> {
    let accept = |about, when| rule(LEAD_IN, about, ends(when, Verdict(ACCEPT)));
    let internal = "internal networks reach nothing";
    let mut rules = vec![
        accept("not to the host", not_of_host(End::Destination)),
        accept(internal, comes_by(Set::InternalLinks)),
    ];
    for (version, set) in FAMILIES.into_iter().zip([Set::Internal4, Set::Internal6]) {
        let mut when = comes_by(Set::Cables);
        when.extend(version.is());
        when.extend([version.load_source(Register::FIRST), has(set)]);
        rules.push(accept(internal, when));
    }
    for set in [Set::Links, Set::Cables] {
        rules.push(rule(LEAD_IN, "from containers", ends(comes_by(set), Goto(LEAD))));
    }
    for version in FAMILIES {
        let [exact, ranges] = version.leads().by_uplink;
        let by = comes_by(version.uplink);
        rules.push(rule(LEAD_IN, LEADS, to_port(version, &by, 0, exact, false)));
        rules.push(rule(LEAD_IN, LEADS, to_port(version, &by, 0, ranges, true)));
        let [exact, ranges] = version.leads().by_link;
        let by = [Load(Meta::InName)];
        rules.push(rule(LEAD_IN, LEADS, to_port(version, &by, 4, exact, false)));
        rules.push(rule(LEAD_IN, LEADS, to_port(version, &by, 4, ranges, true)));
    }
    rules
}

const LEADS: &str = "10, 12: published ports of the host";

struct Leads {
    inside: [Set; 2],
    by_uplink: [Set; 2],
    by_link: [Set; 2],
}

impl Version {
    fn leads(self) -> Leads {
        match self.family {
            Family::V4 => Leads {
                inside: [Set::Lead4, Set::LeadRanges4],
                by_uplink: [Set::LeadUplink4, Set::LeadUplinkRanges4],
                by_link: [Set::LeadLinks4, Set::LeadLinksRanges4],
            },
            Family::V6 => Leads {
                inside: [Set::Lead6, Set::LeadRanges6],
                by_uplink: [Set::LeadUplink6, Set::LeadUplinkRanges6],
                by_link: [Set::LeadLinks6, Set::LeadLinksRanges6],
            },
        }
    }
}

/// Leads to what a map says of protocol and port, which are loaded from a
/// register on.
fn to_port(
    version: Version,
    when: &[Expression],
    from: u8,
    map: Set,
    ranges: bool,
) -> Vec<Expression> {
    let mut all = version.is();
    all.extend_from_slice(when);
    all.extend(Version::load_port(from));
    all.push(Map { map: map.name(), key: Register::FIRST, to: Register::FIRST });
    let width = version.width();
    let last = (Register(width + 1), Register(2 * width + 1));
    all.push(Translate(super::translate::Translate {
        manip: Manip::Destination,
        family: version.number,
        addr: Register::FIRST,
        port: Some(Register(width)),
        last: ranges.then_some(last),
    }));
    all
}

fn lead() -> Vec<Rule> {
    let rules = FAMILIES.into_iter().flat_map(|version| {
        let [exact, ranges] = version.leads().inside;
        [
            rule(LEAD, LEADS, to_port(version, &[], 0, exact, false)),
            rule(LEAD, LEADS, to_port(version, &[], 0, ranges, true)),
        ]
    });
    rules.collect()
}

fn lead_out() -> Vec<Rule> {
    let mut loopback6 = FAMILIES[1].is();
    loopback6.push(FAMILIES[1].load_source(Register::FIRST));
    let one = [[0; 15].as_slice(), &[1]].concat();
    loopback6.extend([Reads(Compare::Equal, one), Verdict(ACCEPT)]);
    vec![
        rule(LEAD_OUT, "not to the host", ends(not_of_host(End::Destination), Verdict(ACCEPT))),
        // Linux would not find the way back.
        rule(LEAD_OUT, "not from ::1", loopback6),
        rule(LEAD_OUT, "from the host itself", vec![Goto(LEAD)]),
    ]
}
