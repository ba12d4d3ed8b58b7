//! `config.json`: what the OCI runtime is told.
//!
//! There is no seccomp section: our own runtime installs its filter itself,
//! for every execution too. A foreign runtime would need the profile here.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxResourcesBuilder, Mount, MountBuilder, Process, ProcessBuilder,
    RootBuilder, SpecBuilder, UserBuilder,
};
use serde_json::Value;

use super::bundle::{BundleRequest, Driver, HOLDER, Places, Storage};
use super::cgroup::Mode;
use super::mounts::{Bind, SourceKind};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What every container may: Podman's default without `NET_RAW` (containers
/// on one bridge could forge each other's frames). Of Docker's, `MKNOD`,
/// `AUDIT_WRITE` and `NET_RAW` are missing.
const CAPABILITIES: [Capability; 11] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// What is hidden: the default of Podman 5.6 and Docker 28. Runtimes skip
/// what a kernel does not have.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What is shown but not written, from the same sources. `/proc/sys/net` stays
/// read-only for vnet too, though that stack is its own: a bind over it is
/// refused by runc ("inside /proc"), and naming its siblings one by one would
/// miss those that a module brings later. The runtime can set sysctls at start
/// (`linux.sysctl`).
const READ_ONLY: [&str; 6] =
    ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Devices that may be opened: null, zero, full, random, urandom, tty, ptmx,
/// and terminals. Runtimes make the nodes.
const DEVICES: [(i64, Option<i64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// The text of `config.json`; `binds` are those of the request with
/// destinations as they were prepared.
///
/// # Errors
/// What the OCI types refuse.
pub(crate) fn config(
    request: &BundleRequest<'_>,
    places: &Places,
    binds: &[Bind],
) -> Result<Vec<u8>, Error> {
    let root = match request.storage {
        Storage::Overlay => &places.merged,
        Storage::Copy => &places.copy,
    };
    let spec = SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(root.as_path()).readonly(false).build()?)
        .process(process(request.driver, request.raw_sockets)?)
        .hostname(request.hostname.unwrap_or(request.id))
        .mounts(mounts(request, places, binds)?)
        .linux(linux(request)?)
        .build()?;
    let mut value = serde_json::to_value(&spec)?;
    sort_capabilities(&mut value);
    Ok(serde_json::to_vec_pretty(&value)?)
}

/// The type keeps them in hash order; the file shall not change from start to
/// start.
fn sort_capabilities(spec: &mut Value) {
    let sets = spec.pointer_mut("/process/capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(names) = set.as_array_mut() {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
}

fn capabilities(driver: Driver, raw_sockets: bool) -> Capabilities {
    let mut capabilities: Capabilities = CAPABILITIES.into_iter().collect();
    match driver {
        // In its own stack a container may do what root does.
        Driver::Vnet => capabilities.extend([Capability::NetAdmin]),
        Driver::View | Driver::Host => {}
    }
    if raw_sockets {
        capabilities.extend([Capability::NetRaw]);
    }
    capabilities
}

/// The holder. Executions inherit its capabilities through the bounding set
/// and root's rules, so none are inheritable or ambient: an execution of
/// another user has none.
fn process(driver: Driver, raw_sockets: bool) -> Result<Process, OciSpecError> {
    let held = capabilities(driver, raw_sockets);
    let none = Capabilities::new();
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(held.clone())
        .effective(held.clone())
        .permitted(held)
        .inheritable(none.clone())
        .ambient(none)
        .build()?;
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    // No rlimits: raising a hard limit needs CAP_SYS_RESOURCE, which the
    // engine may not have; the daemon's own limits hold.
    ProcessBuilder::default()
        .terminal(false)
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build()?)
        .args([HOLDER.to_owned()])
        .env([path.to_owned()])
        .cwd("/")
        .capabilities(sets)
        .rlimits([])
        .no_new_privileges(false)
        .build()
}

fn namespaces(request: &BundleRequest<'_>) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let own = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ];
    let mut namespaces = own
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Result<Vec<_>, _>>()?;
    match request.driver {
        Driver::Vnet | Driver::View => namespaces.push(
            LinuxNamespaceBuilder::default()
                .typ(LinuxNamespaceType::Network)
                .path(request.netns)
                .build()?,
        ),
        Driver::Host => {}
    }
    Ok(namespaces)
}

fn linux(request: &BundleRequest<'_>) -> Result<Linux, Error> {
    let resources = LinuxResourcesBuilder::default().devices(device_rules()?).build()?;
    let mut masked: Vec<String> = MASKED.iter().map(ToString::to_string).collect();
    masked.extend(thermal_throttles(Path::new("/sys/devices/system/cpu"))?);
    Ok(LinuxBuilder::default()
        .namespaces(namespaces(request)?)
        .resources(resources)
        .cgroups_path(request.cgroup.as_path())
        .rootfs_propagation("private")
        .masked_paths(masked)
        .readonly_paths(READ_ONLY.map(str::to_owned))
        .build()?)
}

/// Counters of the processors' heat, which betray what neighbours do. Podman
/// and Docker hide them since 2025.
fn thermal_throttles(cpus: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(cpus) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path().join("thermal_throttle");
        if path.is_dir() {
            found.extend(path.to_str().map(str::to_owned));
        }
    }
    found.sort();
    Ok(found)
}

fn device_rules() -> Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let rule = |allow| LinuxDeviceCgroupBuilder::default().allow(allow).access("rwm");
    let mut rules = vec![rule(false).typ(LinuxDeviceType::A).build()?];
    for (major, minor) in DEVICES {
        let allowed = rule(true).typ(LinuxDeviceType::C).major(major);
        rules.push(match minor {
            Some(minor) => allowed.minor(minor).build()?,
            None => allowed.build()?,
        });
    }
    Ok(rules)
}

fn mount(kind: &str, source: &Path, at: &Path, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .typ(kind)
        .source(source)
        .destination(at)
        .options(options.iter().map(ToString::to_string).collect::<Vec<_>>())
        .build()
}

/// The mounts, in order: a later one may lie in an earlier one.
fn mounts(
    request: &BundleRequest<'_>,
    places: &Places,
    binds: &[Bind],
) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = kernel_mounts()?;
    mounts.extend(cgroup_mount(request.cgroup_mode)?);
    mounts.push(usr(request.storage, places)?);
    for path in request.image.binds() {
        mounts.push(mount("bind", path, path, &["bind", "ro", "nosuid", "nodev", "noexec"])?);
    }
    let holder = ["bind", "ro", "nosuid", "nodev"];
    mounts.push(mount("bind", request.holder, Path::new(HOLDER), &holder)?);
    for bind in binds {
        mounts.push(user_bind(bind)?);
    }
    Ok(mounts)
}

fn kernel_mounts() -> Result<Vec<Mount>, OciSpecError> {
    let plain = ["nosuid", "noexec", "nodev"];
    let rows: [(&str, &str, &str, &[&str]); 6] = [
        ("proc", "proc", "/proc", &plain),
        ("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        ("tmpfs", "shm", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ("mqueue", "mqueue", "/dev/mqueue", &plain),
        ("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    rows.into_iter()
        .map(|(kind, source, at, options)| mount(kind, Path::new(source), Path::new(at), options))
        .collect()
}

/// `/sys/fs/cgroup`, read-only, on hosts with version 2 only. With version 1
/// libcontainer mounts every hierarchy *writable* whatever the options say,
/// and `name=systemd` with the host's whole tree, because it moves processes
/// into controllers' hierarchies only (seen with libcontainer 0.7 on a hybrid
/// host; runc does neither). There the directory is sysfs's empty one.
fn cgroup_mount(mode: Mode) -> Result<Option<Mount>, OciSpecError> {
    match mode {
        Mode::V1 | Mode::Hybrid => Ok(None),
        Mode::V2 => {
            let options = ["nosuid", "noexec", "nodev", "ro"];
            mount("cgroup", Path::new("cgroup"), Path::new("/sys/fs/cgroup"), &options).map(Some)
        }
    }
}

/// The host's `/usr`, with a writable layer where there can be one.
fn usr(storage: Storage, places: &Places) -> Result<Mount, OciSpecError> {
    let at = Path::new("/usr");
    match storage {
        Storage::Overlay => {
            let option = |key: &str, path: &PathBuf| format!("{key}={}", path.display());
            let layers = &places.usr;
            let lower = option("lowerdir", &layers.lower);
            let upper = option("upperdir", &layers.upper);
            let work = option("workdir", &layers.work);
            mount("overlay", Path::new("overlay"), at, &["nodev", &lower, &upper, &work])
        }
        Storage::Copy => mount("bind", at, at, &["bind", "ro", "nodev"]),
    }
}

/// Devices and setuid programs of a shared directory mean nothing inside, as
/// with Podman. File systems mounted below the source come along, and all of
/// this holds for them too (Linux 5.12, runc 1.1).
fn user_bind(bind: &Bind) -> Result<Mount, OciSpecError> {
    let options: &[&str] = match (bind.kind, bind.read_only) {
        (SourceKind::Directory, false) => &["rbind", "rw", "rnosuid", "rnodev"],
        (SourceKind::Directory, true) => &["rbind", "rro", "rnosuid", "rnodev"],
        (SourceKind::File, false) => &["bind", "rw", "nosuid", "nodev"],
        (SourceKind::File, true) => &["bind", "ro", "nosuid", "nodev"],
    };
    mount("bind", &bind.source, &bind.destination, options)
}
