//! The file system of a world: a root of its own, in memory, with the host's
//! programs in it read-only and everything that changes private.

use super::tool;
use crate::linux::cgroup::Hierarchy;
use crate::linux::error::{Result, WorldError};
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};
use rustix::process::pivot_root;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// Where the new root is put together: `/sys` is on every host, and the old
/// one is not needed any more.
const NEW: &str = "/sys";

/// Top directories that a world has its own of.
const OWN: [&str; 9] = ["proc", "sys", "dev", "run", "tmp", "var", "etc", "k", "lost+found"];

/// Devices that a world sees. A few more than a container may have, so that
/// a test can tell that a container does not get them.
const DEVICES: [&str; 9] =
    ["null", "zero", "full", "random", "urandom", "tty", "fuse", "kmsg", "net/tun"];

/// Makes the new root and moves into it. `binds` are directories that must
/// be visible at the same place.
pub(super) fn make(binds: &[PathBuf], hierarchies: &[Hierarchy]) -> Result<()> {
    put("tmpfs", NEW, "tmpfs", MountFlags::empty(), "mode=0755")?;
    bind_top_directories()?;
    own_directories()?;
    for path in binds {
        bind_if_hidden(path)?;
    }
    devices()?;
    put("proc", below("proc"), "proc", locked_down(), "")?;
    put("sysfs", below("sys"), "sysfs", locked_down(), "")?;
    cgroups(hierarchies)?;
    let old = below(".old");
    make_dir(&old, 0o755)?;
    pivot_root(NEW, &old).map_err(WorldError::sys("change the root"))?;
    std::env::set_current_dir("/").map_err(WorldError::sys("go to the new root"))?;
    unmount("/.old", UnmountFlags::DETACH).map_err(WorldError::sys("drop the old root"))?;
    fs::remove_dir("/.old").map_err(WorldError::sys("remove the old root's place"))
}

fn locked_down() -> MountFlags {
    MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC
}

fn below(path: &str) -> PathBuf {
    Path::new(NEW).join(path)
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(WorldError::file("make directory", path))
}

fn put(
    source: &str,
    target: impl AsRef<Path>,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Result<()> {
    let target = target.as_ref();
    let data = CString::new(data).map_err(|_| WorldError::Other("NUL in options".to_owned()))?;
    mount(source, target, kind, flags, data.as_c_str())
        .map_err(WorldError::sys(format!("mount {kind} on {}", target.display())))
}

fn bind_read_only(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("bind {} to {}", from.display(), to.display());
    mount_bind(from, to).map_err(WorldError::sys(what()))?;
    mount_remount(to, MountFlags::BIND | MountFlags::RDONLY, "")
        .map_err(WorldError::sys(format!("{} read-only", what())))
}

/// `/usr` and all other directories of the host, read-only, and the links
/// of a merged `/usr`.
fn bind_top_directories() -> Result<()> {
    let root = Path::new("/");
    let entries = fs::read_dir(root).map_err(WorldError::file("list", root))?;
    for entry in entries.flatten() {
        let (from, name) = (entry.path(), entry.file_name());
        let to = Path::new(NEW).join(&name);
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_symlink() {
            let target = fs::read_link(&from).map_err(WorldError::file("read link", &from))?;
            symlink(target, &to).map_err(WorldError::file("make link", &to))?;
        } else if kind.is_dir() && OWN.iter().all(|own| name != *own) {
            make_dir(&to, 0o755)?;
            bind_read_only(&from, &to)?;
        }
    }
    Ok(())
}

fn own_directories() -> Result<()> {
    for dir in ["proc", "sys", "dev", "run", "tmp", "k", "var/lib", "var/log", "var/cache"] {
        make_dir(&below(dir), 0o755)?;
    }
    make_dir(&below("var/tmp"), 0o1777)?;
    for (link, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        let path = below(link);
        symlink(target, &path).map_err(WorldError::file("make link", &path))?;
    }
    put("tmpfs", below("run"), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=0755")?;
    put("tmpfs", below("tmp"), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777")?;
    make_dir(&below("run/lock"), 0o1777)?;
    // A copy: tests may change it, and see nothing that others change.
    tool(&["cp", "-a", "/etc", NEW], "")
}

/// Binds `path` where it is unless it can be seen there anyway.
fn bind_if_hidden(path: &Path) -> Result<()> {
    let to = Path::new(NEW).join(path.strip_prefix("/").unwrap_or(path));
    if to.exists() {
        return Ok(());
    }
    make_dir(&to, 0o755)?;
    mount_bind_recursive(path, &to).map_err(WorldError::sys(format!("bind {}", path.display())))
}

fn devices() -> Result<()> {
    let dev = below("dev");
    put("tmpfs", &dev, "tmpfs", MountFlags::NOSUID, "mode=0755")?;
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        if from.exists() {
            make_dir(to.parent().unwrap_or(&dev), 0o755)?;
            fs::write(&to, "").map_err(WorldError::file("make", &to))?;
            mount_bind(&from, &to).map_err(WorldError::sys(format!("bind {}", from.display())))?;
        }
    }
    for dir in ["pts", "shm", "mqueue"] {
        make_dir(&dev.join(dir), 0o755)?;
    }
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    put("devpts", dev.join("pts"), "devpts", no_exec, "newinstance,ptmxmode=0666,mode=0620,gid=5")?;
    put("tmpfs", dev.join("shm"), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777")?;
    // Not in every kernel, and nobody's test needs it.
    let _ = put("mqueue", dev.join("mqueue"), "mqueue", locked_down(), "");
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (link, target) in links {
        let path = dev.join(link);
        symlink(target, &path).map_err(WorldError::file("make link", &path))?;
    }
    Ok(())
}

/// The host's cgroup layout, but every hierarchy shows the world's own
/// directory as its root: that is what the cgroup namespace is for.
fn cgroups(hierarchies: &[Hierarchy]) -> Result<()> {
    let top = Path::new("/sys/fs/cgroup");
    if hierarchies.iter().any(|h| h.mount_point != top && h.mount_point.starts_with(top)) {
        put("tmpfs", below("sys/fs/cgroup"), "tmpfs", locked_down(), "mode=0755")?;
    }
    for hierarchy in hierarchies {
        let point = &hierarchy.mount_point;
        let target = Path::new(NEW).join(point.strip_prefix("/").unwrap_or(point));
        if !target.exists() {
            make_dir(&target, 0o755)?;
        }
        match &hierarchy.v1 {
            None => put("cgroup2", &target, "cgroup2", locked_down(), "")?,
            Some(option) => put("cgroup", &target, "cgroup", locked_down(), option)?,
        }
    }
    Ok(())
}
