//! Members of bridges.

use super::link::{Kind, LinkId, Mac, Member};
use super::{Errno, State};
use crate::freebsd::simulated::quirk::Quirk;

impl State {
    /// Makes an interface a member of a bridge.
    pub(crate) fn add_member(&mut self, bridge: LinkId, id: LinkId) -> Result<(), Errno> {
        if self.link(bridge).members().iter().any(|member| member.link == id) {
            return Err(Errno::Exists);
        }
        if self.links.values().any(|link| link.members().iter().any(|one| one.link == id)) {
            return Err(Errno::Busy);
        }
        let (kind, mtu) = (self.link(id).kind.clone(), self.link(id).mtu);
        if !matches!(kind, Kind::Epair { .. } | Kind::Ethernet) {
            return Err(Errno::Invalid);
        }
        if self.has(Quirk::FirstMemberSetsMtu) {
            if self.link(bridge).members().is_empty() {
                self.link_mut(bridge).mtu = mtu;
            } else if self.link(bridge).mtu != mtu {
                return Err(Errno::Invalid);
            }
        }
        self.link_mut(id).promisc += 1;
        self.lend_address(bridge, id);
        let member = Member {
            link: id,
            private: false,
            learning: true,
            discover: true,
            sticky: false,
            most: 0,
        };
        if let Some(bridge) = self.link_mut(bridge).bridge_mut() {
            bridge.members.insert(0, member);
        }
        Ok(())
    }

    /// The first member lends its address where `inherit_mac` says so.
    fn lend_address(&mut self, bridge: LinkId, id: LinkId) {
        let vnet = self.link(bridge).vnet;
        let inherits = self.vnet(vnet).sysctls.get("net.link.bridge.inherit_mac");
        if inherits.is_none_or(|set| set == "0") || !self.link(bridge).members().is_empty() {
            return;
        }
        let (own, lent) = (self.link(bridge).ether, self.link(id).ether);
        let link = self.link_mut(bridge);
        link.ether = lent;
        if let Some(bridge) = link.bridge_mut() {
            bridge.lent = Some((own, id));
        }
    }

    /// Takes a member out of a bridge.
    pub(crate) fn delete_member(&mut self, bridge: LinkId, id: LinkId) -> Result<(), Errno> {
        self.member_mut(bridge, id)?;
        self.drop_member(bridge, id);
        Ok(())
    }

    fn drop_member(&mut self, bridge: LinkId, id: LinkId) {
        let link = self.link_mut(bridge);
        let Some(of) = link.bridge_mut() else { return };
        of.members.retain(|member| member.link != id);
        of.entered.retain(|(one, _)| *one != id);
        let own = of.lent.take_if(|(_, from)| *from == id).map(|(own, _)| own);
        if let Some(own) = own {
            link.ether = own;
        }
        self.unpromisc(id);
    }

    /// One less that wants to see all frames.
    pub(crate) fn unpromisc(&mut self, id: LinkId) {
        let link = self.link_mut(id);
        link.promisc = link.promisc.saturating_sub(1);
    }

    /// Takes an interface out of whatever bridge it is in.
    pub(crate) fn leave_bridges(&mut self, id: LinkId) {
        let in_it = |link: &super::Link| link.members().iter().any(|member| member.link == id);
        let bridges: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| in_it(link)).map(|(id, _)| *id).collect();
        for bridge in bridges {
            self.drop_member(bridge, id);
        }
    }

    /// A member of a bridge, to change its flags.
    pub(crate) fn member_mut(&mut self, bridge: LinkId, id: LinkId) -> Result<&mut Member, Errno> {
        let bridge = self.link_mut(bridge).bridge_mut();
        let member = bridge.and_then(|one| one.members.iter_mut().find(|member| member.link == id));
        member.ok_or(Errno::NoEntry)
    }

    /// Enters an address of a member by hand.
    pub(crate) fn enter_address(
        &mut self,
        bridge: LinkId,
        id: LinkId,
        mac: Mac,
    ) -> Result<(), Errno> {
        self.member_mut(bridge, id)?;
        if let Some(bridge) = self.link_mut(bridge).bridge_mut() {
            bridge.entered.retain(|(_, one)| *one != mac);
            bridge.entered.push((id, mac));
        }
        Ok(())
    }
}
