//! Properties of what reads untrusted bytes.

use kleene_model::addr::{AddressRequest, number};
use kleene_model::api::{
    CLOSE_REASON_MAX, ContainerConfig, EndPointConfig, ExecConfig, ExecStartConfig, MessageType,
    NetworkConfig, WebSocketMessage, Window,
};
use kleene_model::container::merge_env;
use kleene_model::{
    ContainerId, ContainerName, EndpointId, ExecId, Family, Gateway, InstanceName, LinkName,
    NetworkId, NetworkName, Subnet, lenient,
};
use proptest::prelude::*;

/// JSON-like text: more of it gets past the first byte than of noise.
fn json_like() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "name",
        "type",
        "subnet",
        "icc",
        "internal",
        "exec_id",
        "attach",
        "start_container",
        "window",
        "cmd",
        "env",
        "container",
        "network",
        "network_driver",
        "public_ports",
        "mounts",
        "read_only",
        "persist",
        "nat",
        "rows",
        "cols",
        "image",
        "container_id",
        "tty",
    ]);
    let value = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        prop::sample::select(vec!["true", "false", "bridge", "vnet", "<auto>", "x"])
            .prop_map(|text| format!("\"{text}\"")),
        Just("[]".to_owned()),
        Just("[\"a\",1]".to_owned()),
        Just("{\"rows\":1,\"cols\":99999}".to_owned()),
        "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
    ];
    prop::collection::vec((name, value), 0..8).prop_map(|fields| {
        let fields: Vec<String> =
            fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

fn read_all(bytes: &[u8]) {
    // Refused or read: never a panic, and a refusal has a text.
    let texts = [
        lenient::body::<NetworkConfig>(bytes).err(),
        lenient::body::<EndPointConfig>(bytes).err(),
        lenient::body::<ContainerConfig>(bytes).err(),
        lenient::body::<ExecConfig>(bytes).err(),
        lenient::body::<ExecStartConfig>(bytes).err(),
        lenient::body::<Window>(bytes).err(),
    ];
    for refusal in texts.into_iter().flatten() {
        assert!(refusal.to_string().starts_with("invalid request: "), "{refusal}");
    }
}

fn v4_or_v6() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::BOTH.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_never_panic_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn bodies_never_panic_on_json(text in json_like(), cut in any::<prop::sample::Index>()) {
        read_all(text.as_bytes());
        read_all(&text.as_bytes()[..cut.index(text.len() + 1)]);
    }

    #[test]
    fn what_is_written_reads_back(name in "\\PC{0,40}", subnet in "\\PC{0,20}", icc in any::<bool>()) {
        let mut body: NetworkConfig =
            lenient::body(br#"{"name":"x","type":"bridge"}"#).expect("two fields are enough");
        body.name = name;
        body.subnet = subnet;
        body.icc = icc;
        let json = serde_json::to_vec(&body).expect("serialises");
        prop_assert_eq!(lenient::body::<NetworkConfig>(&json), Ok(body));
    }

    #[test]
    fn names_that_are_taken_round_trip(text in prop_oneof!["[a-z0-9.:/ -]{0,20}", "\\PC{0,20}"]) {
        if let Ok(name) = NetworkName::parse(&text) {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(!text.is_empty());
        }
        if let Ok(name) = ContainerName::parse(&text) {
            prop_assert_eq!(name.to_string(), text.clone());
            let json = serde_json::to_string(&name).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<ContainerName>(&json).expect("reads"), name);
        }
        if let Ok(name) = LinkName::parse(&text) {
            prop_assert!((1..=15).contains(&name.as_str().len()));
            prop_assert!(!name.as_str().contains(['/', ':', ' ']));
            prop_assert_eq!(LinkName::parse(name.as_str()), Ok(name));
        }
        if let Ok(name) = InstanceName::parse(&text) {
            prop_assert!(!name.as_str().contains(':'), "a mark is split at colons");
        }
    }

    #[test]
    fn stored_names_are_checked_when_they_are_read(text in "\\PC{0,20}") {
        let json = serde_json::to_string(&text).expect("serialises");
        let read = serde_json::from_str::<LinkName>(&json).ok();
        prop_assert_eq!(read, LinkName::parse(&text).ok());
    }

    #[test]
    fn ids_round_trip_and_are_never_decimal(bytes in any::<[u8; 6]>(), text in "[0-9a-f]{10,13}|\\PC{0,14}") {
        if let Some(id) = ContainerId::from_bytes(bytes) {
            prop_assert_eq!(ContainerId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(id.bytes(), bytes);
            prop_assert!(id.to_string().contains(|c: char| c.is_ascii_lowercase()));
            prop_assert!(id.starts_with(&id.to_string()[..5]));
        }
        for read in [
            NetworkId::parse(&text).map(|id| id.to_string()),
            EndpointId::parse(&text).map(|id| id.to_string()),
            ExecId::parse(&text).map(|id| id.to_string()),
        ].into_iter().flatten() {
            prop_assert_eq!(read, text.clone());
        }
    }

    #[test]
    fn a_close_reason_fits_and_is_json(
        message in "(\\PC|[\\x00-\\x1f\"\\\\]){0,200}",
        data in "[ -~]{0,20}",
    ) {
        let reason = WebSocketMessage { data: data.clone(), message: message.clone(), msg_type: MessageType::Error };
        let text = reason.close_reason();
        prop_assert!(text.len() <= CLOSE_REASON_MAX, "{} bytes", text.len());
        let read: WebSocketMessage = serde_json::from_str(&text).expect("whole JSON");
        prop_assert!(message.starts_with(&read.message));
        prop_assert_eq!(read.data, data);
    }

    #[test]
    fn a_close_reason_fits_whatever_its_data(data in "\\PC{0,200}", message in "\\PC{0,40}") {
        let text = WebSocketMessage { data, message, msg_type: MessageType::Closing }.close_reason();
        prop_assert!(text.len() <= CLOSE_REASON_MAX, "{} bytes", text.len());
        prop_assert!(serde_json::from_str::<WebSocketMessage>(&text).is_ok());
    }

    #[test]
    fn addresses_and_gateways_never_panic(family in v4_or_v6(), text in "\\PC{0,40}|[0-9a-f:./]{0,24}") {
        let subnet = Subnet::parse(family, &text).ok();
        if let Some(subnet) = subnet {
            prop_assert_eq!(Subnet::parse(family, &subnet.to_string()), Ok(subnet));
            prop_assert!(subnet.contains(subnet.network()) && subnet.contains(subnet.last()));
            if let Some(next) = subnet.next() {
                prop_assert!(!subnet.overlaps(next.net()));
                prop_assert_eq!(number(next.network()), number(subnet.last()) + 1);
            }
            if let Some(auto) = Gateway::Auto.address(subnet) {
                prop_assert!(subnet.contains(auto));
            }
        }
        if let Ok(Gateway::Given(addr)) = Gateway::parse(family, &text, subnet) {
            prop_assert!(subnet.is_some_and(|subnet| subnet.contains(addr)));
        }
        if let Ok(AddressRequest::Given(addr)) = AddressRequest::parse(family, &text) {
            prop_assert_eq!(Family::of(addr), family);
        }
    }

    #[test]
    fn numbers_and_addresses_are_the_same(family in v4_or_v6(), n in any::<u128>()) {
        let addr = family.address(n);
        prop_assert_eq!(Family::of(addr), family);
        prop_assert_eq!(family.address(number(addr)), addr);
    }

    #[test]
    fn a_merged_environment_has_every_name_once(
        base in prop::collection::vec("[AB]{1,2}=[a-z=]{0,3}", 0..6),
        over in prop::collection::vec("[AB]{1,2}=[a-z=]{0,3}", 0..6),
    ) {
        let merged = merge_env(&base, &over);
        let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> = merged.iter().map(name).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), merged.len());
        for entry in base.iter().chain(&over).map(name) {
            let last = base.iter().chain(&over).rfind(|other| name(other) == entry);
            prop_assert!(merged.iter().any(|kept| Some(kept) == last));
        }
    }

    #[test]
    fn booleans_of_queries(text in "true|false|\\PC{0,6}") {
        match lenient::parse_boolean(&text) {
            Ok(value) => prop_assert_eq!(value.to_string(), text),
            Err(why) => prop_assert_eq!(why, "Invalid boolean. Got: string"),
        }
    }
}

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let body = vec![b' '; lenient::BODY_MAX + 1];
    let refusal = lenient::body::<ExecConfig>(&body).expect_err("too large");
    assert!(refusal.to_string().contains("the limit is 1048576"), "{refusal}");
    let mut body = br#"{"container_id":"x"}"#.to_vec();
    body.resize(lenient::BODY_MAX, b' ');
    assert!(lenient::body::<ExecConfig>(&body).is_ok());
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let body = "[".repeat(100_000);
    assert!(lenient::body::<ExecConfig>(body.as_bytes()).is_err());
    let body = format!("{{\"more\":{}", "[".repeat(100_000));
    assert!(lenient::body::<ExecConfig>(body.as_bytes()).is_err());
}
