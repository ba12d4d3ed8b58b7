//! A topology: what the daemon will be asked for. Everything in it has a name, so
//! that a flow still means the same when something else is taken away.

use kleene_model::{Driver, Dual, Family, NetworkType, Protocol};
use std::fmt;

/// The world's second interface, with an outside of its own.
pub(crate) const SECOND: &str = "eth1";
/// The interface with the default route.
pub(crate) const UPLINK: &str = "eth0";

/// A network.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) name: String,
    pub(crate) kind: NetworkType,
    /// For custom networks; else empty.
    pub(crate) interface: String,
    pub(crate) subnet: Dual<Option<String>>,
    pub(crate) icc: bool,
    pub(crate) internal: bool,
    pub(crate) nat: String,
    /// Whether an interface is linked into it, with a host behind.
    pub(crate) linked: bool,
}

impl Net {
    /// A network of both families that is open and has no nat.
    pub(crate) fn new(number: usize, kind: NetworkType) -> Self {
        Self {
            name: format!("n{number}"),
            kind,
            interface: String::new(),
            subnet: Dual {
                v4: Some(format!("10.{}.0.0/24", number + 1)),
                v6: Some(format!("fd00:{}::/64", number + 1)),
            },
            icc: true,
            internal: false,
            nat: String::new(),
            linked: false,
        }
    }

    /// The same on an interface of the host: in the middle of its own subnets, or on
    /// `lo`, which has none to be in.
    pub(crate) fn custom(number: usize, interface: &str) -> Self {
        let mut net = Self::new(number, NetworkType::Custom);
        interface.clone_into(&mut net.interface);
        let subnet = match interface {
            UPLINK => ["192.0.2.64/26", "2001:db8:1:0:1::/80"],
            SECOND => ["198.18.1.64/26", "2001:db8:3:0:1::/80"],
            _ => return net,
        };
        let [v4, v6] = subnet.map(|text| Some(text.to_owned()));
        net.subnet = Dual { v4, v6 };
        net
    }

    pub(crate) fn closed(self) -> Self {
        Self { icc: false, ..self }
    }

    pub(crate) fn internal(self) -> Self {
        Self { internal: true, ..self }
    }

    pub(crate) fn linked(self) -> Self {
        Self { linked: true, ..self }
    }

    pub(crate) fn nat(self, nat: &str) -> Self {
        Self { nat: nat.to_owned(), ..self }
    }
}

/// A published port, as a request has it.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) interfaces: Vec<String>,
    pub(crate) protocol: Protocol,
    /// `N` or `A:B`.
    pub(crate) host: String,
    /// `N`, `A:B` or `N:*`.
    pub(crate) container: String,
}

impl Port {
    pub(crate) fn new(on: &[&str], protocol: Protocol, host: &str, container: &str) -> Self {
        Self {
            interfaces: on.iter().map(|&name| name.to_owned()).collect(),
            protocol,
            host: host.to_owned(),
            container: container.to_owned(),
        }
    }
}

/// A container.
#[derive(Debug, Clone)]
pub(crate) struct Jar {
    pub(crate) name: String,
    pub(crate) driver: Driver,
    /// Its networks, in the order in which it is connected.
    pub(crate) nets: Vec<String>,
    /// Whether an `ipnet` container may have raw sockets.
    pub(crate) raw: bool,
    /// Whether a `vnet` container gives itself a default route where it has none,
    /// as whoever wants out of an internal network would.
    pub(crate) escapes: bool,
    pub(crate) ports: Vec<Port>,
}

impl Jar {
    pub(crate) fn new(number: usize, driver: Driver, nets: &[usize]) -> Self {
        Self {
            // Not `c`: short names may be read as the beginning of an id.
            name: format!("j{number}"),
            driver,
            nets: nets.iter().map(|net| format!("n{net}")).collect(),
            raw: false,
            escapes: false,
            ports: Vec::new(),
        }
    }

    pub(crate) fn raw(self) -> Self {
        Self { raw: true, ..self }
    }

    pub(crate) fn escapes(self) -> Self {
        Self { escapes: true, ..self }
    }

    pub(crate) fn port(mut self, port: Port) -> Self {
        self.ports.push(port);
        self
    }
}

/// Networks and containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topology {
    /// Its number in the run.
    pub(crate) number: usize,
    pub(crate) nets: Vec<Net>,
    pub(crate) jars: Vec<Jar>,
}

impl Topology {
    /// Whether the kernel shows bridged packets to the firewall, as some hosts
    /// want it: in every other topology.
    pub(crate) fn filters_bridges(&self) -> bool {
        self.number % 2 == 1
    }

    pub(crate) fn net(&self, name: &str) -> Option<&Net> {
        self.nets.iter().find(|net| net.name == name)
    }

    pub(crate) fn jar(&self, name: &str) -> Option<&Jar> {
        self.jars.iter().find(|jar| jar.name == name)
    }

    /// The networks of a container that have a subnet of a family.
    pub(crate) fn nets_of(&self, jar: &Jar, family: Family) -> Vec<&Net> {
        let nets = jar.nets.iter().filter_map(|name| self.net(name));
        nets.filter(|net| net.subnet.get(family).is_some()).collect()
    }

    /// Everything that is this topology with one thing less.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for index in 0..self.jars.len() {
            let mut one = self.clone();
            one.jars.remove(index);
            all.push(one);
        }
        for index in 0..self.nets.len() {
            let mut one = self.clone();
            let gone = one.nets.remove(index).name;
            for jar in &mut one.jars {
                jar.nets.retain(|net| *net != gone);
            }
            one.jars.retain(|jar| !jar.nets.is_empty() || jar.driver == Driver::Host);
            all.push(one);
        }
        for (index, jar) in self.jars.iter().enumerate() {
            let nets = if jar.nets.len() > 1 { jar.nets.len() } else { 0 };
            for net in 0..nets {
                let mut one = self.clone();
                one.jars[index].nets.remove(net);
                all.push(one);
            }
            for port in 0..jar.ports.len() {
                let mut one = self.clone();
                one.jars[index].ports.remove(port);
                all.push(one);
            }
        }
        all.extend(self.simpler_nets());
        all
    }

    /// This topology with one network nearer to an ordinary one.
    fn simpler_nets(&self) -> Vec<Self> {
        type Change = (fn(&Net) -> bool, fn(&mut Net));
        let changes: [Change; 4] = [
            (|net| net.linked, |net| net.linked = false),
            (|net| !net.icc, |net| net.icc = true),
            (|net| net.internal, |net| net.internal = false),
            (|net| !net.nat.is_empty(), |net| net.nat.clear()),
        ];
        let mut all = Vec::new();
        for (index, net) in self.nets.iter().enumerate() {
            for (applies, change) in changes {
                if applies(net) {
                    let mut one = self.clone();
                    change(&mut one.nets[index]);
                    all.push(one);
                }
            }
        }
        all
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "topology {}", self.number)?;
        for net in &self.nets {
            write!(f, "  network {} {}", net.name, net.kind)?;
            if !net.interface.is_empty() {
                write!(f, " on {}", net.interface)?;
            }
            for subnet in [&net.subnet.v4, &net.subnet.v6].into_iter().flatten() {
                write!(f, " {subnet}")?;
            }
            writeln!(
                f,
                " icc={} internal={} nat={:?}{}",
                net.icc,
                net.internal,
                net.nat,
                if net.linked { " linked" } else { "" }
            )?;
        }
        for jar in &self.jars {
            write!(f, "  container {} {}", jar.name, jar.driver)?;
            write!(f, "{}", if jar.raw { " with raw sockets" } else { "" })?;
            write!(f, "{}", if jar.escapes { " with a route of its own" } else { "" })?;
            writeln!(f, " in {:?}", jar.nets)?;
            for port in &jar.ports {
                let Port { interfaces, protocol, host, container } = port;
                writeln!(f, "    publishes {host} -> {container}/{protocol} on {interfaces:?}")?;
            }
        }
        Ok(())
    }
}
