//! What this host lacks, and what follows.
//!
//! Everything is tried rather than guessed, in namespaces that are gone at
//! once: links, addresses, mounts and settings of the host stay as they are.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use kleene_model::InstanceName;
use rustix::fs::{Access, access};
use rustix::thread::UnshareFlags;

use super::cgroup::{Mode, Tree};
use super::doctor_firewall::firewall;
use super::doctor_probe as probe;
use super::image::check_merged;
use super::overlay::overlay_works;
use crate::doctor::{Finding, Level, existing, program, root, socket, space};

/// The oldest kernel with all that is used without an alternative
/// (`IFA_PROTO`; `cgroup.kill` came with 5.14, `mount_setattr` with 5.12,
/// `openat2` with 5.6).
const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct DoctorInput<'a> {
    /// The engine's root directory (`kleene_root`); it need not exist.
    pub root_dir: &'a Path,
    /// Where the engine's own programs are expected.
    pub programs_dir: &'a Path,
    /// Paths of unix sockets to be made.
    pub sockets: &'a [PathBuf],
    /// The cgroup below which containers will be (`/kleene`).
    pub cgroup_parent: &'a str,
    /// Whose networks are asked about.
    pub instance: &'a InstanceName,
    /// What a network gets, per family, that nobody has given a subnet.
    pub subnets: &'a [IpNet],
}

/// Looks at everything, in an order that puts causes before what they cause.
#[must_use]
pub fn checks(input: &DoctorInput<'_>) -> Vec<Finding> {
    let mut findings = vec![root(), kernel()];
    findings.extend(NAMESPACES.into_iter().map(namespace));
    findings.extend([
        user_namespaces(Path::new("/proc/sys/user/max_user_namespaces")),
        overlay(input.root_dir),
        cgroups(input.cgroup_parent),
        seccomp(Path::new("/proc/sys/kernel/seccomp/actions_avail")),
        links("bridge", "networks of type bridge cannot be made"),
        links("veth", "containers with the driver vnet cannot be connected"),
        nf_tables(),
        udp_answers(probe::replies()),
        flows(probe::flows()),
        br_netfilter(Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables")),
        forwarding(Path::new("/proc/sys/net/ipv4/ip_forward")),
        force_forwarding(Path::new("/proc/sys/net/ipv6/conf/default")),
        firewall(input.instance, input.subnets),
        merged_usr(),
        space(input.root_dir),
    ]);
    findings.extend(PROGRAMS.into_iter().map(|name| program(input.programs_dir, name)));
    findings.extend(input.sockets.iter().map(|path| socket(path)));
    findings
}

/// An error with its sources, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    kleene_engine::host::chain(error)
}

/// A setting of the kernel, trimmed.
fn setting(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    kernel_release(&uname.release().to_string_lossy())
}

fn kernel_release(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    if version >= OLDEST_KERNEL {
        return Finding::ok("kernel", format!("Linux {release}"));
    }
    let then = ["containers may not start, or not stop", "install a newer kernel"];
    Finding::bad("kernel", Level::Fail, format!("Linux {release} is older than 5.18"), then)
}

const NAMESPACES: [(&str, &str, UnshareFlags); 6] = [
    ("namespace-net", "network", UnshareFlags::NEWNET),
    ("namespace-pid", "process", UnshareFlags::NEWPID),
    ("namespace-mnt", "mount", UnshareFlags::NEWNS),
    ("namespace-uts", "host name", UnshareFlags::NEWUTS),
    ("namespace-ipc", "IPC", UnshareFlags::NEWIPC),
    ("namespace-cgroup", "cgroup", UnshareFlags::NEWCGROUP),
];

fn namespace((id, name, kind): (&'static str, &str, UnshareFlags)) -> Finding {
    match probe::namespaces(kind) {
        Ok(()) => Finding::ok(id, format!("{name} namespaces can be made")),
        Err(e) => {
            let what = format!("a {name} namespace cannot be made: {e}");
            Finding::bad(id, Level::Fail, what, ["no container can start", KERNEL])
        }
    }
}

const KERNEL: &str = "use a kernel that has it; inside another container: allow it there";

/// A process with threads cannot make one to try, so its limit is read.
fn user_namespaces(limit: &Path) -> Finding {
    let id = "namespace-user";
    match setting(limit).and_then(|text| text.parse::<u64>().ok()) {
        Some(1..) => Finding::ok(id, "user namespaces can be made"),
        Some(0) => {
            let remedy = "sysctl user.max_user_namespaces=15000";
            let then = ["containers cannot have users of their own", remedy];
            Finding::bad(id, Level::Warn, "user namespaces are switched off", then)
        }
        None => {
            let then = ["containers cannot have users of their own", KERNEL];
            Finding::bad(id, Level::Warn, "the kernel has no user namespaces", then)
        }
    }
}

fn overlay(root_dir: &Path) -> Finding {
    match overlay_works(existing(root_dir)) {
        Ok(()) => Finding::ok("overlay", format!("overlays work below {}", root_dir.display())),
        Err(e) => {
            let consequence = "each container's root is a copy, and its /usr cannot be written";
            let remedy = "load the module 'overlay', or move kleene_root to ext4, xfs or btrfs";
            Finding::bad("overlay", Level::Warn, chain(&e), [consequence, remedy])
        }
    }
}

fn cgroups(parent: &str) -> Finding {
    let tree = match Tree::find() {
        Ok(tree) => tree,
        Err(e) => {
            let then = ["no container can start", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"];
            return Finding::bad("cgroup", Level::Fail, chain(&e), then);
        }
    };
    for root in tree.roots() {
        if let Err(e) = access(root, Access::WRITE_OK) {
            let what = format!("cannot write to {}: {e}", root.display());
            let remedy = "mount it writable; inside another container: delegate a subtree";
            return Finding::bad("cgroup", Level::Fail, what, ["no container can start", remedy]);
        }
    }
    match tree.mode() {
        mode @ (Mode::V2 | Mode::Hybrid) => {
            Finding::ok("cgroup", format!("cgroups are {mode} and writable; ours is {parent}"))
        }
        Mode::V1 => {
            let consequence = "a container's processes cannot be killed all at once";
            let remedy = "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
            let what = "cgroups are v1 only";
            Finding::bad("cgroup", Level::Warn, what, [consequence, remedy])
        }
    }
}

fn seccomp(actions: &Path) -> Finding {
    match setting(actions) {
        Some(text) if text.split(' ').any(|action| action == "errno") => {
            Finding::ok("seccomp", "system calls can be filtered")
        }
        _ => {
            let what = "the kernel has no seccomp filters";
            Finding::bad("seccomp", Level::Fail, what, ["no container can start", KERNEL])
        }
    }
}

fn links(kind: &'static str, consequence: &str) -> Finding {
    match probe::link(kind) {
        Ok(()) => Finding::ok(kind, format!("links of kind {kind} can be made")),
        Err(e) => {
            let what = format!("a link of kind {kind} cannot be made: {e}");
            let remedy = format!("modprobe {kind}, or use a kernel that has it");
            Finding::bad(kind, Level::Fail, what, [consequence, &remedy])
        }
    }
}

fn nf_tables() -> Finding {
    match probe::nf_tables() {
        Ok(()) => Finding::ok("nf-tables", "nf_tables answers"),
        Err(e) => {
            let what = format!("nf_tables does not answer: {e}");
            let remedy = "modprobe nf_tables, or use a kernel that has it";
            Finding::bad("nf-tables", Level::Fail, what, ["kleened does not start", remedy])
        }
    }
}

fn udp_answers(probed: std::io::Result<()>) -> Finding {
    let id = "udp-answers";
    match probed {
        Ok(()) => Finding::ok(id, "UDP answers come from the address that was asked"),
        Err(e) => {
            let consequence = "UDP services on the wildcard, in ipnet containers with several \
                               addresses, answer from an address that the kernel chooses";
            let remedy = "modprobe nft_socket and nft_hash, or use a kernel that has them";
            let what = format!("answers over UDP cannot be led: {e}");
            Finding::bad(id, Level::Warn, what, [consequence, remedy])
        }
    }
}

fn flows(probed: std::io::Result<()>) -> Finding {
    let id = "flows";
    match probed {
        Ok(()) => Finding::ok(id, "flows end with what let them through"),
        Err(e) => {
            let consequence = "connections go on after their published port, network or endpoint \
                               is gone";
            let remedy = "modprobe nf_conntrack_netlink, or use a kernel that has it";
            let what = format!("flows cannot be forgotten: {e}");
            Finding::bad(id, Level::Warn, what, [consequence, remedy])
        }
    }
}

fn br_netfilter(switch: &Path) -> Finding {
    match setting(switch).as_deref() {
        None | Some("0") => {
            Finding::ok("br-netfilter", "bridged packets do not pass the host's firewall")
        }
        Some(_) => {
            let consequence = "the host's FORWARD rules hold between containers of one network too, \
                               and a vnet container does not reach its own published port by \
                               the host's address";
            let remedy = "sysctl net.bridge.bridge-nf-call-iptables=0, unless something needs it";
            let what = "br_netfilter sends bridged packets through the host's firewall";
            Finding::bad("br-netfilter", Level::Warn, what, [consequence, remedy])
        }
    }
}

fn forwarding(switch: &Path) -> Finding {
    match setting(switch).as_deref() {
        Some("1") => Finding::ok("ip-forward", "the host forwards IPv4"),
        _ => {
            let consequence = "answers to containers come in only by the interface of the default \
                               route, and by those that networks and published ports name";
            let remedy = "sysctl net.ipv4.conf.eth1.forwarding=1, for another that they come by";
            let what = "the host does not forward IPv4 by itself";
            Finding::bad("ip-forward", Level::Warn, what, [consequence, remedy])
        }
    }
}

fn force_forwarding(defaults: &Path) -> Finding {
    if !defaults.exists() || defaults.join("force_forwarding").exists() {
        return Finding::ok("ipv6-forward", "single interfaces can forward IPv6, or there is none");
    }
    let consequence = "IPv6 addresses of ipnet containers on bridge and custom networks are refused, and IPv6 \
         of vnet containers stays on their bridge";
    let what = "this kernel forwards IPv6 on all interfaces or on none";
    Finding::bad("ipv6-forward", Level::Warn, what, [consequence, "use Linux 6.17 or newer"])
}

fn merged_usr() -> Finding {
    match check_merged() {
        Ok(()) => Finding::ok("merged-usr", "/usr is merged"),
        Err(e) => {
            let remedy = "merge it (Debian: install usrmerge)";
            let then = ["the image host-usr cannot be used", remedy];
            Finding::bad("merged-usr", Level::Fail, chain(&e), then)
        }
    }
}

const PROGRAMS: [(&str, &str); 3] = [
    ("program-supervise", "kleene-supervise"),
    ("program-runtime", "kleene-runtime"),
    ("program-holder", "kleene-holder"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::testing::is_root;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("setting");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn settings_and_versions_are_judged() {
        let none = Path::new("/nowhere/at/all");
        for (text, level) in [("1\n", Level::Ok), ("0\n", Level::Warn)] {
            let (_dir, path) = file(text);
            assert_eq!(forwarding(&path).level, level);
            assert_eq!(user_namespaces(&path).level, level);
            assert_eq!(br_netfilter(&path).level == Level::Ok, level == Level::Warn);
        }
        assert_eq!(user_namespaces(none).level, Level::Warn);
        assert_eq!(br_netfilter(none).level, Level::Ok);
        assert_eq!(seccomp(none).level, Level::Fail);
        let (_dir, actions) = file("kill_process log\n");
        assert_eq!(seccomp(&actions).level, Level::Fail);
        let (_dir, actions) = file("kill_process errno log\n");
        assert_eq!(seccomp(&actions).level, Level::Ok);
        assert_eq!(udp_answers(Ok(())).level, Level::Ok);
        assert_eq!(udp_answers(Err(std::io::ErrorKind::Unsupported.into())).level, Level::Warn);
        assert_eq!(flows(Ok(())).level, Level::Ok);
        assert_eq!(flows(Err(std::io::ErrorKind::Unsupported.into())).level, Level::Warn);
        for (release, level) in [
            ("6.18.44-x", Level::Ok),
            ("5.18.0", Level::Ok),
            ("5.17.15", Level::Fail),
            ("4.19", Level::Fail),
            ("odd", Level::Fail),
        ] {
            assert_eq!(kernel_release(release).level, level, "{release}");
        }
    }

    #[test]
    fn paths_and_programs_are_judged() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(crate::doctor::SOCKET_PATH));
        assert_eq!(socket(&long).level, Level::Fail);
        assert_eq!(socket(Path::new("/run/kleened.sock")).level, Level::Ok);
        let holder = ("program-holder", "kleene-holder");
        assert_eq!(program(dir.path(), holder).level, Level::Fail);
        std::fs::create_dir(dir.path().join("kleene-holder")).unwrap();
        assert_eq!(program(dir.path(), holder).level, Level::Fail);
        assert_eq!(existing(&dir.path().join("a/b/c")), dir.path());
    }

    #[test]
    fn a_look_at_this_host_changes_nothing() {
        if !is_root("a_look_at_this_host_changes_nothing") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let state = || {
            let read = |path: &str| std::fs::read_to_string(path).unwrap();
            let names = read("/proc/net/dev").lines().count();
            (names, read("/proc/self/mountinfo"), read("/proc/sys/net/ipv4/ip_forward"))
        };
        let before = state();
        let findings = checks(&DoctorInput {
            root_dir: &dir.path().join("kleene"),
            programs_dir: dir.path(),
            sockets: &[PathBuf::from("/run/kleened.sock")],
            cgroup_parent: "/kleene",
            instance: &InstanceName::parse("test").unwrap(),
            subnets: &["10.88.0.0/16".parse().unwrap()],
        });
        assert_eq!(state(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let level = |id: &str| findings.iter().find(|f| f.id == id).map(|f| f.level);
        for id in ["root", "namespace-net", "namespace-pid", "overlay", "cgroup", "bridge", "veth"]
        {
            assert_eq!(level(id), Some(Level::Ok), "{id}: {findings:#?}");
        }
        assert_eq!(level("udp-answers"), Some(Level::Ok), "{findings:#?}");
        assert_eq!(level("program-holder"), Some(Level::Fail));
        for finding in &findings {
            let said = !finding.consequence.is_empty() && !finding.remedy.is_empty();
            assert_eq!(said, finding.level != Level::Ok, "{finding:?}");
        }
    }
}
