//! The inside of `vnet` containers on the fake kernel.

use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{ContainerId, Family, LinkName};

use super::kernel::{Done, Errno, Kernel, insert};

impl Kernel {
    /// Brings a container's loopback up.
    ///
    /// # Errors
    /// [`Errno::NoEntry`].
    pub fn raise_loopback(&mut self, container: ContainerId) -> Done {
        self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?.loopback_up = true;
        Ok(())
    }

    /// Adds an address inside a container.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`], [`Errno::Exists`],
    /// [`Errno::AddressNotAvailable`].
    pub fn add_inner_address(
        &mut self,
        container: ContainerId,
        name: &LinkName,
        addr: IpNet,
    ) -> Done {
        insert(&mut self.inner(container, name)?.addresses, addr)
    }

    /// Brings a link inside a container up.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`].
    pub fn raise_inner(&mut self, container: ContainerId, name: &LinkName) -> Done {
        self.inner(container, name)?.up = true;
        Ok(())
    }

    /// Sets a default route inside a container, in place of another.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`], [`Errno::NetworkDown`] over a
    /// link that is down, [`Errno::NetworkUnreachable`] to a gateway that is
    /// not on the link.
    pub fn add_default(&mut self, container: ContainerId, name: &LinkName, via: IpAddr) -> Done {
        let link = self.inner(container, name)?;
        if !link.up {
            return Err(Errno::NetworkDown);
        }
        if !link.addresses.iter().any(|addr| addr.contains(&via)) {
            return Err(Errno::NetworkUnreachable);
        }
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        namespace.defaults.insert(Family::of(via), (name.clone(), via));
        Ok(())
    }
}
