//! What the rules of the policy have counted, by their labels.
//!
//! pf counts every packet of a flow that a rule let through, answers included. Rules
//! about ports, cables and a container's own addresses are in texts of containers: they
//! are counted for the host as a whole.

use kleene_model::NetworkId;

use super::filter::FilterError;
use super::stand::{NO_PF, anchors, pfctl};
use crate::freebsd::run::Tools;

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

/// What rules of one kind have decided on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The network in whose text the rule stands; `None` for others.
    pub network: Option<NetworkId>,
    /// The rule's number in the policy and what it is about.
    pub rule: &'static str,
    /// What became of the packets.
    pub fate: Fate,
    /// How many packets.
    pub packets: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What the rules have counted since their texts were loaded: of one network, or of
/// all and of the host. Nothing where pf is not in the kernel.
///
/// # Errors
/// [`FilterError`].
pub fn counters(
    tools: &dyn Tools,
    network: Option<NetworkId>,
) -> Result<Vec<Counted>, FilterError> {
    let listed = match tools.run(&pfctl(["-s", "Anchors", "-v"])) {
        Err(err) if err.says(NO_PF) => return Ok(Vec::new()),
        listed => listed?.stdout,
    };
    let own = network.map(|id| format!("kleene/net/{id}"));
    let mut all: Vec<Counted> = Vec::new();
    for name in anchors(&listed) {
        if own.as_ref().is_some_and(|own| *own != name) {
            continue;
        }
        for counted in labels(&tools.run(&pfctl(["-a", &name, "-s", "labels"]))?.stdout)? {
            let same = |one: &&mut Counted| {
                (one.network, one.rule, one.fate) == (counted.network, counted.rule, counted.fate)
            };
            match all.iter_mut().find(same) {
                Some(one) => {
                    one.packets = one.packets.saturating_add(counted.packets);
                    one.bytes = one.bytes.saturating_add(counted.bytes);
                }
                None => all.push(counted),
            }
        }
    }
    all.sort();
    Ok(all)
}

/// Reads what `pfctl -s labels` prints: `LABEL EVALUATIONS PACKETS BYTES …`, eight
/// numbers. Rules that say only what stands are none of the policy.
///
/// # Errors
/// [`FilterError::Unreadable`].
pub fn labels(printed: &str) -> Result<Vec<Counted>, FilterError> {
    let mut counted = Vec::new();
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        let unreadable = || FilterError::Unreadable(format!("'{line}' is no line of a label"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let [label, numbers @ ..] = words.as_slice() else { return Err(unreadable()) };
        let numbers: Result<Vec<u64>, _> = numbers.iter().map(|word| word.parse()).collect();
        let numbers = numbers.map_err(|_| unreadable())?;
        let &[_, packets, bytes, _, _, _, _, _] = numbers.as_slice() else {
            return Err(unreadable());
        };
        if let Some((network, rule, fate)) = meaning(label) {
            counted.push(Counted { network, rule, fate, packets, bytes });
        }
    }
    Ok(counted)
}

/// What a label of ours stands for.
fn meaning(label: &str) -> Option<(Option<NetworkId>, &'static str, Fate)> {
    let words: Vec<&str> = label.strip_prefix("kleene:")?.split(':').collect();
    let of = |id: &str| NetworkId::parse(id).ok().map(Some);
    Some(match words.as_slice() {
        ["net", id] => (of(id)?, "2, 7: same network, and to the host", Fate::Passed),
        ["nat", id] => (of(id)?, "5: outside, nat", Fate::Passed),
        ["block", "cable", id] => (of(id)?, "2: same network, no icc", Fate::Refused),
        ["block", "internal", id] => (of(id)?, "13: internal", Fate::Refused),
        ["block", "nat", id] => (of(id)?, "5: outside, not by the nat interface", Fate::Refused),
        ["own", _] => (None, "1: its own addresses", Fate::Passed),
        ["pub", ..] => (None, "3, 10, 12: published", Fate::Passed),
        ["cable", _] => (None, "14: out of a cable, to be judged", Fate::Passed),
        ["block", "source", _] => {
            (None, "14, 15: a container has only its own addresses", Fate::Dropped)
        }
        ["block", "spoof"] => (None, "14: nobody else has a container's address", Fate::Dropped),
        ["block", "container"] => (None, "2, 3: not published", Fate::Refused),
        ["block", "outside"] => (None, "9, 11: not published", Fate::Dropped),
        ["host"] => (None, "8: host to container", Fate::Passed),
        ["pass"] => (None, "4, 6, 7: outside, and to the host", Fate::Passed),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_rules_of_the_policy() {
        let printed = "\
kleene:net:2f1dc29b8f36 4 6 360 3 180 3 180 1
kleene:block:internal:2f1dc29b8f36 4 3 180 3 180 0 0 0
kleene:text:0123456789abcdef:net/2f1dc29b8f36 0 0 0 0 0 0 0 0
somebody's 1 1 1 1 1 1 1 1
";
        let network = NetworkId::parse("2f1dc29b8f36").ok();
        let row = |rule, fate, packets, bytes| Counted { network, rule, fate, packets, bytes };
        assert_eq!(
            labels(printed).expect("reads"),
            [
                row("2, 7: same network, and to the host", Fate::Passed, 6, 360),
                row("13: internal", Fate::Refused, 3, 180),
            ]
        );
        for bad in ["kleene:host", "kleene:host 1 2", "kleene:host 1 2 3 4 5 6 7 x"] {
            assert!(labels(bad).is_err(), "{bad}");
        }
        assert!(labels("").expect("nothing").is_empty());
    }

    /// A label that no rule has any more, or that nobody has given a meaning, would
    /// be missing from what users see.
    #[test]
    fn every_label_of_the_texts_has_a_meaning() {
        let texts = [
            include_str!("golden/constant.txt"),
            include_str!("golden/five.txt"),
            include_str!("golden/nat.txt"),
            include_str!("golden/internal.txt"),
        ];
        let labels = texts.iter().flat_map(|text| text.split("label \"").skip(1));
        let labels: Vec<&str> = labels.filter_map(|rest| rest.split('"').next()).collect();
        assert!(labels.len() > 50);
        for label in labels {
            assert!(meaning(label).is_some(), "{label}");
        }
    }
}
