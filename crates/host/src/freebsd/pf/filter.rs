//! What pf was told: the pieces of the policy, as texts and tables that stand.
//!
//! The texts are written from a whole [`Policy`], so that is kept, as the pieces it
//! is made of. A change writes the texts that it touches, and gives pf those that
//! differ from what is known to stand there. To know that, every text ends with a
//! rule that matches nothing and carries the text's hash: what pf prints of a text
//! is not what it was given, and nobody else's text has that rule.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use kleene_engine::piece::Piece;
use kleene_model::policy::{Policy, Publication};
use kleene_model::{ContainerId, Driver, Dual, Family, Listed, Nat, NetworkId};

use super::ending;
use super::stand::{self, Change, Standing};
use super::{
    Anchor, Cable, Facts, PfError, Table, cables, constant, network, own, publication, tables,
};
use crate::freebsd::run::{ToolError, Tools};

/// Why pf could not be told.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// pf cannot hold it.
    #[error(transparent)]
    Text(#[from] PfError),
    /// A tool refused.
    #[error(transparent)]
    Tool(ToolError),
    /// There is no pf to tell.
    #[error(
        "pf is not in the kernel; load it with 'kldload pf', and for every boot with \
         pf_enable=\"YES\" in /etc/rc.conf"
    )]
    Absent,
    /// pf printed what cannot be read.
    #[error("the answer of pfctl cannot be read: {0}")]
    Unreadable(String),
    /// What only other systems do.
    #[error("unsupported on FreeBSD: {0}")]
    Unsupported(String),
}

impl From<ToolError> for FilterError {
    fn from(err: ToolError) -> Self {
        if err.says(stand::NO_PF) { Self::Absent } else { Self::Tool(err) }
    }
}

/// The policy in pf.
#[derive(Debug, Default)]
pub struct Filter {
    pieces: BTreeSet<Piece>,
    /// What is known to stand in the kernel.
    standing: Standing,
    /// Whether there may be more in the kernel than the pieces need.
    unclean: bool,
}

/// Where a text is, below `kleene/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Network(NetworkId),
    Cables(ContainerId),
    Own(ContainerId),
    Publication(ContainerId),
}

impl Place {
    fn name(self) -> String {
        match self {
            Self::Network(id) => format!("kleene/net/{id}"),
            Self::Cables(id) => format!("kleene/cab/{id}"),
            Self::Own(id) => format!("kleene/own/{id}"),
            Self::Publication(id) => format!("kleene/pub/{id}"),
        }
    }
}

/// A policy, and what its texts need besides.
#[derive(Debug, Default, Clone)]
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) facts: Facts,
}

impl World {
    fn of(pieces: &BTreeSet<Piece>) -> Result<Self, FilterError> {
        let mut world = Self::default();
        let mut published: BTreeMap<(u64, ContainerId), &Publication> = BTreeMap::new();
        let mut near = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Rules { rules } => {
                    world.policy.networks.insert(rules.id, rules.clone());
                }
                Piece::Near { subnet, addr } => near.push((*subnet, *addr)),
                Piece::Uplink { family, link } => {
                    *world.policy.host.uplink.get_mut(*family) = Some(link.clone());
                }
                Piece::Way { link, addr } => {
                    let first = world.policy.host.first.entry(link.clone()).or_default();
                    *first.get_mut(Family::of(*addr)) = Some(*addr);
                }
                Piece::Member { addr, member } => {
                    world.policy.members.insert(*addr, member.clone());
                }
                Piece::Endpoint { cable, endpoint, network, container, mac } => {
                    world.facts.cables.push(Cable {
                        endpoint: *endpoint,
                        network: *network,
                        container: *container,
                        link: cable.clone(),
                        link_local: BTreeSet::<Ipv6Addr>::from([mac.link_local()]),
                    });
                }
                Piece::Publish { sequence, publication } => {
                    published.insert((*sequence, publication.container), publication);
                }
                other => return Err(FilterError::Unsupported(other.to_string())),
            }
        }
        for (subnet, addr) in near {
            let family = Family::of(addr);
            let mut networks = world.policy.networks.values();
            let network = networks.find(|rules| *rules.subnet.get(family) == Some(subnet));
            if let Some(id) = network.map(|rules| rules.id) {
                *world.policy.near.entry(id).or_default().get_mut(family) = Some(addr);
            }
        }
        // An address of a network that is not there yet, or no more, is nobody's.
        let World { policy: Policy { networks, members, .. }, facts } = &mut world;
        members.retain(|_, member| networks.contains_key(&member.network));
        facts.cables.retain(|cable| networks.contains_key(&cable.network));
        world.policy.publications = published.into_values().map(|p| world.leading(p)).collect();
        Ok(world)
    }

    /// What is published, as far as it leads to an address that stands.
    fn leading(&self, publication: &Publication) -> Publication {
        let stands = |addr: &IpAddr| {
            let member = self.policy.members.get(addr);
            member.is_some_and(|member| member.container == publication.container)
        };
        let target = Dual::from_fn(|family| publication.target.get(family).filter(stands));
        Publication { target, ..publication.clone() }
    }

    /// The text of a place; `None` where there is none to be.
    fn text(&self, place: Place) -> Result<Option<Anchor>, PfError> {
        let anchor = match place {
            Place::Network(id) => {
                let Some(rules) = self.policy.networks.get(&id) else { return Ok(None) };
                network(&self.policy, rules, Dual::default())?
            }
            Place::Cables(id) => {
                let of = self.facts.cables.iter().filter(|cable| cable.container == id);
                cables(id, of)?
            }
            Place::Own(id) => {
                let members = self.policy.members.iter();
                let of = members.filter(|(_, m)| m.container == id && m.driver == Driver::Ipnet);
                own(id, &of.map(|(addr, _)| *addr).collect())
            }
            Place::Publication(id) => publication(&self.policy, id)?,
        };
        Ok((!anchor.text.is_empty() || matches!(place, Place::Network(_))).then_some(anchor))
    }

    /// The tables, as they shall be; none where there are no networks.
    pub(super) fn tables(&self) -> Result<Vec<Table>, PfError> {
        match self.policy.networks.is_empty() {
            true => Ok(Vec::new()),
            false => tables(&self.policy, &self.facts),
        }
    }

    fn places(&self) -> BTreeSet<Place> {
        let Policy { networks, members, publications, .. } = &self.policy;
        let cables = self.facts.cables.iter().map(|cable| Place::Cables(cable.container));
        networks
            .keys()
            .map(|id| Place::Network(*id))
            .chain(cables)
            .chain(members.values().map(|member| Place::Own(member.container)))
            .chain(publications.iter().map(|one| Place::Publication(one.container)))
            .collect()
    }

    /// The places whose text a piece has a part in.
    fn touched(&self, piece: &Piece, to: &mut BTreeSet<Place>) {
        let Policy { networks, publications, members, .. } = &self.policy;
        let mut published = |of: &dyn Fn(&Publication) -> bool| {
            let those = publications.iter().filter(|one| of(one));
            to.extend(those.map(|one| Place::Publication(one.container)));
        };
        let leads_to = |one: &Publication, id: NetworkId| {
            let mut targets = one.target.present();
            targets.any(|(_, addr)| members.get(addr).is_some_and(|member| member.network == id))
        };
        match piece {
            Piece::Rules { rules } => {
                published(&|one| leads_to(one, rules.id));
                to.insert(Place::Network(rules.id));
            }
            Piece::Near { .. } => published(&|_| true),
            Piece::Uplink { .. } | Piece::Way { .. } => {
                published(&|one| one.ports.iter().any(|port| port.on == Listed::Uplink));
                let translated = networks.values().filter(|rules| rules.nat != Nat::None);
                to.extend(translated.map(|rules| Place::Network(rules.id)));
            }
            Piece::Member { member, .. } => {
                let id = member.container;
                // What it publishes is no longer another's, or is again.
                for own in publications.iter().filter(|one| one.container == id) {
                    published(&|other| meet(own, other));
                }
                to.extend([Place::Own(id), Place::Publication(id)]);
            }
            Piece::Endpoint { container, .. } => drop(to.insert(Place::Cables(*container))),
            Piece::Publish { publication, .. } => {
                published(&|other| meet(publication, other));
                to.insert(Place::Publication(publication.container));
            }
            _ => {}
        }
    }
}

/// The place whose text a piece is about.
fn own_place(piece: &Piece) -> Option<Place> {
    match piece {
        Piece::Rules { rules } => Some(Place::Network(rules.id)),
        Piece::Endpoint { container, .. } => Some(Place::Cables(*container)),
        Piece::Publish { publication, .. } => Some(Place::Publication(publication.container)),
        Piece::Member { member, .. } if member.driver == Driver::Ipnet => {
            Some(Place::Own(member.container))
        }
        _ => None,
    }
}

/// Whether two containers publish a port of the host's in common.
fn meet(one: &Publication, other: &Publication) -> bool {
    one.ports.iter().any(|mine| {
        let meets = |port: &&kleene_model::PublishedPort| {
            port.protocol == mine.protocol && port.host.meets(mine.host)
        };
        other.ports.iter().any(|port| meets(&port))
    })
}

impl Filter {
    /// Puts pieces and takes others away, as one change: what pf has is what the
    /// pieces say, or something in between where a tool refused.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn change(
        &mut self,
        tools: &dyn Tools,
        taken: &[&Piece],
        put: &[&Piece],
    ) -> Result<(), FilterError> {
        let before = World::of(&self.pieces)?;
        let mut pieces = self.pieces.clone();
        pieces.retain(|piece| !taken.contains(&piece));
        pieces.extend(put.iter().map(|piece| (*piece).clone()));
        let after = World::of(&pieces)?;
        let mut places = BTreeSet::new();
        for piece in taken.iter().chain(put) {
            before.touched(piece, &mut places);
            after.touched(piece, &mut places);
        }
        let mut wanted = wanted(&after, &places)?;
        for place in &places {
            // What there was no text for, and is none, is left: of a container that
            // is adopted it stands, and its pieces are on their way.
            if before.text(*place)?.is_none() {
                wanted.retain(|name, text| text.is_some() || *name != place.name());
            }
        }
        let change = Change {
            tables: after.tables()?,
            gone: ending::gone(&before, &after)?,
            texts: wanted,
            constants: constants(after.policy.networks.is_empty()),
            stale: ending::stale(&before, &after),
        };
        let done = self.standing.become_as(tools, &change);
        self.pieces = pieces;
        self.unclean |= done.is_err();
        done
    }

    /// Looks what stands, and forgets what does not.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn observe(&mut self, tools: &dyn Tools) -> Result<&BTreeSet<Piece>, FilterError> {
        self.standing = Standing::read(tools)?;
        let world = World::of(&self.pieces)?;
        let mut broken: BTreeSet<Place> = BTreeSet::new();
        for place in world.places() {
            let text = world.text(place)?;
            if !self.standing.has(&place.name(), text.as_ref()) {
                broken.insert(place);
            }
        }
        let tables = world.tables()?;
        let lost_addresses = self.standing.missing(&tables);
        let whole = constants(world.policy.networks.is_empty())
            .iter()
            .all(|(name, anchor)| self.standing.has(name, anchor.as_ref()));
        let before = self.pieces.len();
        // A text that is broken is written again with the piece that it is about; what
        // others have a part in stands as long as that does.
        self.pieces.retain(|piece| {
            let place = own_place(piece);
            let lost = match piece {
                Piece::Member { addr, .. } => lost_addresses.contains(addr),
                Piece::Endpoint { mac, .. } => {
                    lost_addresses.contains(&IpAddr::V6(mac.link_local()))
                }
                _ => false,
            };
            whole && !lost && place.is_none_or(|place| !broken.contains(&place))
        });
        // What a piece that is forgotten has left behind goes, or is put again.
        self.unclean |= self.pieces.len() != before
            || !lost_addresses.is_empty()
            || self.standing.has_more(&world_names(&world));
        Ok(&self.pieces)
    }

    /// The addresses that pf knows as containers', as far as is known.
    #[must_use]
    pub fn members(&self) -> BTreeSet<IpAddr> {
        self.standing.addresses(stand::ALL)
    }

    /// Takes away all that pf has of ours, whoever told it. Says what went.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn clear(&mut self, tools: &dyn Tools) -> Result<Vec<String>, FilterError> {
        *self = Self { standing: Standing::read(tools)?, unclean: true, ..Self::default() };
        self.tidy(tools)
    }

    /// Takes away what no piece needs. Says what went.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn tidy(&mut self, tools: &dyn Tools) -> Result<Vec<String>, FilterError> {
        if !self.unclean {
            return Ok(Vec::new());
        }
        let world = World::of(&self.pieces)?;
        let mut wanted = wanted(&world, &world.places())?;
        let empty = world.policy.networks.is_empty();
        let constants = constants(empty);
        let mut went = Vec::new();
        for name in self.standing.anchors() {
            let kept = wanted.contains_key(&name) || constants.contains_key(&name);
            if !kept {
                went.push(format!("flush the anchor {name}"));
                wanted.insert(name, None);
            }
        }
        let tables = world.tables()?;
        let gone = self.standing.surplus(&tables);
        for table in &gone {
            let kept = tables.iter().any(|kept| kept.name == table.name);
            let addresses: Vec<String> = table.addresses.iter().map(ToString::to_string).collect();
            went.push(match kept {
                true => format!("take {} out of the table {}", addresses.join(", "), table.name),
                false => format!("remove the table {}", table.name),
            });
        }
        let stale = BTreeSet::new();
        let change = Change { tables, gone, texts: wanted, constants, stale };
        self.standing.become_as(tools, &change)?;
        self.unclean = false;
        Ok(went)
    }
}

type Texts = BTreeMap<String, Option<Anchor>>;

fn wanted(world: &World, places: &BTreeSet<Place>) -> Result<Texts, PfError> {
    places.iter().map(|place| Ok((place.name(), world.text(*place)?))).collect()
}

/// The constant texts; none where there are no networks.
fn constants(empty: bool) -> Texts {
    let texts = constant().map(|anchor| (anchor.name.clone(), (!empty).then_some(anchor)));
    texts.into_iter().collect()
}

fn world_names(world: &World) -> BTreeSet<String> {
    let constants = constants(false).into_keys();
    world.places().into_iter().map(Place::name).chain(constants).collect()
}
