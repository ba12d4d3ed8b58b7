//! What attaching costs beside its floor: the same messages, built beforehand,
//! through sockets that are open already, without a look at anything. Printed,
//! never judged: the budget is checked by the benchmarks.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use kleene_engine::change::{Cable, CableUse, Change, Mark, Owner};
use kleene_model::{ContainerId, EndpointId, LinkName, MacAddress, NetworkId};

use super::*;
use crate::linux::testing::{self, namespace};

const CABLES: u8 = 100;

struct Attachment {
    cable: Cable,
    mark: Mark,
    addrs: [IpNet; 2],
}

impl Attachment {
    fn new(number: u8, instance: &InstanceName) -> Self {
        let container = ContainerId::from_bytes([0xc0, 0, 0, 0, 0, number]).expect("id");
        let endpoint = EndpointId::from_bytes([0xe0, 0, 0, 0, 0, number]).expect("id");
        let addr = |text: String| text.parse().expect("an address");
        let cable = Cable {
            purpose: CableUse::Port,
            mtu: None,
            host: LinkName::cable_host(u32::from(number)),
            inner: LinkName::cable_container(u32::from(number)),
            host_mac: MacAddress::from_id([0, 0, 0, 0, 0, number], 1),
            inner_mac: MacAddress::from_id([0, 0, 0, 0, 0, number], 2),
            container,
        };
        let mark = Mark { instance: instance.clone(), owner: Owner::Endpoint(endpoint) };
        let addrs = [addr(format!("10.9.0.{number}/24")), addr(format!("fd09::{number:x}/64"))];
        Self { cable, mark, addrs }
    }

    fn changes(&self, bridge: &LinkName) -> Vec<Change> {
        let (container, link) = (self.cable.container, self.cable.inner.clone());
        let host = self.cable.host.clone();
        let mut changes = vec![
            Change::MakeCable { cable: self.cable.clone(), mark: self.mark.clone() },
            Change::Plug { link: host.clone(), bridge: bridge.clone() },
            Change::RaiseLink { link: host },
        ];
        changes.extend(self.addrs.map(|addr| Change::AddInnerAddress {
            container,
            link: link.clone(),
            addr,
        }));
        changes.push(Change::RaiseInnerLink { container, link: link.clone() });
        changes.extend(GATEWAYS.map(|via| Change::AddDefaultRoute {
            container,
            link: link.clone(),
            via: via.parse().expect("an address"),
        }));
        changes
    }

    /// The time that the kernel needs for it.
    fn raw(&self, host: &mut Socket, inner: &mut Socket, netns: &OwnedFd, bridge: u32) -> Duration {
        let number = 0x4000_0000 + u32::from(self.cable.host_mac.0[5]);
        let outer = [
            request::make_cable(&self.cable, (number, number), netns.as_fd()),
            request::set_mark(number, &self.mark),
            request::set_master(number, bridge),
            request::set_up(number, true),
        ];
        let mut within = self.addrs.map(|addr| request::add_address(number, addr)).to_vec();
        within.push(request::set_up(number, true));
        let routes = GATEWAYS.map(|via| via.parse().expect("an address"));
        within.extend(routes.map(|via| request::default_route(number, via)));
        let start = Instant::now();
        let mut verdicts = host.batch(&outer.iter().collect::<Vec<_>>()).expect("answers");
        verdicts.extend(inner.batch(&within.iter().collect::<Vec<_>>()).expect("answers"));
        let time = start.elapsed();
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
        time
    }
}

const GATEWAYS: [&str; 2] = ["10.9.0.254", "fd09::fe"];

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn measure() {
    let instance = InstanceName::parse("test").expect("name");
    let namespaces = Namespaces::new();
    let mut host = LinuxHost::new(instance.clone(), namespaces.clone()).expect("host");
    let bridge = LinkName::kleene(0);
    let network = NetworkId::from_bytes([0xa0; 6]).expect("id");
    let mark = Mark { instance: instance.clone(), owner: Owner::Network(network) };
    let mac = MacAddress::from_id([0xa0; 6], 0);
    let mut changes = vec![Change::MakeBridge { link: bridge.clone(), mac, mark }];
    changes.extend(GATEWAYS.map(|via| Change::AddAddress {
        link: bridge.clone(),
        addr: format!("{via}/{}", if via.contains(':') { 64 } else { 24 }).parse().expect("net"),
    }));
    changes.push(Change::RaiseLink { link: bridge.clone() });
    host.apply(&changes).expect("a bridge");
    let index = host.indexes[&bridge];
    let mut raw = Socket::open().expect("socket");
    let (mut floor, mut ours, mut away) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=CABLES {
        let attachment = Attachment::new(number, &instance);
        let netns = namespace();
        if number % 2 == 0 {
            let mut inner = visit_for_test(&netns);
            floor.push(attachment.raw(&mut raw, &mut inner, &netns, index));
            continue;
        }
        namespaces.insert(attachment.cable.container, netns);
        let changes = attachment.changes(&bridge);
        let start = Instant::now();
        host.apply(&changes).expect("attached");
        ours.push(start.elapsed());
        let seen = host.observe().expect("observed");
        let link = seen.link(&attachment.cable.host).and_then(|link| link.owned(&instance));
        let retire = [Change::RetireCable { link: link.expect("ours") }];
        let start = Instant::now();
        host.apply(&retire).expect("retired");
        away.push(start.elapsed());
    }
    let (ours, floor, away) = (median(&mut ours), median(&mut floor), median(&mut away));
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!("attach {ours:?}, floor {floor:?}, ratio {ratio:.2}; detach {away:?} (medians)");
}

fn visit_for_test(netns: &OwnedFd) -> Socket {
    namespaces::visit(netns, &[]).expect("a socket inside")
}

#[test]
fn attaching_beside_its_floor() {
    if !testing::is_root_with("ip") {
        return;
    }
    testing::inside(&namespace(), measure);
}
