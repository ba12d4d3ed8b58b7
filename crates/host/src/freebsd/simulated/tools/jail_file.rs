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
    let mut words = words(&text)?.into_iter().peekable();
    let mut all = Vec::new();
    while let Some(name) = words.next() {
        if words.next().as_deref() != Some("{") {
            return unknown("a text of jail.conf without '{'");
        }
        let mut told = Told::default();
        told.words.push(("name".to_owned(), Some(name.clone())));
        loop {
            let Some(word) = words.next() else {
                return unknown("a text of jail.conf without '}'");
            };
            match word.as_str() {
                "}" => break,
                ";" => continue,
                _ => {}
            }
            let sets = words.next_if(|next| next == "=" || next == "+=").is_some();
            let value = if sets { words.next() } else { None };
            told.words.push((word, value));
        }
        all.push(Configured { name, told });
    }
    Ok(all)
}

/// Splits a text of jail.conf; what is in quotes is one word.
fn words(text: &str) -> Done<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("+=") {
            words.push("+=".to_owned());
            rest = after;
        } else if "{};=".contains(c) {
            words.push(c.to_string());
            rest = &rest[1..];
        } else if c == '"' || c == '\'' {
            rest = quoted(&rest[1..], c, &mut words)?;
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "{};=+\"'".contains(c));
            let end = end.filter(|end| *end > 0).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

fn quoted<'a>(text: &'a str, quote: char, words: &mut Vec<String>) -> Done<&'a str> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => word.extend(chars.next().map(|(_, c)| c)),
            c if c == quote => {
                words.push(word);
                return Ok(&text[at + 1..]);
            }
            c => word.push(c),
        }
    }
    unknown("a quote in jail.conf that does not end")
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
