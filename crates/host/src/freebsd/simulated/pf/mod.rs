//! The packet filter of one network stack.

mod cursor;
mod expand;
mod lex;
mod parse;
mod print;
mod rule;
mod services;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub(crate) use expand::Resolver;
pub(crate) use parse::{Failed, Loaded, parse_network, read};
pub(crate) use rule::{Class, Rule};

/// A table of addresses and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) persist: bool,
    /// A text defined it, and no later one left it out.
    pub(crate) defined: bool,
    /// The address and its prefix, in the order in which they are shown.
    pub(crate) entries: BTreeSet<(IpAddr, u8)>,
}

/// An anchor, or the main ruleset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Anchor {
    pub(crate) rules: Vec<Rule>,
    pub(crate) nat: Vec<Rule>,
    pub(crate) rdr: Vec<Rule>,
    pub(crate) tables: BTreeMap<String, Table>,
    /// It had a table, a rule that names one, or one that calls an anchor.
    pub(crate) stuck: bool,
}

/// A state of a connection, as far as it can be listed and killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) label: String,
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
}

/// The packet filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pf {
    pub(crate) enabled: bool,
    /// It was enabled once: its status tells since when.
    pub(crate) was_enabled: bool,
    /// By path; the main ruleset is `""`.
    pub(crate) anchors: BTreeMap<String, Anchor>,
    /// Interfaces and groups that carry the skip flag.
    pub(crate) skipped: BTreeSet<String>,
    pub(crate) flows: Vec<Flow>,
    /// Interfaces that rules named which went; pf lists them until it frees the rules.
    pub(crate) lingering: BTreeSet<String>,
}

impl Anchor {
    fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(&self.nat).chain(&self.rdr)
    }

    /// The tables that its rules name.
    pub(crate) fn named(&self) -> BTreeSet<String> {
        self.all().flat_map(Rule::tables).map(str::to_owned).collect()
    }

    /// The anchors that its rules call, as paths below it.
    fn calls(&self) -> impl Iterator<Item = &str> {
        self.all().filter_map(|rule| rule.call.as_deref())
    }
}

impl Pf {
    pub(crate) fn anchor(&self, path: &str) -> Option<&Anchor> {
        self.anchors.get(path)
    }

    pub(crate) fn anchor_mut(&mut self, path: &str) -> &mut Anchor {
        self.anchors.entry(path.to_owned()).or_default()
    }

    /// The paths of all anchors that pfctl lists, in order.
    pub(crate) fn paths(&self, sticks: bool) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut add = |path: &str| {
            for (at, _) in path.match_indices('/') {
                all.insert(path[..at].to_owned());
            }
            all.insert(path.to_owned());
        };
        for (path, anchor) in &self.anchors {
            let filled = !anchor.rules.is_empty()
                || !anchor.nat.is_empty()
                || !anchor.rdr.is_empty()
                || !anchor.tables.is_empty();
            if filled || sticks && anchor.stuck {
                add(path);
            }
            for call in anchor.calls() {
                let call = call.strip_suffix("/*").unwrap_or(call);
                if call != "*" {
                    add(&join(path, call));
                }
            }
        }
        all.remove("");
        all
    }

    /// Puts a text that was read into its anchor.
    pub(crate) fn load(&mut self, path: &str, loaded: Loaded) {
        self.flush(path, &[Class::Filter, Class::Nat, Class::Rdr]);
        let anchor = self.anchor_mut(path);
        let mut by_class: BTreeMap<Class, Vec<Rule>> = BTreeMap::new();
        for rule in loaded.rules {
            by_class.entry(rule.class()).or_default().push(rule);
        }
        let mut take = |class| by_class.remove(&class).unwrap_or_default();
        anchor.rules = take(Class::Filter);
        anchor.nat = take(Class::Nat);
        anchor.rdr = take(Class::Rdr);
        for (name, table) in &mut anchor.tables {
            if table.defined && !loaded.tables.contains_key(name) {
                (table.defined, table.persist) = (false, false);
            }
        }
        for (name, defined) in loaded.tables {
            let table = anchor.tables.entry(name).or_default();
            table.persist |= defined.persist;
            table.defined = true;
            if let Some(entries) = defined.entries {
                table.entries = entries;
            }
        }
        let calls = anchor.calls().next().is_some();
        anchor.stuck |= calls || !anchor.tables.is_empty() || !anchor.named().is_empty();
    }

    /// Takes rules out of an anchor.
    pub(crate) fn flush(&mut self, path: &str, classes: &[Class]) {
        let Some(anchor) = self.anchors.get_mut(path) else { return };
        for class in classes {
            let rules = std::mem::take(match class {
                Class::Filter => &mut anchor.rules,
                Class::Nat => &mut anchor.nat,
                Class::Rdr => &mut anchor.rdr,
            });
            self.lingering.extend(rules.iter().flat_map(Rule::interfaces));
        }
    }

    /// Frees what the kernel frees minutes after the last rule that held it went.
    pub(crate) fn free(&mut self) {
        self.sweep();
        self.lingering.clear();
        for anchor in self.anchors.values_mut() {
            let empty = anchor.all().next().is_none() && anchor.tables.is_empty();
            anchor.stuck &= !empty;
        }
    }

    /// Takes away tables that do not persist and that no rule names. Those of the main
    /// ruleset are named by anchors too.
    fn sweep(&mut self) {
        let named: Vec<(String, BTreeSet<String>)> =
            self.anchors.iter().map(|(path, anchor)| (path.clone(), anchor.named())).collect();
        for (path, anchor) in &mut self.anchors {
            let by = |name: &String| {
                let of = |(one, _): &&(String, BTreeSet<String>)| path.is_empty() || one == path;
                named.iter().filter(of).any(|(_, names)| names.contains(name))
            };
            anchor.tables.retain(|name, table| table.persist || table.defined || by(name));
        }
    }

    /// Names of tables that are in an anchor and in the main ruleset.
    pub(crate) fn collisions(&self, only: Option<&str>) -> Vec<String> {
        let main = self.anchor("").map(|main| main.tables.keys().cloned().collect());
        let main: Vec<String> = main.unwrap_or_default();
        let elsewhere = |name: &String| {
            let mut others = self.anchors.iter().filter(|(path, _)| !path.is_empty());
            only.is_none_or(|only| only == name)
                && others.any(|(_, anchor)| anchor.tables.contains_key(name))
        };
        main.into_iter().filter(elsewhere).collect()
    }
}

/// A path below another; what begins with `/` is below the main ruleset.
pub(crate) fn join(path: &str, below: &str) -> String {
    match below.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None if path.is_empty() => below.to_owned(),
        None => format!("{path}/{below}"),
    }
}
