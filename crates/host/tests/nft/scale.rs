//! Many elements. Times are printed, never judged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kleene_engine::piece::Piece;
use kleene_host::linux::nft::Table;

use crate::world::{guarded, must, nft, routed, source, table, world};

/// What a thousand containers with both families need, and a cable each.
fn containers(count: usize) -> BTreeSet<Piece> {
    (0..count).flat_map(container).collect()
}

fn container(number: usize) -> [Piece; 5] {
    let (cable, v4) =
        (format!("epair{number}a"), format!("10.1.{}.{}", number / 256, number % 256));
    let v6 = format!("fd01::{number:x}");
    [guarded(&v4), guarded(&v6), routed(&cable), source(&cable, &v4), source(&cable, &v6)]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What one container's coming and going costs.
fn changes(table: &mut Table) -> (Duration, Duration) {
    let (mut coming, mut going) = (Vec::new(), Vec::new());
    for number in 60_000..60_100 {
        let elements = container(number);
        let start = Instant::now();
        must(table.change(&elements, &[]));
        coming.push(start.elapsed());
        let start = Instant::now();
        must(table.change(&[], &elements));
        going.push(start.elapsed());
    }
    (median(coming), median(going))
}

#[test]
fn thousands_of_elements_in_one_transaction() {
    world(|| {
        let mut table = table();
        for count in [0, 10, 800, 5_000] {
            let elements = containers(count);
            let start = Instant::now();
            must(table.replace(&elements));
            let replaced = start.elapsed();
            let start = Instant::now();
            let listed = must(table.list());
            let took = start.elapsed();
            assert_eq!(listed.map(|listed| listed == elements), Some(true), "{count}");
            let (coming, going) = changes(&mut table);
            println!(
                "{} elements: replace {replaced:?}, list {took:?}, 5 more {coming:?}, 5 less {going:?}",
                elements.len()
            );
        }
        assert_eq!(nft("list set inet kleene sources6").matches("epair").count(), 5_000);
        let all: Vec<_> = containers(5_000).into_iter().collect();
        must(table.change(&[], &all));
        assert_eq!(must(table.list()), Some(BTreeSet::new()));
        must(table.change(&all, &[]));
        assert_eq!(must(table.list()).map(|listed| listed.len()), Some(all.len()));
    });
}
