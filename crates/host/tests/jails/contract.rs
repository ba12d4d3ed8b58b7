//! The host contract, which the fake host and the one of Linux keep too.

use std::sync::Arc;

use kleene_engine::contract;
use kleene_host::freebsd::net::FreeBsdHost;
use kleene_host::freebsd::run::{Call, Tool, Tools as _};
use kleene_host::freebsd::simulated::Simulated;
use kleene_model::{ContainerId, InstanceName};

#[test]
fn freebsd_keeps_the_contract() {
    for seed in 0..12 {
        let system = Simulated::new();
        system.make_directory("/jr");
        let instance = InstanceName::parse("contract").expect("a name");
        let mut host = FreeBsdHost::new(instance, Arc::new(system.clone()));
        let mut prepare = |container: ContainerId| {
            let name = format!("name={container}");
            let call = Call::new(Tool::Jail, ["-c", "path=/jr", &name, "vnet", "persist"]);
            system.run(&call).expect("a jail");
        };
        if let Err(why) = contract::run(&mut host, &mut prepare, seed, 60) {
            panic!("{why}");
        }
    }
}
