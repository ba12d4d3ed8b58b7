//! A topology in a world: made through the API, with a probe in each place.

use crate::linux::hub::Hub;
use crate::linux::place::{Place, Site};
use crate::linux::ports::{HOST_ONLY, NATIVE_ONLY, SERVICES};
use crate::linux::topology::{Jar, Net, SECOND, Topology, UPLINK};
use kleene_e2e::{Background, FAR4, FAR6, Kleened, OUTSIDE4, OUTSIDE6, Run, WORLD4, WORLD6, World};
use kleene_model::{Driver, Dual, Family, NetworkType, Subnet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What all probes of a world share.
const DIR: &str = "/run/policy";
const LIMIT: Duration = Duration::from_secs(60);

/// The world's own addresses on its second interface, its neighbour's, and those
/// of a host farther away.
const SECOND4: [&str; 3] = ["198.18.1.2", "198.18.1.1", "203.0.113.7"];
const SECOND6: [&str; 3] = ["2001:db8:3::2", "2001:db8:3::1", "2001:db8:4::7"];

/// A topology that stands.
pub(crate) struct Stage<'w> {
    pub(crate) world: &'w World,
    pub(crate) kleened: Kleened<'w>,
    pub(crate) topology: Topology,
    pub(crate) hub: Hub,
    pub(crate) sites: BTreeMap<(Site, Family), IpAddr>,
    /// What the daemon says of its networks and containers, by our names.
    pub(crate) nets: BTreeMap<String, Value>,
    pub(crate) jars: BTreeMap<String, Value>,
    /// They end with their handles.
    _probes: Vec<Background>,
}

/// The world's second interface, and what else a host has that forwards.
fn second() -> String {
    let [own4, side4, far4] = SECOND4;
    let [own6, side6, far6] = SECOND6;
    format!(
        "set -e
         ip netns add side
         {}
         ip link add {SECOND} type veth peer name side0 netns side
         ip addr add {own4}/24 dev {SECOND}
         ip addr add {own6}/64 dev {SECOND} nodad
         ip link set {SECOND} up
         ip -n side link set lo up
         ip -n side addr add {side4}/24 dev side0
         ip -n side addr add {side6}/64 dev side0 nodad
         ip -n side addr add {far4}/32 dev lo
         ip -n side addr add {far6}/128 dev lo nodad
         ip -n side link set side0 up
         ip route add {far4} via {side4}
         ip route add {far6} via {side6}
         ip -n side route add default via {own4}
         ip -n side route add default via {own6}
         # What a network without nat leaves to the administrator.
         echo 1 >/proc/sys/net/ipv4/ip_forward
         echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
         {UNLIMITED}
         mkdir -p {DIR}
         chmod 777 {DIR}",
        at_once("side")
    )
}

/// The kernel sends few refusals a second by itself; here each is an answer.
const UNLIMITED: &str = "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
    echo 0 >/proc/sys/net/ipv6/icmp/ratelimit
    # Not everywhere one for each network namespace.
    echo 100000 2>/dev/null >/proc/sys/net/ipv4/icmp_msgs_per_sec || true";

/// Has the addresses of a namespace usable as soon as they are there: the kernel
/// asks for no neighbour, and for a second does not try again, while it has no
/// link-local address to ask with.
fn at_once(net: &str) -> String {
    let command = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad";
    format!("nsenter --net=/run/netns/{net} sh -c '{command}'")
}

/// The outside's ways to what is behind the world, and an address to ask for
/// neighbours with that is usable at once.
fn ways() -> String {
    format!(
        "set -e
         ip addr add fe80::1/64 dev uplink0 nodad
         ip route add 10.0.0.0/8 via {WORLD4}
         ip route add fd00::/8 via {WORLD6}
         ip route add 198.18.1.0/24 via {WORLD4}
         ip route add 2001:db8:3::/64 via {WORLD6}
         {UNLIMITED}"
    )
}

/// A host behind an interface that is about to be linked into a network.
fn behind(net: &Net, addresses: &Dual<Option<IpAddr>>) -> String {
    let name = &net.name;
    let mut script = format!(
        "set -e
         ip netns add behind-{name}
         {}
         ip link add plug-{name} type veth peer name wire0 netns behind-{name}
         ip link set plug-{name} up
         ip -n behind-{name} link set lo up
         ip -n behind-{name} link set wire0 up\n",
        at_once(&format!("behind-{name}"))
    );
    for (family, address) in addresses.present() {
        let subnet = net.subnet.get(family).as_deref().unwrap_or_default();
        let length = subnet.split('/').nth(1).unwrap_or_default();
        let nodad = if family == Family::V6 { " nodad" } else { "" };
        script += &format!("ip -n behind-{name} addr add {address}/{length} dev wire0{nodad}\n");
        if let Some(gateway) = in_subnet(net, family, 1) {
            script += &format!("ip -n behind-{name} route add default via {gateway}\n");
        }
    }
    script
}

fn in_subnet(net: &Net, family: Family, number: u128) -> Option<IpAddr> {
    let subnet = Subnet::parse(family, net.subnet.get(family).as_deref()?).ok()?;
    Some(family.address(kleene_model::addr::number(subnet.network()) + number))
}

fn script(world: &World, what: &str, text: &str) -> Result<(), String> {
    let output = world.run(["sh", "-c", text]);
    if output.status == Some(0) { Ok(()) } else { Err(format!("{what}: {output}")) }
}

/// One request that is to succeed.
fn ask(world: &World, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let reply = world.try_http(method, path, body).map_err(|error| error.chain())?;
    if (200..300).contains(&reply.status) {
        return Ok(reply.json);
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    Err(format!("{method} {path} {body}: {} {}", reply.status, reply.text))
}

impl<'w> Stage<'w> {
    /// Makes all of it in a fresh world.
    pub(crate) fn make(world: &'w World, topology: &Topology) -> Result<Self, String> {
        script(world, "make the second interface", &second())?;
        // Where the kernel knows it at all.
        let switch = format!(
            "for key in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do \
             test ! -e $key || echo {} >$key; done",
            u8::from(topology.filters_bridges())
        );
        script(world, "say who sees bridged packets", &switch)?;
        let outside = world.outside().run(["sh", "-c", &ways()]);
        if outside.status != Some(0) {
            return Err(format!("teach the outside: {outside}"));
        }
        let kleened = world.start_kleened("log_level: info\n");
        // Containers get this directory, and have the program from it.
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let copy = ["cp".into(), program.into_os_string(), PathBuf::from(DIR).into_os_string()];
        if world.run(copy).status != Some(0) {
            return Err("cannot copy this program into the world".to_owned());
        }
        let hub = Hub::open(&world.path(format!("{DIR}/hub")))?;
        script(world, "open the socket", &format!("chmod 777 {DIR}/hub"))?;
        let mut stage = Self {
            world,
            kleened,
            topology: topology.clone(),
            hub,
            sites: BTreeMap::new(),
            nets: BTreeMap::new(),
            jars: BTreeMap::new(),
            _probes: Vec::new(),
        };
        stage.make_nets()?;
        stage.make_jars()?;
        stage.known();
        stage.start()?;
        stage.listen()?;
        Ok(stage)
    }

    fn make_nets(&mut self) -> Result<(), String> {
        for net in &self.topology.nets {
            let gateway = |family| {
                let wanted = net.kind == NetworkType::Bridge && net.subnet.get(family).is_some();
                if wanted { "<auto>" } else { "" }
            };
            let config = json!({
                "name": net.name, "type": net.kind, "interface": net.interface,
                "subnet": net.subnet.v4.as_deref().unwrap_or_default(),
                "subnet6": net.subnet.v6.as_deref().unwrap_or_default(),
                "gateway": gateway(Family::V4), "gateway6": gateway(Family::V6),
                "icc": net.icc, "internal": net.internal, "nat": net.nat,
            });
            ask(self.world, "POST", "/networks/create", Some(&config))?;
            if net.linked {
                let addresses = Dual::from_fn(|family| in_subnet(net, family, 200));
                script(self.world, "make what is behind", &behind(net, &addresses))?;
                let path = format!("/networks/{0}/link/plug-{0}", net.name);
                ask(self.world, "POST", &path, None)?;
                for (family, address) in addresses.present() {
                    self.sites.insert((Site::Behind(net.name.clone()), family), *address);
                }
            }
            let path = format!("/networks/{}/inspect", net.name);
            self.nets
                .insert(net.name.clone(), ask(self.world, "GET", &path, None)?["network"].clone());
        }
        Ok(())
    }

    fn make_jars(&mut self) -> Result<(), String> {
        for jar in &self.topology.jars {
            ask(self.world, "POST", "/containers/create", Some(&config(jar)))?;
            for net in &jar.nets {
                let net = self.topology.net(net).ok_or_else(|| format!("no network {net}"))?;
                let auto = |family| if net.subnet.get(family).is_some() { "<auto>" } else { "" };
                let endpoint = json!({
                    "container": jar.name, "network": net.name,
                    "ip_address": auto(Family::V4), "ip_address6": auto(Family::V6),
                });
                ask(self.world, "POST", "/networks/connect", Some(&endpoint))?;
            }
            let path = format!("/containers/{}/inspect", jar.name);
            let seen = ask(self.world, "GET", &path, None)?;
            for net in &jar.nets {
                let id = &self.nets[net]["id"];
                let endpoints = seen["container_endpoints"].as_array().into_iter().flatten();
                for endpoint in endpoints.filter(|endpoint| endpoint["network_id"] == *id) {
                    for (family, key) in [(Family::V4, "ip_address"), (Family::V6, "ip_address6")] {
                        let address = endpoint[key].as_str().and_then(|text| text.parse().ok());
                        let site = Site::Endpoint(jar.name.clone(), net.clone());
                        self.sites.extend(address.map(|address| ((site, family), address)));
                    }
                }
            }
            self.jars.insert(jar.name.clone(), seen);
        }
        Ok(())
    }

    /// The sites that are where they are in every world.
    fn known(&mut self) {
        for net in &self.topology.nets {
            for family in Family::BOTH {
                if net.kind == NetworkType::Bridge
                    && let Some(gateway) = in_subnet(net, family, 1)
                {
                    self.sites.insert((Site::Gateway(net.name.clone()), family), gateway);
                }
            }
        }
        let [own4, side4, side_far4] = SECOND4;
        let [own6, side6, side_far6] = SECOND6;
        let known = [
            (Site::Own("lo"), ["127.0.0.1", "::1"]),
            (Site::Own(UPLINK), [WORLD4, WORLD6]),
            (Site::Own(SECOND), [own4, own6]),
            (Site::Outside, [OUTSIDE4, OUTSIDE6]),
            (Site::OutsideFar, [FAR4, FAR6]),
            (Site::Side, [side4, side6]),
            (Site::SideFar, [side_far4, side_far6]),
        ];
        for (site, texts) in known {
            for (family, text) in Family::BOTH.into_iter().zip(texts) {
                let address = text.parse().ok();
                self.sites.extend(address.map(|address| ((site.clone(), family), address)));
            }
        }
    }

    /// Starts a probe in each place.
    fn start(&mut self) -> Result<(), String> {
        let places = Place::all(&self.topology);
        for place in &places {
            let name = place.to_string();
            let program = format!("{DIR}/kleene-policy");
            let hub = format!("{DIR}/hub");
            let probe = [program.as_str(), "probe", &hub, &name];
            let net = format!("--net=/run/netns/{name}");
            let probe = match place {
                Place::Host => self.world.spawn(probe),
                Place::Outside => self.world.outside().spawn(probe),
                Place::Side | Place::Behind(_) => {
                    self.world.spawn([&["nsenter", net.as_str()][..], &probe].concat())
                }
                Place::In(_) => continue,
            };
            self._probes.push(probe);
        }
        let names = self.topology.jars.iter().map(|jar| jar.name.as_str());
        let names: Vec<&str> = names.collect();
        if !names.is_empty() {
            let started = self.world.klee([&["start", "-d"][..], &names].concat());
            if started.status != Some(0) {
                return Err(format!("start the containers: {started}"));
            }
        }
        self.hub.wait_for(&places)?;
        self.escape();
        self.unlimited()
    }

    /// Gives containers routes that they may give themselves.
    fn escape(&self) {
        for jar in self.topology.jars.iter().filter(|jar| jar.escapes) {
            for family in Family::BOTH {
                let nets = self.topology.nets_of(jar, family);
                let gateway = nets.first().and_then(|net| in_subnet(net, family, 1));
                if let Some(gateway) = gateway.map(|gateway| gateway.to_string()) {
                    let route = ["ip", "route", "add", "default", "via", &gateway];
                    // One that has a default route keeps it.
                    self.world.klee([&["exec", jar.name.as_str()][..], &route].concat());
                }
            }
        }
    }

    /// Has the kernel of containers refuse as often as it is asked.
    fn unlimited(&self) -> Result<(), String> {
        let text = format!(
            "for pid in $(pgrep -f '^{DIR}/kleene-policy probe'); do \
               nsenter -t $pid -n sh -c '{UNLIMITED}'; done; true"
        );
        let output = self.world.run_with(&Run::new(["sh", "-c", &text]).limit(LIMIT));
        if output.status == Some(0) { Ok(()) } else { Err(format!("lift limits: {output}")) }
    }

    fn listen(&mut self) -> Result<(), String> {
        let mut all = Vec::new();
        for place in Place::all(&self.topology) {
            let ports = served(&place, &self.topology);
            let sites = self.sites.iter().filter(|((site, _), _)| site.place() == place);
            let own: Vec<String> = sites.map(|(_, address)| address.to_string()).collect();
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            all.push((place, format!("{} {}", ports.join(","), own.join(","))));
        }
        self.hub.listen(&all)
    }

    /// An address of a site, if it has one in this family.
    pub(crate) fn address(&self, site: &Site, family: Family) -> Option<IpAddr> {
        self.sites.get(&(site.clone(), family)).copied()
    }

    /// Whose an address is.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<Place> {
        let found = self.sites.iter().find(|(_, known)| **known == address);
        found.map(|((site, _), _)| site.place())
    }
}

/// Which ports a place serves.
pub(crate) fn served(place: &Place, topology: &Topology) -> Vec<u16> {
    match place {
        Place::Host => SERVICES.into_iter().chain([HOST_ONLY]).collect(),
        place if place.is_host(topology) => vec![NATIVE_ONLY],
        _ => SERVICES.to_vec(),
    }
}

fn config(jar: &Jar) -> Value {
    let ports: Vec<Value> = jar
        .ports
        .iter()
        .map(|port| {
            json!({
                "interfaces": port.interfaces, "host_port": port.host,
                "container_port": port.container, "protocol": port.protocol,
            })
        })
        .collect();
    let raw: &[&str] = if jar.raw && jar.driver == Driver::Ipnet {
        // The other default has to be said along.
        &["mount.devfs", "allow.raw_sockets=true"]
    } else {
        &["mount.devfs"]
    };
    let program = format!("{DIR}/kleene-policy");
    json!({
        "name": jar.name, "image": "host-usr", "network_driver": jar.driver,
        "cmd": [program, "probe", format!("{DIR}/hub"), jar.name],
        "public_ports": ports, "jail_param": raw,
        "mounts": [{"type": "nullfs", "source": DIR, "destination": DIR, "read_only": false}],
    })
}
