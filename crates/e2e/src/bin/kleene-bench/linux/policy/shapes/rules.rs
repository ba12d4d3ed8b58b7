//! The rules of other engines for published ports of one bridge network, `10.3.0.0/24`
//! on `bare0`, whose containers are at `10.3.0.11`. The last port leads to the server,
//! each other one to a port of its own number.

use std::fmt::Write as _;

const SERVER: &str = "10.3.0.11";

/// What `src/firewall/nft.rs` of netavark makes (commit 00c823457276): in
/// `NETAVARK-HOSTPORT-DNAT` a jump for each port, and in the network's chain three rules
/// for each. What a network without IPv6 has.
pub(super) fn netavark(first: u16, last: u16, to: &str) -> String {
    let mut text = NETAVARK.to_owned();
    for port in first..=last {
        let lead = "jump nv_2f259bab_10_3_0_0_nm24_dnat";
        rule(&mut text, "NETAVARK-HOSTPORT-DNAT", &format!("tcp dport {port} {lead}"));
        let target = if port == last { to.to_owned() } else { port.to_string() };
        let mark = "jump NETAVARK-HOSTPORT-SETMARK";
        for what in [
            format!("ip saddr 10.3.0.0/24 tcp dport {port} {mark}"),
            format!("ip saddr 127.0.0.1 tcp dport {port} {mark}"),
            format!("tcp dport {port} dnat ip to {SERVER}:{target}"),
        ] {
            rule(&mut text, "nv_2f259bab_10_3_0_0_nm24_dnat", &what);
        }
    }
    text
}

fn rule(text: &mut String, chain: &str, what: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "add rule inet netavark {chain} {what}");
}

/// What `daemon/libnetwork/drivers/bridge/internal/iptabler` of moby makes (`port.go` of
/// commit 0e90002ab8c4, chains as in `testdata` of commit 134dc2d5cb77), as `iptables-nft`
/// 1.8.9 translates it: a DNAT rule for each port at the end of `nat DOCKER`, an ACCEPT rule
/// for each at the top of `filter DOCKER`.
pub(super) fn docker(first: u16, last: u16, to: &str) -> String {
    let mut text = DOCKER.to_owned();
    let target = |port| if port == last { to.to_owned() } else { u16::to_string(&port) };
    for port in first..=last {
        let what = format!("tcp dport {port} counter dnat to {SERVER}:{}", target(port));
        let _ = writeln!(text, "add rule ip nat DOCKER iifname != \"bare0\" {what}");
    }
    // What came later is further up.
    for port in (first..=last).rev() {
        let way = "iifname != \"bare0\" oifname \"bare0\"";
        let what = format!("tcp dport {} counter accept", target(port));
        let _ = writeln!(text, "add rule ip filter DOCKER ip daddr {SERVER} {way} {what}");
    }
    let drop = "iifname != \"bare0\" oifname \"bare0\" counter drop";
    let _ = writeln!(text, "add rule ip filter DOCKER {drop}");
    text
}

const NETAVARK: &str = r#"
table inet netavark {
    chain NETAVARK-HOSTPORT-DNAT { }
    chain NETAVARK-HOSTPORT-SETMARK { meta mark set meta mark | 0x2000; }
    chain NETAVARK-ISOLATION-2 { }
    chain NETAVARK-ISOLATION-3 { oifname "bare0" drop; jump NETAVARK-ISOLATION-2; }
    chain NETAVARK-ISOLATION-1 { }
    chain nv_2f259bab_10_3_0_0_nm24 {
        ip daddr 10.3.0.0/24 accept
        ip daddr != 224.0.0.0/4 masquerade
    }
    chain nv_2f259bab_10_3_0_0_nm24_dnat { }
    chain INPUT {
        type filter hook input priority 0; policy accept;
        ip saddr 10.3.0.0/24 meta l4proto { tcp, udp } th dport 53 accept
    }
    chain FORWARD {
        type filter hook forward priority 0; policy accept;
        ct state invalid drop
        jump NETAVARK-ISOLATION-1
        ip daddr 10.3.0.0/24 ct state established,related accept
        ip saddr 10.3.0.0/24 accept
    }
    chain POSTROUTING {
        type nat hook postrouting priority 100; policy accept;
        meta mark & 0x2000 == 0x2000 masquerade
        ip saddr 10.3.0.0/24 jump nv_2f259bab_10_3_0_0_nm24
    }
    chain PREROUTING {
        type nat hook prerouting priority -100; policy accept;
        fib daddr type local jump NETAVARK-HOSTPORT-DNAT
    }
    chain OUTPUT {
        type nat hook output priority -100; policy accept;
        fib daddr type local jump NETAVARK-HOSTPORT-DNAT
    }
}
"#;

const DOCKER: &str = r#"
table ip raw {
    chain PREROUTING {
        type filter hook prerouting priority -300; policy accept;
        ip daddr 10.3.0.0/24 iifname "lo" counter accept
        ip daddr 10.3.0.0/24 iifname != "bare0" counter drop
    }
}
table ip nat {
    chain DOCKER { }
    chain PREROUTING {
        type nat hook prerouting priority -100; policy accept;
        fib daddr type local counter jump DOCKER
    }
    chain OUTPUT {
        type nat hook output priority -100; policy accept;
        ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER
    }
    chain POSTROUTING {
        type nat hook postrouting priority 100; policy accept;
        ip saddr 10.3.0.0/24 oifname != "bare0" counter masquerade
    }
}
table ip filter {
    chain DOCKER { }
    chain DOCKER-USER { }
    chain DOCKER-CT {
        oifname "bare0" ct state related,established counter accept
    }
    chain DOCKER-INTERNAL { }
    chain DOCKER-BRIDGE {
        oifname "bare0" counter jump DOCKER
    }
    chain DOCKER-FORWARD {
        counter jump DOCKER-CT
        counter jump DOCKER-INTERNAL
        counter jump DOCKER-BRIDGE
        iifname "bare0" counter accept
    }
    chain FORWARD {
        type filter hook forward priority 0; policy drop;
        counter jump DOCKER-USER
        counter jump DOCKER-FORWARD
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_port_leads_to_the_server() {
        let text = netavark(100, 102, "7");
        assert_eq!(text.matches("jump nv_2f259bab_10_3_0_0_nm24_dnat").count(), 3);
        assert_eq!(text.matches("jump NETAVARK-HOSTPORT-SETMARK").count(), 6);
        assert!(text.trim().ends_with("tcp dport 102 dnat ip to 10.3.0.11:7"));
        assert!(text.contains("tcp dport 101 dnat ip to 10.3.0.11:101\n"));
    }

    #[test]
    fn what_docker_published_last_is_accepted_first() {
        let text = docker(100, 102, "7");
        assert_eq!(text.matches("dnat to").count(), 3);
        let mut accepted = text.lines().filter(|line| line.contains("filter DOCKER ip daddr"));
        assert!(accepted.next().is_some_and(|line| line.contains("tcp dport 7 counter accept")));
        assert!(text.trim().ends_with("counter drop"));
    }
}
