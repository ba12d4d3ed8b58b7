use super::*;
use crate::linux::testing::is_root;

#[test]
fn names_stay_below_their_parent() {
    let name = CgroupName::new("/kleene", "173a1a8d848d").unwrap();
    assert_eq!(name.as_path(), Path::new("/kleene/173a1a8d848d"));
    assert!(CgroupName::new("kleene.slice/a@b:c", "x").is_ok());
    for (parent, id) in [
        ("", "x"),
        ("/", "x"),
        ("/a//b", "x"),
        ("/a/../b", "x"),
        ("/a", ".."),
        ("/a", ""),
        ("/a", "b/c"),
        ("/a\n", "x"),
    ] {
        assert!(CgroupName::new(parent, id).is_err(), "{parent:?} {id:?}");
    }
}

#[test]
fn the_mount_table_tells_the_mode() {
    let v1 = "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n";
    let v2 = "41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
    let other = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\nnonsense\n";
    let mode = |table: &str| Tree::from_mountinfo(table).map(|tree| tree.mode());
    assert_eq!(mode(other), None);
    assert_eq!(mode(v1), Some(Mode::V1));
    assert_eq!(mode(&format!("{other}{v2}")), Some(Mode::V2));
    assert_eq!(mode(&format!("{v1}{v2}{other}")), Some(Mode::Hybrid));
    let tree = Tree::from_mountinfo(v2).unwrap();
    let name = CgroupName::new("/a", "b").unwrap();
    assert_eq!(tree.dir(&name).unwrap(), Path::new("/sys/fs/cgroup/unified/a/b"));
}

#[test]
fn what_was_left_in_any_hierarchy_is_found_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for path in [
        "unified/a/kleene/both",
        "memory/a/kleene/both/inside",
        "memory/a/kleene/memory-only",
        "cpu/a/kleene/cpu-only",
        // Another daemon's, and one of the same name elsewhere.
        "memory/b/kleene/other",
        "cpu/kleene/other",
    ] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    std::fs::write(at("cpu/a/kleene/cpu.shares"), "1024").unwrap();
    let v1 = |name: &str| format!("33 31 0:30 / {} rw - cgroup cgroup rw\n", at(name).display());
    let v2 = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", at("unified").display());
    // The last one has nothing of ours at all.
    let v1 = ["memory", "cpu", "pids"].map(v1).concat();
    let found = |table: &str| Tree::from_mountinfo(table).unwrap().containers("/a/kleene").unwrap();
    assert_eq!(found(&v2), ["both".to_owned()].into());
    assert_eq!(found(&v1), ["both", "cpu-only", "memory-only"].map(str::to_owned).into());
    let hybrid = v1 + &v2;
    assert_eq!(found(&hybrid), ["both", "cpu-only", "memory-only"].map(str::to_owned).into());
    let tree = Tree::from_mountinfo(&hybrid).unwrap();
    for id in found(&hybrid) {
        tree.remove(&CgroupName::new("/a/kleene", &id).unwrap(), Duration::ZERO).unwrap();
    }
    // A kernel's files go with their directory; these are of a disk.
    std::fs::remove_file(at("cpu/a/kleene/cpu.shares")).unwrap();
    tree.remove_parent(&CgroupName::new("/a/kleene", "any").unwrap()).unwrap();
    assert!(found(&hybrid).is_empty());
    assert!(
        ["unified/a", "memory/a", "cpu/a"].iter().all(|path| !at(path).join("kleene").exists())
    );
    assert!(at("memory/b/kleene/other").exists() && at("cpu/kleene/other").exists());
}

#[test]
fn a_container_s_processes_are_known_killed_and_its_directories_removed() {
    if !is_root("a_container_s_processes_are_known_killed_and_its_directories_removed") {
        return;
    }
    let tree = Tree::find().unwrap();
    let parent = format!("kleene-test-{}", std::process::id());
    let name = CgroupName::new(&parent, "173a1a8d848d").unwrap();
    let Some(dir) = tree.create(&name).unwrap() else {
        io::Write::write_all(&mut io::stderr(), b"SKIPPED: no cgroup2 tree\n").unwrap();
        return;
    };
    let inner = dir.join("made/inside");
    std::fs::create_dir_all(&inner).unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(inner.join("cgroup.procs"), child.id().to_string()).unwrap();
    assert_eq!(tree.pids(&name).unwrap(), [child.id()]);
    assert!(tree.remove(&name, Duration::ZERO).is_err());
    tree.kill(&name).unwrap();
    assert!(!child.wait().unwrap().success());
    tree.remove(&name, Duration::from_secs(5)).unwrap();
    tree.remove_parent(&name).unwrap();
    assert!(!dir.exists() && !dir.parent().unwrap().exists());
    // All of it again, with nothing there.
    assert!(tree.pids(&name).unwrap().is_empty());
    tree.kill(&name).unwrap();
    tree.remove(&name, Duration::ZERO).unwrap();
    tree.remove_parent(&name).unwrap();
}
