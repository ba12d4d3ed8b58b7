//! What the policy costs: published ports, be they many or one, and the rules on the
//! way of every packet.

mod cables;
mod ports;
mod route;
mod rows;
mod shapes;
mod stage;

use serde_json::json;

use crate::linux::Options;
use rows::Row;

/// How many ports are published, as shares of the most.
struct Counts {
    some: u16,
    many: u16,
    most: u16,
}

impl Counts {
    fn of(most: u16) -> Self {
        Self { some: (most / 40).max(1), many: (most / 4).max(1), most: most.max(1) }
    }
}

/// A part of the benchmark: its name for `--only`, and what measures it.
type Part = (&'static str, fn(&Options, &Counts) -> Result<Vec<Row>, String>);

const PARTS: [Part; 5] = [
    ("connections", ports::connections),
    ("publish", ports::publish),
    ("run", ports::run),
    ("cables", cables::bench),
    ("route", route::bench),
];

pub(crate) fn bench(options: &Options) -> Result<(), String> {
    let counts = Counts::of(options.ports);
    let mut rows = Vec::new();
    for (name, part) in PARTS {
        if name.contains(&options.only) {
            for row in part(options, &counts)? {
                println!("{row}");
                rows.push(row.json());
            }
        }
    }
    let shapes = if "shapes".contains(&options.only) {
        shapes::bench(options, &counts)?
    } else {
        Vec::new()
    };
    let all = json!({"rounds": options.rounds, "rows": rows, "shapes": shapes});
    crate::linux::write_json(options.json.as_deref(), &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_shares_and_never_none() {
        let full = Counts::of(40_000);
        assert_eq!((full.some, full.many, full.most), (1000, 10_000, 40_000));
        let least = Counts::of(0);
        assert_eq!((least.some, least.many, least.most), (1, 1, 1));
    }
}
