//! The file of exits that nobody heard of: what can be read survives being
//! written again.
#![no_main]

use kleene_supervise::exits::{line, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let records = read(bytes);
    let again: Vec<u8> = records.iter().filter_map(|record| line(record).ok()).flatten().collect();
    assert_eq!(records, read(&again));
});
