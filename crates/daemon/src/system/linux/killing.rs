//! Killing what nobody can be asked to end.

use std::path::Path;

use kleene_engine::host::chain;
use kleene_host::linux::cgroup::Tree;
use kleene_model::ContainerId;
use kleene_supervise::client;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::config::Config;
use crate::system::Error;

/// Kills all processes of a container, but not its supervisor.
///
/// # Errors
/// When its cgroup is not there or cannot be killed.
pub(crate) fn kill(config: &Config, id: ContainerId) -> Result<(), Error> {
    let name = super::cgroup(config, id)?;
    let tree = Tree::find().map_err(|err| chain(&err))?;
    Ok(tree.kill(&name).map_err(|err| chain(&err))?)
}

/// Kills who listens on a run directory's socket.
///
/// # Errors
/// When nobody does, or the kernel refuses.
pub(crate) fn kill_listener(dir: &Path) -> Result<(), Error> {
    let listener = || -> Result<Pid, String> {
        let stream = client::connect(dir).map_err(|err| chain(&err))?;
        let peer =
            socket_peercred(&stream).map_err(|err| format!("cannot tell who it is: {err}"))?;
        Ok(peer.pid)
    };
    let pid = listener()?;
    let process = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|err| format!("cannot open process {pid:?}: {err}"))?;
    // It listens still, so that the number was its own when it was opened.
    if listener()? != pid {
        return Err("another process has taken its place".to_owned().into());
    }
    Ok(pidfd_send_signal(process, Signal::KILL).map_err(|err| err.to_string())?)
}
