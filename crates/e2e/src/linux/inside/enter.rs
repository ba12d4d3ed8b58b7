//! `enter`: runs one command in a world.

use super::text;
use crate::linux::cgroup;
use crate::linux::error::{Result, WorldError};
use crate::linux::process::exit_code;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

/// What a shell answers when it cannot start a command.
const NOT_FOUND: u8 = 127;

/// `enter NAME INIT NET COMMAND…`: joins the cgroups of the world NAME and
/// the namespaces of its first process INIT, with the network namespace of
/// the process NET instead, and runs the command.
pub(super) fn enter(args: &[OsString]) -> Result<u8> {
    let name = text(args.first(), "name of the world")?;
    let init = pidfd(&text(args.get(1), "first process")?)?;
    let net = pidfd(&text(args.get(2), "process with the network")?)?;
    cgroup::join(&cgroup::hierarchies()?, &name, 0, true)?;
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::PROCESS_ID;
    move_into_thread_name_spaces(net.as_fd(), ThreadNameSpaceType::NETWORK)
        .map_err(WorldError::sys("join the network namespace"))?;
    move_into_thread_name_spaces(init.as_fd(), all)
        .map_err(WorldError::sys("join the world's namespaces"))?;
    let argv = args.get(3..).unwrap_or_default();
    let (program, rest) =
        argv.split_first().ok_or_else(|| WorldError::Other("no command given".to_owned()))?;
    // A pid namespace takes only children.
    match Command::new(program).args(rest).spawn() {
        Ok(mut child) => {
            let status = child.wait().map_err(WorldError::sys("wait for the command"))?;
            Ok(u8::try_from(exit_code(status)).unwrap_or(super::FAILED))
        }
        Err(error) => {
            eprintln!("{}: {error}", program.display());
            Ok(NOT_FOUND)
        }
    }
}

fn pidfd(number: &str) -> Result<OwnedFd> {
    let pid = number.parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| WorldError::Other(format!("odd process number {number}")))?;
    pidfd_open(pid, PidfdFlags::empty())
        .map_err(WorldError::sys(format!("find process {number} of the world")))
}
