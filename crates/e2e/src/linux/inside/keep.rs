//! `keep` and `launch`: the processes of a world that stay outside it.

use super::{myself, text};
use crate::linux::cgroup;
use crate::linux::error::{Result, WorldError};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, set_parent_process_death_signal, setsid, wait,
};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// `keep NAME BIND…`: makes the cgroups of the world, starts it, passes its
/// ready line on, and cleans up after it. Ends the world when its own input
/// ends, which is when the test process drops the world or dies.
pub(super) fn keep(args: &[OsString]) -> Result<u8> {
    // A test runner kills the process group of a test that takes too long;
    // the one who cleans up must not be in it.
    setsid().map_err(WorldError::sys("start a session"))?;
    // `init` outlives `unshare` for a moment; its end is the world's.
    set_child_subreaper(Some(getpid())).map_err(WorldError::sys("become a subreaper"))?;
    let name = text(args.first(), "name of the world")?;
    let hierarchies = cgroup::hierarchies()?;
    cgroup::sweep(&hierarchies);
    let lived = cgroup::create(&hierarchies, &name).and_then(|()| live(&name, args, &hierarchies));
    cgroup::remove(&hierarchies, &name)?;
    lived
}

fn live(name: &str, args: &[OsString], hierarchies: &[cgroup::Hierarchy]) -> Result<u8> {
    let mut child = Command::new(myself()?)
        .arg("launch")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(WorldError::sys("start the world's launcher"))?;
    let killer = kill_at_end_of_input(&child);
    let ready = killer.and_then(|()| announce(name, &mut child, hierarchies));
    if ready.is_err() {
        // Its end must not hang on a world that never became ready.
        let _ = child.kill();
    }
    let status = child.wait().map_err(WorldError::sys("wait for the world"))?;
    while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    ready?;
    Ok(u8::try_from(status.code().unwrap_or(0)).unwrap_or(super::FAILED))
}

fn kill_at_end_of_input(child: &Child) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| WorldError::Other("odd process number".to_owned()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())
        .map_err(WorldError::sys("open the launcher's pidfd"))?;
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        // Already ended is as good.
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    });
    Ok(())
}

/// Waits for the ready line of `init` and passes it on. `unshare` had to be
/// at the root of the world's cgroups to make that the root of the cgroup
/// namespace; now it goes to the leaf, out of the way of controllers.
fn announce(name: &str, child: &mut Child, hierarchies: &[cgroup::Hierarchy]) -> Result<()> {
    let stdout = child.stdout.take().ok_or_else(|| WorldError::Other("no pipe".to_owned()))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(WorldError::sys("hear from the world"))?;
    if line.is_empty() {
        return Err(WorldError::Other("the world ended before it was ready".to_owned()));
    }
    cgroup::join(hierarchies, name, child.id(), true)?;
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(WorldError::sys("report that the world is ready"))
}

/// `launch NAME BIND…`: joins the cgroups and becomes `unshare`.
pub(super) fn launch(args: &[OsString]) -> Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(WorldError::sys("tie this process to its parent"))?;
    // Too late for that when the keeper died in between: a stranger has us.
    if getppid() == Some(Pid::INIT) {
        return Err(WorldError::Other("the keeper is gone already".to_owned()));
    }
    let name = text(args.first(), "name of the world")?;
    cgroup::join(&cgroup::hierarchies()?, &name, 0, false)?;
    let namespaces =
        ["--mount", "--net", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child"];
    let error = Command::new("unshare")
        .args(namespaces)
        .arg("--")
        .arg(myself()?)
        .arg("init")
        .args(args)
        .exec();
    Err(WorldError::Sys { what: "become unshare(1)".to_owned(), source: error })
}
