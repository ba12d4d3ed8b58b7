//! What the kernel lists of other people's firewalls: no bytes make reading it panic,
//! nor following a packet through it, which comes to an end.
#![no_main]

use kleene_host::linux::nft::foreign::read_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_anything(bytes);
});
