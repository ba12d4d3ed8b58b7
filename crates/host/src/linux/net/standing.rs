//! Puts pieces of containers' addresses on the host, takes them away, and sees
//! them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use kleene_engine::actual::{Actual, Uplink};
use kleene_engine::piece::Piece;
use kleene_model::{ContainerId, Dual, Family, LinkName, RoutedCable};
use rustix::io::Errno;

use super::LinuxHost;
use super::apply::{Failure, Run, Space};
use super::error::{KernelError, NetError};
use super::request::{self, LOCAL, MAIN, Which};
use super::request_route::{self, PROTOCOL};
use super::socket::Socket;
use super::wire::{LinkRecord, RouteKind, RouteRecord};

/// How long the kernel may take to insert its own route for a new IPv6 address,
/// which it does from a work queue.
const CLAIM_LIMIT: Duration = Duration::from_secs(1);
const CLAIM_PAUSE: Duration = Duration::from_micros(50);

/// What stands already, or is gone already, is as good as done.
pub(super) const THERE: &[Errno] = &[Errno::EXIST];
pub(super) const GONE: &[Errno] =
    &[Errno::SRCH, Errno::NOENT, Errno::NODEV, Errno::ADDRNOTAVAIL, Errno::NETDOWN];

impl Run<'_, '_> {
    pub(super) fn put(&mut self, piece: &Piece) -> Result<(), Failure> {
        match piece {
            piece if piece.is_of_shared_stack() => Err(self.failure(NetError::SharedStack)),
            piece if piece.is_policy() => self.element(piece, true),
            Piece::Fallback { addr } => {
                self.push_or(Space::Host, request_route::fall_back(*addr), THERE)
            }
            Piece::Steer { addr, cable, source } => {
                let index = self.index(cable)?;
                if let Some(mac) = self.inner_mac(cable)? {
                    self.push_or(Space::Host, request_route::meet(index, *addr, mac), &[])?;
                }
                self.push_or(Space::Host, request_route::steer(index, *addr, *source), THERE)
            }
            Piece::Show { link, addr } => {
                let index = self.index(link)?;
                self.push_shown(index, *addr)
            }
            Piece::Answer { link, addr } => {
                let index = self.index(link)?;
                self.answered.push((index, *addr));
                self.push_or(Space::Host, request_route::answer(index, *addr), THERE)
            }
            // Of the policy.
            _ => Ok(()),
        }
    }

    pub(super) fn take(&mut self, piece: &Piece) -> Result<(), Failure> {
        match piece {
            piece if piece.is_policy() => self.element(piece, false),
            Piece::Fallback { addr } => {
                self.push_or(Space::Host, request_route::no_fall_back(*addr), GONE)
            }
            Piece::Steer { addr, cable, source } => match self.index_if_there(cable)? {
                Some(index) => {
                    self.push_or(Space::Host, request_route::unsteer(index, *addr, *source), GONE)
                }
                None => Ok(()),
            },
            Piece::Show { link, addr } => match self.index_if_there(link)? {
                Some(index) => {
                    self.flush_shown()?;
                    let net = ipnet::IpNet::from(*addr);
                    self.push_or(Space::Host, request::remove_address(index, net), GONE)
                }
                None => Ok(()),
            },
            Piece::Answer { link, addr } => match self.index_if_there(link)? {
                Some(index) => {
                    self.push_or(Space::Host, request_route::no_answer(index, *addr), GONE)
                }
                None => Ok(()),
            },
            // Of the policy.
            _ => Ok(()),
        }
    }

    fn element(&mut self, piece: &Piece, add: bool) -> Result<(), Failure> {
        self.flush_requests()?;
        self.elements.push((self.current, add, piece.clone()));
        Ok(())
    }

    /// Sends the elements that wait, in one transaction.
    pub(super) fn flush_elements(&mut self) -> Result<(), Failure> {
        let elements = std::mem::take(&mut self.elements);
        let Some((at, ..)) = elements.first() else { return Ok(()) };
        let at = *at;
        // What comes last of an element counts.
        let last: BTreeMap<&Piece, bool> =
            elements.iter().map(|(_, add, element)| (element, *add)).collect();
        let of = |wanted: bool| -> Vec<Piece> {
            let these = last.iter().filter(|(_, add)| **add == wanted);
            these.map(|(element, _)| (*element).clone()).collect()
        };
        let changed = self.host.rules.change(&of(true), &of(false));
        changed.map_err(|error| Failure::new(at, error))
    }

    /// The MAC address at the other end of a routed cable.
    fn inner_mac(&mut self, cable: &LinkName) -> Result<Option<kleene_model::MacAddress>, Failure> {
        let mut container = self.host.routed.get(cable).copied();
        if container.is_none() {
            let found = self.host.socket.link(Which::Name(cable));
            container = self.fail(found)?.and_then(|found| routed_for(found.alias.as_deref()));
        }
        Ok(container.map(RoutedCable::container_mac))
    }

    /// Reads what became of an address that was set.
    pub(super) fn shown(
        &mut self,
        (index, addr): (u32, IpAddr),
        verdict: Result<(), KernelError>,
    ) -> Result<(), Failure> {
        let fresh = match verdict {
            Ok(()) => true,
            Err(refused) if refused.errno() == Errno::EXIST => {
                if !self.is_our_address(index, addr)? {
                    return Err(self.failure(NetError::AddressTaken(addr)));
                }
                false
            }
            Err(refused) => return Err(self.failure(refused)),
        };
        match addr {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(_) => {
                let led_away = unclaim(&mut self.host.socket, index, addr, fresh);
                self.fail(led_away)
            }
        }
    }

    /// Whether an address that exists already is one that we had set.
    fn is_our_address(&mut self, index: u32, addr: IpAddr) -> Result<bool, Failure> {
        let listed = self.host.socket.addresses();
        let listed = self.fail(listed)?;
        let same = |record: &&super::wire::AddressRecord| {
            record.index == index && record.addr.addr() == addr
        };
        Ok(listed.iter().find(same).is_some_and(|record| record.protocol == PROTOCOL))
    }
}

/// Takes the route off by which the kernel would deliver an address to itself.
/// On a link that is down it has none yet; for one that is not fresh it may have
/// been taken off before.
fn unclaim(socket: &mut Socket, index: u32, addr: IpAddr, fresh: bool) -> Result<(), NetError> {
    let deadline = Instant::now() + CLAIM_LIMIT;
    let request = request_route::unclaim(index, addr);
    loop {
        let verdict = socket.batch(&[&request])?.into_iter().next().unwrap_or(Ok(()));
        match verdict {
            Ok(()) => return Ok(()),
            Err(refused) if refused.errno() != Errno::SRCH => return Err(refused.into()),
            Err(_) if !fresh => return Ok(()),
            Err(_) => {}
        }
        if socket.link(Which::Index(index))?.is_none_or(|link| !link.up) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(NetError::Claimed(addr));
        }
        // The kernel's work queue inserts it; nothing tells when.
        std::thread::sleep(CLAIM_PAUSE);
    }
}

/// Whose routed cable a link is, by its alias.
pub(super) fn routed_for(alias: Option<&str>) -> Option<ContainerId> {
    use kleene_engine::change::{Mark, Owner};
    match alias.and_then(Mark::parse)?.owner {
        Owner::Container(id) => Some(id),
        Owner::Network(_) | Owner::Endpoint(_) => None,
    }
}

/// Draws what stands for containers' addresses into a picture, and takes note
/// of the host's own address on its default route.
pub(super) fn observe(host: &mut LinuxHost, actual: &mut Actual) -> Result<(), NetError> {
    let mut guarded = BTreeSet::new();
    for piece in host.rules.list()? {
        guarded.extend(match piece {
            Piece::Guard { addr } => Some(addr),
            _ => None,
        });
        actual.insert_piece(piece);
    }
    actual.set_uplink(uplink(&mut host.socket, &guarded)?);
    if guarded.is_empty() {
        return Ok(());
    }
    let names: HashMap<u32, LinkName> =
        host.indexes.iter().map(|(name, index)| (*index, name.clone())).collect();
    let mut seen = Seen { guarded, names, claimed: BTreeSet::new() };
    for family in Family::BOTH {
        seen.routes(&mut host.socket, family, actual)?;
        seen.answers(&mut host.socket, family, actual)?;
    }
    seen.addresses(&mut host.socket, actual)
}

/// Only what belongs to a guarded address is ours: the guard comes first and
/// goes last, and its table bears the daemon's name.
struct Seen {
    guarded: BTreeSet<IpAddr>,
    names: HashMap<u32, LinkName>,
    /// IPv6 addresses that the kernel delivers to itself.
    claimed: BTreeSet<IpAddr>,
}

impl Seen {
    fn routes(
        &mut self,
        socket: &mut Socket,
        family: Family,
        actual: &mut Actual,
    ) -> Result<(), NetError> {
        for record in socket.routes(family, LOCAL)? {
            if family == Family::V6 && record.kind == RouteKind::Local {
                self.claimed.insert(record.destination.addr());
            }
            if family == Family::V4 {
                self.route(&record, actual);
            }
        }
        if family == Family::V6 {
            for record in socket.routes(family, MAIN)? {
                self.route(&record, actual);
            }
        }
        Ok(())
    }

    fn route(&self, record: &RouteRecord, actual: &mut Actual) {
        let addr = record.destination.addr();
        let single = record.destination.prefix_len() == record.destination.max_prefix_len();
        if record.protocol != PROTOCOL || !single || !self.guarded.contains(&addr) {
            return;
        }
        match record.kind {
            RouteKind::Unreachable => actual.insert_piece(Piece::Fallback { addr }),
            RouteKind::Unicast => {
                let cable = record.links.first().and_then(|index| self.names.get(index));
                if let Some(cable) = cable.cloned() {
                    actual.insert_piece(Piece::Steer { addr, cable, source: record.source });
                }
            }
            RouteKind::Local | RouteKind::Other => {}
        }
    }

    fn answers(
        &self,
        socket: &mut Socket,
        family: Family,
        actual: &mut Actual,
    ) -> Result<(), NetError> {
        for record in socket.neighbours(family, true)? {
            let ours = record.protocol == PROTOCOL && self.guarded.contains(&record.addr);
            if let Some(link) = self.names.get(&record.index).filter(|_| ours) {
                let (link, addr) = (link.clone(), record.addr);
                actual.insert_piece(Piece::Answer { link, addr });
            }
        }
        Ok(())
    }

    fn addresses(&self, socket: &mut Socket, actual: &mut Actual) -> Result<(), NetError> {
        for record in socket.addresses()? {
            let addr = record.addr.addr();
            let ours = record.protocol == PROTOCOL && self.guarded.contains(&addr);
            // One that the host answers for itself does not stand yet.
            if let Some(link) = self.names.get(&record.index)
                && ours
                && !(addr.is_ipv6() && self.claimed.contains(&addr))
            {
                actual.insert_piece(Piece::Show { link: link.clone(), addr });
            }
        }
        Ok(())
    }
}

/// The way by which the host's routes lead to an address, and its interface.
fn way_and_link(
    socket: &mut Socket,
    addr: IpAddr,
) -> Result<Option<(RouteRecord, Option<LinkRecord>)>, NetError> {
    let way = socket.way_to(addr)?.filter(|way| way.kind == RouteKind::Unicast);
    let Some(way) = way else { return Ok(None) };
    let link = match way.links.first() {
        Some(index) => socket.link(Which::Index(*index))?,
        None => None,
    };
    Ok(Some((way, link)))
}

fn name_of(link: &LinkRecord) -> Option<LinkName> {
    LinkName::parse(link.name.as_deref()?).ok()
}

/// The interface by which the host's routes lead to an address.
pub(super) fn way_out(socket: &mut Socket, addr: IpAddr) -> Result<Option<LinkName>, NetError> {
    let found = way_and_link(socket, addr)?;
    Ok(found.and_then(|(_, link)| name_of(&link?)))
}

/// How the host reaches the rest of the world, per family. Nothing is sent.
fn uplink(socket: &mut Socket, guarded: &BTreeSet<IpAddr>) -> Result<Dual<Uplink>, NetError> {
    Dual::try_from_fn(|family| {
        let Some((way, link)) = way_and_link(socket, family.far_away())? else {
            return Ok(Uplink::default());
        };
        let source = way.source.filter(|source| !guarded.contains(source));
        let mtu = way.mtu.or(link.as_ref().map(|link| link.mtu));
        Ok(Uplink { link: link.as_ref().and_then(name_of), source, mtu })
    })
}
