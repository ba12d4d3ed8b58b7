use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

#[test]
fn trees_with_links_and_hostile_names_go_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::write(outside.join("kept"), "").expect("a file");
    let tree = dir.path().join("tree");
    for name in
        ["a/b/c", "a/.lifted-1/x", ".lifted-1", ".lifted-2/y", "new\nline", "-rf", "\\", "ä"]
    {
        std::fs::create_dir_all(tree.join(name)).expect("a directory");
    }
    std::fs::write(tree.join(".lifted-3"), "").expect("a file");
    std::fs::write(tree.join("a/b/c/file"), "").expect("a file");
    symlink(&outside, tree.join("a/out")).expect("a link");
    symlink("/", tree.join("root")).expect("a link");
    symlink("nowhere", tree.join("a/b/dangling")).expect("a link");

    let trash = dir.path().join("trash");
    remove_tree_later(&tree, &trash).expect("moved");
    remove_tree_later(&tree, &trash).expect("nothing to move");
    assert!(!tree.exists());
    // A link as the tree itself: the link goes.
    symlink(&outside, &tree).expect("a link");
    remove_tree_later(&tree, &trash).expect("moved");
    assert_eq!(empty_trash(&trash).expect("emptied"), 2);
    assert_eq!(std::fs::read_dir(&trash).expect("a list").count(), 0);
    assert!(outside.join("kept").exists());
    assert_eq!(empty_trash(&dir.path().join("never")).expect("nothing"), 0);
}

#[test]
fn what_cannot_be_moved_stays_where_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    // A trash within the tree itself.
    let err = remove_tree_later(&tree, &tree.join("trash")).expect_err("refused").to_string();
    assert_eq!(err, format!("cannot move to the trash {}", tree.display()));
    remove_tree_later(&tree, &dir.path().join("trash")).expect("moved");
}

#[test]
fn depth_costs_neither_stack_nor_descriptors() {
    // In memory where possible: some disks take milliseconds a directory.
    let memory = tempfile::tempdir_in("/dev/shm");
    let dir = memory.or_else(|_| tempfile::tempdir()).expect("a directory");
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    let mut fd: OwnedFd = std::fs::File::open(&tree).expect("a directory").into();
    for _ in 0..5000 {
        rustix::fs::mkdirat(&fd, "d", Mode::RWXU).expect("a directory");
        fd = open_directory(fd.as_fd(), OsStr::new("d")).expect("a directory");
    }
    drop(fd);
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists());
}

#[test]
fn copies_are_whole_or_not_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = dir.path().join("from");
    std::fs::create_dir_all(from.join("sub")).expect("a directory");
    std::fs::write(from.join("sub/file"), "content").expect("a file");
    let rights = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(from.join("sub/file"), rights).expect("rights");
    let to = dir.path().join("to");
    copy_tree(&from, &to).expect("copied");
    let meta = std::fs::metadata(to.join("sub/file")).expect("a file");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o4755);
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).expect("a socket");
    copy_tree(&from, &dir.path().join("second")).expect_err("a socket");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a list").count(), 2);
}

#[test]
fn files_of_several_names_are_copied_once() {
    use std::os::unix::fs::MetadataExt as _;

    let dir = tempfile::tempdir().expect("a directory");
    let from = dir.path().join("from");
    std::fs::create_dir_all(from.join("rescue")).expect("a directory");
    std::fs::write(from.join("one"), "many").expect("a file");
    std::fs::set_permissions(from.join("one"), std::fs::Permissions::from_mode(0o4755))
        .expect("a mode");
    for name in ["rescue/two", "rescue/three"] {
        std::fs::hard_link(from.join("one"), from.join(name)).expect("a name");
    }
    // One name of it is elsewhere.
    std::fs::hard_link(from.join("one"), dir.path().join("outside")).expect("a name");
    std::fs::write(from.join("other"), "many").expect("a file");
    let to = dir.path().join("to");
    copy_tree(&from, &to).expect("copied");
    let of = |name: &str| {
        let meta = to.join(name).metadata().expect("a file");
        (meta.ino(), meta.nlink(), meta.mode() & 0o7777)
    };
    assert_eq!([of("rescue/two"), of("rescue/three")], [of("one"); 2]);
    assert_eq!((of("one").1, of("one").2), (3, 0o4755));
    assert_ne!(of("other").0, of("one").0);
    assert_ne!(of("one").0, from.join("one").metadata().expect("a file").ino());
    assert_eq!(std::fs::read_to_string(to.join("rescue/three")).expect("a file"), "many");
}
