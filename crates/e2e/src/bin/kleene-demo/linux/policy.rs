//! What traffic passes: `icc`, `internal`, nat, and published ports from everywhere.

use crate::linux::ask::{LIMIT, endpoint, said};
use crate::linux::stage::Stage;
use kleene_e2e::{Output, WORLD4, WORLD6, World};

pub(crate) fn play(world: &World, stage: &mut Stage) {
    stage.heading("One policy for every packet");
    closed(world, stage);
    internal(world, stage);
    published(world, stage);
    stage.claim("stop", "all of these end", || {
        world.klee(["stop", "shop", "till", "desk", "vault"]).ok();
        world.klee(["network", "rm", "closed", "cellar"]).ok();
    });
}

/// Asks, and says the status alone.
fn curl(url: &str) -> [&str; 6] {
    ["curl", "-sS", "-m2", "-o/dev/null", "-w%{http_code}", url]
}

/// What a container gets from an address.
fn asks(world: &World, name: &str, address: &str) -> Output {
    let url = url(address);
    let line = [&["exec", name][..], &curl(&url)].concat();
    world.klee(line)
}

fn url(address: &str) -> String {
    if address.matches(':').count() > 1 && !address.starts_with('[') {
        format!("http://[{address}]/etc/passwd")
    } else {
        format!("http://{address}/etc/passwd")
    }
}

const SERVE: [&str; 7] = ["busybox", "httpd", "-f", "-p", "80", "-h", "/"];

fn run(world: &World, stage: &mut Stage, options: &[&str]) {
    let line = [&["run", "-d"][..], options, &["host-usr"], &SERVE].concat();
    stage.klee(world, &line);
    let name = options.iter().skip_while(|word| **word != "--name").nth(1).copied();
    let ready = || asks(world, name.unwrap_or_default(), "127.0.0.1").status == Some(0);
    if !options.contains(&"vnet") {
        world.wait_until(LIMIT, "the server", ready);
    }
}

fn closed(world: &World, stage: &mut Stage) {
    let create = ["network", "create", "-t", "bridge", "--icc", "false"];
    let subnets = ["--subnet", "10.4.8.0/24", "--subnet6", "fd00:4:8::/64", "closed"];
    stage.klee(world, &[&create[..], &subnets].concat());
    run(world, stage, &["-l", "vnet", "-n", "closed", "-p", "8088:80", "--name", "shop"]);
    run(world, stage, &["-n", "closed", "--name", "till"]);
    run(world, stage, &["-n", "closed", "-p", "8086:80", "--name", "desk"]);
    let (shop, till) = (endpoint(world, "shop", "closed"), endpoint(world, "till", "closed"));
    stage.claim("policy", "icc=false: only published ports of each other are reached", || {
        for address in &shop {
            let reached = || asks(world, "till", address).contains("200");
            world.wait_until(LIMIT, "the published port", reached);
        }
        for address in &till {
            // At once, not after a timeout.
            let said = said(&asks(world, "shop", address));
            assert!(said.contains("000") && !said.contains("timed out"), "{said}");
        }
    });
}

fn internal(world: &World, stage: &mut Stage) {
    let create = ["network", "create", "--internal"];
    let subnets = ["--subnet", "10.4.9.0/24", "--subnet6", "fd00:4:9::/64", "cellar"];
    stage.klee(world, &[&create[..], &subnets].concat());
    run(world, stage, &["-n", "cellar", "-p", "8089:80", "--name", "vault"]);
    stage.claim("policy", "internal: nothing gets out, to the host neither", || {
        let _served = world.spawn(["busybox", "httpd", "-f", "-p", "8000", "-h", "/"]);
        let host = [WORLD4.to_owned(), format!("[{WORLD6}]")].map(|own| format!("{own}:8000"));
        for address in &host {
            let reached = || asks(world, "till", address).contains("200");
            world.wait_until(LIMIT, "the twin in another network", reached);
            let said = said(&asks(world, "vault", address));
            assert!(said.contains("000"), "{said}");
        }
    });
}

fn published(world: &World, stage: &mut Stage) {
    let ports = ["8088", "8089"];
    let own = |port: &str| [format!("{WORLD4}:{port}"), format!("[{WORLD6}]:{port}")];
    stage.claim("published", "a published port is reached from outside, in both families", || {
        for address in ports.iter().flat_map(|port| own(port)) {
            let url = url(&address);
            let reached = || world.outside().run(curl(&url)).contains("200");
            world.wait_until(LIMIT, "an answer to the outside", reached);
        }
    });
    stage.claim("published", "from the host, and from its localhost", || {
        for port in ports {
            for address in own(port).into_iter().chain([format!("127.0.0.1:{port}")]) {
                world.run(curl(&url(&address))).ok().says("200");
            }
        }
    });
    stage.claim("published", "from another container, and from the one that has it", || {
        for name in ["till", "desk"] {
            asks(world, name, &format!("{WORLD4}:8086")).ok().says("200");
        }
    });
    stage.claim("published", "nowhere else", || {
        let url = url(&format!("{WORLD4}:8087"));
        world.outside().run(curl(&url)).fails();
    });
    stage.claim("published", "a port comes and goes while its container runs", || {
        let url = url(&format!("{WORLD4}:8085"));
        world.klee(["publish", "till", "8085:80"]).ok();
        let reached = || world.outside().run(curl(&url)).contains("200");
        world.wait_until(LIMIT, "the new port", reached);
        world.klee(["unpublish", "till", "8085"]).ok();
        world.outside().run(curl(&url)).fails();
    });
    stage.claim("policy", "why a flow passes or not, by which rule, and what changes it", || {
        let explain = |from, to| world.klee(["network", "explain", from, to]);
        explain("till", "shop:80").ok().says("passes");
        let refused = explain("shop", "till:80").ok().stdout().into_owned();
        assert!(refused.contains("refused") && refused.contains("klee publish till"), "{refused}");
        explain("vault", "outside").ok().says("13: ");
    });
    stage.claim("policy", "a real packet, and whether it does what the policy says", || {
        let test = |from, to| world.klee(["network", "test", from, to]);
        test("till", "shop:80").ok().says("passed, and was answered").says("yes");
        test("shop", "till:80").ok().says("refused on its way").says("yes");
    });
    stage.claim("policy", "what was decided is counted, and told in the log on demand", || {
        world.klee(["network", "stats"]).ok().says("2: same network, no icc");
        world.klee(["network", "log-drops", "on"]).ok();
        world.klee(["network", "test", "shop", "till:80"]).ok();
        world.wait_until(LIMIT, "the line in the log", || {
            world.kleened_log().lines().any(|line| {
                line.contains("a packet was blocked") && line.contains("container=\"shop\"")
            })
        });
        world.klee(["network", "log-drops", "off"]).ok();
    });
}
