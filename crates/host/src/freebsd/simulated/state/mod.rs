//! The kernel that the tools change and ask.

mod address;
mod bridge;
mod errno;
mod jail;
mod link;
mod links;
mod route;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use errno::Errno;
pub(crate) use jail::{Ip, Jail, Process};
pub(crate) use link::{Address, HOST, Kind, Link, LinkId, Mac, VnetId, mask4, network};
pub(crate) use route::{Entry, Gateway, Static};

use super::pf::Pf;
use super::quirk::Quirk;

/// A network stack.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vnet {
    /// Its interfaces, in the order in which they came.
    pub(crate) links: Vec<LinkId>,
    /// Routes that somebody added.
    pub(crate) routes: Vec<Static>,
    /// Variables that differ from stack to stack and were set.
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) pf: Pf,
    /// An interface has `::1` already.
    pub(crate) has_localhost6: bool,
}

/// A mounted file system, as `mount -p` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) source: String,
    pub(crate) at: String,
    pub(crate) kind: String,
    pub(crate) read_only: bool,
    /// The devfs ruleset it was mounted with; 0 is none.
    pub(crate) ruleset: u32,
    /// `dump` and `pass` of fstab(5).
    pub(crate) fstab: (u8, u8),
}

/// A dataset of ZFS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dataset {
    /// The snapshot that it is a clone of.
    pub(crate) origin: Option<String>,
    /// What was set on it.
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) mounted: bool,
}

/// A snapshot of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// What was set on it.
    pub(crate) properties: BTreeMap<String, String>,
}

/// A socket that listens or is connected, as sockstat shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The jail whose socket it is.
    pub(crate) jail: Option<u32>,
    pub(crate) command: String,
    pub(crate) pid: u32,
    /// `tcp4`, `udp6`, ….
    pub(crate) protocol: String,
    pub(crate) local: String,
}

/// A neighbour that the stack knows besides its own addresses.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    pub(crate) ip: std::net::IpAddr,
    pub(crate) mac: Mac,
    pub(crate) link: LinkId,
}

/// The state of a simulated FreeBSD kernel, with the few files that tools read.
///
/// It is changed by the tools, and by tests that act as somebody else (the methods of
/// [`Simulated`](super::Simulated), which use this).
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) vnets: BTreeMap<VnetId, Vnet>,
    pub(crate) jails: BTreeMap<u32, Jail>,
    pub(crate) last_jid: u32,
    pub(crate) last_pid: u32,
    pub(crate) mounts: Vec<Mounted>,
    /// Rules of devfs by ruleset and number.
    pub(crate) rulesets: BTreeMap<u32, BTreeMap<u32, String>>,
    pub(crate) modules: Vec<String>,
    pub(crate) pools: BTreeSet<String>,
    pub(crate) datasets: BTreeMap<String, Dataset>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) neighbours: Vec<Neighbour>,
    pub(crate) files: BTreeMap<String, String>,
    /// What servers give, by its address.
    pub(crate) urls: BTreeMap<String, String>,
    pub(crate) directories: BTreeSet<String>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) boot_id: [u8; 16],
    pub(crate) quirks: BTreeSet<Quirk>,
    next: u32,
    seed: u64,
}

impl State {
    /// The host of the recordings: `lo0`, `pflog0` and `pfsync0`, pf loaded and
    /// disabled.
    pub(crate) fn new() -> Self {
        let mut state = Self {
            links: BTreeMap::new(),
            vnets: BTreeMap::new(),
            jails: BTreeMap::new(),
            last_jid: 0,
            last_pid: 100,
            mounts: first_mounts(),
            rulesets: BTreeMap::new(),
            modules: ["kernel", "pf", "pflog", "pfsync"].map(str::to_owned).to_vec(),
            pools: BTreeSet::new(),
            datasets: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            sockets: Vec::new(),
            neighbours: Vec::new(),
            files: BTreeMap::from([("/etc/passwd".to_owned(), String::new())]),
            urls: BTreeMap::new(),
            directories: ["/", "/jr", "/tmp", "/etc", "/dev"].map(str::to_owned).into(),
            sysctls: BTreeMap::new(),
            boot_id: [0; 16],
            quirks: Quirk::ALL.iter().copied().collect(),
            next: 0,
            seed: 0x6b6c_6565_6e65_2121,
        };
        state.boot();
        state
    }

    /// Starts the kernel: interfaces, jails, pf, mounts and modules are as at a boot;
    /// files, datasets and what tests chose stay.
    pub(crate) fn boot(&mut self) {
        self.links.clear();
        self.vnets.clear();
        self.jails.clear();
        self.sockets.clear();
        self.neighbours.clear();
        self.rulesets.clear();
        self.sysctls.clear();
        self.mounts = first_mounts();
        for dataset in self.datasets.values_mut() {
            // `zfs mount -a` at boot.
            dataset.mounted = true;
        }
        (self.last_jid, self.last_pid) = (0, 100);
        for byte in 0..self.boot_id.len() {
            self.boot_id[byte] = self.random();
        }
        self.new_vnet(HOST);
        if let Some(lo0) = self.find(HOST, "lo0") {
            self.bring_up(lo0);
            let localhost = std::net::Ipv4Addr::LOCALHOST.into();
            self.put(lo0, Address { ip: localhost, prefix: 8, tentative: false });
        }
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// A number that was not given out before.
    pub(crate) fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub(crate) fn fresh_pid(&mut self) -> u32 {
        self.last_pid += 1;
        self.last_pid
    }

    /// The next byte of a fixed series (xorshift64): every run makes the same ones.
    pub(crate) fn random(&mut self) -> u8 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed.to_be_bytes()[3]
    }

    pub(crate) fn vnet(&self, id: VnetId) -> &Vnet {
        self.vnets.get(&id).expect("a stack that is there")
    }

    pub(crate) fn vnet_mut(&mut self, id: VnetId) -> &mut Vnet {
        self.vnets.entry(id).or_default()
    }

    pub(crate) fn link(&self, id: LinkId) -> &Link {
        self.links.get(&id).expect("an interface that is there")
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> &mut Link {
        self.links.get_mut(&id).expect("an interface that is there")
    }

    /// The interface of that name in a stack.
    pub(crate) fn find(&self, vnet: VnetId, name: &str) -> Option<LinkId> {
        self.links_of(vnet).find(|(_, link)| link.name == name).map(|(id, _)| id)
    }

    /// The interfaces of a stack, in their order.
    pub(crate) fn links_of(&self, vnet: VnetId) -> impl Iterator<Item = (LinkId, &Link)> {
        let ids = self.vnets.get(&vnet).into_iter().flat_map(|vnet| &vnet.links);
        ids.map(|id| (*id, self.link(*id)))
    }

    /// Whether a directory is there: it was made, or one above it. What lies below a
    /// directory that was made is not known one by one.
    pub(crate) fn has_directory(&self, path: &str) -> bool {
        let above = |dir: &&String| dir.len() > 1 && path.starts_with(&format!("{dir}/"));
        let missing = path.split('/').any(|part| part.starts_with("nosuch"));
        self.directories.contains(path)
            || !missing && self.directories.iter().any(|dir| above(&dir))
    }

    /// Ends duplicate address detection everywhere, as a second of time does.
    pub(crate) fn settle(&mut self) {
        for addr in self.links.values_mut().flat_map(|link| &mut link.addresses) {
            addr.tentative = false;
        }
    }
}

fn first_mounts() -> Vec<Mounted> {
    let mounted = |source: &str, at: &str, kind: &str, fstab| Mounted {
        source: source.to_owned(),
        at: at.to_owned(),
        kind: kind.to_owned(),
        read_only: false,
        ruleset: 0,
        fstab,
    };
    vec![
        mounted("/dev/vtbd0p2", "/", "ufs", (1, 1)),
        mounted("devfs", "/dev", "devfs", (0, 0)),
        mounted("tmpfs", "/tmp", "tmpfs", (0, 0)),
    ]
}
