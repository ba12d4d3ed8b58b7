//! Removes everything in the kernel that carries this daemon's mark.

use std::sync::Arc;

use kleene_engine::Host as _;
use kleene_engine::change::{Change, Owner};
use kleene_engine::host::chain;
use kleene_engine::piece::Piece;
use kleene_host::freebsd::net::{self, FreeBsdHost};
use kleene_host::freebsd::run::Tools;

use crate::config::Config;
use crate::system::Error;

/// Removes interfaces, addresses and what pf was told. With `dry_run` it only says
/// what it would.
///
/// # Errors
/// When a tool refuses; what comes before stays removed.
pub(super) fn purge(
    tools: Arc<dyn Tools>,
    config: &Config,
    dry_run: bool,
    say: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    let mut host = FreeBsdHost::new(config.instance.clone(), Arc::clone(&tools));
    let seen = host.observe().map_err(|err| chain(&err))?;
    for piece in seen.all_pieces() {
        let Piece::Show { link, addr } = piece else { continue };
        say(&format!("address {addr} on {link}"))?;
        if !dry_run {
            let take = Change::Take { piece: piece.clone() };
            host.apply(&[take]).map_err(|err| chain(&err))?;
        }
    }
    for link in seen.links().filter_map(|link| link.owned(&config.instance)) {
        say(&format!("link {}", link.link()))?;
        let change = match link.mark().owner {
            Owner::Network(_) => Change::RemoveLink { link },
            Owner::Endpoint(_) | Owner::Container(_) => Change::RetireCable { link },
        };
        if !dry_run {
            host.apply(std::slice::from_ref(&change)).map_err(|err| chain(&err))?;
            if let Change::RetireCable { link } = change {
                net::sweep(&*tools, &[link]).map_err(|err| chain(&err))?;
            }
        }
    }
    say("what pf was told")?;
    if !dry_run {
        host.remove_rules().map_err(|err| chain(&err))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use kleene_host::freebsd::run::{Call, Tool};
    use kleene_host::freebsd::simulated::Simulated;

    use super::*;

    fn tell(system: &Simulated, tool: Tool, args: &[&str], stdin: &str) {
        let call = Call::new(tool, args.iter().copied()).with_stdin(stdin);
        system.run(&call).expect("a known command");
    }

    #[test]
    fn what_is_ours_goes_and_what_is_anothers_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let config = crate::jobs::tests::config(root.path());
        let ours = format!("kleene:{}:network:6b933304be4a", config.instance);
        let system = Simulated::new();
        system.add_nic("em0", "00:1b:21:00:00:01");
        for (name, mark) in [("kleene0", &*ours), ("kleene1", "kleene:other:network:6b933304be4a")]
        {
            tell(&system, Tool::Ifconfig, &["lo", "create", "name", name], "");
            tell(&system, Tool::Ifconfig, &[name, "description", mark], "");
        }
        tell(&system, Tool::Ifconfig, &["em0", "inet", "192.0.2.50/32", "alias"], "");
        tell(&system, Tool::Ifconfig, &["em0", "inet", "192.0.2.60/32", "alias"], "");
        tell(&system, Tool::Pfctl, &["-t", "kleene_all", "-T", "add", "192.0.2.50"], "");
        tell(&system, Tool::Pfctl, &["-a", "kleene", "-f", "-"], "pass all\n");
        let shown = || {
            let all = Call::new(Tool::Ifconfig, ["-a", "-f", "inet:cidr,inet6:cidr"]);
            let rules = Call::new(Tool::Pfctl, ["-a", "kleene", "-s", "rules"]);
            system.run(&all).expect("all").stdout + &system.run(&rules).expect("rules").stdout
        };
        let before = shown();
        let said = RefCell::new(Vec::new());
        let say = |what: &str| {
            said.borrow_mut().push(what.to_owned());
            Ok(())
        };
        let tools = || Arc::new(system.clone()) as Arc<dyn Tools>;
        purge(tools(), &config, true, &say).expect("said");
        assert_eq!(shown(), before, "nothing was done");
        assert_eq!(said.take(), ["address 192.0.2.50 on em0", "link kleene0", "what pf was told"]);
        purge(tools(), &config, false, &say).expect("done");
        let after = shown();
        assert!(!after.contains("kleene0") && !after.contains("192.0.2.50"), "{after}");
        assert!(after.contains("kleene1: ") && after.contains("192.0.2.60/32"), "{after}");
        assert!(!after.contains("pass all"), "{after}");
    }
}
