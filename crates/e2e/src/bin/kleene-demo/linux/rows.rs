//! The rows of the model: which hold, by claims of this very run, and what of
//! them comes later.

use crate::linux::stage::Stage;

/// A row: the thing, what must hold, and the claims that show it.
struct Row {
    thing: &'static str,
    what: &'static str,
    claims: &'static [&'static str],
}

const fn row(thing: &'static str, what: &'static str, claims: &'static [&'static str]) -> Row {
    Row { thing, what, claims }
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
    row(
        "vnet driver",
        "own stack on a crossover cable, free to configure, visible only inside",
        &["vnet", "vnet-to-vnet", "host-to-vnet", "live"],
    ),
    row("disabled driver", "sees every interface, no address, reaches nothing", &["disabled"]),
    row("ipnet + vnet", "reach each other on one bridge network", &["ipnet-vnet"]),
    row("IPv4, IPv6", "everything above", &["bridge", "vnet", "ipnet", "custom", "live"]),
    row("what passes", "nat, published ports, icc=false, internal", &["policy", "published"]),
];

pub(crate) fn table(stage: &Stage) {
    for Row { thing, what, claims } in ROWS {
        let held = claims.iter().all(|id| stage.held(id));
        let word = if held { "holds" } else { "FAILS" };
        println!("  {}  {thing:<17} {what}", stage.word(held, word));
    }
}
