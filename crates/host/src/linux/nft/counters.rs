//! What the rules of the policy have counted.
//!
//! The kernel lists rules with their counters. Those of one chain that have the
//! same comment and do the same are one row: a rule of the policy is several of
//! the table's, for families and for ranges.

use std::collections::BTreeMap;

use kleene_model::NetworkId;

use super::attributes::values;
use super::entry::{self, read_comment};
use super::layout::{BRIDGE, INET, Kind};
use super::message::Message;
use super::network::{Direction, chain_name, network_of};
use super::reason::Block;
use super::rule::CHAIN_NAME;
use super::ruleset::{self, Verdict};
use super::socket::Failure;
use super::{NftError, Step, Table, failed, is_missing, is_of};

/// What became of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// They were let through.
    Passed,
    /// They were not, and who sent them was told.
    Refused,
    /// They were not, and nobody was told.
    Dropped,
}

/// Whose packets, by which rule, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The network in whose chain the rule stands; `None` for those of the host.
    pub network: Option<NetworkId>,
    /// The rule: its number in the policy and what it is about.
    pub rule: String,
    /// What it does.
    pub fate: Fate,
}

/// How many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets that the rule decided on: of a flow that passes its first one, of
    /// one that does not all.
    pub packets: u64,
    /// What they were long, in bytes, with the header of the network layer.
    pub bytes: u64,
}

/// Counters by what they count.
pub type Counters = BTreeMap<Counted, Count>;

impl Table {
    /// What the rules have counted since they were made; nothing where there is no
    /// table.
    ///
    /// Rules stand still while elements come and go, so what is listed need not be of
    /// one moment: it is asked for chain by chain, and a chain is listed at once.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn counters(&mut self) -> Result<Counters, NftError> {
        let mut listed = Vec::new();
        for family in [INET, BRIDGE] {
            let all = self.ask_roughly(&Message::list_all(family, Kind::Chain, &self.name))?;
            let name = self.name.clone();
            for chain in all.iter().filter(|chain| is_of(chain, &name)) {
                if let Some(name) = values(chain, CHAIN_NAME).next().and_then(entry::text) {
                    listed.extend(self.rules(family, &name)?);
                }
            }
        }
        Ok(read(&listed))
    }

    /// The same for the chains of one network alone.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn counters_of(&mut self, network: NetworkId) -> Result<Counters, NftError> {
        let mut listed = Vec::new();
        for direction in Direction::ALL {
            listed.extend(self.rules(INET, &chain_name(direction, network))?);
        }
        Ok(read(&listed))
    }

    fn rules(&mut self, family: u8, chain: &str) -> Result<Vec<Vec<u8>>, NftError> {
        self.ask_roughly(&Message::list_rules(family, &self.name, chain))
    }

    /// Nothing is what is listed of what is not there.
    fn ask_roughly(&mut self, message: &Message) -> Result<Vec<Vec<u8>>, NftError> {
        match self.socket.ask_roughly(message) {
            Ok((answers, _)) => Ok(answers),
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            Err(source) => Err(failed(&self.name, Failure { step: Step::List, source })),
        }
    }
}

/// Reads rules as they are listed; those that count nothing, or that nobody could
/// name, are left out.
pub(super) fn read<'a>(listed: impl IntoIterator<Item = &'a Vec<u8>>) -> Counters {
    let mut counters = Counters::new();
    for (counted, count) in listed.into_iter().filter_map(|rule| one(rule)) {
        let sum: &mut Count = counters.entry(counted).or_default();
        sum.packets = sum.packets.saturating_add(count.packets);
        sum.bytes = sum.bytes.saturating_add(count.bytes);
    }
    counters
}

fn one(listed: &[u8]) -> Option<(Counted, Count)> {
    /// Where the kernel has a rule's comment, and what a counter has counted.
    const USERDATA: u16 = 7;
    const BYTES: u16 = 1;
    const PACKETS: u16 = 2;
    let (chain, rule) = ruleset::rule(listed)?;
    let about = read_comment(values(listed, USERDATA).next()?)?;
    let (mut count, mut fate) = (None, None);
    for expression in &rule.expressions {
        let number = |kind| expression.value(kind)?.try_into().ok().map(u64::from_be_bytes);
        match expression.kind.as_str() {
            "counter" => count = Some(Count { packets: number(PACKETS)?, bytes: number(BYTES)? }),
            "immediate" => fate = expression.verdict(VERDICT).and_then(|it| ends(&it)).or(fate),
            _ => {}
        }
    }
    let counted = Counted { network: network_of(&chain), rule: about, fate: fate? };
    Some((counted, count?))
}

/// Where an immediate value has its verdict.
const VERDICT: u16 = 2;

/// What a verdict means for a packet; `None` for one that goes on elsewhere.
fn ends(verdict: &Verdict) -> Option<Fate> {
    match verdict {
        Verdict::Accept => Some(Fate::Passed),
        Verdict::Goto(to) if to == Block::Refuse.chain() => Some(Fate::Refused),
        Verdict::Goto(to) if to == Block::Drop.chain() => Some(Fate::Dropped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::Expression::{Counter, Goto, Verdict};
    use super::super::rule::{ACCEPT, Rule};
    use super::super::{host, reason};
    use super::*;
    use reason::{Reason, blocks, passes};

    #[test]
    fn rows_are_rules_of_the_policy() {
        let network = NetworkId::parse("2f1dc29b8f36").expect("id");
        let chain = || chain_name(Direction::From, network);
        let rules = [
            passes(chain(), "2: same network", Vec::new()),
            passes(chain(), "2: same network", Vec::new()),
            blocks(chain(), Reason::Internal, Block::Refuse, Vec::new()),
            blocks("prerouting", Reason::Loopback, Block::Drop, Vec::new()),
            Rule {
                chain: "forward".into(),
                about: "it goes on elsewhere",
                expressions: vec![Counter, Goto("from_2f1dc29b8f36")],
            },
            Rule {
                chain: "forward".into(),
                about: "it counts nothing",
                expressions: vec![Verdict(ACCEPT)],
            },
        ];
        // The kernel adds numbers to what it lists; ours say none, so that nothing
        // is counted.
        let bytes: Vec<Vec<u8>> = rules.iter().map(|rule| rule.bytes("kleene")).collect();
        assert_eq!(read(&bytes), Counters::new());
        let listed: Vec<Vec<u8>> = bytes.iter().map(|rule| with_counts(rule, 3, 180)).collect();
        let row = |network, rule: &str, fate, packets, bytes| {
            (Counted { network, rule: rule.to_owned(), fate }, Count { packets, bytes })
        };
        let wanted = Counters::from([
            row(Some(network), "2: same network", Fate::Passed, 6, 360),
            row(Some(network), "13: internal", Fate::Refused, 3, 180),
            row(None, "127.0.0.0/8 is the host's own", Fate::Dropped, 3, 180),
        ]);
        assert_eq!(read(&listed), wanted);
    }

    #[test]
    fn every_rule_that_blocks_has_a_row() {
        for rule in host::rules().iter().filter(|rule| rule.expressions.contains(&Counter)) {
            let listed = with_counts(&rule.bytes("kleene"), 1, 1);
            assert_eq!(read([&listed]).len(), 1, "{}", rule.about);
        }
    }

    /// The rule as the kernel lists it: it has a handle, and its counter numbers.
    fn with_counts(rule: &[u8], packets: u64, bytes: u64) -> Vec<u8> {
        use super::super::attributes::{Writer, attributes};
        use super::super::rule::expression;
        const HANDLE: u16 = 3;
        const EXPRESSIONS: u16 = 4;
        const ELEMENT: u16 = 1;
        const NAME: u16 = 1;
        let mut w = Writer::default();
        w.put(HANDLE, &7_u64.to_be_bytes());
        for attribute in attributes(rule) {
            if attribute.kind != EXPRESSIONS {
                w.put(attribute.kind, attribute.value);
                continue;
            }
            w.nest(EXPRESSIONS, |w| {
                for one in values(attribute.value, ELEMENT) {
                    if values(one, NAME).next() == Some(b"counter\0") {
                        expression(w, "counter", |w| {
                            w.put(1, &bytes.to_be_bytes());
                            w.put(2, &packets.to_be_bytes());
                        });
                    } else {
                        w.nest(ELEMENT, |w| {
                            attributes(one).for_each(|part| w.put(part.kind, part.value));
                        });
                    }
                }
            });
        }
        w.finish()
    }
}
