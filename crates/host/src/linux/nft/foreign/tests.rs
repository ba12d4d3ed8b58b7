//! Bytes that no kernel would send.

use kleene_engine::passage::{Passage, Side};
use kleene_model::LinkName;

use super::super::attributes::Writer;
use super::*;

fn passage() -> Passage {
    let link = |name| Side::Link(LinkName::parse(name).unwrap());
    Passage::outwards(
        link("kleene0"),
        link("eth0"),
        "10.4.6.2".parse().unwrap(),
        "10.4.6.0/24".parse().unwrap(),
    )
}

/// A rule of one expression, as the kernel lists it.
fn listed(kind: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.text(1, "anything");
    writer.text(2, "forward");
    writer.put(3, &7_u64.to_be_bytes());
    writer.nest(4, |w| {
        w.nest(1, |w| {
            w.text(1, kind);
            w.nest(2, fill);
        });
    });
    writer.finish()
}

/// What becomes of a flow at a chain of policy accept with one rule.
fn verdict(rule: &[u8]) -> Vec<(bool, String)> {
    let mut table = Table::default();
    let base = Some(Base { hook: Hook::Forward as u32, priority: 0, drops: false });
    let rules = ruleset::rule(rule).map(|(_, rule)| rule).into_iter().collect();
    table.chains.insert("forward".to_owned(), Chain { base, rules });
    let tables = BTreeMap::from([((INET, "filter".to_owned()), table)]);
    let found = Foreign { tables, ..Foreign::default() }.obstacles(&passage());
    found.into_iter().map(|one| (one.certain, one.chain)).collect()
}

#[test]
fn a_chain_that_leads_to_itself_comes_to_an_end() {
    let goes = |code: i32, chain: &str| {
        listed("immediate", |w| {
            w.number(1, 0);
            w.nest(2, |w| {
                w.nest(2, |w| {
                    w.number(1, code.cast_unsigned());
                    w.text(2, chain);
                });
            });
        })
    };
    for code in [-3, -4] {
        let found = verdict(&goes(code, "forward"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].0, "nobody knows: {found:?}");
        assert_eq!(verdict(&goes(code, "elsewhere")).len(), 1);
    }
    assert_eq!(verdict(&goes(1, "")), []);
    let named = "table inet filter, chain forward (rule with handle 7)".to_owned();
    assert_eq!(verdict(&goes(0, "")), [(true, named)]);
}

#[test]
fn what_is_cut_short_or_unknown_is_no_certainty() {
    let rule = listed("reject", |_| ());
    for cut in 0..rule.len() {
        let _ = verdict(&rule[..cut]);
        let _ = read_anything(&rule[..cut]);
    }
    assert_eq!(verdict(&rule).len(), 1);
    // It matches sometimes, and decides nothing by itself.
    assert_eq!(verdict(&listed("limit", |_| ())), []);
    // It decides, and nobody knows what.
    for kind in ["queue", "synproxy"] {
        let found = verdict(&listed(kind, |_| ()));
        assert_eq!(found.iter().map(|(certain, _)| *certain).collect::<Vec<_>>(), [false]);
    }
    let target = |name: &str| listed("target", |w| w.text(1, name));
    assert_eq!(verdict(&target("LOG")), []);
    assert!(verdict(&target("REJECT"))[0].0);
    assert!(!verdict(&target("SOMETHING"))[0].0);
}

#[test]
fn a_line_is_only_given_where_a_shell_takes_it_as_it_is() {
    let whose = "10.4.6.0/24".parse().unwrap();
    let line = |family, table, chain, hook| line::line((family, table), chain, hook, whose);
    assert_eq!(
        line(INET, "filter", "forward", Hook::Forward),
        "nft 'insert rule inet filter forward ip saddr 10.4.6.0/24 accept; insert rule inet \
         filter forward ip daddr 10.4.6.0/24 accept'"
    );
    assert_eq!(
        line(IP, "mangle", "INPUT", Hook::Input),
        "iptables -t mangle -I INPUT -s 10.4.6.0/24 -j ACCEPT"
    );
    assert_eq!(
        line(INET, "firewalld", "filter_FORWARD", Hook::Forward),
        "firewall-cmd --permanent --zone=trusted --add-source=10.4.6.0/24 && firewall-cmd --reload"
    );
    assert_eq!(line(INET, "it'; rm -r", "forward", Hook::Forward), "");
    assert_eq!(line(INET, "filter", "$(id)", Hook::Forward), "");
    assert_eq!(line(INET, "kleene-other", "forward", Hook::Forward), "");
}
