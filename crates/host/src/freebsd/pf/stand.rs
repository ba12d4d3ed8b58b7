//! What stands in pf: which texts and which tables, read and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

use kleene_model::NetworkId;

use super::filter::FilterError;
use super::{Anchor, Table};
use crate::freebsd::run::{Call, Tool, ToolError, Tools};

/// The table of every address of an endpoint.
pub(super) const ALL: &str = "kleene_all";

/// What pfctl says where pf is not in the kernel (from its source; not recorded).
pub(in crate::freebsd) const NO_PF: &str = "/dev/pf: No such file or directory";

/// Whether a table is one of ours, by its name: somebody may have one that begins alike.
fn is_ours(table: &str) -> bool {
    let Some(rest) = table.strip_prefix("kleene_") else { return false };
    let of = |id: Option<&str>| id.is_some_and(|id| NetworkId::parse(id).is_ok());
    rest == "all" || rest == "int" || of(rest.strip_prefix('n')) || of(rest.strip_prefix("e_"))
}

/// What the label begins with that says which text stands in an anchor.
const MARKER: &str = "kleene:text:";

/// What becomes of texts and tables.
pub(super) struct Change {
    /// All tables, as they shall be; that of all addresses last.
    pub(super) tables: Vec<Table>,
    /// What goes from tables, and tables that go.
    pub(super) gone: Vec<Table>,
    /// Texts by the name of their anchor; `None`: none.
    pub(super) texts: BTreeMap<String, Option<Anchor>>,
    /// The same for those that are constant.
    pub(super) constants: BTreeMap<String, Option<Anchor>>,
    /// The labels of the rules whose states end.
    pub(super) stale: BTreeSet<String>,
}

/// The texts and tables that are known to stand.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The hash of each anchor's text; `None` where it is not one of ours.
    anchors: BTreeMap<String, Option<String>>,
    tables: BTreeMap<String, BTreeSet<IpAddr>>,
}

impl Standing {
    /// Asks pf.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn read(tools: &dyn Tools) -> Result<Self, FilterError> {
        let listed = match tools.run(&pfctl(["-s", "Anchors", "-v"])) {
            // Without pf nothing stands.
            Err(err) if err.says(NO_PF) => return Ok(Self::default()),
            listed => listed?.stdout,
        };
        let names = anchors(&listed);
        // All at once; what is not found so is asked for itself.
        let mut found = BTreeMap::new();
        if !names.is_empty() {
            markers(&tools.run(&pfctl(["-a", "*", "-s", "rules"]))?.stdout, &mut found);
        }
        let mut standing = Self::default();
        for name in names {
            if !found.contains_key(&name) {
                let rules = tools.run(&pfctl(["-a", &name, "-s", "rules"]))?;
                markers(&rules.stdout, &mut found);
                let nat = || tools.run(&pfctl(["-a", &name, "-s", "nat"]));
                if !found.contains_key(&name)
                    && rules.stdout.trim().is_empty()
                    && nat()?.stdout.trim().is_empty()
                {
                    // It stays in the list when nothing is left in it.
                    continue;
                }
            }
            standing.anchors.insert(name.clone(), found.remove(&name));
        }
        let listed = tools.run(&pfctl(["-s", "Tables"]))?.stdout;
        for name in listed.lines().map(str::trim).filter(|name| is_ours(name)) {
            let shown = tools.run(&pfctl(["-t", name, "-T", "show"]))?.stdout;
            standing.tables.insert(name.to_owned(), addresses(&shown)?);
        }
        Ok(standing)
    }

    /// Whether this text stands in an anchor, or nothing where none shall.
    pub(super) fn has(&self, name: &str, text: Option<&Anchor>) -> bool {
        match (self.anchors.get(name), text) {
            (None, None) => true,
            (Some(Some(found)), Some(anchor)) => *found == hash(&anchor.text),
            (Some(_), None) | (None | Some(None), Some(_)) => false,
        }
    }

    /// The addresses of tables that are not in them, and those of tables with too
    /// many.
    pub(super) fn missing(&self, wanted: &[Table]) -> BTreeSet<IpAddr> {
        let nothing = BTreeSet::new();
        let lost = |table: &Table| {
            let is = self.tables.get(&table.name).unwrap_or(&nothing);
            table.addresses.symmetric_difference(is).copied().collect::<Vec<_>>()
        };
        wanted.iter().flat_map(lost).collect()
    }

    /// Whether there are anchors beside these.
    pub(super) fn has_more(&self, names: &BTreeSet<String>) -> bool {
        self.anchors.keys().any(|name| !names.contains(name))
    }

    pub(super) fn anchors(&self) -> Vec<String> {
        self.anchors.keys().cloned().collect()
    }

    pub(super) fn addresses(&self, table: &str) -> BTreeSet<IpAddr> {
        self.tables.get(table).cloned().unwrap_or_default()
    }

    /// Has pf hold these tables and texts, in the order in which no flow finds half
    /// of them: addresses come before the rules that name them, that of all
    /// addresses last; they go after the flows that the rules let through.
    pub(super) fn become_as(
        &mut self,
        tools: &dyn Tools,
        change: &Change,
    ) -> Result<(), FilterError> {
        let Change { tables, gone, texts, constants, stale } = change;
        // A table that is still empty is made with its first address: rules that name
        // it find it then (FreeBSD 13.2).
        for table in tables {
            self.add(tools, &table.name, &table.addresses)?;
        }
        // Those of networks first, those of ports last: `net`, `cab`, `own`, `pub`.
        let kind = |name: &str| {
            ["net/", "cab/", "own/", "pub/"].iter().position(|kind| {
                name.strip_prefix("kleene/").is_some_and(|name| name.starts_with(kind))
            })
        };
        let mut names: Vec<&String> = texts.keys().collect();
        names.sort_by_key(|name| kind(name));
        for name in names {
            self.load(tools, name, texts.get(name).and_then(Option::as_ref))?;
        }
        // That which asks the others comes last, so that all come into force at
        // once; `kleene` sorts before those below it.
        for (name, text) in constants.iter().rev() {
            self.load(tools, name, text.as_ref())?;
        }
        for label in stale {
            tools.run(&pfctl(["-k", "label", "-k", label]))?;
        }
        // That of all addresses first.
        for table in gone.iter().rev() {
            let stays = tables.iter().any(|stays| stays.name == table.name);
            self.take_out(tools, table, stays)?;
        }
        Ok(())
    }

    /// What is in tables beside this, and tables beside these.
    pub(super) fn surplus(&self, wanted: &[Table]) -> Vec<Table> {
        let mut surplus = Vec::new();
        for (name, addresses) in &self.tables {
            let kept = wanted.iter().find(|kept| kept.name == *name);
            let kept_addresses = kept.map(|kept| &kept.addresses);
            let more =
                addresses.iter().filter(|addr| !kept_addresses.is_some_and(|k| k.contains(addr)));
            let addresses: BTreeSet<IpAddr> = more.copied().collect();
            if kept.is_none() || !addresses.is_empty() {
                surplus.push(Table { name: name.clone(), addresses });
            }
        }
        surplus.sort_by_key(|table| table.name == ALL);
        surplus
    }

    fn add(
        &mut self,
        tools: &dyn Tools,
        table: &str,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<(), ToolError> {
        let known = self.tables.get(table);
        let new: Vec<String> = addresses
            .iter()
            .filter(|addr| !known.is_some_and(|known| known.contains(addr)))
            .map(ToString::to_string)
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        change_table(tools, table, "add", &new)?;
        self.tables.entry(table.to_owned()).or_default().extend(addresses);
        Ok(())
    }

    fn load(
        &mut self,
        tools: &dyn Tools,
        name: &str,
        text: Option<&Anchor>,
    ) -> Result<(), FilterError> {
        if self.has(name, text) {
            return Ok(());
        }
        // Whatever becomes of it is not what was known.
        self.anchors.insert(name.to_owned(), None);
        let load = pfctl(["-a", name, "-f", "-"]);
        match text {
            Some(anchor) => {
                tools.run(&load.with_stdin(marked(anchor)))?;
                self.anchors.insert(name.to_owned(), Some(hash(&anchor.text)));
            }
            None => {
                tools.run(&load)?;
                self.anchors.remove(name);
            }
        }
        Ok(())
    }

    /// Takes addresses out of a table, or removes it.
    fn take_out(
        &mut self,
        tools: &dyn Tools,
        table: &Table,
        stays: bool,
    ) -> Result<(), FilterError> {
        let Some(known) = self.tables.get_mut(&table.name) else { return Ok(()) };
        if !stays {
            tools.run(&pfctl(["-t", &table.name, "-T", "kill"]))?;
            self.tables.remove(&table.name);
            return Ok(());
        }
        let gone = known.intersection(&table.addresses).map(ToString::to_string);
        let gone: Vec<String> = gone.collect();
        change_table(tools, &table.name, "delete", &gone)?;
        known.retain(|addr| !table.addresses.contains(addr));
        Ok(())
    }
}

/// How many addresses go to pfctl at once: less than any system takes as arguments.
const AT_ONCE: usize = 500;

/// Adds addresses to a table, or deletes them from it.
fn change_table(
    tools: &dyn Tools,
    table: &str,
    verb: &str,
    addresses: &[String],
) -> Result<(), ToolError> {
    for some in addresses.chunks(AT_ONCE) {
        let args = ["-t", table, "-T", verb].into_iter().chain(some.iter().map(String::as_str));
        tools.run(&Call::new(Tool::Pfctl, args))?;
    }
    Ok(())
}

pub(super) fn pfctl<const N: usize>(args: [&str; N]) -> Call {
    Call::new(Tool::Pfctl, args)
}

/// A text's hash. Another version of Kleene may make another one of it: then the
/// text is loaded once more, and that is all.
fn hash(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A text with the rule that says what it is. It is about an interface that nobody
/// has: a name that does not exist is no error (FreeBSD 13.2).
fn marked(anchor: &Anchor) -> String {
    let (text, hash) = (&anchor.text, hash(&anchor.text));
    let name = anchor.name.strip_prefix("kleene/").unwrap_or_default();
    format!("{text}pass quick on kleene_none all no state label \"{MARKER}{hash}:{name}\"\n")
}

/// The anchors of ours in a list of all.
pub fn anchors(listed: &str) -> Vec<String> {
    let names = listed.lines().map(str::trim);
    let ours = names.filter(|name| *name == "kleene" || name.starts_with("kleene/"));
    // Those that only lead to others have no text.
    let kinds = ["kleene/net", "kleene/cab", "kleene/own", "kleene/pub"];
    ours.filter(|name| !kinds.contains(name)).map(str::to_owned).collect()
}

/// Which texts stand, by the labels in rules that pf has printed.
pub fn markers(printed: &str, to: &mut BTreeMap<String, String>) {
    for line in printed.lines() {
        let Some((_, label)) = line.split_once(MARKER) else { continue };
        let Some((label, _)) = label.split_once('"') else { continue };
        let Some((hash, name)) = label.split_once(':') else { continue };
        let name = if name.is_empty() { "kleene".to_owned() } else { format!("kleene/{name}") };
        to.insert(name, hash.to_owned());
    }
}

/// The addresses of a table that pf has shown.
///
/// # Errors
/// [`FilterError::Unreadable`].
pub fn addresses(shown: &str) -> Result<BTreeSet<IpAddr>, FilterError> {
    let lines = shown.lines().map(str::trim).filter(|line| !line.is_empty());
    let addr = |line: &str| {
        line.parse().map_err(|_| FilterError::Unreadable(format!("'{line}' is no address")))
    };
    lines.map(addr).collect()
}
