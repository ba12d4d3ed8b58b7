//! The chain of the host's table that gives flows another source.

use kleene_model::Family;

use super::families::{FAMILIES, Version};
use super::host::{LEAVE, first_byte, has, has_not, led, not_of_host, rule};
use super::rule::Expression::{Is, Map, Meta as Load};
use super::rule::{Compare, End, Expression, Meta, Register, Rule};
use super::set::Set;
use super::translate::{Manip, Translate};

pub(super) fn leave() -> Vec<Rule> {
    let loopback = "from 127.0.0.1 to a published port";
    let mut from_loopback = led();
    from_loopback.extend(FAMILIES[0].is());
    from_loopback.push(first_byte(FAMILIES[0].source));
    from_loopback.push(Is(Compare::Equal, 127));
    from_loopback.extend(from_near(FAMILIES[0]));
    let mut rules = vec![rule(LEAVE, loopback, from_loopback)];
    for version in FAMILIES {
        let sets = LeaveSets::of(version);
        let pair = |set| {
            let (first, second) = (Register::FIRST, Register(version.width()));
            [version.load_source(first), version.load_destination(second), has(set)]
        };
        let hairpin = "12: answers inside one subnet come by the host";
        let mut bridged = led();
        bridged.extend(version.is());
        bridged.extend(pair(sets.bridged));
        bridged.extend(from_near(version));
        rules.push(rule(LEAVE, hairpin, bridged));
        let mut same = led();
        same.extend(version.is());
        same.extend([version.load_source(Register::FIRST), has(version.addresses)]);
        same.extend(pair(sets.same));
        same.extend(from_near(version));
        rules.push(rule(LEAVE, hairpin, same));
        let mut round = led();
        round.extend(version.is());
        round.extend(pair(sets.round));
        round.extend(from_near(version));
        rules.push(rule(LEAVE, "12: nobody is answered by itself", round));
        let mut whole = [version.load_source(Register::FIRST), has(sets.translated)].to_vec();
        // The gateway is the host's.
        whole.extend(not_of_host(End::Source));
        rules.push(rule(LEAVE, "5: nat", translated(version, sets.nat, whole)));
        let source = || version.load_source(Register::FIRST);
        let own = [source(), has(version.addresses), source(), has(sets.translated_own)].to_vec();
        rules.push(rule(LEAVE, "5: nat", translated(version, sets.nat, own)));
    }
    rules
}

struct LeaveSets {
    bridged: Set,
    same: Set,
    round: Set,
    near: Set,
    translated: Set,
    translated_own: Set,
    nat: Set,
}

impl LeaveSets {
    fn of(version: Version) -> Self {
        match version.family {
            Family::V4 => Self {
                bridged: Set::Bridged4,
                same: Set::Same4,
                round: Set::Round4,
                near: Set::Near4,
                translated: Set::Translated4,
                translated_own: Set::TranslatedOwn4,
                nat: Set::Nat4,
            },
            Family::V6 => Self {
                bridged: Set::Bridged6,
                same: Set::Same6,
                round: Set::Round6,
                near: Set::Near6,
                translated: Set::Translated6,
                translated_own: Set::TranslatedOwn6,
                nat: Set::Nat6,
            },
        }
    }
}

/// Gives the host's own address towards the destination as source.
fn from_near(version: Version) -> Vec<Expression> {
    vec![
        version.load_destination(Register::FIRST),
        Map { map: LeaveSets::of(version).near.name(), key: Register::FIRST, to: Register::FIRST },
        source(version),
    ]
}

fn source(version: Version) -> Expression {
    Expression::Translate(Translate {
        manip: Manip::Source,
        family: version.number,
        addr: Register::FIRST,
        port: None,
        last: None,
    })
}

/// From a network with nat, to neither a container nor what is on a bridge.
fn translated(version: Version, nat: Set, from: Vec<Expression>) -> Vec<Expression> {
    let mut when = version.is();
    when.extend(from);
    when.extend([version.load_destination(Register::FIRST), has_not(version.addresses)]);
    when.extend([Load(Meta::OutName), has_not(Set::Links)]);
    when.extend([
        Load(Meta::OutName),
        Map { map: nat.name(), key: Register::FIRST, to: Register::FIRST },
        source(version),
    ]);
    when
}
