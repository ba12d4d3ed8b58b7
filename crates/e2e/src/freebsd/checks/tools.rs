//! Forms of tools that Kleene uses and nobody has recorded yet.

use kleene_host::freebsd::run::{Call, Tool};
use serde_json::Value;

use super::{Check, check};
use crate::freebsd::layout::OUTSIDES;
use crate::freebsd::report::{Done, want};
use crate::freebsd::seen;
use crate::freebsd::trial::{Asker, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("tool-table", "an empty table is made, and emptied, through standard input", table),
    check("tool-route", "route tells the way to an IPv6 address", route),
    check("tool-ps", "ps tells the jails of processes as JSON", ps),
    check("tool-sockstat", "sockstat lists a range of ports", sockstat),
    check("tool-bridge-mac", "a bridge keeps its MAC address when members come", bridge_mac),
    check("tool-reboot", "sysctl shows the id of the boot", boot),
];

const TABLE: &str = "kl_accept_empty";

fn table(trial: &mut Trial) -> Done {
    let told = |action: &str, list: &str| {
        let call = Call::new(Tool::Pfctl, ["-t", TABLE, "-T", action, "-f", "-"]);
        trial.call(&call.with_stdin(list))
    };
    let filled = || -> Done {
        let added = told("add", "")?;
        want(added.status == 0, "a table without addresses is made", added.words())?;
        let listed = seen::names(&trial.done(Tool::Pfctl, &["-s", "Tables"])?);
        want(listed.contains(TABLE), "the empty table is listed", format!("{listed:?}"))?;
        told("add", "10.213.99.1\n10.213.99.2\n")?;
        let deleted = told("delete", "10.213.99.1\n")?;
        want(deleted.status == 0, "an address is deleted", deleted.words())?;
        let shown = seen::names(&trial.done(Tool::Pfctl, &["-t", TABLE, "-T", "show"])?);
        let left = ["10.213.99.2".to_owned()].into();
        want(shown == left, "the other address is left", format!("{shown:?}"))
    };
    let held = filled();
    trial.done(Tool::Pfctl, &["-t", TABLE, "-T", "kill"])?;
    held
}

fn route(trial: &mut Trial) -> Done {
    for (family, (_, beyond)) in ["-inet", "-inet6"].iter().zip(OUTSIDES[0].addresses) {
        let told = trial.done(Tool::Route, &["-n", "get", family, beyond])?;
        let line = format!("interface: {}", trial.listed());
        want(told.contains(&line), format!("the way to {beyond}: {line}"), told)?;
    }
    Ok(())
}

fn ps(trial: &mut Trial) -> Done {
    let waiting = trial.start_probe(&Asker::Outside(OUTSIDES[0].jail), &["wait"])?;
    let ids = format!("{},{}", std::process::id(), waiting.id());
    let told = trial.done(Tool::Ps, &["--libxo", "json", "-o", "pid,jid", "-p", &ids])?;
    let json: Value = serde_json::from_str(&told).unwrap_or_default();
    let list = json["process-information"]["process"].as_array().cloned().unwrap_or_default();
    let of = |process: &Value, key: &str| process[key].as_str().map(str::trim).map(str::to_owned);
    let jail = |id: u32| {
        let id = Some(id.to_string());
        list.iter().find(|one| of(one, "pid") == id).and_then(|one| of(one, "jail-id"))
    };
    let own = jail(std::process::id());
    want(own.as_deref() == Some("0"), "this program is in no jail: jail-id 0", told.clone())?;
    let other = jail(waiting.id());
    let inside = other.is_some_and(|id| id != "0");
    want(inside, "the process in the jail has the jail's number", told)
}

fn sockstat(trial: &mut Trial) -> Done {
    let _server = trial.serve(&Asker::Host, "HOST", "8005", &["127.0.0.1"])?;
    for (range, there) in [("8000-8010", true), ("8006-8010", false)] {
        let listed = trial.done(Tool::Sockstat, &["-46l", "-P", "tcp", "-p", range])?;
        let found = listed.contains("127.0.0.1:8005");
        let words = if there { "is" } else { "is not" };
        want(found == there, format!("127.0.0.1:8005 {words} among {range}"), listed)?;
    }
    Ok(())
}

fn bridge_mac(trial: &mut Trial) -> Done {
    let subnet = ["-t", "bridge", "--no-nat", "--subnet", "10.213.20.0/24"];
    let made = trial.network("mac", &subnet)?;
    let Some(bridge) = made else { return want(false, "a bridge", "no new interface") };
    let mac = |trial: &Trial| -> Done<Option<String>> {
        Ok(trial.links(None)?.get(&bridge).and_then(|link| link.ether.clone()))
    };
    let before = mac(trial)?;
    trial.idle("mac1", &["-l", "vnet", "-n", "mac"])?;
    let members = trial.links(None)?.get(&bridge).map(|link| link.members.clone());
    let members = members.unwrap_or_default();
    want(!members.is_empty(), "the bridge has a member", "none")?;
    let after = mac(trial)?;
    want(before.is_some() && before == after, format!("{before:?}"), format!("{after:?}"))
}

fn boot(trial: &mut Trial) -> Done {
    let told = trial.done(Tool::Sysctl, &["-x", "kern.boot_id"])?;
    let again = trial.done(Tool::Sysctl, &["-x", "kern.boot_id"])?;
    want(told.contains("Dump:0x"), "the id in hexadecimal digits", told.clone())?;
    want(told == again, "the same id", again)
}
