//! A container's jail: which parameters its driver has.
//!
//! The jail is made without addresses and without a command: its addresses come by
//! `jail -m` when they stand on their interfaces, a cable of `vnet` by `ifconfig`,
//! and every command by `jexec`, since jail(8) turns each exit code into 1 (FreeBSD
//! 13.2). A jail made with `ip4=disable` can be given addresses later (FreeBSD 13.2).
//!
//! `jail -r` has forgotten what `jail -c` was told of stopping. So parameters for it
//! are written to its standard input as the configuration of this one jail.
//!
//! What is told to `jail`: [`VECTORS`], and the parameters of the user. Recorded from
//! FreeBSD 13.2 are the drivers' parameters, `persist`, `host.hostname`,
//! `mount.devfs=false` and `jail -f - -r`; `enforce_statfs`, `children.max` and
//! `devfs_ruleset` are recorded as `jls` prints them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kleene_model::{ContainerId, Driver};

use super::devfs::Ruleset;
pub use super::jail_parameters::Parameters;
use super::run::{Call, Tool};

/// The forms of all that is told to tools here; `{…}` is a place for a text, as a last
/// word for the user's own parameters, any number of them.
pub const VECTORS: &[&str] = &[
    "jail -c name={id} path={root} host.hostname={name} ip4=inherit ip6=inherit persist {…}",
    "jail -c name={id} path={root} host.hostname={name} ip4=disable ip6=disable persist {…}",
    "jail -c name={id} path={root} host.hostname={name} vnet persist {…}",
    "jail -c name={id} path={root} ip4=inherit ip6=inherit persist {…}",
    "jail -c name={id} path={root} ip4=disable ip6=disable persist {…}",
    "jail -c name={id} path={root} vnet persist {…}",
    "jail -m name={id} {…}",
    "jail -r {id}",
    "jail -f - -r {id}",
];

/// How long `jail` may take where it runs commands of the user.
const COMMANDS_DEADLINE: Duration = Duration::from_secs(60);

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

/// Makes the jail, which lives until it is removed.
///
/// # Errors
/// A root or a host name that cannot be told.
pub fn create(request: &Request<'_>) -> Result<Call, JailError> {
    let Request { id, root, hostname, driver, ruleset, parameters } = *request;
    let bad_path = || JailError::Path { path: root.to_owned() };
    let path = root.to_str().filter(|path| is_path(path)).ok_or_else(bad_path)?;
    let mut args = vec!["-c".to_owned(), format!("name={id}"), format!("path={path}")];
    // With `host=inherit` the kernel takes none.
    if !parameters.says("host.hostname") && !parameters.says("host") {
        let id = id.to_string();
        args.push(format!("host.hostname={}", check_hostname(hostname.unwrap_or(&id))?));
    }
    args.extend(of_driver(driver).iter().map(|&word| word.to_owned()));
    args.push("persist".to_owned());
    // Not left to sysctls of the host that set other defaults.
    for (name, value) in [("enforce_statfs", 2), ("children.max", 0)] {
        if !parameters.says(name) {
            args.push(format!("{name}={value}"));
        }
    }
    // They are mounted before, see `mounts`.
    args.push("mount.devfs=false".to_owned());
    args.push(format!("devfs_ruleset={ruleset}"));
    args.extend(parameters.creation.iter().map(|parameter| parameter.text()));
    let commands = parameters.creation.iter().any(|given| given.name.starts_with("exec."));
    let call = Call::new(Tool::Jail, args);
    Ok(if commands { call.within(COMMANDS_DEADLINE) } else { call })
}

/// Changes a jail that runs to parameters that its user gives it now: those that the
/// kernel keeps. Commands are run at the next start, and so is what is mounted.
/// `None` where nothing is left to change.
#[must_use]
pub fn change(id: ContainerId, parameters: &Parameters) -> Option<Call> {
    let kept = parameters
        .creation
        .iter()
        .filter(|given| !["exec.", "mount."].iter().any(|prefix| given.name.starts_with(prefix)));
    let kept: Vec<String> = kept.map(|given| given.text()).collect();
    if kept.is_empty() {
        return None;
    }
    let args = ["-m".to_owned(), format!("name={id}")];
    Some(Call::new(Tool::Jail, args.into_iter().chain(kept)))
}

/// Removes a jail and ends its processes. Alone it waits up to ten seconds for those
/// that ignore SIGTERM (FreeBSD 13.2): they are ended before. Commands that the user
/// gave for this are run by jail(8).
#[must_use]
pub fn remove(id: ContainerId, parameters: &Parameters) -> Call {
    let name = id.to_string();
    if parameters.removal.is_empty() {
        return Call::new(Tool::Jail, ["-r", &name]);
    }
    let mut text = format!("{name} {{\n");
    for (at, given) in parameters.removal.iter().enumerate() {
        let repeated = parameters.removal[..at].iter().any(|other| other.name == given.name);
        let sign = if repeated && given.name.starts_with("exec.") { "+=" } else { "=" };
        match &given.value {
            Some(value) => text.push_str(&format!("    {} {sign} {};\n", given.name, quote(value))),
            None => text.push_str(&format!("    {};\n", given.name)),
        }
    }
    text.push_str("}\n");
    Call::new(Tool::Jail, ["-f", "-", "-r", &name]).with_stdin(text).within(COMMANDS_DEADLINE)
}

/// A text in single quotes, in which jail.conf(5) knows no variables and one escape.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
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
