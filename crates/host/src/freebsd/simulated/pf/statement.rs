//! One statement: its words, and what they may stand for before it is expanded.

use super::cursor::{Cursor, Wrong};
use super::expand::Resolver;
use super::lex::Token;
use super::rule::{Action, Host, Keep, Port, Rule, Side};
use super::services;

/// The longest label, in bytes.
const LONGEST_LABEL: usize = 63;

/// A rule and the lists that it stands for.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) rule: Rule,
    pub(super) on: Vec<(bool, String)>,
    pub(super) protos: Vec<String>,
    pub(super) icmp: Vec<(&'static str, String)>,
    pub(super) from: Vec<(bool, Host)>,
    pub(super) from_ports: Vec<Port>,
    pub(super) to: Vec<(bool, Host)>,
    pub(super) to_ports: Vec<Port>,
    /// `flags` were given, which may be `any`.
    pub(super) flags: Option<String>,
}

fn blank(action: Action) -> Rule {
    Rule {
        action,
        no: false,
        pass: false,
        call: None,
        direction: None,
        log: false,
        quick: false,
        on: None,
        routed: None,
        six: None,
        proto: None,
        from: Side::ANY,
        to: Side::ANY,
        flags: None,
        icmp: None,
        keep: None,
        allow_opts: false,
        label: None,
        tag: None,
        tagged: None,
        pool: Vec::new(),
        pool_port: None,
        round_robin: false,
        static_port: false,
    }
}

/// A rule of `block drop`, for what is made of `antispoof`.
pub(super) fn blocking() -> Rule {
    blank(Action::Block("drop".to_owned()))
}

/// Reads a rule.
pub(super) fn parse(c: &mut Cursor<'_>, resolver: &Resolver) -> Result<Statement, Wrong> {
    let no = c.take("no");
    let Some(Token::Keyword(word)) = c.next() else { return Err(Wrong::Syntax) };
    let mut rule = match (*word, no) {
        ("pass", false) => blank(Action::Pass),
        ("block", false) => blank(Action::Block(block_how(c)?)),
        ("anchor", false) => Rule { call: Some(c.name()?), ..blank(Action::Pass) },
        ("nat-anchor", false) => Rule { call: Some(c.name()?), ..blank(Action::Nat) },
        ("rdr-anchor", false) => Rule { call: Some(c.name()?), ..blank(Action::Rdr) },
        ("nat", no) => Rule { no, ..blank(Action::Nat) },
        ("rdr", no) => Rule { no, ..blank(Action::Rdr) },
        _ => return Err(Wrong::Syntax),
    };
    let filters = matches!(rule.action, Action::Pass | Action::Block(_));
    if filters {
        rule.direction = ["in", "out"].into_iter().find(|word| c.take(word));
        rule.log = c.take("log");
        rule.quick = c.take("quick");
    } else if rule.call.is_none() {
        rule.pass = c.take("pass");
    }
    let mut statement = Statement {
        rule,
        on: Vec::new(),
        protos: Vec::new(),
        icmp: Vec::new(),
        from: Vec::new(),
        from_ports: Vec::new(),
        to: Vec::new(),
        to_ports: Vec::new(),
        flags: None,
    };
    flow(c, &mut statement, resolver)?;
    if filters {
        options(c, &mut statement)?;
    } else {
        translation(c, &mut statement.rule)?;
    }
    c.end()?;
    Ok(statement)
}

fn block_how(c: &mut Cursor<'_>) -> Result<String, Wrong> {
    let how = ["drop", "return", "return-rst", "return-icmp", "return-icmp6"];
    let how = how.into_iter().find(|word| c.take(word)).unwrap_or("drop");
    let codes = how.starts_with("return-icmp") && c.sign('(');
    if !codes {
        return Ok(how.to_owned());
    }
    let Some(Token::Number(code)) = c.next() else { return Err(Wrong::Syntax) };
    c.must(')')?;
    Ok(format!("{how}({code})"))
}

/// Interface, family, protocol and the two sides.
fn flow(c: &mut Cursor<'_>, statement: &mut Statement, resolver: &Resolver) -> Result<(), Wrong> {
    let not_and_name = |c: &mut Cursor<'_>| Ok((c.sign('!'), c.name()?));
    if c.take("on") {
        statement.on = c.list(not_and_name)?;
    }
    if let Some(how) = ["reply-to", "route-to"].into_iter().find(|word| c.take(word)) {
        c.must('(')?;
        let interface = c.name()?;
        let (text, router) = c.network()?;
        c.must(')')?;
        let (router, _) = router.ok_or(Wrong::NoHost(text))?;
        statement.rule.routed = Some((how, interface, router));
    }
    let family = ["inet", "inet6"].into_iter().find(|word| c.take(word));
    statement.rule.six = family.map(|word| word == "inet6");
    if c.take("proto") {
        statement.protos = c.list(proto)?;
    }
    if c.take("all") {
        return Ok(());
    }
    if c.take("from") {
        (statement.from, statement.from_ports) = side(c, resolver)?;
    }
    if c.take("to") {
        (statement.to, statement.to_ports) = side(c, resolver)?;
    }
    Ok(())
}

fn proto(c: &mut Cursor<'_>) -> Result<String, Wrong> {
    let name = c.name()?;
    match name.as_str() {
        "tcp" | "udp" | "icmp" | "sctp" | "esp" | "gre" => Ok(name),
        "icmp6" | "ipv6-icmp" => Ok("ipv6-icmp".to_owned()),
        _ => Err(Wrong::Unknown(format!("the protocol {name}"))),
    }
}

type Sides = (Vec<(bool, Host)>, Vec<Port>);

fn side(c: &mut Cursor<'_>, resolver: &Resolver) -> Result<Sides, Wrong> {
    let hosts = if c.take("any") {
        vec![(false, Host::Any)]
    } else if matches!(c.peek(), Some(Token::Keyword("port"))) {
        Vec::new()
    } else {
        let host = |c: &mut Cursor<'_>| host(c, resolver);
        c.list(host)?.into_iter().flatten().collect()
    };
    let ports = if c.take("port") { c.list(port)? } else { Vec::new() };
    Ok((hosts, ports))
}

/// A host; the name of an interface is all its addresses.
fn host(c: &mut Cursor<'_>, resolver: &Resolver) -> Result<Vec<(bool, Host)>, Wrong> {
    let not = c.sign('!');
    if not && c.peek() == Some(&Token::Sign('{')) {
        return Err(Wrong::Syntax);
    }
    Ok(hosts(c, resolver)?.into_iter().map(|host| (not, host)).collect())
}

fn hosts(c: &mut Cursor<'_>, resolver: &Resolver) -> Result<Vec<Host>, Wrong> {
    match c.peek() {
        Some(Token::Sign('<')) => Ok(vec![Host::Table(c.table()?)]),
        Some(Token::Sign('(')) => {
            c.next();
            let name = c.name()?;
            c.must(')')?;
            Ok(vec![Host::Dynamic(name)])
        }
        Some(Token::Quoted(_)) => {
            let name = c.name()?;
            resolver.addresses(&name).ok_or(Wrong::NoHost(name))
        }
        _ => {
            let (text, network) = c.network()?;
            match network {
                Some((ip, prefix)) => Ok(vec![Host::Net(ip, prefix)]),
                None => resolver.addresses(&text).ok_or(Wrong::NoHost(text)),
            }
        }
    }
}

fn number(token: Option<&Token>) -> Result<u16, Wrong> {
    match token {
        Some(Token::Number(number)) => {
            u16::try_from(*number).map_err(|_| Wrong::Says(format!("illegal port value {number}")))
        }
        Some(Token::Word(name)) => {
            services::port(name).ok_or_else(|| Wrong::Unknown(format!("the port {name}")))
        }
        _ => Err(Wrong::Syntax),
    }
}

fn port(c: &mut Cursor<'_>) -> Result<Port, Wrong> {
    let operator = match c.peek() {
        Some(Token::Sign('=')) => "=",
        Some(Token::Sign('!')) => "!=",
        Some(Token::Sign('<')) => "<",
        Some(Token::Sign('>')) => ">",
        _ => return port_range(c),
    };
    c.next();
    if operator == "!=" {
        c.must('=')?;
    }
    if c.sign('=') {
        return Err(Wrong::Unknown(format!("the operator {operator}= of ports")));
    }
    Ok(Port::Is(operator, number(c.next())?))
}

fn port_range(c: &mut Cursor<'_>) -> Result<Port, Wrong> {
    let token = c.next();
    if let Some(Token::Word(text)) = token
        && let Some((first, last)) = text.split_once(':')
    {
        let parse = |text: &str| text.parse::<u16>().ok();
        return match (parse(first), last, parse(last)) {
            (Some(first), "*", _) => Ok(Port::From(first)),
            (Some(first), _, Some(last)) => Ok(Port::Range(first, last)),
            _ => Err(Wrong::Unknown(format!("the ports {text}"))),
        };
    }
    Ok(Port::Is("=", number(token)?))
}

fn translation(c: &mut Cursor<'_>, rule: &mut Rule) -> Result<(), Wrong> {
    if c.take("tag") {
        rule.tag = Some(c.name()?);
    }
    let not = c.sign('!');
    if c.take("tagged") {
        rule.tagged = Some((not, c.name()?));
    } else if not {
        return Err(Wrong::Syntax);
    }
    if c.peek() != Some(&Token::Arrow) {
        let complete = rule.no || rule.call.is_some();
        return if complete { Ok(()) } else { Err(Wrong::Syntax) };
    }
    c.next();
    // An interface that is named there must have addresses by now.
    let nowhere = Resolver::default();
    rule.pool = c.list(|c| hosts(c, &nowhere))?.into_iter().flatten().collect();
    if c.take("port") {
        rule.pool_port = Some(port_range(c)?);
    }
    rule.round_robin = c.take("round-robin");
    rule.static_port = c.take("static-port");
    Ok(())
}

fn options(c: &mut Cursor<'_>, statement: &mut Statement) -> Result<(), Wrong> {
    let rule = &mut statement.rule;
    while let Some(token) = c.next() {
        match token {
            Token::Keyword("flags") => statement.flags = Some(flags(c)?),
            Token::Keyword(word @ ("icmp-type" | "icmp6-type")) => {
                statement.icmp = c.list(|c| Ok((*word, icmp_type(c)?)))?;
            }
            Token::Keyword("no") => {
                c.expect("state")?;
                rule.keep = Some(Keep::No);
            }
            Token::Keyword("keep") => {
                c.expect("state")?;
                rule.keep = Some(Keep::State(state_options(c)?));
            }
            Token::Keyword("allow-opts") => rule.allow_opts = true,
            Token::Keyword("label") => {
                let label = c.name()?;
                if label.len() > LONGEST_LABEL {
                    let words = format!("rule label too long (max {LONGEST_LABEL} chars)");
                    return Err(Wrong::Says(words));
                }
                rule.label = Some(label);
            }
            Token::Keyword("tag") => rule.tag = Some(c.name()?),
            Token::Keyword("tagged") => rule.tagged = Some((false, c.name()?)),
            Token::Sign('!') => {
                c.expect("tagged")?;
                rule.tagged = Some((true, c.name()?));
            }
            Token::Keyword(
                word @ ("modulate" | "synproxy" | "fragment" | "queue" | "rtable" | "user"
                | "group" | "tos" | "probability" | "prio" | "set" | "divert-to"),
            ) => return Err(Wrong::Unknown(format!("{word} in a rule"))),
            _ => return Err(Wrong::Syntax),
        }
    }
    Ok(())
}

fn flags(c: &mut Cursor<'_>) -> Result<String, Wrong> {
    if c.take("any") {
        return Ok(String::new());
    }
    let set = c.name()?;
    c.must('/')?;
    Ok(format!("{set}/{}", c.name()?))
}

fn icmp_type(c: &mut Cursor<'_>) -> Result<String, Wrong> {
    const TYPES: [&str; 10] = [
        "echoreq",
        "echorep",
        "unreach",
        "timex",
        "toobig",
        "paramprob",
        "routersol",
        "routeradv",
        "neighbrsol",
        "neighbradv",
    ];
    let name = match c.next() {
        Some(Token::Word(name)) => name.clone(),
        other => return Err(Wrong::Unknown(format!("the ICMP type {other:?}"))),
    };
    if TYPES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(Wrong::Unknown(format!("the ICMP type {name}")))
}

/// Options of a state, in the order in which they are shown.
fn state_options(c: &mut Cursor<'_>) -> Result<Vec<&'static str>, Wrong> {
    const OPTIONS: [&str; 4] = ["no-sync", "sloppy", "if-bound", "floating"];
    let mut given = Vec::new();
    if !c.sign('(') {
        return Ok(given);
    }
    while !c.sign(')') {
        let Some(Token::Keyword(word)) = c.next() else { return Err(Wrong::Syntax) };
        if !OPTIONS.contains(word) {
            return Err(Wrong::Unknown(format!("the option {word} of a state")));
        }
        given.push(*word);
        c.sign(',');
    }
    Ok(OPTIONS.into_iter().filter(|one| given.contains(one)).collect())
}
