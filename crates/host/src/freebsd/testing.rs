//! A scripted stand-in for the base system's tools.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::run::{Answer, Call, ToolError, Tools};
use super::vectors::is_listed;

/// Expects calls in their order and gives the answers that it was told. What was
/// expected and did not come fails the test when this is dropped.
#[derive(Default)]
pub(crate) struct Scripted {
    expected: Mutex<VecDeque<(String, Answer)>>,
    /// The standard input of each call.
    inputs: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Expects this call, as somebody would type it, which succeeds without a word.
    pub(crate) fn expect(self, call: &str) -> Self {
        self.answer(call, 0, "", "")
    }

    /// Expects this call, which succeeds with this output.
    pub(crate) fn says(self, call: &str, stdout: &str) -> Self {
        self.answer(call, 0, stdout, "")
    }

    /// Expects this call, which is refused with status 1 and these words.
    pub(crate) fn refuses(self, call: &str, stderr: &str) -> Self {
        self.answer(call, 1, "", stderr)
    }

    /// Expects this call and answers all of this.
    pub(crate) fn answer(mut self, call: &str, status: i32, stdout: &str, stderr: &str) -> Self {
        let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
        let expected = self.expected.get_mut().unwrap_or_else(PoisonError::into_inner);
        expected.push_back((call.to_owned(), Answer { status, stdout, stderr }));
        self
    }

    /// What was written to each tool so far.
    pub(crate) fn inputs(&self) -> Vec<String> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Tools for Scripted {
    fn call(&self, call: &Call) -> Result<Answer, ToolError> {
        let typed = call.to_string();
        assert!(is_listed(call), "'{typed}' is in no list of vectors");
        let input = String::from_utf8_lossy(&call.stdin).into_owned();
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).push(input);
        let next = self.expected.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (expected, answer) = next.unwrap_or_else(|| panic!("nobody expects '{typed}'"));
        assert_eq!(typed, expected);
        Ok(answer)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<&String> = expected.iter().map(|(call, _)| call).collect();
        assert!(left.is_empty(), "these calls were expected: {left:?}");
    }
}

#[test]
fn calls_come_in_their_order_with_their_input() {
    use super::run::Tool;

    let show = |number| Call::new(Tool::Devfs, ["rule", "-s", number, "show"]).with_stdin(number);
    let tools = Scripted::new().says("devfs rule -s 1 show", "x").expect("devfs rule -s 2 show");
    assert_eq!(tools.run(&show("1")).expect("an answer").stdout, "x");
    tools.run(&show("2")).expect("an answer");
    assert_eq!(tools.inputs(), ["1", "2"]);
    let other = std::panic::catch_unwind(|| {
        Scripted::new().expect("devfs rule -s 1 show").run(&show("2")).map(drop)
    });
    assert!(other.is_err());
}
