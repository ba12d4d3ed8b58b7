//! A container's jail: which parameters its driver has.
//!
//! The jail is made without addresses and without a command: its addresses come by
//! `jail -m` when they stand on their interfaces, a cable of `vnet` by `ifconfig`,
//! and every command by `jexec`, since jail(8) turns each exit code into 1 (FreeBSD
//! 13.2). A jail made with `ip4=disable` can be given addresses later (FreeBSD 13.2).
//!
//! `jail -c` runs `exec.start` before there is a network, and forgets `exec.stop`
//! (FreeBSD 13.2). So both are handed on apart, to whoever runs the jail.
//!
//! What is told to `jail -c`: [`VECTORS`], and the parameters of the user. Recorded
//! from FreeBSD 13.2 are the drivers' parameters, `persist`, `host.hostname` and
//! `mount.devfs=false`; `enforce_statfs`, `children.max` and `devfs_ruleset` are
//! recorded as `jls` prints them.

use std::path::{Path, PathBuf};

use kleene_model::{ContainerId, Driver};

use super::devfs::Ruleset;
pub use super::jail_parameters::Parameters;

/// The forms of all that is told to tools here; `{…}` is a place for a text, as a last
/// word for the user's own parameters, any number of them.
pub const VECTORS: &[&str] = &[
    "jail -c path={root} name={id} host.hostname={name} ip4=inherit ip6=inherit {…}",
    "jail -c path={root} name={id} host.hostname={name} ip4=disable ip6=disable {…}",
    "jail -c path={root} name={id} host.hostname={name} vnet {…}",
    "jail -c path={root} name={id} ip4=inherit ip6=inherit {…}",
    "jail -c path={root} name={id} ip4=disable ip6=disable {…}",
    "jail -c path={root} name={id} vnet {…}",
];

/// What a jail is made from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The container, and the jail's name.
    pub id: ContainerId,
    /// The container's root, on the host.
    pub root: &'a Path,
    /// The host name inside, unless the user's parameters say one; the id where
    /// there is none.
    pub hostname: Option<&'a str>,
    /// The network driver.
    pub driver: Driver,
    /// Which device files it may ever mount. Without it a jail that may mount devfs
    /// shows itself every device of the host.
    pub ruleset: Ruleset,
    /// The user's own parameters.
    pub parameters: &'a Parameters,
}

/// Why a jail cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The root cannot be told to `jail`.
    #[error("cannot make a jail of {}: its path is not absolute, or has a control character", path.display())]
    Path {
        /// The root.
        path: PathBuf,
    },
    /// The host name is none.
    #[error("'{name}' cannot be a host name: use up to 255 characters without blanks")]
    Hostname {
        /// The host name.
        name: String,
    },
}

/// What a driver says. A table: every driver stands there.
fn of_driver(driver: Driver) -> &'static [&'static str] {
    match driver {
        Driver::Host => &["ip4=inherit", "ip6=inherit"],
        Driver::Disabled | Driver::Ipnet => &["ip4=disable", "ip6=disable"],
        Driver::Vnet => &["vnet"],
    }
}

/// What a jail is made from and what runs in it, for whoever makes it: `jail -c
/// PARAMETERS persist`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jail {
    /// Its parameters, without `persist`.
    pub params: Vec<String>,
    /// Commands that are run in it once its network stands: jail(8) would run them
    /// before.
    pub start: Vec<String>,
    /// Commands that are run in it before it is stopped: jail(8) would forget them.
    pub stop: Vec<String>,
}

/// Describes a jail.
///
/// # Errors
/// A root or a host name that cannot be told.
pub fn describe(request: &Request<'_>) -> Result<Jail, JailError> {
    let Request { id, root, hostname, driver, ruleset, parameters } = *request;
    let bad_path = || JailError::Path { path: root.to_owned() };
    let path = root.to_str().filter(|path| is_path(path)).ok_or_else(bad_path)?;
    let mut params = vec![format!("path={path}"), format!("name={id}")];
    // With `host=inherit` the kernel takes none.
    if !parameters.says("host.hostname") && !parameters.says("host") {
        let id = id.to_string();
        params.push(format!("host.hostname={}", check_hostname(hostname.unwrap_or(&id))?));
    }
    params.extend(of_driver(driver).iter().map(|&word| word.to_owned()));
    // Not left to sysctls of the host that set other defaults.
    for (name, value) in [("enforce_statfs", 2), ("children.max", 0)] {
        if !parameters.says(name) {
            params.push(format!("{name}={value}"));
        }
    }
    // They are mounted before, see `mounts`.
    params.push("mount.devfs=false".to_owned());
    params.push(format!("devfs_ruleset={ruleset}"));
    params.extend(parameters.creation.iter().map(|parameter| parameter.text()));
    Ok(Jail { params, start: parameters.start.clone(), stop: parameters.stop.clone() })
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.chars().any(char::is_control)
}

/// 255 characters are what the kernel keeps (`MAXHOSTNAMELEN`, 256 with its end).
fn check_hostname(name: &str) -> Result<&str, JailError> {
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if name.is_empty() || name.len() > 255 || name.chars().any(odd) {
        return Err(JailError::Hostname { name: name.to_owned() });
    }
    Ok(name)
}

#[cfg(test)]
#[path = "jail_tests.rs"]
mod tests;
