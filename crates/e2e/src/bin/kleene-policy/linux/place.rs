//! Where flows come from and lead to, by names that hold when a topology shrinks.

use kleene_model::Driver;
use std::fmt;

use crate::linux::topology::Topology;

/// Where a probe runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Host,
    /// Beyond the interface with the default route.
    Outside,
    /// Beyond the second interface.
    Side,
    /// Behind the interface that is linked into this network.
    Behind(String),
    In(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Outside => f.write_str("outside"),
            Self::Side => f.write_str("side"),
            Self::Behind(net) => write!(f, "behind-{net}"),
            Self::In(jar) => f.write_str(jar),
        }
    }
}

impl Place {
    /// All of a topology.
    pub(crate) fn all(topology: &Topology) -> Vec<Self> {
        let behind = topology.nets.iter().filter(|net| net.linked);
        let behind = behind.map(|net| Self::Behind(net.name.clone()));
        let jars = topology.jars.iter().map(|jar| Self::In(jar.name.clone()));
        [Self::Host, Self::Outside, Self::Side].into_iter().chain(behind).chain(jars).collect()
    }

    /// Whether it is in the host's own stack.
    pub(crate) fn is_host(&self, topology: &Topology) -> bool {
        match self {
            Self::Host => true,
            Self::In(name) => topology.jar(name).is_some_and(|jar| jar.driver == Driver::Host),
            Self::Outside | Self::Side | Self::Behind(_) => false,
        }
    }

    /// The driver of the container that it is in.
    pub(crate) fn driver(&self, topology: &Topology) -> Option<Driver> {
        let Self::In(name) = self else { return None };
        topology.jar(name).map(|jar| jar.driver)
    }

    /// Whether it is beyond an interface that is in no network.
    pub(crate) fn is_outside(&self) -> bool {
        matches!(self, Self::Outside | Self::Side)
    }
}

/// An address by its meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Site {
    /// A container's in a network.
    Endpoint(String, String),
    /// A bridge network's gateway.
    Gateway(String),
    /// The host's on one of its own interfaces, `lo` included.
    Own(&'static str),
    /// The neighbour's beyond the uplink, and one that is farther away.
    Outside,
    OutsideFar,
    /// The same beyond the second interface.
    Side,
    SideFar,
    /// Behind the interface that is linked into a network.
    Behind(String),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(jar, net) => write!(f, "{jar} in {net}"),
            Self::Gateway(net) => write!(f, "gateway of {net}"),
            Self::Own(interface) => write!(f, "the host on {interface}"),
            Self::Outside => f.write_str("outside"),
            Self::OutsideFar => f.write_str("far outside"),
            Self::Side => f.write_str("side"),
            Self::SideFar => f.write_str("far side"),
            Self::Behind(net) => write!(f, "behind {net}"),
        }
    }
}

impl Site {
    /// Who has it.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Endpoint(jar, _) => Place::In(jar.clone()),
            Self::Gateway(_) | Self::Own(_) => Place::Host,
            Self::Outside | Self::OutsideFar => Place::Outside,
            Self::Side | Self::SideFar => Place::Side,
            Self::Behind(net) => Place::Behind(net.clone()),
        }
    }
}
