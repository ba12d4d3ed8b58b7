//! What the kernel tells of its network: no bytes make reading it panic, and
//! nothing is told twice.
#![no_main]

use kleene_host::linux::net::{monitor, trial};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = monitor::read_anything(bytes);
    let _ = trial::read_anything(bytes);
});
