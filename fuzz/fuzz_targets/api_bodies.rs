//! Bodies of requests and the first frames of websockets: a value or an error.
#![no_main]

use kleene_model::PublishedPort;
use kleene_model::api::{
    ContainerConfig, EndPointConfig, ExecConfig, ExecStartConfig, ExplainConfig, NetworkConfig,
    PublishedPortConfig, UnpublishConfig,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = serde_json::from_slice::<NetworkConfig>(body);
    let _ = serde_json::from_slice::<EndPointConfig>(body);
    let _ = serde_json::from_slice::<ContainerConfig>(body);
    let _ = serde_json::from_slice::<ExecConfig>(body);
    let _ = serde_json::from_slice::<ExecStartConfig>(body);
    let _ = serde_json::from_slice::<ExplainConfig>(body);
    if let Ok(config) = serde_json::from_slice::<PublishedPortConfig>(body) {
        let _ = PublishedPort::parse(&config);
    }
    if let Ok(config) = serde_json::from_slice::<UnpublishConfig>(body) {
        let _ = PublishedPort::parse_meant(&config);
    }
});
