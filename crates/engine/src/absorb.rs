//! Draws changes that were applied into the picture of the kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_model::{Family, LinkName};

use crate::actual::{Actual, Addressing, LinkKind};
use crate::change::{Change, Owned, Owner};
use crate::inside::Inside;

impl Actual {
    /// Draws a change that was applied into the picture.
    pub fn absorb(&mut self, change: &Change) {
        match change {
            Change::MakeBridge { link, mac: _, mark }
            | Change::MakeLoopback { link, mac: _, mark } => {
                self.insert(Self::made(link, LinkKind::Bridge, mark));
            }
            Change::MakeCable { cable, mark } => {
                self.insert(Self::made(&cable.host, LinkKind::Cable, mark));
            }
            Change::AddAddress { link, addr } => {
                self.insert_address(link, *addr);
                // An address brings an interface up (FreeBSD 13.2).
                let shared = self.addressing == Addressing::Shared;
                if let Some(link) = self.links.get_mut(link).filter(|_| shared) {
                    link.up = true;
                }
            }
            Change::RemoveAddress { link, addr } => {
                if let Some(link) = self.links.get_mut(link.link()) {
                    link.addresses.remove(addr);
                }
            }
            Change::RaiseLink { link } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.up = true;
                }
            }
            Change::Plug { link, bridge } => self.set_master(link, bridge.clone()),
            Change::Isolate { link } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.isolated = true;
                }
            }
            Change::Unplug { link, bridge } => {
                let port = self.links.get_mut(link);
                if let Some(port) = port.filter(|port| port.master.as_ref() == Some(bridge)) {
                    port.master = None;
                    port.isolated = false;
                }
            }
            Change::RaiseLoopback { container } => self.enter(*container, true),
            Change::RemoveLink { link } => self.link_removed(link.link()),
            Change::RetireCable { link } => self.cable_retired(link),
            Change::Put { piece } => self.insert_piece(piece.clone()),
            Change::Take { piece } => self.remove_piece(piece),
            Change::PutInside { container, inside } => {
                let known = self.inside.entry(*container).or_default();
                known.retain(|old| !old.gives_way_to(inside));
                known.insert(inside.clone());
            }
            Change::TakeInside { container, inside } => {
                if let Some(known) = self.inside.get_mut(container) {
                    known.remove(inside);
                    forget_family(known, inside);
                }
            }
            Change::RenameInner { container, from, to } => {
                if let Some(known) = self.inside.remove(container) {
                    let renamed = known.into_iter().map(|inside| inside.renamed(from, to));
                    self.inside.insert(*container, renamed.collect());
                }
            }
            Change::Set { setting, value } => {
                self.settings.insert(setting.clone(), value.clone());
            }
            Change::AddDefaultRoute { container, link, via } => {
                self.set_default(*container, Family::of(*via), link.clone());
            }
            // The inside of a container is its own business once it stands.
            Change::AddInnerAddress { .. }
            | Change::AddInnerRoute { .. }
            | Change::AnswerAs { .. }
            | Change::RaiseInnerLink { .. } => {}
            // Nobody keeps account of flows.
            Change::Forget { .. } => {}
        }
    }

    fn link_removed(&mut self, link: &LinkName) {
        self.remove(link);
        self.drop_pieces_on(link);
        // Its ports are ports of nothing then.
        for port in self.links.values_mut().filter(|port| port.master.as_ref() == Some(link)) {
            port.isolated = false;
            port.master = None;
        }
    }

    fn cable_retired(&mut self, link: &Owned) {
        let name = link.link();
        self.remove(name);
        self.retired.insert(name.clone());
        // The same cable has an end inside that is called alike.
        let inner = name.cable_number().map(LinkName::cable_container);
        self.defaults.retain(|_, over| Some(&*over) != inner.as_ref());
        let Owner::Container(id) = link.mark().owner else { return };
        self.drop_pieces_on(name);
        // Its inner end goes with it.
        if let Some(inside) = self.inside.get_mut(&id) {
            inside.retain(|inside| match inside {
                Inside::Mirror { .. }
                | Inside::Replies
                | Inside::Use { .. }
                | Inside::Address { .. } => true,
                Inside::Up { .. } | Inside::Meet { .. } | Inside::Route { .. } => false,
            });
        }
    }
}

/// With its last IPv4 address a link loses its IPv4 neighbours and routes
/// (Linux: `fib_disable_ip`).
fn forget_family(known: &mut BTreeSet<Inside>, taken: &Inside) {
    let Inside::Address { link, addr: IpAddr::V4(_) } = taken else { return };
    let another = |inside: &Inside| match inside {
        Inside::Address { link: on, addr } => on == link && addr.is_ipv4(),
        _ => false,
    };
    if known.iter().any(another) {
        return;
    }
    known.retain(|inside| match inside {
        Inside::Meet { link: over, family } => over != link || *family != Family::V4,
        Inside::Route { link: over, source, .. } => over != link || !source.is_ipv4(),
        Inside::Mirror { .. }
        | Inside::Up { .. }
        | Inside::Replies
        | Inside::Use { .. }
        | Inside::Address { .. } => true,
    });
}
