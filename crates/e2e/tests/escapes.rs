//! System calls and sockets that lead out of a container, each beside its
//! allowed twin: the same call on the host, or in a container that may.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

mod common;

use common::{LIMIT, sleeper, web};
use kleene_e2e::{Output, World};

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// A system call's number here, and on the other architecture we run on.
const fn number(x86_64: u32, aarch64: u32) -> u32 {
    if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 }
}

fn exec(world: &World, container: &str, argv: &[&str]) -> Output {
    world.klee([&["exec", container], argv].concat())
}

/// What a call answers: the error's number, or 0.
#[track_caller]
fn errno(output: &Output) -> i32 {
    output.ok().stdout().trim().parse().unwrap()
}

/// A Perl line that makes one call and prints its error.
fn call(number: u32, args: &str) -> String {
    format!("my $r = syscall({number}, {args}); print $r == -1 ? $!+0 : 0")
}

#[test]
fn system_calls_that_lead_out_are_refused() {
    let Some(world) = World::open("system_calls_that_lead_out_are_refused") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    // Harmless arguments: whoever lets one through fails for another reason.
    let calls = [
        ("unshare(NEWUSER)", number(272, 97), "0x10000000"),
        ("unshare(NEWNET)", number(272, 97), "0x40000000"),
        ("setns", number(308, 268), "0, 0"),
        ("bpf", number(321, 280), "0, 0, 0"),
        ("keyctl", number(250, 219), "0, -3, 0"),
        ("add_key", number(248, 217), "0, 0, 0, 0, 0"),
        ("perf_event_open", number(298, 241), "0, 0, -1, -1, 0"),
        ("userfaultfd", number(323, 282), "-1"),
        ("open_by_handle_at", number(304, 265), "-1, 0, 0"),
        ("init_module", number(175, 105), "0, 0, 0"),
        ("kexec_load", number(246, 104), "0, 0, 0, -1"),
        ("swapon", number(167, 224), "0, -1"),
        ("fsopen", 430, "0, -1"),
        ("open_tree", 428, "-1, 0, -1"),
        ("mount_setattr", 442, "-1, 0, -1, 0, 0"),
        ("io_uring_setup", 425, "0, 0"),
        ("clone3", 435, "0, 0"),
    ];
    let mut twins = 0;
    for (name, number, args) in calls {
        let line = call(number, args);
        let outside = errno(&world.run(["perl", "-e", &line]));
        let inside = errno(&exec(&world, "jail", &["perl", "-e", &line]));
        assert!([EPERM, ENOSYS].contains(&inside), "{name}: {inside} inside, {outside} outside");
        // A machine may itself refuse some of them.
        twins += usize::from(![EPERM, ENOSYS].contains(&outside));
    }
    assert!(twins > calls.len() / 2, "only {twins} get further on the host");
    // A fork with a user namespace for the child; a plain one is allowed.
    let fork = |flags: u32| {
        let clone = number(56, 220);
        format!(
            "my $r = syscall({clone}, {flags}, 0, 0, 0, 0); exit 0 if $r == 0; \
             print $r == -1 ? $!+0 : 0"
        )
    };
    let child = 17;
    assert_eq!(errno(&exec(&world, "jail", &["perl", "-e", &fork(child)])), 0);
    let line = fork(child | 0x1000_0000);
    assert_eq!(errno(&exec(&world, "jail", &["perl", "-e", &line])), EPERM);
}

#[test]
fn nobody_inside_traces_the_holder() {
    let Some(world) = World::open("nobody_inside_traces_the_holder") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    let ptrace = number(101, 117);
    let attach = |whom: &str| {
        format!(
            "my $c = fork; if (!$c) {{ sleep 99; exit }} \
             my $r = syscall({ptrace}, 16, {whom}, 0, 0); print $r == -1 ? $!+0 : 0; kill 9, $c"
        )
    };
    // The allowed twin: a child of one's own.
    assert_eq!(errno(&exec(&world, "jail", &["perl", "-e", &attach("$c")])), 0);
    assert_eq!(errno(&exec(&world, "jail", &["perl", "-e", &attach("1")])), EPERM);
    let open = |path: &str| format!("print open(my $f, '+<', '{path}') ? 0 : $!+0");
    assert_eq!(errno(&exec(&world, "jail", &["perl", "-e", &open("/proc/self/mem")])), 0);
    for path in ["/proc/1/mem", "/proc/1/exe", "/run/.kleene/holder", "/proc/self/exe"] {
        let output = exec(&world, "jail", &["perl", "-e", &open(path)]);
        assert_ne!(errno(&output), 0, "{path} opened for writing");
    }
}

#[test]
fn cgroups_cannot_be_changed_from_inside() {
    let Some(world) = World::open("cgroups_cannot_be_changed_from_inside") else { return };
    let _kleened = world.start_kleened("");
    sleeper(&world, "jail", &[]);
    // Prints every file or directory that could be made or written.
    let tries = "for d in $(find /sys/fs/cgroup -type d 2>/dev/null); do \
         mkdir $d/x 2>/dev/null && echo made $d/x && rmdir $d/x; \
         for f in cgroup.procs tasks release_agent cgroup.subtree_control memory.max; do \
         [ -e $d/$f ] && ( : >>$d/$f ) 2>/dev/null && echo opened $d/$f; done; done; true";
    assert_ne!(world.run(["sh", "-c", tries]).ok().stdout(), "", "the allowed twin: the host");
    assert_eq!(exec(&world, "jail", &["sh", "-c", tries]).ok().stdout(), "");
}

#[test]
fn sockets_of_the_kernel_are_for_who_has_a_stack() {
    let Some(world) = World::open("sockets_of_the_kernel_are_for_who_has_a_stack") else { return };
    let _kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "jail", &[]);
    sleeper(&world, "wired", &["-l", "vnet", "-n", "web"]);
    // Raw and packet sockets see what others send.
    let socket = |family: u32, kind: u32, protocol: u32| {
        format!("print socket(my $s, {family}, {kind}, {protocol}) ? 0 : $!+0")
    };
    for (what, family, kind, protocol) in
        [("raw", 2, 3, 1), ("raw6", 10, 3, 58), ("packet", 17, 3, 768)]
    {
        let line = socket(family, kind, protocol);
        assert_eq!(errno(&world.run(["perl", "-e", &line])), 0, "{what} on the host");
        let inside = |container: &str| errno(&exec(&world, container, &["perl", "-e", &line]));
        assert_eq!(inside("wired"), 0, "{what} in a stack of one's own");
        assert_eq!(inside("jail"), EPERM, "{what} in the host's stack");
    }
    let dgram = socket(2, 2, 0);
    assert_eq!(errno(&exec(&world, "jail", &["perl", "-e", &dgram])), 0);
    // The firewall is that of one's own stack.
    let table = ["nft", "add", "table", "inet", "escape"];
    let before = world.snapshot();
    exec(&world, "wired", &table).ok();
    exec(&world, "jail", &table).fails();
    assert_eq!(before.diff(&world.snapshot()), [""; 0]);
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_a_vnet_containers_reach() {
    let Some(world) =
        World::open("abstract_sockets_of_the_host_are_out_of_a_vnet_containers_reach")
    else {
        return;
    };
    let _kleened = world.start_kleened("");
    web(&world);
    sleeper(&world, "wired", &["-l", "vnet", "-n", "web"]);
    let address = r#"pack_sockaddr_un("\0kleene-test")"#;
    let listen = format!(
        "use Socket; socket(S, 1, 1, 0) && bind(S, {address}) && listen(S, 9) or die $!; \
         $| = 1; print \"up\n\"; accept(C, S) while 1"
    );
    let listener = world.spawn(["perl", "-e", &listen]);
    world.wait_until(LIMIT, "the listener", || listener.stdout().contains("up"));
    let connect =
        format!("use Socket; socket(S, 1, 1, 0) or die $!; print connect(S, {address}) ? 0 : $!+0");
    assert_eq!(errno(&world.run(["perl", "-e", &connect])), 0);
    assert_ne!(errno(&exec(&world, "wired", &["perl", "-e", &connect])), 0);
}
