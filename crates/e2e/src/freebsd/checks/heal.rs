//! What somebody takes away comes back by Kleene's next look, every 5 s.

use std::time::Duration;

use kleene_host::freebsd::pf::MAIN;
use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::layout;
use crate::freebsd::place::load_main;
use crate::freebsd::probe::{Address, Protocol};
use crate::freebsd::report::{Done, fails, want};
use crate::freebsd::trial::{Asker, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("heal-alias", "an address that was taken off an interface comes back", alias),
    check("heal-cable", "a cable that was destroyed comes back", cable),
    check("heal-pf", "pf that was emptied is filled again", pf),
];

/// Two looks, and the work of a slow machine.
const HEALED: Duration = Duration::from_secs(20);

fn addresses(name: &str) -> [String; 2] {
    layout::addresses(name).map(|pair| pair.map(|ip| ip.to_string())).unwrap_or_default()
}

/// Waits until a container of the layout answers the host again, in both families.
fn answers_again(trial: &Trial, name: &str) -> Done {
    for to in addresses(name) {
        trial.wait(HEALED, &format!("{name} answers at {to} again"), || {
            Ok(trial.ask(&Asker::Host, Protocol::Tcp, (&to, 81), None)?.is_answer())
        })?;
    }
    Ok(())
}

fn alias(trial: &mut Trial) -> Done {
    trial.stage()?;
    let [v4, v6] = addresses("a2");
    let links = trial.links(None)?;
    let ip = v4.parse::<Address>().map(|address| address.ip);
    let carries = links
        .iter()
        .find(|(_, link)| link.addresses.iter().any(|address| ip.as_ref() == Ok(address)));
    let Some((interface, _)) = carries else { return fails(format!("{v4} stands"), "nowhere") };
    for (family, address) in [("inet", &v4), ("inet6", &v6)] {
        trial.done(Tool::Ifconfig, &[interface, family, address, "-alias"])?;
    }
    answers_again(trial, "a2")?;
    trial.flows("a1 -> a2:81 A2\n out -> a2:81 silent")
}

fn cable(trial: &mut Trial) -> Done {
    let id = trial.id("d2")?;
    let links = trial.links(Some(&id))?;
    let Some(inner) = links.keys().find(|name| name.starts_with("epair")) else {
        return fails("a cable in d2", format!("{links:?}"));
    };
    let host = format!("{}a", inner.trim_end_matches('b'));
    trial.done(Tool::Ifconfig, &[&host, "destroy"])?;
    let mut links = std::collections::BTreeMap::new();
    trial.wait(HEALED, "d2 has a cable again", || {
        links = trial.links(Some(&id))?;
        Ok(links.iter().any(|(name, link)| name.starts_with("epair") && link.addresses.len() == 2))
    })?;
    // Its service listens on the addresses, which are there again.
    answers_again(trial, "d2")?;
    trial.flows("d1 -> d2:81 D2\n d2 -> out:90 OUT sees host\n out -> d2:81 silent")
}

fn pf(trial: &mut Trial) -> Done {
    trial.stage()?;
    let policy = "a1 -> c1:81  refused
                  c2 -> c1:81  refused
                  b1 -> out:90 refused
                  a1 -> c1:80  C1
                  out -> host:8081 A1
                  out -> c1:81 silent
                  d1 -> out:90 OUT sees host";
    trial.flows(policy)?;
    trial.done(Tool::Pfctl, &["-F", "all"])?;
    let without =
        trial.ask(&Asker::Outside(layout::OUT), Protocol::Tcp, ("192.0.2.1", 8081), None)?;
    want(!without.is_answer(), "nothing is published by an empty pf", without.to_string())?;
    load_main(trial, MAIN)?;
    trial.wait(HEALED, "the outside is led to a1 again", || {
        let to = ("192.0.2.1", 8081);
        Ok(trial.ask(&Asker::Outside(layout::OUT), Protocol::Tcp, to, None)?.name() == Some("A1"))
    })?;
    trial.flows(policy)
}
