//! The transcript.

use crate::linux::ask::{LIMIT, SITE, SITE6, curl, get, has_address, host, klee_path, links};
use crate::linux::stage::Stage;
use crate::linux::{ipnet, policy, wires};
use kleene_e2e::{Kleened, Run, Snapshot, WORLD4, WORLD6, World};

const SUBNET: &str = "10.4.6.0/24";
const SUBNET6: &str = "fd00:4:6::/64";
const GATEWAY: &str = "10.4.6.1";
const GATEWAY6: &str = "fd00:4:6::1";

/// Plays all acts; false when the daemon did not even come up.
pub(crate) fn play(world: &World, stage: &mut Stage) -> bool {
    stage.heading("kleened");
    let mut kleened = None;
    stage.claim("daemon", "the daemon starts and answers on its socket", || {
        kleened = Some(world.start_kleened(""));
    });
    let Some(kleened) = kleened else { return false };
    let (empty, before) = (world.snapshot(), world.settings());
    network(world, stage);
    vnet_run(world, stage);
    site(world, stage);
    host_driver(world, stage);
    ipnet::play(world, stage);
    wires::play(world, stage);
    policy::play(world, stage);
    let kleened = refusals_and_restart(world, stage, kleened);
    nothing_left(world, stage, &empty, &before);
    if stage.counts().1 > 0 {
        stage.heading("kleened's log");
        println!("{}", kleened.log());
    }
    true
}

fn is_id(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn network(world: &World, stage: &mut Stage) {
    stage.heading("A network is an object of its own: one interface on the host");
    let create = ["network", "create", "-t", "bridge", "--subnet", SUBNET, "--subnet6", SUBNET6];
    let output = stage.klee(world, &[&create[..], &["web"]].concat());
    stage.claim("bridge", "klee prints the network's id", || {
        assert!(is_id(&output.ok().first_line()), "{output}");
    });
    stage.claim("bridge", "the kernel has one bridge, up, with the gateway's addresses", || {
        let bridges = links(world, "bridge");
        assert_eq!(bridges.len(), 1, "{bridges:?}");
        for gateway in [GATEWAY, GATEWAY6] {
            assert!(has_address(&bridges[0], gateway), "{bridges:?}");
        }
        assert!(bridges[0]["flags"].to_string().contains("\"UP\""), "{bridges:?}");
    });
    stage.claim("mark", "it carries our mark", || {
        let mark = links(world, "bridge")[0]["ifalias"].to_string();
        assert!(mark.contains("kleene"), "alias {mark}");
    });
    let inspected = stage.klee(world, &["network", "inspect", "web"]);
    stage.claim("bridge", "inspect tells the same", || {
        inspected.ok().says(SUBNET).says(SUBNET6).says("bridge");
    });
}

fn vnet_run(world: &World, stage: &mut Stage) {
    stage.heading("vnet: a network stack of its own, on a crossover cable");
    let run = ["run", "-l", "vnet", "-n", "web", "host-usr", "ip", "-br", "addr"];
    let output = stage.klee(world, &run);
    stage.claim("vnet", "it sees its own lo and its end of the cable, nothing else", || {
        let stdout = output.ok().stdout().into_owned();
        let names = stdout.lines().filter_map(|line| line.split_whitespace().nth(1).map(|_| line));
        let names: Vec<_> = names.filter_map(|line| line.split_whitespace().next()).collect();
        let links: Vec<_> =
            names.iter().filter(|name| **name == "lo" || name.contains('@')).collect();
        assert_eq!(links.len(), 2, "{output}");
        output.says("127.0.0.1/8").says("epair0b").says("10.4.6.2/24").says("fd00:4:6::2/64");
        assert!(!output.contains("192.0.2.2"), "the host's address is visible: {output}");
    });
    stage.claim("closing", "klee tells how it ended", || {
        let said = format!("{}{}", output.stdout(), output.stderr());
        assert!(said.contains("and its container exited with exit-code 0"), "{output}");
    });
    stage.claim("vnet", "with its end the cable is gone", || {
        world.wait_until(LIMIT, "no cable", || links(world, "veth").len() == 1);
    });
    let run = ["run", "-l", "vnet", "-n", "web", "host-usr", "sh", "-c"];
    let inside = "ip link add own0 type bridge && ip addr add 10.9.9.9/32 dev own0 && ip route";
    let output = stage.klee(world, &[&run[..], &[inside]].concat());
    stage.claim("vnet", "it may configure its own stack; the default route is set", || {
        output.ok().says(&format!("default via {GATEWAY}"));
    });
    stage.claim("vnet", "nothing of that is visible on the host", || {
        assert_eq!(links(world, "bridge").len(), 1);
    });
}

fn site(world: &World, stage: &mut Stage) {
    stage.heading("A service in the background");
    let run = ["run", "-d", "-l", "vnet", "-n", "web", "--ip", SITE, "--ip6", SITE6];
    let run = [&run[..], &["--name", "site", "host-usr"]].concat();
    let serve = ["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/"];
    let started = stage.klee(world, &[&run[..], &serve[..]].concat());
    stage.claim("detached", "klee comes back at once", || {
        assert!(is_id(&started.ok().first_line()), "{started}");
    });
    stage.claim("host-to-vnet", "the host reaches it at the addresses that were asked for", || {
        for address in [SITE, SITE6] {
            let up = || get(world, address).status == Some(0);
            world.wait_until(LIMIT, "an answer of the site", up);
            get(world, address).ok().says("root:");
        }
    });
    stage.claim("vnet", "on the host: a cable's end, a port of the bridge", || {
        let cables = links(world, "veth");
        let ours = cables.iter().find(|link| link["ifname"].to_string().contains("epair"));
        let bridge = links(world, "bridge")[0]["ifname"].clone();
        assert_eq!(ours.map(|link| link["master"].clone()), Some(bridge), "{cables:?}");
    });
    stage.claim("vnet-to-vnet", "a second container of the network reaches it too", || {
        for address in [SITE, SITE6] {
            let run = ["run", "-l", "vnet", "-n", "web", "host-usr"];
            world
                .klee([&run[..], &curl(address).each_ref().map(String::as_str)].concat())
                .ok()
                .says("root:");
        }
    });
    let route = stage.klee(world, &["exec", "site", "ip", "route"]);
    stage.claim("exec", "exec runs in the same stack", || {
        route.ok().says(&format!("default via {GATEWAY}")).says(&format!("src {SITE}"));
    });
    stage.claim("exec", "exec -i carries input, its end, and bytes that are no text", || {
        let bytes = b"a\0\xff\xfe\n";
        let mut argv = vec![klee_path()];
        argv.extend(
            ["exec", "-i", "site", "sh", "-c", "busybox hexdump -C | head -1"].map(String::from),
        );
        let run = Run::new(argv).stdin(bytes.as_slice()).env("KLEE_HOST", host());
        world.run_with(&run).ok().says("61 00 ff fe 0a");
    });
    let code = stage.klee(world, &["exec", "site", "sh", "-c", "exit 3"]);
    stage.claim("exec", "and gives the command's own exit code", || {
        code.code(3);
    });
    let logs = stage.klee(world, &["logs", "site"]);
    stage.claim("logs", "logs show what the service wrote", || {
        let said = format!("{}{}", logs.ok().stdout(), logs.stderr());
        assert!(said.contains("/etc/passwd") || said.contains("200"), "{logs}");
    });
    let list = stage.klee(world, &["lsc"]);
    stage.claim("lsc", "lsc lists it as running", || {
        list.ok().says("site").says("running").says("host-usr");
    });
}

fn host_driver(world: &World, stage: &mut Stage) {
    stage.heading("host: the host's own stack, to be used but not to be changed");
    let seven = stage.klee(world, &["run", "host-usr", "sh", "-c", "exit 7"]);
    stage.claim("exit-code", "the exit code comes back", || {
        seven.code(7);
    });
    let addresses = stage.klee(world, &["run", "host-usr", "ip", "-br", "addr"]);
    stage.claim("host", "every address of the host is visible", || {
        addresses.ok().says("192.0.2.2/24").says("2001:db8:1::2/64").says(&format!("{GATEWAY}/24"));
    });
    stage.claim("host", "and can be used: a server of it answers outside", || {
        let run = ["run", "-d", "--name", "local", "host-usr", "busybox", "httpd", "-f", "-p"];
        world.klee([&run[..], &["192.0.2.2:8080", "-h", "/"]].concat()).ok();
        let url = ["curl", "-s", "-f", "-m", "2", "http://192.0.2.2:8080/etc/passwd"];
        world.wait_until(LIMIT, "an answer", || world.outside().run(url).status == Some(0));
        world.klee(["stop", "local"]).ok();
    });
    for change in [
        "ip addr add 192.0.2.77/24 dev eth0",
        "ip addr del 192.0.2.2/24 dev eth0",
        "ip link add own0 type bridge",
        "ip link set eth0 down",
        "ip route del default",
    ] {
        let words: Vec<&str> = change.split(' ').collect();
        stage.claim("host", &format!("refused: {change}"), || {
            let output = world.klee([&["run", "host-usr"][..], &words].concat());
            output.fails();
            let said = format!("{}{}", output.stdout(), output.stderr());
            assert!(said.contains("Operation not permitted"), "{output}");
        });
    }
    stage.claim("host", "the same by the host itself is allowed", || {
        world.run(["ip", "link", "add", "own0", "type", "bridge"]).ok();
        world.run(["ip", "link", "del", "own0"]).ok();
    });
}

fn refusals_and_restart<'a>(
    world: &'a World,
    stage: &mut Stage,
    mut kleened: Kleened<'a>,
) -> Kleened<'a> {
    stage.heading("What must not be");
    let joins = stage.klee(world, &["create", "-l", "host", "-n", "web", "host-usr", "true"]);
    stage.claim("host", "a host container can join no network", || {
        let said = format!("{}{}", joins.fails().stdout(), joins.stderr());
        let text = "containers with the 'host' network-driver cannot connect to networks.";
        assert!(said.contains(text), "{joins}");
    });
    let taken = ["network", "create", "-t", "bridge", "--subnet", "10.4.7.0/24", "-i", "eth0", "x"];
    let taken = stage.klee(world, &taken);
    stage.claim("ours", "an interface that exists is never taken over", || {
        taken.fails();
        assert!(has_address(&world.ip_json(["addr", "show", "eth0"])[0], "192.0.2.2"));
    });
    let again = ["network", "create", "-t", "bridge", "--subnet", "10.4.8.0/24", "web"];
    let again = stage.klee(world, &again);
    stage.claim("ours", "a name is given once", || {
        let said = format!("{}{}", again.fails().stdout(), again.stderr());
        assert!(said.contains("network name is already taken"), "{again}");
    });

    stage.heading("The daemon dies, the containers do not");
    kleened.kill9();
    stage.note("$ kill -9 kleened");
    stage.claim("outlive", "the service goes on answering", || {
        get(world, SITE).ok().says("root:");
    });
    let kleened = kleened.restart();
    stage.note("$ kleened &");
    let list = stage.klee(world, &["lsc"]);
    stage.claim("outlive", "the new daemon has taken it over", || {
        list.ok().says("site").says("running");
        world.klee(["exec", "site", "true"]).ok();
    });
    kleened
}

fn nothing_left(world: &World, stage: &mut Stage, empty: &Snapshot, before: &[String]) {
    stage.heading("Nothing is left");
    let refused = stage.klee(world, &["rmc", "site"]);
    stage.claim("refuse-running", "a running container is not removed", || {
        refused.fails();
    });
    let stopped = stage.klee(world, &["stop", "site"]);
    stage.claim("stop", "stop ends it", || {
        stopped.ok();
        get(world, SITE).fails();
    });
    stage.claim("remove", "containers and network are removed", || {
        world.klee(["container", "prune", "-f"]).ok();
        world.klee(["network", "rm", "web", "inner", "lan"]).ok();
    });
    stage.claim("custom", "eth0 and its settings are those of before", || {
        let eth0 = &world.ip_json(["addr", "show", "eth0"])[0];
        assert!(has_address(eth0, WORLD4) && has_address(eth0, WORLD6), "{eth0}");
        assert_eq!(world.settings(), before);
    });
    stage.host(world, &["ip", "-br", "link"]);
    stage.claim(
        "nothing-left",
        "links, routes, firewall, mounts, namespaces, cgroups, processes: as before",
        || {
            // The daemon was started anew in between: that process differs.
            let ours = |line: &String| !line.contains("kleened");
            let mut left = Vec::new();
            world.wait_until(LIMIT, "an empty host", || {
                left = empty.diff(&world.snapshot()).into_iter().filter(ours).collect();
                left.is_empty()
            });
        },
    );
    for line in empty.diff(&world.snapshot()).iter().filter(|line| !line.contains("kleened")) {
        stage.note(line);
    }
}
