//! The bodies of the HTTP API of Kleene 0.1.1, and what ours adds.
//!
//! Field names, defaults and forms are those of the 0.1.1 document. Fields
//! that are ours are marked so; existing clients ignore them.

use serde::{Deserialize, Serialize};

use crate::container::Driver;
use crate::lenient;
use crate::network::NetworkType;

/// The built-in image: the host's own `/usr`.
pub const HOST_USR: &str = "host-usr";

/// `POST /networks/create`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NetworkType,
    /// Host interface; empty: the next free `kleeneN`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub interface: String,
    /// IPv4 subnet; empty: none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub subnet: String,
    /// IPv6 subnet; empty: none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub subnet6: String,
    /// IPv4 gateway: empty, `<auto>`, or an address.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub gateway: String,
    /// IPv6 gateway: empty, `<auto>`, or an address.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub gateway6: String,
    /// `<host-gateway>`, an interface, or empty.
    #[serde(default = "host_gateway")]
    pub nat: Option<String>,
    /// Whether containers reach each other.
    #[serde(default = "yes", deserialize_with = "lenient::boolean")]
    pub icc: bool,
    /// Whether the network is cut off.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub internal: bool,
}

/// The text for "follow the host's default route".
pub const HOST_GATEWAY: &str = "<host-gateway>";
/// The text for "the lowest free one" or "the first address".
pub const AUTO: &str = "<auto>";

fn host_gateway() -> Option<String> {
    Some(HOST_GATEWAY.to_owned())
}

fn yes() -> bool {
    true
}

/// A network, as lists and `inspect` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NetworkType,
    /// Host interface.
    pub interface: String,
    /// IPv4 subnet or empty.
    pub subnet: String,
    /// IPv6 subnet or empty.
    pub subnet6: String,
    /// IPv4 gateway as it was asked for.
    pub gateway: String,
    /// IPv6 gateway as it was asked for.
    pub gateway6: String,
    /// `<host-gateway>`, an interface, or empty.
    pub nat: String,
    /// Whether containers reach each other.
    pub icc: bool,
    /// Whether the network is cut off.
    pub internal: bool,
}

/// `GET /networks/{id}/inspect`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInspect {
    /// The network.
    pub network: Network,
    /// Its endpoints.
    pub network_endpoints: Vec<EndPoint>,
}

/// `POST /networks/connect`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndPointConfig {
    /// Container: id prefix or name.
    pub container: String,
    /// Network: id prefix or name.
    pub network: String,
    /// IPv4 address: empty, `<auto>`, or an address.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ip_address: String,
    /// IPv6 address: empty, `<auto>`, or an address.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ip_address6: String,
}

/// An endpoint, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndPoint {
    /// Id.
    pub id: String,
    /// Network id.
    pub network_id: String,
    /// Container id.
    pub container_id: String,
    /// `epairN` while a vnet container runs, else null.
    pub epair: Option<String>,
    /// IPv4 address or empty.
    pub ip_address: String,
    /// IPv6 address or empty.
    pub ip_address6: String,
}

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

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Tag.
    pub tag: String,
    /// Default command.
    pub cmd: Vec<String>,
    /// Environment.
    pub env: Vec<String>,
    /// User.
    pub user: String,
    /// Build instructions and snapshots.
    pub instructions: Vec<(String, String)>,
    /// RFC 3339, UTC, microseconds.
    pub created: String,
    /// ZFS dataset; empty where there is none.
    pub dataset: String,
}

/// What create, remove, stop and update answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdResponse {
    /// Id.
    pub id: String,
}

/// What a refused operation answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// Text for the user.
    pub message: String,
    /// Stable name for programs (ours).
    #[serde(default)]
    pub code: String,
    /// What to do about it (ours).
    #[serde(default)]
    pub hints: Vec<String>,
}

/// Kind of a [`WebSocketMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// Output follows.
    Starting,
    /// The end, as a close reason.
    Closing,
    /// The end, as a close reason, after an error.
    Error,
}

/// What a websocket says beside output. Serialised in the order data,
/// message, msg_type, which 0.1.1's users test for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSocketMessage {
    /// Data.
    #[serde(default)]
    pub data: String,
    /// Text for the user.
    #[serde(default)]
    pub message: String,
    /// Kind.
    pub msg_type: MessageType,
}

/// Longest close reason of a websocket, in bytes (RFC 6455 section 5.5).
pub const CLOSE_REASON_MAX: usize = 123;

impl WebSocketMessage {
    /// The message as a close reason: whole JSON of at most
    /// [`CLOSE_REASON_MAX`] bytes; a text that is too long loses its end, the
    /// message first.
    #[must_use]
    pub fn close_reason(&self) -> String {
        // Every character takes at least a byte, so no more of them can stay.
        let cut = |text: &str| text.chars().take(CLOSE_REASON_MAX).collect();
        let (data, message) = (cut(&self.data), cut(&self.message));
        let mut shorter = Self { data, message, msg_type: self.msg_type };
        loop {
            // A struct of two texts and an enum always serialises.
            let json = serde_json::to_string(&shorter).unwrap_or_default();
            if json.len() <= CLOSE_REASON_MAX
                || shorter.message.pop().or_else(|| shorter.data.pop()).is_none()
            {
                return json;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bodies_of_existing_clients_are_read() {
        let start: ExecStartConfig = lenient::body(
            br#"{"exec_id":"2fc5447ef1e8","attach":true,"start_container":"true","more":1}"#,
        )
        .expect("0.1.1 sends the boolean as a string");
        assert!(start.start_container && start.attach);
        let network: NetworkConfig =
            lenient::body(br#"{"name":"web","type":"bridge","subnet":null,"icc":"false"}"#)
                .expect("null is absent");
        assert_eq!((network.subnet.as_str(), network.icc, network.internal), ("", false, false));
        assert_eq!(network.nat.as_deref(), Some(HOST_GATEWAY));
        let container: ContainerConfig = lenient::body(
            br#"{"name":null,"network_driver":null,"container":"x","persist":"true"}"#,
        )
        .expect("extra fields are ignored");
        assert_eq!((container.network_driver, container.persist), (Driver::Ipnet, Some(true)));
    }

    #[test]
    fn wrong_bodies_say_where() {
        let why =
            |body: &[u8]| lenient::body::<ExecStartConfig>(body).expect_err("wrong").to_string();
        assert!(why(b"{}").contains("exec_id"), "{}", why(b"{}"));
        assert!(
            why(br#"{"exec_id":"a","attach":7,"start_container":true}"#)
                .contains("Invalid boolean")
        );
        assert!(why(b"[").contains("invalid request"));
        assert!(why(&vec![b' '; lenient::BODY_MAX + 1]).contains("limit"));
    }

    #[test]
    fn close_reasons_fit_and_stay_json() {
        let message = WebSocketMessage {
            data: String::new(),
            message: "ü\"".repeat(100),
            msg_type: MessageType::Error,
        };
        let reason = message.close_reason();
        assert!(reason.len() <= CLOSE_REASON_MAX && reason.len() > CLOSE_REASON_MAX - 4);
        assert!(serde_json::from_str::<WebSocketMessage>(&reason).is_ok());
        let starting = WebSocketMessage {
            data: String::new(),
            message: String::new(),
            msg_type: MessageType::Starting,
        };
        assert_eq!(starting.close_reason(), r#"{"data":"","message":"","msg_type":"starting"}"#);
    }
}
