//! What the engine asks of a store: one transaction at a time.

use kleene_model::{
    Container, ContainerId, Endpoint, EndpointId, ExecId, Execution, Image, ImageId, Network,
    NetworkId,
};

/// How sure a write has to be before the kernel is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Safe against `kill -9` of the daemon. A power loss may lose it, and
    /// with it goes the kernel state it describes.
    Process,
    /// Safe against power loss.
    Disk,
}

/// The key of a stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A network.
    Network(NetworkId),
    /// A container.
    Container(ContainerId),
    /// An endpoint.
    Endpoint(EndpointId),
    /// An execution.
    Execution(ExecId),
    /// An image, but the built-in one.
    Image(ImageId),
}

/// One object as it shall stand in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A network.
    Network(std::sync::Arc<Network>),
    /// A container.
    Container(std::sync::Arc<Container>),
    /// An endpoint.
    Endpoint(std::sync::Arc<Endpoint>),
    /// An execution.
    Execution(std::sync::Arc<Execution>),
    /// An image, but the built-in one.
    Image(std::sync::Arc<Image>),
}

/// One line of a transaction: the object under this key, or none.
pub type Write = (Key, Option<Record>);

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} in the store")]
pub struct StoreError {
    /// `write container 173a1a8d848d`.
    pub what: String,
    /// What the database said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Where the desired state survives the daemon.
pub trait Store {
    /// Everything that is stored.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self) -> Result<Vec<Record>, StoreError>;

    /// Writes all lines or none.
    ///
    /// # Errors
    /// When it could not; nothing was written then.
    fn write(&mut self, writes: &[Write], durability: Durability) -> Result<(), StoreError>;
}
