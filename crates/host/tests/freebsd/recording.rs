//! The recordings, read into runs, sections and commands.

/// A command as it was typed, and what came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Command {
    /// Its line in the file, counted from 1.
    pub(crate) line: usize,
    pub(crate) typed: String,
    /// What a here-text gave it.
    pub(crate) input: String,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
    pub(crate) status: Option<i32>,
}

/// What belongs together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    pub(crate) run: u8,
    pub(crate) name: String,
    pub(crate) commands: Vec<Command>,
}

/// Reads the file. Lines without a mark are messages of the kernel, `-- ` is the
/// recorder's.
pub(crate) fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut run, mut here) = (0, None::<String>);
    for (at, line) in text.lines().enumerate() {
        if let Some(number) = line.strip_prefix("RUN ") {
            run = number.parse().expect("the number of a run");
            continue;
        }
        if let Some(name) = line.strip_prefix("== ").filter(|_| run > 0) {
            sections.push(Section { run, name: name.to_owned(), ..Section::default() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(typed) = line.strip_prefix("#### ") {
            here = typed.rsplit_once("<<").map(|(_, word)| word.to_owned());
            let typed = typed.to_owned();
            section.commands.push(Command { line: at + 1, typed, ..Command::default() });
            continue;
        }
        let Some(command) = section.commands.last_mut() else { continue };
        if let Some(end) = &here {
            if line == end {
                here = None;
            } else {
                command.input += line;
                command.input.push('\n');
            }
            continue;
        }
        if let Some(status) = line.strip_prefix("rc | ") {
            command.status = Some(status.trim().parse().expect("a status"));
        } else if let Some(out) = line.strip_prefix("out| ") {
            // Output without an end of line has the status behind it.
            if let Some((out, status)) = out.rsplit_once("rc | ") {
                command.out.push(out.to_owned());
                command.status = Some(status.trim().parse().expect("a status"));
            } else {
                command.out.push(out.to_owned());
            }
        } else if let Some(err) = line.strip_prefix("err| ") {
            command.err.push(err.to_owned());
        }
    }
    sections
}
