use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::freebsd::testing::Scripted;

/// A container's root, as the kernel's list has it.
struct Rig {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        std::fs::create_dir(&root).expect("a root");
        let root = root.canonicalize().expect("a path");
        Self { dir, root }
    }

    fn make(&self, path: &str) -> &Self {
        std::fs::create_dir_all(self.root.join(path)).expect("a directory");
        self
    }

    /// A list of mounts: source, target below the root, kind.
    fn list(&self, mounts: &[(&str, &str)]) -> String {
        let root = self.root.display();
        let lines = mounts.iter().map(|(s, t)| format!("{s}\t\t\t{root}/{t} nullfs\tro\t\t0 0\n"));
        std::iter::once("/dev/vtbd0p2\t\t/\t\t\tufs\trw\t\t1 1\n".to_owned()).chain(lines).collect()
    }

    fn mounts(&self, command: &str) -> String {
        command.replace("ROOT", &self.root.display().to_string())
    }

    fn bind(&self, name: &str, destination: &str, read_only: bool) -> Bind {
        let source = self.dir.path().join(name);
        Bind::new(source.to_str().expect("a path"), destination, read_only).expect("a bind")
    }
}

fn of(what: FileSystem, destination: &str) -> Mount {
    Mount { what, destination: destination.into() }
}

fn nullfs(source: &str, destination: &str) -> Mount {
    let what = FileSystem::Nullfs { source: source.into(), read_only: true };
    of(what, destination)
}

#[test]
fn every_kind_has_its_words() {
    let rig = Rig::new();
    std::fs::create_dir(rig.dir.path().join("data")).expect("a directory");
    let data = rig.dir.path().join("data").display().to_string();
    let show = "100 hide\n200 path null unhide\n";
    let tools = Scripted::new()
        .expect(&rig.mounts("mount_nullfs -o ro /bin ROOT/bin"))
        .says("devfs rule -s 11 show", show)
        .expect(&rig.mounts("mount -t devfs -o ruleset=11 devfs ROOT/dev"))
        .expect(&rig.mounts("mount -t tmpfs -o size=1048576,mode=1777 tmpfs ROOT/tmp"))
        .expect(&rig.mounts(&format!("mount_nullfs {data} ROOT/srv/data")));
    let mounts = [
        nullfs("/bin", "/bin"),
        of(FileSystem::Devfs { ruleset: Ruleset::Given(11) }, "/dev"),
        of(FileSystem::Tmpfs { size: 1 << 20, mode: 0o1777 }, "/tmp"),
    ];
    prepare(&tools, &rig.root, &mounts, &[rig.bind("data", "/srv/data", false)]).expect("mounted");
    assert!(rig.root.join("srv/data").is_dir());
}

#[test]
fn links_of_the_container_lead_nowhere_else() {
    let rig = Rig::new();
    rig.make("real/deep").make("a");
    let outside = rig.dir.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    symlink("/real", rig.root.join("absolute")).expect("a link");
    symlink("../../../../real/./deep/..", rig.root.join("a/up")).expect("a link");
    symlink("/../../..", rig.root.join("top")).expect("a link");
    let tools = Scripted::new()
        .expect(&rig.mounts("mount_nullfs -o ro /bin ROOT/real/deep"))
        .expect(&rig.mounts("mount_nullfs -o ro /lib ROOT/real/new"))
        .expect(&rig.mounts("mount_nullfs -o ro /sbin ROOT/a/x"));
    let mounts = [
        nullfs("/bin", "/absolute/deep"),
        nullfs("/lib", "/a/up/new"),
        nullfs("/sbin", "/top/a/x"),
    ];
    prepare(&tools, &rig.root, &mounts, &[]).expect("mounted");
    assert_eq!(std::fs::read_dir(&outside).expect("a list").count(), 0);
    // What leads out by name, to nowhere, or round.
    symlink(&outside, rig.root.join("out")).expect("a link");
    symlink("round", rig.root.join("round")).expect("a link");
    std::fs::write(rig.root.join("file"), "").expect("a file");
    for (destination, why) in
        [("/out/x", "No such file"), ("/round", "symbolic links"), ("/file/x", "Not a directory")]
    {
        let tools = Scripted::new();
        let err = prepare(&tools, &rig.root, &[nullfs("/bin", destination)], &[]);
        let err = err.expect_err(destination).to_string();
        let text = format!("could not create destination file: {destination}: ");
        assert!(err.starts_with(&text) && err.contains(why), "{err}");
    }
    assert_eq!(std::fs::read_dir(&outside).expect("a list").count(), 0);
}

#[test]
fn a_place_of_the_engine_is_reached_by_no_link() {
    let rig = Rig::new();
    rig.make("dev").make("data");
    symlink("dev", rig.root.join("to-dev")).expect("a link");
    std::fs::create_dir(rig.dir.path().join("d")).expect("a directory");
    let source = rig.dir.path().join("d").display().to_string();
    // Reserved only where the system is FreeBSD: asked of the path itself there.
    let refused = check_reserved(Path::new("/dev")).expect_err("reserved").to_string();
    assert_eq!(refused, "nothing can be mounted at '/dev' in a container");
    let tools = Scripted::new();
    let err = prepare(&tools, &rig.root, &[], &[rig.bind("d", "/to-dev/x", true)]);
    assert_eq!(
        err.expect_err("reserved").to_string(),
        "nothing can be mounted at '/dev/x' in a container"
    );
    let tools =
        Scripted::new().expect(&rig.mounts(&format!("mount_nullfs -o ro {source} ROOT/data")));
    prepare(&tools, &rig.root, &[], &[rig.bind("d", "/data", true)]).expect("mounted");
}

#[test]
fn files_are_copied_and_never_mounted() {
    let rig = Rig::new();
    rig.make("etc");
    let source = rig.dir.path().join("conf");
    std::fs::write(&source, "one").expect("a file");
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o4640)).expect("rights");
    // What the container had there, a link to the host's, is replaced.
    let host = rig.dir.path().join("host");
    std::fs::write(&host, "host").expect("a file");
    symlink("/etc/conf", rig.root.join("conf")).expect("a link");
    symlink(&host, rig.root.join("etc/other")).expect("a link");
    std::fs::write(rig.root.join("etc/conf"), "the container's").expect("a file");
    for text in ["one", "two"] {
        std::fs::write(&source, text).expect("a file");
        prepare(&Scripted::new(), &rig.root, &[], &[rig.bind("conf", "/conf", true)])
            .expect("copied");
        let copy = rig.root.join("etc/conf");
        assert_eq!(std::fs::read_to_string(&copy).expect("a copy"), text);
        let mode = std::fs::symlink_metadata(&copy).expect("a copy").permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }
    assert_eq!(std::fs::read_dir(rig.root.join("etc")).expect("a list").count(), 2);
    let other = prepare(&Scripted::new(), &rig.root, &[], &[rig.bind("conf", "/etc/other", true)]);
    let other = other.expect_err("a link that leads out").to_string();
    assert!(other.starts_with("could not create destination file: /etc/other:"), "{other}");
    let err = prepare(&Scripted::new(), &rig.root, &[], &[rig.bind("conf", "/conf", false)]);
    let err = err.expect_err("for writing").to_string();
    assert!(err.contains("cannot be mounted for writing on FreeBSD"), "{err}");
    let file = std::fs::File::create(&source).expect("a file");
    file.set_len(LARGEST_FILE + 1).expect("a size");
    let err = prepare(&Scripted::new(), &rig.root, &[], &[rig.bind("conf", "/conf", true)]);
    assert!(matches!(err, Err(MountsError::Copy { .. })), "{err:?}");
    assert_eq!(std::fs::read_to_string(host).expect("the host's"), "host");
}

#[test]
fn what_is_mounted_goes_from_the_deepest_also_when_piled_up() {
    let rig = Rig::new();
    rig.make("dev").make("a/b");
    let mounted =
        rig.list(&[("devfs", "dev"), ("/x", "a"), ("devfs", "dev"), ("/y", "a/b"), ("/z", "c")]);
    let tools = Scripted::new()
        .says("mount -p", &mounted)
        .expect(&rig.mounts("umount ROOT/a/b"))
        .expect(&rig.mounts("umount ROOT/c"))
        .expect(&rig.mounts("umount ROOT/dev"))
        .expect(&rig.mounts("umount ROOT/a"))
        .expect(&rig.mounts("umount ROOT/dev"))
        .says("mount -p", &rig.list(&[]));
    clear(&tools, &rig.root).expect("cleared");
    // Of another container whose id begins alike nothing is touched.
    let other = format!("/x {}2/dev devfs rw 0 0\n", rig.root.display());
    clear(&Scripted::new().says("mount -p", &other), &rig.root).expect("nothing to do");
    clear(&Scripted::new(), &rig.root.join("gone")).expect("nothing is there");
    // As it is recorded where there is no /etc/fstab.
    let complaint = "fstab: /etc/fstab:0: No such file or directory\n";
    let tools = Scripted::new().answer("mount -p", 0, &rig.list(&[]), complaint);
    clear(&tools, &rig.root).expect("nothing to do");
}

#[test]
fn what_stays_is_named_with_the_reason_after_all_others_were_tried() {
    let rig = Rig::new();
    rig.make("a").make("b");
    let busy = rig.mounts("umount: unmount of ROOT/b failed: Device busy\n");
    let tools = Scripted::new()
        .says("mount -p", &rig.list(&[("/x", "a"), ("/y", "b")]))
        .refuses(&rig.mounts("umount ROOT/b"), &busy)
        .expect(&rig.mounts("umount ROOT/a"));
    let err = clear(&tools, &rig.root).expect_err("busy");
    assert_eq!(err.to_string(), rig.mounts("cannot unmount ROOT/b"));
    let said = std::error::Error::source(&err).expect("a reason").to_string();
    assert!(said.contains("Device busy"), "{said}");
    // Somebody else was quicker: recorded words, and no error.
    let gone = rig.mounts("umount: ROOT/a: not a file system root directory\n");
    let tools = Scripted::new()
        .says("mount -p", &rig.list(&[("/x", "a")]))
        .refuses(&rig.mounts("umount ROOT/a"), &gone)
        .says("mount -p", &rig.list(&[]));
    clear(&tools, &rig.root).expect("gone");
    let tools = Scripted::new()
        .says("mount -p", &rig.list(&[("/x", "a")]))
        .expect(&rig.mounts("umount ROOT/a"))
        .says("mount -p", &rig.list(&[("/x", "a")]));
    let err = clear(&tools, &rig.root).expect_err("stays").to_string();
    assert_eq!(err, rig.mounts("ROOT/a is still mounted after it was unmounted"));
}

#[test]
fn a_link_put_in_the_place_of_a_mount_does_not_lead_umount_out() {
    let rig = Rig::new();
    let home = rig.dir.path().join("home");
    std::fs::create_dir(&home).expect("a directory");
    symlink(rig.dir.path(), rig.root.join("moved")).expect("a link");
    // Two at one place: umount would follow the path.
    let twice = rig.list(&[("/x", "moved/home"), ("/y", "moved/home")]);
    let err = clear(&Scripted::new().says("mount -p", &twice), &rig.root).expect_err("refused");
    assert!(matches!(err, MountsError::Moved { .. }), "{err}");
    // One: it takes what the kernel's list has.
    let tools = Scripted::new()
        .says("mount -p", &rig.list(&[("/x", "moved/home")]))
        .expect(&rig.mounts("umount ROOT/moved/home"))
        .says("mount -p", &rig.list(&[]));
    clear(&tools, &rig.root).expect("cleared");
}

#[test]
fn paths_that_could_not_be_found_again_are_refused() {
    let rig = Rig::new();
    for bad in ["/a b", "/a\tb", "/a\nb"] {
        let err = prepare(&Scripted::new(), &rig.root, &[nullfs("/bin", bad)], &[]);
        assert!(err.expect_err(bad).to_string().contains("cannot be found again"), "{bad:?}");
    }
    // Sources may have them.
    let tools = Scripted::new().expect(&rig.mounts("mount_nullfs -o ro '/a b' ROOT/x"));
    prepare(&tools, &rig.root, &[nullfs("/a b", "/x")], &[]).expect("mounted");
}

#[test]
fn a_refused_mount_is_named_with_what_was_said() {
    let rig = Rig::new();
    let words = "mount_nullfs: /nosuch: No such file or directory\n";
    let call = rig.mounts("mount_nullfs -o ro /nosuch ROOT/x");
    let tools = Scripted::new().refuses(&call, words);
    let err = prepare(&tools, &rig.root, &[nullfs("/nosuch", "/x")], &[]).expect_err("refused");
    assert_eq!(err.to_string(), rig.mounts("cannot mount /nosuch at ROOT/x"));
    // Devices with a ruleset that nobody has defined are not mounted at all.
    let devices = of(FileSystem::Devfs { ruleset: Ruleset::Given(99) }, "/dev");
    let tools = Scripted::new().expect("devfs rule -s 99 show");
    let err = prepare(&tools, &rig.root, &[devices], &[]).expect_err("refused").to_string();
    assert!(err.starts_with("there is no ruleset 99"), "{err}");
}
