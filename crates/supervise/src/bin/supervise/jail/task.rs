//! What is done by tools, and how they are told.

use std::{path::Path, time::Duration};

use super::{Jail, tools::Call};

/// How long jail(8) may take to make a jail: its commands of `exec.start` run
/// meanwhile.
const CREATE_LIMIT: Duration = Duration::from_secs(60);

/// How long a command of the launch, or of a stop, may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// How long a tool may take that only asks or signals.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// How long jail(8) may take to remove one, which waits ten seconds where
/// something has started anew.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);

/// What a tool is started for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    Create(Vec<String>),
    /// A command that belongs to the launch.
    Launch(String),
    /// One that belongs to a stop.
    Stop(String),
    /// Which processes are in the jail.
    Count,
    /// A signal to every process, or to a command's first.
    Signal(Option<u32>, i32),
    /// The end of every process.
    Kill,
    /// The end of what is left.
    KillRest,
    /// Which processes there are all the same.
    CountRest,
    /// Which cables the container has, by the host's ends.
    ListCables,
    /// Destroys one of them.
    TakeOut(String),
    Remove,
    /// Whether it is gone.
    Confirm,
}

impl Jail {
    /// The tool for a task.
    pub(super) fn call(&self, task: &Task) -> Call {
        let (tools, name) = (&self.tools, self.name.as_str());
        let ask = |program: &Path, args: &[&str]| Call::new(program, args, ASK_LIMIT);
        match task {
            Task::Create(params) => {
                let words = ["-c"].into_iter().chain(params.iter().map(String::as_str));
                let words: Vec<&str> = words.chain(["persist"]).collect();
                Call::new(&tools.jail, &words, CREATE_LIMIT)
            }
            Task::Count | Task::CountRest => ask(&tools.ps, &["-x", "-o", "stat", "-J", name]),
            Task::Launch(command) | Task::Stop(command) => {
                Call::new(&tools.jexec, &[name, "/bin/sh", "-c", command], COMMAND_LIMIT)
            }
            Task::Signal(_, signo) => ask(&tools.pkill, &[&format!("-{signo}"), "-j", name, "."]),
            Task::Kill | Task::KillRest => ask(&tools.pkill, &["-KILL", "-j", name, "."]),
            // The group in which the daemon puts them.
            Task::ListCables => ask(&tools.ifconfig, &["-g", &format!("k{name}_")]),
            Task::TakeOut(cable) => ask(&tools.ifconfig, &[cable, "destroy"]),
            Task::Remove => Call::new(&tools.jail, &["-r", name], REMOVE_LIMIT),
            Task::Confirm => ask(&tools.jls, &["-j", name, "jid"]),
        }
    }
}
