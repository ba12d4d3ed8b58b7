//! jls(8).

use super::jail_params::{self, Value};
use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::Jail;

#[derive(Debug, Default)]
struct Options {
    dying: bool,
    head: bool,
    named: bool,
    settable: bool,
    verbose: bool,
    json: bool,
}

/// Runs jls.
pub(crate) fn jls(s: &mut Session<'_>, args: &[&str]) -> Done {
    let mut options = Options::default();
    let (mut wanted, mut names, mut rest) = (None, Vec::new(), args.iter().copied());
    while let Some(word) = rest.next() {
        match word {
            "-d" => options.dying = true,
            "-h" => options.head = true,
            "-n" => options.named = true,
            // What is empty or has blanks is quoted anyway where it has a name.
            "-q" => {}
            "-s" => (options.named, options.settable) = (true, true),
            "-v" => options.verbose = true,
            "-j" => wanted = rest.next(),
            "--libxo" => match rest.next() {
                Some("json") => options.json = true,
                _ => return unknown("the format of --libxo"),
            },
            option if option.starts_with('-') => return unknown(option),
            name => names.push(name),
        }
    }
    let found = find(s, &options, wanted);
    let names = if options.settable || names == ["all"] {
        jail_params::all(s.state, options.settable)
    } else {
        names
    };
    for name in &names {
        let known = s.state.jails.values().next().map(|jail| jail_params::get(jail, name));
        if known.is_some_and(|value| value.is_none()) {
            return s.refuse(format_args!("jls: unknown parameter: {name}"));
        }
    }
    show(s, &options, &names, &found);
    match wanted.filter(|_| found.is_empty()) {
        Some(name) if s.jail.is_none() && s.state.jail_or_dying(name).is_some() => {
            s.refuse(format_args!("jls: jail \"{name}\" is dying"))
        }
        Some(name) => s.refuse(format_args!("jls: jail \"{name}\" not found")),
        _ => Ok(()),
    }
}

fn find(s: &Session<'_>, options: &Options, wanted: Option<&str>) -> Vec<Jail> {
    // Who is in a jail sees only its children.
    if s.jail.is_some() {
        return Vec::new();
    }
    match wanted {
        None => {
            let seen = |jail: &&Jail| options.dying || !jail.dying;
            s.state.jails.values().filter(seen).cloned().collect()
        }
        Some(name) if options.dying => s.state.jail_or_dying(name).into_iter().cloned().collect(),
        Some(name) => s.state.jail(name).into_iter().cloned().collect(),
    }
}

fn show(s: &mut Session<'_>, options: &Options, names: &[&str], jails: &[Jail]) {
    if options.json {
        let all: Vec<String> = jails.iter().map(|jail| json(options, names, jail)).collect();
        s.say(format_args!(
            "{{\"__version\": \"2\", \"jail-information\": {{\"jail\": [{}]}}}}",
            all.join(", ")
        ));
        return;
    }
    match (names.is_empty(), options.verbose) {
        (true, false) => s.say("   JID  IP Address      Hostname                      Path"),
        (true, true) => s.say(
            "   JID  Hostname                      Path\n\
             \u{20}       Name                          State\n\
             \u{20}       CPUSetID\n\
             \u{20}       IP Address(es)",
        ),
        (false, _) if options.head => s.say(names.join(" ")),
        (false, _) => {}
    }
    for jail in jails {
        let line = match (names.is_empty(), options.verbose) {
            (true, false) => row(jail),
            (true, true) => rows(jail),
            (false, _) => {
                let one = |name: &&str| param(options, jail, name);
                names.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        };
        s.say(line);
    }
}

fn text(jail: &Jail, name: &str) -> String {
    match jail_params::get(jail, name) {
        Some(Value::Text(text)) => text,
        _ => String::new(),
    }
}

fn row(jail: &Jail) -> String {
    let first = jail.of_family(false).first().map(ToString::to_string).unwrap_or_default();
    let host = text(jail, "host.hostname");
    format!("{:6}  {first:<15.15} {host:<29.29} {}", jail.jid, jail.path)
}

fn rows(jail: &Jail) -> String {
    let host = text(jail, "host.hostname");
    let state = if jail.dying { "DYING" } else { "ACTIVE" };
    let mut lines = vec![
        format!("{:6}  {host:<29.29} {}", jail.jid, jail.path),
        format!("        {:<29.29} {state}", jail.name),
        format!("        {}", jail.cpuset),
    ];
    for six in [false, true] {
        lines.extend(jail.of_family(six).iter().map(|ip| format!("        {ip}")));
    }
    lines.join("\n")
}

fn param(options: &Options, jail: &Jail, name: &str) -> String {
    let Some(value) = jail_params::get(jail, name) else { return String::new() };
    match value {
        Value::Switch(on) if options.named => {
            if on {
                return name.to_owned();
            }
            match name.rsplit_once('.') {
                Some((before, last)) => format!("{before}.no{last}"),
                None => format!("no{name}"),
            }
        }
        Value::Switch(on) => on.to_string(),
        Value::Text(text) => {
            let quoted = text.is_empty() || text.contains(' ');
            match (options.named, quoted) {
                (true, true) => format!("{name}=\"{text}\""),
                (true, false) => format!("{name}={text}"),
                (false, _) => text,
            }
        }
        Value::List(list) => {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            let list = list.join(",");
            match (options.named, list.is_empty()) {
                (true, _) => format!("{name}={list}"),
                (false, true) => "-".to_owned(),
                (false, false) => list,
            }
        }
    }
}

fn json(options: &Options, names: &[&str], jail: &Jail) -> String {
    let list = |six: bool| {
        let all: Vec<String> = jail.of_family(six).iter().map(|ip| format!("\"{ip}\"")).collect();
        format!("[{}]", all.join(","))
    };
    let host = text(jail, "host.hostname");
    let (jid, path, name) = (jail.jid, &jail.path, &jail.name);
    if names.is_empty() && options.verbose {
        let state = if jail.dying { "DYING" } else { "ACTIVE" };
        return format!(
            "{{\"jid\":{jid},\"hostname\":\"{host}\",\"path\":\"{path}\",\"name\":\"{name}\",\
             \"state\":\"{state}\",\"cpusetid\":{}, \"ipv4_addrs\": {}, \"ipv6_addrs\": {}}}",
            jail.cpuset,
            list(false),
            list(true)
        );
    }
    if names.is_empty() {
        let first = jail.of_family(false).first().map(ToString::to_string).unwrap_or_default();
        return format!(
            "{{\"jid\":{jid},\"ipv4\":\"{first}\",\"hostname\":\"{host}\",\"path\":\"{path}\"}}"
        );
    }
    let mut fields = String::new();
    for name in names {
        let comma = if fields.is_empty() { "" } else { "," };
        fields += &match jail_params::get(jail, name) {
            Some(Value::Switch(on)) if options.named => format!("{comma}\"{name}\":{on}"),
            Some(Value::Switch(on)) => format!("{comma}\"{name}\":\"{on}\""),
            Some(Value::Text(text)) => format!("{comma}\"{name}\":\"{text}\""),
            Some(Value::List(_)) => format!("{comma} \"{name}\": {}", list(*name == "ip6.addr")),
            None => String::new(),
        };
    }
    format!("{{{fields}}}")
}
