//! The cgroups of a world: one directory of its own in every hierarchy that
//! the host has mounted, below the cgroup the test runs in (so that limits
//! of the surroundings go on holding).

use crate::linux::error::{Result, WorldError};
use crate::wait::poll;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How every directory that a world makes begins.
pub const PREFIX: &str = "kleene-test-";

/// Where a world's processes live in the v2 tree: a leaf, because controllers
/// can only be handed down from a cgroup without processes.
pub const LEAF: &str = "init";

/// One mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// `None` for cgroup2, else the mount option that names it (`cpu,cpuacct`,
    /// `none,name=systemd`).
    pub v1: Option<String>,
    /// The directory of this process in it.
    pub own: PathBuf,
}

impl Hierarchy {
    /// The directory of the world `name` in this hierarchy.
    pub fn world(&self, name: &str) -> PathBuf {
        self.own.join(name)
    }
}

/// Every hierarchy that is mounted, v2 first.
pub fn hierarchies() -> Result<Vec<Hierarchy>> {
    let read =
        |path: &str| fs::read_to_string(path).map_err(WorldError::file("read", Path::new(path)));
    Ok(parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?))
}

fn parse(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(root), Some(point), Some(kind)) = (left.get(3), left.get(4), right.first())
        else {
            continue;
        };
        let v1 = match *kind {
            "cgroup2" => None,
            "cgroup" => Some(v1_option(right.get(2).unwrap_or(&""))),
            _ => continue,
        };
        let Some(own) = own_path(cgroup, v1.as_deref()) else { continue };
        let below = own.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
        let mount_point = PathBuf::from(point);
        let own = mount_point.join(below.trim_start_matches('/'));
        if found.iter().all(|other| other.v1 != v1) {
            found.push(Hierarchy { mount_point, v1, own });
        }
    }
    found.sort_by_key(|hierarchy| hierarchy.v1.clone());
    found
}

/// The part of the super block options that says which hierarchy it is.
fn v1_option(options: &str) -> String {
    let general = ["rw", "ro", "xattr", "noprefix", "cpuset_v2_mode"];
    let named: Vec<&str> = options
        .split(',')
        .filter(|o| !general.contains(o) && !o.starts_with("release_agent="))
        .collect();
    match named.as_slice() {
        [name] if name.starts_with("name=") => format!("none,{name}"),
        _ => named.join(","),
    }
}

fn own_path<'a>(cgroup: &'a str, v1: Option<&str>) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = v1.unwrap_or("").trim_start_matches("none,");
        (controllers == ours).then_some(path)
    })
}

/// Makes the directories of the world `name`.
pub fn create(hierarchies: &[Hierarchy], name: &str) -> Result<()> {
    for hierarchy in hierarchies {
        let dir = hierarchy.world(name);
        fs::create_dir(&dir).map_err(WorldError::file("make cgroup", &dir))?;
        // A new v1 cpuset is empty and takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let from = hierarchy.own.join(file);
            if hierarchy.v1.is_some() && from.exists() {
                let value = fs::read(&from).map_err(WorldError::file("read", &from))?;
                let to = dir.join(file);
                fs::write(&to, value).map_err(WorldError::file("write", &to))?;
            }
        }
    }
    Ok(())
}

/// Moves a process into the world `name`; `0` is the caller. With `leaf` it
/// goes to the leaf of the v2 tree, where all of a world's processes are.
pub fn join(hierarchies: &[Hierarchy], name: &str, pid: u32, leaf: bool) -> Result<()> {
    for hierarchy in hierarchies {
        let mut dir = hierarchy.world(name);
        if leaf && hierarchy.v1.is_none() {
            dir.push(LEAF);
        }
        let procs = dir.join("cgroup.procs");
        fs::write(&procs, pid.to_string()).map_err(WorldError::file("join", &procs))?;
    }
    Ok(())
}

/// Kills what is left in the world `name` and removes its directories.
pub fn remove(hierarchies: &[Hierarchy], name: &str) -> Result<()> {
    for hierarchy in hierarchies {
        // Only v2 has it; v1 processes are the same ones.
        let _ = fs::write(hierarchy.world(name).join("cgroup.kill"), "1");
    }
    for hierarchy in hierarchies {
        let dir = hierarchy.world(name);
        // A killed process leaves its cgroup a moment after its death.
        poll(Duration::from_secs(5), || remove_tree(&dir).ok());
        remove_tree(&dir).map_err(WorldError::file("remove cgroup", &dir))?;
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> std::io::Result<()> {
    for child in subdirs(dir) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The directories directly below `dir`; none when it is not there.
pub fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Removes the empty directories of worlds whose test process is gone: the
/// keeper that would have done it was killed as well.
pub fn sweep(hierarchies: &[Hierarchy]) {
    for hierarchy in hierarchies {
        for dir in subdirs(&hierarchy.own) {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = remove_tree(&dir);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "9:name=systemd:/\n4:cpu,cpuacct:/a/b\n0::/c\n";
        let found = parse(mounts, own);
        let shown: Vec<_> =
            found.iter().map(|h| (h.v1.as_deref(), h.own.to_str().unwrap())).collect();
        assert_eq!(
            shown,
            [
                (None, "/sys/fs/cgroup/unified/c"),
                (Some("cpu,cpuacct"), "/sys/fs/cgroup/cpu/a/b"),
                (Some("none,name=systemd"), "/sys/fs/cgroup/systemd/"),
            ]
        );
    }

    #[test]
    fn own_directory_in_a_bind_of_a_subtree() {
        let mounts = "41 31 0:38 /c /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parse(mounts, "0::/c/d\n")[0].own, Path::new("/sys/fs/cgroup/d"));
    }
}
