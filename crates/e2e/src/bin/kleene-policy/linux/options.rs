//! The command line.

use std::time::SystemTime;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) flows: usize,
    pub(crate) seed: u64,
    /// How many at most; as many as the flows need if absent.
    pub(crate) topologies: Option<usize>,
    /// The number of the first topology, to see one of them again.
    pub(crate) first: usize,
    /// Counts disagreements instead of ending with the first.
    pub(crate) keep_going: bool,
    pub(crate) table: Option<String>,
    /// Words that are no options.
    pub(crate) names: Vec<String>,
}

impl Options {
    pub(crate) fn read(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            flows: 2000,
            seed: now(),
            topologies: None,
            first: 0,
            keep_going: false,
            table: None,
            names: Vec::new(),
        };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--keep-going" {
                options.keep_going = true;
                continue;
            }
            if !arg.starts_with("--") {
                options.names.push(arg.clone());
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{arg} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{arg} {value}: no number"));
            match arg.as_str() {
                "--flows" => options.flows = number()?,
                "--seed" => {
                    options.seed =
                        value.parse().map_err(|_| format!("--seed {value}: no number"))?;
                }
                "--topologies" => options.topologies = Some(number()?),
                "--first" => options.first = number()?,
                "--table" => options.table = Some(value.clone()),
                _ => return Err(format!("unknown option {arg}")),
            }
        }
        Ok(options)
    }
}

/// Another one each time; it is printed.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}
