//! The table itself: what `nft` shows, what is read back, and that changes by
//! others are noticed.

use std::collections::BTreeSet;
use std::sync::mpsc;

use kleene_host::linux::net::NetError;
use kleene_host::linux::nft::{NftError, Table};

use kleene_model::Family;

use crate::world::{
    fence, guarded, must, near, network, nft, published, routed, source, speak, table, these,
    uplink, way, world,
};

/// Elements of all sets.
fn one_each() -> BTreeSet<kleene_engine::piece::Piece> {
    let mut all = these(&[
        guarded("10.0.0.2"),
        guarded("fd00::2"),
        routed("epair0a"),
        source("epair0a", "10.0.0.2"),
        source("epair0a", "fd00::2"),
        network("a00000000001 bridge kleene0 10.0.0.0/24 fd00::/64 icc nat"),
        network("a00000000002 loopback kleene1 10.0.1.0/24 internal"),
        network("a00000000003 custom eth1 255.255.255.128/25 fd00:3::/64 nat=eth1"),
        network("a00000000004 bridge kleene4 10.0.4.0/24"),
        network("a00000000005 bridge kleene5 fd00:5::/64 icc internal"),
        near("10.0.0.0/24", "10.0.0.1"),
        near("255.255.255.128/25", "255.255.255.129"),
        near("fd00::/64", "fd00::1"),
        uplink(Family::V4, "eth0"),
        uplink(Family::V6, "eth0"),
        way("eth0", "192.0.2.1"),
        way("eth0", "2001:db8::1"),
        fence("epair1a", 7),
        speak("epair1a", "10.0.0.3"),
        speak("epair1a", "fd00::3"),
    ]);
    for port in [
        "inside tcp 8080 10.0.0.2 80",
        "uplink tcp 8080 10.0.0.2 80",
        "eth1 udp 53 10.0.0.2 5353",
        "inside udp 8001:8010 10.0.0.2 9001:9010",
        "uplink udp 8001:8010 10.0.0.2 9001:9010",
        "eth1 tcp 1:65535 10.0.0.2 80",
        "inside tcp 8080 fd00::2 80",
        "uplink tcp 8080 fd00::2 80",
        "eth1 udp 53 fd00::2 5353",
        "inside udp 8001:8010 fd00::2 9001:9010",
        "uplink udp 8001:8010 fd00::2 9001:9010",
        "eth1 tcp 1:65535 fd00::2 80",
    ] {
        all.extend(published(port));
    }
    all
}

#[test]
fn nft_shows_it_in_plain_words() {
    world(|| {
        must(table().replace(&one_each()));
        let shown = nft("list ruleset");
        let without_handles: Vec<&str> =
            shown.lines().map(|line| line.split(" # handle").next().unwrap_or(line)).collect();
        let shown = without_handles.join("\n") + "\n";
        // `KLEENE_NEW_GOLDEN=1` writes it anew, to be read before it is committed.
        if std::env::var_os("KLEENE_NEW_GOLDEN").is_some() {
            std::fs::write("tests/nft/golden.txt", &shown).expect("written");
        } else {
            assert_eq!(shown, include_str!("golden.txt"));
        }
    });
}

#[test]
fn what_was_put_in_is_listed() {
    world(|| {
        let mut table = table();
        assert_eq!(must(table.list()), None);
        must(table.replace(&BTreeSet::new()));
        assert_eq!(must(table.list()), Some(BTreeSet::new()));

        let all = these(&[
            guarded("255.255.255.255"),
            guarded("0.0.0.0"),
            guarded("::"),
            guarded("::ffff:10.0.0.2"),
            guarded("fe80::1"),
            routed("a"),
            routed("fifteen-letters"),
            source("fifteen-letters", "10.0.0.2"),
            source("a", "10.0.0.2"),
            source("a", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ]);
        let list: Vec<_> = all.iter().cloned().collect();
        for element in &list {
            must(table.change(std::slice::from_ref(element), &[]));
        }
        assert_eq!(must(table.list()), Some(all.clone()));
        must(table.change(&list, &[]));
        assert_eq!(must(table.list()), Some(all.clone()), "there already is no error");

        for (count, element) in list.iter().enumerate() {
            must(table.change(&[], std::slice::from_ref(element)));
            let left: BTreeSet<_> = list[count + 1..].iter().cloned().collect();
            assert_eq!(must(table.list()), Some(left));
        }
        must(table.change(&[], &list));
        assert_eq!(must(table.list()), Some(BTreeSet::new()), "gone already is no error");
        assert!(!nft("list ruleset").contains("elements"));

        must(table.change(&[], &[]));
        must(table.change(&list[..4], &list[2..]));
        assert_eq!(must(table.list()), Some(these(&list[..4])), "what is in both is there");
        must(table.change(&list, &[list[0].clone(), list[0].clone()]));
        must(table.change(&[], &[list[0].clone(), list[0].clone()]));
        assert_eq!(must(table.list()), Some(these(&list[1..])));
    });
}

#[test]
fn replacing_and_removing_can_be_repeated() {
    world(|| {
        let mut table = table();
        let mut other = crate::world::table();
        nft("add table inet foreign { chain kept { type filter hook input priority 0; }; }");
        for elements in [one_each(), one_each(), these(&[guarded("10.0.0.9")]), BTreeSet::new()] {
            must(table.replace(&elements));
            assert_eq!(must(table.list()), Some(elements.clone()));
            assert_eq!(must(other.list()), Some(elements), "another process sees the same");
        }
        must(table.remove());
        assert_eq!(must(table.list()), None);
        must(table.remove());
        let left = nft("list tables");
        assert!(left.contains("inet foreign") && !left.contains("kleene"), "{left}");
    });
}

#[test]
fn tables_of_several_names_do_not_meet() {
    world(|| {
        let (mut one, mut two) = (table(), must(Table::open("kleene-two")));
        must(one.replace(&one_each()));
        assert_eq!(must(two.list()), None);
        must(two.replace(&BTreeSet::new()));
        nft("add table ip kleene");
        assert_eq!(must(one.list()), Some(one_each()));
        assert_eq!(must(two.list()), Some(BTreeSet::new()));
        must(one.remove());
        assert_eq!(must(two.list()), Some(BTreeSet::new()));
    });
}

#[test]
fn a_change_without_a_table_says_so_and_does_nothing() {
    world(|| {
        let error = table().change(&[guarded("10.0.0.2")], &[]).expect_err("no table");
        assert!(error.is_missing(), "{error:?}");
        assert_eq!(error.to_string(), "nftables table kleene: cannot add to addresses4");
        nft("add table inet kleene { set addresses4 { type ipv4_addr; }; }");
        let both = [guarded("10.0.0.2"), guarded("fd00::2")];
        let error = table().change(&both, &[]).expect_err("half a table");
        assert!(error.is_missing(), "{error:?}");
        assert_eq!(error.to_string(), "nftables table kleene: cannot add to addresses6");
        assert!(!nft("list ruleset").contains("10.0.0.2"), "all or nothing");
    });
    for bad in ["", "1a", "-", "a b", "a\0b", "ü", &"a".repeat(65)] {
        assert!(matches!(Table::open(bad), Err(NftError::Name(_))), "{bad:?}");
    }
}

/// The handle that `nft` shows for the first line with that text.
fn handle(chain: &str, text: &str) -> String {
    let listed = nft(&format!("list chain inet kleene {chain}"));
    let line = listed.lines().find(|line| line.contains(text)).expect("a rule");
    line.rsplit_once("handle ").expect("a handle").1.to_owned()
}

#[test]
fn what_others_did_to_it_is_noticed() {
    let edits: [(&str, fn()); 14] = [
        ("delete a rule", || {
            nft(&format!("delete rule inet kleene input handle {}", handle("input", "ip daddr")));
        }),
        ("add a rule", || drop(nft("add rule inet kleene output counter"))),
        ("put a rule first", || drop(nft("insert rule inet kleene prerouting accept"))),
        ("replace a rule by one with the same comment", || {
            let rule = "ip daddr @addresses4 counter accept";
            let comment = "comment \"the host does not answer for a container\"";
            let place = handle("input", "ip daddr");
            nft(&format!("replace rule inet kleene input handle {place} {rule} {comment}"));
        }),
        ("swap two rules", || {
            let rule = "icmpv6 type 133-137 accept comment \"neighbour discovery passes\"";
            nft(&format!("delete rule inet kleene input handle {}", handle("input", "comment")));
            nft(&format!("add rule inet kleene input {rule}"));
        }),
        ("replace a comment", || {
            let rule = "icmpv6 type 133-137 accept comment \"mine\"";
            nft(&format!(
                "replace rule inet kleene output handle {} {rule}",
                handle("output", "comment")
            ));
        }),
        ("flush a chain", || drop(nft("flush chain inet kleene prerouting"))),
        ("flush the table", || drop(nft("flush table inet kleene"))),
        ("flush the ruleset", || drop(nft("flush ruleset"))),
        ("add a chain", || drop(nft("add chain inet kleene mine"))),
        ("add a set", || drop(nft("add set inet kleene mine { type ipv4_addr; }"))),
        ("change a policy", || {
            nft("add chain inet kleene input { policy drop; }");
        }),
        ("put it to sleep", || drop(nft("add table inet kleene { flags dormant; }"))),
        ("make a chain anew elsewhere", || {
            nft("flush chain inet kleene input; delete chain inet kleene input; \
                 add chain inet kleene input { type filter hook input priority 10; }");
        }),
    ];
    for (what, edit) in edits {
        world(|| {
            let mut table = table();
            must(table.replace(&one_each()));
            assert_eq!(must(table.list()), Some(one_each()));
            edit();
            assert_eq!(must(table.list()), None, "{what}: {}", nft("list ruleset"));
            must(table.replace(&one_each()));
            assert_eq!(must(table.list()), Some(one_each()), "{what}");
        });
    }
}

#[test]
fn elements_of_others_are_seen() {
    world(|| {
        let mut table = table();
        must(table.replace(&one_each()));
        // What guards an address stands in both tables.
        nft("delete element inet kleene addresses4 { 10.0.0.2 }; \
             delete element bridge kleene addresses4 { 10.0.0.2 }; \
             add element inet kleene addresses6 { fd00::3 }; \
             add element bridge kleene addresses6 { fd00::3 }");
        let mut seen = one_each();
        seen.remove(&guarded("10.0.0.2"));
        seen.insert(guarded("fd00::3"));
        assert_eq!(must(table.list()), Some(seen), "what is really in the sets");
        nft("add element inet kleene cables { \"a:b\" }");
        assert_eq!(must(table.list()), None, "no interface has such a name");
    });
}

#[test]
fn a_list_is_of_one_moment() {
    const ROUNDS: usize = 20;
    world(|| {
        let states = [one_each(), these(&[guarded("10.0.0.9"), routed("epair9a")])];
        let (mut writer, mut reader) = (table(), table());
        must(writer.replace(&states[0]));
        let (mut lists, (tell, told)) = (0, mpsc::channel());
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                let told = told;
                for number in 1..=20 * ROUNDS {
                    must(writer.replace(&states[number % 2]));
                    // Now and then it is quiet until somebody has read.
                    if number % 20 == 0 {
                        while told.try_recv().is_ok() {}
                        told.recv().expect("a list");
                    }
                }
            });
            while !replacing.is_finished() {
                match reader.list() {
                    Ok(seen) => {
                        assert!(seen.is_some_and(|seen| states.contains(&seen)));
                        lists += 1;
                        // Nobody listens any more at the end.
                        let _ = tell.send(());
                    }
                    // Replaced each time that it was read.
                    Err(error) => assert!(matches!(
                        error,
                        NftError::Failed { source: NetError::Restless(_), .. }
                    )),
                }
            }
        });
        println!("{lists} lists while the table was replaced {} times", 20 * ROUNDS);
        assert!(lists >= ROUNDS, "only {lists}");
        assert_eq!(must(reader.list()).as_ref(), Some(&states[0]));
    });
}
