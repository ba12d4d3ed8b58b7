//! Links of the host, as `observe` shows them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{Family, InstanceName, LinkName};

use crate::change::{Mark, Owned};

/// What kind of link it is, as far as Kleene tells kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A bridge, or what leads nowhere: a dummy on Linux, where a bridge
    /// without ports stands in for it, a cloned loopback on FreeBSD.
    Bridge,
    /// One end of a veth or epair.
    Cable,
    /// Anything else.
    Other,
}

/// One link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub(crate) name: LinkName,
    pub(crate) kind: LinkKind,
    pub(crate) up: bool,
    pub(crate) master: Option<LinkName>,
    pub(crate) addresses: BTreeSet<IpNet>,
    pub(crate) listed: Vec<IpAddr>,
    pub(crate) isolated: bool,
    pub(crate) mark: Option<Mark>,
    pub(crate) mtu: Option<u32>,
    pub(crate) half: bool,
}

impl Link {
    /// A link as the kernel described it. `alias` is the text that may hold
    /// our mark.
    #[must_use]
    pub fn observed(name: LinkName, kind: LinkKind, up: bool, alias: Option<&str>) -> Self {
        let mark = alias.and_then(Mark::parse);
        Self {
            name,
            kind,
            up,
            master: None,
            addresses: BTreeSet::new(),
            listed: Vec::new(),
            isolated: false,
            mark,
            mtu: None,
            half: false,
        }
    }

    /// The same with the largest packet that it takes, in bytes. Only that of
    /// others is of interest.
    #[must_use]
    pub fn with_mtu(self, mtu: u32) -> Self {
        let mtu = self.mark.is_none().then_some(mtu);
        Self { mtu, ..self }
    }

    /// The largest packet that a link of somebody else takes, in bytes.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.mtu
    }

    /// The same as a port that reaches only ports that are not so.
    #[must_use]
    pub fn as_isolated(self, isolated: bool) -> Self {
        Self { isolated, ..self }
    }

    /// Whether it is a port that reaches only ports that are not so.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// The same as one whose making was not finished. Where a link is made in several
    /// steps, whoever made it may have died in between.
    #[must_use]
    pub fn as_half_made(self, half: bool) -> Self {
        Self { half, ..self }
    }

    /// The addresses of a link of somebody else, in the order in which the kernel
    /// lists them.
    pub fn listed(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.listed.iter().copied().filter(move |addr| Family::of(*addr) == family)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LinkName {
        &self.name
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> LinkKind {
        self.kind
    }

    /// Whether it is administratively up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// The bridge it is a port of.
    #[must_use]
    pub fn master(&self) -> Option<&LinkName> {
        self.master.as_ref()
    }

    /// Its addresses, link-local IPv6 ones and those of containers excepted.
    #[must_use]
    pub fn addresses(&self) -> &BTreeSet<IpNet> {
        &self.addresses
    }

    /// Whether an address stands on it, with whatever prefix.
    pub(crate) fn has(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.addr() == addr)
    }

    /// The mark it carries, of this daemon or another.
    #[must_use]
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Proof that it is ours, for whoever wants to take it away.
    #[must_use]
    pub fn owned(&self, instance: &InstanceName) -> Option<Owned> {
        let mark = self.mark.as_ref().filter(|mark| mark.instance == *instance)?;
        Some(Owned::new(self.name.clone(), mark.clone()))
    }
}
