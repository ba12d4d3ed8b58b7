//! The line to add to somebody's firewall, in the words of whoever wrote it.

use ipnet::IpNet;
use kleene_engine::passage::Hook;

use super::super::layout::BRIDGE;
use super::{IP, IP6};

/// A shell takes such names as they are, and so does `nft`.
fn is_plain(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(good)
}

/// The chains that `iptables` has by itself.
fn is_of_iptables(family: u8, chain: &str) -> bool {
    const CHAINS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    matches!(family, IP | IP6) && CHAINS.contains(&chain)
}

/// Which sides of packets have the address: what a container sends, and what it
/// receives.
fn sides(hook: Hook) -> &'static [Side] {
    match hook {
        Hook::Input => &[Side::Source],
        Hook::Output => &[Side::Destination],
        Hook::Prerouting | Hook::Forward | Hook::Postrouting => &[Side::Source, Side::Destination],
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// The line that has a chain accept what is from an address and to it; empty where
/// nobody could add one.
pub(super) fn line((family, table): (u8, &str), chain: &str, hook: Hook, whose: IpNet) -> String {
    if !is_plain(table) || !is_plain(chain) || table.starts_with("kleene-") {
        return String::new();
    }
    let whose = whose.trunc();
    let whose = match whose.prefix_len() == whose.max_prefix_len() {
        true => whose.addr().to_string(),
        false => whose.to_string(),
    };
    let v6 = whose.contains(':');
    // firewalld forgets rules of others, and may let nobody else make any.
    if table == "firewalld" {
        return format!(
            "firewall-cmd --permanent --zone=trusted --add-source={whose} && firewall-cmd --reload"
        );
    }
    if is_of_iptables(family, chain) {
        let program = if v6 { "ip6tables" } else { "iptables" };
        return xtables(program, table, chain, hook, &whose);
    }
    let family = nft_name(family);
    let (ip, mut commands) = (if v6 { "ip6" } else { "ip" }, Vec::new());
    for side in sides(hook) {
        let side = match side {
            Side::Source => "saddr",
            Side::Destination => "daddr",
        };
        commands.push(format!("insert rule {family} {table} {chain} {ip} {side} {whose} accept"));
    }
    format!("nft '{}'", commands.join("; "))
}

/// The same for a chain of `iptables` and its like.
pub(super) fn xtables(program: &str, table: &str, chain: &str, hook: Hook, whose: &str) -> String {
    let table = if table == "filter" { String::new() } else { format!(" -t {table}") };
    let commands = sides(hook).iter().map(|side| {
        let side = match side {
            Side::Source => "-s",
            Side::Destination => "-d",
        };
        format!("{program}{table} -I {chain} {side} {whose} -j ACCEPT")
    });
    commands.collect::<Vec<_>>().join(" && ")
}

/// A family as `nft` calls it.
pub(super) fn nft_name(family: u8) -> &'static str {
    match family {
        IP => "ip",
        IP6 => "ip6",
        BRIDGE => "bridge",
        _ => "inet",
    }
}
