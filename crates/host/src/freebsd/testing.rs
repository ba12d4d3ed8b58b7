//! A scripted stand-in for the base system's tools.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::run::{Answer, Call, ToolError, Tools};
use super::{datasets, devfs, image, jail, mounts};

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

/// Whether a call has the form of one that a module lists.
fn is_listed(call: &Call) -> bool {
    let lists = [datasets::VECTORS, devfs::VECTORS, image::VECTORS, jail::VECTORS, mounts::VECTORS];
    let tool = call.tool.to_string();
    let words: Vec<&str> =
        std::iter::once(&*tool).chain(call.args.iter().map(String::as_str)).collect();
    lists.iter().copied().flatten().any(|form| is_of(form, &words))
}

/// Whether words have a form: `{name}` stands for any text that is not empty, a
/// last word `{…}` for any number of words.
fn is_of(form: &str, words: &[&str]) -> bool {
    let forms: Vec<&str> = form.split(' ').collect();
    let (forms, open) = match forms.split_last() {
        Some((&"{…}", first)) => (first, true),
        _ => (&forms[..], false),
    };
    let length = if open { words.len() >= forms.len() } else { words.len() == forms.len() };
    length && forms.iter().zip(words).all(|(form, word)| is_word_of(form, word))
}

fn is_word_of(form: &str, word: &str) -> bool {
    match form.split_once('{') {
        None => form == word,
        Some((before, rest)) => {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            let inner = word.strip_prefix(before);
            // What follows a place is found where it comes first.
            inner.is_some_and(|inner| match after.split('{').next().unwrap_or_default() {
                "" if after.is_empty() => !inner.is_empty(),
                "" => false,
                fixed => inner
                    .match_indices(fixed)
                    .any(|(at, _)| at > 0 && is_word_of(after, &inner[at..])),
            })
        }
    }
}

#[test]
fn forms_are_told_apart() {
    let is = |form: &str, typed: &str| is_of(form, &typed.split(' ').collect::<Vec<_>>());
    assert!(is("umount {target}", "umount /a") && !is("umount {target}", "umount -f /a"));
    assert!(is("x a={a},b={b}", "x a=1,b=2") && !is("x a={a},b={b}", "x a=1,b="));
    assert!(is("jail -c {…}", "jail -c a b") && !is("jail -c {…}", "jail -m a b"));
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
