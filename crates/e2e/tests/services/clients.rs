//! What is asked by programs in a container of services elsewhere.

use crate::common::net::{Place, addresses_of};
use crate::stage::{NEAR, Stage, WIRED};
use kleene_e2e::{OUTSIDE4, OUTSIDE6, WORLD4, WORLD6};

/// The container that asks.
const CLIENT: Place<'_> = Place::In("client");

/// Commands that serve: on the host, where it goes to the background, and in
/// the neighbours. The page has one outside. And the container that asks.
fn served(stage: &Stage<'_>, on_the_host: &str, beside: &str, mounts: &str) {
    stage.type_in(Place::Host, on_the_host).ok();
    for name in [NEAR, WIRED] {
        stage.type_in(Place::Host, &format!("klee exec -d {name} {beside}")).ok();
    }
    let how = stage.driver.how();
    let client = format!("klee run -d {how} --name client {mounts} host-usr sleep 1000");
    stage.type_in(Place::Host, &client).ok();
}

/// Has it ask all of them, over both families.
fn all(stage: &mut Stage<'_>, line: &str, expected: &str) {
    let pair = |pair: [&str; 2]| pair.map(str::to_owned);
    let places = [
        (pair([OUTSIDE4, OUTSIDE6]), "the outside"),
        (pair([WORLD4, WORLD6]), "the host"),
        (addresses_of(stage.world, NEAR, "lan"), "an `ipnet` container"),
        (addresses_of(stage.world, WIRED, "web"), "a `vnet` container"),
    ];
    for (addresses, name) in places {
        let what = format!("{name} gives it no answer");
        stage.ask(CLIENT, &addresses, line, expected, &what);
    }
}

pub(crate) fn curl(stage: &mut Stage<'_>) {
    let httpd = "busybox httpd -p 8080 -h /srv/web";
    served(stage, httpd, &format!("{httpd} -f"), "");
    all(stage, "curl -sS -m 5 http://HOST:8080/", "a page\n");
}

pub(crate) fn getent(stage: &mut Stage<'_>) {
    let dnsmasq = "dnsmasq --conf-file=/srv/names.conf";
    let mount = "-m /srv/resolv.conf:/etc/resolv.conf";
    served(stage, dnsmasq, &format!("{dnsmasq} --keep-in-foreground"), mount);
    let ask = "echo nameserver ADDR >/etc/resolv.conf; getent ahosts www.example.test";
    all(stage, ask, "203.0.113.7");
    all(stage, ask, "2001:db8:9::7");
    for own in addresses_of(stage.world, "client", stage.driver.network()) {
        let to = [own.clone()];
        stage.ask(CLIENT, &to, "getent ahosts client", &own, "its own name is not known");
    }
}
