//! What changes while containers run.

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::place::start_daemon;
use crate::freebsd::probe::Protocol;
use crate::freebsd::report::{Done, want};
use crate::freebsd::trial::{Asker, SOON, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("live-ipnet", "a running ipnet container joins, serves, and leaves", ipnet),
    check("live-vnet", "a running vnet container joins, serves, and leaves", vnet),
    check("live-leave", "leaving ends open flows, and those of others go on", leave),
    check("live-restart", "a daemon that was killed is followed by one that adopts", restart),
    check("live-start", "a container that stops and starts has its addresses again", start),
];

fn both(number: u8) -> [String; 4] {
    let [v4, v6] = [format!("10.213.{number}.0/24"), format!("fd00:213:{number}::/64")];
    ["--subnet".to_owned(), v4, "--subnet6".to_owned(), v6]
}

fn network(trial: &mut Trial, name: &str, kind: &str, number: u8) -> Done {
    let subnets = both(number);
    let subnets: Vec<&str> = subnets.iter().map(String::as_str).collect();
    trial.network(name, &[&["-t", kind, "--no-nat"][..], &subnets].concat())?;
    Ok(())
}

/// Joins while it runs; a service there is reached by the host and, after leaving, not.
fn joins(trial: &mut Trial, driver: &str, kind: &str) -> Done {
    network(trial, "t1", kind, 21)?;
    let id = trial.idle("t1a", &["-l", driver])?;
    let asker = Asker::Container(id);
    let at = ["10.213.21.9", "fd00:213:21::9"];
    trial.klee_done(&["network", "connect", "--ip", at[0], "--ip6", at[1], "t1", "t1a"])?;
    let _server = trial.serve(&asker, "T1A", "8099", &at)?;
    let answers = |trial: &Trial| -> Done<Vec<bool>> {
        let mut answers = Vec::new();
        for to in at {
            for protocol in Protocol::BOTH {
                answers.push(trial.ask(&Asker::Host, protocol, (to, 8099), None)?.is_answer());
            }
        }
        Ok(answers)
    };
    let heard = answers(trial)?;
    want(heard == [true; 4], "answers over TCP and UDP in both families", format!("{heard:?}"))?;
    trial.klee_done(&["network", "disconnect", "t1", "t1a"])?;
    let heard = answers(trial)?;
    want(heard == [false; 4], "none after it has left", format!("{heard:?}"))
}

fn ipnet(trial: &mut Trial) -> Done {
    joins(trial, "ipnet", "loopback")
}

fn vnet(trial: &mut Trial) -> Done {
    joins(trial, "vnet", "bridge")
}

fn leave(trial: &mut Trial) -> Done {
    network(trial, "t1", "loopback", 21)?;
    let mut flows = Vec::new();
    let mut servers = Vec::new();
    for (name, host) in [("t1a", 1), ("t1b", 2)] {
        let (v4, v6) = (format!("10.213.21.{host}"), format!("fd00:213:21::{host}"));
        let id = trial.idle(name, &["-n", "t1", "--ip", &v4, "--ip6", &v6])?;
        servers.push(trial.serve(&Asker::Container(id), "T1", "8099", &[&v4, &v6])?);
        for to in [v4, v6] {
            for protocol in Protocol::BOTH {
                let held = trial.hold(&Asker::Host, protocol, (&to, 8099))?;
                flows.push((name, format!("{} to {to}", protocol.name()), held));
            }
        }
    }
    trial.klee_done(&["network", "disconnect", "t1", "t1a"])?;
    for (name, what, mut held) in flows {
        let carries = Trial::carries(&mut held);
        let expected = if name == "t1b" { "goes on" } else { "is cut" };
        let seen = if carries { "it goes on" } else { "it is cut" };
        want(carries == (name == "t1b"), format!("the flow over {what} {expected}"), seen)?;
    }
    Ok(())
}

fn restart(trial: &mut Trial) -> Done {
    network(trial, "t1", "bridge", 21)?;
    let own = ["--ip", "10.213.21.9", "--ip6", "fd00:213:21::9"];
    let id = trial.idle("t1a", &[&["-l", "vnet", "-n", "t1"][..], &own].concat())?;
    let asker = Asker::Container(id.clone());
    let _server = trial.serve(&asker, "T1A", "8099", &["10.213.21.9"])?;
    let mut held = trial.hold(&Asker::Host, Protocol::Tcp, ("10.213.21.9", 8099))?;
    let Some(mut daemon) = trial.daemon.take() else { return want(false, "a daemon", "none") };
    daemon.kill();
    want(Trial::carries(&mut held), "an open flow goes on without a daemon", "it is cut")?;
    start_daemon(trial)?;
    want(Trial::carries(&mut held), "it goes on with the next daemon", "it is cut")?;
    let answer = trial.klee(&["exec", "-q", "t1a", "/bin/sh", "-c", "exit 5"])?;
    want(answer.status == 5, "the next daemon runs commands in it: 5", answer.status.to_string())?;
    trial.klee_done(&["stop", "t1a"])?;
    trial.wait(SOON, "and stops it: its jail is gone", || {
        Ok(trial.tool(Tool::Jls, &["-j", &id])?.status != 0)
    })
}

fn start(trial: &mut Trial) -> Done {
    network(trial, "t1", "loopback", 21)?;
    let at = ["10.213.21.9", "fd00:213:21::9"];
    trial.idle("t1a", &["-n", "t1", "--ip", at[0], "--ip6", at[1]])?;
    let stands = |trial: &Trial| -> Done<usize> {
        let links = trial.links(None)?;
        let all = links.values().flat_map(|link| &link.addresses);
        Ok(all.filter(|address| at.contains(&address.to_string().as_str())).count())
    };
    for (verb, count) in [("stop", 0), ("start", 2), ("stop", 0)] {
        let line: &[&str] =
            if verb == "start" { &["start", "-d", "t1a"] } else { &["stop", "t1a"] };
        trial.klee_done(line)?;
        let what = format!("{count} of its addresses on the host after {verb}");
        trial.wait(SOON, &what, || Ok(stands(trial)? == count))?;
    }
    Ok(())
}
