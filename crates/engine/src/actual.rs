//! The picture of the kernel: what `observe` saw, kept true by every change
//! that was applied since.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{ContainerId, Dual, Family, LinkName, NetworkId, Subnet};

use crate::change::Mark;
use crate::inside::Inside;
pub use crate::link::{Link, LinkKind};
use crate::piece::{Of, Piece};

/// A route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// Destination; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// The interface it leads to.
    pub link: Option<LinkName>,
}

/// How a host reaches the rest of the world in one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uplink {
    /// The interface of its default route.
    pub link: Option<LinkName>,
    /// Its own address on its default route.
    pub source: Option<IpAddr>,
    /// The largest packet on that way, in bytes.
    pub mtu: Option<u32>,
}

/// How a kernel gives `ipnet` containers their addresses. It decides by which
/// pieces the policy is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addressing {
    /// They have a stack of their own, and the host routes their addresses into it
    /// over a cable (Linux).
    #[default]
    Routed,
    /// They use the host's stack, limited to a list of addresses (jails).
    Shared,
}

/// The host's links and the containers' namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    pub(crate) addressing: Addressing,
    pub(crate) links: BTreeMap<LinkName, Link>,
    /// The links that carry a mark, by it.
    marked: BTreeMap<Mark, BTreeSet<LinkName>>,
    /// Cables out of use that the kernel has not forgotten yet.
    pub(crate) retired: BTreeSet<LinkName>,
    /// Names that the kernel refuses although no link is called so.
    pub(crate) taken: BTreeSet<LinkName>,
    /// Namespaces that can be reached, and whether their loopback is up.
    pub(crate) namespaces: BTreeMap<ContainerId, bool>,
    /// What containers' addresses stand on, by address.
    pub(crate) pieces: BTreeMap<IpAddr, BTreeSet<Piece>>,
    /// What is held of cables, networks, subnets and the host.
    pub(crate) cable_pieces: BTreeMap<LinkName, BTreeSet<Piece>>,
    pub(crate) network_pieces: BTreeMap<NetworkId, BTreeSet<Piece>>,
    pub(crate) subnet_pieces: BTreeMap<Subnet, BTreeSet<Piece>>,
    pub(crate) container_pieces: BTreeMap<ContainerId, BTreeSet<Piece>>,
    pub(crate) host_pieces: BTreeSet<Piece>,
    /// What is set up in the views of containers.
    pub(crate) inside: BTreeMap<ContainerId, BTreeSet<Inside>>,
    /// Settings that were changed since the last look.
    pub(crate) settings: BTreeMap<String, String>,
    /// How the host reaches the rest of the world, per family.
    pub(crate) uplink: Dual<Uplink>,
    /// The interfaces over which `vnet` containers were given their default
    /// routes.
    pub(crate) defaults: BTreeMap<(ContainerId, Family), LinkName>,
}

impl Actual {
    /// An empty picture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty picture of a kernel that gives containers addresses in this way.
    #[must_use]
    pub fn of(addressing: Addressing) -> Self {
        Self { addressing, ..Self::default() }
    }

    /// How the kernel gives `ipnet` containers their addresses.
    #[must_use]
    pub fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// Adds a link that the kernel has.
    pub fn insert(&mut self, link: Link) {
        self.remove(&link.name.clone());
        if let Some(mark) = &link.mark {
            self.marked.entry(mark.clone()).or_default().insert(link.name.clone());
        }
        self.links.insert(link.name.clone(), link);
    }

    pub(crate) fn remove(&mut self, name: &LinkName) {
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
            // Only that of others is of interest.
            if link.mark.is_none() {
                link.listed.push(addr.addr());
            }
        }
    }

    /// Sets the bridge that a link is a port of.
    pub fn set_master(&mut self, link: &LinkName, master: LinkName) {
        if let Some(link) = self.links.get_mut(link)
            && link.master.as_ref() != Some(&master)
        {
            // What it was to the ports of another bridge is forgotten.
            link.isolated &= link.master.is_none();
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
        self.links.contains_key(name) || self.retired.contains(name) || self.taken.contains(name)
    }

    /// Whether a new link cannot have this name: another has it, or the kernel refuses.
    pub(crate) fn is_refused(&self, name: &LinkName) -> bool {
        self.links.contains_key(name) || self.taken.contains(name)
    }

    /// The kernel refuses a name although no link is called so.
    pub fn set_taken(&mut self, name: LinkName) {
        self.taken.insert(name);
    }

    /// A container's namespace can be reached from now on.
    pub fn enter(&mut self, container: ContainerId, loopback_up: bool) {
        self.namespaces.insert(container, loopback_up);
    }

    /// A container's namespace is gone.
    pub fn leave(&mut self, container: ContainerId) {
        self.namespaces.remove(&container);
        self.inside.remove(&container);
        self.defaults.retain(|(of, _), _| *of != container);
    }

    /// Sets how the host reaches the rest of the world.
    pub fn set_uplink(&mut self, uplink: Dual<Uplink>) {
        self.uplink = uplink;
    }

    /// How the host reaches the rest of the world.
    #[must_use]
    pub fn uplink(&self, family: Family) -> &Uplink {
        self.uplink.get(family)
    }

    /// A `vnet` container has a default route of ours over that interface.
    pub fn set_default(&mut self, container: ContainerId, family: Family, link: LinkName) {
        self.defaults.insert((container, family), link);
    }

    /// The interface over which a `vnet` container was given its default route.
    #[must_use]
    pub fn default_over(&self, container: ContainerId, family: Family) -> Option<&LinkName> {
        self.defaults.get(&(container, family))
    }

    /// Adds a piece that stands.
    pub fn insert_piece(&mut self, piece: Piece) {
        let pieces = match piece.of() {
            Of::Address(addr) => self.pieces.entry(addr).or_default(),
            Of::Cable(cable) => self.cable_pieces.entry(cable.clone()).or_default(),
            Of::Network(id) => self.network_pieces.entry(id).or_default(),
            Of::Subnet(subnet) => self.subnet_pieces.entry(subnet).or_default(),
            Of::Container(id) => self.container_pieces.entry(id).or_default(),
            Of::Host => &mut self.host_pieces,
        };
        pieces.insert(piece);
    }

    pub(crate) fn remove_piece(&mut self, piece: &Piece) {
        fn remove<K: Ord>(from: &mut BTreeMap<K, BTreeSet<Piece>>, key: &K, piece: &Piece) {
            if let Some(pieces) = from.get_mut(key) {
                pieces.remove(piece);
                if pieces.is_empty() {
                    from.remove(key);
                }
            }
        }
        match piece.of() {
            Of::Address(addr) => remove(&mut self.pieces, &addr, piece),
            Of::Cable(cable) => remove(&mut self.cable_pieces, cable, piece),
            Of::Network(id) => remove(&mut self.network_pieces, &id, piece),
            Of::Subnet(subnet) => remove(&mut self.subnet_pieces, &subnet, piece),
            Of::Container(id) => remove(&mut self.container_pieces, &id, piece),
            Of::Host => drop(self.host_pieces.remove(piece)),
        }
    }

    /// Pieces that went with a link.
    pub(crate) fn drop_pieces_on(&mut self, link: &LinkName) {
        self.pieces.retain(|_, pieces| {
            pieces.retain(|piece| !piece.stands_on(link));
            !pieces.is_empty()
        });
    }

    /// What an address stands on.
    pub fn pieces_of(&self, addr: IpAddr) -> impl Iterator<Item = &Piece> {
        self.pieces.get(&addr).into_iter().flatten()
    }

    /// Every address that something of ours stands for.
    pub fn placed_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.pieces.keys().copied()
    }

    /// What is held of a cable.
    pub fn pieces_of_cable(&self, cable: &LinkName) -> impl Iterator<Item = &Piece> {
        self.cable_pieces.get(cable).into_iter().flatten()
    }

    /// The cables of which something is held.
    pub fn checked_cables(&self) -> impl Iterator<Item = &LinkName> {
        self.cable_pieces.keys()
    }

    /// What is held of a network, and of the subnets that it is said to have.
    pub fn pieces_of_network(&self, id: NetworkId) -> impl Iterator<Item = &Piece> {
        let own = self.network_pieces.get(&id);
        let subnets = own.into_iter().flatten().flat_map(|piece| match piece {
            Piece::Rules { rules } => rules.subnet.present().map(|(_, subnet)| *subnet).collect(),
            _ => Vec::new(),
        });
        let near = subnets.filter_map(|subnet| self.subnet_pieces.get(&subnet));
        own.into_iter().flatten().chain(near.flatten())
    }

    /// The networks of which something is held.
    pub fn ruled_networks(&self) -> impl Iterator<Item = NetworkId> {
        self.network_pieces.keys().copied()
    }

    /// What is held of a container.
    pub fn pieces_of_container(&self, id: ContainerId) -> impl Iterator<Item = &Piece> {
        self.container_pieces.get(&id).into_iter().flatten()
    }

    /// The containers of which something is held.
    pub fn held_containers(&self) -> impl Iterator<Item = ContainerId> {
        self.container_pieces.keys().copied()
    }

    /// What is held of the host as a whole.
    pub fn pieces_of_host(&self) -> impl Iterator<Item = &Piece> {
        self.host_pieces.iter()
    }

    /// Everything that is held or stands.
    pub fn all_pieces(&self) -> impl Iterator<Item = &Piece> {
        let addresses = self.pieces.values().flatten();
        let cables = self.cable_pieces.values().flatten();
        let networks = self.network_pieces.values().flatten();
        let subnets = self.subnet_pieces.values().flatten();
        let containers = self.container_pieces.values().flatten();
        let all = addresses.chain(cables).chain(networks).chain(subnets).chain(containers);
        all.chain(&self.host_pieces)
    }

    /// What was seen in a container's view.
    pub fn set_inside(&mut self, container: ContainerId, inside: BTreeSet<Inside>) {
        self.inside.insert(container, inside);
    }

    /// What is set up in a container's view.
    pub fn inside(&self, container: ContainerId) -> impl Iterator<Item = &Inside> {
        self.inside.get(&container).into_iter().flatten()
    }

    /// What a setting was seen to be.
    pub fn set_setting(&mut self, name: String, value: String) {
        self.settings.insert(name, value);
    }

    /// The value that a setting was given since the last look.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
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
        self.inside.clone_from(&older.inside);
        self.defaults.clone_from(&older.defaults);
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

    pub(crate) fn made(name: &LinkName, kind: LinkKind, mark: &Mark) -> Link {
        Link {
            name: name.clone(),
            kind,
            up: false,
            master: None,
            addresses: BTreeSet::new(),
            listed: Vec::new(),
            isolated: false,
            mark: Some(mark.clone()),
            mtu: None,
            half: false,
        }
    }
}
