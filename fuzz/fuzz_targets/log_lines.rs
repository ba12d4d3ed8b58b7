//! Lines of a container's kept output: its fields, or an error.
#![no_main]

use kleene_supervise::log::parse_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    if let Ok(entry) = parse_line(line) {
        assert!(line.ends_with(entry.data));
    }
});
