//! What each cell comes to: MODEL's table, in its words.

use super::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Loopback,
    Bridge,
    Custom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Driver {
    Host,
    Ipnet,
    Vnet,
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Stopped,
    Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Connect,
    Disconnect,
    Start,
    Stop,
    RemoveNetwork,
}

impl State {
    pub(crate) const ALL: [Self; 2] = [Self::Stopped, Self::Running];
}

impl Operation {
    pub(crate) const ALL: [Self; 5] =
        [Self::Connect, Self::Disconnect, Self::Start, Self::Stop, Self::RemoveNetwork];
}

impl Kind {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Bridge => "bridge",
            Self::Custom => "custom",
        }
    }
}

impl Driver {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Ipnet => "ipnet",
            Self::Vnet => "vnet",
            Self::Disabled => "disabled",
        }
    }

    /// Whether its containers join networks of this type.
    pub(crate) fn joins(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Ipnet, Kind::Loopback | Kind::Bridge | Kind::Custom)
            | (Self::Vnet, Kind::Bridge) => true,
            (Self::Vnet, Kind::Loopback | Kind::Custom)
            | (Self::Host | Self::Disabled, Kind::Loopback | Kind::Bridge | Kind::Custom) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The endpoint has its addresses, and nobody can use them.
    Reserved,
    /// They stand on the network's interface as /32 and /128, and are used.
    OnInterface,
    /// They stand inside, behind a cable into the bridge, and are used.
    OnCable,
    /// No endpoint, and nothing of the network reaches the container.
    Apart,
    /// The network is gone, and its endpoints with it.
    Gone,
    /// Refused with this status and text; nothing has changed.
    Refused(u16, &'static str),
}

const NO_LOOPBACK: &str =
    "containers using the 'vnet' network-driver can't connect to loopback networks";
const NO_CUSTOM: &str =
    "containers using the 'vnet' network-driver can't connect to custom networks";
const HOST_JOINS_NOTHING: &str =
    "containers with the 'host' network-driver cannot connect to networks.";
const DISABLED_JOINS_NOTHING: &str =
    "containers with the 'disabled' network-driver cannot connect to networks.";
const NOT_CONNECTED: &str = "endpoint configuration not found";
const NOT_RUNNING: &str = "container not running";

pub(crate) fn outcome(cell: Cell) -> Outcome {
    use Driver::{Disabled, Host, Ipnet, Vnet};
    use Kind::{Bridge, Custom, Loopback};
    use Operation::{Connect, Disconnect, RemoveNetwork, Start, Stop};
    use Outcome::{Apart, Gone, OnCable, OnInterface, Refused, Reserved};
    use State::{Running, Stopped};
    match (cell.operation, cell.driver, cell.kind, cell.state) {
        (Connect, Ipnet, Loopback | Bridge | Custom, Stopped)
        | (Connect, Vnet, Bridge, Stopped)
        | (Stop, Ipnet, Loopback | Bridge | Custom, Running)
        | (Stop, Vnet, Bridge, Running) => Reserved,

        (Connect, Ipnet, Loopback | Bridge | Custom, Running)
        | (Start, Ipnet, Loopback | Bridge | Custom, Stopped | Running) => OnInterface,

        (Connect, Vnet, Bridge, Running) | (Start, Vnet, Bridge, Stopped | Running) => OnCable,

        (Connect, Vnet, Loopback, Stopped | Running) => Refused(409, NO_LOOPBACK),
        (Connect, Vnet, Custom, Stopped | Running) => Refused(409, NO_CUSTOM),
        (Connect, Host, Loopback | Bridge | Custom, Stopped | Running) => {
            Refused(409, HOST_JOINS_NOTHING)
        }
        (Connect, Disabled, Loopback | Bridge | Custom, Stopped | Running) => {
            Refused(409, DISABLED_JOINS_NOTHING)
        }

        (Disconnect, Vnet, Loopback | Custom, Stopped | Running)
        | (Disconnect, Host | Disabled, Loopback | Bridge | Custom, Stopped | Running) => {
            Refused(404, NOT_CONNECTED)
        }

        (Disconnect, Ipnet, Loopback | Bridge | Custom, Stopped | Running)
        | (Disconnect, Vnet, Bridge, Stopped | Running)
        | (Start, Vnet, Loopback | Custom, Stopped | Running)
        | (Start, Host | Disabled, Loopback | Bridge | Custom, Stopped | Running)
        | (Stop, Vnet, Loopback | Custom, Running)
        | (Stop, Host | Disabled, Loopback | Bridge | Custom, Running) => Apart,

        (Stop, Host | Ipnet | Vnet | Disabled, Loopback | Bridge | Custom, Stopped) => {
            Refused(404, NOT_RUNNING)
        }

        (
            RemoveNetwork,
            Host | Ipnet | Vnet | Disabled,
            Loopback | Bridge | Custom,
            Stopped | Running,
        ) => Gone,
    }
}
