//! Who races, and what the others need for it.

use kleene_e2e::World;
use serde_json::{Value, json};

/// One engine in one setting.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) argv: Vec<String>,
    /// In the world that has our daemon, else in the one of the others.
    pub(crate) ours: bool,
}

const ROOT: &str = "/k/root";

fn contestant(name: &'static str, ours: bool, argv: &[&str]) -> Contestant {
    Contestant { name, argv: argv.iter().map(|arg| (*arg).to_owned()).collect(), ours }
}

/// The floor, and `klee` with each driver.
pub(crate) fn ours(klee: &str) -> Vec<Contestant> {
    let vnet = ["run", "--rm", "-l", "vnet", "-n", "web"];
    let with = |more: &[&'static str]| [&[klee][..], &vnet, more, &["host-usr", "true"]].concat();
    vec![
        contestant("true", true, &["true"]),
        contestant("klee --version", true, &[klee, "--version"]),
        contestant("klee network ls", true, &[klee, "network", "ls"]),
        contestant("klee, host", true, &[klee, "run", "--rm", "host-usr", "true"]),
        contestant("klee, vnet", true, &with(&[])),
        contestant("klee, vnet, a port", true, &with(&["-p", "8080:80"])),
    ]
}

/// The others, with the same root directory.
pub(crate) fn theirs() -> Vec<Contestant> {
    let podman = ["podman", "--cgroup-manager=cgroupfs", "--events-backend=none", "run", "--rm"];
    let with =
        |options: &[&'static str]| [&podman[..], options, &["--rootfs", ROOT, "true"]].concat();
    let port = ["--network=bridge", "-p", "8080:80"];
    let lxc = ["lxc-execute", "-n", "bench", "-P", "/k/lxc", "-f", "/k/lxc.conf", "--", "true"];
    vec![
        contestant("runc, no network", false, &["runc", "run", "-b", "/k/runc", "bench"]),
        contestant("crun, no network", false, &["crun", "run", "-b", "/k/crun", "bench"]),
        contestant("podman, host", false, &with(&["--network=host"])),
        contestant("podman, bridge", false, &with(&["--network=bridge"])),
        contestant("podman, bridge, a port", false, &with(&port)),
        contestant("lxc-execute, bridge", false, &lxc),
    ]
}

/// A root directory of the host's programs, bundles with it, a bridge. On a
/// host with both versions of cgroups the others refuse the second one when
/// it has a controller, so it is taken away from them.
pub(crate) fn prepare(world: &World) -> Result<(), String> {
    const SCRIPT: &str = "
set -e
if [ -e /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi
mkdir -p /k/root /k/lxc && cd /k/root && mkdir -p usr proc sys dev etc tmp run root var
for name in bin sbin lib lib64; do if [ -L /$name ]; then ln -s $(readlink /$name) $name; fi; done
mount --bind /usr usr
cp -L /etc/passwd /etc/group /etc/ld.so.cache etc/
cat >/k/lxc.conf <<END
lxc.rootfs.path = dir:/k/root
lxc.net.0.type = veth
lxc.net.0.link = lxcbr0
lxc.net.0.flags = up
END
ip link add lxcbr0 type bridge && ip addr add 10.4.9.1/24 dev lxcbr0 && ip link set lxcbr0 up
";
    let output = world.run(["sh", "-c", SCRIPT]);
    if output.status != Some(0) {
        return Err(format!("prepare the other engines' world: {output}"));
    }
    for runtime in ["runc", "crun"] {
        bundle(world, runtime)?;
    }
    Ok(())
}

/// The runtime's own idea of a usual container, with our root and command.
fn bundle(world: &World, runtime: &str) -> Result<(), String> {
    let script = format!("mkdir -p /k/{runtime} && cd /k/{runtime} && {runtime} spec");
    if world.run(["sh", "-c", &script]).status != Some(0) {
        // Not installed; it is left out.
        return Ok(());
    }
    let path = format!("/k/{runtime}/config.json");
    let text = world.read(&path).unwrap_or_default();
    let mut spec: Value =
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["true"]);
    spec["root"]["path"] = json!(ROOT);
    world.write(&path, spec.to_string());
    Ok(())
}
