//! Which of all that tools are told was seen on a real FreeBSD.

use std::collections::BTreeSet;

use kleene_host::freebsd::vectors;

use crate::recording;

const RECORDINGS: &str = include_str!("recordings-13.2.txt");
const UNRECORDED: &str = include_str!("unrecorded.txt");

/// The simple commands of a recorded line: its lists, pipes and commands in commands
/// taken apart, its quotes taken off.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote, mut started) = (String::new(), None, false);
    let end = |commands: &mut Vec<Vec<String>>, word: &mut String, started: &mut bool| {
        if *started {
            commands.last_mut().expect("one").push(std::mem::take(word));
        }
        *started = false;
    };
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"'), '\\') | (None, '\\') => word.extend(chars.next()),
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => (quote, started) = (Some(c), true),
            (None, ' ') => end(&mut commands, &mut word, &mut started),
            (None, ';' | '|' | '&' | '(' | ')' | '<' | '>') => {
                end(&mut commands, &mut word, &mut started);
                commands.push(Vec::new());
            }
            (None, _) => {
                word.push(c);
                started = true;
            }
        }
    }
    end(&mut commands, &mut word, &mut started);
    commands.retain(|words| !words.is_empty());
    commands
}

/// Tools are called by their full path inside jails, and were recorded both ways.
fn plain(words: &[String]) -> Vec<&str> {
    let name = |word: &'_ str| -> usize { word.rfind('/').map_or(0, |at| at + 1) };
    let tools = ["/sbin/", "/usr/sbin/", "/usr/bin/", "/bin/"];
    let is_tool = |word: &str| {
        tools.iter().any(|dir| word.strip_prefix(dir).is_some_and(|rest| !rest.contains('/')))
    };
    words
        .iter()
        .map(|word| if is_tool(word) { &word[name(word)..] } else { word.as_str() })
        .collect()
}

#[test]
fn every_form_was_recorded_or_is_listed_as_unrecorded() {
    let mut seen: BTreeSet<Vec<String>> = BTreeSet::new();
    for section in recording::parse(RECORDINGS) {
        for command in section.commands {
            for words in simple_commands(&command.typed) {
                // A tool says the same in a jail.
                if words.first().is_some_and(|tool| tool == "jexec") && words.len() > 2 {
                    seen.insert(words[2..].to_vec());
                }
                seen.insert(words);
            }
        }
    }
    assert!(seen.len() > 800, "the recordings are read: {}", seen.len());
    let recorded = |form: &str| {
        let words: Vec<String> = form.split(' ').map(str::to_owned).collect();
        let form = plain(&words).join(" ");
        seen.iter().any(|words| vectors::is_of(&form, &plain(words)))
    };
    let unrecorded: BTreeSet<&str> = vectors::all().filter(|form| !recorded(form)).collect();
    let lines = UNRECORDED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let listed: BTreeSet<&str> =
        lines.map(|line| line.split('\t').next().unwrap_or(line).trim()).collect();
    let missing: Vec<&&str> = unrecorded.difference(&listed).collect();
    let surplus: Vec<&&str> = listed.difference(&unrecorded).collect();
    assert!(missing.is_empty(), "not recorded, and not in unrecorded.txt: {missing:#?}");
    assert!(surplus.is_empty(), "recorded or not used, and in unrecorded.txt: {surplus:#?}");
    println!("{} forms, {} of them unrecorded", vectors::all().count(), unrecorded.len());
}

#[test]
fn recorded_lines_are_taken_apart() {
    let line = "printf \"a b\\n\" | pfctl -a kleene/k -f -; (HOLD=3 jexec j /sbin/ifconfig x) && echo 'it;s'";
    let commands = simple_commands(line);
    let typed: Vec<String> = commands.iter().map(|words| plain(words).join(" ")).collect();
    assert_eq!(typed[1], "pfctl -a kleene/k -f -");
    assert_eq!(typed[2], "HOLD=3 jexec j ifconfig x");
    assert_eq!(typed[3], "echo it;s");
}
