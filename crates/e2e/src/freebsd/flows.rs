//! Flows of the layout, as lines of text: who asks whom on which port, and what has to
//! become of it, over TCP and UDP in both families.
//!
//! ```text
//! a1  -> c1:80    C1            the service of c1 answers
//! out -> host:80  A1 sees out   and sees that the question came from there
//! a1  -> c1:81    refused       at once, by an error
//! out -> a1:81    silent        there is no answer
//! far -> host:81  nobody        one or the other: it is nobody's business here
//! ```

use std::net::IpAddr;
use std::str::FromStr;

use super::layout::addresses;
use super::probe::Heard;

/// What has to become of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// The service of this name answers; and sees this one ask.
    Answer(String, Option<String>),
    /// The one who asks gets an error at once.
    Refused,
    /// Nobody answers in time.
    Silent,
    /// Nobody answers.
    Nobody,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who asks.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// On which port.
    pub port: u16,
    /// What has to become of it.
    pub want: Want,
}

impl FromStr for Row {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let strange = || format!("'{line}' is no flow");
        let [from, "->", whom, ref rest @ ..] = words[..] else { return Err(strange()) };
        let (to, port) = whom.split_once(':').ok_or_else(strange)?;
        let want = match rest {
            ["refused"] => Want::Refused,
            ["silent"] => Want::Silent,
            ["nobody"] => Want::Nobody,
            [name] => Want::Answer((*name).to_owned(), None),
            [name, "sees", who] => Want::Answer((*name).to_owned(), Some((*who).to_owned())),
            _ => return Err(strange()),
        };
        let port = port.parse().map_err(|_| strange())?;
        Ok(Self { from: from.to_owned(), to: to.to_owned(), port, want })
    }
}

impl Row {
    /// All rows of a text; empty lines are none.
    ///
    /// # Errors
    /// The first line that is no flow.
    pub fn all(text: &str) -> Result<Vec<Self>, String> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::parse).collect()
    }
}

impl Want {
    /// Whether that is what was heard. `family` is 0 for IPv4 and 1 for IPv6.
    #[must_use]
    pub fn is(&self, heard: &Heard, family: usize) -> bool {
        match self {
            Self::Refused => is_refusal(heard),
            Self::Silent => *heard == Heard::Silence,
            Self::Nobody => *heard == Heard::Silence || is_refusal(heard),
            Self::Answer(name, seen) => {
                let who = |who: &String| -> Option<IpAddr> { Some(addresses(who)?[family]) };
                let asked = heard.seen().map(|seen| seen.ip());
                heard.name() == Some(name) && seen.as_ref().is_none_or(|seen| who(seen) == asked)
            }
        }
    }

    /// In words.
    #[must_use]
    pub fn words(&self, family: usize) -> String {
        match self {
            Self::Refused => "refused at once".to_owned(),
            Self::Silent => "no answer".to_owned(),
            Self::Nobody => "an error or no answer".to_owned(),
            Self::Answer(name, None) => format!("{name} answers"),
            Self::Answer(name, Some(who)) => match addresses(who) {
                Some(pair) => format!("{name} answers, and sees {}", pair[family]),
                None => format!("{name} answers, and sees {who}"),
            },
        }
    }
}

/// Refused by pf: on the way out by the call itself, else by an answer (FreeBSD 13.2).
fn is_refusal(heard: &Heard) -> bool {
    let Heard::Refused { step, errno } = heard else { return false };
    *step != "bind" && ["EACCES", "ECONNREFUSED"].contains(&errno.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> Heard {
        Heard::parse(line).expect(line)
    }

    #[test]
    fn lines_are_read() {
        let rows = Row::all("\n a1 -> c1:80  C1\n out -> host:8081 A1 sees out\n").expect("rows");
        assert_eq!((rows[0].from.as_str(), rows[0].to.as_str(), rows[0].port), ("a1", "c1", 80));
        assert_eq!(rows[0].want, Want::Answer("C1".to_owned(), None));
        assert_eq!(rows[1].want, Want::Answer("A1".to_owned(), Some("out".to_owned())));
        for bad in ["a1 c1:80 C1", "a1 -> c1 C1", "a1 -> c1:80", "a1 -> c1:x C1", "a -> b:1 C by d"]
        {
            assert!(bad.parse::<Row>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_heard_is_held_to_what_has_to_be() {
        let answer = heard("from 192.0.2.2:45528: A1 saw 192.0.2.2:45528 at 10.2.3.1:80");
        let is = |line: &str, heard: &Heard| {
            let row: Row = format!("out -> host:80 {line}").parse().expect("a row");
            row.want.is(heard, 0)
        };
        assert!(is("A1", &answer) && is("A1 sees out", &answer));
        assert!(!is("A2", &answer) && !is("A1 sees far", &answer) && !is("refused", &answer));
        for error in ["connect: ECONNREFUSED", "connect: EACCES", "recv: ECONNREFUSED"] {
            let heard = heard(error);
            assert!(is("refused", &heard) && is("nobody", &heard), "{error}");
            assert!(!is("silent", &heard) && !is("A1", &heard), "{error}");
        }
        // No word of pf's.
        for error in ["connect: ENETUNREACH", "bind: EACCES", "connect: EHOSTUNREACH"] {
            assert!(!is("refused", &heard(error)) && !is("nobody", &heard(error)), "{error}");
        }
        let silence = heard("connect: no answer in 1 s");
        assert!(is("silent", &silence) && is("nobody", &silence) && !is("refused", &silence));
    }
}
