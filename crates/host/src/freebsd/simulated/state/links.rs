//! What becomes of interfaces: made, renamed, moved, put in bridges, destroyed.

use std::collections::BTreeSet;

use super::link::{Bridge, HOST, Kind, Link, LinkId, Mac, Nd6, VnetId};
use super::{Errno, State, Vnet};
use crate::freebsd::simulated::quirk::Quirk;

/// The longest name of an interface, in bytes.
pub(crate) const LONGEST_NAME: usize = 15;

impl State {
    /// Makes a network stack with the interfaces that every stack has.
    pub(crate) fn new_vnet(&mut self, id: VnetId) {
        self.vnets.insert(id, Vnet::default());
        for (kind, mtu) in [(Kind::Loopback, 16384), (Kind::Pflog, 33160), (Kind::Pfsync, 1500)] {
            self.insert(id, kind, 0, mtu, "");
        }
    }

    /// Makes an interface by its cloner, with the lowest unit that is free or the one
    /// that is asked for.
    pub(crate) fn create(
        &mut self,
        vnet: VnetId,
        cloner: &str,
        unit: Option<u32>,
    ) -> Result<LinkId, Errno> {
        let taken = self.taken_units(vnet, cloner);
        let unit = match unit {
            Some(unit) if taken.contains(&unit) => return Err(Errno::Exists),
            Some(unit) => unit,
            None => (0..).find(|unit| !taken.contains(unit)).unwrap_or_default(),
        };
        match cloner {
            "lo" => Ok(self.insert(vnet, Kind::Loopback, unit, 16384, "")),
            "bridge" => {
                let id = self.insert(vnet, Kind::Bridge(Bridge::default()), unit, 1500, "");
                let mac = self.random_mac(None);
                self.link_mut(id).ether = Some(mac);
                Ok(id)
            }
            "epair" => Ok(self.create_epair(vnet, unit)),
            _ => Err(Errno::Invalid),
        }
    }

    /// The units that a cloner cannot give: those it gave, and those whose names others
    /// have.
    fn taken_units(&self, vnet: VnetId, cloner: &str) -> BTreeSet<u32> {
        let given = self.links.values();
        let given = given.filter(|link| link.home == vnet && link.kind.cloner() == Some(cloner));
        let named = self.links_of(vnet).filter_map(|(_, link)| {
            let unit = link.name.strip_prefix(cloner)?;
            let unit = if cloner == "epair" { unit.trim_end_matches(['a', 'b']) } else { unit };
            unit.parse().ok()
        });
        given.map(|link| link.unit).chain(named).collect()
    }

    fn create_epair(&mut self, vnet: VnetId, unit: u32) -> LinkId {
        let mac = self.random_mac(Some(0x02));
        let a = self.insert(vnet, Kind::Epair { peer: LinkId(0) }, unit, 1500, "a");
        let b = self.insert(vnet, Kind::Epair { peer: a }, unit, 1500, "b");
        for (id, peer, last) in [(a, b, 0x0a), (b, a, 0x0b)] {
            let link = self.link_mut(id);
            let [m0, m1, m2, m3, m4, _] = mac.0;
            link.ether = Some(Mac([m0, m1, m2, m3, m4, last]));
            link.kind = Kind::Epair { peer };
            link.running = true;
        }
        // The second end is put into the group first.
        self.leave(a, "epair");
        self.join(a, "epair");
        a
    }

    fn random_mac(&mut self, first: Option<u8>) -> Mac {
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            *byte = self.random();
        }
        bytes[0] = first.unwrap_or(bytes[0] & 0xfc | 0x02);
        Mac(bytes)
    }

    /// Puts a card into the host, up, as one that a driver found.
    pub(crate) fn insert_card(&mut self, name: &str, mac: Mac) -> LinkId {
        let id = self.insert(HOST, Kind::Ethernet, 0, 1500, "");
        let link = self.link_mut(id);
        name.clone_into(&mut link.name);
        (link.ether, link.up, link.running) = (Some(mac), true, true);
        id
    }

    fn insert(&mut self, vnet: VnetId, kind: Kind, unit: u32, mtu: u32, end: &str) -> LinkId {
        let id = LinkId(self.fresh());
        let group = kind.cloner();
        let nd6 = match kind {
            Kind::Loopback => Nd6 { auto_linklocal: true, ..Nd6::default() },
            Kind::Bridge(_) => Nd6 { disabled: true, ..Nd6::default() },
            _ => Nd6 { disabled: true, auto_linklocal: true, ..Nd6::default() },
        };
        let link = Link {
            name: format!("{}{unit}{end}", group.unwrap_or_default()),
            kind,
            unit,
            home: vnet,
            vnet,
            index: self.free_index(vnet),
            up: false,
            running: false,
            promisc: 0,
            mtu,
            groups: Vec::new(),
            description: None,
            ether: None,
            hwaddr: None,
            nd6,
            addresses: Vec::new(),
        };
        self.links.insert(id, link);
        self.vnet_mut(vnet).links.push(id);
        if let Some(group) = group {
            self.join(id, group);
        }
        self.mark_new(vnet, id);
        id
    }

    /// Puts an interface into a group.
    pub(crate) fn join(&mut self, id: LinkId, group: &str) {
        if !self.link(id).is_in(group) {
            let number = self.fresh();
            self.link_mut(id).groups.push((group.to_owned(), number));
        }
    }

    /// Takes an interface out of a group.
    pub(crate) fn leave(&mut self, id: LinkId, group: &str) {
        self.link_mut(id).groups.retain(|(one, _)| one != group);
    }

    /// Numbers of interfaces that went are given out again.
    fn free_index(&self, vnet: VnetId) -> u32 {
        let taken: BTreeSet<u32> = self.links_of(vnet).map(|(_, link)| link.index).collect();
        (1..).find(|index| !taken.contains(index)).unwrap_or_default()
    }

    /// Has pf skip a new interface whose group is skipped.
    fn mark_new(&mut self, vnet: VnetId, id: LinkId) {
        if !self.has(Quirk::SkipStays) {
            return;
        }
        let (name, groups) = (self.link(id).name.clone(), self.link(id).groups.clone());
        let pf = &mut self.vnet_mut(vnet).pf;
        if groups.iter().any(|(group, _)| pf.skipped.contains(group)) {
            pf.skipped.insert(name);
        }
    }

    /// Gives an interface another name.
    pub(crate) fn rename(&mut self, id: LinkId, name: &str) -> Result<(), Errno> {
        if name.len() > LONGEST_NAME {
            return Err(Errno::NameTooLong);
        }
        if name.is_empty() {
            return Err(Errno::Invalid);
        }
        let vnet = self.link(id).vnet;
        if self.find(vnet, name).is_some() {
            return Err(Errno::Exists);
        }
        let old = std::mem::replace(&mut self.link_mut(id).name, name.to_owned());
        let skipped = &mut self.vnet_mut(vnet).pf.skipped;
        // pf knows both names from then on.
        if skipped.contains(&old) {
            skipped.insert(name.to_owned());
        }
        Ok(())
    }

    /// Destroys an interface that a cloner made; of an epair, both ends.
    pub(crate) fn destroy(&mut self, id: LinkId) -> Result<(), Errno> {
        let link = self.link(id);
        let first_of_its_kind = link.unit == 0 && link.name == "lo0";
        match link.kind {
            Kind::Ethernet => return Err(Errno::Invalid),
            _ if first_of_its_kind => return Err(Errno::Invalid),
            Kind::Epair { peer } => {
                self.remove(peer);
                self.remove(id);
            }
            _ => self.remove(id),
        }
        Ok(())
    }

    /// Takes an interface away, with its addresses, routes and memberships.
    pub(crate) fn remove(&mut self, id: LinkId) {
        self.leave_bridges(id);
        for member in self.link(id).members().to_vec() {
            self.unpromisc(member.link);
        }
        self.forget_routes(id);
        let vnet = self.link(id).vnet;
        self.vnet_mut(vnet).links.retain(|one| *one != id);
        self.neighbours.retain(|one| one.link != id);
        self.links.remove(&id);
    }

    /// Brings an interface into another stack. What it had stays behind.
    pub(crate) fn move_to(&mut self, id: LinkId, vnet: VnetId) {
        let from = self.link(id).vnet;
        if from == vnet {
            return;
        }
        self.leave_bridges(id);
        self.forget_routes(id);
        self.neighbours.retain(|one| one.link != id);
        self.vnet_mut(from).links.retain(|one| *one != id);
        let strips = self.has(Quirk::MoveStrips);
        let index = self.free_index(vnet);
        // Back at its own cloner it is not put into its group again.
        let comes_home = self.link(id).home == vnet;
        let link = self.link_mut(id);
        (link.vnet, link.index) = (vnet, index);
        if strips {
            link.addresses.clear();
            link.groups.clear();
            link.description = None;
            link.up = false;
            link.nd6 = Nd6 { disabled: true, auto_linklocal: true, ..Nd6::default() };
        }
        self.vnet_mut(vnet).links.push(id);
        let group = self.link(id).kind.cloner().filter(|_| strips && !comes_home);
        if let Some(group) = group {
            self.join(id, group);
        }
    }

    /// Takes a stack away: what was moved there goes home, what was made there goes.
    pub(crate) fn remove_vnet(&mut self, vnet: VnetId) {
        for id in self.vnet(vnet).links.clone() {
            let Some(link) = self.links.get(&id) else { continue };
            if link.home == vnet {
                self.remove(id);
            } else {
                let home = if self.vnets.contains_key(&link.home) { link.home } else { HOST };
                self.move_to(id, home);
            }
        }
        self.vnets.remove(&vnet);
    }
}
