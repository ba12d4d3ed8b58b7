//! Which sections are replayed, which are not and why, and what the recorder did
//! before them without writing it down.

use kleene_host::freebsd::simulated::Simulated;

use crate::shell::Shell;

/// What is done with a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Replay,
    /// Replayed, but not looked at while the simulation was written.
    HeldBack,
    /// Why not.
    Not(&'static str),
}

use Plan::{HeldBack, Not, Replay};

const FLOWS: Plan = Not("only flows of real packets");
const PROGRAMS: Plan = Not("only programs that run in jails, their output and signals");
const TIMES: Plan = Not("only how long things take");
const STOPS: Plan = Not("stops the kernel");

/// All sections, by run and name; some names are there twice in a run.
pub(crate) const SECTIONS: &[(u8, &str, Plan)] = &[
    (1, "host", Replay),
    (1, "loopback network", Replay),
    (1, "bridge network", Replay),
    (1, "jail: host and disabled", Replay),
    (1, "jail: ipnet", Replay),
    (1, "jail: vnet", Replay),
    (1, "pf anchors", Replay),
    (1, "rctl, mounts, devfs", Replay),
    (1, "clean up", Replay),
    (2, "vnet", Replay),
    (2, "icc off with private members", Replay),
    (2, "pf on the bridge", Replay),
    (2, "move an interface while running", Replay),
    (2, "nat and redirect with real packets", Replay),
    (2, "stopping", Replay),
    (3, "executions: exit codes and signals", Replay),
    (3, "executions: environment, user, directory", Replay),
    (3, "executions: input, output, descriptors", PROGRAMS),
    (3, "executions: who is whose parent, killing from outside", PROGRAMS),
    (3, "removing a jail: processes, time, exec.stop", Replay),
    (3, "how long a jail lives", Replay),
    (3, "names", HeldBack),
    (3, "removing quickly, and dying jails", Replay),
    (3, "ipnet: several addresses and the source of a connection", Replay),
    (3, "ipnet: addresses shared, repeated, missing", Replay),
    (3, "ipnet: changing addresses while a service listens", Replay),
    (3, "wildcard binds in ipnet jails", Replay),
    (3, "127.0.0.1 and ::1 in ipnet jails", Replay),
    (3, "services of the host and the addresses of ipnet jails", Replay),
    (3, "raw sockets and sources that are not one's own", Replay),
    (3, "the same address and port bound by the host and by a jail: who answers", FLOWS),
    (3, "a packet listener in a jail whose /dev has bpf", Replay),
    (3, "tools inside jails of each kind", Replay),
    (3, "pf: from disabled to a main ruleset with anchors", Replay),
    (3, "pf: a sub-anchor through standard input", Replay),
    (3, "pf: tables", Replay),
    (3, "pf: removing anchors", Replay),
    (3, "pf: refused texts", Replay),
    (3, "pf: reloading an anchor's table, and tables of the anchors above", Replay),
    (3, "pf: which order of flushing makes an anchor go", HeldBack),
    (3, "pf: where local traffic passes", Replay),
    (3, "pf: set skip on lo, and the group lo", Replay),
    (3, "pf: what the client sees of a block on lo0", Replay),
    (4, "pf: set skip on lo, each order on a fresh system", Replay),
    (4, "pf: what the client sees of a block between ipnet jails", FLOWS),
    (4, "pf: in or out, states, and what closes a connection", Replay),
    (4, "the network of this run", Replay),
    (4, "ways without rules", Replay),
    (4, "where bridge and forwarded traffic passes pf", Replay),
    (4, "rule 2: icc off on a bridge, the published port passes", Replay),
    (4, "rules 7, 13: an internal network", Replay),
    (4, "rules 4, 5, 6: nat", Replay),
    (4, "rules 9, 10, 11: published ports from outside", Replay),
    (4, "rule 12: the host to its own address and to a loopback address", Replay),
    (4, "rule 12: the reply-to rule only for packets that were tagged by the redirect", Replay),
    (4, "rule 12: loopback addresses to an ipnet jail, with nat on lo0 or kleene0", Replay),
    (4, "rule 12: hairpin", Replay),
    (4, "rule 14: a source address that the endpoint does not have", Replay),
    (4, "rule 12: hairpin nat only for tagged packets, pfil_bridge=1", Replay),
    (4, "vnet: MAC addresses", Replay),
    (4, "vnet: bridge MAC and first member", HeldBack),
    (4, "vnet: ifconfig -j, jail names, moving, renaming", Replay),
    (4, "vnet: IPv6 duplicate address detection", Replay),
    (4, "vnet: what is private to the jail", Replay),
    (4, "vnet: a dying jail keeps its cable", Replay),
    (4, "vnet: two cables in one running jail, default routes from outside", Replay),
    (4, "how long things take (seconds, only to compare with each other)", TIMES),
    (4, "many members on one bridge", TIMES),
    (4, "how many members of a bridge ifconfig shows", Replay),
    (4, "reading back", Replay),
    (4, "what tells a reboot", Replay),
    (4, "a terminal under jexec", Not("only terminals")),
    (4, "rctl", Replay),
    (4, "pf: the order in which sub-anchors are asked", Replay),
    (4, "pf: cost of many anchors (seconds, only to compare)", TIMES),
    (
        4,
        "vnet: connections that the jail itself closed keep it, and its cable, for a while",
        Replay,
    ),
    (4, "devfs", Replay),
    (5, "rctl where kern.racct.enable is 0", Not("only rctl, which is no tool here")),
    (5, "a custom network: addresses of a host interface", Replay),
    (5, "pf: the log", Replay),
    (5, "mounts", Replay),
    (5, "what tells a reboot, again", Replay),
    (5, "a file over a file", STOPS),
    (5, "pf: killing states of redirected connections", Replay),
    (5, "pf: names that make an order, and a second level", Replay),
    (5, "pf: what a restart of the administrator's rules does", Replay),
    (5, "bridge: private members and published ports", Replay),
    (5, "boot_id and boottime: the clock is set, then the next boot", Replay),
    (5, "jail -R with a pattern", Replay),
    (5, "an end of file while a background child of a jail still holds the pipe", PROGRAMS),
    (5, "a host interface as a member of the bridge", Replay),
    (5, "passes in anchors that sort before the blocks", Replay),
    (5, "reply-to without a tag, once more", Replay),
    (6, "the network of this run", Replay),
    (6, "the layout: texts", Replay),
    (6, "tables of the main ruleset", Replay),
    (6, "loading", Replay),
    (6, "rule 1: a container to its own addresses", FLOWS),
    (6, "rule 2: the same network", FLOWS),
    (6, "rule 3: other networks", FLOWS),
    (6, "rules 4 to 6: outside", FLOWS),
    (6, "rule 7: the host's own addresses; rule 13: an internal network", FLOWS),
    (6, "rule 8: the host to containers", FLOWS),
    (6, "rules 9 to 11: from outside", FLOWS),
    (6, "rule 12: the host itself", FLOWS),
    (6, "rule 12: containers", Replay),
    (6, "hairpin inside one subnet: nat for both tags, states bound to the bridge", Replay),
    (6, "rule 14: a source that the endpoint does not have", Replay),
    (6, "unpublish: rules first, then the states by label", Replay),
    (6, "rules of the administrator: block all before the anchor line", Replay),
    (6, "an internal bridge: C made internal", Replay),
];

/// What the recorder did before a section, as command lines. It follows from what the
/// section shows and from the recorder's remarks.
pub(crate) fn before(run: u8, name: &str) -> &'static [&'static str] {
    match (run, name) {
        (1, "jail: host and disabled") => {
            &["mkdir -p /tmp/m/dev; mkdir -p /payload; mount -t tmpfs tmpfs /payload"]
        }
        (1, "pf anchors") => &[
            "printf 'nat-anchor \"kleene/*\"\\nrdr-anchor \"kleene/*\"\\nanchor \"kleene/*\"\\n' \
             > /tmp/main.conf",
            "printf 'table <members> persist { 10.2.3.1 fd00:2:3::1 }\\nnat on kleene1 inet from \
             <members> to any -> (kleene1)\\nrdr on kleene1 inet proto tcp from any to any port \
             8080 -> 10.2.3.1 port 80\\nrdr pass on kleene1 inet proto tcp from any to (kleene1) \
             port 5000:6000 -> 10.2.3.1 port 4000:5000\\nblock return log quick from any to \
             <members>\\npass quick proto { tcp, udp } from any to 10.2.3.1 port 80\\n' > \
             /tmp/a.conf",
        ],
        (2, "vnet") => &[
            LO0_DOWN,
            "ifconfig bridge create name kleene1; ifconfig kleene1 inet 10.4.6.1/24 alias; \
             ifconfig kleene1 inet6 fd00:4:6::1/64 alias; ifconfig kleene1 up",
            "ifconfig epair create; ifconfig epair create; ifconfig epair create",
            "ifconfig kleene1 addm epair0a addm epair1a; ifconfig epair0a up; ifconfig epair1a up",
        ],
        (2, "pf on the bridge") => &["echo 'anchor \"kleene/*\"' | pfctl -f -; pfctl -e"],
        (2, "nat and redirect with real packets") => &["ifconfig epair create"],
        (2, "stopping") => &["jail -c path=/jr name=outside vnet vnet.interface=epair3b persist"],
        (3, "executions: exit codes and signals") => &[LO0_DOWN],
        (3, "ipnet: several addresses and the source of a connection") => {
            &[KLEENE0, KLEENE2, "ifconfig lo0 inet 127.0.0.1/8 up"]
        }
        (3, "the same address and port bound by the host and by a jail: who answers") => &[
            REBOOT,
            KLEENE0,
            KLEENE2,
            IPNET,
            "jail -c path=/jr name=h1a1a1a1a1a1 ip4=inherit ip6=inherit persist",
        ],
        (3, "a packet listener in a jail whose /dev has bpf") => &[
            "jexec e1a1a1a1a1a1 sk serve tcp E1 '*' 80; jexec e3a1a1a1a1a1 sk serve tcp E3 '*' 80",
            "jexec e1a1a1a1a1a1 sk serve tcp E1 10.2.3.1 130; \
             jexec e1a1a1a1a1a1 sk serve tcp E1 10.2.3.1 131; \
             jexec e1a1a1a1a1a1 sk serve udp E1 10.2.3.1 130; \
             jexec h1a1a1a1a1a1 sk serve tcp H1 '*' 132",
        ],
        (3, "pf: where local traffic passes") => &[WAYS],
        _ => later(run, name),
    }
}

/// In runs 2 to 6 nothing had brought lo0 up.
const LO0_DOWN: &str = "ifconfig lo0 inet6 ::1 -alias; ifconfig lo0 inet6 fe80::1 -alias; \
    ifconfig lo0 inet 127.0.0.1 -alias; ifconfig lo0 down";

const KLEENE0: &str = "ifconfig lo create name kleene0; ifconfig kleene0 group kleene; \
    ifconfig kleene0 up; for i in 1 2 3 4 5; do ifconfig kleene0 inet 10.2.3.$i/32 alias; \
    ifconfig kleene0 inet6 fd00:2:3::$i/128 no_dad alias; done";

const KLEENE2: &str = "ifconfig lo create name kleene2; ifconfig kleene2 group kleene; \
    ifconfig kleene2 up; for i in 3 4; do ifconfig kleene2 inet 10.9.9.$i/32 alias; \
    ifconfig kleene2 inet6 fd00:9:9::$i/128 no_dad alias; done";

const IPNET: &str = "jail -c path=/jr name=e1a1a1a1a1a1 ip4.addr=10.2.3.1 \
    ip6.addr=fd00:2:3::1 persist; jail -c path=/jr name=e2a1a1a1a1a1 ip4.addr=10.9.9.4 \
    ip6.addr=fd00:9:9::4 persist; jail -c path=/jr name=e3a1a1a1a1a1 \
    ip4.addr=10.2.3.3,10.9.9.3 ip6.addr=fd00:2:3::3,fd00:9:9::3 persist";

/// The network of runs 4 and 5.
const BRIDGE: &str = "ifconfig bridge create name kleene1; \
    ifconfig kleene1 inet 10.4.6.1/24 alias; ifconfig kleene1 inet6 fd00:4:6::1/64 no_dad alias; \
    ifconfig kleene1 up; ifconfig epair0 create; ifconfig epair1 create; \
    ifconfig epair8 create; ifconfig epair9 create; ifconfig kleene1 addm epair0a; \
    ifconfig kleene1 addm epair1a; ifconfig epair0a up; ifconfig epair1a up; \
    ifconfig epair9a inet 192.0.2.1/24; ifconfig epair9a inet6 2001:db8:9::1/64 no_dad; \
    ifconfig epair8a inet 198.51.100.1/24; ifconfig epair8a inet6 2001:db8:8::1/64 no_dad; \
    ifconfig kleene1 inet 10.4.6.4/32 alias; \
    ifconfig kleene1 inet6 fd00:4:6::4/128 no_dad alias";

const VNETS: &str = "jail -c path=/jr name=va1a1a1a1a1a vnet vnet.interface=epair0b persist; \
    jail -c path=/jr name=vb1a1a1a1a1a vnet vnet.interface=epair1b persist; \
    jail -c path=/jr name=outside vnet vnet.interface=epair9b persist; \
    jail -c path=/jr name=out2 vnet vnet.interface=epair8b persist; \
    jail -c path=/jr name=ib1a1a1a1a1a ip4.addr=10.4.6.4 ip6.addr=fd00:4:6::4 persist; \
    for j in va1a1a1a1a1a vb1a1a1a1a1a outside out2; do \
    jexec $j ifconfig lo0 inet 127.0.0.1/8 up; done; \
    sysctl net.inet.ip.forwarding=1 net.inet6.ip6.forwarding=1";

const INSIDE: &str = "jexec va1a1a1a1a1a ifconfig epair0b inet 10.4.6.2/24 up; \
    jexec va1a1a1a1a1a ifconfig epair0b inet6 fd00:4:6::2/64 no_dad; \
    jexec va1a1a1a1a1a route -n add -inet default 10.4.6.1; \
    jexec va1a1a1a1a1a route -n add -inet6 default fd00:4:6::1; \
    jexec vb1a1a1a1a1a ifconfig epair1b inet 10.4.6.3/24 up; \
    jexec vb1a1a1a1a1a ifconfig epair1b inet6 fd00:4:6::3/64 no_dad; \
    jexec vb1a1a1a1a1a route -n add -inet default 10.4.6.1; \
    jexec outside ifconfig epair9b inet 192.0.2.2/24 up; \
    jexec outside ifconfig epair9b inet6 2001:db8:9::2/64 no_dad; \
    jexec outside route -n add -inet default 192.0.2.1; \
    jexec out2 ifconfig epair8b inet 198.51.100.2/24 up; \
    jexec out2 route -n add -inet default 198.51.100.1";

/// The main ruleset of runs 3 to 5.
const PF_CONF: &str = "printf 'nat-anchor \"kleene/*\"\\nrdr-anchor \"kleene/*\"\\n\
    anchor \"kleene/*\"\\n' > /tmp/pf.conf";

/// Each way into and out of the interfaces of run 4, as `WAYS` does it for run 3.
const WAYS2: &str = "printf 'pass in quick on kleene1 all no state label \"in-kleene1\"\\n' \
    > /tmp/w2.conf";

const WAYS: &str = "printf 'pass in quick on lo0 all no state label \"in-lo0\"\\n\
    pass out quick on lo0 all no state label \"out-lo0\"\\n\
    pass in quick on kleene0 all no state label \"in-kleene0\"\\n\
    pass out quick on kleene0 all no state label \"out-kleene0\"\\n\
    pass in quick on kleene2 all no state label \"in-kleene2\"\\n\
    pass out quick on kleene2 all no state label \"out-kleene2\"\\n' > /tmp/w.conf";

/// pf on a bridge sees nothing of what its members send to each other.
const HOOKS_OFF: &str = "sysctl net.link.bridge.pfil_bridge=0 net.link.bridge.pfil_member=0";

/// The network of run 6.
const FIVE: &[&str] = &[
    "ifconfig lo create name kleene0; ifconfig kleene0 up; \
     ifconfig lo create name kleene1; ifconfig kleene1 up; \
     ifconfig bridge create name kleene2; ifconfig bridge create name kleene3; \
     ifconfig kleene2 inet 10.4.6.1/24 alias; ifconfig kleene2 inet6 fd00:4:6::1/64 no_dad; \
     ifconfig kleene3 inet 10.5.5.1/24 alias; ifconfig kleene3 inet6 fd00:5:5::1/64 no_dad; \
     for i in 0 1 2 3 8 9; do ifconfig epair$i create; done; \
     ifconfig epair0b ether 58:9c:fc:00:00:c1; ifconfig epair1b ether 58:9c:fc:00:00:c2; \
     ifconfig epair2b ether 58:9c:fc:00:00:d1; ifconfig epair3b ether 58:9c:fc:00:00:d2; \
     for i in kleene0 kleene1 kleene2 kleene3 epair0a epair1a epair2a epair3a; do \
     ifconfig $i group kleene; done; \
     for i in kleene0 kleene1 kleene2 kleene3; do ifconfig $i group kleene_net; done; \
     for i in epair0a epair1a epair2a epair3a; do ifconfig $i group kleene_cab; done; \
     for i in 0 1; do ifconfig kleene2 addm epair$ia; done; \
     ifconfig epair9a inet 192.0.2.1/24; ifconfig epair9a inet6 2001:db8:9::1/64 no_dad; \
     ifconfig epair8a inet 198.51.100.1/24; ifconfig epair8a inet6 2001:db8:8::1/64 no_dad",
    "sysctl net.link.bridge.pfil_bridge=0 net.link.bridge.pfil_local_phys=1 \
     net.inet.ip.forwarding=1 net.inet6.ip6.forwarding=1",
    "jail -c path=/jr name=c1x vnet vnet.interface=epair0b persist; \
     jail -c path=/jr name=c2x vnet vnet.interface=epair1b persist; \
     jail -c path=/jr name=d1x vnet vnet.interface=epair2b persist; \
     jail -c path=/jr name=d2x vnet vnet.interface=epair3b persist; \
     jail -c path=/jr name=outx vnet vnet.interface=epair9b persist; \
     jail -c path=/jr name=out2x vnet vnet.interface=epair8b persist; \
     jail -c path=/jr name=a1x ip4.addr=10.2.3.1 ip6.addr=fd00:2:3::1 persist; \
     jail -c path=/jr name=a2x ip4.addr=10.2.3.2 ip6.addr=fd00:2:3::2 persist; \
     jail -c path=/jr name=b1x ip4.addr=10.9.9.1 ip6.addr=fd00:9:9::1 persist; \
     jail -c path=/jr name=b2x ip4.addr=10.9.9.2 ip6.addr=fd00:9:9::2 persist; \
     jail -c path=/jr name=c3x ip4.addr=10.4.6.4 ip6.addr=fd00:4:6::4 persist; \
     jail -c path=/jr name=c4x ip4.addr=10.4.6.5 ip6.addr=fd00:4:6::5 persist; \
     jail -c path=/jr name=d3x ip4.addr=10.5.5.4 ip6.addr=fd00:5:5::4 persist; \
     jail -c path=/jr name=e1x ip4.addr=192.0.2.50 ip6.addr=2001:db8:9::50 persist",
    "jexec c1x ifconfig epair0b inet 10.4.6.2/24 up; \
     jexec c1x ifconfig epair0b inet6 fd00:4:6::2/64 no_dad; \
     echo \"kldload: can't load pf: module already loaded or in kernel\" > /tmp/net.log",
];

/// The tables of run 6, before anything is loaded.
const TABLES: &[&str] = &[
    "for t in c1 c2 d1 d2; do pfctl -q -t kleene_e_$t -T add 10.4.6.2; done; \
     for t in a b c d e; do pfctl -q -t kleene_n$t -T add 10.2.3.1; done; \
     pfctl -q -t kleene_int -T add 10.9.9.1 10.9.9.2 fd00:9:9::1 fd00:9:9::2",
    "pfctl -q -t kleene_all -T add 10.2.3.1 10.2.3.2 10.4.6.2 10.4.6.3 10.4.6.4 10.4.6.5 10.5.5.2 \
     10.5.5.3 10.5.5.4 10.9.9.1 10.9.9.2 192.0.2.50 2001:db8:9::50 fd00:2:3::1 fd00:2:3::2 \
     fd00:4:6::2 fd00:4:6::3 fd00:4:6::4 fd00:4:6::5 fd00:5:5::2 fd00:5:5::3 fd00:5:5::4 \
     fd00:9:9::1 fd00:9:9::2 fe80::5a9c:fcff:fe00:c1 fe80::5a9c:fcff:fe00:c2 \
     fe80::5a9c:fcff:fe00:d1 fe80::5a9c:fcff:fe00:d2",
];

/// What the recorder did in runs 4 to 6.
fn later(run: u8, name: &str) -> &'static [&'static str] {
    match (run, name) {
        (4, "pf: set skip on lo, each order on a fresh system") => {
            &[KLEENE0, KLEENE2, IPNET, PF_CONF, "pfctl -q -e"]
        }
        (4, "the network of this run") => &[BRIDGE, VNETS, INSIDE],
        (4, "where bridge and forwarded traffic passes pf") => &[WAYS2],
        // The machine had to be reset.
        (4, "rule 12: the reply-to rule only for packets that were tagged by the redirect") => &[
            REBOOT,
            KLEENE0,
            KLEENE2,
            IPNET,
            BRIDGE,
            VNETS,
            INSIDE,
            PF_CONF,
            HOOKS_OFF,
            "pfctl -q -e -f /tmp/pf.conf",
        ],
        (4, "vnet: MAC addresses") => {
            &["jexec va1a1a1a1a1a ifconfig epair0b inet 10.4.6.99 -alias; \
             jexec va1a1a1a1a1a ifconfig epair0b inet6 fd00:4:6::99 -alias"]
        }
        (5, "rctl where kern.racct.enable is 0") => &[
            KLEENE0,
            KLEENE2,
            IPNET,
            BRIDGE,
            VNETS,
            INSIDE,
            PF_CONF,
            HOOKS_OFF,
            "pfctl -q -e -f /tmp/pf.conf",
        ],
        (5, "pf: killing states of redirected connections") => {
            &["echo 'block drop in quick on epair9a from any to 10.2.3.1' > /tmp/k0"]
        }
        (5, "pf: names that make an order, and a second level") => &[
            "echo 'pass quick proto tcp from any to 10.2.3.1 port 80' > /tmp/p",
            "echo 'block return quick from 10.9.9.4 to any' > /tmp/b",
        ],
        (5, "a host interface as a member of the bridge") => &[
            REBOOT,
            KLEENE0,
            KLEENE2,
            IPNET,
            BRIDGE,
            VNETS,
            INSIDE,
            PF_CONF,
            WAYS2,
            HOOKS_OFF,
            "pfctl -q -e -f /tmp/pf.conf",
        ],
        (6, "the network of this run") => FIVE,
        (6, "tables of the main ruleset") => TABLES,
        _ => &[],
    }
}

/// Not a command: the host starts again.
pub(crate) const REBOOT: &str = "reboot";

/// What happened meanwhile, by real packets, by time, by lines that are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// A jail has a TCP connection that outlives it.
    Hold(&'static str),
    /// The connections of a dying jail are over.
    End(&'static str),
    /// So many jails were made and removed.
    Jails(u8),
    /// A jail was removed.
    Gone(&'static str),
    /// A process was started in a jail.
    Starts(&'static str, &'static str),
    /// 110 cables were put into the bridge `big0`.
    Members,
    /// And they were destroyed again.
    NoMembers,
    /// Minutes went by.
    Minutes,
    /// The anchors of run 6 were loaded in a loop.
    Layout,
}

impl Act {
    pub(crate) fn happen(self, host: &Simulated) {
        let run = |line: &str| {
            let done = Shell { host, here: "" }.run(line).expect("a plain line");
            assert_eq!(done.status, 0, "{line}: {}", done.err);
        };
        match self {
            Self::Hold(jail) => host.hold_connections(jail, 1),
            Self::End(jail) => host.hold_connections(jail, 0),
            Self::Jails(number) => {
                for _ in 0..number {
                    run("jail -c path=/ name=meanwhile persist; jail -r meanwhile");
                }
            }
            Self::Members => {
                for number in 100..210 {
                    run(&format!(
                        "ifconfig epair{number} create; ifconfig big0 addm epair{number}a"
                    ));
                }
            }
            Self::NoMembers => {
                for number in 100..210 {
                    run(&format!("ifconfig epair{number}a destroy"));
                }
            }
            Self::Gone(jail) => run(&format!("jail -r {jail}")),
            Self::Starts(jail, command) => {
                host.start_process(jail, command, false);
            }
            Self::Minutes => host.minutes_pass(),
            Self::Layout => {
                for anchor in LAYOUT {
                    let kind = anchor.split('/').next().unwrap_or_default();
                    let alike = if kind == "cab" { "c1" } else { "a1" };
                    let own = anchor.replace('/', ".");
                    let file = host.read_file(&own).map_or(format!("{kind}.{alike}"), |_| own);
                    run(&format!("pfctl -a kleene/{anchor} -f {file}"));
                }
            }
        }
    }
}

/// The anchors that the loop of run 6 loaded; those whose text is not printed get that
/// of their like.
const LAYOUT: [&str; 17] = [
    "cab/c1", "cab/c2", "cab/d1", "cab/d2", "own/a1", "own/a2", "own/b1", "own/b2", "own/c3",
    "own/c4", "own/d3", "own/e1", "pub/a1", "pub/b1", "pub/c1", "pub/c4", "pub/e1",
];

/// What happened right before the command on a line of the recordings.
pub(crate) fn acts(line: usize) -> &'static [Act] {
    match line {
        1454 => &[Act::Starts("a21212121212", "sleep 100")],
        1794 => &[Act::Jails(1)],
        1865 => &[Act::Gone("x7a1a1a1a1a1")],
        1898 => &[Act::Hold("x8a1a1a1a1a1")],
        1918 => &[Act::End("x8a1a1a1a1a1")],
        5372 => &[Act::End("vb1a1a1a1a1a")],
        5703 => &[Act::End("vd1a1a1a1a1a"), Act::End("vf1a1a1a1a1a")],
        5711 => &[Act::Members],
        5725 => &[Act::NoMembers],
        3175 | 6219 => &[Act::Minutes],
        6273 => &[Act::End("vg1a1a1a1a1a")],
        7112 => &[Act::Layout],
        _ => &[],
    }
}
