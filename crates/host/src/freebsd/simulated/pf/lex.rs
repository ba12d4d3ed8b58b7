//! The words of pf.conf(5).

/// Words that are no names (FreeBSD 13.2's `pfctl/parse.y`).
const KEYWORDS: &[&str] = &[
    "all",
    "allow-opts",
    "altq",
    "anchor",
    "antispoof",
    "any",
    "bandwidth",
    "binat",
    "binat-anchor",
    "bitmask",
    "block",
    "block-policy",
    "buckets",
    "cbq",
    "code",
    "codelq",
    "crop",
    "debug",
    "divert-reply",
    "divert-to",
    "drop",
    "drop-ovl",
    "dup-to",
    "fail-policy",
    "fairq",
    "fastroute",
    "file",
    "fingerprints",
    "flags",
    "floating",
    "flush",
    "for",
    "fragment",
    "from",
    "global",
    "group",
    "hfsc",
    "hogs",
    "hostid",
    "icmp-type",
    "icmp6-type",
    "if-bound",
    "in",
    "include",
    "inet",
    "inet6",
    "interval",
    "keep",
    "keepcounters",
    "label",
    "limit",
    "linkshare",
    "load",
    "log",
    "loginterface",
    "map-e-portset",
    "max",
    "max-mss",
    "max-src-conn",
    "max-src-conn-rate",
    "max-src-nodes",
    "max-src-states",
    "min-ttl",
    "modulate",
    "nat",
    "nat-anchor",
    "no",
    "no-df",
    "no-route",
    "no-sync",
    "on",
    "optimization",
    "os",
    "out",
    "overload",
    "pass",
    "port",
    "prio",
    "priority",
    "priq",
    "probability",
    "proto",
    "qlimit",
    "queue",
    "quick",
    "random",
    "random-id",
    "rdr",
    "rdr-anchor",
    "realtime",
    "reassemble",
    "reply-to",
    "require-order",
    "return",
    "return-icmp",
    "return-icmp6",
    "return-rst",
    "round-robin",
    "route-to",
    "rtable",
    "rule",
    "ruleset-optimization",
    "scrub",
    "set",
    "set-tos",
    "skip",
    "sloppy",
    "source-hash",
    "source-track",
    "state",
    "state-defaults",
    "state-policy",
    "static-port",
    "sticky-address",
    "synproxy",
    "table",
    "tag",
    "tagged",
    "target",
    "tbrsize",
    "timeout",
    "to",
    "tos",
    "ttl",
    "upperlimit",
    "urpf-failed",
    "user",
];

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Keyword(&'static str),
    /// A name, an address, a range of ports.
    Word(String),
    /// What stood in quotes.
    Quoted(String),
    Number(u64),
    Sign(char),
    /// `->`
    Arrow,
}

/// A statement: what stands on a line, and the line's number.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) number: usize,
    /// `Err` is a macro that was not defined.
    pub(super) tokens: Result<Vec<Token>, String>,
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c.is_ascii_punctuation() && !"(){}<>!=/#,\"".contains(c)
}

/// Splits a text into statements; a list in braces may go on over lines.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut macros: Vec<(String, Vec<Token>)> = Vec::new();
    let joined = text.replace("\\\n", " ");
    let mut pending: Option<(usize, String)> = None;
    for (at, line) in joined.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let (number, mut so_far) = pending.take().unwrap_or((at + 1, String::new()));
        so_far.push_str(line);
        if so_far.matches('{').count() > so_far.matches('}').count() {
            so_far.push(' ');
            pending = Some((number, so_far));
            continue;
        }
        push(&mut lines, &mut macros, number, &so_far);
    }
    if let Some((number, text)) = pending {
        push(&mut lines, &mut macros, number, &text);
    }
    lines
}

fn push(lines: &mut Vec<Line>, macros: &mut Vec<(String, Vec<Token>)>, number: usize, text: &str) {
    let tokens = tokens(text, macros);
    if let Ok([Token::Word(name), Token::Sign('='), value @ ..]) = tokens.as_deref() {
        let value = value.iter().flat_map(|token| match token {
            Token::Quoted(text) => self::tokens(text, macros).unwrap_or_default(),
            token => vec![token.clone()],
        });
        let defined = (name.clone(), value.collect());
        macros.push(defined);
    } else if tokens.as_ref().is_ok_and(Vec::is_empty) {
        // An empty line.
    } else {
        lines.push(Line { number, tokens });
    }
}

fn tokens(text: &str, macros: &[(String, Vec<Token>)]) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let taken = if let Some(after) = rest.strip_prefix("->") {
            tokens.push(Token::Arrow);
            rest.len() - after.len()
        } else if let Some(after) = rest.strip_prefix('"') {
            let end = after.find('"').unwrap_or(after.len());
            tokens.push(Token::Quoted(after[..end].to_owned()));
            (end + 2).min(rest.len())
        } else if let Some(after) = rest.strip_prefix('$') {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &after[..end.unwrap_or(after.len())];
            let value = macros.iter().rev().find(|(one, _)| one == name);
            tokens.extend(value.ok_or_else(|| name.to_owned())?.1.clone());
            name.len() + 1
        } else if in_word(c) {
            let end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            tokens.push(word(&rest[..end]));
            end
        } else {
            tokens.push(Token::Sign(c));
            c.len_utf8()
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

fn word(text: &str) -> Token {
    if let Some(keyword) = KEYWORDS.iter().find(|one| **one == text) {
        return Token::Keyword(keyword);
    }
    match text.parse() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Token::Number(number),
        _ => Token::Word(text.to_owned()),
    }
}
