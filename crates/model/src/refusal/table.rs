//! The one table from a refusal to its kind, code, exit code and hints.

use super::{ImageRefusal, Refusal};

/// What kind of refusal it is: decides the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object of the request does not exist.
    NotFound,
    /// The request is well formed but cannot be done now.
    Conflict,
    /// The request cannot be understood.
    Invalid,
    /// Not done by this version or system.
    Unsupported,
    /// The host failed.
    Host,
}

/// A stable name of a refusal, for programs: the `code` of an error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub &'static str);

impl Refusal {
    /// What this version or this system does not do, by name.
    #[must_use]
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    /// The one table: kind and code of each refusal.
    #[must_use]
    pub fn class(&self) -> (Kind, Code) {
        use Kind::{Conflict, Host, Invalid, NotFound, Unsupported};
        let (kind, code) = match self {
            Self::NetworkNotFound | Self::NetworkToRemoveNotFound => {
                (NotFound, "network-not-found")
            }
            Self::ContainerNotFound
            | Self::ContainerToRemoveNotFound
            | Self::ContainerToUpdateNotFound { .. } => (NotFound, "container-not-found"),
            Self::ExecNotFound { .. } => (NotFound, "exec-not-found"),
            Self::NoSuchImage { .. }
            | Self::ImageNotFound
            | Self::Image(ImageRefusal::ToRemoveNotFound { .. }) => (NotFound, "image-not-found"),
            Self::Ambiguous { .. } => (Conflict, "ambiguous"),
            Self::InvalidNetworkName { .. } => (Invalid, "invalid-network-name"),
            Self::NetworkNameTaken => (Conflict, "network-name-taken"),
            Self::InvalidContainerName { .. } => (Invalid, "invalid-container-name"),
            Self::ContainerNameTaken { .. } => (Conflict, "container-name-taken"),
            Self::Image(ImageRefusal::InvalidName { .. }) => (Invalid, "invalid-image-name"),
            Self::Image(ImageRefusal::NameReserved { .. }) => (Conflict, "image-name-reserved"),
            Self::Image(ImageRefusal::InUse { .. }) => (Conflict, "image-in-use"),
            Self::InvalidInterface { .. } => (Invalid, "invalid-interface"),
            Self::InvalidInstanceName { .. } => (Invalid, "invalid-instance-name"),
            Self::InvalidCidr { .. } => (Invalid, "invalid-cidr"),
            Self::WrongProtocol { .. } => (Invalid, "wrong-protocol"),
            Self::HostBits { .. } => (Invalid, "host-bits"),
            Self::SubnetReserved { .. } => (Invalid, "subnet-reserved"),
            Self::GatewayOutside { .. } => (Invalid, "gateway-outside"),
            Self::GatewayWithoutSubnet { .. } => (Invalid, "gateway-without-subnet"),
            Self::SubnetTooSmall { .. } => (Invalid, "subnet-too-small"),
            Self::SubnetOverlaps { .. } => (Conflict, "subnet-overlaps"),
            Self::InterfaceExists { .. } => (Conflict, "interface-exists"),
            Self::InterfaceRequired => (Invalid, "interface-required"),
            Self::NoSuchInterface { .. } => (Conflict, "no-such-interface"),
            Self::InterfaceOfKleene { .. } => (Conflict, "interface-of-kleene"),
            Self::InterfaceInUse { .. } => (Conflict, "interface-in-use"),
            Self::LinkNeedsBridge { .. } => (Conflict, "link-needs-bridge"),
            Self::CannotLink { .. } => (Conflict, "cannot-link"),
            Self::NotLinked { .. } => (NotFound, "not-linked"),
            Self::VnetNeedsBridge { .. } => (Conflict, "vnet-needs-bridge"),
            Self::DriverJoinsNothing { .. } => (Conflict, "driver-joins-nothing"),
            Self::AlreadyConnected => (Conflict, "already-connected"),
            Self::EndpointNotFound => (NotFound, "endpoint-not-found"),
            Self::NoSubnetForAddress { .. } => (Conflict, "no-subnet"),
            Self::InvalidAddress { .. } => (Invalid, "invalid-address"),
            Self::NetworkFull { .. } => (Conflict, "network-full"),
            Self::PoolsExhausted { .. } => (Conflict, "pools-exhausted"),
            Self::AddressOutside { .. } => (Conflict, "address-outside"),
            Self::AddressTaken { .. } => (Conflict, "address-taken"),
            Self::InvalidPort => (Invalid, "invalid-port"),
            Self::InvalidPublishing => (Invalid, "invalid-publishing"),
            Self::PortTaken { .. } => (Conflict, "port-taken"),
            Self::PortHeld { .. } => (Conflict, "port-held"),
            Self::NotPublished { .. } => (Conflict, "not-published"),
            Self::DriverPublishesNothing { .. } => (Conflict, "driver-publishes-nothing"),
            Self::RunningCannotBeRemoved => (Conflict, "container-running"),
            Self::NotRunning => (Conflict, "container-not-running"),
            Self::ExecAlreadyStarted => (Conflict, "exec-already-started"),
            Self::MayNotStartContainer => (Conflict, "may-not-start-container"),
            Self::ExecNotStarted => (Conflict, "exec-not-started"),
            Self::Busy { .. } => (Conflict, "busy"),
            Self::NoCommand => (Invalid, "no-command"),
            Self::InvalidMount { .. } => (Invalid, "invalid-mount"),
            Self::JailParameterOfDriver { .. } => (Conflict, "jail-parameter-of-driver"),
            Self::InvalidJailParameter { .. } => (Invalid, "invalid-jail-parameter"),
            Self::InvalidEnv { .. } => (Invalid, "invalid-env"),
            Self::StartFailed { .. } => (Host, "start-failed"),
            Self::ExecFailed { .. } => (Conflict, "exec-failed"),
            Self::InvalidRequest { .. } => (Invalid, "invalid-request"),
            Self::Unsupported { .. } => (Unsupported, "unsupported"),
            Self::Host { .. } => (Host, "host"),
        };
        (kind, Code(code))
    }

    /// The exit code of a client whose command was refused; `run`, `exec` and
    /// `start` give 125 for all but a command that could not be started.
    #[must_use]
    pub fn exit_code(&self, runs_a_command: bool) -> i32 {
        match self {
            Self::ExecFailed { exit_code, .. } => *exit_code,
            _ if runs_a_command => 125,
            _ => 1,
        }
    }

    /// What the user may do about it.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NetworkNotFound | Self::NetworkToRemoveNotFound => {
                "list the networks: klee network ls"
            }
            Self::ContainerNotFound
            | Self::ContainerToRemoveNotFound
            | Self::ContainerToUpdateNotFound { .. } => "list the containers: klee container ls -a",
            Self::NoSuchImage { .. }
            | Self::ImageNotFound
            | Self::Image(ImageRefusal::ToRemoveNotFound { .. }) => {
                "list the images: klee image ls; the built-in one, 'host-usr', is always there"
            }
            Self::Image(ImageRefusal::InUse { .. }) => {
                "remove the containers first: klee container rm"
            }
            Self::Ambiguous { .. } => "use more digits of the id",
            Self::RunningCannotBeRemoved => "stop it first: klee container stop",
            Self::NetworkFull { .. } => {
                "remove containers that are no longer used: klee container prune"
            }
            Self::VnetNeedsBridge { .. } => {
                "connect it to a bridge network, or use the driver 'ipnet'"
            }
            Self::DriverJoinsNothing { .. } => {
                "create the container with the driver 'vnet' or 'ipnet'"
            }
            Self::NotPublished { .. } => "list what it publishes: klee container port",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
