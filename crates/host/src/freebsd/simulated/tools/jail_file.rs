//! jail.conf(5), as far as somebody writes it for one removal: `NAME { a=b; c; }`.

use super::jail::{self, Told};
use super::programs;
use crate::freebsd::simulated::session::{Done, Session, unknown};

/// A jail of the file.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    name: String,
    told: Told,
}

/// Reads the file, or standard input for `-`.
pub(crate) fn read(s: &mut Session<'_>, file: &str) -> Done<Vec<Configured>> {
    let text = match file {
        "-" => s.stdin.to_owned(),
        file => match s.state.files.get(file) {
            Some(text) => text.clone(),
            None => {
                return s.refuse(format_args!("jail: {file}: No such file or directory"));
            }
        },
    };
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let split = rest.split_once('{').and_then(|(name, rest)| {
            let (body, rest) = rest.split_once('}')?;
            Some((name.trim(), body, rest.trim()))
        });
        let Some((name, body, after)) = split else { return unknown("a text of jail.conf") };
        all.push(Configured { name: name.to_owned(), told: told(name, body) });
        rest = after;
    }
    Ok(all)
}

fn told(name: &str, body: &str) -> Told {
    let mut told = Told::default();
    told.words.push(("name".to_owned(), Some(name.to_owned())));
    for statement in body.split(';').map(str::trim).filter(|one| !one.is_empty()) {
        let (word, value) = match statement.split_once('=') {
            Some((word, value)) => (word.trim(), Some(value.trim().trim_matches('"').to_owned())),
            None => (statement, None),
        };
        told.words.push((word.to_owned(), value));
    }
    told
}

fn find<'a>(all: &'a [Configured], name: &str) -> Option<&'a Configured> {
    all.iter().find(|one| one.name == name)
}

/// `jail -f FILE -c NAME`.
pub(crate) fn create(s: &mut Session<'_>, all: &[Configured], names: &[&str]) -> Done {
    for name in names {
        let Some(one) = find(all, name) else {
            return s.refuse(format_args!("jail: \"{name}\" not found"));
        };
        let said = std::mem::take(&mut s.out);
        let done = jail::create(s, &one.told);
        let inner = std::mem::replace(&mut s.out, said);
        done?;
        s.say(format_args!("{name}: created"));
        s.out += &inner;
    }
    Ok(())
}

/// `jail -f FILE -r NAME`: here `exec.stop` and its like do run.
pub(crate) fn remove(s: &mut Session<'_>, all: &[Configured], names: &[&str]) -> Done {
    for name in names {
        let jid = s.state.jail(name).map(|jail| jail.jid);
        let (Some(jid), Some(one)) = (jid, find(all, name)) else {
            return s.refuse(format_args!("jail: \"{name}\" not found"));
        };
        run(s, one, "exec.prestop", None)?;
        run(s, one, "exec.stop", Some(jid))?;
        s.state.remove_jail(jid);
        s.say(format_args!("{name}: removed"));
        run(s, one, "exec.poststop", None)?;
    }
    Ok(())
}

fn run(s: &mut Session<'_>, one: &Configured, which: &str, jail: Option<u32>) -> Done {
    let commands = one.told.words.iter().filter(|(word, _)| word == which);
    for command in commands.filter_map(|(_, value)| value.as_deref()) {
        jail::execute(s, jail, &programs::split(command))?;
    }
    Ok(())
}
