//! Ports that are published while containers run.

use std::collections::BTreeSet;

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::layout::OUT;
use crate::freebsd::probe::Protocol;
use crate::freebsd::program::Background;
use crate::freebsd::report::{Done, Ended, fails, want};
use crate::freebsd::seen;
use crate::freebsd::trial::{Asker, Trial};

pub(super) const CHECKS: &[Check] = &[
    check("publish", "a port is published and unpublished; its flows end, others go on", publish),
    check("publish-range", "a range of ports keeps its order", range),
    check("publish-uplink", "without an interface a port follows the default route", uplink),
    check(
        "publish-order",
        "join, publish, unpublish, leave, remove: each takes its own away",
        order,
    ),
];

const OUTSIDE: Asker = Asker::Outside(OUT);

/// The host's addresses towards the outside.
const HOST: [&str; 2] = ["192.0.2.1", "2001:db8:9::1"];

fn members(trial: &mut Trial) -> Done<Vec<Background>> {
    let [v4, v6] = ["10.213.21.0/24", "fd00:213:21::/64"];
    trial.network("t1", &["-t", "bridge", "--no-nat", "--subnet", v4, "--subnet6", v6])?;
    let mut servers = Vec::new();
    for (name, driver, host) in [("t1a", "vnet", 8), ("t1b", "ipnet", 9)] {
        let (v4, v6) = (format!("10.213.21.{host}"), format!("fd00:213:21::{host}"));
        let id = trial.idle(name, &["-l", driver, "-n", "t1", "--ip", &v4, "--ip6", &v6])?;
        let service = name.to_uppercase();
        let ports = "8000,8001,8002";
        servers.push(trial.serve(&Asker::Container(id), &service, ports, &[&v4, &v6])?);
    }
    Ok(servers)
}

/// Whether the outside is answered at a port of the host: over each protocol in each
/// family.
fn reached(trial: &Trial, port: u16) -> Done<[bool; 4]> {
    let mut heard = [false; 4];
    let all = HOST.iter().flat_map(|to| Protocol::BOTH.map(|protocol| (to, protocol)));
    for (answered, (to, protocol)) in heard.iter_mut().zip(all) {
        *answered = trial.ask(&OUTSIDE, protocol, (to, port), None)?.is_answer();
    }
    Ok(heard)
}

fn publish(trial: &mut Trial) -> Done {
    let _servers = members(trial)?;
    let listed = trial.listed().to_owned();
    for (name, port) in [("t1a", 8101), ("t1b", 8102)] {
        let heard = reached(trial, port)?;
        want(heard == [false; 4], format!("nobody at {port} yet"), format!("{heard:?}"))?;
        for protocol in ["tcp", "udp"] {
            let spec = format!("{listed}:{port}:8000/{protocol}");
            trial.klee_done(&["publish", name, &spec])?;
        }
        let heard = reached(trial, port)?;
        want(heard == [true; 4], format!("{name} at {port}"), format!("{heard:?}"))?;
    }
    let mut flows = Vec::new();
    for port in [8101, 8102] {
        for to in HOST {
            for protocol in Protocol::BOTH {
                let held = trial.hold(&OUTSIDE, protocol, (to, port))?;
                flows.push((port, format!("{} to {to} port {port}", protocol.name()), held));
            }
        }
    }
    for protocol in ["tcp", "udp"] {
        trial.klee_done(&["unpublish", "t1a", &format!("{listed}:8101:8000/{protocol}")])?;
    }
    for (port, what, mut held) in flows {
        let carries = Trial::carries(&mut held);
        let words = |carries: bool| if carries { "goes on" } else { "is cut" };
        let expected = format!("the flow over {what} {}", words(port == 8102));
        want(carries == (port == 8102), expected, words(carries))?;
    }
    let heard = [reached(trial, 8101)?, reached(trial, 8102)?];
    want(heard == [[false; 4], [true; 4]], "8102 alone is published", format!("{heard:?}"))
}

fn range(trial: &mut Trial) -> Done {
    let _servers = members(trial)?;
    let listed = trial.listed().to_owned();
    for name in ["t1a", "t1b"] {
        let ports = if name == "t1a" { "8110-8112" } else { "8120-8122" };
        trial.klee_done(&["publish", name, &format!("{listed}:{ports}:8000-8002")])?;
    }
    for (first, name) in [(8110, "T1A"), (8120, "T1B")] {
        for offset in 0..3 {
            for to in HOST {
                let heard = trial.ask(&OUTSIDE, Protocol::Tcp, (to, first + offset), None)?;
                let port = format!(":{}", 8000 + offset);
                let text = heard.to_string();
                let right = heard.name() == Some(name) && text.ends_with(&port);
                want(right, format!("{name} answers at its port {}", 8000 + offset), text)?;
            }
        }
        let heard = trial.ask(&OUTSIDE, Protocol::Tcp, (HOST[0], first + 3), None)?;
        want(!heard.is_answer(), format!("nobody at {}", first + 3), heard.to_string())?;
    }
    Ok(())
}

fn uplink(trial: &mut Trial) -> Done {
    let printed = trial.done(Tool::Netstat, &["--libxo", "json", "-rn"])?;
    let routes = seen::default_routes(&printed).or_else(|why| fails("the routes", why))?;
    let listed = trial.listed().to_owned();
    if let Some(other) = routes.iter().find(|route| route.as_ref() != Some(&listed)) {
        let way = other.clone().unwrap_or_else(|| "nowhere".to_owned());
        return Err(Ended::Cannot(format!("a default route of the host leads to {way}")));
    }
    // Its traffic gets the address of the same interface.
    let [v4, v6] = ["10.213.21.0/24", "fd00:213:21::/64"];
    trial.network("t1", &["-t", "bridge", "--subnet", v4, "--subnet6", v6])?;
    let own = ["10.213.21.8", "fd00:213:21::8"];
    let member = ["-l", "vnet", "-n", "t1", "--ip", own[0], "--ip6", own[1]];
    let ports = ["-p", "8140:8000", "-p", "8140:8000/udp"];
    let asker = Asker::Container(trial.idle("t1a", &[&member[..], &ports].concat())?);
    let _server = trial.serve(&asker, "T1A", "8000", &own)?;
    let _outside = trial.serve(&OUTSIDE, "OUT", "8141", &["192.0.2.2", "2001:db8:9::2"])?;
    let heard = reached(trial, 8140)?;
    want(heard == [true; 4], "the outside is led to it", format!("{heard:?}"))?;
    let heard = reached(trial, 8000)?;
    want(heard == [false; 4], "its own port is no port of the host", format!("{heard:?}"))?;
    for (to, host) in [("192.0.2.2", HOST[0]), ("2001:db8:9::2", HOST[1])] {
        let heard = trial.ask(&asker, Protocol::Tcp, (to, 8141), None)?;
        let source = heard.seen().map(|seen| seen.ip().to_string());
        want(source.as_deref() == Some(host), format!("{to} sees {host}"), heard.to_string())?;
    }
    Ok(())
}

/// What pf holds: the addresses of the table of all, and the anchors with rules.
fn held(trial: &Trial) -> Done<(BTreeSet<String>, BTreeSet<String>)> {
    let tables = seen::names(&trial.done(Tool::Pfctl, &["-s", "Tables"])?);
    let all = match tables.contains("kleene_all") {
        true => seen::names(&trial.done(Tool::Pfctl, &["-t", "kleene_all", "-T", "show"])?),
        false => BTreeSet::new(),
    };
    let mut anchors = BTreeSet::new();
    for name in seen::names(&trial.done(Tool::Pfctl, &["-s", "Anchors", "-v"])?) {
        if name.matches('/').count() == 2 {
            let rules = trial.done(Tool::Pfctl, &["-a", &name, "-s", "rules"])?;
            anchors.extend((!rules.trim().is_empty()).then_some(name));
        }
    }
    Ok((all, anchors))
}

fn order(trial: &mut Trial) -> Done {
    let empty = held(trial)?;
    let [v4, v6] = ["10.213.21.0/24", "fd00:213:21::/64"];
    trial.network("t1", &["--no-nat", "--subnet", v4, "--subnet6", v6])?;
    let id = trial.idle("t1a", &["-l", "ipnet"])?;
    let own = ["10.213.21.9", "fd00:213:21::9"];
    let (own_anchor, pub_anchor) = (format!("kleene/own/{id}"), format!("kleene/pub/{id}"));
    let listed = trial.listed().to_owned();
    let port = format!("{listed}:8130:80");
    let steps: [(&[&str], bool, bool); 4] = [
        (&["network", "connect", "--ip", own[0], "--ip6", own[1], "t1", "t1a"], true, false),
        (&["publish", "t1a", &port], true, true),
        (&["unpublish", "t1a", &port], true, false),
        (&["network", "disconnect", "t1", "t1a"], false, false),
    ];
    for (step, joined, published) in steps {
        trial.klee_done(step)?;
        let (all, anchors) = held(trial)?;
        let after = format!("after '{}'", step.join(" "));
        let in_table = own.iter().all(|address| all.contains(*address));
        let words = |is: bool| if is { "in" } else { "not in" };
        let what = format!("its addresses are {} <kleene_all> {after}", words(joined));
        want(in_table == joined, what, format!("{all:?}"))?;
        for (anchor, wanted) in [(&own_anchor, joined), (&pub_anchor, published)] {
            let what = format!("rules are {} {anchor} {after}", words(wanted));
            want(anchors.contains(anchor) == wanted, what, format!("{anchors:?}"))?;
        }
    }
    trial.klee_done(&["network", "rm", "t1"])?;
    let left = held(trial)?;
    want(left == empty, format!("pf as before: {empty:?}"), format!("{left:?}"))
}
