//! MODEL.md's refusals for networks and endpoints: each with its exact text,
//! each beside its allowed twin.

use kleene_engine::Command;
use kleene_engine::fake::{Kind, Rig};
use kleene_model::Driver;
use kleene_model::api::NetworkConfig;

use crate::lives::{add_nic, link};

/// A host with a NIC, a VPN's route, a stranger's bridge, and a network `web`.
pub(crate) fn rig() -> Rig {
    let mut rig = Rig::over(|host| {
        host.kernel(|kernel| {
            add_nic(kernel);
            kernel.add_stranger(&link("br-lan"), Kind::Bridge, None).expect("free");
            kernel.routes.push(kleene_engine::actual::HostRoute {
                destination: "172.20.0.0/16".parse().expect("net"),
                link: Some(link("eth0")),
            });
        });
    });
    rig.network("web", "10.4.6.0/24");
    rig
}

fn create(edit: impl FnOnce(&mut NetworkConfig)) -> Command {
    let mut config = Rig::bridge_config("other", "10.4.7.0/24");
    edit(&mut config);
    Command::NetworkCreate(config)
}

/// The first is refused with this text, the second is not. Neither leaves
/// anything behind: a refused one changes nothing, and the twin is removed.
fn twin(text: &str, bad: impl FnOnce(&mut NetworkConfig), good: impl FnOnce(&mut NetworkConfig)) {
    let mut rig = rig();
    let before = (rig.host.snapshot(), rig.store.snapshot());
    assert_eq!(rig.refused(create(bad)).to_string(), text);
    assert_eq!((rig.host.snapshot(), rig.store.snapshot()), before, "{text}: something changed");
    let kleene_engine::Outcome::Id(id) = rig.ok(create(good)) else { panic!("no id") };
    rig.check();
    rig.ok(Command::NetworkRemove { network: id });
    assert_eq!(
        (rig.host.snapshot(), rig.store.snapshot()),
        before,
        "{text}: the twin left something"
    );
}

fn set(
    field: fn(&mut NetworkConfig) -> &mut String,
    text: &str,
) -> impl FnOnce(&mut NetworkConfig) {
    let text = text.to_owned();
    move |config| *field(config) = text
}

fn as_it_is(_: &mut NetworkConfig) {}

#[test]
fn network_names() {
    twin(
        "network name is already taken",
        set(|c| &mut c.name, "web"),
        set(|c| &mut c.name, "web2"),
    );
    twin(
        "invalid network name '': use 1 to 255 bytes without control characters",
        set(|c| &mut c.name, ""),
        set(|c| &mut c.name, "a network, with spaces"),
    );
    let long = "x".repeat(256);
    let mut rig = rig();
    assert!(rig.refused(create(set(|c| &mut c.name, &long))).to_string().contains("1 to 255"));
    rig.ok(create(set(|c| &mut c.name, &long[1..])));
    // A name with which an id begins would be ambiguous.
    let id = rig.state().network_named("web").expect("web").id.to_string();
    let refusal = rig.refused(create(set(|c| &mut c.name, &id[..3])));
    assert_eq!(refusal.to_string(), "network name is already taken");
}

#[test]
fn no_id_begins_with_the_name_of_another_network() {
    let mut rig = Rig::new();
    // All but `f`, or the name would be refused for an id before it.
    let mut names = Vec::new();
    for n in 0..15 {
        let name = format!("{n:x}");
        let mut config = Rig::bridge_config(&name, &format!("10.9.{n}.0/24"));
        config.gateway = String::new();
        if rig.ask(Command::NetworkCreate(config)).is_ok() {
            names.push(name);
        }
    }
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        rig.ok(Command::NetworkRemove { network: name });
    }
}

#[test]
fn subnets_that_cannot_be_read() {
    let subnet: fn(&mut NetworkConfig) -> &mut String = |c| &mut c.subnet;
    let subnet6: fn(&mut NetworkConfig) -> &mut String = |c| &mut c.subnet6;
    for text in ["x", "10.4.7.0", "10.4.7.0/33", "10.4.7/24", "-", "10.4.7.0/24 "] {
        twin(
            &format!("invalid subnet: could not parse cidr block: \"{text}\""),
            set(subnet, text),
            as_it_is,
        );
    }
    twin(
        "invalid subnet6: could not parse cidr block: \"fd00::/129\"",
        set(subnet6, "fd00::/129"),
        set(subnet6, "fd00::/64"),
    );
    twin("invalid subnet: wrong IP protocol", set(subnet, "fd00::/64"), as_it_is);
    twin("invalid subnet6: wrong IP protocol", set(subnet6, "10.9.0.0/24"), as_it_is);
    twin(
        "invalid subnet: \"10.4.7.9/24\" has host bits, the subnet is 10.4.7.0/24",
        set(subnet, "10.4.7.9/24"),
        as_it_is,
    );
    twin(
        "invalid subnet: 10.4.7.0/31 has no address for a container",
        set(subnet, "10.4.7.0/31"),
        set(subnet, "10.4.7.0/30"),
    );
    twin(
        "invalid subnet: 224.0.0.0/24 holds multicast addresses (224.0.0.0/4), which no interface can be given, use for example 10.4.6.0/24",
        set(subnet, "224.0.0.0/24"),
        set(subnet, "223.0.0.0/24"),
    );
    twin(
        "invalid subnet6: fe80::/64 holds link-local addresses (fe80::/10), which no interface can be given, use for example fd00:4:6::/64",
        set(subnet6, "fe80::/64"),
        set(subnet6, "fd80::/64"),
    );
}

#[test]
fn gateways() {
    let gateway: fn(&mut NetworkConfig) -> &mut String = |c| &mut c.gateway;
    let usable = |addr: &str| {
        format!("invalid gateway: {addr} is not a usable address of the subnet 10.4.7.0/24")
    };
    for addr in ["10.4.8.1", "10.4.7.0", "10.4.7.255"] {
        twin(&usable(addr), set(gateway, addr), set(gateway, "10.4.7.254"));
    }
    for text in ["10.4.7.1/24", "x", "<host-gateway>"] {
        twin(
            &format!("invalid gateway: could not parse cidr block: \"{text}\""),
            set(gateway, text),
            set(gateway, ""),
        );
    }
    twin("invalid gateway: wrong IP protocol", set(gateway, "fd00::1"), set(gateway, "<auto>"));
    twin(
        "invalid gateway6: wrong IP protocol",
        set(|c| &mut c.gateway6, "10.4.7.1"),
        set(|c| &mut c.gateway6, "<auto>"),
    );
    twin(
        "invalid gateway6: the network has no IPv6 subnet",
        set(|c| &mut c.gateway6, "fd00::1"),
        |c| {
            c.subnet6 = "fd00::/64".into();
            c.gateway6 = "fd00::1".into();
        },
    );
}

#[test]
fn overlaps_name_the_other_and_propose_the_next_free_subnet() {
    let subnet: fn(&mut NetworkConfig) -> &mut String = |c| &mut c.subnet;
    for (asked, text, next) in [
        ("10.4.6.0/24", "10.4.6.0/24 overlaps 10.4.6.0/24 of network web", "10.4.7.0/24"),
        ("10.4.6.128/25", "10.4.6.128/25 overlaps 10.4.6.0/24 of network web", "10.4.7.0/25"),
        ("10.4.0.0/16", "10.4.0.0/16 overlaps 10.4.6.0/24 of network web", "10.5.0.0/16"),
        (
            "192.168.1.0/24",
            "192.168.1.0/24 overlaps the host's route 192.168.1.0/24 on eth0",
            "192.168.2.0/24",
        ),
        (
            "172.20.3.0/24",
            "172.20.3.0/24 overlaps the host's route 172.20.0.0/16 on eth0",
            "172.21.0.0/24",
        ),
    ] {
        twin(
            &format!("invalid subnet: {text}, the next free subnet is {next}"),
            set(subnet, asked),
            set(subnet, next),
        );
    }
}

#[test]
fn a_default_route_overlaps_nothing_and_ipv6_is_looked_at_too() {
    let mut rig = rig();
    rig.network("six", "fd00:6::/64");
    let refusal = rig.refused(create(set(|c| &mut c.subnet6, "fd00:6::/48")));
    assert_eq!(
        refusal.to_string(),
        "invalid subnet6: fd00:6::/48 overlaps fd00:6::/64 of network six, \
         the next free subnet is fd00:6:1::/48"
    );
}

#[test]
fn an_existing_interface_is_never_taken_over() {
    let interface: fn(&mut NetworkConfig) -> &mut String = |c| &mut c.interface;
    for name in ["eth0", "br-lan"] {
        twin(
            &format!(
                "interface {name} already exists on the host and does not belong to Kleene: choose \
                 another name, or leave it out to get the next free 'kleeneN'"
            ),
            set(interface, name),
            set(interface, "br-web"),
        );
    }
    twin(
        "interface kleene0 is used by network web",
        set(interface, "kleene0"),
        set(interface, "kleene1"),
    );
    for bad in ["a/b", "a b", "..", "sixteen-letters-"] {
        let mut rig = rig();
        let text = rig.refused(create(set(interface, bad))).to_string();
        assert!(text.starts_with(&format!("invalid interface name '{bad}'")), "{text}");
    }
}

#[test]
fn where_a_network_leaves_is_an_interface_or_nothing() {
    for nat in [None, Some(""), Some("<host-gateway>"), Some("eth0")] {
        let mut rig = rig();
        rig.ok(create(|c| c.nat = nat.map(str::to_owned)));
    }
    let refused = |nat: &str| rig().refused(create(|c| c.nat = Some(nat.to_owned()))).to_string();
    assert!(refused("a/b").starts_with("invalid interface name"));
    assert_eq!(refused("eth9"), "interface eth9 does not exist on the host");
}

#[test]
fn endpoints() {
    let mut rig = rig();
    rig.container("site");
    rig.container("other");
    let connect = |addr: &str| Command::NetworkConnect(Rig::endpoint_config("site", "web", addr));
    let mut before = |text: &str, command: Command| {
        let state = rig.store.snapshot();
        assert_eq!(rig.refused(command).to_string(), text);
        assert_eq!(rig.store.snapshot(), state, "{text}");
    };
    let outside = "is not an address of the network's subnet 10.4.6.0/24";
    before(&format!("10.4.7.9 {outside}"), connect("10.4.7.9"));
    before("10.4.6.1 is not free: it is the gateway of the network", connect("10.4.6.1"));
    before("10.4.6.0 is not free: it is the address of the network itself", connect("10.4.6.0"));
    before(
        "10.4.6.255 is not free: it is the broadcast address of the network",
        connect("10.4.6.255"),
    );
    for text in ["x", "10.4.6", "fd00::1", "10.4.6.9/24"] {
        before(&format!("could not parse inet address {text}: einval"), connect(text));
    }
    let mut six = Rig::endpoint_config("site", "web", "");
    six.ip_address6 = "10.4.6.9".into();
    before("could not parse inet6 address 10.4.6.9: einval", Command::NetworkConnect(six.clone()));
    six.ip_address6 = "fd00::9".into();
    let no_subnet =
        "cannot set ip address because there is no IPv6 subnet defined for this network";
    before(no_subnet, Command::NetworkConnect(six));
    // The twins: the last usable address, and none at all.
    rig.ok(connect("10.4.6.254"));
    assert_eq!(
        rig.refused(connect("<auto>")).to_string(),
        "container already connected to the network"
    );
    let taken = Rig::endpoint_config("other", "web", "10.4.6.254");
    assert_eq!(
        rig.refused(Command::NetworkConnect(taken)).to_string(),
        "10.4.6.254 is not free: it is used by container site"
    );
    rig.ok(Command::NetworkConnect(Rig::endpoint_config("other", "web", "")));
    rig.check();
}

#[test]
fn drivers_and_networks() {
    let mut rig = rig();
    rig.container_of("tool", Driver::Host);
    rig.container_of("site", Driver::Vnet);
    let refusal = rig.refused(Command::NetworkConnect(Rig::endpoint_config("tool", "web", "")));
    assert_eq!(
        refusal.to_string(),
        "containers with the 'host' network-driver cannot connect to networks."
    );
    rig.connect("site", "web");
}

#[test]
fn a_full_network() {
    let mut rig = rig();
    rig.network("tiny", "10.4.8.0/30");
    rig.container("one");
    rig.container("two");
    rig.connect("one", "tiny");
    let connect = || Command::NetworkConnect(Rig::endpoint_config("two", "tiny", "<auto>"));
    assert_eq!(rig.refused(connect()).to_string(), "no more inet IP's left in the network");
    rig.ok(Command::NetworkDisconnect { network: "tiny".into(), container: "one".into() });
    rig.ok(connect());
    rig.check();
}
