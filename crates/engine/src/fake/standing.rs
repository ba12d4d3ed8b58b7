//! Addresses of `ipnet` containers on the fake kernel, and the insides of their
//! views.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{ContainerId, Dual, Family, LinkName, MacAddress};

use super::kernel::{Done, Errno, InnerLink, Kernel, Kind, insert};
use crate::piece::{Inside, Piece};

impl Kernel {
    /// Puts a piece; one that stands already is no error.
    ///
    /// # Errors
    /// [`Errno::NoDevice`], [`Errno::NetworkDown`] for a route over a link that
    /// is down, [`Errno::Invalid`] for a source that is not the host's,
    /// [`Errno::Exists`] for an address that somebody else has set.
    pub fn put(&mut self, piece: &Piece) -> Done {
        match piece {
            Piece::Check { cable } => drop(self.standing.checked.insert(cable.clone())),
            Piece::Guard { addr } => drop(self.standing.guarded.insert(*addr)),
            Piece::Admit { cable, addr } => {
                self.standing.admitted.insert((cable.clone(), *addr));
            }
            Piece::Fallback { addr } => drop(self.standing.fallbacks.insert(*addr)),
            Piece::Steer { addr, cable, source } => {
                let own = |link: &super::kernel::KernelLink| {
                    link.addresses.iter().any(|net| Some(net.addr()) == *source)
                };
                if source.is_some() && !self.links.values().any(own) {
                    return Err(Errno::Invalid);
                }
                if !self.links.get(cable).ok_or(Errno::NoDevice)?.up {
                    return Err(Errno::NetworkDown);
                }
                self.standing.steered.insert(*addr, (cable.clone(), *source));
            }
            Piece::Show { link, addr } => {
                let on = self.links.get(link).ok_or(Errno::NoDevice)?;
                if on.addresses.iter().any(|net| net.addr() == *addr) {
                    return Err(Errno::Exists);
                }
                self.standing.shown.insert((link.clone(), *addr));
            }
            Piece::Answer { link, addr } => {
                self.links.get(link).ok_or(Errno::NoDevice)?;
                self.standing.answered.insert((link.clone(), *addr));
            }
        }
        Ok(())
    }

    /// Takes a piece away; one that is gone already is no error.
    pub fn take(&mut self, piece: &Piece) {
        let standing = &mut self.standing;
        match piece {
            Piece::Check { cable } => drop(standing.checked.remove(cable)),
            Piece::Guard { addr } => drop(standing.guarded.remove(addr)),
            Piece::Admit { cable, addr } => drop(standing.admitted.remove(&(cable.clone(), *addr))),
            Piece::Fallback { addr } => drop(standing.fallbacks.remove(addr)),
            Piece::Steer { addr, cable, source } => {
                if standing.steered.get(addr) == Some(&(cable.clone(), *source)) {
                    standing.steered.remove(addr);
                }
            }
            Piece::Show { link, addr } => drop(standing.shown.remove(&(link.clone(), *addr))),
            Piece::Answer { link, addr } => {
                standing.answered.remove(&(link.clone(), *addr));
            }
        }
    }

    /// Every piece that stands.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let standing = &self.standing;
        let checks = standing.checked.iter().map(|cable| Piece::Check { cable: cable.clone() });
        let guards = standing.guarded.iter().map(|addr| Piece::Guard { addr: *addr });
        let admits = standing
            .admitted
            .iter()
            .map(|(cable, addr)| Piece::Admit { cable: cable.clone(), addr: *addr });
        let fallbacks = standing.fallbacks.iter().map(|addr| Piece::Fallback { addr: *addr });
        let steers = standing.steered.iter().map(|(addr, (cable, source))| Piece::Steer {
            addr: *addr,
            cable: cable.clone(),
            source: *source,
        });
        let shows = standing
            .shown
            .iter()
            .map(|(link, addr)| Piece::Show { link: link.clone(), addr: *addr });
        let answers = standing
            .answered
            .iter()
            .map(|(link, addr)| Piece::Answer { link: link.clone(), addr: *addr });
        checks
            .chain(guards)
            .chain(admits)
            .chain(fallbacks)
            .chain(steers)
            .chain(shows)
            .chain(answers)
            .collect()
    }

    /// The host's own address on its default route.
    #[must_use]
    pub fn default_source(&self) -> Dual<Option<IpAddr>> {
        Dual::from_fn(|family| {
            let is_default = |net: IpNet| net.prefix_len() == 0 && Family::of(net.addr()) == family;
            let route = self.routes.iter().find(|route| is_default(route.destination))?;
            let link = self.links.get(route.link.as_ref()?)?;
            link.addresses.iter().map(IpNet::addr).find(|addr| Family::of(*addr) == family)
        })
    }

    /// The same without what is seen in views and means nothing: mirrors that
    /// hold no address.
    #[must_use]
    pub fn without_mirrors(mut self) -> Self {
        let ends: BTreeSet<(ContainerId, LinkName)> = self
            .links
            .values()
            .filter_map(|link| match &link.kind {
                Kind::Veth { container, peer } => Some((*container, peer.clone())),
                Kind::Bridge | Kind::Other => None,
            })
            .collect();
        for (container, namespace) in &mut self.namespaces {
            namespace.links.retain(|name, link| {
                !link.addresses.is_empty() || ends.contains(&(*container, name.clone()))
            });
        }
        self
    }

    /// Puts something into a view.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`], [`Errno::NetworkDown`],
    /// [`Errno::Invalid`] for a source that the view has not.
    pub fn put_inside(&mut self, container: ContainerId, inside: &Inside) -> Done {
        if let Inside::Mirror { link } = inside {
            self.links.get(link).ok_or(Errno::NoDevice)?;
        }
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        match inside {
            Inside::Mirror { link } => {
                let mirror = InnerLink {
                    mac: MacAddress([2, 0, 0, 0, 0, 2]),
                    up: true,
                    addresses: BTreeSet::new(),
                };
                namespace.links.entry(link.clone()).or_insert(mirror);
            }
            Inside::Up { link } => namespace.links.get_mut(link).ok_or(Errno::NoDevice)?.up = true,
            Inside::Meet { link, family } => {
                namespace.links.get(link).ok_or(Errno::NoDevice)?;
                namespace.met.insert((link.clone(), *family));
            }
            Inside::Address { link, addr } => {
                let addresses = match namespace.links.get_mut(link) {
                    Some(link) => &mut link.addresses,
                    None if link.as_str() == "lo" => &mut namespace.loopback,
                    None => return Err(Errno::NoDevice),
                };
                match insert(addresses, IpNet::from(*addr)) {
                    Err(Errno::Exists) | Ok(()) => {}
                    refused => return refused,
                }
            }
            Inside::Route { destination, link, source } => {
                if !namespace.links.get(link).ok_or(Errno::NoDevice)?.up {
                    return Err(Errno::NetworkDown);
                }
                let own = IpNet::from(*source);
                let links = namespace.links.values();
                if !links
                    .map(|l| &l.addresses)
                    .chain([&namespace.loopback])
                    .any(|a| a.contains(&own))
                {
                    return Err(Errno::Invalid);
                }
                namespace.routes.insert(*destination, (link.clone(), *source));
            }
        }
        Ok(())
    }

    /// Takes something out of a view.
    ///
    /// # Errors
    /// [`Errno::NoEntry`].
    pub fn take_inside(&mut self, container: ContainerId, inside: &Inside) -> Done {
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        match inside {
            Inside::Mirror { link } => drop(namespace.links.remove(link)),
            Inside::Up { link } => {
                if let Some(link) = namespace.links.get_mut(link) {
                    link.up = false;
                }
            }
            Inside::Meet { link, family } => drop(namespace.met.remove(&(link.clone(), *family))),
            Inside::Address { link, addr } => {
                let own = IpNet::from(*addr);
                namespace.loopback.remove(&own);
                if let Some(link) = namespace.links.get_mut(link) {
                    link.addresses.remove(&own);
                }
                namespace.routes.retain(|_, (_, source)| source != addr);
            }
            Inside::Route { destination, link, source } => {
                if namespace.routes.get(destination) == Some(&(link.clone(), *source)) {
                    namespace.routes.remove(destination);
                }
            }
        }
        Ok(())
    }

    /// Gives a link in a view another name.
    ///
    /// # Errors
    /// [`Errno::NoEntry`], [`Errno::NoDevice`], [`Errno::Exists`].
    pub fn rename_inner(&mut self, container: ContainerId, from: &LinkName, to: &LinkName) -> Done {
        let namespace = self.namespaces.get_mut(&container).ok_or(Errno::NoEntry)?;
        if namespace.links.contains_key(to) {
            return Err(Errno::Exists);
        }
        let link = namespace.links.remove(from).ok_or(Errno::NoDevice)?;
        namespace.links.insert(to.clone(), link);
        let met = std::mem::take(&mut namespace.met);
        let name = |link: LinkName| if link == *from { to.clone() } else { link };
        namespace.met = met.into_iter().map(|(link, family)| (name(link), family)).collect();
        for (link, _) in namespace.routes.values_mut().filter(|(link, _)| link == from) {
            *link = to.clone();
        }
        for link in self.links.values_mut() {
            match &mut link.kind {
                Kind::Veth { container: of, peer } if *of == container && peer == from => {
                    *peer = to.clone();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a view holds.
    ///
    /// # Errors
    /// [`Errno::NoEntry`].
    pub fn inside(&self, container: ContainerId) -> Result<BTreeSet<Inside>, Errno> {
        let namespace = self.namespaces.get(&container).ok_or(Errno::NoEntry)?;
        let is_cable = |name: &LinkName| {
            self.links.values().any(|link| {
                matches!(&link.kind, Kind::Veth { container: of, peer } if *of == container && peer == name)
            })
        };
        let mut inside = BTreeSet::new();
        for (name, link) in &namespace.links {
            if !is_cable(name) {
                inside.insert(Inside::Mirror { link: name.clone() });
            } else if link.up {
                inside.insert(Inside::Up { link: name.clone() });
            }
            for addr in &link.addresses {
                inside.insert(Inside::Address { link: name.clone(), addr: addr.addr() });
            }
        }
        if let Ok(lo) = LinkName::parse("lo") {
            let addresses = namespace.loopback.iter();
            inside.extend(addresses.map(|a| Inside::Address { link: lo.clone(), addr: a.addr() }));
        }
        let met = namespace.met.iter().cloned();
        inside.extend(met.map(|(link, family): (LinkName, Family)| Inside::Meet { link, family }));
        inside.extend(namespace.routes.iter().map(|(destination, (link, source))| Inside::Route {
            destination: *destination,
            link: link.clone(),
            source: *source,
        }));
        Ok(inside)
    }
}
