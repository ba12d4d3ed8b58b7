//! What is asked of the services that run in a container.

use crate::common::LIMIT;
use crate::common::net::{Place, addresses_of};
use crate::stage::{EVERYWHERE, Stage, about};
use kleene_e2e::{WORLD4, WORLD6};
use std::collections::BTreeSet;

pub(crate) fn nginx(stage: &mut Stage<'_>) {
    stage.everywhere("nginx", "curl -sS -m 5 http://HOST/", "worker ");
    let workers = || -> BTreeSet<String> {
        let line = "klee exec nginx pgrep -f 'nginx: worker process$'";
        let listed = stage.type_in(Place::Host, line);
        listed.stdout().lines().map(|pid| format!("worker {pid} for")).collect()
    };
    let old = workers();
    assert_eq!(old.len(), 4, "{old:?}");
    // New connections all the time, in both families, while others take over.
    let ask = |addr: &String| about("curl -sS -f -m 5 http://HOST/ || echo LOST;", addr);
    let asks: String = stage.addresses("nginx").iter().map(ask).collect();
    let line = format!("exec 2>&1; until [ -e /srv/enough ]; do {asks} done");
    let asking = stage.world.outside().spawn(["sh", "-c", &line]);
    let by = |one: &BTreeSet<String>| one.iter().any(|worker| asking.stdout().contains(worker));
    stage.world.wait_until(LIMIT, "answers before", || by(&old));
    stage.type_in(Place::Host, "klee exec nginx nginx -e stderr -s reload").ok();
    stage.world.wait_until(LIMIT, "the end of the old workers", || {
        let now = workers();
        now.len() == 4 && now.is_disjoint(&old)
    });
    let new = workers();
    stage.world.wait_until(LIMIT, "answers after", || by(&new));
    stage.world.write("/srv/enough", "");
    let heard = asking.wait(LIMIT);
    let answers = heard.ok().stdout().matches(" for ").count();
    println!("{answers} answers around the reload");
    let lost = heard.stdout().lines().any(|line| !line.starts_with("worker "));
    stage.holds(!lost, "requests are lost during a reload", &heard.stdout());
}

pub(crate) fn postgresql(stage: &mut Stage<'_>) {
    let ask = "PGPASSWORD=kleene psql -h ADDR -U postgres -Atc 'select 6*7'";
    stage.everywhere("postgres", ask, "42\n");
    let wrong = "PGPASSWORD=wrong psql -h ADDR -U postgres -Atc 'select 6*7' && exit 1; true";
    stage.everywhere("postgres", wrong, "password authentication failed");
}

pub(crate) fn redis(stage: &mut Stage<'_>) {
    stage.everywhere("redis", "redis-cli -h ADDR -a kleene --no-auth-warning get color", "blue\n");
    stage.everywhere("redis", "redis-cli -h ADDR get color", "NOAUTH");
}

/// What asks name servers, for all places.
pub(crate) fn dns_client(stage: &Stage<'_>) {
    stage.world.write("/srv/dns.py", include_str!("dns.py"));
}

pub(crate) fn dnsmasq(stage: &mut Stage<'_>) {
    // A second one beside it, on the wildcard.
    let wildcard = "klee exec -d dns dnsmasq --keep-in-foreground --conf-file=/dev/null --port=5353 \
         --no-resolv --no-hosts --host-record=www.example.test,203.0.113.7";
    stage.type_in(Place::Host, wildcard).ok();
    let own = stage.addresses("dns").to_vec();
    // What is published leads to the first network; the host reaches all.
    let back = addresses_of(stage.world, "dns", "back").to_vec();
    for (port, how) in [(53, "each address bound"), (5353, "the wildcard bound")] {
        for protocol in ["udp", "tcp"] {
            let line = format!("python3 -I -S /srv/dns.py {protocol} ADDR {port} www.example.test");
            let what = format!("with {how} there is no answer to {protocol}");
            for place in EVERYWHERE {
                if port == 53 || place == Place::Host {
                    stage.ask(place, &own, &line, "203.0.113.7\n", &what);
                }
            }
            stage.ask(Place::Host, &back, &line, "203.0.113.7\n", &what);
        }
    }
}

/// An sshd of the host, on the wildcard, with a key of its own.
pub(crate) fn sshd_of_the_host(stage: &Stage<'_>) {
    let config = "HostKey /srv/host/key\nUsePAM no\nPidFile none\n";
    stage.make_dir("/srv/host");
    stage.make_dir("/run/sshd");
    stage.world.write("/srv/host/sshd_config", config);
    let lines = "ssh-keygen -q -t ed25519 -N '' -f /srv/host/key && \
         /usr/sbin/sshd -f /srv/host/sshd_config";
    stage.type_in(Place::Host, lines).ok();
}

const SSH: &str = "ssh -i /srv/me -o BatchMode=yes -o StrictHostKeyChecking=no \
     -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";

pub(crate) fn openssh(stage: &mut Stage<'_>) {
    let key = |path: &str| {
        let line = stage.world.read(path).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let (inside, of_the_host) = (key("/srv/sshd/host_key.pub"), key("/srv/host/key.pub"));
    assert_ne!(inside, of_the_host);
    let scan = "ssh-keyscan -t ed25519 ADDR";
    stage.everywhere("ssh", scan, &inside);
    for place in EVERYWHERE {
        let host = [WORLD4, WORLD6].map(str::to_owned);
        stage.ask(place, &host, scan, &of_the_host, "the host's own sshd is not heard");
    }
    let name = stage.type_in(Place::Host, "klee exec ssh hostname").ok().first_line();
    stage.everywhere("ssh", &format!("{SSH} root@ADDR hostname"), &format!("{name}\n"));
    let [addr, _] = stage.addresses("ssh");
    let terminal = stage.type_in(Place::Outside, &format!("{SSH} -tt root@{addr} tty"));
    let fine = terminal.contains("/dev/pts/");
    stage.holds(fine, "a terminal over it (`ssh -t`) is refused", &terminal.to_string());
}

pub(crate) fn iperf3(stage: &mut Stage<'_>) {
    stage.everywhere("iperf", "iperf3 -c ADDR -n 256K", "receiver");
    let udp = "iperf3 -u -b 100M -n 256K -c ADDR";
    stage.everywhere("iperf", udp, "receiver");
    // A second network, whose addresses the host alone reaches.
    stage.type_in(Place::Host, "klee network connect back iperf").ok();
    let back = addresses_of(stage.world, "iperf", "back");
    let no_answer = "in a second network it gives no answer";
    stage.ask(Place::Host, &back, "iperf3 -c ADDR -n 256K", "receiver", no_answer);
    for addr in &back {
        let line = about("klee exec -d iperf iperf3 -s -p 5202 -B ADDR", addr);
        stage.type_in(Place::Host, &line).ok();
    }
    stage.ask(Place::Host, &back, &format!("{udp} -p 5202"), "receiver", no_answer);
    stage.ask(Place::Host, &back, udp, "receiver", no_answer);
}

pub(crate) fn node(stage: &mut Stage<'_>) {
    stage.everywhere("node", "curl -sS -m 5 http://HOST/", "node for ");
}

pub(crate) fn python(stage: &mut Stage<'_>) {
    stage.everywhere("python", "curl -sS -m 5 http://HOST/", "a page from Python\n");
}

pub(crate) fn java(stage: &mut Stage<'_>) {
    stage.everywhere("java", "java -cp /srv/java Ask http://HOST/", "java for ");
}
