//! Ordinary services in `ipnet` and `vnet` containers, set up as docs/services.md
//! says and asked from everywhere. What comes of it is the table of that page.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

#[path = "services/clients.rs"]
mod clients;
mod common;
#[allow(dead_code, reason = "the tour uses the rest")]
#[path = "tour/page.rs"]
mod page;
#[path = "services/servers.rs"]
mod servers;
#[path = "services/stage.rs"]
mod stage;

use kleene_e2e::World;
use stage::{Driver, PAGE, Stage};
use std::collections::BTreeSet;

/// A service of the page.
struct Service {
    /// Its section and its row.
    name: &'static str,
    /// Programs of the host, by name or path.
    needs: &'static [&'static str],
    /// What the other containers get with `-m`, to ask with.
    mounts: &'static [&'static str],
    /// What must be there before its lines are typed.
    before: fn(&Stage<'_>),
    /// What is asked when it runs.
    check: fn(&mut Stage<'_>),
}

const fn service(
    name: &'static str,
    needs: &'static [&'static str],
    check: fn(&mut Stage<'_>),
) -> Service {
    Service { name, needs, mounts: &[], before: |_| {}, check }
}

const NGINX: Service = service("nginx", &["nginx", "curl"], servers::nginx);
const POSTGRESQL: Service =
    service("PostgreSQL", &["psql", "/usr/lib/postgresql/15/bin/postgres"], servers::postgresql);
const REDIS: Service = service("Redis", &["redis-server", "redis-cli"], servers::redis);
const DNSMASQ: Service = Service {
    mounts: &["/srv/dns.py:/srv/dns.py:ro"],
    before: servers::dns_client,
    ..service("dnsmasq", &["dnsmasq", "python3"], servers::dnsmasq)
};
const OPENSSH: Service = Service {
    mounts: &["/srv/me:/srv/me:ro"],
    before: servers::sshd_of_the_host,
    ..service("OpenSSH", &["sshd", "ssh"], servers::openssh)
};
const IPERF3: Service = service("iperf3", &["iperf3"], servers::iperf3);
const NODE: Service = service("Node.js", &["node"], servers::node);
const PYTHON: Service = service("Python", &["python3"], servers::python);
const JAVA: Service = Service {
    mounts: &["/etc/java-17-openjdk:/etc/java-17-openjdk:ro", "/srv/java:/srv/java:ro"],
    ..service("Java", &["java", "ecj"], servers::java)
};
const CURL: Service =
    Service { mounts: &["/srv/web:/srv/web:ro"], ..service("curl", &["curl"], clients::curl) };
const GETENT: Service = Service {
    mounts: &["/srv/names.conf:/srv/names.conf:ro"],
    ..service("getent", &["getent", "dnsmasq"], clients::getent)
};

/// Makes a test of each service with each driver, and the list of them.
macro_rules! each {
    ($($name:ident: $service:ident $driver:ident,)*) => {
        const RUNS: &[(&str, Driver)] = &[$(($service.name, Driver::$driver),)*];
        $(#[test]
        fn $name() {
            run(stringify!($name), &$service, Driver::$driver);
        })*
    };
}

each! {
    nginx_in_ipnet: NGINX Ipnet,
    nginx_in_vnet: NGINX Vnet,
    postgresql_in_ipnet: POSTGRESQL Ipnet,
    postgresql_in_vnet: POSTGRESQL Vnet,
    redis_in_ipnet: REDIS Ipnet,
    redis_in_vnet: REDIS Vnet,
    dnsmasq_in_ipnet: DNSMASQ Ipnet,
    dnsmasq_in_vnet: DNSMASQ Vnet,
    openssh_in_ipnet: OPENSSH Ipnet,
    openssh_in_vnet: OPENSSH Vnet,
    iperf3_in_ipnet: IPERF3 Ipnet,
    iperf3_in_vnet: IPERF3 Vnet,
    node_in_ipnet: NODE Ipnet,
    node_in_vnet: NODE Vnet,
    python_in_ipnet: PYTHON Ipnet,
    python_in_vnet: PYTHON Vnet,
    java_in_ipnet: JAVA Ipnet,
    java_in_vnet: JAVA Vnet,
    curl_in_ipnet: CURL Ipnet,
    curl_in_vnet: CURL Vnet,
    getent_in_ipnet: GETENT Ipnet,
    getent_in_vnet: GETENT Vnet,
}

fn run(test: &str, service: &Service, driver: Driver) {
    let needs: Vec<String> = service.needs.iter().map(|program| stage::here(program)).collect();
    let Some(world) = World::open_with(test, &needs) else { return };
    let _kleened = world.start_kleened("");
    let mut stage = Stage::new(&world, driver);
    (service.before)(&stage);
    stage.follow(service.name);
    stage.neighbours(service.mounts);
    (service.check)(&mut stage);
    let (cell, why) = stage.end();
    println!("{test}: {cell}\n{why}");
    assert_eq!(cell, row(service.name)[driver.column()], "docs/services.md is otherwise\n{why}");
}

/// The rows of the page's table.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect()).collect()
}

fn row(name: &str) -> Vec<&'static str> {
    let found = rows().into_iter().find(|row| row[0] == name);
    found.unwrap_or_else(|| panic!("no row of {name} in docs/services.md"))
}

#[test]
fn the_table_has_every_service_and_no_other() {
    let rows = rows();
    assert_eq!(rows[0], ["Service", "`ipnet`", "`vnet`"]);
    let told: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    let mut run: Vec<&str> = RUNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(RUNS.iter().collect::<BTreeSet<_>>().len(), 2 * told.len(), "each with each driver");
    run.dedup();
    assert_eq!(told, run);
}
