//! Bodies of containers and executions.

use serde::{Deserialize, Serialize};

use super::EndPoint;
use crate::container::Driver;
use crate::lenient;

/// `POST /containers/create` and `POST /containers/{id}/update`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// Image reference.
    #[serde(default)]
    pub image: Option<String>,
    /// Command; empty: the image's.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// User; empty: the image's.
    #[serde(default)]
    pub user: Option<String>,
    /// Environment, `NAME=value`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// Mounts.
    #[serde(default)]
    pub mounts: Option<Vec<MountPointConfig>>,
    /// Jail parameters (FreeBSD).
    #[serde(default)]
    pub jail_param: Option<Vec<String>>,
    /// Network driver; absent: `ipnet`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub network_driver: Driver,
    /// Published ports.
    #[serde(default)]
    pub public_ports: Option<Vec<PublishedPortConfig>>,
    /// `no` or `on-startup`.
    #[serde(default)]
    pub restart_policy: Option<String>,
    /// Whether `prune` spares the container.
    #[serde(default, deserialize_with = "lenient::optional_boolean")]
    pub persist: Option<bool>,
}

/// A published port of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPortConfig {
    /// Interfaces; empty: that of the default route.
    pub interfaces: Vec<String>,
    /// `N` or `A:B`.
    pub host_port: String,
    /// `N`, `A:B` or `N:*`.
    pub container_port: String,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// Which published ports a container publishes no longer (ours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpublishConfig {
    /// Only those on these interfaces; absent: on whichever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// `N` or `A:B`, as it was published.
    pub host_port: String,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
}

/// A published port, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Interfaces.
    pub interfaces: Vec<String>,
    /// Host port.
    pub host_port: String,
    /// Container port.
    pub container_port: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Target address or empty.
    pub ip_address: String,
    /// Target address or empty.
    pub ip_address6: String,
    /// Why it is not in force, though the container runs (ours).
    #[serde(default)]
    pub degraded: Option<String>,
}

/// A kind of mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A named volume.
    Volume,
    /// A path of the host.
    Nullfs,
}

/// A mount of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPointConfig {
    /// Kind.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// Path in the container.
    pub destination: String,
    /// Volume name, or path on the host.
    pub source: String,
    /// Whether the container may not write.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub read_only: bool,
}

/// A mount, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Container id.
    pub container_id: String,
    /// Kind.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// Path in the container.
    pub destination: String,
    /// Volume name, or path on the host.
    pub source: String,
    /// Whether the container may not write.
    pub read_only: bool,
}

/// A container, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image id.
    pub image_id: String,
    /// Command.
    pub cmd: Vec<String>,
    /// User.
    pub user: String,
    /// Environment.
    pub env: Vec<String>,
    /// Driver.
    pub network_driver: Driver,
    /// Published ports.
    pub public_ports: Vec<PublishedPort>,
    /// Jail parameters.
    pub jail_param: Vec<String>,
    /// `no` or `on-startup`.
    pub restart_policy: String,
    /// Whether `prune` spares it.
    pub persist: bool,
    /// RFC 3339, UTC, microseconds.
    pub created: String,
    /// ZFS dataset; empty where there is none.
    pub dataset: String,
    /// Whether a process of it runs.
    pub running: bool,
}

/// A container, as `GET /containers/list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSummary {
    /// The container's own fields.
    #[serde(flatten)]
    pub container: Container,
    /// Image name.
    pub image_name: String,
    /// Image tag.
    pub image_tag: String,
    /// The jail's id, on Linux the holder's pid; null when stopped.
    pub jid: Option<u32>,
}

/// `GET /containers/{id}/inspect`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInspect {
    /// The container.
    pub container: Container,
    /// Its endpoints, in the order of connection.
    pub container_endpoints: Vec<EndPoint>,
    /// Its mounts.
    pub container_mountpoints: Vec<MountPoint>,
}

/// `POST /exec/create`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecConfig {
    /// Container: id prefix or name.
    pub container_id: String,
    /// Command; empty: the container's.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub cmd: Vec<String>,
    /// Environment over the container's.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub env: Vec<String>,
    /// User; empty: the container's.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub user: String,
    /// Whether it gets a terminal.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub tty: bool,
    /// Working directory (ours); empty: `/`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub workdir: String,
}

/// First message of `/exec/start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStartConfig {
    /// Execution id.
    pub exec_id: String,
    /// Whether output is sent.
    #[serde(deserialize_with = "lenient::boolean")]
    pub attach: bool,
    /// Whether a stopped container is started.
    #[serde(deserialize_with = "lenient::boolean")]
    pub start_container: bool,
    /// Rows and columns of the client's window (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// A terminal window (ours): also the body of `POST /exec/{id}/resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// `GET /exec/{id}/inspect` (ours)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecInspect {
    /// Id.
    pub id: String,
    /// Container id.
    pub container_id: String,
    /// Command as it ran or will run.
    pub cmd: Vec<String>,
    /// `created`, `starting`, `running` or `exited`.
    pub state: String,
    /// Exit code (128 + signal), once exited.
    pub exit_code: Option<i32>,
    /// Whether the container ended with it, once exited.
    pub container_ended: Option<bool>,
    /// Whether it has a terminal.
    pub tty: bool,
}
