//! Reads the tables of others out of the kernel.

use std::collections::BTreeMap;

use kleene_model::InstanceName;

use super::super::layout::Kind;
use super::super::message::{Message, Step};
use super::super::ruleset::{self, Table};
use super::super::socket::{Failure, Socket};
use super::super::{NftError, failed, is_missing};
use super::{BRIDGE, Foreign, INET, IP, IP6};
use crate::linux::net::{NetError, Socket as NetSocket};
use crate::linux::nft::table_name;

const FAMILIES: [u8; 4] = [IP, IP6, INET, BRIDGE];

impl Foreign {
    /// Reads all tables of the host but those of this daemon. The calling thread is in
    /// the host's network namespace.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn of_host(instance: &InstanceName) -> Result<Self, NftError> {
        Self::read(&table_name(instance))
    }

    /// Reads all tables of the calling thread's network namespace but those of this
    /// name, which are ours.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn read(own: &str) -> Result<Self, NftError> {
        let unread = |source| failed(own, Failure { step: Step::ListOthers, source });
        let mut socket = Socket::open().map_err(unread)?;
        let tables = socket.at_one_moment(|socket| match tables(socket, own) {
            // Somebody has taken something away in between.
            Err(error) if is_missing(&error) => Err(NetError::Restless(1)),
            read => read,
        });
        Ok(Self {
            tables: tables.map_err(unread)?,
            legacy: legacy(),
            bridged: bridged(),
            links: links(),
        })
    }
}

type Tables = BTreeMap<(u8, String), Table>;

fn tables(socket: &mut Socket, own: &str) -> Result<Tables, NetError> {
    let mut tables = Tables::new();
    for family in FAMILIES {
        for listed in ask(socket, &Message::list_all(family, Kind::Table, own))? {
            match ruleset::table(&listed) {
                Some((name, sleeps)) if name != own && !sleeps => {
                    tables.insert((family, name), Table::default());
                }
                _ => {}
            }
        }
        for listed in ask(socket, &Message::list_all(family, Kind::Chain, own))? {
            if let Some((table, name, base)) = ruleset::chain(&listed)
                && let Some(table) = tables.get_mut(&(family, table))
            {
                table.chains.entry(name).or_default().base = base;
            }
        }
    }
    // What nothing calls does nothing.
    tables.retain(|_, table| table.chains.values().any(|chain| chain.base.is_some()));
    for ((family, name), table) in &mut tables {
        fill(socket, (*family, name), table)?;
    }
    Ok(tables)
}

/// Asks for a list; a kernel without the family has nothing to list.
fn ask(socket: &mut Socket, message: &Message) -> Result<Vec<Vec<u8>>, NetError> {
    use rustix::io::Errno;
    match socket.ask(message) {
        Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT)) => {
            Ok(Vec::new())
        }
        answer => answer,
    }
}

/// Reads the rules of a table, and the sets that they ask.
fn fill(
    socket: &mut Socket,
    (family, name): (u8, &str),
    table: &mut Table,
) -> Result<(), NetError> {
    for listed in socket.ask(&Message::list_all(family, Kind::Rule, name))? {
        // Old kernels list those of other tables, too.
        if !super::super::is_of(&listed, name) {
            continue;
        }
        if let Some((chain, rule)) = ruleset::rule(&listed) {
            table.chains.entry(chain).or_default().rules.push(rule);
        }
    }
    let rules = table.chains.values().flat_map(|chain| &chain.rules);
    let lookups = rules.flat_map(|rule| &rule.expressions).filter(|one| one.kind == "lookup");
    let mut asked: Vec<String> = lookups.filter_map(|one| one.text(1)).collect();
    asked.sort();
    asked.dedup();
    if asked.is_empty() {
        return Ok(());
    }
    for listed in socket.ask(&Message::list_all(family, Kind::Set, name))? {
        let Some((set_name, mut set)) = ruleset::set(&listed) else { continue };
        if !super::super::is_of(&listed, name) || asked.binary_search(&set_name).is_err() {
            continue;
        }
        let mut elements = Some(Vec::new());
        for part in socket.ask(&Message::list_named(family, name, &set_name))? {
            elements = elements.zip(ruleset::elements(&part)).map(|(mut all, more)| {
                all.extend(more);
                all
            });
        }
        set.elements = elements;
        table.sets.insert(set_name, set);
    }
    Ok(())
}

/// The tables of `iptables-legacy`: there is no other trace of them in nftables.
fn legacy() -> Vec<(u8, String)> {
    let files = [(IP, "ip_tables_names"), (IP6, "ip6_tables_names")];
    let named = files.into_iter().flat_map(|(family, file)| {
        // Of the thread's namespace, not of the process's first thread.
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let text = text.unwrap_or_default();
        text.lines().map(|name| (family, name.to_owned())).collect::<Vec<_>>()
    });
    named.collect()
}

fn bridged() -> Vec<u8> {
    let files = [(IP, "bridge-nf-call-iptables"), (IP6, "bridge-nf-call-ip6tables")];
    let is_on = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/bridge/{file}"));
        text.is_ok_and(|text| text.trim() != "0")
    };
    files.into_iter().filter(|(_, file)| is_on(file)).map(|(family, _)| family).collect()
}

/// The indexes of interfaces. Where they cannot be read, none is known.
fn links() -> BTreeMap<String, u32> {
    let links = NetSocket::open().and_then(|mut socket| socket.links());
    let links = links.unwrap_or_default().into_iter();
    links.filter_map(|link| Some((link.name?, link.index))).collect()
}
