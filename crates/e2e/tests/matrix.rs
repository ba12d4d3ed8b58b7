//! Every cell of type × driver × state × operation, in both families, through
//! the HTTP API; what came of it is asked of the kernel, of the container, and
//! of those who talk to it.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

#[path = "matrix/cell.rs"]
mod cell;
mod common;
#[path = "matrix/table.rs"]
mod table;

use cell::Cell;
use common::LIMIT;
use kleene_e2e::World;
use std::collections::BTreeSet;
use table::{Driver, Kind, Operation, Outcome, State, outcome};

/// Cells of one driver on one type.
const CELLS: usize = State::ALL.len() * Operation::ALL.len();

/// Makes a test of each driver on each type, and the list of them.
macro_rules! each {
    ($($name:ident: $driver:ident $kind:ident,)*) => {
        const RUNS: &[(Driver, Kind)] = &[$((Driver::$driver, Kind::$kind),)*];
        $(#[test]
        fn $name() {
            run(stringify!($name), Driver::$driver, Kind::$kind);
        })*
    };
}

each! {
    host_on_loopback: Host Loopback,
    host_on_bridge: Host Bridge,
    host_on_custom: Host Custom,
    ipnet_on_loopback: Ipnet Loopback,
    ipnet_on_bridge: Ipnet Bridge,
    ipnet_on_custom: Ipnet Custom,
    vnet_on_loopback: Vnet Loopback,
    vnet_on_bridge: Vnet Bridge,
    vnet_on_custom: Vnet Custom,
    disabled_on_loopback: Disabled Loopback,
    disabled_on_bridge: Disabled Bridge,
    disabled_on_custom: Disabled Custom,
}

/// How many checks the cells of one driver on one type make, at least.
fn fewest(driver: Driver, kind: Kind) -> usize {
    match (driver, kind) {
        (Driver::Ipnet, Kind::Loopback | Kind::Bridge) | (Driver::Vnet, Kind::Bridge) => 190,
        (Driver::Ipnet, Kind::Custom) => 220,
        (Driver::Vnet, Kind::Loopback | Kind::Custom)
        | (Driver::Host | Driver::Disabled, Kind::Loopback | Kind::Bridge | Kind::Custom) => 50,
    }
}

fn run(test: &str, driver: Driver, kind: Kind) {
    let Some(world) = World::open(test) else { return };
    let _kleened = world.start_kleened("");
    let before = world.snapshot();
    let settings = world.settings();
    let (mut cells, mut checks) = (0, 0);
    {
        let stage = cell::Stage::new(&world, kind);
        for state in State::ALL {
            for operation in Operation::ALL {
                let cell = Cell { kind, driver, state, operation };
                checks += stage.play(cell);
                cells += 1;
            }
        }
        stage.end();
    }
    world.assert_back_to(&before, LIMIT);
    assert_eq!(world.settings(), settings);
    println!("{test}: {cells} cells, {checks} checks");
    assert_eq!(cells, CELLS);
    assert!(checks >= fewest(driver, kind), "only {checks} checks");
}

#[test]
fn no_cell_is_missing() {
    let runs: BTreeSet<_> = RUNS.iter().copied().collect();
    assert_eq!((runs.len(), RUNS.len()), (12, 12));
    let mut count = [0; 6];
    for &(driver, kind) in RUNS {
        for state in State::ALL {
            for operation in Operation::ALL {
                let place = match outcome(Cell { kind, driver, state, operation }) {
                    Outcome::Reserved => 0,
                    Outcome::OnInterface => 1,
                    Outcome::OnCable => 2,
                    Outcome::Apart => 3,
                    Outcome::Gone => 4,
                    Outcome::Refused(..) => 5,
                };
                count[place] += 1;
            }
        }
    }
    println!("{} cells: {count:?}", count.iter().sum::<usize>());
    assert_eq!(count.iter().sum::<usize>(), 120);
    // Four pairs join: two cells of each reserve, three stand, two part. The
    // other eight run and stop without their network: three cells each.
    assert_eq!(count, [8, 9, 3, 32, 24, 44]);
}
