//! What a container has only while it runs goes with its end: its jail, where the
//! supervisor could not remove it, and what is mounted in its root.

use kleene_engine::host::chain;
use kleene_host::freebsd::bundle;
use kleene_host::freebsd::mounts;
use kleene_host::freebsd::run::{Call, Tool, ToolError, Tools};
use kleene_model::{ContainerId, LinkName};

use crate::config::Config;

use super::{images, killing};

/// Removes what a container has only while it runs, but its run directory.
pub(super) fn clear(tools: &dyn Tools, config: &Config, id: ContainerId) {
    if let Err(why) = remove_jail(tools, id) {
        tracing::warn!(container = %id, why, "the jail stays");
    }
    for root in [bundle::root(&config.container_dir(id)), images::root(config, id)] {
        if let Err(err) = mounts::clear(tools, &root) {
            tracing::warn!(container = %id, why = chain(&err), "something stays mounted");
        }
    }
}

/// Removes a jail that its supervisor left behind.
fn remove_jail(tools: &dyn Tools, id: ContainerId) -> Result<(), String> {
    let name = id.to_string();
    let known = tools.call(&Call::new(Tool::Jls, ["-j", &name])).map_err(|err| chain(&err))?;
    match known.status {
        0 => {}
        // As it should be. A dying one waits for its connections only.
        1 if ["not found", "is dying"].iter().any(|words| known.stderr.contains(words)) => {
            return Ok(());
        }
        _ => return Err(known.words()),
    }
    // Alone `jail -r` waits for processes that ignore TERM (FreeBSD 13.2).
    killing::kill(tools, id).map_err(|err| err.to_string())?;
    destroy_cables(tools, id).map_err(|err| chain(&err))?;
    match tools.run(&Call::new(Tool::Jail, ["-r", &name])) {
        Err(err) if err.says("not found") => Ok(()),
        removed => removed.map(drop).map_err(|err| chain(&err)),
    }
}

/// Destroys the host's ends of a container's cables, which ends both: an inner end that
/// is left in a jail comes back to the host by the name that it was given inside.
fn destroy_cables(tools: &dyn Tools, id: ContainerId) -> Result<(), ToolError> {
    // The group into which the host's ends are put.
    let listed = tools.run(&Call::new(Tool::Ifconfig, ["-g", &format!("k{id}_")]))?;
    for end in listed.stdout.lines().filter(|name| is_outer_end(name)) {
        match tools.run(&Call::new(Tool::Ifconfig, [end, "destroy"])) {
            Err(err) if err.says("does not exist") => {}
            destroyed => drop(destroyed?),
        }
    }
    Ok(())
}

fn is_outer_end(name: &str) -> bool {
    LinkName::parse(name).is_ok_and(|name| name.cable_number().is_some())
}

#[cfg(test)]
mod tests {
    use kleene_host::freebsd::simulated::{Fault, Simulated};

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

    /// What a tool says on the host.
    fn said(system: &Simulated, tool: Tool, words: &str) -> String {
        system.run(&Call::new(tool, words.split(' '))).expect(words).stdout
    }

    /// A jail with a cable, by whatever name the container gave the inner end.
    fn jail_with_cable(system: &Simulated, jail: &str, pair: u32, inner: &str) {
        said(system, Tool::Jail, &format!("-c path=/jr name={jail} vnet persist"));
        said(system, Tool::Ifconfig, &format!("epair{pair} create"));
        said(system, Tool::Ifconfig, &format!("epair{pair}b vnet {jail}"));
        let rename = format!("{jail} /sbin/ifconfig epair{pair}b name {inner}");
        said(system, Tool::Jexec, &rename);
    }

    #[test]
    fn a_cable_that_was_renamed_inside_does_not_come_back() {
        let system = Simulated::new();
        system.make_directory("/jr");
        jail_with_cable(&system, "c00000000001", 0, "em7");
        said(&system, Tool::Ifconfig, "epair0a group kc00000000001_");
        // What is no host's end of a cable is not destroyed, whoever put it there.
        said(&system, Tool::Ifconfig, "bridge3 create");
        said(&system, Tool::Ifconfig, "bridge3 group kc00000000001_");
        // That of another one, which is in no group, shows what would happen.
        jail_with_cable(&system, "c00000000002", 1, "em8");
        let before = said(&system, Tool::Ifconfig, "-l");
        assert!(before.contains("epair0a") && !before.contains("em"), "{before}");
        let remove = |id: &str| remove_jail(&system, ContainerId::parse(id).expect("an id"));
        remove("c00000000001").expect("removed");
        let left = said(&system, Tool::Ifconfig, "-l");
        assert_eq!(left.trim_end(), before.trim_end().replace(" epair0a", ""));
        remove("c00000000002").expect("removed");
        let left = said(&system, Tool::Ifconfig, "-l");
        assert!(left.contains("epair1a") && left.contains("em8"), "{left}");
        assert_eq!(said(&system, Tool::Jls, "name"), "");
    }

    #[test]
    fn a_jail_stays_while_a_cable_of_it_does() {
        let system = Simulated::new();
        system.make_directory("/jr");
        jail_with_cable(&system, "c00000000001", 0, "em7");
        said(&system, Tool::Ifconfig, "epair0a group kc00000000001_");
        let id = ContainerId::parse("c00000000001").expect("an id");
        system.fail_matching(Tool::Ifconfig, ["epair0a", "destroy"], Fault::Refused);
        remove_jail(&system, id).expect_err("it has a cable");
        assert_eq!(said(&system, Tool::Jls, "name"), "c00000000001\n");
        system.fail_no_more();
        remove_jail(&system, id).expect("removed");
        assert_eq!(said(&system, Tool::Jls, "name"), "");
    }

    #[test]
    fn a_dying_jail_is_as_good_as_gone() {
        let system = Simulated::new();
        system.make_directory("/jr");
        said(&system, Tool::Jail, "-c path=/jr name=c00000000001 persist");
        system.hold_connections("c00000000001", 1);
        said(&system, Tool::Jail, "-r c00000000001");
        assert_eq!(said(&system, Tool::Jls, "-d name"), "c00000000001\n");
        let id = ContainerId::parse("c00000000001").expect("an id");
        remove_jail(&system, id).expect("it goes by itself");
    }
}
