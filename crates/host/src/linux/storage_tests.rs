use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::thread::UnshareFlags;

use super::*;
use crate::linux::sys::fs::in_own_namespaces;
use crate::linux::testing::is_root;

#[test]
fn a_written_file_replaces_links_and_leaves_no_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, "mine").unwrap();
    let path = dir.path().join("config.json");
    symlink(&outside, &path).unwrap();
    write_atomically(&path, b"new", 0o640).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "mine");
    assert_eq!(path.symlink_metadata().unwrap().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    // A directory in the way: refused, and nothing is left beside it.
    let taken = dir.path().join("taken");
    std::fs::create_dir_all(taken.join("full")).unwrap();
    let error = write_atomically(&taken, b"new", 0o600).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot put in place {}", taken.display()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn trees_with_links_and_hostile_names_go_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "").unwrap();
    let tree = dir.path().join("tree");
    for name in
        ["a/b/c", "a/.lifted-1/x", ".lifted-1", ".lifted-2/y", "new\nline", "-rf", "\\", "ä"]
    {
        std::fs::create_dir_all(tree.join(name)).unwrap();
    }
    std::fs::write(tree.join("a/b/c/file"), "").unwrap();
    symlink(&outside, tree.join("a/out")).unwrap();
    symlink("/", tree.join("root")).unwrap();
    symlink("nowhere", tree.join("a/b/dangling")).unwrap();
    let name = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff, b'x']);
    std::fs::write(tree.join::<std::ffi::OsString>(name), "").unwrap();

    let trash = dir.path().join("trash");
    remove_tree_later(&tree, &trash).unwrap();
    remove_tree_later(&tree, &trash).unwrap();
    assert!(!tree.exists());
    // A link as the tree itself: the link goes.
    symlink(&outside, &tree).unwrap();
    remove_tree_later(&tree, &trash).unwrap();
    assert_eq!(empty_trash(&trash).unwrap(), 2);
    assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 0);
    assert!(outside.join("kept").exists());
    assert_eq!(empty_trash(&dir.path().join("never")).unwrap(), 0);
}

#[test]
fn depth_costs_neither_stack_nor_descriptors() {
    // In memory where possible: some disks take milliseconds a directory.
    let memory = tempfile::tempdir_in("/dev/shm");
    let dir = memory.or_else(|_| tempfile::tempdir()).unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let mut fd: OwnedFd = File::open(&tree).unwrap().into();
    for _ in 0..5000 {
        rustix::fs::mkdirat(&fd, "d", Mode::RWXU).unwrap();
        fd = open_directory(&fd, c"d").unwrap();
    }
    drop(fd);
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
}

#[test]
fn a_mount_in_the_tree_is_not_crossed() {
    if !is_root("a_mount_in_the_tree_is_not_crossed") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    let tree = dir.path().join("tree");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "").unwrap();
    std::fs::create_dir_all(tree.join("a/mounted")).unwrap();
    in_own_namespaces(UnshareFlags::NEWNS, || {
        rustix::mount::mount_bind(&outside, tree.join("a/mounted"))?;
        assert!(remove_tree(&tree).is_err());
        Ok(())
    })
    .unwrap();
    assert!(outside.join("kept").exists());
    // The twin without the mount goes.
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
}

#[test]
fn copies_keep_modes_and_links_and_come_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    std::fs::create_dir_all(from.join("sub")).unwrap();
    std::fs::set_permissions(from.join("sub"), Permissions::from_mode(0o1777)).unwrap();
    std::fs::write(from.join("sub/set"), "content").unwrap();
    std::fs::set_permissions(from.join("sub/set"), Permissions::from_mode(0o4755)).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    let to = dir.path().join("to");
    copy_tree(&from, &to).unwrap();
    let mode = |path: &str| to.join(path).symlink_metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("sub"), mode("sub/set")), (0o1777, 0o4755));
    assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(std::fs::read_to_string(to.join("sub/set")).unwrap(), "content");

    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
    assert!(copy_tree(&from, &dir.path().join("second")).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
