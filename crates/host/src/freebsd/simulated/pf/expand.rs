//! From a statement with lists to the rules that it stands for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cursor::{Cursor, Wrong};
use super::rule::{Action, Host, Keep, Port, Rule, Side};
use super::statement::{Statement, blocking};
use crate::freebsd::simulated::state::network;

/// The addresses of interfaces and groups, for texts that name them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    pub(crate) interfaces: BTreeMap<String, Vec<(IpAddr, u8)>>,
}

impl Resolver {
    /// All addresses of an interface, or its networks with `:network`.
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<Host>> {
        let (name, networks) = match name.strip_suffix(":network") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let all = self.interfaces.get(name)?;
        let host = |(ip, prefix): &(IpAddr, u8)| {
            if networks {
                Host::Net(network(*ip, *prefix), *prefix)
            } else {
                Host::Net(*ip, whole(*ip))
            }
        };
        Some(all.iter().map(host).collect())
    }
}

fn whole(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// `None` where a list is empty, so that it is gone through once.
fn each<T: Clone>(list: &[T]) -> Vec<Option<T>> {
    if list.is_empty() { vec![None] } else { list.iter().cloned().map(Some).collect() }
}

/// Goes through all lists, interfaces slowest and the ports of the target fastest.
pub(super) fn expand(statement: &Statement) -> Result<Vec<Rule>, Wrong> {
    let mut rules = Vec::new();
    for on in each(&statement.on) {
        for proto in each(&statement.protos) {
            for icmp in each(&statement.icmp) {
                let base =
                    Rule { on: on.clone(), proto: proto.clone(), icmp, ..statement.rule.clone() };
                sides(statement, &base, &mut rules)?;
            }
        }
    }
    if rules.is_empty() {
        return Err(Wrong::Says("rule expands to no valid combination".to_owned()));
    }
    Ok(rules)
}

fn sides(statement: &Statement, base: &Rule, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
    let side = |host: Option<(bool, Host)>, port: Option<Port>| {
        let (not, host) = host.unwrap_or((false, Host::Any));
        Side { not, host, port }
    };
    for from in each(&statement.from) {
        for from_port in each(&statement.from_ports) {
            for to in each(&statement.to) {
                for to_port in each(&statement.to_ports) {
                    let from = side(from.clone(), from_port.clone());
                    let to = side(to.clone(), to_port);
                    let Some(six) = family(base.six, &from, &to) else { continue };
                    let rule = Rule { six, from, to, ..base.clone() };
                    rules.push(complete(rule, statement.flags.as_deref())?);
                }
            }
        }
    }
    Ok(())
}

/// The family of a rule, which its hosts may give it; `None` where they disagree.
fn family(six: Option<bool>, from: &Side, to: &Side) -> Option<Option<bool>> {
    let mut family = six;
    for one in [from.family(), to.family()].into_iter().flatten() {
        if family.is_some_and(|family| family != one) {
            return None;
        }
        family = Some(one);
    }
    Some(family)
}

/// What follows from the rest of a rule.
fn complete(mut rule: Rule, flags: Option<&str>) -> Result<Rule, Wrong> {
    match rule.action {
        Action::Pass if rule.call.is_none() => {
            let tcp = rule.proto.as_deref().is_none_or(|proto| proto == "tcp");
            let keeps = rule.keep.get_or_insert(Keep::State(Vec::new())) != &Keep::No;
            rule.flags = flags.map(str::to_owned);
            if tcp && keeps {
                rule.flags.get_or_insert_with(|| "S/SA".to_owned());
            }
        }
        Action::Pass | Action::Block(_) => rule.flags = flags.map(str::to_owned),
        Action::Nat | Action::Rdr => lead(&mut rule)?,
    }
    Ok(rule)
}

/// The targets of a translation.
fn lead(rule: &mut Rule) -> Result<(), Wrong> {
    if rule.pool.is_empty() {
        return Ok(());
    }
    let of = |host: &Host| match (host.family(), rule.six) {
        (Some(one), Some(six)) => one == six,
        _ => true,
    };
    let six = rule.six.or_else(|| rule.pool.iter().find_map(Host::family));
    rule.pool = rule.pool.iter().filter(|host| of(host)).cloned().collect();
    if rule.pool.is_empty() {
        let words = "no translation address with matching address family found.";
        return Err(Wrong::Says(words.to_owned()));
    }
    rule.six = six;
    rule.round_robin |= rule.pool.len() > 1 || rule.pool.iter().any(has_several);
    if let (Some(Port::From(first)), Some(Port::Range(a, b))) = (&rule.pool_port, &rule.to.port) {
        let last = first.saturating_add(b.saturating_sub(*a));
        rule.pool_port = Some(Port::Range(*first, last));
    }
    Ok(())
}

/// Whether a target may stand for several addresses (`DYNIF_MULTIADDR` in pfctl): an
/// interface without `:0`, or whose name ends in no digit and so may be a group's.
fn has_several(host: &Host) -> bool {
    match host {
        Host::Table(_) => true,
        Host::Dynamic(name) => match name.strip_suffix(":0") {
            Some(name) => !name.ends_with(|c: char| c.is_ascii_digit()),
            None => true,
        },
        Host::Any | Host::Net(..) => false,
    }
}

/// `antispoof [quick] for INTERFACE`, family by family.
pub(super) fn antispoof(c: &mut Cursor<'_>, resolver: &Resolver) -> Result<Vec<Rule>, Wrong> {
    let quick = c.take("quick");
    c.expect("for")?;
    let names = c.list(Cursor::name)?;
    c.end()?;
    let mut rules = Vec::new();
    for name in names {
        let all = resolver
            .interfaces
            .get(&name)
            .ok_or(Wrong::Unknown(format!("antispoof for {name}, which is not there")))?;
        for six in [false, true] {
            let of = || all.iter().filter(|(ip, _)| ip.is_ipv6() == six);
            let block = |on, ip, prefix| Rule {
                direction: Some("in"),
                quick,
                on,
                six: Some(six),
                from: Side { not: false, host: Host::Net(ip, prefix), port: None },
                ..blocking()
            };
            let networks = of().filter(|(ip, prefix)| *prefix < whole(*ip));
            rules.extend(networks.map(|(ip, prefix)| {
                block(Some((true, name.clone())), network(*ip, *prefix), *prefix)
            }));
            rules.extend(of().map(|(ip, _)| block(None, *ip, whole(*ip))));
        }
    }
    Ok(rules)
}
