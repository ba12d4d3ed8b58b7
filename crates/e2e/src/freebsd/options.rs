//! The command line.

use std::path::PathBuf;

/// How the program is used.
pub const USE: &str = "\
Checks Kleene on this FreeBSD: its networks, drivers and policy, with real packets.

    freebsd-accept [--dir DIR] [--only WORD]… [--record FILE] [--replace-pf]
    freebsd-accept --list

--dir DIR       where everything of this run lies [default: a directory below /tmp]
--only WORD     only the checks with this word in their name; may be repeated
--record FILE   write every command and its answer down, and keep the daemon's log
                as FILE.kleened.log
--replace-pf    also where pf has rules; /etc/pf.conf is loaded in the end
--list          name the checks
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Options {
    /// To run checks.
    Run(Run),
    /// To name them.
    List,
    /// To be told how it is used.
    Help,
    /// To be the socket of a check.
    Probe(Vec<String>),
}

/// A run of checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Where everything of the run lies.
    pub dir: Option<PathBuf>,
    /// Words in the names of those that are run; none: all.
    pub only: Vec<String>,
    /// Where commands and answers are written down.
    pub record: Option<PathBuf>,
    /// Whether rules of pf may be replaced.
    pub replace_pf: bool,
}

impl Run {
    /// Whether a check of this name is run.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.contains(word.as_str()))
    }
}

impl Options {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn read(words: &[String]) -> Result<Self, String> {
        if let Some((first, rest)) = words.split_first() {
            match first.as_str() {
                "--probe" => return Ok(Self::Probe(rest.to_vec())),
                "--list" if rest.is_empty() => return Ok(Self::List),
                "--help" | "-h" => return Ok(Self::Help),
                _ => {}
            }
        }
        let mut run = Run::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--dir" => {
                    let dir = PathBuf::from(value()?);
                    if !dir.is_absolute() {
                        return Err(format!("--dir {}: not an absolute path", dir.display()));
                    }
                    run.dir = Some(dir);
                }
                "--only" => run.only.push(value()?.clone()),
                "--record" => run.record = Some(value()?.into()),
                "--replace-pf" => run.replace_pf = true,
                other => return Err(format!("unknown: {other}")),
            }
        }
        Ok(Self::Run(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::read(&words)
    }

    #[test]
    fn words_are_understood() {
        assert_eq!(read(""), Ok(Options::Run(Run::default())));
        assert_eq!(read("--list"), Ok(Options::List));
        assert_eq!(read("--help"), Ok(Options::Help));
        let words = ["tcp", "10.2.3.1", "80"].map(str::to_owned).to_vec();
        assert_eq!(read("--probe tcp 10.2.3.1 80"), Ok(Options::Probe(words)));
        let run = Run {
            dir: Some("/var/tmp/a".into()),
            only: vec!["rule".to_owned(), "pf".to_owned()],
            record: Some("seen.txt".into()),
            replace_pf: true,
        };
        let line = "--dir /var/tmp/a --only rule --record seen.txt --only pf --replace-pf";
        assert_eq!(read(line), Ok(Options::Run(run)));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--dir", "--dir here", "--list all", "--sleep", "rule-2", "--only"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn words_choose_checks_by_their_names() {
        let Ok(Options::Run(run)) = read("--only rule --only pf-") else {
            unreachable!("it is a run")
        };
        assert!(run.wants("rule-2") && run.wants("pf-flushed") && !run.wants("driver-host"));
        assert!(Run::default().wants("driver-host"));
    }
}
