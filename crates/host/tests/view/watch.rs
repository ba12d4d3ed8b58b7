//! What the host's links do is told.

use std::os::fd::AsRawFd;
use std::time::Duration;

use kleene_host::linux::view::{Watch, interfaces};

use crate::world::{CABLE, ip_batch, ips, namespace, world};

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn each_change_is_told() {
    world(|_| {
        let mut watch = Watch::open().expect("a watch");
        assert!(!watch.wait(Duration::ZERO).expect("a look"), "nothing happened yet");
        for line in [
            "link add one0 type bridge",
            "link set one0 up",
            "link set one0 mtu 1300",
            "link set one0 name two0",
            "link set two0 address 02:00:00:00:00:07",
            "link del two0",
        ] {
            let before = interfaces().expect("a list");
            ips(&[line]);
            assert!(watch.wait(LONG).expect("a look"), "{line}");
            assert_ne!(interfaces().expect("a list"), before, "{line}");
            assert!(!watch.wait(Duration::ZERO).expect("a look"), "told once: {line}");
        }
    });
}

#[test]
fn a_change_is_told_to_one_who_waits() {
    world(|_| {
        let mut watch = Watch::open().expect("a watch");
        std::thread::scope(|scope| {
            // The thread inherits this one's namespace.
            let waiting = scope.spawn(move || watch.wait(LONG).expect("a look"));
            ips(&["link add one0 type bridge"]);
            assert!(waiting.join().expect("the one who waits"));
        });
    });
}

#[test]
fn cables_come_and_go_without_a_word() {
    world(|_| {
        let mut watch = Watch::open().expect("a watch");
        let inner = namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), inner.as_raw_fd());
        ips(&["link add hub0 up address 02:00:00:00:00:07 type bridge"]);
        assert!(watch.wait(LONG).expect("a look"));
        // One batch, as a daemon makes and marks them at once.
        ip_batch(&format!(
            "link add epair1a type veth peer name epair1b netns {path}\n\
             link set epair1a alias {CABLE}\n\
             link set epair1a master hub0 up\n"
        ));
        assert!(!watch.wait(SHORT).expect("a look"));
        ips(&["link set epair1a nomaster down", "link del epair1a"]);
        assert!(!watch.wait(SHORT).expect("a look"));
        // What only looks like one is told.
        ips(&["link add epair1a type veth peer name far0"]);
        assert!(watch.wait(LONG).expect("a look"));
    });
}

#[test]
fn a_burst_is_told_once_and_one_that_overruns_too() {
    world(|_| {
        let mut watch = Watch::open().expect("a watch");
        ips(&["link add one0 type bridge"]);
        for changes in [10, 2000] {
            let line = |n| format!("link set one0 mtu {}\n", 1300 + n % 2);
            ip_batch(&(0..changes).map(line).collect::<String>());
            assert!(watch.wait(LONG).expect("a look"), "{changes}");
            assert!(!watch.wait(Duration::ZERO).expect("a look"), "{changes}");
        }
        ips(&["link del one0"]);
        assert!(watch.wait(LONG).expect("a look"), "it goes on after an overrun");
    });
}
