//! Published ports while containers run, and what the policy holds against a
//! container that does not keep to it.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::LIMIT;
use common::net::{Place, addresses_of};
use kleene_e2e::{Background, WORLD4, World};

/// Answers every line with the line.
const ECHO: &str = "
import socketserver as s
class H(s.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(line)
s.ThreadingTCPServer.allow_reuse_address = True
s.ThreadingTCPServer(('', 80), H).serve_forever()";

/// Says what it is given, and what comes back within a second.
const TALK: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
s.settimeout(1)
print('up', flush=True)
for line in sys.stdin:
    try:
        s.sendall(line.encode())
        print(s.recv(100).decode().strip() or 'closed', flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)";

/// Exits with 0 if somebody takes the connection within a second.
const KNOCK: &str = "
import socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)
except OSError: sys.exit(1)";

/// What asks whether somebody answers there.
fn knock<'a>(address: &'a str, port: &'a str) -> [&'a str; 5] {
    ["python3", "-c", KNOCK, address, port]
}

fn talk(world: &World, port: &str) -> Background {
    let ready = || world.outside().run(knock(WORLD4, port)).status == Some(0);
    world.wait_until(LIMIT, &format!("port {port}"), ready);
    let talk = world.outside().spawn(["python3", "-c", TALK, WORLD4, port]);
    world.wait_until(LIMIT, "a connection", || talk.stdout().contains("up"));
    talk
}

/// What comes back.
fn said(world: &World, talk: &mut Background, word: &str) -> String {
    let before = talk.stdout().lines().count();
    talk.send(format!("{word}\n"));
    world.wait_until(LIMIT, "a word", || talk.stdout().lines().count() > before);
    talk.stdout().lines().last().unwrap().to_owned()
}

fn create(world: &World, line: &str) {
    let words = ["network", "create", "-t", "bridge"].into_iter().chain(line.split(' '));
    world.klee(words.collect::<Vec<_>>()).ok();
}

fn run(world: &World, line: &str, command: &[&str]) {
    let words = ["run", "-d"].into_iter().chain(line.split(' ')).chain(["host-usr"]);
    world.klee(words.chain(command.iter().copied()).collect::<Vec<_>>()).ok();
}

#[test]
fn flows_end_with_the_port_that_let_them_in() {
    let Some(world) = World::open("flows_end_with_the_port_that_let_them_in") else { return };
    let _kleened = world.start_kleened("");
    create(&world, "--subnet 10.4.6.0/24 web");
    create(&world, "--subnet 10.4.7.0/24 back");
    for (name, driver) in [("own", "vnet"), ("shared", "ipnet")] {
        let line = format!("-l {driver} -n web -p 8081:80 --name {name}");
        run(&world, &line, &["python3", "-c", ECHO]);
        world.klee(["publish", name, "8080:80"]).ok();
        let (mut one, mut other) = (talk(&world, "8080"), talk(&world, "8081"));
        assert_eq!(said(&world, &mut one, "first"), "first");
        world.klee(["unpublish", name, "8080"]).ok();
        assert_ne!(said(&world, &mut one, "second"), "second", "{name}: it goes on");
        // The twin, and it comes by the same container's port.
        assert_eq!(said(&world, &mut other, "still"), "still", "{name}");
        // The address goes, and with it whatever came by it.
        world.klee(["network", "disconnect", "web", name]).ok();
        assert_ne!(said(&world, &mut other, "third"), "third", "{name}: it goes on");
        // Another network, and the port is there again.
        world.klee(["network", "connect", "back", name]).ok();
        let mut again = talk(&world, "8081");
        assert_eq!(said(&world, &mut again, "back"), "back");
        world.klee(["stop", "-t", "0", name]).ok();
        assert_ne!(said(&world, &mut again, "gone"), "gone");
        // The next one has the same ports.
        world.klee(["container", "rm", name]).ok();
    }
}

#[test]
fn ports_follow_the_default_route() {
    let Some(world) = World::open("ports_follow_the_default_route") else { return };
    let _kleened = world.start_kleened("");
    create(&world, "--subnet 10.4.6.0/24 web");
    run(&world, "-l vnet -n web -p 8080:80 --name own", &["python3", "-c", ECHO]);
    let mut by_eth0 = talk(&world, "8080");
    assert_eq!(said(&world, &mut by_eth0, "here"), "here");
    // Another interface, with somebody behind it.
    world.run("ip link add eth1 type veth peer name far1".split(' ')).ok();
    let rules = || world.run(["nft", "list", "ruleset"]).stdout().into_owned();
    let uplink = |name: &str| {
        let text = rules();
        let set = text.split("set uplink4").nth(1).unwrap_or_default().to_owned();
        set.split('}').next().unwrap_or_default().contains(&format!("\"{name}\""))
    };
    assert!(uplink("eth0"));
    world.run("ip addr add 198.51.100.2/24 dev eth1".split(' ')).ok();
    world.run("ip link set eth1 up".split(' ')).ok();
    world.run("ip link set far1 up".split(' ')).ok();
    let ports = |text: &str| text.matches("tcp . 8080 : 10.4.6.2 . 80").count();
    let before = ports(&rules());
    world.run("ip route replace default via 198.51.100.1 dev eth1".split(' ')).ok();
    world.wait_until(LIMIT, "the new way", || uplink("eth1") && !uplink("eth0"));
    assert_eq!(ports(&rules()), before, "the ports stand as they did");
    let reached = || world.outside().run(knock(WORLD4, "8080")).status == Some(0);
    assert!(!reached(), "it is not published on the old way any more");
    world.run("ip route replace default via 192.0.2.1 dev eth0".split(' ')).ok();
    world.wait_until(LIMIT, "the old way", || uplink("eth0"));
    world.wait_until(LIMIT, "the port", reached);
}

/// A container that takes its subnet for one wire, whatever it was told.
#[test]
fn a_container_that_ignores_the_gateway_reaches_nobody() {
    let Some(world) = World::open("a_container_that_ignores_the_gateway_reaches_nobody") else {
        return;
    };
    let _kleened = world.start_kleened("");
    create(&world, "--subnet 10.4.6.0/24 --icc false shut");
    create(&world, "--subnet 10.4.7.0/24 open");
    for network in ["shut", "open"] {
        for name in ["a", "b"] {
            let line = format!("-l vnet -n {network} --name {name}-{network}");
            run(&world, &line, &["python3", "-c", ECHO]);
        }
    }
    let inner = |name: &str| {
        let listed = world.klee(["exec", name, "ip", "-o", "link", "show", "type", "veth"]);
        listed.stdout().split([' ', '@']).nth(1).unwrap().to_owned()
    };
    for (network, subnet) in [("shut", "10.4.6.0/24"), ("open", "10.4.7.0/24")] {
        let (from, to) = (format!("a-{network}"), format!("b-{network}"));
        let [address, _] = addresses_of(&world, &to, network);
        let route = ["ip", "route", "replace", subnet, "dev", &inner(&from)];
        Place::In(&from).run(&world, &route).ok();
        // Not even ARP would have to be asked.
        let seen =
            world.klee(["exec", &to, "cat", &format!("/sys/class/net/{}/address", inner(&to))]);
        let mac = seen.stdout().trim().to_owned();
        let known = ["ip", "neigh", "replace", &address, "lladdr", &mac, "dev", &inner(&from)];
        Place::In(&from).run(&world, &known).ok();
        let reached = || Place::In(&from).run(&world, &knock(&address, "80")).status == Some(0);
        match network {
            "open" => world.wait_until(LIMIT, "the twin", reached),
            _ => assert!(!reached(), "{from} reaches {to} past the policy"),
        }
    }
}

#[test]
fn a_container_has_its_own_mac_address_only() {
    let Some(world) = World::open("a_container_has_its_own_mac_address_only") else { return };
    let _kleened = world.start_kleened("");
    create(&world, "--subnet 10.4.6.0/24 --subnet6 fd00:4:6::/64 web");
    run(&world, "-l vnet -n web --name it", &["sleep", "1000"]);
    let reached = |to: &str| {
        Place::In("it").run(&world, &["ping", "-c", "1", "-W", "1", to]).status == Some(0)
    };
    world.wait_until(LIMIT, "the gateway", || reached("10.4.6.1") && reached("fd00:4:6::1"));
    let set = |mac: &str| {
        let script = format!(
            "link=$(ip -o link show type veth | sed 's/^[0-9]*: \\([^@]*\\)@.*/\\1/'); \
             ip link set $link down; ip link set $link address {mac}; ip link set $link up; \
             ip addr replace fd00:4:6::2/64 dev $link nodad; \
             ip route replace default via 10.4.6.1; ip neigh flush all"
        );
        Place::In("it").run(&world, &["sh", "-c", &script]).ok();
    };
    let listed = world.klee(["exec", "it", "ip", "-o", "link", "show", "type", "veth"]);
    let own = listed.stdout().split("link/ether ").nth(1).unwrap()[..17].to_owned();
    set("02:00:00:00:00:77");
    assert!(!reached("10.4.6.1") && !reached("fd00:4:6::1"), "with another MAC address");
    set(&own);
    world.wait_until(LIMIT, "the gateway again", || reached("10.4.6.1") && reached("fd00:4:6::1"));
}
