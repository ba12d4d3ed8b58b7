//! pf, its administrator, and what Kleene says about both.

use std::collections::BTreeSet;

use kleene_host::freebsd::pf::MAIN;
use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::place::{kleened, load_main};
use crate::freebsd::report::{Done, Ended, want};
use crate::freebsd::seen;
use crate::freebsd::state::SYSCTLS;
use crate::freebsd::trial::{SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("pf-markers", "one question shows the markers of all anchors", markers),
    check(
        "pf-admin-before",
        "a block all before Kleene's line disturbs none of its passes",
        before,
    ),
    check("pf-admin-after", "rules after Kleene's line judge what is not Kleene's", after),
    check("settings-back", "the host's settings are put back with the last network", settings),
    check("pf-skip", "under set skip on lo, what cannot be kept is refused by name", skip),
];

/// Loads another main ruleset for as long as something is done.
fn with_main(trial: &mut Trial, rules: &str, done: impl FnOnce(&mut Trial) -> Done) -> Done {
    let held = load_main(trial, rules).and_then(|()| done(trial));
    load_main(trial, MAIN)?;
    held
}

fn markers(trial: &mut Trial) -> Done {
    trial.stage()?;
    let all = trial.done(Tool::Pfctl, &["-a", "*", "-s", "rules"])?;
    let of = |text: &str| -> BTreeSet<String> {
        let marks = text.split("\"kleene:text:").skip(1);
        marks.filter_map(|mark| mark.split('"').next().map(str::to_owned)).collect()
    };
    let mut one_by_one = BTreeSet::new();
    for name in seen::names(&trial.done(Tool::Pfctl, &["-s", "Anchors", "-v"])?) {
        if name == "kleene" || name.starts_with("kleene/") {
            one_by_one.extend(of(&trial.done(Tool::Pfctl, &["-a", &name, "-s", "rules"])?));
        }
    }
    let found = of(&all);
    want(one_by_one.len() > 10, "markers in many anchors", format!("{one_by_one:?}"))?;
    want(
        found == one_by_one,
        format!("the same as one by one: {one_by_one:?}"),
        format!("{found:?}"),
    )
}

fn before(trial: &mut Trial) -> Done {
    trial.stage()?;
    let lines: Vec<&str> = MAIN.lines().collect();
    let [nat, rdr, anchor] = lines[..] else {
        return want(false, "three lines of Kleene's", format!("{lines:?}"));
    };
    let listed = trial.listed();
    let pass = format!("pass in quick on {listed} proto tcp to 192.0.2.1 port 99");
    // It is quick, but about no address of Kleene's.
    let rules = format!("{nat}\n{rdr}\nblock all\npass on lo0 all\n{pass}\n{anchor}\n");
    with_main(trial, &rules, |trial| {
        trial.flows(
            "out  -> host:8080 C1
             out  -> host:8081 A1
             host -> c1:81     C1
             host -> host:8081 A1
             d1   -> out:90    OUT sees host
             a1   -> c1:80     C1
             a1   -> c1:81     refused
             out  -> a1:81     silent",
        )
    })
}

fn after(trial: &mut Trial) -> Done {
    trial.stage()?;
    let listed = trial.listed();
    let line =
        format!("block drop in quick on {listed} proto {{ tcp udp }} to any port {{ 99 80 }}");
    with_main(trial, &format!("{MAIN}{line}\n"), |trial| {
        trial.flows(
            "out -> host:99    silent
             out -> host:8081  A1
             out -> a1:80      A1
             out -> c1:80      C1
             d1  -> host:99    HOST",
        )
    })?;
    trial.flows("out -> host:99 HOST")
}

fn settings(trial: &mut Trial) -> Done {
    let now = |trial: &Trial| -> Done<String> { Ok(trial.tool(Tool::Sysctl, &SYSCTLS)?.stdout) };
    trial.stage()?;
    let on = now(trial)?;
    let wanted = ["ip.forwarding: 1", "ip6.forwarding: 1", "pfil_local_phys: 1"];
    want(wanted.iter().all(|line| on.contains(line)), format!("{wanted:?}"), on)?;
    let left = trial.clear_stage();
    want(left.is_empty(), "the layout is removed", left.join("\n"))?;
    let before = trial.settings.clone();
    trial.wait(SOON, "the settings of before", || {
        let now = now(trial)?;
        Ok(before.iter().all(|line| now.lines().any(|is| is.replacen(": ", "=", 1) == *line)))
    })
}

fn skip(trial: &mut Trial) -> Done {
    let held = with_main(trial, &format!("set skip on lo\n{MAIN}"), refused);
    // Nothing else takes the mark off (FreeBSD 13.2).
    trial.done(Tool::Pfctl, &["-F", "all"])?;
    load_main(trial, MAIN)?;
    held?;
    let shown = trial.done(Tool::Pfctl, &["-vs", "Interfaces"])?;
    want(!shown.contains("(skip)"), "no interface is skipped any more", shown)?;
    internal(trial, "t2", 24)
}

/// An internal network with a container, which needs pf on lo0.
fn internal(trial: &mut Trial, name: &str, number: u8) -> Done {
    let [v4, v6] = [format!("10.213.{number}.0/24"), format!("fd00:213:{number}::/64")];
    let subnets = ["--subnet", v4.as_str(), "--subnet6", v6.as_str()];
    trial.network(name, &[&["--no-nat", "--internal"][..], &subnets].concat())?;
    trial.idle(&format!("{name}a"), &["-n", name])?;
    Ok(())
}

fn refused(trial: &mut Trial) -> Done {
    let shown = trial.done(Tool::Pfctl, &["-vs", "Interfaces"])?;
    let marked = shown.lines().any(|line| line.trim() == "lo0 (skip)");
    want(marked, "lo0 is skipped", shown)?;
    let doctor = trial.program(&kleened(trial, &["doctor"]), SOON)?;
    want(doctor.stdout.contains("set skip"), "kleened doctor names set skip", doctor.stdout)?;
    match internal(trial, "t1", 23) {
        Ok(()) => want(false, "an internal network is refused under set skip", "it is made"),
        Err(ended) => {
            let Ended::Fails { seen, .. } = &ended else {
                return Err(ended);
            };
            want(seen.contains("set skip"), "refused by name: set skip", seen.clone())
        }
    }
}
