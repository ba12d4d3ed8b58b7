//! What attaching costs, beside the same requests without any thought. Times
//! are printed, never judged.

use std::time::{Duration, Instant};

use kleene_engine::change::Change;
use kleene_host::linux::net::sweep;

use crate::attach::equals_ip;
use crate::world::{World, ip, world};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn attach_many(world: &World, count: u32) -> (Vec<Duration>, Vec<Duration>) {
    let containers: Vec<_> =
        (0..count).map(|n| world.container(u8::try_from(n).expect("small"))).collect();
    world.apply(&world.bridge(1));
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    for (container, number) in containers.iter().zip(1..) {
        let changes = world.attach(*container, 1, number);
        let start = Instant::now();
        world.apply(&changes);
        attach.push(start.elapsed());
    }
    for number in 1..=count {
        let change = Change::RetireCable { link: world.owned_cable(number) };
        let start = Instant::now();
        world.apply(&[change]);
        detach.push(start.elapsed());
    }
    (attach, detach)
}

#[test]
fn two_hundred_cables() {
    world(|world| {
        let (attach, detach) = attach_many(world, 200);
        let owned: Vec<_> = (1..=200).map(|number| world.owned_cable(number)).collect();
        let start = Instant::now();
        let gone = sweep(&owned).expect("sweep");
        let swept = start.elapsed();
        assert_eq!(gone.len(), 200);
        println!(
            "attach {:?} (min {:?}, max {:?})",
            median(attach.clone()),
            attach.iter().min(),
            attach.iter().max()
        );
        println!("detach {:?}, sweep of 200 {swept:?}", median(detach));
    });
}

#[test]
fn a_picture_of_a_thousand_links() {
    world(|world| {
        let batch: String = (0..500)
            .map(|n| format!("link add big{n}a type veth peer name big{n}b\naddr add 10.{}.{}.1/24 dev big{n}a\n", n / 250, n % 250))
            .collect();
        let path = std::env::temp_dir().join(format!("kleene-links-{}", std::process::id()));
        std::fs::write(&path, batch).expect("a batch");
        ip(&["-b", path.to_str().expect("text")]);
        std::fs::remove_file(&path).expect("remove the batch");
        let start = Instant::now();
        let observed = world.observe();
        println!("observe of {} links: {:?}", observed.links().count(), start.elapsed());
        assert!(observed.links().count() > 1_000);
        equals_ip(&observed);
    });
}
