//! The policy, rule by rule, as it was tried on a real FreeBSD 13.2 (and one internal
//! bridge more). What must not pass stands beside what must.

use kleene_host::freebsd::run::Tool;

use super::{Check, check};
use crate::freebsd::cables::other_end;
use crate::freebsd::layout;
use crate::freebsd::place::kleened;
use crate::freebsd::probe::{Heard, Protocol};
use crate::freebsd::report::{Done, fails, want};
use crate::freebsd::trial::{Asker, SOON, Trial};

/// The rules that are flows alone, by the names of their checks.
pub(super) const FLOWS: &[(&str, &str)] = &[
    (
        "rule-1",
        "a1 -> a1:81  A1
         b1 -> b1:81  B1
         c1 -> c1:81  C1
         c3 -> c3:81  C3
         e1 -> e1:81  E1
         a1 -> c3:81  refused",
    ),
    (
        "rule-2",
        "a1 -> a2:81  A2 sees a1
         b1 -> b2:81  B2 sees b1
         d1 -> d2:81  D2 sees d1
         d1 -> d3:81  D3 sees d1
         d3 -> d1:81  D1 sees d3
         c2 -> c1:80  C1
         c2 -> c1:81  refused
         c3 -> c1:80  C1
         c3 -> c1:81  refused
         c1 -> c4:80  C4
         c1 -> c4:81  refused
         c1 -> c2:81  refused
         c3 -> c4:80  C4
         c3 -> c4:81  refused",
    ),
    (
        "rule-3",
        "a1 -> c1:80  C1
         a1 -> c1:81  refused
         a2 -> b1:80  B1
         a2 -> b1:81  refused
         c1 -> b1:80  B1
         c1 -> b1:81  refused
         d1 -> e1:80  E1
         d1 -> e1:81  refused
         d3 -> a1:80  A1
         d3 -> a2:80  refused
         e1 -> c1:80  C1
         e1 -> c1:81  refused
         a1 -> g1:80  G1
         a1 -> g1:81  refused",
    ),
    (
        "rule-4-to-6",
        "a1 -> out:90  OUT sees a1
         c1 -> out:90  OUT sees c1
         c3 -> out:90  OUT sees c3
         c1 -> far:90  FAR sees c1
         e1 -> out:90  OUT sees e1
         d1 -> out:90  OUT sees host
         d3 -> out:90  OUT sees host
         d1 -> far:90  refused
         d3 -> far:90  refused
         b1 -> out:90  refused
         g1 -> out:90  refused",
    ),
    (
        "rule-7",
        "a1 -> host:99      HOST
         c1 -> host:99      HOST
         c1 -> gate-c:99    HOST
         c3 -> gate-c:99    HOST
         d1 -> gate-d:99    HOST
         d1 -> far-host:99  HOST
         d3 -> far-host:99  HOST
         e1 -> host:99      HOST
         b1 -> host:99      refused
         g1 -> gate-g:99    refused
         g3 -> host:99      refused",
    ),
    (
        "rule-8",
        "host -> a1:81  A1
         host -> a2:81  A2
         host -> b1:81  B1
         host -> c1:81  C1
         host -> c3:81  C3
         host -> d1:81  D1
         host -> d3:81  D3
         host -> e1:81  E1
         host -> g1:81  G1
         host -> g3:81  G3
         out  -> a1:81  silent",
    ),
    (
        "rule-9",
        "out -> a1:81    silent
         out -> a2:81    silent
         out -> b2:81    silent
         out -> c1:81    silent
         out -> c2:81    silent
         out -> d1:81    silent
         out -> e1:81    silent
         out -> e1:8084  silent
         out -> g1:81    silent
         out -> a1:80    A1",
    ),
    (
        "rule-10",
        "out -> host:8080      C1 sees out
         out -> host:8081      A1 sees out
         out -> host:8082      B1 sees out
         out -> host:8083      C4 sees out
         out -> host:8084      E1 sees out
         out -> host:8085      G1 sees out
         out -> far-host:8080  C1
         out -> a1:80          A1
         out -> b1:80          B1
         out -> c1:80          C1
         out -> c4:80          C4
         out -> e1:80          E1
         out -> c2:80          silent",
    ),
    (
        "rule-11",
        "far -> a1:80          silent
         far -> b1:80          silent
         far -> c1:80          silent
         far -> c4:80          silent
         far -> e1:80          silent
         far -> far-host:8080  nobody
         far -> host:8081      nobody
         out -> c1:80          C1",
    ),
    (
        "rule-12-host",
        "host -> host:8080    C1
         host -> host:8081    A1
         host -> host:8083    C4
         host -> gate-c:8080  C1
         host -> gate-c:8082  B1
         host -> lo:8080      C1 sees gate-c
         host -> lo:8081      A1
         host -> lo:8082      B1
         host -> lo:8083      C4
         host -> lo:8084      E1
         host -> lo:8089      nobody",
    ),
    (
        "rule-12-containers",
        "a1 -> host:8080    C1 sees a1
         a1 -> host:8081    A1
         a2 -> host:8082    B1
         c1 -> host:8080    C1
         c1 -> host:8083    C4
         c1 -> gate-c:8080  C1
         c2 -> host:8080    C1 sees gate-c
         c3 -> host:8080    C1
         c4 -> host:8083    C4
         d1 -> gate-d:8080  C1 sees d1
         d3 -> host:8084    E1
         e1 -> host:8081    A1
         b1 -> host:8081    refused
         g1 -> host:8080    refused",
    ),
    (
        "rule-13",
        "b1 -> b2:81    B2
         b1 -> out:90   refused
         b1 -> far:90   refused
         b1 -> host:99  refused
         b1 -> a1:80    refused
         b1 -> c1:80    refused
         b1 -> d1:81    refused
         b1 -> e1:80    refused
         g1 -> g2:81    G2
         g1 -> g3:81    G3
         g3 -> g1:81    G1
         g1 -> out:90   refused
         g1 -> host:99  refused
         g1 -> a1:80    refused
         g2 -> b1:80    refused
         g3 -> out:90   refused
         g3 -> c1:80    refused",
    ),
];

/// Carries out the flows of the check of this name.
fn flows(trial: &mut Trial, name: &str) -> Done {
    match FLOWS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => trial.flows(text),
        None => fails("flows of this name", name),
    }
}

pub(super) const CHECKS: &[Check] = &[
    check("rule-1", "a container to its own addresses: always", |t| flows(t, "rule-1")),
    check("rule-2", "the same network: with icc, or published", |t| flows(t, "rule-2")),
    check("rule-3", "another network: published ports", |t| flows(t, "rule-3")),
    check("rule-4-to-6", "outside: unless internal; with nat, or untranslated", |t| {
        flows(t, "rule-4-to-6")
    }),
    check("rule-7", "the host's own addresses: unless internal", |t| flows(t, "rule-7")),
    check("rule-8", "from the host to a container: always", |t| flows(t, "rule-8")),
    check("rule-9", "from outside, unpublished: never", |t| flows(t, "rule-9")),
    check("rule-10", "from outside, published, on a listed interface: always", |t| {
        flows(t, "rule-10")
    }),
    check("rule-11", "from outside, published, on another interface: never", |t| {
        flows(t, "rule-11")
    }),
    check("rule-12-host", "the host to its own published ports", |t| flows(t, "rule-12-host")),
    check("rule-12-containers", "containers to published ports of the host", |t| {
        flows(t, "rule-12-containers")
    }),
    check("rule-13", "an internal network: nothing but itself", |t| flows(t, "rule-13")),
    check("rule-14", "a vnet container with a source that it does not have: never", rule_14),
    check("rule-15", "an ipnet container with a source that is not its own: never", rule_15),
    check("rule-16", "what pf cannot hold is listed by kleened doctor", rule_16),
    check("rule-ping", "echoes pass where connections do, in both families", ping),
    check("spoof-outside", "the outside with a source of Kleene's: never", spoof_outside),
];

/// Lends an interface inside a jail a source for as long as something is done.
fn with_source(
    trial: &Trial,
    (jail, interface): (&str, &str),
    sources: [&str; 2],
    done: impl Fn(&Trial) -> Done,
) -> Done {
    let [v4, v6] = sources;
    let (own4, own6) = (format!("{v4}/32"), format!("{v6}/128"));
    trial.inside(jail, &["/sbin/ifconfig", interface, "inet", &own4, "alias"])?;
    let v6_line = ["/sbin/ifconfig", interface, "inet6", &own6, "no_dad", "alias"];
    let held = trial.inside(jail, &v6_line).and_then(|_| done(trial));
    trial.inside(jail, &["/sbin/ifconfig", interface, "inet", v4, "-alias"])?;
    trial.inside(jail, &["/sbin/ifconfig", interface, "inet6", v6, "-alias"])?;
    held
}

/// The end of a container's cable inside.
fn cable(trial: &Trial, id: &str) -> Done<String> {
    let links = trial.links(Some(id))?;
    let found = links.keys().find(|name| name.starts_with("epair")).cloned();
    found.map_or_else(|| fails("a cable in the container", format!("{links:?}")), Ok)
}

fn addresses(name: &str) -> [String; 2] {
    layout::addresses(name).map(|pair| pair.map(|ip| ip.to_string())).unwrap_or_default()
}

/// Flows of one that is called `name` in the layout, with lent sources, are silent, and
/// those with its own are answered. Both are named: of several addresses IPv6 takes the
/// one that is most alike.
fn never_with(
    trial: &Trial,
    (name, asker): (&str, &Asker),
    sources: [&str; 2],
    targets: &[(&str, u16)],
) -> Done {
    let own = addresses(name);
    for (to, port) in targets {
        for (family, address) in addresses(to).iter().enumerate() {
            for protocol in Protocol::BOTH {
                let ask = |source| trial.ask(asker, protocol, (address, *port), Some(source));
                let heard = ask(sources[family])?;
                let what = format!("no answer of {address} to {}", sources[family]);
                want(heard == Heard::Silence, what, heard.to_string())?;
                let heard = ask(&own[family])?;
                let what = format!("an answer of {address} to {}", own[family]);
                want(heard.is_answer(), what, heard.to_string())?;
            }
        }
    }
    Ok(())
}

fn rule_14(trial: &mut Trial) -> Done {
    let id = trial.id("d1")?;
    let interface = cable(trial, &id)?;
    let asker = Asker::Container(id.clone());
    let foreign = ["10.213.4.99", "fd00:213:4::99"];
    with_source(trial, (&id, &interface), foreign, |trial| {
        never_with(trial, ("d1", &asker), foreign, &[("d2", 81), ("gate-d", 99), ("out", 90)])
    })
}

fn rule_15(trial: &mut Trial) -> Done {
    let asker = Asker::Container(trial.id("a1")?);
    let (own, neighbour, host) = (addresses("a1"), addresses("a2"), addresses("host"));
    for protocol in Protocol::BOTH {
        for family in 0..2 {
            let to = (neighbour[family].as_str(), 81);
            for foreign in [&neighbour[family], &host[family]] {
                let heard = trial.ask(&asker, protocol, to, Some(foreign))?;
                let refused = heard.to_string() == "bind: EADDRNOTAVAIL";
                want(refused, format!("{foreign} is none of its own"), heard.to_string())?;
            }
            let heard = trial.ask(&asker, protocol, to, Some(&own[family]))?;
            want(heard.is_answer(), format!("{} is its own", own[family]), heard.to_string())?;
        }
    }
    Ok(())
}

fn rule_16(trial: &mut Trial) -> Done {
    let answer = trial.program(&kleened(trial, &["doctor"]), SOON)?;
    let words = "services of the host on the wildcard answer at a container's address";
    want(answer.stdout.contains(words), format!("kleened doctor says: {words}"), answer.stdout)
}

fn ping(trial: &mut Trial) -> Done {
    trial.pings(&[
        ("host", "a1", true),
        ("host", "c1", true),
        ("host", "d3", true),
        ("d1", "d2", true),
        ("d1", "out", true),
        ("c1", "c2", false),
        ("g1", "g2", true),
        ("g1", "out", false),
        ("out", "a1", false),
        ("out", "host", true),
    ])
}

/// How many packets the rules of an anchor have matched.
fn matched(trial: &Trial, anchor: &str) -> Done<u64> {
    let shown = trial.done(Tool::Pfctl, &["-a", anchor, "-vs", "rules"])?;
    let counts = shown.split("Packets: ").skip(1);
    let counts = counts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

fn spoof_outside(trial: &mut Trial) -> Done {
    trial.stage()?;
    let host_end = trial.listed().to_owned();
    let inner = other_end(&host_end);
    let [v4, v6] = addresses("d2");
    let sources = [v4.as_str(), v6.as_str()];
    let asker = Asker::Outside(layout::OUT);
    // Silence alone could be an answer that went to d2 itself.
    let before = matched(trial, "kleene/spoof")?;
    with_source(trial, (layout::OUT, &inner), sources, |trial| {
        never_with(trial, ("out", &asker), sources, &[("a1", 80), ("host", 8081)])
    })?;
    let after = matched(trial, "kleene/spoof")?;
    let what = format!("kleene/spoof has blocked at least 8 packets more than {before}");
    want(after >= before + 8, what, after.to_string())
}
