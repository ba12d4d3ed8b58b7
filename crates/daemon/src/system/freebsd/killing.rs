//! Killing what nobody can be asked to end.

use std::path::Path;

use kleene_engine::host::chain;
use kleene_host::freebsd::run::{Call, Tool, Tools};
use kleene_model::ContainerId;

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
/// [`Error::NotYet`].
pub(crate) fn kill_listener(_: &Path) -> Result<(), Error> {
    Err(Error::NotYet("finding a supervisor by its socket"))
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
