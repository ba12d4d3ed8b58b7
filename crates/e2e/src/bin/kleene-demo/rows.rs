//! The rows of the model: which hold, by claims of this very run, and what of
//! them comes later.

use crate::stage::Stage;

/// What of a row is not there yet.
enum Missing {
    Nothing,
    /// All but this.
    Only(&'static str),
    /// The row comes later; the claims show that it is refused.
    All(&'static str),
}

/// A row: the thing, what must hold, and the claims that show it.
struct Row {
    thing: &'static str,
    what: &'static str,
    claims: &'static [&'static str],
    missing: Missing,
}

const fn row(thing: &'static str, what: &'static str, claims: &'static [&'static str]) -> Row {
    Row { thing, what, claims, missing: Missing::Nothing }
}

const ROWS: [Row; 10] = [
    row(
        "loopback network",
        "Kleene makes and removes a loopback-like interface",
        &["loopback", "nothing-left"],
    ),
    row(
        "bridge network",
        "Kleene makes a bridge; interfaces of the host are linked into it; vnet joins it",
        &["bridge", "mark", "link", "vnet", "nothing-left"],
    ),
    row(
        "custom network",
        "an existing interface; only containers' addresses come and go",
        &["custom", "nothing-left"],
    ),
    row(
        "host driver",
        "sees and uses every address; changes nothing; joins no network; publishes no ports",
        &["host", "host-ports", "exit-code", "ipnet-private"],
    ),
    row(
        "ipnet driver",
        "sees all interfaces, uses only its own addresses, which the host sees",
        &["ipnet", "ipnet-visible", "ipnet-private", "live"],
    ),
    Row {
        thing: "vnet driver",
        what: "own stack on a crossover cable, free to configure, visible only inside",
        claims: &["vnet", "vnet-to-vnet", "host-to-vnet", "live"],
        missing: Missing::Only(
            "what it sends on the bridge may carry any source; the policy checks it",
        ),
    },
    row("disabled driver", "sees every interface, no address, reaches nothing", &["disabled"]),
    row("ipnet + vnet", "reach each other on one bridge network", &["ipnet-vnet"]),
    row("IPv4, IPv6", "everything above", &["bridge", "vnet", "ipnet", "custom", "live"]),
    Row {
        thing: "what passes",
        what: "nat, published ports, icc=false, internal",
        claims: &["refused-later"],
        missing: Missing::All(
            "it comes with the policy, and is refused by name but for nat, which is stored; until \
             then whoever can send a packet to a container's address reaches it",
        ),
    },
];

pub(crate) fn table(stage: &Stage) {
    for Row { thing, what, claims, missing } in ROWS {
        let held = claims.iter().all(|id| stage.held(id));
        let (good, word, more) = match missing {
            _ if !held => (false, "FAILS", None),
            Missing::Nothing => (true, "holds", None),
            Missing::Only(except) => (true, "holds", Some(("except", except))),
            Missing::All(why) => (false, "later", Some(("why", why))),
        };
        println!("  {}  {thing:<17} {what}", stage.word(good, word));
        if let Some((begin, rest)) = more {
            println!("  {:<24} {begin}: {rest}", "");
        }
    }
}
