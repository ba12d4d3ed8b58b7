//! What this host lacks.

use std::path::Path;

use kleene_host::linux::doctor::{DoctorInput, checks};
use kleene_model::{Family, Subnet};

use crate::config::Config;
use crate::system::{Error, Finding};

use super::parent_cgroup;

/// Looks at everything that a daemon with this configuration needs of the host.
///
/// # Errors
/// When it cannot be told where the daemon's own programs are.
pub(crate) fn inspect(config: &Config) -> Result<Vec<Finding>, Error> {
    let own = std::env::current_exe().map_err(|err| format!("cannot find my program: {err}"))?;
    let sockets = config.unix_sockets();
    let first = |family| config.subnet_pools.subnets(family).next();
    let subnets = Family::BOTH.into_iter().filter_map(first).map(Subnet::net);
    let subnets: Vec<_> = subnets.collect();
    Ok(checks(&DoctorInput {
        root_dir: &config.root,
        programs_dir: own.parent().unwrap_or_else(|| Path::new("/")),
        sockets: &sockets,
        cgroup_parent: &parent_cgroup(config),
        instance: &config.instance,
        subnets: &subnets,
    }))
}
