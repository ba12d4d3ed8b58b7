//! What a container has only while it runs goes with its end: its jail, where the
//! supervisor could not remove it, and what is mounted in its root.

use kleene_engine::host::chain;
use kleene_host::freebsd::bundle;
use kleene_host::freebsd::mounts;
use kleene_host::freebsd::run::{Call, Tool, Tools};
use kleene_model::ContainerId;

use crate::config::Config;

use super::killing;

/// Removes what a container has only while it runs, but its run directory.
pub(super) fn clear(tools: &dyn Tools, config: &Config, id: ContainerId) {
    if let Err(why) = remove_jail(tools, id) {
        tracing::warn!(container = %id, why, "the jail stays");
    }
    let root = bundle::root(&config.container_dir(id));
    if let Err(err) = mounts::clear(tools, &root) {
        tracing::warn!(container = %id, why = chain(&err), "something stays mounted");
    }
}

/// Removes a jail that its supervisor left behind.
fn remove_jail(tools: &dyn Tools, id: ContainerId) -> Result<(), String> {
    let name = id.to_string();
    let known = tools.call(&Call::new(Tool::Jls, ["-j", &name])).map_err(|err| chain(&err))?;
    match known.status {
        0 => {}
        // As it should be.
        1 if known.stderr.contains("not found") => return Ok(()),
        _ => return Err(known.words()),
    }
    // Alone `jail -r` waits for processes that ignore TERM (FreeBSD 13.2).
    killing::kill(tools, id).map_err(|err| err.to_string())?;
    match tools.run(&Call::new(Tool::Jail, ["-r", &name])) {
        Err(err) if err.says("not found") => Ok(()),
        removed => removed.map(drop).map_err(|err| chain(&err)),
    }
}
