//! What a page tells its reader to type, and what it shows below it.
//!
//! `$ ` is the prompt of the host, `outside$ ` that of another machine of its
//! network. In a block that is marked `console refused` every command fails.

/// The prompt of a machine that is not the host.
const OUTSIDE: &str = "outside$ ";
/// Stands for whatever is printed there.
const ANYTHING: char = '…';

/// A line that a reader types, and what the page shows below it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) outside: bool,
    pub(crate) refused: bool,
    pub(crate) command: String,
    pub(crate) shown: Vec<String>,
}

/// A section of a page.
pub(crate) fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let begin = format!("\n## {name}\n");
    let (_, rest) = page.split_once(&begin).expect("the section");
    rest.split("\n## ").next().unwrap_or_default()
}

/// The steps of all `console` blocks.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in text.split("\n```console").skip(1) {
        let (mark, rest) = block.split_once('\n').unwrap_or_default();
        let refused = mark.trim() == "refused";
        assert!(refused || mark.trim().is_empty(), "unknown mark {mark:?}");
        for line in rest.split("\n```").next().unwrap_or_default().lines() {
            let typed = line.strip_prefix("$ ").map(|command| (false, command));
            let typed = typed.or_else(|| Some((true, line.strip_prefix(OUTSIDE)?)));
            match typed {
                Some((outside, command)) => steps.push(Step {
                    outside,
                    refused,
                    command: command.to_owned(),
                    shown: Vec::new(),
                }),
                None if line.trim().is_empty() => {}
                None => steps.last_mut().expect("a command first").shown.push(line.to_owned()),
            }
        }
    }
    steps
}

impl Step {
    /// Whether every shown line is the beginning of a line that was printed, in
    /// order; else which one is not.
    pub(crate) fn agrees(&self, printed: &str) -> Result<(), String> {
        let mut lines = printed.lines().map(masked);
        for shown in &self.shown {
            let wanted = masked(shown);
            if !lines.any(|line| begins(&line, &wanted)) {
                return Err(format!("`{}` did not print {shown:?}, but:\n{printed}", self.command));
            }
        }
        Ok(())
    }

    /// Whether it only looks: then it may be typed again until it shows what
    /// it should. What was started may need a moment to come up.
    pub(crate) fn looks(&self) -> bool {
        let mut words = self.command.split_whitespace().skip_while(|word| *word == "sudo");
        let program = match (words.next(), words.next()) {
            (Some("klee"), Some("exec")) => words.nth(1),
            (first, _) => first,
        };
        let changes = [" add ", " del ", " set ", " POST ", " flush "];
        matches!(program, Some("curl" | "ip" | "nft" | "ss" | "sysctl"))
            && !changes.iter().any(|word| self.command.contains(word))
    }
}

/// A line without what differs from run to run: ids, numbers of cables, the
/// width of columns.
fn masked(line: &str) -> String {
    line.split_whitespace().map(masked_word).collect::<Vec<_>>().join(" ")
}

fn masked_word(word: &str) -> String {
    let is_id = word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    if is_id {
        return "ID".to_owned();
    }
    let (name, peer) = word.split_once("@if").map_or((word, ""), |(name, _)| (name, "@ifN"));
    // The next cable has another number while the kernel still knows the last.
    let bare = name.trim_matches('"');
    let end = bare.strip_prefix("epair").map(|rest| (rest.trim_end_matches(['a', 'b']), rest));
    match end {
        Some((number, rest)) if number.parse::<u32>().is_ok() && number != rest => {
            format!("{}{peer}", name.replace(number, "N"))
        }
        _ => format!("{name}{peer}"),
    }
}

/// Whether `line` begins with `wanted`, in which [`ANYTHING`] stands for
/// anything.
fn begins(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split(ANYTHING).map(str::trim);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[test]
fn lines_are_masked() {
    assert_eq!(masked("epair0b@if7      UP   10.4.6.2/24"), "epairNb@ifN UP 10.4.6.2/24");
    assert_eq!(
        masked("elements = { \"epair12a\" . 10.4.6.2 }"),
        "elements = { \"epairNa\" . 10.4.6.2 }"
    );
    assert_eq!(masked("executable 2fc5447ef1e8 and"), "executable ID and");
}

#[test]
fn anything_may_stand_between() {
    assert!(begins("eth0@ifN UP 192.0.2.2/24 fe80::1/64", "eth0@ifN … 192.0.2.2/24"));
    assert!(begins("eth0 UP", "eth0 …") && begins("abc", "…b"));
    assert!(!begins("eth0@ifN UP 192.0.2.2/24", "eth0@ifN … 192.0.2.3/24"));
    assert!(!begins("xeth0", "eth0"));
}

#[test]
fn steps_are_taken_apart() {
    let page = "# P\n\n## One\n\nText.\n\n```console\n$ a b\nx\n\ny\noutside$ c\n```\n\n\
                ```console refused\n$ klee exec it ip addr add x\nno\n```\n\n## Two\n";
    let steps = steps(section(page, "One"));
    let short = |step: &Step| (step.outside, step.refused, step.command.clone(), step.shown.len());
    assert_eq!(
        steps.iter().map(short).collect::<Vec<_>>(),
        [
            (false, false, "a b".to_owned(), 2),
            (true, false, "c".to_owned(), 0),
            (false, true, "klee exec it ip addr add x".to_owned(), 1)
        ]
    );
    assert!(!steps[2].looks());
    let step = Step {
        command: "klee exec it ip -br addr".to_owned(),
        ..steps.into_iter().next().unwrap()
    };
    assert!(step.looks());
    assert!(step.agrees("w\nx 1\ny 2\n").is_ok() && step.agrees("y\nx\n").is_err());
}
