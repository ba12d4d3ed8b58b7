//! Every refusal: its text, its code, its kind, its hints and the client's exit
//! code, in one table. The HTTP status follows from the kind and the operation:
//! [`crate::operation`].
//!
//! Quoted texts are those that users of Kleene 0.1.1 know and test for.

mod image;
mod table;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::addr::{Family, FieldName};
use crate::container::Driver;
use crate::network::NetworkType;
use crate::port::{Ports, Protocol};

/// Why an operation was refused. `Display` is the text for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // --- names and look-up ---
    /// No network has this id or name.
    #[error("network not found")]
    NetworkNotFound,
    /// The same, where 0.1.1 says it with a full stop: removal.
    #[error("network not found.")]
    NetworkToRemoveNotFound,
    /// No container has this id or name.
    #[error("container not found")]
    ContainerNotFound,
    /// The same, in the words of removal.
    #[error("no such container")]
    ContainerToRemoveNotFound,
    /// The same, in the words of update.
    #[error("no such container '{ident}'")]
    ContainerToUpdateNotFound {
        /// What was asked for.
        ident: String,
    },
    /// No execution has this id.
    #[error("could not find execution instance matching '{ident}'")]
    ExecNotFound {
        /// What was asked for.
        ident: String,
    },
    /// No image has this id or name.
    #[error("no such image '{reference}'")]
    NoSuchImage {
        /// What was asked for.
        reference: String,
    },
    /// The same, in the words of the image operations.
    #[error("image not found")]
    ImageNotFound,
    /// More than one object begins with this id.
    #[error("'{ident}' is ambiguous: it stands for the {what}s {}", candidates.join(", "))]
    Ambiguous {
        /// `network`, `container`, `image`.
        what: &'static str,
        /// What was asked for.
        ident: String,
        /// The ids it could mean.
        candidates: Vec<String>,
    },
    /// A network name is empty, too long or has control characters.
    #[error("invalid network name '{}': use 1 to 255 bytes without control characters", name.escape_default())]
    InvalidNetworkName {
        /// The name.
        name: String,
    },
    /// Another network has it, or an id begins with it.
    #[error("network name is already taken")]
    NetworkNameTaken,
    /// A container name does not match the expression.
    #[error("{name} does not match /?[a-zA-Z0-9][a-zA-Z0-9_.-]+$")]
    InvalidContainerName {
        /// The name.
        name: String,
    },
    /// Another container has it.
    #[error("container name '{name}' is already taken by container {holder}")]
    ContainerNameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// What is refused of images only.
    #[error(transparent)]
    Image(#[from] ImageRefusal),
    /// An interface name breaks the kernel's rules.
    #[error("invalid interface name '{}': use 1 to 15 characters without '/', ':' or white space", name.escape_default())]
    InvalidInterface {
        /// The name.
        name: String,
    },
    /// A daemon's instance name breaks its rules.
    #[error("invalid instance name '{}': use 1 to 32 of a-z, 0-9 and '-'", name.escape_default())]
    InvalidInstanceName {
        /// The name.
        name: String,
    },

    // --- networks ---
    /// A CIDR that cannot be read.
    #[error("invalid {field}: could not parse cidr block: \"{text}\"")]
    InvalidCidr {
        /// The field of the request.
        field: FieldName,
        /// What stood there.
        text: String,
    },
    /// A CIDR or address of the other family.
    #[error("invalid {field}: wrong IP protocol")]
    WrongProtocol {
        /// The field of the request.
        field: FieldName,
    },
    /// A subnet with host bits.
    #[error("invalid {field}: \"{text}\" has host bits, the subnet is {net}")]
    HostBits {
        /// The field of the request.
        field: FieldName,
        /// What stood there.
        text: String,
        /// The subnet it lies in.
        net: IpNet,
    },
    /// A gateway that is not an address of the subnet.
    #[error("invalid {field}: {gateway} is not a usable address of the subnet {subnet}")]
    GatewayOutside {
        /// The field of the request.
        field: FieldName,
        /// The gateway asked for.
        gateway: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// A gateway without a subnet of its family.
    #[error("invalid {field}: the network has no {} subnet", family.protocol())]
    GatewayWithoutSubnet {
        /// The field of the request.
        field: FieldName,
        /// The family.
        family: Family,
    },
    /// A subnet so small that no container fits.
    #[error("invalid {field}: {subnet} has no address for a container")]
    SubnetTooSmall {
        /// The field of the request.
        field: FieldName,
        /// The subnet.
        subnet: IpNet,
    },
    /// A subnet of addresses that no container can have.
    #[error(
        "invalid {field}: {subnet} holds {range}, which no interface can be given, use for example {instead}"
    )]
    SubnetReserved {
        /// The field of the request.
        field: FieldName,
        /// The subnet.
        subnet: IpNet,
        /// `multicast addresses (224.0.0.0/4)`.
        range: String,
        /// A subnet that works.
        instead: &'static str,
    },
    /// A subnet that shares addresses with another network's or a route of the host.
    #[error("invalid {field}: {subnet} overlaps {other}{}", next.map(|n| format!(", the next free subnet is {n}")).unwrap_or_default())]
    SubnetOverlaps {
        /// The field of the request.
        field: FieldName,
        /// The subnet asked for.
        subnet: IpNet,
        /// `10.0.0.0/8 of network web`, `the host's route 10.0.0.0/8 dev eth0`.
        other: String,
        /// The next free one of the same size.
        next: Option<IpNet>,
    },
    /// An interface of that name exists and is not ours.
    #[error(
        "interface {name} already exists on the host and does not belong to Kleene: choose another name, or leave it out to get the next free 'kleeneN'"
    )]
    InterfaceExists {
        /// The interface.
        name: String,
    },
    /// A custom network without an interface.
    #[error("a custom network needs an interface of the host: name one, as in --interface eth0")]
    InterfaceRequired,
    /// An interface that the host does not have, for a custom network, for nat or
    /// for a published port.
    #[error("interface {name} does not exist on the host")]
    NoSuchInterface {
        /// The interface.
        name: String,
    },
    /// A custom network on an interface that Kleene has made.
    #[error(
        "interface {name} is Kleene's own, such as the cable of a container: choose an interface of the host"
    )]
    InterfaceOfKleene {
        /// The interface.
        name: String,
    },
    /// Another network has this interface.
    #[error("interface {name} is used by network {network}")]
    InterfaceInUse {
        /// The interface.
        name: String,
        /// The network's name.
        network: String,
    },

    /// Interfaces are linked into bridge networks only.
    #[error(
        "interfaces can be linked into bridge networks only, and {network} is a {kind} network"
    )]
    LinkNeedsBridge {
        /// The network's name.
        network: String,
        /// Its type.
        kind: NetworkType,
    },
    /// An interface that cannot become a port of a bridge.
    #[error("cannot link interface {name} into network {network}: {why}")]
    CannotLink {
        /// The interface.
        name: String,
        /// The network's name.
        network: String,
        /// Why not, and what to do.
        why: String,
    },
    /// An interface that is not linked into the network.
    #[error("interface {name} is not linked into network {network}")]
    NotLinked {
        /// The interface.
        name: String,
        /// The network's name.
        network: String,
    },

    // --- endpoints ---
    /// A `vnet` container and a network that is not a bridge.
    #[error("containers using the 'vnet' network-driver can't connect to {kind} networks")]
    VnetNeedsBridge {
        /// The network's type.
        kind: NetworkType,
    },
    /// A driver that joins no network.
    #[error("containers with the '{driver}' network-driver cannot connect to networks.")]
    DriverJoinsNothing {
        /// The driver.
        driver: Driver,
    },
    /// The pair is connected already.
    #[error("container already connected to the network")]
    AlreadyConnected,
    /// The pair is not connected.
    #[error("endpoint configuration not found")]
    EndpointNotFound,
    /// An address for a family without subnet.
    #[error("cannot set ip address because there is no {} subnet defined for this network", family.protocol())]
    NoSubnetForAddress {
        /// The family.
        family: Family,
    },
    /// An address that cannot be read.
    #[error("could not parse {} address {text}: einval", family.inet())]
    InvalidAddress {
        /// The family.
        family: Family,
        /// What stood there.
        text: String,
    },
    /// No address is left.
    #[error("no more {} IP's left in the network", family.inet())]
    NetworkFull {
        /// The family.
        family: Family,
    },
    /// No subnet of the configured pools is free.
    #[error("no free {} subnet is left in the configured pools ({pools}): give one, or add a pool", family.protocol())]
    PoolsExhausted {
        /// The family.
        family: Family,
        /// The pools.
        pools: String,
    },
    /// An address outside the subnet.
    #[error("{addr} is not an address of the network's subnet {subnet}")]
    AddressOutside {
        /// The address.
        addr: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// An address that is somebody's, or the network's own.
    #[error("{addr} is not free: it is {holder}")]
    AddressTaken {
        /// The address.
        addr: IpAddr,
        /// `the gateway of the network`, `used by container 173a1a8d848d`.
        holder: String,
    },

    // --- containers and executions ---
    /// Ports of a driver that publishes none.
    #[error("cannot publish ports of a container using the '{driver}' network driver")]
    DriverPublishesNothing {
        /// The driver.
        driver: Driver,
    },
    /// A port that no protocol has.
    #[error("invalid port value (should be in the range 0 - 65535)")]
    InvalidPort,
    /// A published port that cannot be read.
    #[error("could not decode port publishing specification")]
    InvalidPublishing,
    /// A port of the host that leads somewhere already.
    #[error("port {port}/{protocol} of the host is published already, by {holder}")]
    PortTaken {
        /// The port, or the ports.
        port: Ports,
        /// Its protocol.
        protocol: Protocol,
        /// `container web`.
        holder: String,
    },
    /// A port of the host that a program of the host holds.
    #[error("port {port}/{protocol} of the host is in use, by {holder}")]
    PortHeld {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// `nginx (pid 17) on 0.0.0.0`.
        holder: String,
    },
    /// Ports that a container does not publish.
    #[error("container {name} does not publish port {port}/{protocol} of the host")]
    NotPublished {
        /// The container.
        name: String,
        /// The port, or the ports.
        port: Ports,
        /// Its protocol.
        protocol: Protocol,
    },
    /// A running container cannot be removed.
    #[error("you cannot remove a running container")]
    RunningCannotBeRemoved,
    /// Stop of a container that does not run.
    #[error("container not running")]
    NotRunning,
    /// A second start of one execution.
    #[error("executable already started")]
    ExecAlreadyStarted,
    /// An execution in a stopped container, without leave to start it.
    #[error("cannot start container when 'start_container' is false.")]
    MayNotStartContainer,
    /// Stop of an execution that was never started.
    #[error("execution instance have not been started")]
    ExecNotStarted,
    /// The container is being started, stopped or removed.
    #[error("container {container} is {doing}: try again when that is done")]
    Busy {
        /// The container's id.
        container: String,
        /// `starting`, `stopping`.
        doing: &'static str,
    },
    /// A command is needed and neither the request nor the image has one.
    #[error("no command given, and the image has none")]
    NoCommand,
    /// A mount the API cannot express or the host cannot do.
    #[error("invalid mount '{mount}': {why}")]
    InvalidMount {
        /// The mount as text.
        mount: String,
        /// What is wrong.
        why: String,
    },
    /// A jail parameter that would replace what the network driver sets.
    #[error(
        "the jail parameter '{parameter}' is set by the network driver: choose the driver instead"
    )]
    JailParameterOfDriver {
        /// The parameter.
        parameter: String,
    },
    /// A jail parameter whose value is none.
    #[error("invalid jail parameter '{parameter}': use NAME, NAME=true or NAME=false")]
    InvalidJailParameter {
        /// The parameter.
        parameter: String,
    },
    /// An environment entry without a name.
    #[error("invalid environment variable '{}': use NAME=value", entry.escape_default())]
    InvalidEnv {
        /// The entry.
        entry: String,
    },
    /// The container could not be started; the old state is back.
    #[error("could not start container: {why}")]
    StartFailed {
        /// What went wrong.
        why: String,
    },
    /// The command could not be started.
    #[error("{why}")]
    ExecFailed {
        /// What went wrong.
        why: String,
        /// The exit code a shell would give: 126, 127, or 125.
        exit_code: i32,
    },

    // --- requests ---
    /// A body or query that cannot be read.
    #[error("invalid request: {why}")]
    InvalidRequest {
        /// What is wrong, and where.
        why: String,
    },
    /// Something this version or this system does not do.
    #[error("unsupported: {what}")]
    Unsupported {
        /// The feature, by name, and what to do instead.
        what: String,
    },
    /// The host refused; the state is that of before.
    #[error("{what}")]
    Host {
        /// The whole chain of what failed, for which object.
        what: String,
    },
}

pub use image::ImageRefusal;
pub use table::{Code, Kind};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_are_kept_to_the_letter() {
        let text = |refusal: Refusal| refusal.to_string();
        assert_eq!(
            text(Refusal::VnetNeedsBridge { kind: NetworkType::Loopback }),
            "containers using the 'vnet' network-driver can't connect to loopback networks"
        );
        assert_eq!(
            text(Refusal::DriverJoinsNothing { driver: Driver::Host }),
            "containers with the 'host' network-driver cannot connect to networks."
        );
        assert_eq!(
            text(Refusal::NoSubnetForAddress { family: Family::V4 }),
            "cannot set ip address because there is no IPv4 subnet defined for this network"
        );
        assert_eq!(
            text(Refusal::NetworkFull { family: Family::V6 }),
            "no more inet6 IP's left in the network"
        );
        assert_eq!(
            text(Refusal::DriverPublishesNothing { driver: Driver::Disabled }),
            "cannot publish ports of a container using the 'disabled' network driver"
        );
    }
}
