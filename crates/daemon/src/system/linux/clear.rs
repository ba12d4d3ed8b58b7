//! What a container has only while it runs goes with its end: what the OCI runtime
//! knows of it, and its cgroup.

use std::process::Stdio;
use std::time::Duration;

use kleene_engine::host::chain;
use kleene_host::linux::cgroup::Tree;
use kleene_model::ContainerId;

use crate::config::Config;

use super::{Programs, RUNTIME_ROOT, cgroup, remove_later};

/// How long the kernel may take to let a cgroup go.
const CGROUP_LIMIT: Duration = Duration::from_secs(2);

/// Removes what a container has only while it runs, but its run directory.
pub(crate) fn clear(config: &Config, programs: &Programs, id: ContainerId) {
    let forgotten = clear_runtime(config, programs, id);
    let cgroup = cgroup(config, id).and_then(|name| {
        let tree = Tree::find().map_err(|err| chain(&err))?;
        tree.remove(&name, CGROUP_LIMIT).map_err(|err| chain(&err))?;
        // The daemon's own goes with its last container.
        tree.remove_parent(&name).map_err(|err| chain(&err))
    });
    match cgroup {
        Err(why) => tracing::warn!(container = %id, why, "the cgroup stays"),
        // Nobody lives there any more, whatever the runtime makes of what it wrote.
        Ok(()) if !forgotten => drop_state(config, id),
        Ok(()) => {}
    }
}

/// Removes what the OCI runtime knows of a container: it may have been killed while
/// it wrote that, and then can neither read it nor make the container again.
fn drop_state(config: &Config, id: ContainerId) {
    let state = config.root.join(RUNTIME_ROOT).join(id.to_string());
    match remove_later(&state, &config.trash_dir()) {
        Ok(()) => tracing::info!(container = %id, "what the OCI runtime knew of it is removed"),
        Err(err) => tracing::warn!(container = %id, why = chain(&err), "the runtime's state stays"),
    }
}

/// A supervisor that was killed could not tell the OCI runtime to forget the
/// container. Whether it has forgotten it.
fn clear_runtime(config: &Config, programs: &Programs, id: ContainerId) -> bool {
    let root = config.root.join(RUNTIME_ROOT);
    if !root.join(id.to_string()).exists() {
        return true;
    }
    let deleted = std::process::Command::new(&programs.runtime)
        .arg("--root")
        .arg(&root)
        .args(["delete", "--force", &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    match deleted {
        Ok(output) if output.status.success() => return true,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            tracing::warn!(container = %id, why, "the OCI runtime does not forget the container");
        }
        Err(err) => tracing::warn!(container = %id, %err, "cannot start the OCI runtime"),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime that was killed while it wrote its state refuses to delete it.
    #[test]
    fn a_state_that_the_runtime_cannot_read_keeps_no_container_from_starting() {
        let root = tempfile::tempdir().unwrap();
        let config = crate::jobs::tests::config(root.path());
        let programs = Programs::named(root.path());
        let id = ContainerId::from_bytes([0xc0, 0, 0, 0, 0, 1]).unwrap();
        let state = root.path().join(RUNTIME_ROOT).join(id.to_string());
        std::fs::create_dir_all(&state).unwrap();
        std::fs::write(state.join("state.json"), "{}}").unwrap();
        assert!(!clear_runtime(&config, &programs, id), "there is no runtime that could");
        clear(&config, &programs, id);
        assert!(!state.exists());
        assert!(clear_runtime(&config, &programs, id));
    }
}
