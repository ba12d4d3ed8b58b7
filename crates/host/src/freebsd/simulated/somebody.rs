//! What somebody else does to the host: the administrator, another program, fate.

use std::net::IpAddr;
use std::path::Path;

use super::Simulated;
use super::pf::Flow;
use super::state::{HOST, Mac, Neighbour, Process, Socket, State};
use crate::freebsd::run::{Call, Tool};

impl Simulated {
    /// Puts a card into the host, up, without addresses (from manuals: the recordings
    /// have none).
    ///
    /// # Panics
    /// When `mac` is no Ethernet address or the name is taken.
    pub fn add_nic(&self, name: &str, mac: &str) {
        let mac = Mac::parse(mac).expect("an Ethernet address");
        self.with(|state| {
            assert!(state.find(HOST, name).is_none(), "{name} is there already");
            state.insert_card(name, mac);
        });
    }

    /// Takes an interface of the host away, as if its card was pulled out.
    ///
    /// # Panics
    /// When it is not there.
    pub fn pull_out(&self, name: &str) {
        self.with(|state| {
            let id = state.find(HOST, name).expect("an interface of the host");
            state.remove(id);
        });
    }

    /// Starts the host again: interfaces, jails, mounts, sysctls and pf are as at a
    /// boot, `kern.boot_id` is new. Cards, files, pools and datasets stay; so do
    /// planned faults.
    pub fn reboot(&self) {
        self.with(|state| {
            let cards = state.cards();
            state.boot();
            for (name, mac) in cards {
                state.insert_card(&name, mac);
            }
        });
    }

    /// Ends duplicate address detection everywhere, as a second of time does.
    pub fn settle(&self) {
        self.with(State::settle);
    }

    /// Lets minutes pass: pf frees rules that were flushed, and with them anchors and
    /// tables that only they held.
    pub fn minutes_pass(&self) {
        self.with(|state| {
            state.settle();
            for vnet in state.vnets.values_mut() {
                vnet.pf.free();
            }
        });
    }

    /// Has the host's pf keep a state of a flow that a rule with `label` let pass.
    pub fn add_state(&self, label: &str, source: IpAddr, target: IpAddr) {
        let label = label.to_owned();
        self.with(|state| state.vnet_mut(HOST).pf.flows.push(Flow { label, source, target }));
    }

    /// Imports a ZFS pool, mounted at `/NAME`.
    pub fn add_pool(&self, name: &str) {
        self.with(|state| state.import(name));
    }

    /// Writes a file that `pfctl -f`, `jail -f` and their like can read.
    pub fn write_file(&self, path: &str, text: &str) {
        self.with(|state| state.files.insert(path.to_owned(), text.to_owned()));
    }

    /// Makes a dataset in a pool of its own, with those above it, and mounts it there.
    ///
    /// # Panics
    /// When zfs refuses.
    pub fn mount_dataset(&self, name: &str, at: &Path) {
        self.add_pool(name.split('/').next().unwrap_or_default());
        let mountpoint = format!("mountpoint={}", at.display());
        let words = ["create", "-p", "-o", &mountpoint, name];
        let answer = self.somebody(&Call::new(Tool::Zfs, words));
        assert_eq!(answer.status, 0, "{}", answer.words());
    }

    /// Has a server give an archive at an address: `a/b/` is a directory of it, `a -> b`
    /// a link, anything else a file.
    pub fn serve_archive(&self, url: &str, things: &[&str]) {
        self.serve(url, &format!("{}{}", super::tools::archives::ARCHIVE, things.join("\n")));
    }

    /// Has a server give a text at an address.
    pub fn serve(&self, url: &str, text: &str) {
        self.with(|state| state.urls.insert(url.to_owned(), text.to_owned()));
    }

    /// A file, if it was written.
    #[must_use]
    pub fn read_file(&self, path: &str) -> Option<String> {
        self.with(|state| state.files.get(path).cloned())
    }

    /// Loads a module into the kernel.
    pub fn load_module(&self, name: &str) {
        self.with(|state| state.modules.push(name.to_owned()));
    }

    /// Makes a directory that jails and mounts can name.
    pub fn make_directory(&self, path: &str) {
        self.with(|state| state.directories.insert(path.to_owned()));
    }

    /// Starts a process in a jail. A stubborn one ignores SIGTERM. Its number.
    ///
    /// # Panics
    /// When there is no such jail.
    pub fn start_process(&self, jail: &str, command: &str, stubborn: bool) -> u32 {
        self.with(|state| {
            let jid = state.jail(jail).expect("a jail").jid;
            let pid = state.fresh_pid();
            let command = command.to_owned();
            let process = Process { pid, parent: 1, command, stubborn };
            state.jails.entry(jid).and_modify(|jail| jail.processes.push(process));
            pid
        })
    }

    /// Ends a process of a jail; a jail without `persist` goes with its last.
    pub fn end_process(&self, pid: u32) {
        self.with(|state| {
            let jids: Vec<u32> = state.jails.keys().copied().collect();
            for jid in jids {
                state
                    .jails
                    .entry(jid)
                    .and_modify(|jail| jail.processes.retain(|one| one.pid != pid));
                state.reap(jid);
            }
        });
    }

    /// Has a jail own TCP connections that outlive it: removed, it is dying until they
    /// end, by [`Simulated::connections_end`] or by a number of 0 here.
    ///
    /// # Panics
    /// When there is no such jail, not even a dying one.
    pub fn hold_connections(&self, jail: &str, number: u32) {
        self.with(|state| {
            let named = |one: &&super::state::Jail| one.name == jail;
            let dying = state.jails.values().filter(named).find(|one| one.dying);
            let found = dying.filter(|_| number == 0).or_else(|| state.jail(jail));
            let found = found.map(|one| (one.jid, one.dying));
            let (jid, dies) = found.unwrap_or_else(|| panic!("no jail {jail}"));
            state.jails.entry(jid).and_modify(|jail| jail.connections = number);
            if dies {
                state.bury(jid);
            }
        });
    }

    /// Ends all TCP connections, as 60 seconds of time do; dying jails go.
    pub fn connections_end(&self) {
        self.with(|state| {
            let dying: Vec<u32> =
                state.jails.values().filter(|jail| jail.dying).map(|jail| jail.jid).collect();
            for jail in state.jails.values_mut() {
                jail.connections = 0;
            }
            for jid in dying {
                state.bury(jid);
            }
        });
    }

    /// Has somebody listen: `protocol` as sockstat names it (`tcp4`), `local` with its
    /// port (`*:80`).
    ///
    /// # Panics
    /// When `jail` is no jail.
    pub fn listen(&self, jail: Option<&str>, command: &str, protocol: &str, local: &str) {
        self.with(|state| {
            let jail = jail.map(|name| state.jail(name).expect("a jail").jid);
            let pid = state.fresh_pid();
            let socket = Socket {
                jail,
                command: command.to_owned(),
                pid,
                protocol: protocol.to_owned(),
                local: local.to_owned(),
            };
            // sockstat shows the newest first.
            state.sockets.insert(0, socket);
        });
    }

    /// Whether somebody listens there, as [`Simulated::listen`] was told.
    #[must_use]
    pub fn listens(&self, jail: Option<&str>, protocol: &str, local: &str) -> bool {
        self.with(|state| {
            let jid = jail.and_then(|name| state.jail(name)).map(|jail| jail.jid);
            let same = |one: &Socket| {
                (one.jail, one.protocol.as_str(), one.local.as_str()) == (jid, protocol, local)
            };
            state.sockets.iter().any(same)
        })
    }

    /// Has the host learn a neighbour on an interface.
    ///
    /// # Panics
    /// When the interface is not there or `mac` is no Ethernet address.
    pub fn learn(&self, name: &str, ip: IpAddr, mac: &str) {
        let mac = Mac::parse(mac).expect("an Ethernet address");
        self.with(|state| {
            let link = state.find(HOST, name).expect("an interface of the host");
            state.neighbours.push(Neighbour { ip, mac, link });
        });
    }
}

impl State {
    /// The names of the host's interfaces, in their order.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        self.links_of(HOST).map(|(_, link)| link.name.clone()).collect()
    }

    /// The names of jails that live.
    #[must_use]
    pub fn jails(&self) -> Vec<String> {
        self.jails.values().filter(|jail| !jail.dying).map(|jail| jail.name.clone()).collect()
    }

    /// The cards of the host, wherever they are at the moment.
    fn cards(&self) -> Vec<(String, Mac)> {
        let cards = self.links.values().filter(|link| link.kind.cloner().is_none());
        cards.filter_map(|link| Some((link.name.clone(), link.hwaddr.or(link.ether)?))).collect()
    }
}
