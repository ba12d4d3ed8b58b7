//! What the kernel lists of an nftables table: no bytes make reading it panic.
#![no_main]

use kleene_host::linux::nft::read_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_anything(bytes);
});
