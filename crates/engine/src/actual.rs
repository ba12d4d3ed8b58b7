//! The picture of the kernel: what `observe` saw, kept true by every change
//! that was applied since.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use kleene_model::{ContainerId, InstanceName, LinkName};

use crate::change::{Change, Mark, Owned};

/// What kind of link it is, as far as Kleene tells kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A bridge.
    Bridge,
    /// One end of a veth or epair.
    Cable,
    /// Anything else.
    Other,
}

/// One link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    name: LinkName,
    kind: LinkKind,
    up: bool,
    master: Option<LinkName>,
    addresses: BTreeSet<IpNet>,
    mark: Option<Mark>,
}

impl Link {
    /// A link as the kernel described it. `alias` is the text that may hold
    /// our mark.
    #[must_use]
    pub fn observed(name: LinkName, kind: LinkKind, up: bool, alias: Option<&str>) -> Self {
        let mark = alias.and_then(Mark::parse);
        Self { name, kind, up, master: None, addresses: BTreeSet::new(), mark }
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

    /// Its addresses, link-local IPv6 ones excepted.
    #[must_use]
    pub fn addresses(&self) -> &BTreeSet<IpNet> {
        &self.addresses
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

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// Destination; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// The interface it leads to.
    pub link: Option<LinkName>,
}

/// The host's links and the containers' namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    links: BTreeMap<LinkName, Link>,
    /// The links that carry a mark, by it.
    marked: BTreeMap<Mark, BTreeSet<LinkName>>,
    /// Cables out of use that the kernel has not forgotten yet.
    retired: BTreeSet<LinkName>,
    /// Namespaces that can be reached, and whether their loopback is up.
    namespaces: BTreeMap<ContainerId, bool>,
}

impl Actual {
    /// An empty picture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a link that the kernel has.
    pub fn insert(&mut self, link: Link) {
        self.remove(&link.name.clone());
        if let Some(mark) = &link.mark {
            self.marked.entry(mark.clone()).or_default().insert(link.name.clone());
        }
        self.links.insert(link.name.clone(), link);
    }

    fn remove(&mut self, name: &LinkName) {
        let Some(mark) = self.links.remove(name).and_then(|link| link.mark) else { return };
        if let Some(names) = self.marked.get_mut(&mark) {
            names.remove(name);
            if names.is_empty() {
                self.marked.remove(&mark);
            }
        }
    }

    /// Adds an address of a link.
    pub fn insert_address(&mut self, link: &LinkName, addr: IpNet) {
        if let Some(link) = self.links.get_mut(link) {
            link.addresses.insert(addr);
        }
    }

    /// Sets the bridge that a link is a port of.
    pub fn set_master(&mut self, link: &LinkName, master: LinkName) {
        if let Some(link) = self.links.get_mut(link) {
            link.master = Some(master);
        }
    }

    /// The link of that name.
    #[must_use]
    pub fn link(&self, name: &LinkName) -> Option<&Link> {
        self.links.get(name)
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The links that carry exactly this mark.
    pub fn links_marked(&self, mark: &Mark) -> impl Iterator<Item = &Link> {
        let names = self.marked.get(mark).into_iter().flatten();
        names.filter_map(|name| self.links.get(name))
    }

    /// Whether the kernel may still know the name.
    #[must_use]
    pub fn knows(&self, name: &LinkName) -> bool {
        self.links.contains_key(name) || self.retired.contains(name)
    }

    /// A container's namespace can be reached from now on.
    pub fn enter(&mut self, container: ContainerId, loopback_up: bool) {
        self.namespaces.insert(container, loopback_up);
    }

    /// A container's namespace is gone.
    pub fn leave(&mut self, container: ContainerId) {
        self.namespaces.remove(&container);
    }

    /// The container's namespace: `None` when it cannot be reached, else
    /// whether its loopback is up.
    #[must_use]
    pub fn namespace(&self, container: ContainerId) -> Option<bool> {
        self.namespaces.get(&container).copied()
    }

    /// Takes over from an older picture what no observation shows: the
    /// namespaces, known by the descriptors that were handed over, and the
    /// cables that a sweep is on its way to. Their names are not free before
    /// it is done, or it would take the next cable of that name away.
    #[must_use]
    pub fn with_containers_of(mut self, older: &Self) -> Self {
        self.namespaces.clone_from(&older.namespaces);
        self.retired.clone_from(&older.retired);
        self
    }

    /// Cables that were taken out of use and have been deleted since. A look
    /// in between has seen them as links; the name may be in use again.
    pub fn forget_retired(&mut self, links: &[LinkName]) {
        for name in links {
            self.retired.remove(name);
            let out_of_use = |link: &Link| !link.up && link.master.is_none();
            if self.links.get(name).is_some_and(out_of_use) {
                self.remove(name);
            }
        }
    }

    /// Draws a change that was applied into the picture.
    pub fn absorb(&mut self, change: &Change) {
        match change {
            Change::MakeBridge { link, mac: _, mark } => {
                self.insert(Self::made(link, LinkKind::Bridge, mark));
            }
            Change::MakeCable { cable, mark } => {
                self.insert(Self::made(&cable.host, LinkKind::Cable, mark));
            }
            Change::AddAddress { link, addr } => self.insert_address(link, *addr),
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
            Change::RaiseLoopback { container } => self.enter(*container, true),
            Change::RemoveBridge { link } => {
                self.remove(link.link());
                // Its ports are ports of nothing then.
                let ports = self.links.values_mut();
                for port in ports.filter(|port| port.master.as_ref() == Some(link.link())) {
                    port.master = None;
                }
            }
            Change::RetireCable { link } => {
                self.remove(link.link());
                self.retired.insert(link.link().clone());
            }
            // The inside of a container is its own business once it stands.
            Change::AddInnerAddress { .. }
            | Change::RaiseInnerLink { .. }
            | Change::AddDefaultRoute { .. } => {}
        }
    }

    fn made(name: &LinkName, kind: LinkKind, mark: &Mark) -> Link {
        Link {
            name: name.clone(),
            kind,
            up: false,
            master: None,
            addresses: BTreeSet::new(),
            mark: Some(mark.clone()),
        }
    }
}
