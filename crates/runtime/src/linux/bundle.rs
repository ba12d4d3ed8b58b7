//! The bundle libcontainer is given: a copy of the caller's configuration in
//! which the first process has two capabilities more.
//!
//! Installing a system call filter takes `CAP_SYS_ADMIN` (we do not set
//! `no_new_privs`), and libcontainer takes capabilities away before it calls
//! any code of ours. So it leaves these two, and the executor takes them away
//! itself, right after the filter stands and before the program starts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::RuntimeError;

/// What installing the filter, and giving this right up again, takes.
const LENT: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SETPCAP"];

/// A bundle for libcontainer, and what the caller's said.
#[derive(Debug)]
pub(super) struct Bundle {
    /// The directory for libcontainer.
    pub(super) dir: PathBuf,
    /// The container's place in the cgroup tree.
    pub(super) cgroups_path: Option<PathBuf>,
    /// The capabilities the container really has.
    pub(super) capabilities: Vec<String>,
}

impl Bundle {
    /// Reads the caller's bundle and makes ours below `root`.
    pub(super) fn prepare(bundle: &Path, root: &Path, id: &str) -> Result<Self, RuntimeError> {
        let path = bundle.join("config.json");
        let text = fs::read(&path).map_err(io("read", &path))?;
        let mut config: Value = serde_json::from_slice(&text).map_err(config_error(&path))?;
        let bundle = fs::canonicalize(bundle).map_err(io("find", bundle))?;
        let cgroups_path = config["linux"]["cgroupsPath"].as_str().map(PathBuf::from);
        let capabilities = lend(&mut config);
        make_absolute(&mut config, &bundle);

        let dir = Self::dir(root, id);
        let ours = dir.join("config.json");
        let text = serde_json::to_vec(&config).map_err(config_error(&ours))?;
        fs::create_dir_all(&dir).map_err(io("make", &dir))?;
        fs::write(&ours, text).map_err(io("write", &ours))?;
        Ok(Self { dir, cgroups_path, capabilities })
    }

    /// Removes ours; it is only needed while a container is made.
    pub(super) fn remove(root: &Path, id: &str) {
        let _ = fs::remove_dir_all(Self::dir(root, id));
    }

    /// Ids do not begin with a dot.
    fn dir(root: &Path, id: &str) -> PathBuf {
        root.join(format!(".bundle-{id}"))
    }
}

fn io(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let subject = path.display().to_string();
    move |source| RuntimeError::Io { step, subject, source }
}

fn config_error(path: &Path) -> impl FnOnce(serde_json::Error) -> RuntimeError {
    let subject = path.display().to_string();
    move |source| RuntimeError::Config { subject, source }
}

/// Adds what is lent; the container's own are what its program may ever have.
fn lend(config: &mut Value) -> Vec<String> {
    let capabilities = &mut config["process"]["capabilities"];
    let own: Vec<String> = capabilities["bounding"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    for set in ["bounding", "permitted", "effective"] {
        let set = &mut capabilities[set];
        if !set.is_array() {
            *set = json!([]);
        }
        for name in LENT {
            if let Some(list) = set.as_array_mut().filter(|list| !list.contains(&json!(name))) {
                list.push(json!(name));
            }
        }
    }
    own
}

/// The root's path is relative to the caller's bundle, not to ours.
fn make_absolute(config: &mut Value, bundle: &Path) {
    if let Some(path) = config["root"]["path"].as_str() {
        let path = bundle.join(path);
        config["root"]["path"] = json!(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_capabilities_are_lent_and_the_rest_stays() {
        let mut config = json!({
            "process": {"capabilities": {"bounding": ["CAP_KILL", "CAP_SETPCAP"]}},
            "root": {"path": "rootfs"},
        });
        assert_eq!(lend(&mut config), ["CAP_KILL", "CAP_SETPCAP"]);
        let capabilities = &config["process"]["capabilities"];
        assert_eq!(capabilities["bounding"], json!(["CAP_KILL", "CAP_SETPCAP", "CAP_SYS_ADMIN"]));
        assert_eq!(capabilities["effective"], json!(["CAP_SYS_ADMIN", "CAP_SETPCAP"]));
        assert_eq!(capabilities["ambient"], Value::Null);
        make_absolute(&mut config, Path::new("/b"));
        assert_eq!(config["root"]["path"], "/b/rootfs");
    }
}
