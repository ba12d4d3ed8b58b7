//! The cgroup v2 directory on hosts that have both versions.
//!
//! There libcontainer uses version 1 and leaves the container in its caller's
//! v2 directory. So the runtime goes into the container's own first: what
//! finds or kills processes by v2 directory then finds them, whichever host.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::RuntimeError;

/// Moves this process into the container's v2 directory, if this is a hybrid
/// host and the container has a path.
pub(super) fn enter(cgroups_path: Option<&Path>) -> Result<(), RuntimeError> {
    let Some(path) = cgroups_path else { return Ok(()) };
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|source| RuntimeError::Io {
        step: "read",
        subject: "/proc/self/mountinfo".to_owned(),
        source,
    })?;
    let Some(mount) = hybrid_mount(&mounts) else { return Ok(()) };
    let dir = mount.join(path.strip_prefix("/").unwrap_or(path));
    let fail = |step| {
        let subject = dir.display().to_string();
        move |source| RuntimeError::Io { step, subject, source }
    };
    fs::create_dir_all(&dir).map_err(fail("make the cgroup"))?;
    fs::write(dir.join("cgroup.procs"), "0").map_err(fail("enter the cgroup"))
}

/// Where version 2 is mounted, when version 1 is there, too.
fn hybrid_mount(mountinfo: &str) -> Option<PathBuf> {
    let mut second = None;
    let mut first = false;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        match right.split(' ').next() {
            Some("cgroup") => first = true,
            Some("cgroup2") => second = left.split(' ').nth(4).map(PathBuf::from),
            _ => {}
        }
    }
    second.filter(|_| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 24 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n";
    const V2: &str = "32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn only_hybrid_hosts_are_hybrid() {
        assert_eq!(
            hybrid_mount(&format!("{V1}{V2}noise\n")),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(hybrid_mount(V1), None);
        assert_eq!(hybrid_mount(V2), None);
        assert_eq!(hybrid_mount(""), None);
    }
}
