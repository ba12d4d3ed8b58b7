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

#[cfg(test)]
mod tests {
    use kleene_host::freebsd::simulated::Simulated;

    use super::*;

    #[test]
    fn a_jail_that_its_supervisor_left_goes_and_another_one_stays() {
        let system = Simulated::new();
        system.make_directory("/jr");
        let make = |name: &str| {
            let name = format!("name={name}");
            let call = Call::new(Tool::Jail, ["-c", "path=/jr", &name, "persist"]);
            system.run(&call).expect("a jail");
        };
        make("c00000000001");
        make("c00000000002");
        let stubborn = system.start_process("c00000000001", "sleep", true);
        assert!(stubborn > 0);
        let id = ContainerId::parse("c00000000001").expect("an id");
        remove_jail(&system, id).expect("removed");
        let left = system.run(&Call::new(Tool::Jls, ["-n", "name"])).expect("all jails");
        assert_eq!(left.stdout, "name=c00000000002\n");
        remove_jail(&system, id).expect("gone already");
    }
}
