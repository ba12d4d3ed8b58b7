use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

/// A root beside directories of the same names, which no link may reach.
struct Rig {
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["root", "a", "b"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn place(&self, path: &str, kind: SourceKind) -> Result<PathBuf, Errno> {
        Root::open(&self.root())?.place(Path::new(path), kind).map(|place| place.path)
    }

    /// Whether nothing is in the directories beside the root.
    fn untouched(&self) -> bool {
        ["a", "b"].iter().all(|name| {
            let list = std::fs::read_dir(self.dir.path().join(name)).expect("a list");
            list.count() == 0
        })
    }
}

#[test]
fn a_root_that_is_a_link_is_not_opened() {
    let rig = Rig::new();
    symlink(rig.root(), rig.dir.path().join("link")).expect("a link");
    let err = Root::open(&rig.dir.path().join("link")).err().expect("a link");
    assert!(is_link(err), "{err}");
    assert!(Root::open(&rig.root()).is_ok());
}

#[test]
fn what_comes_after_a_step_up_in_a_link_is_below_the_root() {
    let rig = Rig::new();
    std::fs::create_dir_all(rig.root().join("x/y")).expect("a directory");
    std::fs::create_dir(rig.root().join("a")).expect("a directory");
    symlink("x/y/../../../../a", rig.root().join("l")).expect("a link");
    assert_eq!(rig.place("/l/new", SourceKind::Directory), Ok(PathBuf::from("/a/new")));
    assert!(rig.root().join("a/new").is_dir() && rig.untouched());
    // By name nobody may step up.
    assert_eq!(rig.place("/x/../a", SourceKind::Directory), Err(Errno::INVAL));
}

#[test]
fn files_and_directories_are_told_apart() {
    let rig = Rig::new();
    std::fs::write(rig.root().join("file"), "").expect("a file");
    std::fs::create_dir(rig.root().join("dir")).expect("a directory");
    assert_eq!(rig.place("/dir", SourceKind::File), Err(Errno::ISDIR));
    assert_eq!(rig.place("/file", SourceKind::Directory), Err(Errno::NOTDIR));
    assert_eq!(rig.place("/file", SourceKind::File), Ok(PathBuf::from("/file")));
    // A file is found, and is not made before it is put.
    assert_eq!(rig.place("/n/new", SourceKind::File), Ok(PathBuf::from("/n/new")));
    assert!(rig.root().join("n").is_dir() && !rig.root().join("n/new").exists());
    let root = Root::open(&rig.root()).expect("a root");
    assert!(root.is_straight(Path::new("n")) && root.is_straight(Path::new("/")));
    assert!(!root.is_straight(Path::new("file")) && !root.is_straight(Path::new("none")));
}

/// A path of a link or a question: of `a`, `b`, `..` and nothing, from the root or not.
#[cfg(target_os = "linux")]
fn paths() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just(".."), 1 => Just(".")];
    (any::<bool>(), proptest::collection::vec(part, 1..5)).prop_map(|(absolute, parts)| {
        let path = parts.join("/");
        if absolute { format!("/{path}") } else { path }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Linux knows what is below a root: it must say the same.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_finds_the_same_place(
        links in proptest::collection::vec(("(a|b)(/(a|b)){0,2}", paths()), 0..6),
        directories in proptest::collection::vec("(a|b)(/(a|b)){0,3}", 0..6),
        question in "(/(a|b)){1,4}",
    ) {
        use crate::linux::in_root::open_in_root;
        use rustix::fs::ResolveFlags;
        use std::os::fd::AsRawFd as _;

        let rig = Rig::new();
        let top = rig.root();
        for (at, target) in &links {
            // Some have another in their place already, or a link above them.
            if let Some(parent) = Path::new(at).parent()
                && Root::open(&top).expect("a root").place(parent, SourceKind::Directory).is_ok()
                && Root::open(&top).expect("a root").is_straight(parent)
            {
                let _ = symlink(target, top.join(at));
            }
        }
        for directory in &directories {
            let _ = rig.place(directory, SourceKind::Directory);
        }
        prop_assert!(rig.untouched());
        let root = open(&top, DIRECTORY, Mode::empty()).expect("a root");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let found = open_in_root(&root, question.as_ref(), flags, ResolveFlags::empty());
        let ours = rig.place(&question, SourceKind::Directory);
        prop_assert!(rig.untouched());
        match found {
            Ok(fd) => {
                let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
                let full = std::fs::read_link(link).expect("a path");
                let below = full.strip_prefix(top.canonicalize().expect("a path"));
                let theirs = Path::new("/").join(below.expect("below the root"));
                // The kernel follows eight more.
                prop_assert!(ours == Ok(theirs) || ours == Err(Errno::LOOP), "{ours:?}");
            }
            // Made here, or a link that leads nowhere.
            Err(Errno::NOENT) => prop_assert!(ours.is_ok() || ours == Err(Errno::NOENT)),
            Err(errno) => prop_assert_eq!(ours, Err(errno)),
        }
    }
}
