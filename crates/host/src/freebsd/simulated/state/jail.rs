//! Jails of the simulated kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::State;
use super::link::{HOST, VnetId};
use crate::freebsd::simulated::quirk::Quirk;

/// What a jail sees of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ip {
    /// All that its parent has.
    #[default]
    Inherit,
    /// Nothing but its list, which may be empty.
    Listed,
}

/// A process; only that it is there, and how it dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) command: String,
    /// It takes SIGTERM for nothing.
    pub(crate) stubborn: bool,
}

/// A jail.
#[derive(Debug, Clone)]
pub(crate) struct Jail {
    pub(crate) jid: u32,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) ip4: Ip,
    pub(crate) ip6: Ip,
    /// The addresses of both families, in the order of the lists.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its own stack.
    pub(crate) vnet: Option<VnetId>,
    pub(crate) persist: bool,
    pub(crate) dying: bool,
    /// Boolean parameters that are not as they are by default.
    pub(crate) switched: BTreeSet<String>,
    /// Other parameters that were set.
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) cpuset: u32,
    pub(crate) processes: Vec<Process>,
    /// What `exec.stop` was given at its creation.
    pub(crate) stop: Vec<String>,
    /// TCP connections that outlive it.
    pub(crate) connections: u32,
}

impl Jail {
    /// Its addresses of one family.
    pub(crate) fn of_family(&self, six: bool) -> Vec<IpAddr> {
        self.addresses.iter().filter(|ip| ip.is_ipv6() == six).copied().collect()
    }

    /// Whether it can use a family at all.
    pub(crate) fn has_family(&self, six: bool) -> bool {
        let mode = if six { self.ip6 } else { self.ip4 };
        self.vnet.is_some() || mode == Ip::Inherit || !self.of_family(six).is_empty()
    }

    /// Whether it sees an address of its stack.
    pub(crate) fn sees(&self, ip: IpAddr) -> bool {
        let mode = if ip.is_ipv6() { self.ip6 } else { self.ip4 };
        self.vnet.is_some() || mode == Ip::Inherit || self.addresses.contains(&ip)
    }
}

impl State {
    /// A jail by name or number; those that die are left out.
    pub(crate) fn jail(&self, name: &str) -> Option<&Jail> {
        self.jail_or_dying(name).filter(|jail| !jail.dying)
    }

    /// A jail by name or number, the one that lives before the one that dies.
    pub(crate) fn jail_or_dying(&self, name: &str) -> Option<&Jail> {
        if let Ok(jid) = name.parse() {
            return self.jails.get(&jid);
        }
        let mut named = self.jails.values().filter(|jail| jail.name == name);
        let first = named.next();
        first.filter(|jail| !jail.dying).or_else(|| named.find(|jail| !jail.dying)).or(first)
    }

    /// The stack that a jail uses.
    pub(crate) fn vnet_of(&self, jid: u32) -> VnetId {
        self.jails.get(&jid).and_then(|jail| jail.vnet).unwrap_or(HOST)
    }

    /// The number for a new jail.
    pub(crate) fn free_jid(&mut self) -> u32 {
        let first = self.last_jid + 1;
        let jid = (first..).find(|jid| !self.jails.contains_key(jid)).unwrap_or(first);
        self.last_jid = jid;
        jid
    }

    /// Removes a jail: its processes end, and it goes or begins to die.
    pub(crate) fn remove_jail(&mut self, jid: u32) {
        let Some(jail) = self.jails.get_mut(&jid) else { return };
        jail.processes.clear();
        jail.persist = false;
        self.sockets.retain(|socket| socket.jail != Some(jid));
        let dies = jail_dies(&self.jails[&jid], self.has(Quirk::DyingKeepsLinks));
        if dies {
            if let Some(jail) = self.jails.get_mut(&jid) {
                jail.dying = true;
            }
        } else {
            self.bury(jid);
        }
    }

    /// Takes a jail away for good, with its stack.
    pub(crate) fn bury(&mut self, jid: u32) {
        if let Some(vnet) = self.jails.remove(&jid).and_then(|jail| jail.vnet) {
            self.remove_vnet(vnet);
        }
    }

    /// Has a jail go that has neither processes nor a reason to stay.
    pub(crate) fn reap(&mut self, jid: u32) {
        let idle = |jail: &Jail| jail.processes.is_empty() && !jail.persist && !jail.dying;
        if self.jails.get(&jid).is_some_and(idle) {
            self.remove_jail(jid);
        }
    }
}

fn jail_dies(jail: &Jail, quirk: bool) -> bool {
    quirk && jail.connections > 0
}
