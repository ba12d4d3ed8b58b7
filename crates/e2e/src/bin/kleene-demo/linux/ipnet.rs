//! Loopback networks, and the driver `ipnet`.

use crate::linux::ask::{
    LIMIT, SITE, SITE6, addresses, all_answer, curl_url, endpoint, get, get_from, has_address,
    inside, names, said,
};
use crate::linux::stage::Stage;
use kleene_e2e::{Run, WORLD4, World};

/// A service of the host that listens everywhere, on this port.
const EVERYWHERE: &str = "8088";

pub(crate) fn play(world: &World, stage: &mut Stage) {
    loopback(world, stage);
    let own = endpoint(world, "store", "inner");
    sees(world, stage, &own);
    cannot(world, stage, &own);
    nobody_else(world, stage, &own);
    meets_vnet(world, stage);
}

fn loopback(world: &World, stage: &mut Stage) {
    stage.heading("A loopback network, and ipnet: addresses on an interface of the host");
    stage.klee(world, &["network", "create", "inner"]);
    stage.claim("loopback", "the default type; both subnets are from the pools", || {
        let network = world.http("GET", "/networks/inner/inspect", None).json["network"].clone();
        assert_eq!(
            (&network["type"], &network["interface"]),
            (&"loopback".into(), &"kleene1".into())
        );
        assert!(network["subnet"] != "" && network["subnet6"] != "", "{network}");
    });
    stage.claim("loopback", "Kleene made an interface for it, without any address", || {
        let link = world.ip_json(["addr", "show", "kleene1"]);
        assert!(link[0]["ifalias"].to_string().contains("kleene"), "{link}");
        assert_eq!(addresses(&link), [].into());
    });
    let run = ["run", "-d", "-n", "inner", "--name", "store", "host-usr"];
    let serve = ["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/"];
    stage.klee(world, &[&run[..], &serve].concat()).ok();
    stage.claim("loopback", "the host reaches a container in it, in both families", || {
        all_answer(world, &endpoint(world, "store", "inner"));
    });
    stage.host(world, &["ip", "-br", "addr", "show", "kleene1"]);
    stage.claim("ipnet-visible", "its addresses are seen on the network's interface", || {
        let link = &world.ip_json(["addr", "show", "kleene1"])[0];
        for address in endpoint(world, "store", "inner") {
            assert!(has_address(link, &address), "{link}");
        }
    });
}

fn sees(world: &World, stage: &mut Stage, own: &[String; 2]) {
    stage.klee(world, &["exec", "store", "ip", "-br", "addr"]);
    stage.claim("ipnet", "it sees every interface of the host by name", || {
        assert_eq!(names(&inside(world, "store")), names(&world.ip_json(["addr"])));
    });
    stage.claim("ipnet", "of the addresses only its own, and ::1", || {
        let mut expected = std::collections::BTreeSet::from(own.clone());
        expected.insert("::1".to_owned());
        assert_eq!(addresses(&inside(world, "store")), expected);
    });
}

/// What it tries and must not.
const CHANGES: [&str; 6] = [
    "ip addr add 10.88.0.77/32 dev kleene1",
    "ip addr add 192.0.2.77/24 dev eth0",
    "ip link set eth0 down",
    "ip link add own0 type bridge",
    "ip route add 10.99.0.0/16 dev kleene1",
    "nft add table inet own",
];

fn cannot(world: &World, stage: &mut Stage, own: &[String; 2]) {
    for change in CHANGES {
        stage.claim("ipnet", &format!("refused: {change}"), || {
            let words = change.split(' ');
            let output = world.klee(["exec", "store"].into_iter().chain(words));
            assert!(said(output.fails()).contains("not permitted"), "{output}");
        });
    }
    let bind = |address: &str| {
        let family = if address.contains(':') { "AF_INET6" } else { "AF_INET" };
        let code = format!(
            "import socket; socket.socket(socket.{family}).bind(('{address}', 9000)); print('bound')"
        );
        world.klee(["exec", "store", "python3", "-I", "-S", "-c", &code])
    };
    stage.claim("ipnet", "it binds its own addresses, and no other", || {
        for address in own {
            bind(address).ok().says("bound");
        }
        for address in [WORLD4, "2001:db8:1::2", "10.4.6.1", "203.0.113.9", SITE, SITE6] {
            let output = bind(address);
            assert!(said(output.fails()).contains("Cannot assign"), "{output}");
        }
    });
    stage.claim("ipnet", "no raw sockets, no ping; with allow.raw_sockets both", || {
        let ping = ["busybox", "ping", "-c", "1", "-W", "2", &own[0]];
        world.klee([&["exec", "store"][..], &ping].concat()).fails();
        let allowed = ["run", "--rm", "-n", "inner", "-J", "allow.raw_sockets=true", "host-usr"];
        world.klee([&allowed[..], &ping].concat()).ok().says("64 bytes from");
    });
}

fn nobody_else(world: &World, stage: &mut Stage, own: &[String; 2]) {
    let run = ["run", "-d", "--name", "native", "host-usr", "busybox", "httpd", "-f", "-p"];
    world.klee([&run[..], &[EVERYWHERE, "-h", "/"]].concat()).ok();
    let ask = |address: &str| {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        curl_url(&format!("http://{host}:{EVERYWHERE}/etc/passwd"))
    };
    let loopback = ["127.0.0.1", "::1"];
    stage.claim("ipnet-private", "the host's 127.0.0.1 and ::1 are out of its reach", || {
        for address in loopback {
            let up = || world.run(ask(address)).status == Some(0);
            world.wait_until(LIMIT, "the host's own service", up);
            let into = ["exec", "store"].map(str::to_owned);
            world.klee([&into[..], &ask(address)].concat()).code(7);
        }
    });
    stage.claim("ipnet-private", "a service of the host on all addresses has not its", || {
        world.run(ask(WORLD4)).ok();
        for address in own {
            world.run(ask(address)).code(7);
        }
    });
    stage.claim("ipnet-private", "the host cannot send from them", || {
        for (to, from) in [(SITE, &own[0]), (SITE6, &own[1])] {
            get(world, to).ok();
            let mut words = crate::linux::ask::curl(to).to_vec();
            words.extend([
                "--interface".to_owned(),
                from.clone(),
                "--max-time".to_owned(),
                "1".to_owned(),
            ]);
            world.run_with(&Run::new(words)).fails();
        }
    });
    stage.claim("ipnet-private", "nor can a container with the host driver", || {
        let [v4, _] = own;
        let serve = ["run", "--rm", "host-usr", "busybox", "httpd", "-f", "-p"];
        let output = world.klee([&serve[..], &[&format!("{v4}:8089")]].concat());
        assert!(said(output.fails()).contains("Cannot assign"), "{output}");
    });
    world.klee(["stop", "native"]).ok();
}

fn meets_vnet(world: &World, stage: &mut Stage) {
    stage.heading("ipnet and vnet on one bridge network");
    let run = ["run", "-d", "-n", "web", "--name", "api", "host-usr"];
    let serve = ["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/"];
    stage.klee(world, &[&run[..], &serve].concat());
    let api = endpoint(world, "api", "web");
    stage.claim("ipnet-vnet", "the ipnet container reaches the vnet one, in both families", || {
        for address in [SITE, SITE6] {
            get_from(world, "api", address).ok().says("root:");
        }
    });
    stage.claim("ipnet-vnet", "and is seen with its own addresses", || {
        let logs = said(&world.klee(["logs", "site"]));
        assert!(api.iter().all(|address| logs.contains(address.as_str())), "{logs}");
    });
    stage.claim("ipnet-vnet", "the vnet container reaches the ipnet one, in both families", || {
        all_answer(world, &api);
        for address in &api {
            get_from(world, "site", address).ok().says("root:");
        }
        let logs = said(&world.klee(["logs", "api"]));
        assert!([SITE, SITE6].iter().all(|address| logs.contains(address)), "{logs}");
    });
    stage.claim("ipnet", "containers of two networks do not reach each other unasked", || {
        for address in endpoint(world, "store", "inner") {
            get(world, &address).ok().says("root:");
            get_from(world, "api", &address).fails();
        }
    });
}
