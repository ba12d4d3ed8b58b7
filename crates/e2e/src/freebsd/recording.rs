//! What tools were told and answered, in the form of the recordings from which
//! Kleene's FreeBSD half was written: written, and read.
//!
//! ```text
//! == a section
//! -- a remark
//! #### ifconfig lo create name kleene0
//! out| lo2
//! err| ifconfig: ioctl SIOCSIFNAME (set name): File exists
//! rc | 1
//! ```
//!
//! A line without a mark is one of the kernel's on its console. Whether the last line
//! of an output had an end is not kept.

use std::fmt::{self, Write as _};

/// A file of recordings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// The lines before the first section.
    pub head: Vec<String>,
    /// What was done, by subject.
    pub sections: Vec<Section>,
}

/// What was done about one subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The subject.
    pub name: String,
    /// In the order of time.
    pub entries: Vec<Entry>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// What the recorder remarks.
    Remark(String),
    /// What the kernel said beside commands.
    Console(String),
    /// A command and its answer.
    Command(Command),
}

/// A command and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// As a shell would be given it.
    pub line: String,
    /// What came, in this order.
    pub lines: Vec<Line>,
    /// Its exit status; `None` where the recording breaks off.
    pub status: Option<i32>,
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Of standard output.
    Out(String),
    /// Of standard error.
    Err(String),
    /// Of the kernel, on the console.
    Console(String),
}

impl Command {
    /// A command of which only the texts are known: output first.
    #[must_use]
    pub fn new(line: impl Into<String>, out: &str, err: &str, status: i32) -> Self {
        let out = out.lines().map(|line| Line::Out(line.to_owned()));
        let err = err.lines().map(|line| Line::Err(line.to_owned()));
        Self { line: line.into(), lines: out.chain(err).collect(), status: Some(status) }
    }

    /// Its standard output.
    #[must_use]
    pub fn out(&self) -> String {
        let lines = self.lines.iter();
        lines
            .filter_map(|line| if let Line::Out(text) = line { Some(text) } else { None })
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#### {}", self.line)?;
        for line in &self.lines {
            match line {
                Line::Out(text) => writeln!(f, "out| {text}")?,
                Line::Err(text) => writeln!(f, "err| {text}")?,
                Line::Console(text) => writeln!(f, "{text}")?,
            }
        }
        self.status.map_or(Ok(()), |status| writeln!(f, "rc | {status}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remark(text) => writeln!(f, "-- {text}"),
            Self::Console(text) => writeln!(f, "{text}"),
            Self::Command(command) => command.fmt(f),
        }
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.head {
            writeln!(f, "{line}")?;
        }
        for section in &self.sections {
            writeln!(f, "\n== {}", section.name)?;
            for entry in &section.entries {
                entry.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl Recording {
    /// Reads a file of recordings. Every text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut recording = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("== ") {
                let section = Section { name: name.to_owned(), entries: Vec::new() };
                recording.sections.push(section);
                continue;
            }
            let Some(section) = recording.sections.last_mut() else {
                recording.head.push(line.to_owned());
                continue;
            };
            if let Some(command) = line.strip_prefix("#### ") {
                section.entries.push(Entry::Command(Command::read(command, &mut lines)));
            } else if let Some(text) = line.strip_prefix("-- ") {
                section.entries.push(Entry::Remark(text.to_owned()));
            } else if !line.is_empty() {
                section.entries.push(Entry::Console(line.to_owned()));
            }
        }
        // The empty line before the first section is the section's.
        while recording.head.last().is_some_and(String::is_empty) {
            recording.head.pop();
        }
        recording
    }

    /// All commands of all sections.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.sections.iter().flat_map(|section| &section.entries).filter_map(|entry| match entry {
            Entry::Command(command) => Some(command),
            Entry::Remark(_) | Entry::Console(_) => None,
        })
    }
}

impl Command {
    /// Reads an answer, up to its status, or to what cannot be a part of it.
    fn read<'a>(line: &str, rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Self {
        let mut command = Self { line: line.to_owned(), lines: Vec::new(), status: None };
        let marked = |line: &str, mark| {
            // An empty line may have lost its blank.
            let text = line.strip_prefix(mark)?;
            Some(text.strip_prefix(' ').unwrap_or(text).to_owned())
        };
        while let Some(next) = rest.next_if(|line| !begins_another(line)) {
            if let Some(status) = marked(next, "rc |") {
                command.status = status.trim().parse().ok();
                break;
            }
            let out = marked(next, "out|").map(Line::Out);
            let read = out.or_else(|| marked(next, "err|").map(Line::Err));
            command.lines.push(read.unwrap_or_else(|| Line::Console(next.to_owned())));
        }
        command
    }
}

fn begins_another(line: &str) -> bool {
    ["== ", "#### ", "-- "].iter().any(|mark| line.starts_with(mark))
}

/// A command that reads a text, as a shell would be given both in one line.
#[must_use]
pub fn piped(stdin: &[u8], command: &str) -> String {
    if stdin.is_empty() {
        return command.to_owned();
    }
    let mut line = String::from("printf '");
    for c in String::from_utf8_lossy(stdin).chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\\' => line.push_str("\\\\"),
            '%' => line.push_str("%%"),
            '\'' => line.push_str("'\\''"),
            c => line.push(c),
        }
    }
    // Writing to a text cannot fail.
    let _ = write!(line, "' | {command}");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as they were recorded on FreeBSD 13.2, from several places.
    const RECORDED: &str = "\
FreeBSD 13.2: what the base system's tools really answer

Worth noticing:
- A jail name of digits only is refused or taken for a jid.

== loopback network
#### ifconfig lo create name kleene0
lo1: changing name to 'kleene0'
out| kleene0
rc | 0
#### ifconfig lo create name kleene0
out| lo2
err| ifconfig: ioctl SIOCSIFNAME (set name): File exists
rc | 1

== rule 1: a container to its own addresses
-- a remark
#### jexec b1x ping -q -n -c1 -t1 10.9.9.1
out| PING 10.9.9.1 (10.9.9.1): 56 data bytes

--- 10.9.9.1 ping statistics ---
1 packets transmitted, 1 packets received, 0.0% packet loss
rc | 0
-- rule 1 wants: answer: agrees
kleene2: link state changed to UP
";

    #[test]
    fn what_was_recorded_is_read_and_written_again_as_it_was() {
        let recording = Recording::parse(RECORDED);
        assert_eq!(recording.to_string(), RECORDED);
        assert_eq!(recording.head.len(), 4);
        let commands: Vec<&Command> = recording.commands().collect();
        assert_eq!(commands.len(), 3);
        let [made, taken, ping] = commands[..] else { unreachable!("counted") };
        assert_eq!((made.out().as_str(), made.status), ("kleene0\n", Some(0)));
        assert_eq!(made.lines[0], Line::Console("lo1: changing name to 'kleene0'".to_owned()));
        let err = "ifconfig: ioctl SIOCSIFNAME (set name): File exists".to_owned();
        assert_eq!(taken.lines, [Line::Out("lo2".to_owned()), Line::Err(err)]);
        assert_eq!(taken.status, Some(1));
        // It lost its marks when it was recorded.
        assert_eq!(ping.lines.len(), 4);
        let entries = &recording.sections[1].entries;
        assert_eq!(entries[0], Entry::Remark("a remark".to_owned()));
        assert_eq!(entries[3], Entry::Console("kleene2: link state changed to UP".to_owned()));
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let hard = Command::new("sh -c 'x'", "== no section\n\n#### none\n", "rc | 7\n-- no", 3);
        let broken = Command { line: "halt".to_owned(), lines: Vec::new(), status: None };
        let section = |name: &str, entries| Section { name: name.to_owned(), entries };
        let recording = Recording {
            head: vec!["FreeBSD".to_owned(), String::new(), "more".to_owned()],
            sections: vec![
                section("empty", Vec::new()),
                section(
                    "two",
                    vec![
                        Entry::Command(hard),
                        Entry::Remark("== nor this".to_owned()),
                        Entry::Command(broken),
                        Entry::Command(Command::new("true", "", "", 0)),
                    ],
                ),
            ],
        };
        assert_eq!(Recording::parse(&recording.to_string()), recording);
    }

    #[test]
    fn a_recording_that_breaks_off_is_read_up_to_there() {
        let cut = "== a\n#### ifconfig -l\nout| lo0\n#### jls\nrc | x\n#### mount";
        let recording = Recording::parse(cut);
        let status: Vec<_> = recording.commands().map(|command| command.status).collect();
        assert_eq!(status, [None; 3]);
        assert_eq!(Recording::parse(""), Recording::default());
    }

    #[test]
    fn a_text_that_is_read_stands_in_the_line() {
        assert_eq!(piped(b"", "pfctl -s info"), "pfctl -s info");
        assert_eq!(
            piped(b"a \"b\" 'c' 5%\\\n", "pfctl -f -"),
            "printf 'a \"b\" '\\''c'\\'' 5%%\\\\\\n' | pfctl -f -"
        );
    }
}
