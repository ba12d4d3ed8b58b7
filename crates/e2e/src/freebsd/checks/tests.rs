use std::collections::BTreeSet;

use super::*;
use crate::freebsd::flows::{Row, Want};
use crate::freebsd::layout;

#[test]
fn every_check_has_a_name_of_its_own_and_says_what_holds() {
    let mut names = BTreeSet::new();
    for check in all() {
        assert!(names.insert(check.name), "{} twice", check.name);
        assert!(check.name.len() <= 22, "{}: longer than its column", check.name);
        assert!(!check.what.is_empty() && !check.what.ends_with('.'), "{}", check.name);
    }
    for rule in 1..=16 {
        let name = format!("rule-{rule}");
        let of = |known: &str| *known == *name || known.starts_with(&format!("{name}-"));
        let within = (4..=6).contains(&rule);
        assert!(within || names.iter().any(|known| of(known)), "{name}");
    }
    assert!(names.contains("rule-4-to-6"));
}

/// Every line can be read and speaks of what is there; nothing is only refused, or only
/// let through.
#[test]
fn flows_are_readable_and_stand_beside_their_twins() {
    for (name, text) in policy::FLOWS {
        assert!(all().any(|check| check.name == *name), "{name} is no check");
        let rows = Row::all(text).expect(name);
        for row in &rows {
            let asks = ["host", "out", "far"].contains(&row.from.as_str());
            assert!(asks || layout::member_named(&row.from).is_some(), "{name}: {}", row.from);
            assert!(layout::addresses(&row.to).is_some(), "{name}: {}", row.to);
            if let Want::Answer(who, seen) = &row.want {
                let known = ["HOST", "OUT", "FAR"].contains(&who.as_str());
                let member = layout::member_named(&who.to_lowercase()).is_some();
                assert!(known || member, "{name}: {who}");
                let seen = seen.as_deref();
                assert!(seen.is_none_or(|who| layout::addresses(who).is_some()), "{name}");
            }
        }
        let answered = |row: &&Row| matches!(row.want, Want::Answer(..));
        let count = rows.iter().filter(answered).count();
        assert!(count > 0 && count < rows.len(), "{name}: {count} of {}", rows.len());
    }
}

/// Each line says what the policy says, in both families and over both protocols.
#[test]
fn flows_agree_with_the_policy() {
    let policy = oracle::policy();
    for (name, text) in policy::FLOWS {
        for row in Row::all(text).expect(name) {
            // [::1] is led by pf alone: the policy speaks of what both systems can.
            for family in 0..if row.to == "lo" { 1 } else { 2 } {
                for protocol in kleene_model::Protocol::BOTH {
                    let flow = oracle::flow(&row, family, protocol);
                    let verdict = policy.verdict(&flow);
                    let agrees = oracle::agrees(&row, family, &flow, &verdict);
                    assert!(agrees, "{name}: {row:?} as {flow:?}: {verdict:?}");
                }
            }
        }
    }
}
