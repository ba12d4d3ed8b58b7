//! kldstat(8). pf is in the kernel of the recordings, as its GENERIC-like one has it.

use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};

/// Runs kldstat.
pub(crate) fn kldstat(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (quiet, module) = match args {
        [] => {
            s.say("Id Refs Address                Size Name");
            s.say(" 1    1 0xffffffff80200000   d4fc68 kernel");
            return Ok(());
        }
        ["-q", "-m", module] | ["-m", "-q", module] | ["-qm", module] => (true, *module),
        ["-m", module] => (false, *module),
        _ => return unknown("options of kldstat together"),
    };
    if !s.state.modules.iter().any(|one| one == module) {
        if quiet {
            return Err(Stop::Status(1));
        }
        return s.refuse(format_args!(
            "kldstat: can't find module {module}: No such file or directory"
        ));
    }
    if !quiet {
        s.say("Id  Refs Name");
        s.say(format_args!(" 99    1 {module}"));
    }
    Ok(())
}
