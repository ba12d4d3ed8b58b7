//! What is permitted: driver × network type, in one match without a wildcard.

use crate::container::Driver;
use crate::network::NetworkType;
use crate::refusal::Refusal;

/// How an endpoint of this pair is made on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// The container's addresses on the network's interface, usable by it alone.
    Addresses,
    /// A cable into the bridge, addresses inside the container.
    Cable,
}

/// Whether a container of `driver` may join a network of `kind`, and how.
///
/// # Errors
/// The refusal with the words that existing clients know.
pub fn connect(driver: Driver, kind: NetworkType) -> Result<Attachment, Refusal> {
    match (driver, kind) {
        (Driver::Ipnet, NetworkType::Loopback | NetworkType::Bridge | NetworkType::Custom) => {
            Ok(Attachment::Addresses)
        }
        (Driver::Vnet, NetworkType::Bridge) => Ok(Attachment::Cable),
        (Driver::Vnet, NetworkType::Loopback | NetworkType::Custom) => {
            Err(Refusal::VnetNeedsBridge { kind })
        }
        (
            Driver::Host | Driver::Disabled,
            NetworkType::Loopback | NetworkType::Bridge | NetworkType::Custom,
        ) => Err(Refusal::DriverJoinsNothing { driver }),
    }
}

/// Whether containers of `driver` may publish ports.
///
/// # Errors
/// [`Refusal::DriverPublishesNothing`].
pub fn publish(driver: Driver) -> Result<(), Refusal> {
    match driver {
        Driver::Ipnet | Driver::Vnet => Ok(()),
        Driver::Host | Driver::Disabled => Err(Refusal::DriverPublishesNothing { driver }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair() {
        use Attachment::{Addresses, Cable};
        let kinds = [NetworkType::Loopback, NetworkType::Bridge, NetworkType::Custom];
        let row = |driver| kinds.map(|kind| connect(driver, kind).ok());
        assert_eq!(row(Driver::Ipnet), [Some(Addresses); 3]);
        assert_eq!(row(Driver::Vnet), [None, Some(Cable), None]);
        assert_eq!(row(Driver::Host), [None; 3]);
        assert_eq!(row(Driver::Disabled), [None; 3]);
    }
}
