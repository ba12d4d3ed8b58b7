//! What klee prints, and where.
//!
//! stdout carries data: ids, tables, JSON, a command's output. Kleene's own
//! lines around an attached command, and how far an image is, go to stdout too
//! when it is a terminal, as users of 0.1.1 know it, and else to stderr, so that
//! a pipe gets the command's output, or the id, and nothing else. Errors and
//! hints go to stderr.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;
use crate::stdio::Output;

/// The way to stdout and stderr.
pub(crate) struct Ui {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    talk_to_stdout: bool,
}

impl Ui {
    /// The process's own stdout and stderr, stdout locked.
    pub(crate) fn standard() -> Self {
        let out = io::stdout().lock();
        let talk_to_stdout = out.is_terminal();
        Self { out: Box::new(out), err: Box::new(io::stderr()), talk_to_stdout }
    }

    /// Whether stdout is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.talk_to_stdout
    }

    /// One line of data.
    pub(crate) fn data(&mut self, line: &str) -> Result<(), Failure> {
        write_line(&mut self.out, line).map_err(Failure::Stdout)
    }

    /// One line of Kleene's own around what was asked for.
    pub(crate) fn talk(&mut self, line: &str) -> Result<(), Failure> {
        if self.talk_to_stdout {
            return self.data(line);
        }
        self.note(line);
        Ok(())
    }

    /// Where [`Self::talk`] goes, for what comes in pieces.
    pub(crate) fn talk_output(&self) -> Output {
        if self.talk_to_stdout { Output::stdout() } else { Output::stderr() }
    }

    /// A question, without an end of line, and the cursor behind it.
    pub(crate) fn ask(&mut self, question: &str) {
        // Whoever closed stderr does not want to read it.
        write!(self.err, "{question}").and_then(|()| self.err.flush()).ok();
    }

    /// One line on stderr.
    pub(crate) fn note(&mut self, line: &str) {
        // Whoever closed stderr does not want to read it.
        write_line(&mut self.err, line).ok();
    }

    /// A failure: its whole chain, then its hints and notes.
    pub(crate) fn failure(&mut self, about: Option<&str>, failure: &Failure) {
        let Some(text) = failure.text() else { return };
        match about {
            Some(about) => self.note(&format!("{about}: {text}")),
            None => self.note(&text),
        }
        for hint in failure.hints() {
            self.note(&format!("hint: {hint}"));
        }
        for note in failure.notes() {
            self.note(&note);
        }
    }
}

fn write_line(to: &mut dyn Write, line: &str) -> io::Result<()> {
    let mut whole = String::with_capacity(line.len() + 1);
    whole.push_str(line);
    whole.push('\n');
    to.write_all(whole.as_bytes())?;
    to.flush()
}
