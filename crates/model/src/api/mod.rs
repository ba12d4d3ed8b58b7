//! The bodies of the HTTP API of Kleene 0.1.1, and what ours adds.
//!
//! Field names, defaults and forms are those of the 0.1.1 document. Fields
//! that are ours are marked so; existing clients ignore them.

mod container;

use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::network::NetworkType;

pub use container::{
    Container, ContainerConfig, ContainerInspect, ContainerSummary, ExecConfig, ExecInspect,
    ExecStartConfig, MountPoint, MountPointConfig, MountType, PublishedPort, PublishedPortConfig,
    UnpublishConfig, Window,
};

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
    /// Interfaces of the host that are linked into it (ours).
    #[serde(default)]
    pub linked: Vec<String>,
    /// How it does in the kernel (ours).
    #[serde(default)]
    pub health: NetworkHealth,
    /// What its rules have decided on (ours).
    #[serde(default)]
    pub counters: Vec<RuleCount>,
}

/// How a network does in the kernel (ours).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkHealth {
    /// Why something of it is missing, and stays so; null when all is there.
    pub degraded: Option<String>,
    /// How often, since the daemon was started, something of it was missing and
    /// came back.
    pub healed: u64,
    /// The chains of others on the host that drop the network's traffic.
    #[serde(default)]
    pub foreign: Vec<String>,
}

/// `POST /networks/connect`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The container's MAC address there, `vnet` only (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The largest packet in bytes (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Which network carries the default route: the one with the highest, among
    /// those with the same the one connected first (ours; 0 if absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
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
    /// The MAC address that was asked for (ours).
    #[serde(default)]
    pub mac: Option<String>,
    /// The MTU that was asked for (ours).
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Priority for the default route (ours).
    #[serde(default)]
    pub priority: i32,
    /// Whether it carries the IPv4 default route of its container (ours).
    #[serde(default)]
    pub default_route: bool,
    /// The same for IPv6 (ours).
    #[serde(default)]
    pub default_route6: bool,
}

/// What a rule of the policy has decided on (ours): a row of `GET /networks/stats`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleCount {
    /// The network's name; empty for what concerns the host as a whole, such as
    /// spoofed sources.
    pub network: String,
    /// The rule: its number, and what it is about.
    pub rule: String,
    /// `passed`, `refused` or `dropped`.
    pub verdict: String,
    /// Packets since the rule was made: of a flow that passes its first one, of one
    /// that does not all.
    pub packets: u64,
    /// What they were long, in bytes.
    pub bytes: u64,
}

/// `GET /networks/log_drops` (ours)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDrops {
    /// Whether packets that the policy blocks are written to the daemon's log.
    pub on: bool,
}

/// `POST /networks/explain` (ours)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainConfig {
    /// A container, an address, `host` or `outside`.
    pub from: String,
    /// The same.
    pub to: String,
    /// The port; absent: ICMP echo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `tcp` or `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// What the policy says of a flow, and what became of one that was sent (ours): a row
/// of `POST /networks/test`, whose body is that of `explain` with a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTest {
    /// What the policy says.
    #[serde(flatten)]
    pub explained: Explanation,
    /// What became of the packet.
    pub packet: String,
    /// Whether that is what the policy says; null where it cannot be known.
    pub agrees: Option<bool>,
}

/// What becomes of a flow in one family (ours).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Its source.
    pub source: String,
    /// Its destination.
    pub destination: String,
    /// `passes`, `refused` or `dropped`.
    pub verdict: String,
    /// The number of the rule that decides; 0 for what is no business of ours.
    pub rule: u8,
    /// What the rule says.
    pub why: String,
    /// The network whose rule it is, or empty.
    pub network: String,
    /// Where it is led instead, address and port, or empty.
    pub led_to: String,
    /// The source that it gets instead, or empty.
    pub seen_as: String,
    /// What would change the verdict, or empty.
    pub change: String,
    /// The chains of others that drop what passes here, or may.
    #[serde(default)]
    pub foreign: Vec<ForeignChain>,
}

/// A chain of somebody else's firewall in the way of a flow (ours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChain {
    /// `drops`, or `may drop` where it hangs on what is not known.
    pub verdict: String,
    /// Which one, and by what.
    pub chain: String,
    /// The line to add, for a shell of the host; empty where none would do.
    pub line: String,
}

/// How an image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageMethod {
    /// The archive of a base system, from a URL.
    Fetch,
    /// The archive of the host's own release.
    FetchAuto,
    /// A copy of a dataset.
    ZfsCopy,
    /// A clone of a dataset.
    ZfsClone,
}

/// The first frame of `/images/create`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCreateConfig {
    /// How.
    pub method: ImageMethod,
    /// `name[:tag]`; empty: none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub tag: String,
    /// Whether it gets the host's `/etc/resolv.conf`.
    #[serde(default = "yes", deserialize_with = "lenient::boolean")]
    pub dns: bool,
    /// Whether it gets the host's `/etc/localtime`.
    #[serde(default = "yes", deserialize_with = "lenient::boolean")]
    pub localtime: bool,
    /// Whether the base system's updates are put into it.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub update: bool,
    /// The dataset of `zfs-copy` and `zfs-clone`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub zfs_dataset: String,
    /// The archive of `fetch`, as fetch(1) knows it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub url: String,
    /// Whether one of `fetch-auto` is named after the host's release.
    #[serde(default, deserialize_with = "lenient::boolean")]
    pub autotag: bool,
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
    use crate::container::Driver;

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
