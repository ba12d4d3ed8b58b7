//! What became of the checks.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a check did not get to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Something is not as it has to be.
    Fails {
        /// What has to be.
        expected: String,
        /// What is.
        seen: String,
    },
    /// It cannot be tried on this system, for this reason.
    Cannot(String),
    /// Somebody ended the program.
    Interrupted,
}

/// Whether a check got to its end.
pub type Done<T = ()> = Result<T, Ended>;

/// A check that does not hold.
pub fn fails<T>(expected: impl Into<String>, seen: impl Into<String>) -> Done<T> {
    Err(Ended::Fails { expected: expected.into(), seen: seen.into() })
}

/// Holds a check to a condition.
///
/// # Errors
/// [`Ended::Fails`].
pub fn want(holds: bool, expected: impl Into<String>, seen: impl Into<String>) -> Done {
    if holds { Ok(()) } else { fails(expected, seen) }
}

/// What became of one check.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub what: &'static str,
    /// How it ended.
    pub ended: Done,
    /// The commands to see it again.
    pub again: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Its line, and what is wrong below it.
    #[must_use]
    pub fn lines(&self) -> String {
        let Self { name, what, ended, again, took } = self;
        let seconds = took.as_secs_f32();
        let head = |word: &str| format!("{word:<6} {name:<22} {what} ({seconds:.1} s)\n");
        match ended {
            Ok(()) => head("holds"),
            Err(Ended::Cannot(why)) => {
                format!("{:<6} {name:<22} {what}\n       cannot be tried here: {why}\n", "-")
            }
            Err(Ended::Interrupted) => {
                format!("{:<6} {name:<22} {what}\n       interrupted\n", "-")
            }
            Err(Ended::Fails { expected, seen }) => {
                let mut text = head("fails");
                for (label, said) in [("expected", expected), ("seen", seen)] {
                    for (number, line) in said.lines().enumerate() {
                        let label = if number == 0 { format!("{label}:") } else { String::new() };
                        // Writing to a text cannot fail.
                        let _ = writeln!(text, "       {label:<10}{line}");
                    }
                }
                for (number, line) in again.iter().enumerate() {
                    let label = if number == 0 { "again:" } else { "" };
                    let _ = writeln!(text, "       {label:<10}{line}");
                }
                text
            }
        }
    }
}

/// How many checks ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// That hold.
    pub hold: usize,
    /// That fail.
    pub fail: usize,
    /// That could not be tried.
    pub untried: usize,
}

impl Counts {
    /// Counts them.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome.ended {
                Ok(()) => counts.hold += 1,
                Err(Ended::Fails { .. }) => counts.fail += 1,
                Err(Ended::Cannot(_) | Ended::Interrupted) => counts.untried += 1,
            }
        }
        counts
    }

    /// The last line.
    #[must_use]
    pub fn line(&self, took: Duration) -> String {
        let Self { hold, fail, untried } = self;
        let seconds = took.as_secs_f32();
        format!("{hold} hold, {fail} fail, {untried} could not be tried; {seconds:.0} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ended: Done) -> Outcome {
        Outcome {
            name: "rule-2",
            what: "the same network",
            ended,
            again: vec!["jexec c0ffee000001 ping 10.2.3.1".to_owned(), "jls".to_owned()],
            took: Duration::from_millis(1250),
        }
    }

    #[test]
    fn each_check_is_one_line_and_what_is_wrong_stands_below_it() {
        assert_eq!(
            outcome(Ok(())).lines(),
            "holds  rule-2                 the same network (1.2 s)\n"
        );
        assert_eq!(
            outcome(Err(Ended::Cannot("the kernel has no VIMAGE".to_owned()))).lines(),
            "-      rule-2                 the same network\n       \
             cannot be tried here: the kernel has no VIMAGE\n"
        );
        assert_eq!(
            outcome(fails("A2 answers\nB2 does not", "no answer in 1 s")).lines(),
            "fails  rule-2                 the same network (1.2 s)\n       \
             expected: A2 answers\n                 B2 does not\n       \
             seen:     no answer in 1 s\n       \
             again:    jexec c0ffee000001 ping 10.2.3.1\n                 jls\n"
        );
    }

    #[test]
    fn the_end_counts_all_of_them() {
        let ends = [
            Ok(()),
            fails("a", "b"),
            Err(Ended::Cannot(String::new())),
            Err(Ended::Interrupted),
            want(true, "a", "b"),
        ];
        let outcomes: Vec<Outcome> = ends.into_iter().map(outcome).collect();
        let counts = Counts::of(&outcomes);
        assert_eq!(counts, Counts { hold: 2, fail: 1, untried: 2 });
        assert_eq!(
            counts.line(Duration::from_secs(90)),
            "2 hold, 1 fail, 2 could not be tried; 90 s"
        );
    }
}
