//! A command's start: jexec(8) with pipes or on a terminal.

use std::{ffi::OsString, io, os::fd::OwnedFd, process::Command};

use kleene_supervise::proto::{ExecSpec, FailureKind, Terminal};
use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
    pty::OpenptFlags,
};

use super::{
    Jail,
    command::{self, Refusal},
    tools::pid_of,
};
use crate::{sys, world::CommandEnds};

impl Jail {
    /// Starts a command: its first process, and the master of its terminal.
    pub(super) fn try_start(
        &self,
        spec: &ExecSpec,
        ends: Option<CommandEnds>,
    ) -> Result<(Pid, Option<OwnedFd>), Refusal> {
        let other = |step: &str, error: &dyn std::fmt::Display| Refusal {
            kind: FailureKind::Other,
            message: format!("cannot {step}: {error}"),
        };
        let Some(root) = &self.root else {
            return Err(other("run the command", &"there is no jail"));
        };
        let plan = command::plan(root, spec)?;
        let mut command = Command::new(&self.tools.jexec);
        if let Some(user) = &plan.user {
            command.args([OsString::from("-U"), user.clone()]);
        }
        command.arg(&self.name).args(&plan.argv).env_clear().envs(plan.env);
        let terminal = match ends {
            Some(CommandEnds { input, output }) => {
                // One pipe for both outputs, so that the order of writes is kept.
                let both = output.try_clone().map_err(|error| other("share a pipe", &error))?;
                command.stdin(input).stdout(output).stderr(both);
                None
            }
            None => {
                let size = spec.tty.unwrap_or(Terminal { rows: 0, cols: 0 });
                let (master, slave) =
                    terminal(size, plan.uid).map_err(|error| other("make a terminal", &error))?;
                let copy = || slave.try_clone().map_err(|error| other("share a terminal", &error));
                command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
                Some(master)
            }
        };
        sys::detach(&mut command, terminal.is_some());
        let started = command.spawn().and_then(|child| pid_of(&child));
        let tool = format!("start {}", self.tools.jexec.display());
        Ok((started.map_err(|error| other(&tool, &error))?, terminal))
    }
}

/// A terminal of the host: jexec hands it on, and it works inside.
fn terminal(size: Terminal, uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let path = rustix::pty::ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(path, flags, Mode::empty())?;
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&master, size)?;
    // Without the right to give it away the command cannot reopen it, which
    // few do.
    let _ = rustix::fs::fchown(&slave, Some(rustix::process::Uid::from_raw(uid)), None);
    Ok((master, slave))
}
