//! The rows of the model: which hold today, by claims of this very run, and
//! which come later.

use crate::stage::Stage;

/// A row: the thing, what must hold, and the claims that show it; no claims
/// mean that it comes later.
const ROWS: [(&str, &str, &[&str]); 11] = [
    ("loopback network", "Kleene makes and removes a loopback-like interface", &[]),
    (
        "bridge network",
        "Kleene makes a bridge; the only type that vnet joins",
        &["bridge", "mark", "nothing-left"],
    ),
    ("bridge network", "interfaces of the host can be linked into it", &[]),
    ("custom network", "an existing interface, never reconfigured", &[]),
    (
        "host driver",
        "sees and uses every address; changes nothing; joins no network",
        &["host", "exit-code"],
    ),
    ("ipnet driver", "sees all interfaces, uses only its own addresses", &[]),
    (
        "vnet driver",
        "own stack on a crossover cable, free to configure, visible only inside",
        &["vnet", "vnet-to-vnet", "host-to-vnet"],
    ),
    ("disabled driver", "sees every interface, no address, reaches nothing", &[]),
    ("ipnet + vnet", "reach each other on one bridge network", &[]),
    ("IPv4", "for what holds above", &["bridge", "vnet", "host"]),
    ("IPv6", "everything, dual-stack", &[]),
];

pub(crate) fn table(stage: &Stage) {
    for (thing, what, claims) in ROWS {
        let word = if claims.is_empty() {
            stage.word(false, "later")
        } else if claims.iter().all(|id| stage.held(id)) {
            stage.word(true, "holds")
        } else {
            stage.word(false, "FAILS")
        };
        println!("  {word}  {thing:<17} {what}");
    }
}
