//! Calls that go wrong because a test wants them to.

use crate::freebsd::run::{Answer, Call, Tool};

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with status 1 and "simulated failure", before it did anything.
    Refused,
    /// It does its work, and is refused afterwards: its caller cannot know.
    RefusedAfterwards,
    /// It does its work and succeeds, but only so many bytes of its output arrive.
    Cut(usize),
}

/// Which calls go wrong.
#[derive(Debug, Clone)]
pub(crate) enum When {
    /// The one of this number, counted from 1.
    Nth(u64),
    /// Every one of a tool with these words among its arguments, in this order.
    Matching(Tool, Vec<String>),
}

/// A fault, and when it happens.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) when: When,
    pub(crate) fault: Fault,
}

impl Planned {
    pub(crate) fn meets(&self, number: u64, call: &Call) -> bool {
        match &self.when {
            When::Nth(nth) => *nth == number,
            When::Matching(tool, words) => {
                let mut args = call.args.iter();
                call.tool == *tool && words.iter().all(|word| args.any(|arg| arg == word))
            }
        }
    }
}

/// The answer of a call that is refused because of a [`Fault`].
pub(crate) fn refusal(call: &Call) -> Answer {
    let stderr = format!("{}: simulated failure\n", call.tool);
    Answer { status: 1, stdout: String::new(), stderr }
}

/// An answer of which only the first bytes arrive.
pub(crate) fn cut(answer: Answer, bytes: usize) -> Answer {
    let mut end = bytes.min(answer.stdout.len());
    while !answer.stdout.is_char_boundary(end) {
        end -= 1;
    }
    Answer { stdout: answer.stdout[..end].to_owned(), ..answer }
}
