//! Firewalls of others, loaded with their own programs: what their chains make of
//! flows, and what the lines do that are to be added.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kleene_engine::passage::{Passage, Side};
use kleene_host::linux::nft::foreign::{Foreign, Obstacle};
use kleene_model::LinkName;

use crate::testing::{is_root_with, output};
use crate::world::{ip, nft, world};

/// The way out of a bridge network, from this address.
fn out(source: &str, subnet: &str) -> Passage {
    let source: IpAddr = source.parse().expect("an address");
    let link = |name| Side::Link(LinkName::parse(name).expect("a name"));
    Passage::outwards(link("kleene0"), link("eth0"), source, subnet.parse().expect("a subnet"))
}

fn out4() -> Passage {
    out("10.4.6.2", "10.4.6.0/24")
}

fn out6() -> Passage {
    out("fd00:4:6::2", "fd00:4:6::/64")
}

/// Chains and whether they certainly drop.
fn found(passage: &Passage) -> Vec<(bool, String)> {
    obstacles(passage).into_iter().map(|one| (one.certain, one.chain)).collect()
}

fn obstacles(passage: &Passage) -> Vec<Obstacle> {
    Foreign::read("kleene").expect("the tables of others").obstacles(passage)
}

/// Loads a ruleset in place of what there is.
fn load(ruleset: &str) {
    // Where a block ends, `nft` wants a line to end.
    let lines = ruleset.replace("; }", ";\n}\n").replace(";;", ";").replace("; ;", ";");
    nft(&format!("flush ruleset\n{lines}"));
}

/// Adds the lines that are to be added, and expects that nothing is in the way then.
fn add_lines(passage: &Passage) {
    let mut lines: Vec<String> = obstacles(passage).into_iter().map(|one| one.line).collect();
    lines.dedup();
    for line in lines {
        output(Command::new("sh").args(["-c", &line]));
    }
    assert_eq!(obstacles(passage), [], "{}", nft("list ruleset"));
}

/// A chain at the hook where packets are passed on.
fn forward(family: &str, policy: &str, rules: &str) -> String {
    let head = format!("type filter hook forward priority 0; policy {policy};");
    format!("table {family} filter {{ chain forward {{ {head} {rules}; }} }}")
}

#[test]
fn an_administrators_own_table_is_followed_rule_by_rule() {
    world(|| {
        let policy = "table inet filter, chain forward (policy drop)".to_owned();
        assert_eq!(found(&out4()), []);
        for (rules, drops) in [
            ("", true),
            ("accept", false),
            ("counter accept", false),
            ("ct state established,related accept", true),
            ("ct state { established, related } accept", true),
            ("ct state vmap { established : accept, related : accept, invalid : drop }", true),
            // Only what goes out, and not the answers.
            ("iifname \"kleene0\" accept", true),
            ("ct state established accept; iifname \"kleene0\" accept", false),
            ("ct state established accept; iifname \"kleene*\" accept", false),
            ("ct state established accept; iifname \"docker0\" accept", true),
            ("ct state established accept; iifname { \"docker0\", \"kleene0\" } accept", false),
            ("ct state established accept; iifname != \"docker0\" accept", false),
            ("ct state established accept; ip saddr 10.4.0.0/16 tcp dport 443 accept", false),
            ("ct state established accept; ip saddr 10.4.0.0/16 tcp dport 80 accept", true),
            (
                "ct state established accept; ip saddr 10.4.0.0/16 tcp dport { 80, 400-500 } accept",
                false,
            ),
            (
                "ct state established accept; ip saddr { 10.1.0.0/16, 10.4.0.0-10.4.9.9 } accept",
                false,
            ),
            ("ct state established accept; ip saddr . tcp dport { 10.4.6.2 . 443 } accept", false),
            (
                "ct state established accept; ip saddr . tcp dport { 10.4.6.0/24 . 1-500 } accept",
                false,
            ),
            (
                "ct state established accept; ip saddr . tcp dport { 10.4.7.0/24 . 1-500 } accept",
                true,
            ),
            ("ct state established accept; meta l4proto udp accept", true),
            ("ct state established accept; tcp flags syn accept", false),
            (
                "ct state established accept; iifname vmap { \"kleene0\" : accept, \"eth1\" : drop }",
                false,
            ),
        ] {
            load(&forward("inet", "drop", rules));
            let expected = if drops { vec![(true, policy.clone())] } else { vec![] };
            assert_eq!(found(&out4()), expected, "{rules}");
            add_lines(&out4());
        }
        // Neither bridges nor the other family are asked, nor who sleeps.
        for other in ["ip6", "bridge"] {
            load(&forward(other, "drop", ""));
            assert_eq!(found(&out4()), [], "{other}");
        }
        load(&forward("ip6", "drop", ""));
        assert_eq!(found(&out6())[0].1, "table ip6 filter, chain forward (policy drop)");
        add_lines(&out6());
        load(&forward("inet", "drop", "ip saddr 10.4.6.0/24 accept; ip daddr 10.4.6.0/24 accept"));
        assert!(found(&out6())[0].0 && found(&out4()).is_empty());
        add_lines(&out6());
        load(
            "table inet filter { flags dormant; chain forward { type filter hook forward priority 0; policy drop; } }",
        );
        assert_eq!(found(&out4()), []);
        // Ours are not others'.
        load("table inet kleene { chain f { type filter hook forward priority 0; policy drop; } }");
        assert_eq!(found(&out4()), []);
    });
}

#[test]
fn rules_that_drop_are_named_with_their_handles() {
    world(|| {
        for (rules, expected) in [
            ("drop", Some(true)),
            ("counter reject", Some(true)),
            ("ip saddr 10.4.6.0/24 drop", Some(true)),
            ("ip saddr 10.5.6.0/24 drop", None),
            ("ct state invalid drop", None),
            ("ct state new drop", Some(true)),
            ("oifname \"eth0\" tcp dport 443 drop", Some(true)),
            ("oifname \"eth0\" tcp dport 25 drop", None),
            ("limit rate over 100/second drop", Some(false)),
            ("meta mark 5 drop", Some(false)),
            ("tcp sport 40000-41000 drop", Some(false)),
            ("tcp dport 25 drop", None),
            ("tcp dport 1-1023 ct state established drop", Some(true)),
            ("tcp sport 443 drop", Some(true)),
            ("meta l4proto udp drop", None),
            ("fib saddr . iif oif missing drop", None),
        ] {
            load(&forward("inet", "accept", rules));
            let found = found(&out4());
            let certain = found.first().map(|(certain, _)| *certain);
            assert_eq!(certain, expected, "{rules}: {found:?}");
            if let Some((_, chain)) = found.first() {
                assert_eq!(chain, "table inet filter, chain forward (rule with handle 2)");
            }
            add_lines(&out4());
        }
        // In a chain that is led to, by a name of its own.
        load(
            "table ip guard { set bad { type ipv4_addr; flags interval; elements = { 10.4.6.0/25 }; } \
             chain deny { log; goto end; } chain end { drop; } \
             chain main { type filter hook forward priority 5; ip saddr @bad jump deny; } }",
        );
        let chain = "table ip guard, chain main (rule with handle 4 in chain end)";
        assert!(found(&out4())[0].0);
        assert!(found(&out4())[0].1.starts_with(&chain[..40]), "{:?}", found(&out4()));
        nft("flush set ip guard bad");
        assert_eq!(found(&out4()), []);
    });
}

#[test]
fn a_firewall_like_firewalld_is_followed_through_its_zones() {
    let ruleset = |zone: &str| {
        format!(
            "table inet firewalld {{ \
             chain filter_PREROUTING {{ type filter hook prerouting priority 10; \
               icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept; \
               meta nfproto ipv6 fib saddr . mark . iif oif missing drop; }} \
             chain filter_FORWARD {{ type filter hook forward priority 10; policy accept; \
               ct state {{ established, related }} accept; ct status dnat accept; \
               iifname \"lo\" accept; ct state invalid drop; \
               ip6 daddr {{ ::/96, 2002::/16 }} reject with icmpv6 type addr-unreachable; \
               jump filter_FORWARD_ZONES; reject with icmpx type admin-prohibited; }} \
             chain filter_FORWARD_ZONES {{ {zone} iifname \"eth0\" goto filter_FWD_public; \
               goto filter_FWD_public; }} \
             chain filter_FWD_public {{ oifname \"eth1\" accept; \
               reject with icmpx type admin-prohibited; }} \
             chain filter_FWD_trusted {{ accept; }} }}"
        )
    };
    world(|| {
        for passage in [out4(), out6()] {
            load(&ruleset(""));
            let all = obstacles(&passage);
            assert_eq!(all.len(), 1, "{all:?}");
            let chain = "table inet firewalld, chain filter_FORWARD (rule with handle ";
            assert!(all[0].certain && all[0].chain.starts_with(chain), "{all:?}");
            assert!(all[0].chain.ends_with(" in chain filter_FWD_public)"), "{all:?}");
            assert!(all[0].line.starts_with("firewall-cmd --permanent --zone=trusted"), "{all:?}");
        }
        // What firewalld makes of that line.
        load(&ruleset("ip saddr 10.4.6.0/24 goto filter_FWD_trusted;"));
        assert_eq!(obstacles(&out4()), []);
        assert_eq!(obstacles(&out6()).len(), 1);
    });
}

/// Runs `iptables` in the calling thread's namespace.
fn iptables(line: &str) {
    output(Command::new("iptables-nft").args(line.split(' ')));
}

#[test]
fn a_firewall_like_docker_is_followed_through_iptables() {
    if !is_root_with("iptables-nft") {
        return;
    }
    world(|| {
        let policy = "table ip filter, chain FORWARD (policy drop)".to_owned();
        ip("link add docker0 type bridge");
        for chain in ["DOCKER", "DOCKER-USER", "DOCKER-ISOLATION-STAGE-1"] {
            iptables(&format!("-N {chain}"));
        }
        for rule in [
            "FORWARD -j DOCKER-USER",
            "FORWARD -j DOCKER-ISOLATION-STAGE-1",
            "FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "FORWARD -o docker0 -j DOCKER",
            "FORWARD -i docker0 ! -o docker0 -j ACCEPT",
            "FORWARD -i docker0 -o docker0 -j ACCEPT",
            "DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
            "DOCKER ! -i docker0 -o docker0 -j DROP",
            "DOCKER-USER -j RETURN",
            "DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j RETURN",
            "DOCKER-ISOLATION-STAGE-1 -j RETURN",
        ] {
            iptables(&format!("-A {rule}"));
        }
        // As it is before Docker sets the policy.
        assert_eq!(found(&out4()), []);
        iptables("-P FORWARD DROP");
        assert_eq!(found(&out4()), [(true, policy.clone())]);
        assert_eq!(found(&out6()), []);
        // The answers alone do not help, nor does the way out alone.
        iptables("-I FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        assert_eq!(found(&out4()), [(true, policy.clone())]);
        iptables(
            "-I DOCKER-USER -i kleene0 -p tcp -m tcp --dport 443 -m comment --comment x -j ACCEPT",
        );
        assert_eq!(found(&out4()), []);
        iptables("-F DOCKER-USER");
        let [one] = &obstacles(&out4())[..] else { panic!("{:?}", obstacles(&out4())) };
        assert_eq!(
            one.line,
            "iptables -I FORWARD -s 10.4.6.0/24 -j ACCEPT && iptables -I FORWARD -d 10.4.6.0/24 -j ACCEPT"
        );
        // Something that is not known here.
        iptables("-I FORWARD -m statistic --mode random --probability 0.5 -j ACCEPT");
        assert_eq!(found(&out4()), [(false, policy)]);
        add_lines(&out4());
    });
}

#[test]
fn what_nftables_does_not_show_is_named_as_unseen() {
    if !is_root_with("iptables-legacy") {
        return;
    }
    world(|| {
        assert_eq!(obstacles(&out4()), []);
        let made = Command::new("iptables-legacy").args(["-P", "FORWARD", "DROP"]).output();
        if !made.expect("start iptables-legacy").status.success() {
            writeln!(std::io::stderr(), "SKIPPED: the kernel has no iptables-legacy")
                .expect("stderr");
            return;
        }
        let [one] = &obstacles(&out4())[..] else { panic!("{:?}", obstacles(&out4())) };
        assert!(!one.certain, "{one:?}");
        assert_eq!(one.chain, "table filter of iptables-legacy (cannot be read over nftables)");
        output(Command::new("sh").args(["-c", &one.line]));
        assert_eq!(obstacles(&out6()), []);
    });
}

#[test]
fn a_host_with_thousands_of_rules_is_read_at_once() {
    world(|| {
        let mut rules = String::new();
        for number in 0..5000 {
            let address =
                format!("172.{}.{}.{}", 16 + number / 65_536, number / 256 % 256, number % 256);
            writeln!(rules, "ip daddr {address} iifname != \"docker0\" tcp dport 80 accept")
                .expect("text");
        }
        let ruleset = format!(
            "table ip filter {{\nchain forward {{\ntype filter hook forward priority 0; policy \
             drop;\n{rules}}}\n}}\n"
        );
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
        let nft = nft.as_mut().expect("start nft");
        nft.stdin.take().expect("a pipe").write_all(ruleset.as_bytes()).expect("written");
        assert!(nft.wait().expect("its end").success());
        let began = Instant::now();
        let foreign = Foreign::read("kleene").expect("the tables of others");
        let read = began.elapsed();
        let found = foreign.obstacles(&out4());
        println!("read {read:?}, all {:?}", began.elapsed());
        assert_eq!(found[0].chain, "table ip filter, chain forward (policy drop)");
        // A build for tests, on a busy machine.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    });
}
