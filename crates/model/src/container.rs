//! Containers and executions, as they are stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ContainerId, ExecId, ImageId};
use crate::name::ContainerName;
use crate::network::RoutedCable;
use crate::port::PublishedPort;

/// A container's network driver. Exactly one, fixed at creation.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// The host's stack, and only the container's own addresses of it.
    #[default]
    Ipnet,
    /// The host's stack as it is.
    Host,
    /// A stack of its own.
    Vnet,
    /// No network at all.
    Disabled,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ipnet, Self::Host, Self::Vnet, Self::Disabled];
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipnet => "ipnet",
            Self::Host => "host",
            Self::Vnet => "vnet",
            Self::Disabled => "disabled",
        })
    }
}

/// A directory or file of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path on the host.
    pub source: String,
    /// Absolute path in the container.
    pub destination: String,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// Where a container is in its life. The engine alone changes it, on commands
/// and on events of the supervisor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// No process, no network.
    #[default]
    Stopped,
    /// The supervisor makes its namespaces; endpoints come next.
    Preparing,
    /// Its endpoints stand; the holder and the first command are started.
    Launching,
    /// Processes run in it.
    Running,
    /// It was asked to stop; processes may still run.
    Stopping,
}

impl RunState {
    /// Whether its network has to stand.
    #[must_use]
    pub fn has_network(self) -> bool {
        match self {
            Self::Launching | Self::Running | Self::Stopping => true,
            Self::Stopped | Self::Preparing => false,
        }
    }

    /// Whether clients see it as running.
    #[must_use]
    pub fn is_running(self) -> bool {
        match self {
            Self::Running | Self::Stopping => true,
            Self::Stopped | Self::Preparing | Self::Launching => false,
        }
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name, unique.
    pub name: ContainerName,
    /// The image it was made of.
    pub image: ImageId,
    /// The command of an execution that names none.
    pub cmd: Vec<String>,
    /// The user of an execution that names none; empty: the image's.
    pub user: String,
    /// Environment, `NAME=value`, image and request merged.
    pub env: Vec<String>,
    /// Its driver.
    pub driver: Driver,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Jail parameters, as they were given.
    #[serde(default)]
    pub jail_param: Vec<String>,
    /// Its published ports, in the order in which they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PublishedPort>,
    /// Whether `prune` spares it.
    pub persist: bool,
    /// When it was created, RFC 3339 in UTC with microseconds.
    pub created: String,
    /// Creation order among all containers and executions.
    pub sequence: u64,
    /// Where it is in its life.
    pub run: RunState,
    /// The host's pid of its holder while it runs.
    pub pid: Option<u32>,
    /// The cable that leads into its view, while it has one (`ipnet`).
    #[serde(default)]
    pub cable: Option<RoutedCable>,
}

/// Where an execution is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum ExecutionState {
    /// Created, not started.
    Created,
    /// Being started.
    Starting,
    /// Its first process runs.
    Running,
    /// Its first process has ended.
    Exited {
        /// Exit code, or 128 + signal.
        code: i32,
        /// Whether the container ended with it.
        last: bool,
    },
}

/// One command run in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecId,
    /// The container.
    pub container: ContainerId,
    /// The command; empty: the container's.
    pub cmd: Vec<String>,
    /// Environment over the container's.
    pub env: Vec<String>,
    /// The user; empty: the container's.
    pub user: String,
    /// The working directory; empty: `/`.
    pub workdir: String,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Creation order among all containers and executions.
    pub sequence: u64,
    /// Where it is in its life.
    pub state: ExecutionState,
}

/// `overlay` over `base`: later settings of a variable win, the order of first
/// appearance is kept.
#[must_use]
pub fn merge_env(base: &[String], overlay: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = Vec::with_capacity(base.len() + overlay.len());
    for entry in base.iter().chain(overlay) {
        match merged.iter_mut().find(|known| name(known) == name(entry)) {
            Some(known) => known.clone_from(entry),
            None => merged.push(entry.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_win_and_keep_their_place() {
        let list = |entries: &[&str]| entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>();
        let merged = merge_env(&list(&["A=1", "B=2"]), &list(&["C=3", "A=4", "C=5"]));
        assert_eq!(merged, list(&["A=4", "B=2", "C=5"]));
    }
}
