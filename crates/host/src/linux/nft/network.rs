//! The chains of one network. Their comment says what the network is; the rules
//! follow from it.

use std::fmt::Write;

use kleene_model::policy::NetworkRules;
use kleene_model::{Dual, Family, LinkName, Nat, NetworkId, NetworkType, Subnet};

use super::entry::{Field, key};
use super::families::{FAMILIES, Version};
use super::reason::{Block, Reason, blocks, passes};
use super::rule::Expression::{Lookup, Meta as Load, Reads};
use super::rule::{Chain, Compare, Expression, Meta, Rule};
use super::set::Set;

/// What a chain of a network is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// What goes from it to others.
    From,
    /// What goes from it to the host.
    Host,
    /// What comes to it from outside.
    To,
}

impl Direction {
    pub(super) const ALL: [Self; 3] = [Self::From, Self::Host, Self::To];

    fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Host => "host",
            Self::To => "to",
        }
    }
}

/// The name of a chain.
pub(super) fn chain_name(direction: Direction, id: NetworkId) -> String {
    format!("{}_{id}", direction.name())
}

/// The network whose chain has that name.
pub(super) fn network_of(chain: &str) -> Option<NetworkId> {
    let (direction, id) = chain.split_once('_')?;
    let known = Direction::ALL.iter().any(|known| known.name() == direction);
    NetworkId::parse(id).ok().filter(|_| known)
}

/// What is set down in the comment of a network's chain.
pub(super) fn describe(rules: &NetworkRules) -> String {
    let NetworkRules { id: _, kind, interface, subnet, icc, internal, nat } = rules;
    let mut text = format!("{kind} {interface}");
    for (_, subnet) in subnet.present() {
        // Writing to a string does not fail.
        let _ = write!(text, " {}", subnet.net());
    }
    if *icc {
        text.push_str(" icc");
    }
    if *internal {
        text.push_str(" internal");
    }
    match nat {
        Nat::None => {}
        Nat::HostGateway => text.push_str(" nat"),
        Nat::Interface(link) => {
            let _ = write!(text, " nat={link}");
        }
    }
    text
}

/// Reads such a comment, of the chain with that name; `None` when it is none of
/// ours.
pub(super) fn parse(chain: &str, text: &str) -> Option<NetworkRules> {
    let id = NetworkId::parse(chain.strip_prefix("from_")?).ok()?;
    let mut words = text.split(' ');
    let kind = words.next()?;
    let kind = NetworkType::ALL.into_iter().find(|known| known.to_string() == kind)?;
    let interface = LinkName::parse(words.next()?).ok()?;
    let (subnet, nat) = (Dual::default(), Nat::None);
    let mut rules = NetworkRules { id, kind, interface, subnet, icc: false, internal: false, nat };
    for word in words {
        match word {
            "icc" => rules.icc = true,
            "internal" => rules.internal = true,
            "nat" => rules.nat = Nat::HostGateway,
            _ => match word.strip_prefix("nat=") {
                Some(link) => rules.nat = Nat::Interface(LinkName::parse(link).ok()?),
                None => {
                    let family = if word.contains(':') { Family::V6 } else { Family::V4 };
                    *rules.subnet.get_mut(family) = Some(Subnet::parse(family, word).ok()?);
                }
            },
        }
    }
    // Said in the one way in which we say it.
    (describe(&rules) == text).then_some(rules)
}

/// The chains of a network.
pub(super) fn chains(rules: &NetworkRules) -> Vec<Chain> {
    let about = describe(rules);
    let chain = |direction| Chain {
        name: chain_name(direction, rules.id).into(),
        hook: None,
        about: Some(about.clone()),
    };
    Direction::ALL.map(chain).to_vec()
}

/// Their rules, chain by chain.
pub(super) fn rules(rules: &NetworkRules) -> Vec<Rule> {
    let text = Text { rules };
    [text.from(), text.host(), text.to()].concat()
}

struct Text<'a> {
    rules: &'a NetworkRules,
}

impl Text<'_> {
    fn passes(&self, direction: Direction, about: &'static str, when: Vec<Expression>) -> Rule {
        passes(chain_name(direction, self.rules.id), about, when)
    }

    fn blocks(
        &self,
        direction: Direction,
        reason: Reason,
        how: Block,
        when: Vec<Expression>,
    ) -> Rule {
        blocks(chain_name(direction, self.rules.id), reason, how, when)
    }

    /// The families of its subnets.
    fn families(&self) -> impl Iterator<Item = (Version, Subnet)> {
        let subnet = self.rules.subnet;
        FAMILIES
            .into_iter()
            .filter_map(move |version| Some((version, (*subnet.get(version.family))?)))
    }

    fn is_bridge(&self) -> bool {
        self.rules.kind == NetworkType::Bridge
    }

    /// Out by the network's own bridge.
    fn out_by_own(&self) -> Vec<Expression> {
        out_by(&self.rules.interface)
    }

    /// To a container of the same network.
    fn to_own(version: Version, subnet: Subnet) -> Vec<Expression> {
        let mut when = version.destination_in(subnet);
        when.extend(version.to_container());
        when
    }

    fn from(&self) -> Vec<Rule> {
        let mut rules = self.same();
        if self.rules.internal {
            rules.push(self.refuses(Reason::Internal, Vec::new()));
            return rules;
        }
        for (version, _) in self.families() {
            for when in version.to_published() {
                rules.push(self.lets_go("3: other network, published", when));
            }
        }
        for (version, _) in self.families() {
            rules.push(self.refuses(Reason::OtherNetwork, version.to_container()));
        }
        let linked = vec![Load(Meta::OutName), Lookup { set: Set::Links.name(), has: true }];
        rules.push(self.refuses(Reason::OtherNetwork, linked));
        rules.extend(self.outside());
        rules
    }

    fn lets_go(&self, about: &'static str, when: Vec<Expression>) -> Rule {
        self.passes(Direction::From, about, when)
    }

    fn refuses(&self, reason: Reason, when: Vec<Expression>) -> Rule {
        self.blocks(Direction::From, reason, Block::Refuse, when)
    }

    /// Rule 2.
    fn same(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let rule = |when| match self.rules.icc {
            true => self.lets_go("2: same network", when),
            false => self.refuses(Reason::SameNoIcc, when),
        };
        if !self.rules.icc {
            for (version, subnet) in self.families() {
                for to in version.to_published() {
                    let mut when = version.destination_in(subnet);
                    when.extend(to);
                    rules.push(self.lets_go("2: same network, published", when));
                }
            }
        }
        if self.is_bridge() {
            rules.push(rule(self.out_by_own()));
        }
        for (version, subnet) in self.families() {
            rules.push(rule(Self::to_own(version, subnet)));
        }
        rules
    }

    /// Rules 4 to 6.
    fn outside(&self) -> Vec<Rule> {
        let link = match &self.rules.nat {
            Nat::None => return vec![self.lets_go("6: outside", Vec::new())],
            Nat::HostGateway => None,
            Nat::Interface(link) => Some(link),
        };
        let mut rules = Vec::new();
        for (version, _) in self.families() {
            let mut when = version.is();
            when.push(Load(Meta::OutName));
            match link {
                None => when.push(Lookup { set: version.uplink.name(), has: true }),
                Some(link) => when.push(Reads(Compare::Equal, key(&[Field::Name(link)]))),
            }
            when.push(Lookup { set: version.ways.name(), has: true });
            rules.push(self.lets_go("5: outside, nat", when));
        }
        rules.push(self.refuses(Reason::NotByNat, Vec::new()));
        rules
    }

    /// Rules 7 and 13.
    fn host(&self) -> Vec<Rule> {
        let to = Direction::Host;
        vec![match self.rules.internal {
            true => self.blocks(to, Reason::Internal, Block::Refuse, Vec::new()),
            false => self.passes(to, "7: to the host", Vec::new()),
        }]
    }

    /// Rules 9 to 11.
    fn to(&self) -> Vec<Rule> {
        let drops = |reason, when| self.blocks(Direction::To, reason, Block::Drop, when);
        let mut rules = Vec::new();
        for (version, _) in self.families() {
            for when in version.to_listed() {
                rules.push(self.passes(Direction::To, "10: published", when));
            }
            for when in version.to_published() {
                rules.push(drops(Reason::PublishedElsewhere, when));
            }
        }
        rules.push(drops(Reason::NotPublished, Vec::new()));
        rules
    }
}

fn out_by(link: &LinkName) -> Vec<Expression> {
    vec![Load(Meta::OutName), Reads(Compare::Equal, key(&[Field::Name(link)]))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_comment_says_reads_back() {
        for text in [
            "bridge kleene0 10.0.0.0/24 fd00::/64 icc nat",
            "loopback kleene15 10.0.0.0/8 internal",
            "custom eth0 fd00::/64 icc internal nat=eth1",
            "bridge nat",
            "bridge kleene0 nat=icc",
        ] {
            let rules = parse("from_2f1dc29b8f36", text).expect(text);
            assert_eq!(describe(&rules), text);
        }
        for (chain, text) in [
            ("from_2f1dc29b8f36", "bridge kleene0 10.0.0.1/24"),
            ("from_2f1dc29b8f36", "bridge kleene0  icc"),
            ("from_2f1dc29b8f36", "bridge kleene0 icc icc"),
            ("from_2f1dc29b8f36", "wire kleene0"),
            ("from_123", "bridge kleene0"),
            ("to_2f1dc29b8f36", "bridge kleene0"),
        ] {
            assert_eq!(parse(chain, text), None, "{chain} {text}");
        }
    }

    #[test]
    fn the_longest_network_fits_a_comment() {
        let rules = NetworkRules {
            id: NetworkId::parse("2f1dc29b8f36").expect("id"),
            kind: NetworkType::Loopback,
            interface: LinkName::parse("fifteen-letters").expect("name"),
            subnet: Dual {
                v4: Subnet::parse(Family::V4, "255.255.255.128/25").ok(),
                v6: Subnet::parse(Family::V6, "2001:db8:ffff:ffff:ffff:ffff:ffff:ff80/121").ok(),
            },
            icc: true,
            internal: true,
            nat: Nat::Interface(LinkName::parse("fifteen-letters").expect("name")),
        };
        assert!(describe(&rules).len() < 200);
    }
}
