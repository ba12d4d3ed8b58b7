//! Killing what nobody can be asked to end.

use std::path::Path;

use kleene_engine::host::chain;
use kleene_host::freebsd::peer;
use kleene_host::freebsd::run::{Call, Tool, Tools};
use kleene_model::ContainerId;
use kleene_supervise::client;
use rustix::process::{Pid, Signal, kill_process};

use crate::system::Error;

/// Kills all processes of a container: of its jail, which is called by its id.
///
/// # Errors
/// When pkill refuses, as for a jail that is not there.
pub(super) fn kill(tools: &dyn Tools, id: ContainerId) -> Result<(), Error> {
    let id = id.to_string();
    let call = Call::new(Tool::Pkill, ["-KILL", "-j", &id, "."]);
    match tools.call(&call).map_err(|err| chain(&err))? {
        // 1: there was none (FreeBSD 13.2).
        answer if matches!(answer.status, 0 | 1) => Ok(()),
        answer => Err(Error::Failed(format!("'{call}': {}", answer.words()))),
    }
}

/// Kills who listens on a run directory's socket.
///
/// # Errors
/// When nobody does, or the kernel does not tell or refuses.
pub(crate) fn kill_listener(dir: &Path) -> Result<(), Error> {
    let listener = || -> Result<Pid, String> {
        let stream = client::connect(dir).map_err(|err| chain(&err))?;
        peer::listener(&stream).map_err(|err| format!("cannot tell who it is: {err}"))
    };
    let pid = listener()?;
    // There is no handle of a process as on Linux: it may go between this and the kill,
    // but its number is not given again as soon as that.
    if listener()? != pid {
        return Err("another process has taken its place".to_owned().into());
    }
    Ok(kill_process(pid, Signal::KILL).map_err(|err| err.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kleene_host::freebsd::run::{Answer, ToolError};

    /// A pkill that knows one jail, as that of FreeBSD 13.2 answers.
    struct OneJail(&'static str, i32);

    impl Tools for OneJail {
        fn call(&self, call: &Call) -> Result<Answer, ToolError> {
            let known = call.args == ["-KILL", "-j", self.0, "."] && call.tool == Tool::Pkill;
            let (status, stderr) = match known {
                true => (self.1, String::new()),
                false => (2, "pkill: Invalid jail ID or name `x'\n".to_owned()),
            };
            Ok(Answer { status, stdout: String::new(), stderr })
        }
    }

    #[test]
    fn where_nobody_listens_nobody_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(kill_listener(dir.path()).is_err());
        let listening = client::listen(dir.path()).expect("listening");
        let stream = client::connect(dir.path()).expect("connected");
        // Whom it would kill: so it is not told to.
        assert_eq!(peer::listener(&stream).expect("told"), rustix::process::getpid());
        drop((stream, listening));
        assert!(kill_listener(dir.path()).is_err());
    }

    #[test]
    fn a_jail_is_killed_by_name_whether_anything_runs_in_it_or_not() {
        let id = ContainerId::parse("c0ffee000001").expect("an id");
        for status in [0, 1] {
            assert_eq!(kill(&OneJail("c0ffee000001", status), id), Ok(()));
        }
        let err = kill(&OneJail("c0ffee000002", 0), id).expect_err("no such jail");
        assert!(
            err.to_string().contains("pkill -KILL -j c0ffee000001 .': pkill: Invalid"),
            "{err}"
        );
    }
}
