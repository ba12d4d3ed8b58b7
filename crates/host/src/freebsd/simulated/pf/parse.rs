//! Texts of pf.conf(5): statements in order, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cursor::{Cursor, Wrong};
use super::expand::Resolver;
use super::lex::{self, Token};
use super::rule::Rule;
use super::{expand, statement};

/// The longest name of a table, in bytes.
const LONGEST_TABLE: usize = 31;

/// A table as a text defines it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defined {
    pub(crate) persist: bool,
    /// `None` leaves what it has.
    pub(crate) entries: Option<BTreeSet<(IpAddr, u8)>>,
}

/// What a text says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    pub(crate) rules: Vec<Rule>,
    pub(crate) tables: BTreeMap<String, Defined>,
    /// `set skip on`.
    pub(crate) skip: Vec<String>,
    /// What `-v` shows of it.
    pub(crate) echo: Vec<String>,
}

/// Why a text is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// pfctl says this.
    Refused(Vec<String>),
    /// The simulation does not know this.
    Unknown(String),
}

/// The parts of a text, which must stand in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Options,
    Translation,
    Filtering,
}

/// Reads a text; `file` is its name in errors.
pub(crate) fn read(text: &str, file: &str, resolver: &Resolver) -> Result<Loaded, Failed> {
    let mut loaded = Loaded::default();
    let mut errors = Vec::new();
    let mut reached = Part::Options;
    for line in lex::lines(text) {
        let at = |words: &str| format!("{file}:{}: {words}", line.number);
        let tokens = match line.tokens {
            Ok(tokens) => tokens,
            Err(name) => {
                errors.push(at(&format!("macro '{name}' not defined")));
                errors.push(at("syntax error"));
                continue;
            }
        };
        let part = part(&tokens);
        if part.is_some_and(|part| part < reached) {
            errors.push(at(
                "Rules must be in order: options, normalization, queueing, translation, filtering",
            ));
            continue;
        }
        reached = reached.max(part.unwrap_or(Part::Options));
        match line_of(&tokens, &mut loaded, resolver) {
            Ok(()) => {}
            Err(Wrong::Syntax) => errors.push(at("syntax error")),
            Err(Wrong::Says(words)) => errors.push(at(&words)),
            Err(Wrong::NoHost(name)) => {
                errors.push(format!("no IP address found for {name}"));
                errors.push(at("could not parse host specification"));
            }
            Err(Wrong::Unknown(what)) => return Err(Failed::Unknown(what)),
        }
    }
    if errors.is_empty() { Ok(loaded) } else { Err(Failed::Refused(errors)) }
}

fn part(tokens: &[Token]) -> Option<Part> {
    match tokens.first()? {
        Token::Keyword("set") => Some(Part::Options),
        Token::Keyword("nat" | "rdr" | "no" | "nat-anchor" | "rdr-anchor") => {
            Some(Part::Translation)
        }
        Token::Keyword("pass" | "block" | "anchor" | "antispoof") => Some(Part::Filtering),
        _ => None,
    }
}

fn line_of(tokens: &[Token], loaded: &mut Loaded, resolver: &Resolver) -> Result<(), Wrong> {
    let mut cursor = Cursor::new(tokens);
    match tokens.first() {
        Some(Token::Keyword("set")) => skip(&mut cursor, loaded),
        Some(Token::Keyword("table")) => table(&mut cursor, loaded),
        Some(Token::Keyword("antispoof")) => {
            cursor.next();
            for rule in expand::antispoof(&mut cursor, resolver)? {
                push(loaded, rule);
            }
            Ok(())
        }
        Some(Token::Keyword(
            word @ ("scrub" | "altq" | "queue" | "binat" | "binat-anchor" | "include" | "load"),
        )) => Err(Wrong::Unknown(format!("{word} in a text of pf.conf"))),
        _ => {
            let statement = statement::parse(&mut cursor, resolver)?;
            for rule in expand::expand(&statement)? {
                push(loaded, rule);
            }
            Ok(())
        }
    }
}

fn push(loaded: &mut Loaded, rule: Rule) {
    loaded.echo.push(rule.to_string());
    loaded.rules.push(rule);
}

fn skip(cursor: &mut Cursor<'_>, loaded: &mut Loaded) -> Result<(), Wrong> {
    cursor.next();
    if !cursor.take("skip") {
        return Err(Wrong::Unknown("set in a text of pf.conf but for 'set skip'".to_owned()));
    }
    cursor.expect("on")?;
    for name in cursor.list(Cursor::name)? {
        loaded.echo.push(format!("set skip on {{ {name} }}"));
        loaded.skip.push(name);
    }
    cursor.end()
}

fn table(cursor: &mut Cursor<'_>, loaded: &mut Loaded) -> Result<(), Wrong> {
    cursor.next();
    let name = cursor.table()?;
    if name.len() > LONGEST_TABLE {
        return Err(Wrong::Says(format!("table name too long, max {LONGEST_TABLE} chars")));
    }
    let mut defined = Defined::default();
    let mut echo = format!("table <{name}>");
    while let Some(token) = cursor.next() {
        match token {
            Token::Word(word) if word == "persist" => {
                defined.persist = true;
                echo += " persist";
            }
            Token::Sign('{') => {
                let mut entries = BTreeSet::new();
                let mut shown = String::new();
                while !cursor.sign('}') {
                    if cursor.sign(',') {
                        continue;
                    }
                    let (text, entry) = cursor.network()?;
                    let entry = entry.ok_or_else(|| Wrong::NoHost(text.clone()))?;
                    shown += &format!("{text} ");
                    entries.insert(entry);
                }
                defined.entries.get_or_insert_default().extend(entries);
                echo += &format!(" {{ {shown}}}");
            }
            Token::Word(word) if ["const", "counters"].contains(&word.as_str()) => {
                return Err(Wrong::Unknown(format!("tables that are {word}")));
            }
            _ => return Err(Wrong::Syntax),
        }
    }
    loaded.echo.push(echo);
    loaded.tables.insert(name, defined);
    Ok(())
}

/// Reads an address or a network.
pub(crate) fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix.parse().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(whole);
    if prefix > whole {
        return None;
    }
    Some((crate::freebsd::simulated::state::network(ip, prefix), prefix))
}
