//! Texts that become typed values: what is accepted reads as it was written.
#![no_main]

use kleene_model::addr::{Family, Subnet};
use kleene_model::name::{ContainerName, InstanceName, LinkName, NetworkName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = ContainerName::parse(text);
    let _ = InstanceName::parse(text);
    let _ = NetworkName::parse(text);
    if let Ok(name) = LinkName::parse(text) {
        assert!(name.to_string().len() <= 15);
    }
    for family in [Family::V4, Family::V6] {
        if let Ok(subnet) = Subnet::parse(family, text) {
            assert_eq!(Subnet::parse(family, &subnet.to_string()).ok(), Some(subnet));
        }
    }
});
