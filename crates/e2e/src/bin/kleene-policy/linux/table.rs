//! How often each rule was met, with which verdict.

use crate::linux::judge::Case;
use crate::linux::ports::{HOST_ONLY, NATIVE_ONLY};
use kleene_model::Family;
use kleene_model::policy::{Blocked, Payload, Rule};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a rule can say, as the policy has it: passes, refused, dropped.
const POSSIBLE: [(Rule, [bool; 3]); 16] = [
    (Rule::NotOurs, [true, false, false]),
    (Rule::Own, [true, false, false]),
    (Rule::SameNetwork, [true, true, false]),
    (Rule::OtherNetwork, [true, true, false]),
    (Rule::OutsideNat, [true, true, false]),
    (Rule::OutsidePlain, [true, false, false]),
    (Rule::ToHost, [true, false, false]),
    (Rule::FromHost, [true, false, false]),
    (Rule::Unpublished, [false, false, true]),
    (Rule::Published, [true, false, false]),
    (Rule::Unlisted, [false, false, true]),
    (Rule::Hairpin, [true, false, false]),
    (Rule::Internal, [false, true, false]),
    (Rule::Spoofed, [false, false, true]),
    (Rule::SpoofedIpnet, [false, false, true]),
    (Rule::HostAsContainer, [false, false, true]),
];
const VERDICTS: [&str; 3] = ["passes", "refused", "dropped"];
const PAYLOADS: [&str; 3] = ["tcp", "udp", "icmp"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    rule: Rule,
    verdict: usize,
}

/// The counts: per rule and verdict, for each family and payload.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<Row, [[usize; 3]; 2]>,
    /// Rule 16's other half: a service of the host, through a container's address.
    wildcard: [usize; 2],
    flows: usize,
}

impl Table {
    pub(crate) fn count(&mut self, case: &Case, agrees: bool) {
        self.flows += 1;
        if !agrees || !case.tells {
            return;
        }
        let verdict = match case.verdict.blocked {
            None => 0,
            Some(Blocked::Refused) => 1,
            Some(Blocked::Dropped) => 2,
        };
        let payload = match case.flow.payload {
            Payload::Port(protocol, _) => usize::from(protocol.number() != 6),
            Payload::Echo => 2,
        };
        let family = usize::from(Family::of(case.flow.to) == Family::V6);
        let row = Row { rule: case.verdict.rule, verdict };
        self.rows.entry(row).or_default()[family][payload] += 1;
        let hosts = [HOST_ONLY, NATIVE_ONLY].contains(&case.spec.port);
        if hosts && case.expected == crate::linux::judge::Expected::Closed {
            self.wildcard[family] += 1;
        }
    }

    pub(crate) fn flows(&self) -> usize {
        self.flows
    }

    /// What was met in too few ways: a rule's verdict that was not seen in a family.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let mut unmet = Vec::new();
        for (rule, possible) in POSSIBLE {
            for verdict in (0..3).filter(|&verdict| possible[verdict]) {
                let seen = self.rows.get(&Row { rule, verdict }).copied().unwrap_or_default();
                for (family, counts) in Family::BOTH.into_iter().zip(seen) {
                    if counts.iter().sum::<usize>() == 0 {
                        let family = family.protocol();
                        unmet.push(format!(
                            "rule {} never {} in {family}",
                            rule.number(),
                            VERDICTS[verdict]
                        ));
                    }
                }
            }
        }
        for (family, count) in Family::BOTH.into_iter().zip(self.wildcard) {
            if count == 0 {
                let family = family.protocol();
                unmet.push(format!("rule 16 never met by a service of the host in {family}"));
            }
        }
        unmet
    }

    /// The table as text; numbers are of flows where oracle and packets agree, and
    /// that would look different otherwise.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:>4}  {:<8}", "rule", "verdict");
        for family in Family::BOTH {
            for payload in PAYLOADS {
                let _ = write!(text, "{:>10}", format!("{payload}/{}", family.protocol()));
            }
        }
        text.push('\n');
        for (row, counts) in &self.rows {
            let _ = write!(text, "{:>4}  {:<8}", row.rule.number(), VERDICTS[row.verdict]);
            for count in counts.iter().flatten() {
                let _ = write!(text, "{count:>10}");
            }
            let _ = writeln!(text, "   {}", row.rule);
        }
        let [v4, v6] = self.wildcard;
        let _ = writeln!(
            text,
            "services of the host, asked for on a container's address: {v4} in IPv4, {v6} in \
             IPv6, none answered"
        );
        text
    }
}
