//! What may differ between the recordings and the simulation, by name.

/// A kind of text that is not the same twice on a real system either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mask {
    /// Ethernet addresses that the kernel chose; those that somebody set stay.
    Mac,
    /// Link-local addresses that are made of such an Ethernet address.
    LinkLocal,
    /// How long pf is enabled.
    Uptime,
    /// Counters of pf's rules, and the process that loaded them.
    RuleCounters,
    /// Counters behind the labels of pf.
    LabelCounters,
    /// Counters of pf as a whole.
    PfCounters,
    /// Packets and bytes of interfaces.
    InterfaceCounters,
    /// When a table was cleared.
    Cleared,
    /// Numbers of processes.
    Pid,
    /// Processor time of processes.
    ProcessTime,
    /// When the kernel started.
    BootTime,
    /// The bytes of `kern.boot_id`.
    BootId,
    /// The size of the kernel, and of what it measured of the machine.
    Size,
    /// How long a neighbour is kept.
    NeighbourTime,
    /// How many states real packets had made when all were cleared.
    States,
}

impl Mask {
    pub(crate) const ALL: &[Self] = &[
        Self::Mac,
        Self::LinkLocal,
        Self::Uptime,
        Self::RuleCounters,
        Self::LabelCounters,
        Self::PfCounters,
        Self::InterfaceCounters,
        Self::Cleared,
        Self::Pid,
        Self::ProcessTime,
        Self::BootTime,
        Self::BootId,
        Self::Size,
        Self::NeighbourTime,
        Self::States,
    ];

    fn apply(self, line: &str, macs: &mut Vec<String>) -> String {
        match self {
            Self::Mac => mac(line, macs),
            Self::LinkLocal => link_local(line),
            Self::States => match line.split_once(' ') {
                Some((_, "states cleared")) => "N states cleared".to_owned(),
                _ => line.to_owned(),
            },
            Self::Uptime => match line.split_once(" for ") {
                Some((status, _)) if line.starts_with("Status: ") => format!("{status} for TIME"),
                _ => line.to_owned(),
            },
            Self::RuleCounters => match line.trim_start().split_once(": ") {
                Some((word @ ("[ Evaluations" | "[ Inserted"), _)) => format!("  {word}"),
                _ => line.to_owned(),
            },
            Self::LabelCounters => {
                let counters: Vec<&str> = line.split(' ').skip(1).collect();
                let number = |word: &&str| word.parse::<u64>().is_ok();
                if counters.len() == 8 && counters.iter().all(number) {
                    format!("{} COUNTERS", line.split(' ').next().unwrap_or_default())
                } else {
                    line.to_owned()
                }
            }
            Self::PfCounters => {
                let known =
                    ["current entries", "searches", "inserts", "removals", "match", "proto-cksum"];
                match known.iter().find(|word| line.trim_start().starts_with(**word)) {
                    Some(word) if line.starts_with("  ") => format!("  {word} COUNTER"),
                    _ => line.to_owned(),
                }
            }
            Self::InterfaceCounters => {
                numbers_behind(line, &["-packets\":", "-bytes\":"], line.starts_with("{\"stat"))
            }
            Self::Cleared => match line.split_once("Cleared:") {
                Some((before, _)) => format!("{before}Cleared: TIME"),
                None => line.to_owned(),
            },
            Self::Pid => {
                let socket = line.starts_with("root     ") && line.len() > 24;
                let process = line.trim_start_matches(|c: char| c.is_ascii_digit());
                if process.len() < line.len() && process.contains(" SC+J ") {
                    return format!("PID{process}");
                }
                let line = numbers_behind(line, &["\"pid\":\""], true);
                if socket { format!("{}PID{}", &line[..20], &line[25..]) } else { line }
            }
            Self::ProcessTime => words(line, |word| {
                let shape = word.len() == 7 && &word[1..2] == ":" && &word[4..5] == ".";
                shape.then(|| "TIME".to_owned())
            }),
            Self::BootTime => match line.split_once("{ sec = ") {
                Some((before, _)) => format!("{before}{{ sec = TIME"),
                None => line.to_owned(),
            },
            Self::BootId => match line.split_once("Dump:0x") {
                Some((before, _)) => format!("{before}Dump:ID"),
                None => line.to_owned(),
            },
            Self::Size => match line.split_once("0xffffffff80200000") {
                Some((before, _)) => format!("{before}SIZE"),
                None => line.to_owned(),
            },
            Self::NeighbourTime => match line.split_once(" expires in ") {
                Some((before, after)) => {
                    let after = after.split_once(' ').map_or("", |(_, after)| after);
                    format!("{before} expires in TIME {after}")
                }
                None => numbers_behind(line, &["\"expires\":"], true),
            },
        }
    }
}

fn mac(line: &str, macs: &mut Vec<String>) -> String {
    words(line, |word| {
        let hex = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is = word.split(':').count() == 6 && word.split(':').all(hex);
        let set = ["02:6b:", "00:00:", "58:9c:"].iter().any(|one| word.starts_with(one));
        if !is || set {
            return None;
        }
        let at = macs.iter().position(|one| one == word).unwrap_or_else(|| {
            macs.push(word.to_owned());
            macs.len() - 1
        });
        Some(format!("MAC{at}"))
    })
}

fn link_local(line: &str) -> String {
    let replaced = words(line, |word| {
        let (ip, rest) = word.split_once('%').unwrap_or((word, ""));
        let made = ip.starts_with("fe80::") && ip.contains("ff:fe") && !ip.contains("9c:fc");
        made.then(|| format!("fe80::MAC%{rest}"))
    });
    if replaced == line {
        return replaced;
    }
    // Columns follow the length of the address.
    let start = replaced.len() - replaced.trim_start().len();
    let columns = replaced.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{columns}", &replaced[..start])
}

/// Replaces words; what stands between them stays.
fn words(line: &str, mut replace: impl FnMut(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let inside = |c: char| c.is_ascii_alphanumeric() || ":%./".contains(c);
    let mut rest = line;
    while !rest.is_empty() {
        let start = rest.find(inside).unwrap_or(rest.len());
        result.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        result.push_str(&replace(word).unwrap_or_else(|| word.to_owned()));
        rest = &rest[end..];
    }
    result
}

/// Replaces the numbers that follow some words.
fn numbers_behind(line: &str, before: &[&str], does: bool) -> String {
    let mut line = line.to_owned();
    for before in before.iter().filter(|_| does) {
        let mut from = 0;
        while let Some(at) = line[from..].find(before) {
            let start = from + at + before.len();
            let end = line[start..].find(|c: char| !c.is_ascii_digit());
            let end = end.map_or(line.len(), |end| start + end);
            line.replace_range(start..end, "N");
            from = start;
        }
    }
    line
}

/// Lines with all that may differ taken out. Ethernet addresses are numbered in the
/// order in which they appear, so that the same one is the same everywhere.
pub(crate) fn masked<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut macs = Vec::new();
    let one = |line: &str| {
        let start = line.to_owned();
        let done = Mask::ALL.iter().fold(start, |line, mask| mask.apply(&line, &mut macs));
        done.trim_end().to_owned()
    };
    lines.into_iter().map(one).collect()
}

#[test]
fn masks_take_out_what_they_are_for_and_nothing_else() {
    let same = |a: &str, b: &str| masked(a.lines()) == masked(b.lines());
    assert!(same("\tether 02:84:b3:2e:ba:0a", "\tether 02:11:22:33:44:0a"));
    let twice = "02:84:b3:2e:ba:0a\n02:84:b3:2e:ba:0a";
    assert!(same(twice, twice) && !same(twice, "02:84:b3:2e:ba:0a\n02:84:b3:2e:ba:0b"));
    assert!(!same("\tether 02:6b:00:00:00:01", "\tether 02:6b:00:00:00:02"));
    assert!(!same("\tinet 10.2.3.1/32", "\tinet 10.2.3.2/32"));
    assert!(same("a 1 2 3 4 5 6 7 8", "a 0 0 0 0 0 0 0 0"));
    assert!(!same("a 1 2 3 4 5 6 7 8", "b 1 2 3 4 5 6 7 8"));
    assert!(!same("pass all no state", "pass all"));
    assert!(same("x fe80::84:b3ff:fe2e:ba0b%e", "x fe80::1:2ff:fe03:4%e"));
    assert!(!same("fe80::1%lo0", "fe80::2%lo0"));
}
