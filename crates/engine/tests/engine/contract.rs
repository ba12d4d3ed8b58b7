//! The host contract on the fake host.

use kleene_engine::fake::FakeHost;
use kleene_engine::{contract, contract_ipnet};
use kleene_model::InstanceName;

#[test]
fn the_fake_host_keeps_the_contract() {
    for seed in 0..60 {
        let mut host = FakeHost::new(InstanceName::parse("contract").expect("a name"));
        let kernel = host.clone();
        let mut prepare = |container| kernel.make_namespace(container);
        if let Err(why) = contract::run(&mut host, &mut prepare, seed, 60) {
            panic!("{why}");
        }
    }
}

#[test]
fn the_fake_host_keeps_the_contract_of_ipnet() {
    for seed in 0..60 {
        let mut host = FakeHost::new(InstanceName::parse("contract").expect("a name"));
        let kernel = host.clone();
        let mut prepare = |container| kernel.make_namespace(container);
        if let Err(why) = contract_ipnet::run(&mut host, &mut prepare, seed, 80) {
            panic!("{why}");
        }
    }
}
