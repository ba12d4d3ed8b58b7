//! Cgroup directories of ours, on v1, v2 and hybrid hosts.
//!
//! Limits are set by the OCI runtime from `config.json`. Where a v2 tree is
//! mounted (alone, or beside v1 on a hybrid host), each container has a
//! directory in it, which makes all of its processes known and killable at
//! once. On a hybrid host the runtime puts processes into the v1 hierarchies
//! only; our runtime program moves itself into the v2 directory first.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to wait between two attempts to remove a directory: the kernel
/// lets go of a cgroup shortly after its last process has been reaped, and v1
/// has no event for that.
const RETRY: Duration = Duration::from_millis(2);

/// Why a cgroup could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A name that could mean another directory.
    #[error("'{name}' is no cgroup name of ours")]
    Name {
        /// The name.
        name: String,
    },
    /// There are no cgroups.
    #[error("no cgroup file system is mounted")]
    NotMounted,
    /// An operation was refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn during(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::Io { what, path: path.to_owned(), source }
}

/// Which cgroup versions a host has mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

/// The path of a container's cgroup from the root of every hierarchy:
/// `/kleene/<id>`. It is never a hierarchy's root nor outside the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupName {
    parent: PathBuf,
    full: PathBuf,
}

impl CgroupName {
    /// The cgroup of container `id` below `parent` (`/kleene`, `/a/b`).
    ///
    /// # Errors
    /// Parts that are empty, `.`, `..`, or have characters other than letters,
    /// digits, `.`, `_`, `-`, `@`, `:`.
    pub fn new(parent: &str, id: &str) -> Result<Self, CgroupError> {
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-@:".contains(c);
            !part.is_empty() && part != "." && part != ".." && part.chars().all(known)
        };
        let parts = parent.strip_prefix('/').unwrap_or(parent);
        if !parts.split('/').all(plain) || !plain(id) {
            return Err(CgroupError::Name { name: format!("{parent}/{id}") });
        }
        let parent = Path::new("/").join(parts);
        Ok(Self { full: parent.join(id), parent })
    }

    /// The path, as `linux.cgroupsPath` has it.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.full
    }
}

/// The cgroup file systems of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    v1: Vec<PathBuf>,
    v2: Option<PathBuf>,
}

impl Tree {
    /// Looks them up in the mount table.
    ///
    /// # Errors
    /// No cgroups, or no mount table.
    pub fn find() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let table = std::fs::read_to_string(path).map_err(during("read", path))?;
        Self::from_mountinfo(&table).ok_or(CgroupError::NotMounted)
    }

    /// `36 35 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`.
    fn from_mountinfo(table: &str) -> Option<Self> {
        let mut tree = Self { v1: Vec::new(), v2: None };
        for line in table.lines() {
            let Some((mount, fs)) = line.split_once(" - ") else { continue };
            let Some(point) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
            match fs.split(' ').next() {
                Some("cgroup") => tree.v1.push(point),
                // Mounted again elsewhere, it is the same tree.
                Some("cgroup2") if tree.v2.is_none() => tree.v2 = Some(point),
                _ => {}
            }
        }
        (!tree.v1.is_empty() || tree.v2.is_some()).then_some(tree)
    }

    /// Which versions there are.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.v1.is_empty(), &self.v2) {
            (true, _) => Mode::V2,
            (false, None) => Mode::V1,
            (false, Some(_)) => Mode::Hybrid,
        }
    }

    /// Where version 2 is mounted.
    #[must_use]
    pub fn v2(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// The roots of all hierarchies, v2 first.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v2.iter().chain(&self.v1).map(PathBuf::as_path)
    }

    /// The container's directory in the v2 tree, where there is one.
    #[must_use]
    pub fn dir(&self, name: &CgroupName) -> Option<PathBuf> {
        self.v2.as_ref().map(|root| below(root, &name.full))
    }

    /// Makes the container's v2 directory and gives it; `None` on a host
    /// without v2.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(&self, name: &CgroupName) -> Result<Option<PathBuf>, CgroupError> {
        let Some(dir) = self.dir(name) else { return Ok(None) };
        std::fs::create_dir_all(&dir).map_err(during("make the cgroup", &dir))?;
        Ok(Some(dir))
    }

    /// The processes in the container's v2 directory and below; none where
    /// there is no such directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pids(&self, name: &CgroupName) -> Result<Vec<u32>, CgroupError> {
        let mut pids = Vec::new();
        for dir in self.dir(name).map(|dir| subtree(&dir)).transpose()?.into_iter().flatten() {
            let path = dir.join("cgroup.procs");
            match std::fs::read_to_string(&path) {
                Ok(text) => pids.extend(text.lines().filter_map(|pid| pid.parse::<u32>().ok())),
                Err(e) if is_gone(&e) => {}
                Err(e) => return Err(during("read", &path)(e)),
            }
        }
        Ok(pids)
    }

    /// Kills every process in the container's v2 directory and below
    /// (`cgroup.kill`, Linux 5.14). Nothing there is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(&self, name: &CgroupName) -> Result<(), CgroupError> {
        let Some(dir) = self.dir(name).filter(|dir| dir.is_dir()) else { return Ok(()) };
        let path = dir.join("cgroup.kill");
        match std::fs::write(&path, "1") {
            Err(e) if is_gone(&e) && !dir.exists() => Ok(()),
            written => written.map_err(during("write", &path)),
        }
    }

    /// The containers that have a directory below `parent` (`/kleene`) in any
    /// hierarchy: on a v1 or hybrid host one that was left behind may be in
    /// some of them only.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn containers(&self, parent: &str) -> Result<BTreeSet<String>, CgroupError> {
        let mut found = BTreeSet::new();
        for dir in self.roots().map(|root| below(root, Path::new(parent))) {
            let entries = match std::fs::read_dir(&dir) {
                Err(e) if is_gone(&e) => continue,
                entries => entries.map_err(during("list", &dir))?,
            };
            for entry in entries {
                let entry = entry.map_err(during("list", &dir))?;
                if entry.file_type().map_err(during("list", &dir))?.is_dir() {
                    found.insert(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        Ok(found)
    }

    /// Removes the container's directories in all hierarchies, with those that
    /// it made below. Waits up to `limit` for the kernel to let go of its last
    /// processes.
    ///
    /// # Errors
    /// What the kernel says; `EBUSY` when processes are still there.
    pub fn remove(&self, name: &CgroupName, limit: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + limit;
        self.roots().try_for_each(|root| remove(&below(root, &name.full), deadline))
    }

    /// Removes the parent that containers share, in all hierarchies, where it
    /// has become empty.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_parent(&self, name: &CgroupName) -> Result<(), CgroupError> {
        self.roots().try_for_each(|root| {
            let dir = below(root, &name.parent);
            match std::fs::remove_dir(&dir) {
                Err(e) if is_gone(&e) || e.kind() == io::ErrorKind::ResourceBusy => Ok(()),
                removed => removed.map_err(during("remove the cgroup", &dir)),
            }
        })
    }
}

fn below(root: &Path, name: &Path) -> PathBuf {
    root.join(name.strip_prefix("/").unwrap_or(name))
}

/// The file is not there, or its cgroup went while it was open.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// A cgroup and all below it, each after its parent.
fn subtree(top: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next).cloned() {
        next += 1;
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if is_gone(&e) => continue,
            entries => entries.map_err(during("list", &dir))?,
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn remove(top: &Path, deadline: Instant) -> Result<(), CgroupError> {
    loop {
        let dirs = subtree(top)?;
        // Only directories: the files of a cgroup go with it.
        let failed = dirs.iter().rev().find_map(|dir| match std::fs::remove_dir(dir) {
            Err(e) if !is_gone(&e) => Some((dir, e)),
            _ => None,
        });
        match failed {
            None => return Ok(()),
            Some((_, e))
                if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(RETRY);
            }
            Some((dir, e)) => return Err(during("remove the cgroup", dir)(e)),
        }
    }
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
