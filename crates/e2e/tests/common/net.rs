//! Sockets and addresses for the tests of networks: what is asked on the
//! host, outside and in containers, with the kernel's own words.

use super::{LIMIT, websocket::Socket};
use kleene_e2e::{Background, Output, Reply, WORLD4, WORLD6, World};
use serde_json::{Value, json};
use std::net::IpAddr;

const PROBE: &str = include_str!("probe.py");

/// Where a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Host,
    Outside,
    In(&'a str),
}

impl Place<'_> {
    fn argv(self, words: &[&str]) -> Vec<String> {
        let python = ["python3", "-I", "-S", "-c", PROBE];
        let into = match self {
            Self::Host | Self::Outside => vec![],
            Self::In(container) => vec!["exec", "-i", container],
        };
        [&into, &python[..], words].concat().into_iter().map(str::to_owned).collect()
    }

    /// Runs the probe to its end.
    #[track_caller]
    pub(crate) fn probe(self, world: &World, words: &[&str]) -> Output {
        let argv = self.argv(words);
        match self {
            Self::Host => world.run(argv),
            Self::Outside => world.outside().run(argv),
            Self::In(_) => world.klee(argv),
        }
    }

    /// Starts the probe beside the test and waits until it is up.
    #[track_caller]
    pub(crate) fn start(self, world: &World, words: &[&str], up: &str) -> Background {
        let argv = self.argv(words);
        let mut started = match self {
            Self::Host => world.spawn(argv),
            Self::Outside => world.outside().spawn(argv),
            Self::In(_) => world.klee_spawn(argv),
        };
        let what = format!("{up:?} of {words:?} in {self:?}");
        world.wait_until(LIMIT, &what, || started.stdout().contains(up) || !started.running());
        assert!(started.stdout().contains(up), "no {what}: {}", started.stdout());
        started
    }

    /// A server on these sockets; it ends when dropped.
    #[track_caller]
    pub(crate) fn serve(self, world: &World, sockets: &[String]) -> Background {
        self.start(world, &words("serve", sockets), "up\n")
    }

    /// What each server answers: the address that it saw, or an error's name.
    #[track_caller]
    pub(crate) fn ask(self, world: &World, sockets: &[String]) -> Vec<String> {
        lines(&self.probe(world, &words("ask", sockets)), sockets.len())
    }

    /// The same where most will not answer: an error's name comes sooner.
    #[track_caller]
    pub(crate) fn miss(self, world: &World, sockets: &[String]) -> Vec<String> {
        lines(&self.probe(world, &words("miss", sockets)), sockets.len())
    }

    /// `bound`, or an error's name, for each socket.
    #[track_caller]
    pub(crate) fn bind(self, world: &World, sockets: &[String]) -> Vec<String> {
        lines(&self.probe(world, &words("bind", sockets)), sockets.len())
    }

    /// `sent`, or an error's name, for each datagram.
    #[track_caller]
    pub(crate) fn send(self, world: &World, how: &str, sockets: &[String]) -> Vec<String> {
        let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
        lines(&self.probe(world, &[&["send", how], &sockets[..]].concat()), sockets.len())
    }

    /// Any other program.
    #[track_caller]
    pub(crate) fn run(self, world: &World, argv: &[&str]) -> Output {
        match self {
            Self::Host => world.run(argv),
            Self::Outside => world.outside().run(argv),
            Self::In(container) => world.klee([&["exec", container], argv].concat()),
        }
    }

    /// Links with their addresses, as `ip` shows them there.
    #[track_caller]
    pub(crate) fn links(self, world: &World) -> Vec<Value> {
        let shown = self.run(world, &["ip", "-j", "-d", "addr"]);
        shown.ok().json().as_array().expect("a list").clone()
    }
}

fn words<'a>(first: &'a str, sockets: &'a [String]) -> Vec<&'a str> {
    std::iter::once(first).chain(sockets.iter().map(String::as_str)).collect()
}

#[track_caller]
fn lines(output: &Output, count: usize) -> Vec<String> {
    let lines: Vec<String> = output.ok().stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{output}");
    lines
}

/// TCP and UDP sockets of addresses on a port.
pub(crate) fn both(addresses: &[impl AsRef<str>], port: u16) -> Vec<String> {
    let one = |protocol: &str, addr: &str| format!("{protocol}/{addr}/{port}");
    let of = |addr: &str| [one("tcp", addr), one("udp", addr)];
    addresses.iter().flat_map(|addr| of(addr.as_ref())).collect()
}

/// TCP sockets of addresses on a port.
pub(crate) fn tcp(addresses: &[impl AsRef<str>], port: u16) -> Vec<String> {
    addresses.iter().map(|addr| format!("tcp/{}/{port}", addr.as_ref())).collect()
}

/// UDP sockets of addresses on a port.
pub(crate) fn udp(addresses: &[impl AsRef<str>], port: u16) -> Vec<String> {
    addresses.iter().map(|addr| format!("udp/{}/{port}", addr.as_ref())).collect()
}

/// The link of a name.
pub(crate) fn link<'a>(links: &'a [Value], name: &str) -> Option<&'a Value> {
    links.iter().find(|link| link["ifname"] == name)
}

/// `ADDRESS/PREFIX` of everything but link-local that stands on a link.
pub(crate) fn on(links: &[Value], name: &str) -> Vec<String> {
    link(links, name).map(super::addresses).unwrap_or_default()
}

/// The link that an address stands on, with its prefix length.
pub(crate) fn holder(links: &[Value], address: &str) -> Option<(String, u64)> {
    links.iter().find_map(|link| {
        let mut list = link["addr_info"].as_array()?.iter();
        let found = list.find(|one| one["local"] == address)?;
        Some((link["ifname"].as_str()?.to_owned(), found["prefixlen"].as_u64()?))
    })
}

/// Asks for a network of a type, with `changes`.
#[track_caller]
pub(crate) fn create_network(world: &World, name: &str, kind: &str, changes: &Value) -> Reply {
    let body = super::with(json!({"name": name, "type": kind}), changes);
    world.http("POST", "/networks/create", Some(&body))
}

/// Creates a network; `changes` go over a dual-stack one of its type, whose
/// containers are seen outside as themselves.
#[track_caller]
pub(crate) fn network(world: &World, name: &str, kind: &str, changes: &Value) -> String {
    let gateways = json!({"gateway": "<auto>", "gateway6": "<auto>", "nat": ""});
    let changes = super::with(gateways, changes);
    create_network(world, name, kind, &changes).expect(201).id().to_owned()
}

/// Tells the outside that these subnets are behind the world.
#[track_caller]
pub(crate) fn known_outside(world: &World, subnets: &[&str]) {
    for subnet in subnets {
        let via = if subnet.contains(':') { WORLD6 } else { WORLD4 };
        world.outside().run(["ip", "route", "add", subnet, "via", via]).ok();
    }
}

/// Has the uplink forward, which nobody's network asks for.
#[track_caller]
pub(crate) fn forward(world: &World) {
    for family in ["ipv4", "ipv6"] {
        let line = format!("echo 1 >/proc/sys/net/{family}/conf/all/forwarding");
        world.run(["sh", "-c", &line]).ok();
    }
}

/// A dual-stack endpoint with the next free addresses.
pub(crate) fn auto(container: &str, network: &str) -> Value {
    let both = json!({"ip_address": "<auto>", "ip_address6": "<auto>"});
    super::with(super::endpoint(container, network, ""), &both)
}

/// Connects in both families, and gives the addresses.
#[track_caller]
pub(crate) fn connect(world: &World, container: &str, network: &str) -> [String; 2] {
    world.http("POST", "/networks/connect", Some(&auto(container, network))).expect(204);
    addresses_of(world, container, network)
}

/// Disconnects.
#[track_caller]
pub(crate) fn disconnect(world: &World, container: &str, network: &str) {
    let path = format!("/networks/{network}/disconnect/{container}");
    world.http("POST", &path, None).expect(204);
}

/// The endpoint of a container in a network, as inspect shows it.
#[track_caller]
pub(crate) fn endpoint_of(world: &World, container: &str, network: &str) -> Option<Value> {
    let network = world.http("GET", &format!("/networks/{network}/inspect"), None);
    let id = network.json["network"]["id"].as_str()?;
    let container = world.http("GET", &format!("/containers/{container}/inspect"), None);
    let endpoints = container.expect(200).json["container_endpoints"].clone();
    endpoints.as_array()?.iter().find(|endpoint| endpoint["network_id"] == id).cloned()
}

/// Its addresses.
#[track_caller]
pub(crate) fn addresses_of(world: &World, container: &str, network: &str) -> [String; 2] {
    let endpoint = endpoint_of(world, container, network).expect("an endpoint");
    ["ip_address", "ip_address6"].map(|key| endpoint[key].as_str().unwrap_or("").to_owned())
}

/// Starts a container with a command that sleeps.
#[track_caller]
pub(crate) fn start(world: &World, container: &str) {
    start_with(world, container, &["sleep", "1000"]);
}

/// Starts a container, or one more command in a running one, through the API.
#[track_caller]
pub(crate) fn start_with(world: &World, container: &str, command: &[&str]) {
    let body = json!({"container_id": container, "cmd": command});
    let exec = world.http("POST", "/exec/create", Some(&body)).expect(201).id().to_owned();
    let mut socket = Socket::open(world);
    let config = json!({"exec_id": exec, "attach": false, "start_container": true});
    socket.text(config.to_string());
    let (_, code, _, message) = socket.rest();
    assert_eq!(code, 1001, "{message}");
}

/// Creates a container, connects it, starts it, and gives its id.
#[track_caller]
pub(crate) fn member(world: &World, name: &str, driver: &str, networks: &[&str]) -> String {
    let id = super::create(world, name, driver);
    for network in networks {
        connect(world, name, network);
    }
    start(world, name);
    id
}

/// The supervisor of a container, as the world numbers it.
#[track_caller]
pub(crate) fn supervisor(world: &World, id: &str) -> Vec<String> {
    super::processes(world, &format!("kleene-supervise --dir /k/run/{id}"))
}

/// The networks of [`ground`].
pub(crate) const INNER: &str = "inner";
pub(crate) const WEB: &str = "web";
pub(crate) const WIRE: &str = "wire";

/// One network of each type: `inner` (loopback, kleene0), `web` (bridge,
/// kleene1), and `wire` (custom, in the middle of the uplink's own subnets).
#[track_caller]
pub(crate) fn ground(world: &World) {
    let subnets = |v4: &str, v6: &str| json!({"subnet": v4, "subnet6": v6});
    network(world, INNER, "loopback", &subnets("10.1.0.0/24", "fd00:1::/64"));
    network(world, WEB, "bridge", &subnets("10.2.0.0/24", "fd00:2::/64"));
    let wire =
        super::with(subnets("192.0.2.64/26", "2001:db8:1:0:1::/80"), &json!({"interface": "eth0"}));
    network(world, WIRE, "custom", &wire);
}

/// Whether a server has answered: it says which address it saw.
pub(crate) fn answered(seen: &str) -> bool {
    seen.parse::<IpAddr>().is_ok()
}

/// Whether a server has answered on each of them.
pub(crate) fn all_answered(seen: &[String]) -> bool {
    !seen.is_empty() && seen.iter().all(|seen| answered(seen))
}

/// Whether the kernel says why nothing was heard at all.
pub(crate) fn unanswered(seen: &str) -> bool {
    seen.starts_with('E') && !answered(seen)
}

/// Whether nothing was heard on any of them.
pub(crate) fn none_answered(seen: &[String]) -> bool {
    !seen.is_empty() && seen.iter().all(|seen| unanswered(seen))
}

/// The addresses of a pair, for TCP and for UDP in turn.
pub(crate) fn doubled(pair: &[String; 2]) -> [String; 4] {
    [&pair[0], &pair[0], &pair[1], &pair[1]].map(ToOwned::to_owned)
}
