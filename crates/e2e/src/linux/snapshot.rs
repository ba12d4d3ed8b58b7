//! Everything of a world that can be observed, as sorted lines of text, so
//! that two observations can be compared and their difference read.

use crate::linux::cgroup;
use crate::linux::world::World;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// An observation of a world in the kernel's terms: links with addresses,
/// routes, rules, neighbours, firewall, mounts, network namespaces, cgroups,
/// processes, forwarding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    #[track_caller]
    pub(crate) fn of(world: &World) -> Self {
        let mut lines = BTreeSet::new();
        network(world, &mut lines);
        processes(world, &mut lines);
        mounts(world, &mut lines);
        cgroups(world, &mut lines);
        Self(lines)
    }

    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// What `later` has lost (`- …`) and gained (`+ …`).
    pub fn diff(&self, later: &Self) -> Vec<String> {
        let lost = self.0.difference(&later.0).map(|line| format!("- {line}"));
        let gained = later.0.difference(&self.0).map(|line| format!("+ {line}"));
        lost.chain(gained).collect()
    }
}

/// One script, one process: what the tools of the host say, each line with
/// its kind in front. Counters and life times are left out.
const ASK: &str = r"
say() { kind=$1; shift; { $@ 2>/dev/null || true; } | sed -e s/^/$kind:\ /; }
say link ip -o -d link show
say address ip -o addr show
say route ip -4 route show table all
say route6 ip -6 route show table all
say rule ip -4 rule show
say rule6 ip -6 rule show
say proxy ip -4 neigh show proxy
say proxy ip -6 neigh show proxy
say nft nft -s list ruleset
for key in ipv4/ip_forward ipv6/conf/all/forwarding; do
    say sysctl grep -H . /proc/sys/net/$key
done
";

#[track_caller]
fn network(world: &World, lines: &mut BTreeSet<String>) {
    let output = world.run(["sh", "-c", ASK]);
    let mut context = String::new();
    for line in output.ok().stdout().lines() {
        let line = settled(line);
        if made_by_kernel(&line) {
            continue;
        }
        // A rule means nothing without the chain and the table around it.
        let Some(rest) = line.strip_prefix("nft: ") else {
            lines.insert(line);
            continue;
        };
        lines.insert(format!("nft: {context}{rest}"));
        if let Some(opened) = rest.strip_suffix('{') {
            context += &format!("{} > ", opened.trim());
        } else if rest == "}" {
            let kept = context.trim_end_matches(" > ").rfind(" > ").map_or(0, |at| at + 3);
            context.truncate(kept);
        }
    }
}

/// A line without what depends on whether anything is or was plugged in, and
/// without clocks: the kernel settles it some time after the last port has
/// gone, or never.
fn settled(line: &str) -> String {
    let mut kept = Vec::new();
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let with_value = word.ends_with("_timer") || word == "tso_max_size" || word == "state";
        if with_value && words.peek().is_some() {
            words.next();
        } else if word != "linkdown" {
            kept.push(word);
        }
    }
    kept.join(" ").replace("NO-CARRIER,", "").replace(",LOWER_UP", "")
}

/// Whether the kernel itself adds and removes it: a bridge gets its link-local
/// address with its first port, and keeps it.
fn made_by_kernel(line: &str) -> bool {
    line.contains("fe80::") || line.contains("multicast ff00::/8")
}

/// Processes, and the network namespaces that they live in or hold open.
fn processes(world: &World, lines: &mut BTreeSet<String>) {
    for dir in cgroup::subdirs(&world.path("/proc")) {
        let pid = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if pid.parse::<u32>().is_err() {
            continue;
        }
        // One that ends while it is looked at is not there.
        let Ok(command) = fs::read(dir.join("cmdline")) else { continue };
        let Ok(net) = fs::read_link(dir.join("ns/net")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        lines.insert(format!("process: {pid} {}", command.trim()));
        lines.insert(format!("netns: {}", net.display()));
        let descriptors = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
        for target in descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()) {
            if target.to_string_lossy().starts_with("net:[") {
                lines.insert(format!("netns: {}", target.display()));
            }
        }
    }
}

/// The mounts that the first process sees. Those of namespace files count as
/// network namespaces as well.
fn mounts(world: &World, lines: &mut BTreeSet<String>) {
    let path = Path::new("/proc").join(world.init_pid().to_string()).join("mountinfo");
    for line in fs::read_to_string(path).unwrap_or_default().lines() {
        // Numbers of mounts and parents say nothing.
        let shown = line.splitn(4, ' ').nth(3).unwrap_or_default();
        lines.insert(format!("mount: {shown}"));
        if shown.starts_with("net:[") {
            lines.insert(format!("netns: {}", shown.split(' ').next().unwrap_or_default()));
        }
    }
}

fn cgroups(world: &World, lines: &mut BTreeSet<String>) {
    for hierarchy in cgroup::hierarchies().unwrap_or_default() {
        let root = hierarchy.world(world.name());
        let mut open = vec![root.clone()];
        while let Some(dir) = open.pop() {
            let below = dir.strip_prefix(&root).unwrap_or(&dir).display().to_string();
            let kind = hierarchy.v1.as_deref().unwrap_or("v2");
            lines.insert(format!("cgroup: {kind} /{below}"));
            open.extend(cgroup::subdirs(&dir));
        }
    }
}
