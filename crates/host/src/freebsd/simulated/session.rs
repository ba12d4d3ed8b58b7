//! One call of a tool: where it runs, what it said, how it ended.

use std::fmt::{Display, Write as _};

use super::state::{Errno, HOST, Jail, LinkId, State, VnetId};
use super::tools;
use crate::freebsd::run::Tool;

/// Why a tool ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It refused, with this status; its words are written already.
    Status(i32),
    /// The real tool may know this, the simulation does not.
    Unknown(String),
}

/// What a step of a tool gives.
pub(crate) type Done<T = ()> = Result<T, Stop>;

/// A tool that runs.
pub(crate) struct Session<'a> {
    pub(crate) state: &'a mut State,
    /// The jail it runs in; `None` is the host.
    pub(crate) jail: Option<u32>,
    pub(crate) stdin: &'a str,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl<'a> Session<'a> {
    pub(crate) fn new(state: &'a mut State, jail: Option<u32>, stdin: &'a str) -> Self {
        Self { state, jail, stdin, out: String::new(), err: String::new() }
    }

    /// Writes a line to standard output.
    pub(crate) fn say(&mut self, line: impl Display) {
        // Writing to a string never fails.
        let _ = writeln!(self.out, "{line}");
    }

    /// Writes a line to standard error.
    pub(crate) fn warn(&mut self, line: impl Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Ends with status 1 and a line on standard error.
    pub(crate) fn refuse<T>(&mut self, line: impl Display) -> Done<T> {
        self.warn(line);
        Err(Stop::Status(1))
    }

    /// Ends with status 1 and `what: WORDS` where the kernel refused.
    pub(crate) fn check<T>(&mut self, what: impl Display, done: Result<T, Errno>) -> Done<T> {
        done.or_else(|errno| self.refuse(format_args!("{what}: {errno}")))
    }

    /// The stack in which the tool runs.
    pub(crate) fn vnet(&self) -> VnetId {
        self.jail.map_or(HOST, |jid| self.state.vnet_of(jid))
    }

    /// The jail it runs in, unless that has a stack of its own.
    pub(crate) fn confined(&self) -> Option<&Jail> {
        let jail = self.jail.and_then(|jid| self.state.jails.get(&jid));
        jail.filter(|jail| jail.vnet.is_none())
    }

    /// An interface by its name, in the stack of the tool.
    pub(crate) fn find(&self, name: &str) -> Option<LinkId> {
        self.state.find(self.vnet(), name)
    }
}

/// Ends with what the simulation does not know.
pub(crate) fn unknown<T>(what: impl Display) -> Done<T> {
    Err(Stop::Unknown(what.to_string()))
}

/// Runs a tool; its status.
pub(crate) fn run(session: &mut Session<'_>, tool: Tool, args: &[String]) -> Done<i32> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match tool {
        Tool::Arp => tools::neighbours::arp(session, &args),
        Tool::Devfs => tools::devfs::devfs(session, &args),
        Tool::Fetch => tools::archives::fetch(session, &args),
        Tool::Ifconfig => tools::ifconfig::ifconfig(session, &args),
        Tool::Jail => tools::jail::jail(session, &args),
        Tool::Jexec => tools::jexec::jexec(session, &args),
        Tool::Jls => tools::jls::jls(session, &args),
        Tool::Kldstat => tools::kldstat::kldstat(session, &args),
        Tool::Mount => tools::mount::mount(session, &args),
        Tool::MountNullfs => tools::mount::nullfs(session, &args),
        Tool::Ndp => tools::neighbours::ndp(session, &args),
        Tool::Netstat => tools::netstat::netstat(session, &args),
        Tool::Pfctl => tools::pfctl::pfctl(session, &args),
        Tool::Pkill => tools::processes::pkill(session, &args),
        Tool::Ps => tools::processes::ps(session, &args),
        Tool::PwdMkdb => unknown("pwd_mkdb, which works on real files"),
        Tool::Route => tools::route::route(session, &args),
        Tool::Sockstat => tools::sockstat::sockstat(session, &args),
        Tool::Sysctl => tools::sysctl::sysctl(session, &args),
        Tool::Tar => tools::archives::tar(session, &args),
        Tool::Umount => tools::mount::umount(session, &args),
        Tool::Zfs => tools::zfs::zfs(session, &args),
    };
    match done {
        Ok(()) => Ok(0),
        Err(Stop::Status(status)) => Ok(status),
        Err(Stop::Unknown(what)) => {
            let words = args.join(" ");
            unknown(format_args!("{what} (in '{tool} {words}')"))
        }
    }
}
