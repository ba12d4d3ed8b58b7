//! What others do to the kernel's network: noticed, and mended where it was
//! ours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{ContainerId, Driver, Family, LinkName, Nat, Network, NetworkId, RoutedCable};

use crate::actual::Link;
use crate::change::{Mark, Owner};
use crate::command::Effect;
use crate::engine::Engine;
use crate::health::Health;
use crate::host::{ApplyError, Host, chain};
use crate::piece::{Of, Piece};
use crate::store::{Durability, Key, Store};
use crate::touched::Touched;

/// Something that happened in the kernel's network. What we did ourselves agrees
/// with the picture, and concerns nobody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbance {
    /// A link is gone.
    LinkGone {
        /// Its name.
        link: LinkName,
    },
    /// A link is there, new or changed.
    LinkThere {
        /// Its name.
        link: LinkName,
        /// Whether it is up.
        up: bool,
        /// Whether it has been down since it was last told of: what stood on
        /// it may be gone, though it is up.
        fell: bool,
        /// The mark it carries.
        mark: Option<Mark>,
        /// Whether it is a port of something; `None` where that is not known.
        port: Option<bool>,
    },
    /// An address was taken off a link.
    AddressGone {
        /// The link.
        link: LinkName,
        /// The address.
        addr: IpNet,
    },
    /// A link got an address.
    AddressThere {
        /// The link.
        link: LinkName,
        /// The address.
        addr: IpNet,
    },
    /// A route to a single address is gone.
    RouteGone {
        /// The address.
        addr: IpAddr,
    },
    /// The kernel delivers an address to the host itself.
    Claimed {
        /// The address.
        addr: IpAddr,
    },
    /// A default route came or went.
    DefaultRoute {
        /// Its family.
        family: Family,
    },
    /// The host no longer answers for an address on a link.
    AnswerGone {
        /// The link.
        link: LinkName,
        /// The address.
        addr: IpAddr,
    },
    /// Anything may have happened: messages were lost, rules were changed, or
    /// it is time for a look.
    Anything,
}

impl<H: Host, S: Store> Engine<H, S> {
    /// Looks at everything when something of ours may be missing, and mends it.
    pub(crate) fn disturbed(&mut self, disturbances: &[Disturbance]) {
        if !disturbances.iter().any(|told| self.concerns(told) && self.still_concerns(told)) {
            return;
        }
        let seen = match self.host.observe() {
            Ok(seen) => seen,
            Err(err) => {
                // It is looked at again with the next disturbance, or in a while.
                self.effects.push(Effect::Degraded { why: chain(&err) });
                return;
            }
        };
        self.see(seen);
        self.replace_lost_cables();
        self.open_new_ways();
        self.look_for_all_holders();
        self.mend();
    }

    /// Whether what was told is still so. A report of what we did ourselves may
    /// come after we did the contrary, and a look at everything costs much where
    /// there is much.
    fn still_concerns(&mut self, told: &Disturbance) -> bool {
        match self.host.look_again(told) {
            Ok(now) => now.is_some_and(|now| self.concerns(&now)),
            Err(_) => true,
        }
    }

    /// Whether a disturbance hits something of ours.
    fn concerns(&self, disturbance: &Disturbance) -> bool {
        match disturbance {
            Disturbance::Anything => true,
            Disturbance::LinkGone { link } => {
                // A stranger's may have had the name of one of ours.
                let of_network = self.state.network_on(link.as_str()).is_some();
                let known = self.actual.link(link).is_some();
                self.own_link(link).is_some() || known && (of_network || self.is_any_way(link))
            }
            Disturbance::LinkThere { link, up, fell, mark, port } => {
                let ours = mark.as_ref().is_some_and(|mark| mark.instance == self.instance);
                match self.actual.link(link) {
                    Some(known) if ours || self.own_link(link).is_some() => {
                        known.is_up() != *up
                            || known.is_up() && *fell
                            || known.mark() != mark.as_ref()
                            || port.is_some_and(|port| port != known.master().is_some())
                    }
                    // Down erases what stood on it, up brings half of it back.
                    Some(known) => {
                        let down_or_up = self.is_custom(link) && (known.is_up() != *up || *fell);
                        let out = *port == Some(false) && known.master().is_some();
                        down_or_up || out && self.state.is_linked(link)
                    }
                    None => {
                        ours && !self.actual.knows(link)
                            || self.is_custom(link)
                            || self.state.is_linked(link)
                            || self.is_any_way(link)
                    }
                }
            }
            Disturbance::AddressGone { link, addr } => {
                let shown = Piece::Show { link: link.clone(), addr: addr.addr() };
                self.stands(addr.addr(), &shown) || self.is_source(link, *addr)
            }
            Disturbance::AddressThere { link, addr } => {
                let way = self.is_way(link, Family::of(addr.addr()));
                // A way that was gone is back.
                let new = match self.actual.link(link) {
                    Some(known) => !known.addresses().contains(addr),
                    None => way,
                };
                let of_network = self.state.network_on(link.as_str()).is_some();
                new && (of_network || way) && self.state.holder_of(addr.addr()).is_none()
            }
            Disturbance::RouteGone { addr } => self
                .actual
                .pieces_of(*addr)
                .any(|piece| matches!(piece, Piece::Steer { .. } | Piece::Fallback { .. })),
            Disturbance::Claimed { addr } => {
                let shown = |piece: &Piece| matches!(piece, Piece::Show { .. });
                addr.is_ipv6() && self.actual.pieces_of(*addr).any(shown)
            }
            // Networks leave by it.
            Disturbance::DefaultRoute { .. } => self.state.networks().next().is_some(),
            Disturbance::AnswerGone { link, addr } => {
                let answer = Piece::Answer { link: link.clone(), addr: *addr };
                self.stands(*addr, &answer)
            }
        }
    }

    fn own_link(&self, name: &LinkName) -> Option<&Link> {
        self.actual.link(name).filter(|link| link.owned(&self.instance).is_some())
    }

    fn is_custom(&self, name: &LinkName) -> bool {
        let custom = kleene_model::NetworkType::Custom;
        self.state.network_on(name.as_str()).is_some_and(|network| network.kind == custom)
    }

    fn stands(&self, addr: IpAddr, wanted: &Piece) -> bool {
        self.actual.pieces_of(addr).any(|piece| piece == wanted)
    }

    /// Whether the host's own address may be the source of what it sends to
    /// containers, or a network's gateway.
    fn is_source(&self, link: &LinkName, addr: IpNet) -> bool {
        let known = self.actual.link(link).is_some_and(|link| link.addresses().contains(&addr));
        let family = Family::of(addr.addr());
        let default = self.actual.uplink(family).source == Some(addr.addr());
        known && (self.state.network_on(link.as_str()).is_some() || default)
            || self.is_way(link, family)
    }

    fn is_any_way(&self, link: &LinkName) -> bool {
        Family::BOTH.into_iter().any(|family| self.is_way(link, family))
    }

    /// Whether traffic of networks leaves by an interface with another source.
    fn is_way(&self, link: &LinkName, family: Family) -> bool {
        let named = |network: &std::sync::Arc<Network>| match &network.nat {
            Nat::Interface(name) => name == link,
            Nat::None | Nat::HostGateway => false,
        };
        self.actual.uplink(family).link.as_ref() == Some(link) || self.state.networks().any(named)
    }

    /// A cable that somebody deleted took its inner end along. In the meantime
    /// the view may show the interface in whose place it stood.
    fn replace_lost_cables(&mut self) {
        let lost: Vec<(ContainerId, RoutedCable)> = self
            .state
            .containers()
            .filter(|c| c.driver == Driver::Ipnet && c.run.has_network())
            .filter_map(|container| Some((container.id, container.cable.clone()?)))
            .filter(|(_, cable)| self.own_link(&cable.host()).is_none())
            .collect();
        if lost.is_empty() {
            return;
        }
        for (id, cable) in lost {
            if self.actual.namespace(id).is_none() || self.look_inside(id).is_err() {
                continue;
            }
            let inner = LinkName::cable_container(cable.number);
            if cable.inner != inner {
                self.state.set_routed_cable(id, Some(RoutedCable { inner, ..cable }));
            }
        }
        let writes = self.writes();
        // Not written, it is found out again by the next daemon.
        drop(self.store.write(&writes, Durability::Process));
    }

    /// Brings the kernel to the desired state, and says what was done and what
    /// could not be.
    fn mend(&mut self) {
        let (done, failures) = self.converge();
        let sentences: Vec<String> = done.iter().map(ToString::to_string).collect();
        self.note_health(&failures, &self.networks_of(&done));
        if !sentences.is_empty() {
            self.effects.push(Effect::Mended { changes: sentences });
        }
        let texts: Vec<String> = failures.iter().map(|(_, failure)| chain(failure)).collect();
        self.effects.extend(texts.into_iter().map(|why| Effect::Degraded { why }));
    }

    /// The networks that changes are for, as far as they name one.
    fn networks_of(&self, changes: &[crate::change::Change]) -> BTreeSet<NetworkId> {
        use crate::change::Change;
        let on = |link: &LinkName| self.state.network_on(link.as_str()).map(|n| n.id);
        let of_addr = |addr| self.state.holder_of(addr).map(|endpoint| endpoint.network);
        let of_mark = |mark: &Mark| match mark.owner {
            Owner::Network(id) => Some(id),
            Owner::Endpoint(id) => self.state.endpoint(id).map(|endpoint| endpoint.network),
            Owner::Container(id) => self.state.endpoints_of(id).next().map(|e| e.network),
        };
        let of = |change: &Change| match change {
            Change::MakeBridge { mark, .. }
            | Change::MakeLoopback { mark, .. }
            | Change::MakeCable { mark, .. } => of_mark(mark),
            Change::RemoveAddress { link, .. }
            | Change::RemoveLink { link }
            | Change::RetireCable { link } => of_mark(link.mark()),
            Change::AddAddress { link, .. } | Change::RaiseLink { link } => on(link),
            Change::Plug { bridge, .. } | Change::Unplug { bridge, .. } => on(bridge),
            Change::Put { piece } | Change::Take { piece } => match piece.of() {
                Of::Address(addr) => of_addr(addr),
                Of::Network(id) => Some(id),
                Of::Container(id) => self.state.endpoints_of(id).next().map(|e| e.network),
                Of::Cable(_) | Of::Subnet(_) | Of::Host => None,
            },
            Change::PutInside { container, .. } | Change::TakeInside { container, .. } => {
                self.state.endpoints_of(*container).next().map(|e| e.network)
            }
            Change::Set { .. }
            | Change::Isolate { .. }
            | Change::Forget { .. }
            | Change::AddInnerRoute { .. }
            | Change::AnswerAs { .. }
            | Change::RaiseLoopback { .. }
            | Change::AddInnerAddress { .. }
            | Change::RaiseInnerLink { .. }
            | Change::AddDefaultRoute { .. }
            | Change::RenameInner { .. } => None,
        };
        changes.iter().filter_map(of).collect()
    }

    /// Writes into the state how networks do, for readers.
    pub(crate) fn note_health(
        &mut self,
        failures: &[(Touched, ApplyError)],
        mended: &BTreeSet<NetworkId>,
    ) {
        let mut reasons: BTreeMap<NetworkId, String> = BTreeMap::new();
        for (touched, failure) in failures {
            for network in self.networks_touched(touched) {
                reasons.entry(network).or_insert_with(|| chain(failure));
            }
        }
        let networks: Vec<NetworkId> = self.state.networks().map(|network| network.id).collect();
        for id in networks {
            let old = self.state.health(id);
            let Some(network) = self.state.network(id).cloned() else { continue };
            let no_way = self.no_way_out(&network).or_else(|| self.broken_promise(&network));
            if let Some(why) = no_way.as_ref().filter(|why| old.degraded.as_ref() != Some(*why)) {
                self.effects.push(Effect::Degraded { why: why.clone() });
            }
            let degraded = reasons.remove(&id).or(no_way);
            let healed = old.healed + u64::from(mended.contains(&id) && degraded.is_none());
            self.state.set_health(id, Health { degraded, healed });
        }
    }

    /// Why nothing leaves a network whose traffic shall leave by one interface.
    pub(crate) fn no_way_out(&self, network: &Network) -> Option<String> {
        let Nat::Interface(link) = &network.nat else { return None };
        if network.internal || network.leaving {
            return None;
        }
        let blocked = |what: &str, families: &str| {
            let name = &network.name;
            format!("nothing{families} leaves network {name}: its nat interface {link} {what}")
        };
        let Some(found) = self.actual.link(link) else {
            return Some(blocked("is not there", ""));
        };
        let has_none = |family: &Family| {
            let mut own = found.listed(*family);
            network.subnet.get(*family).is_some()
                && own.all(|addr| self.state.holder_of(addr).is_some())
        };
        let family = Family::BOTH.into_iter().find(has_none)?;
        let of = family.protocol();
        Some(blocked(&format!("has no {of} address"), &format!(" of {of}")))
    }

    fn networks_touched(&self, touched: &Touched) -> BTreeSet<NetworkId> {
        let mut networks = touched.networks.clone();
        let of_addr = |addr: &IpAddr| self.state.holder_of(*addr).map(|e| e.network);
        networks.extend(touched.addresses.iter().filter_map(of_addr));
        for key in &touched.keys {
            match key {
                Key::Network(id) => drop(networks.insert(*id)),
                Key::Endpoint(id) => networks.extend(self.state.endpoint(*id).map(|e| e.network)),
                Key::Container(id) => {
                    networks.extend(self.state.endpoints_of(*id).map(|e| e.network));
                }
                Key::Execution(_) | Key::Image(_) => {}
            }
        }
        networks
    }
}
