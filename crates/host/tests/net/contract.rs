//! The host contract on the kernel, which the engine's fake host keeps too; and
//! beside it sequences of any changes, wrong ones included: what was applied is
//! what is observed, and what was refused left no trace.

use std::os::fd::AsFd;

use kleene_engine::actual::Link;
use kleene_engine::change::{Change, Owner};
use kleene_engine::{contract, contract_ipnet};
use kleene_host::linux::net::{LinuxHost, sweep};
use kleene_host::linux::view;
use kleene_model::{ContainerId, InstanceName, LinkName};

use crate::attach::equals_ip;
use crate::world::{World, endpoint, namespace, network, world};

/// A reproducible sequence of numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Any change of the host over two bridges and three cables.
fn any(world: &World, numbers: &mut Numbers, container: ContainerId) -> Change {
    let bridge = u8::try_from(numbers.below(2)).expect("small");
    let number = u32::try_from(numbers.below(3)).expect("small");
    let link = LinkName::kleene(u32::from(bridge));
    let addr = match numbers.below(2) {
        0 => format!("10.{bridge}.{}.1/24", numbers.below(2)),
        _ => format!("fd0{bridge}:{}::1/64", numbers.below(2)),
    };
    let addr = addr.parse().expect("an address");
    match numbers.below(9) {
        0 | 1 => world.bridge(bridge).swap_remove(0),
        2 => Change::AddAddress { link, addr },
        3 => Change::RemoveAddress { link: world.owned_bridge(bridge), addr },
        4 => Change::RaiseLink { link },
        5 => Change::RemoveLink { link: world.owned_bridge(bridge) },
        6 => {
            let mark = world.mark(Owner::Endpoint(endpoint(number)));
            Change::MakeCable { cable: world.cable(container, number), mark }
        }
        7 => Change::Plug { link: LinkName::cable_host(number), bridge: link },
        _ => Change::RetireCable { link: world.owned_cable(number) },
    }
}

#[test]
fn the_picture_stays_true_over_any_sequence() {
    for seed in [0x9e37_79b9_7f4a_7c15, 0x2545_f491_4f6c_dd1d, 0xd1b5_4a32_d192_ed03] {
        world(|world| {
            let mut numbers = Numbers(seed);
            let container = world.container(1);
            let mut picture = world.observe();
            let mut applied = 0;
            for step in 0..120 {
                let change = any(world, &mut numbers, container);
                if world.try_apply(std::slice::from_ref(&change)).is_ok() {
                    picture.absorb(&change);
                    applied += 1;
                }
                if let Change::RetireCable { link } = &change {
                    let gone = sweep(std::slice::from_ref(link)).expect("sweep");
                    picture.forget_retired(&gone);
                }
                let observed = world.observe();
                let (seen, drawn): (Vec<&Link>, Vec<&Link>) =
                    (observed.links().collect(), picture.links().collect());
                assert_eq!(seen, drawn, "seed {seed:x}, step {step}: {change}");
            }
            equals_ip(&world.observe());
            assert!(applied > 30, "the sequence tries something: {applied}");
            assert!(network(1) != network(2));
        });
    }
}

#[test]
fn the_kernel_keeps_the_contract() {
    for seed in 0..4 {
        world(|world| {
            let instance = InstanceName::parse("contract").expect("a name");
            let mut host = LinuxHost::new(instance, world.namespaces.clone()).expect("a host");
            let mut prepare = |container| world.namespaces.insert(container, namespace());
            if let Err(why) = contract::run(&mut host, &mut prepare, seed, 40) {
                panic!("{why}");
            }
        });
    }
}

#[test]
fn the_kernel_keeps_the_contract_of_ipnet() {
    for seed in 0..4 {
        world(|world| {
            let instance = InstanceName::parse("contract").expect("a name");
            let mut host = LinuxHost::new(instance, world.namespaces.clone()).expect("a host");
            let mut prepare = |container| {
                let netns = namespace();
                view::furnish(netns.as_fd(), &[], None).expect("a view");
                world.namespaces.insert(container, netns);
            };
            if let Err(why) = contract_ipnet::run(&mut host, &mut prepare, seed, 60) {
                panic!("{why}");
            }
        });
    }
}
