//! runc's command line, as far as it is needed.

use std::{ffi::OsString, path::PathBuf};

use super::RuntimeError;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Make a container; start it, too, when `start`.
    Create { bundle: PathBuf, pid_file: Option<PathBuf>, start: bool },
    /// Start a container that was made.
    Start,
    /// Signal its first process.
    Kill { signal: String },
    /// Remove what is left of it; with `force` kill it first.
    Delete { force: bool },
    /// Print its state.
    State,
}

/// A whole command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// Where the states of containers are.
    pub(super) root: PathBuf,
    /// The container.
    pub(super) id: String,
    /// What to do with it.
    pub(super) command: Command,
}

#[derive(Default)]
struct Options {
    root: Option<PathBuf>,
    bundle: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    force: bool,
    words: Vec<String>,
}

/// Understands a command line without the program's name.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, RuntimeError> {
    let usage = |text: &str| RuntimeError::Usage(text.to_owned());
    let options = options(args)?;
    let mut words = options.words.into_iter();
    let command = words.next().ok_or_else(|| usage("no command given"))?;
    let id = words.next().ok_or_else(|| usage("no container given"))?;
    let create = |start| Command::Create {
        bundle: options.bundle.clone().unwrap_or_else(|| PathBuf::from(".")),
        pid_file: options.pid_file.clone(),
        start,
    };
    let command = match command.as_str() {
        "create" => create(false),
        "run" => create(true),
        "start" => Command::Start,
        "kill" => Command::Kill { signal: words.next().unwrap_or_else(|| "TERM".to_owned()) },
        "delete" => Command::Delete { force: options.force },
        "state" => Command::State,
        other => return Err(usage(&format!("no command {other:?}"))),
    };
    if let Some(word) = words.next() {
        return Err(usage(&format!("{word:?} is one word too many")));
    }
    // The id becomes the name of a directory.
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
    if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
        return Err(usage(&format!("{id:?} is not a container's id")));
    }
    let root = options.root.ok_or_else(|| usage("no --root given"))?;
    Ok(Invocation { root, id, command })
}

fn options(args: impl IntoIterator<Item = OsString>) -> Result<Options, RuntimeError> {
    let mut args = args.into_iter();
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
            _ => (text.as_ref(), None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| args.next())
                .ok_or_else(|| RuntimeError::Usage(format!("{name} needs a value")))
        };
        match name {
            "--root" => options.root = Some(value()?.into()),
            "--bundle" | "-b" => options.bundle = Some(value()?.into()),
            "--pid-file" => options.pid_file = Some(value()?.into()),
            "--detach" | "-d" => {}
            "--force" | "-f" => options.force = true,
            _ if name.starts_with('-') => {
                return Err(RuntimeError::Usage(format!("no option {name}")));
            }
            _ => options.words.push(text.into_owned()),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Invocation, RuntimeError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn runcs_lines_are_understood() {
        let run = of("--root /r run --detach --bundle /b --pid-file=/p c1").unwrap();
        assert_eq!(run.id, "c1");
        let (bundle, pid_file) = ("/b".into(), Some("/p".into()));
        assert_eq!(run.command, Command::Create { bundle, pid_file, start: true });
        let delete = of("--root=/r delete --force c1").unwrap();
        assert_eq!(delete.command, Command::Delete { force: true });
        let kill = of("--root /r kill c1 KILL").unwrap();
        assert_eq!(kill.command, Command::Kill { signal: "KILL".into() });
    }

    #[test]
    fn mistakes_are_named() {
        for line in [
            "",
            "--root /r",
            "--root /r run",
            "run c1",
            "--root /r fly c1",
            "--root",
            "--x",
            "--root /r run ../c1",
            "--root /r run .",
            "--root /r state c1 c2",
        ] {
            assert!(matches!(of(line), Err(RuntimeError::Usage(_))), "{line}");
        }
    }
}
