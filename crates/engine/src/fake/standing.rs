//! Addresses of `ipnet` containers on the fake kernel, and the insides of their
//! views.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use kleene_model::{ContainerId, Dual, Family, LinkName, MacAddress};

use super::kernel::{Done, Errno, InnerLink, Kernel, Kind, insert};
use crate::actual::Uplink;
use crate::inside::Inside;
use crate::piece::Piece;

impl Kernel {
    /// Puts a piece; one that stands already is no error.
    ///
    /// # Errors
    /// [`Errno::NoDevice`], [`Errno::NetworkDown`] for a route over a link that
    /// is down, [`Errno::Invalid`] for a source that is not the host's,
    /// [`Errno::Exists`] for an address that somebody else has set.
    pub fn put(&mut self, piece: &Piece) -> Done {
        match piece {
            piece if piece.is_of_shared_stack() => return Err(Errno::Invalid),
            piece if piece.is_policy() => {
                if self.standing.policy.iter().any(|held| excludes(held, piece)) {
                    return Err(Errno::Exists);
                }
                self.standing.policy.insert(piece.clone());
            }
            Piece::Fallback { addr } => {
                let new = self.standing.fallbacks.insert(*addr);
                if new && addr.is_ipv4() && self.standing.steered.contains_key(addr) {
                    self.standing.shadowed.insert(*addr);
                }
            }
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
                let way = (cable.clone(), *source);
                if self.standing.steered.insert(*addr, way.clone()) != Some(way) {
                    self.standing.shadowed.remove(addr);
                }
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
            // Of the policy.
            _ => {}
        }
        Ok(())
    }

    /// Takes a piece away; one that is gone already is no error.
    pub fn take(&mut self, piece: &Piece) {
        let standing = &mut self.standing;
        match piece {
            piece if piece.is_policy() => drop(standing.policy.remove(piece)),
            Piece::Fallback { addr } => {
                standing.fallbacks.remove(addr);
                standing.shadowed.remove(addr);
            }
            Piece::Steer { addr, cable, source }
                if standing.steered.get(addr) == Some(&(cable.clone(), *source)) =>
            {
                standing.steered.remove(addr);
                standing.shadowed.remove(addr);
            }
            Piece::Show { link, addr } => drop(standing.shown.remove(&(link.clone(), *addr))),
            Piece::Answer { link, addr } => {
                standing.answered.remove(&(link.clone(), *addr));
            }
            // Of the policy.
            _ => {}
        }
    }

    /// Every piece that stands.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let standing = &self.standing;
        let policy = standing.policy.iter().cloned();
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
        policy.chain(fallbacks).chain(steers).chain(shows).chain(answers).collect()
    }

    /// How the host reaches the rest of the world.
    #[must_use]
    pub fn uplink(&self) -> Dual<Uplink> {
        Dual::from_fn(|family| {
            let is_default = |net: IpNet| net.prefix_len() == 0 && Family::of(net.addr()) == family;
            let route = self.routes.iter().find(|route| is_default(route.destination));
            let link = route.and_then(|route| self.links.get(route.link.as_ref()?));
            let source = link.and_then(|link| {
                let mut own = link.addresses.iter().map(IpNet::addr);
                own.find(|addr| Family::of(*addr) == family)
            });
            let name = route.and_then(|route| route.link.clone());
            Uplink { link: name, source, mtu: link.map(|link| link.mtu) }
        })
    }

    /// The same without what is seen in views and means nothing: mirrors that
    /// hold no address, and what leads answers, which stays.
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
            namespace.replies = false;
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
                    mtu: 1500,
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
            Inside::Replies => namespace.replies = true,
            // Its containers have stacks of their own.
            Inside::Use { .. } => return Err(Errno::Invalid),
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
            Inside::Route { destination, link, source, mtu } => {
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
                namespace.routes.insert(*destination, (link.clone(), *source, *mtu));
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
            Inside::Replies => namespace.replies = false,
            Inside::Use { .. } => return Err(Errno::Invalid),
            Inside::Address { link, addr } => {
                let own = IpNet::from(*addr);
                namespace.loopback.remove(&own);
                if let Some(link) = namespace.links.get_mut(link) {
                    link.addresses.remove(&own);
                }
                // Gone from everywhere, it is nobody's source any more.
                let links = namespace.links.values().map(|link| &link.addresses);
                if !links.chain([&namespace.loopback]).any(|on| on.contains(&own)) {
                    namespace.routes.retain(|_, (_, source, _)| source != addr);
                }
                // With its last IPv4 address a link loses the family.
                let left = namespace
                    .links
                    .get(link)
                    .is_some_and(|link| link.addresses.iter().any(|addr| addr.addr().is_ipv4()));
                if addr.is_ipv4() && !left {
                    namespace.met.remove(&(link.clone(), Family::V4));
                    namespace
                        .routes
                        .retain(|_, (over, source, _)| over != link || !source.is_ipv4());
                }
            }
            Inside::Route { destination, link, source, mtu } => {
                if namespace.routes.get(destination) == Some(&(link.clone(), *source, *mtu)) {
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
        for (link, ..) in namespace.routes.values_mut().filter(|(link, ..)| link == from) {
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
        // The host's ends of the cables that end here, by their inner ends.
        let cables: BTreeMap<&LinkName, bool> = self
            .links
            .values()
            .filter_map(|link| match &link.kind {
                Kind::Veth { container: of, peer } if *of == container => Some((peer, link.up)),
                Kind::Veth { .. } | Kind::Bridge | Kind::Other => None,
            })
            .collect();
        // One whose other end is down is out of use.
        let in_use = |name: &LinkName| cables.get(name) == Some(&true);
        let mut inside: BTreeSet<Inside> =
            namespace.replies.then_some(Inside::Replies).into_iter().collect();
        for (name, link) in &namespace.links {
            if !cables.contains_key(name) {
                inside.insert(Inside::Mirror { link: name.clone() });
            } else if link.up && in_use(name) {
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
        let met = namespace.met.iter().filter(|(link, _)| in_use(link)).cloned();
        inside.extend(met.map(|(link, family): (LinkName, Family)| Inside::Meet { link, family }));
        let routes = namespace.routes.iter().filter(|(_, (link, ..))| in_use(link));
        inside.extend(routes.map(|(destination, (link, source, mtu))| Inside::Route {
            destination: *destination,
            link: link.clone(),
            source: *source,
            mtu: *mtu,
        }));
        Ok(inside)
    }
}

/// Whether two pieces cannot be held at once: they say of one thing what two say
/// of two.
fn excludes(one: &Piece, other: &Piece) -> bool {
    if one == other {
        return false;
    }
    match (one, other) {
        (Piece::Rules { rules }, Piece::Rules { rules: others }) => {
            let overlap = rules.subnet.present().any(|(family, subnet)| {
                others.subnet.get(family).is_some_and(|other| subnet.overlaps(other.net()))
            });
            let bridges = [rules, others].map(|r| r.kind == kleene_model::NetworkType::Bridge);
            let same = bridges == [true, true] && rules.interface == others.interface;
            rules.id == others.id || overlap || same
        }
        (Piece::Near { subnet, .. }, Piece::Near { subnet: other, .. }) => subnet == other,
        (Piece::Way { link, addr }, Piece::Way { link: other, addr: source }) => {
            link == other && addr.is_ipv4() == source.is_ipv4()
        }
        (
            Piece::Lead { gate, protocol, ports, addr, .. },
            Piece::Lead { gate: other, protocol: of, ports: others, addr: to, .. },
        ) => {
            let both_single = [ports, others].map(|ports| ports.count() == 1);
            let met = both_single[0] == both_single[1] && ports.meets(*others);
            gate == other && protocol == of && addr.is_ipv4() == to.is_ipv4() && met
        }
        (
            Piece::Open { gate, addr, protocol, ports },
            Piece::Open { gate: other, addr: to, protocol: of, ports: others },
        ) => {
            let ranges = [ports, others].iter().all(|ports| ports.count() > 1);
            (gate, addr, protocol) == (other, to, of) && ranges && ports.meets(*others)
        }
        _ => false,
    }
}
