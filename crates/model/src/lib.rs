//! What Kleene talks about: names, ids, addresses, networks, containers and
//! endpoints, the type × driver matrix, every refusal, and the API's bodies.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no
//! randomness, no operating system. Untrusted text becomes a typed value here
//! or nowhere.
#![forbid(unsafe_code)]

pub mod addr;
pub mod api;
pub mod container;
pub mod id;
pub mod image;
pub mod jail;
pub mod lenient;
mod mac;
pub mod matrix;
pub mod name;
pub mod network;
pub mod operation;
pub mod policy;
pub mod port;
pub mod refusal;
mod reserved;

pub use addr::{Dual, Family, Subnet};
pub use container::{Container, Driver, Execution, ExecutionState, Mount, RunState};
pub use id::{ContainerId, EndpointId, ExecId, ImageId, NetworkId};
pub use image::{Image, Nametag};
pub use jail::Jail;
pub use mac::MacAddress;
pub use name::{ContainerName, InstanceName, LinkName, NetworkName};
pub use network::{
    Borrowed, Endpoint, EndpointOptions, Gateway, Linked, Nat, Network, NetworkType, RoutedCable,
};
pub use operation::Operation;
pub use port::{Listed, Ports, Protocol, PublishedPort};
pub use refusal::{Code, Refusal};
