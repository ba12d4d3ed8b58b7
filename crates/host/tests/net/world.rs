//! A throw-away host: a network namespace with containers' namespaces beside it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use kleene_engine::Host;
use kleene_engine::actual::{Actual, Link, LinkKind};
use kleene_engine::change::{Cable, CableUse, Change, Mark, Owned, Owner};
use kleene_engine::host::{ApplyError, chain};
use kleene_host::linux::net::{LinuxHost, Namespaces};
use kleene_model::{ContainerId, EndpointId, InstanceName, LinkName, MacAddress, NetworkId};
use serde_json::Value;

pub(crate) use crate::testing::{inside, ip, namespace, until};
use crate::testing::{is_root_with, output};

/// One throw-away host and its containers.
pub(crate) struct World {
    pub(crate) host: RefCell<LinuxHost>,
    pub(crate) namespaces: Namespaces,
    pub(crate) instance: InstanceName,
    containers: RefCell<BTreeMap<ContainerId, OwnedFd>>,
}

/// Runs a test in a world, or says loudly that it did not.
pub(crate) fn world(test: impl FnOnce(&World) + Send) {
    if !is_root_with("ip") {
        return;
    }
    let netns = namespace();
    inside(&netns, || {
        ip(&["link", "set", "lo", "up"]);
        let instance = InstanceName::parse("test").expect("name");
        let namespaces = Namespaces::new();
        let host = LinuxHost::new(instance.clone(), namespaces.clone()).expect("a host");
        let containers = RefCell::default();
        test(&World { host: RefCell::new(host), namespaces, instance, containers });
    });
}

/// Asks `ip -j` in the calling thread's namespace.
pub(crate) fn ask(args: &[&str]) -> Vec<Value> {
    json(&output(Command::new("ip").args(["-d", "-j"]).args(args)))
}

fn json(text: &str) -> Vec<Value> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The link as `ip` shows it, if it is there.
pub(crate) fn shown(link: &LinkName) -> Option<Value> {
    ask(&["link"]).into_iter().find(|found| found["ifname"] == link.as_str())
}

/// The addresses of a link as `ip` shows them, without link-local ones.
pub(crate) fn addresses(list: &[Value], link: &LinkName) -> Vec<String> {
    let shown = list.iter().find(|found| found["ifname"] == link.as_str());
    let infos = shown.and_then(|shown| shown["addr_info"].as_array()).cloned().unwrap_or_default();
    let global = infos.iter().filter(|info| info["scope"] != "link");
    let text =
        |info: &Value| format!("{}/{}", info["local"].as_str().expect("text"), info["prefixlen"]);
    let mut texts: Vec<String> = global.map(text).collect();
    texts.sort();
    texts
}

impl World {
    /// A container's namespace, known to the host.
    pub(crate) fn container(&self, number: u8) -> ContainerId {
        let container = container(number);
        let netns = namespace();
        self.namespaces.insert(container, netns.try_clone().expect("a copy"));
        self.containers.borrow_mut().insert(container, netns);
        container
    }

    /// The container's namespace is closed by everybody.
    pub(crate) fn bury(&self, container: ContainerId) {
        self.namespaces.remove(container);
        self.containers.borrow_mut().remove(&container);
    }

    /// Runs something inside a container.
    pub(crate) fn within<T: Send>(&self, id: ContainerId, run: impl FnOnce() -> T + Send) -> T {
        inside(self.containers.borrow().get(&id).expect("a container"), run)
    }

    /// Asks `ip -j` inside a container, by `nsenter`.
    pub(crate) fn ask_inside(&self, id: ContainerId, args: &[&str]) -> Vec<Value> {
        let containers = self.containers.borrow();
        let netns = containers.get(&id).expect("a container").as_raw_fd();
        let path = format!("--net=/proc/{}/fd/{netns}", std::process::id());
        json(&output(Command::new("nsenter").args([&path, "ip", "-d", "-j"]).args(args)))
    }

    /// Applies changes that must work.
    pub(crate) fn apply(&self, changes: &[Change]) {
        if let Err(error) = self.try_apply(changes) {
            panic!("{}", chain(&error));
        }
    }

    /// Applies changes.
    pub(crate) fn try_apply(&self, changes: &[Change]) -> Result<(), ApplyError> {
        self.host.borrow_mut().apply(changes)
    }

    /// What the host observes.
    pub(crate) fn observe(&self) -> Actual {
        self.host.borrow_mut().observe().expect("a picture")
    }

    /// A mark of this world's daemon.
    pub(crate) fn mark(&self, owner: Owner) -> Mark {
        Mark { instance: self.instance.clone(), owner }
    }

    /// Changes that make a bridge with both families.
    pub(crate) fn bridge(&self, number: u8) -> Vec<Change> {
        let link = LinkName::kleene(u32::from(number));
        let addr = |text: String| text.parse().expect("an address");
        let mark = self.mark(Owner::Network(network(number)));
        vec![
            Change::MakeBridge { link: link.clone(), mac: mac(number, 0), mark },
            Change::AddAddress { link: link.clone(), addr: addr(format!("10.9.{number}.1/24")) },
            Change::AddAddress { link: link.clone(), addr: addr(format!("fd09:{number}::1/64")) },
            Change::RaiseLink { link },
        ]
    }

    /// Changes that attach a container to the bridge, as the engine plans them;
    /// numbers up to 250.
    pub(crate) fn attach(&self, container: ContainerId, bridge: u8, number: u32) -> Vec<Change> {
        let (host, inner) = (LinkName::cable_host(number), LinkName::cable_container(number));
        let cable = self.cable(container, number);
        let mark = self.mark(Owner::Endpoint(endpoint(number)));
        let link = inner.clone();
        let addr = |text: String| text.parse().expect("an address");
        let four = addr(format!("10.9.{bridge}.{}/24", number + 2));
        let six = addr(format!("fd09:{bridge}::{:x}/64", number + 2));
        let (via4, via6) = (format!("10.9.{bridge}.1"), format!("fd09:{bridge}::1"));
        vec![
            Change::MakeCable { cable, mark },
            Change::Plug { link: host.clone(), bridge: LinkName::kleene(u32::from(bridge)) },
            Change::RaiseLink { link: host },
            Change::AddInnerAddress { container, link: link.clone(), addr: four, alone: false },
            Change::AddInnerAddress { container, link: link.clone(), addr: six, alone: false },
            Change::RaiseInnerLink { container, link: link.clone() },
            Change::AddDefaultRoute { container, link: link.clone(), via: address(&via4) },
            Change::AddDefaultRoute { container, link: inner, via: address(&via6) },
        ]
    }

    /// The two ends of a cable.
    pub(crate) fn cable(&self, container: ContainerId, number: u32) -> Cable {
        let number_byte = u8::try_from(number).expect("a small number");
        Cable {
            purpose: CableUse::Port,
            mtu: None,
            host: LinkName::cable_host(number),
            inner: LinkName::cable_container(number),
            host_mac: mac(number_byte, 1),
            inner_mac: mac(number_byte, 2),
            container,
        }
    }

    /// What `observe` would give for a link of ours with this mark.
    pub(crate) fn owned(&self, link: &LinkName, owner: Owner) -> Owned {
        let mark = self.mark(owner).to_string();
        let link = Link::observed(link.clone(), LinkKind::Other, true, Some(&mark));
        link.owned(&self.instance).expect("ours")
    }

    /// The cable of that number, to take it away.
    pub(crate) fn owned_cable(&self, number: u32) -> Owned {
        self.owned(&LinkName::cable_host(number), Owner::Endpoint(endpoint(number)))
    }

    /// The bridge of that number, to take it away.
    pub(crate) fn owned_bridge(&self, number: u8) -> Owned {
        self.owned(&LinkName::kleene(u32::from(number)), Owner::Network(network(number)))
    }
}

/// A container's id.
pub(crate) fn container(number: u8) -> ContainerId {
    ContainerId::from_bytes([0xc0, 0, 0, 0, 0, number]).expect("an id")
}

/// A network's id.
pub(crate) fn network(number: u8) -> NetworkId {
    NetworkId::from_bytes([0xa0, 0, 0, 0, 0, number]).expect("an id")
}

/// An endpoint's id.
pub(crate) fn endpoint(number: u32) -> EndpointId {
    let [_, _, high, low] = number.to_be_bytes();
    EndpointId::from_bytes([0xe0, 0, 0, 0, high, low]).expect("an id")
}

fn mac(number: u8, variant: u8) -> MacAddress {
    MacAddress::from_id([0, 0, 0, 0, 0, number], variant)
}

/// An address.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Listens in the calling thread's namespace.
pub(crate) fn listen(addr: &str) -> TcpListener {
    TcpListener::bind(SocketAddr::new(address(addr), 7)).unwrap_or_else(|e| panic!("{addr}: {e}"))
}

/// Whether a real TCP connection comes about from the calling thread's
/// namespace.
pub(crate) fn reaches(addr: &str, patience: Duration) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(address(addr), 7), patience).is_ok()
}
