//! What tests of jobs share.
#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::path::Path;

use kleene_model::InstanceName;

use super::*;
use crate::config::LogFormat;
use crate::core::tests::Rig;

/// A daemon's configuration with that root.
pub(crate) fn config(root: &Path) -> Config {
    for dir in ["run", "trash"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    Config {
        subnet_pools: kleene_model::addr::Pools::default(),
        root: root.to_owned(),
        dataset: None,
        addresses: Vec::new(),
        log_level: None,
        log_file: None,
        log_format: LogFormat::Text,
        instance: InstanceName::parse("unit").unwrap(),
        socket_group: None,
        metrics: Vec::new(),
        log_drops: false,
    }
}

/// What jobs may use, without programs.
pub(crate) fn context(rig: &Rig, root: &Path) -> Context {
    Context {
        config: Arc::new(config(root)),
        core: rig.core.clone(),
        stacks: Stacks::default(),
        attachments: Attachments::default(),
        programs: Arc::new(Programs::named(Path::new("/nonexistent"))),
        descriptors: Descriptors::raise(),
        images: Images::default(),
        left_behind: Arc::default(),
    }
}
