//! What the tests of this crate share.

use std::io::Write;

/// Whether tests that need root can run: says loudly when not, and fails when
/// they are required.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(
            std::env::var_os("KLEENE_REQUIRE_ROOT_TESTS").is_none_or(|value| value != "1"),
            "{test} needs root"
        );
        // Not eprintln!, which the test harness swallows.
        writeln!(std::io::stderr(), "SKIPPED: {test}: not root").unwrap();
    }
    root
}
