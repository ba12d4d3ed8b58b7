//! What the acts ask of the kernel, of containers, and of services.

use kleene_e2e::{Output, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// The addresses of the service in the first act.
pub(crate) const SITE: &str = "10.4.6.9";
pub(crate) const SITE6: &str = "fd00:4:6::9";

/// The links of a kind, as the kernel tells them.
pub(crate) fn links(world: &World, kind: &str) -> Vec<Value> {
    let all = world.ip_json(["addr", "show"]);
    let all = all.as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|link| link["linkinfo"]["info_kind"] == kind).collect()
}

pub(crate) fn has_address(link: &Value, address: &str) -> bool {
    let list = link["addr_info"].as_array().cloned().unwrap_or_default();
    list.iter().any(|one| one["local"] == address)
}

/// Names of links; the host's without the ends of cables.
pub(crate) fn names(links: &Value) -> BTreeSet<String> {
    let links = links.as_array().into_iter().flatten();
    let names = links.filter_map(|link| link["ifname"].as_str().map(str::to_owned));
    names.filter(|name| !name.starts_with("epair")).collect()
}

/// All addresses that are shown, without link-local ones.
pub(crate) fn addresses(links: &Value) -> BTreeSet<String> {
    let links = links.as_array().into_iter().flatten();
    let all = links.filter_map(|link| link["addr_info"].as_array()).flatten();
    let global = all.filter(|one| one["scope"] != "link");
    global.filter_map(|one| one["local"].as_str().map(str::to_owned)).collect()
}

/// The links that a container sees.
pub(crate) fn inside(world: &World, container: &str) -> Value {
    world.klee(["exec", container, "ip", "-j", "-d", "addr"]).ok().json()
}

/// Both addresses of a container in a network.
pub(crate) fn endpoint(world: &World, container: &str, network: &str) -> [String; 2] {
    let ask = |what, name| world.http("GET", &format!("/{what}s/{name}/inspect"), None);
    let network = ask("network", network).expect(200).json["network"]["id"].clone();
    let container = ask("container", container).expect(200).json["container_endpoints"].clone();
    let mut endpoints = container.as_array().into_iter().flatten();
    let endpoint = endpoints.find(|endpoint| endpoint["network_id"] == network);
    let text = |key: &str| endpoint.and_then(|endpoint| endpoint[key].as_str()).map(str::to_owned);
    ["ip_address", "ip_address6"].map(|key| text(key).unwrap_or_default())
}

/// Asks a web server for a file that only the one who runs it has.
pub(crate) fn curl(address: &str) -> [String; 6] {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    curl_url(&format!("http://{host}/etc/passwd"))
}

pub(crate) fn curl_url(url: &str) -> [String; 6] {
    ["curl", "-s", "-f", "-m", "2", url].map(str::to_owned)
}

/// The host asks.
pub(crate) fn get(world: &World, address: &str) -> Output {
    world.run(curl(address))
}

/// What is beyond the uplink asks.
pub(crate) fn get_from_outside(world: &World, address: &str) -> Output {
    world.outside().run(curl(address))
}

/// A container asks.
pub(crate) fn get_from(world: &World, container: &str, address: &str) -> Output {
    let into = ["exec", container].map(str::to_owned);
    world.klee([&into[..], &curl(address)].concat())
}

/// Waits for answers from all addresses.
pub(crate) fn all_answer(world: &World, addresses: &[impl AsRef<str>]) {
    for address in addresses.iter().map(AsRef::as_ref) {
        let what = format!("an answer of {address}");
        world.wait_until(LIMIT, &what, || get(world, address).status == Some(0));
    }
}

/// Everything that was said, wherever.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", output.stdout(), output.stderr())
}

/// Where the world's daemon is.
pub(crate) fn host() -> String {
    format!("http://{}", kleene_e2e::SOCKET)
}

pub(crate) fn klee_path() -> String {
    let dir = kleene_e2e::target_dir().unwrap_or_default();
    dir.join("klee").display().to_string()
}
