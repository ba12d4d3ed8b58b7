//! What this host lacks.

use std::path::Path;

use kleene_host::freebsd::doctor::{DoctorInput, checks};
use kleene_host::freebsd::run::System;

use crate::config::Config;
use crate::system::{Error, Finding};

/// Looks at everything that a daemon with this configuration needs of the host.
///
/// # Errors
/// When it cannot be told where the daemon's own programs are.
pub(crate) fn inspect(config: &Config) -> Result<Vec<Finding>, Error> {
    let own = std::env::current_exe().map_err(|err| format!("cannot find my program: {err}"))?;
    let sockets = config.unix_sockets();
    let input = DoctorInput {
        root_dir: &config.root,
        programs_dir: own.parent().unwrap_or_else(|| Path::new("/")),
        sockets: &sockets,
    };
    Ok(checks(&System, &input))
}
