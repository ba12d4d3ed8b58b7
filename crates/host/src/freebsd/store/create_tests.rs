use std::cell::RefCell;
use std::path::PathBuf;

use kleene_engine::host::chain;
use kleene_model::{ContainerId, InstanceName};

use super::*;
use crate::freebsd::run::{Call, Tool};
use crate::freebsd::simulated::{Fault, Simulated};
use crate::freebsd::testing::Scripted;

const URL: &str = "https://host.example/base.txz";
const BASE: [&str; 5] = ["bin/", "bin/sh", "etc/", "etc/rc", "var/run -> /var/other"];
const ZFS: [bool; 2] = [false, true];

fn image() -> ImageId {
    ImageId::parse("1a0000000001").expect("an id")
}

fn container() -> ContainerId {
    ContainerId::parse("c00000000001").expect("an id")
}

fn given() -> Given {
    Given { resolv_conf: true, localtime: false }
}

/// A host with a store.
struct Rig {
    _dir: tempfile::TempDir,
    root: PathBuf,
    host: Simulated,
    store: Store,
}

impl Rig {
    fn new(zfs: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a path");
        let host = Simulated::new();
        if zfs {
            host.mount_dataset("pool/k", &root);
        }
        host.serve_archive(URL, &BASE);
        let store = Self::open(&host, &root);
        assert_eq!(store.dataset().is_some(), zfs);
        Self { _dir: dir, root, host, store }
    }

    fn open(host: &Simulated, root: &Path) -> Store {
        let instance = InstanceName::parse("main").expect("a name");
        Store::open(host, root, &instance).expect("opened")
    }

    fn create(&self, url: &str) -> (Result<(), StoreError>, Vec<String>) {
        let said = RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        let method = Method::Fetch(Url::parse(url).expect("an address"));
        let done = self.store.create_image(&self.host, image(), &method, given(), &say);
        (done, said.take())
    }

    /// Nothing of an image is to be seen, nor of what was fetched for it.
    fn has_nothing(&self) {
        assert_eq!(self.store.images(&self.host).expect("listed"), [].into());
        assert_eq!(self.names("downloads"), [""; 0]);
        if self.store.dataset().is_none() {
            assert_eq!(self.names("layers"), [""; 0]);
        }
        let err = self.store.create_container(&self.host, image(), container());
        assert!(matches!(err, Err(StoreError::NoImage { .. })), "{err:?}");
    }

    fn names(&self, dir: &str) -> Vec<String> {
        super::super::list(&self.root.join(dir)).expect("listed")
    }
}

#[test]
fn an_archive_becomes_an_image_of_which_containers_are_made() {
    for zfs in ZFS {
        let rig = Rig::new(zfs);
        let (done, said) = rig.create(URL);
        done.expect("made");
        let expected = [
            "Succesfully fetched base system.",
            "Unpacking contents and creating image...",
            "Succesfully extracted binaries, creating image...",
        ];
        assert_eq!(said, expected);
        assert_eq!(rig.store.images(&rig.host).expect("listed"), [image()].into());
        assert_eq!(rig.names("downloads"), [""; 0]);
        let dir = rig.store.image_dir(image());
        assert!(dir.join("bin/sh").is_file() && dir.join("etc/resolv.conf").is_file());
        let name = if zfs { "pool/k/layers/1a0000000001" } else { "" };
        assert_eq!(rig.store.dataset_of(image()), name);
        // At each start of a container; it changes nothing from the second on.
        rig.store.create_container(&rig.host, image(), container()).expect("made");
        rig.store.create_container(&rig.host, image(), container()).expect("there");
        assert_eq!(rig.store.containers(&rig.host).expect("listed"), [container()]);
        // Once more, and it is as it was.
        let (again, _) = rig.create(URL);
        assert_eq!(
            again.expect_err("there").to_string(),
            "the image 1a0000000001 is there already"
        );
        assert_eq!(rig.store.images(&rig.host).expect("listed"), [image()].into());
        // Nothing of it is half: the next daemon leaves it.
        let store = Rig::open(&rig.host, &rig.root);
        assert_eq!(store.images(&rig.host).expect("listed"), [image()].into());
        store.remove_container(&rig.host, container()).expect("removed");
        store.remove_image(&rig.host, image()).expect("removed");
        assert_eq!(store.empty_trash(&rig.host).expect("emptied"), 2);
    }
}

#[test]
fn whatever_fails_leaves_nothing_and_is_told() {
    for zfs in ZFS {
        for fault in [Fault::Refused, Fault::RefusedAfterwards] {
            let mut steps = Vec::new();
            for n in 1.. {
                let rig = Rig::new(zfs);
                let before = rig.host.calls();
                rig.host.fail_at(n, fault.clone());
                let (done, _) = rig.create(URL);
                rig.host.fail_no_more();
                let Err(err) = done else { break };
                let log = rig.host.log();
                let call = &log[usize::try_from(before + n - 1).expect("small")];
                let text = chain(&err);
                assert!(text.contains(&format!("'{call}' ended with status 1")), "{text}");
                assert!(text.ends_with(&format!("{}: simulated failure", call.tool)), "{text}");
                steps.push(call.tool);
                rig.has_nothing();
                // What went into the trash is ours to delete.
                rig.store.empty_trash(&rig.host).expect("emptied");
                assert!(!rig.root.join("downloads/1a0000000001").exists());
            }
            let expected: &[Tool] = match zfs {
                true => &[Tool::Zfs, Tool::Fetch, Tool::Zfs, Tool::Tar, Tool::Zfs],
                false => &[Tool::Fetch, Tool::Tar],
            };
            assert_eq!(steps, expected, "{fault:?}");
        }
    }
}

#[test]
fn what_is_no_root_is_refused() {
    const OTHER: &str = "file:///other.txz";
    let unpack = format!("cannot unpack what {OTHER} gave: ");
    let no_root = format!("what {OTHER} gave is no root of a system, ");
    for zfs in ZFS {
        for (things, begins, says) in [
            (&[][..], &no_root, "it is empty"),
            (&["base-13.2/bin/sh"], &no_root, "neither bin, etc, sbin nor usr"),
            (&["bin -> /bin", "usr -> /usr"], &no_root, "neither"),
            (&["bin/sh", "../../escaped"], &unpack, "Path contains '..'"),
            (&["bin/sh", "out -> /tmp", "out/escaped"], &unpack, "Cannot extract through symlink"),
        ] {
            let rig = Rig::new(zfs);
            rig.host.serve_archive(OTHER, things);
            let (done, _) = rig.create(OTHER);
            let text = chain(&done.expect_err("refused"));
            assert!(text.starts_with(&**begins) && text.contains(says), "{text}");
            assert!(!rig.root.join("escaped").exists() && !rig.root.join("../escaped").exists());
            rig.has_nothing();
        }
        let rig = Rig::new(zfs);
        rig.host.serve(OTHER, "<html>");
        let text = chain(&rig.create(OTHER).0.expect_err("refused"));
        assert!(
            text.ends_with("tar: Error opening archive: Unrecognized archive format"),
            "{text}"
        );
        rig.has_nothing();
        let text = chain(&rig.create("file:///none.txz").0.expect_err("refused"));
        assert!(text.starts_with("cannot fetch file:///none.txz: 'fetch -q -o "), "{text}");
        assert!(text.ends_with("fetch: file:///none.txz: Not Found"), "{text}");
        rig.has_nothing();
        // The twin of them all: absolute paths lie below the root.
        let hosts = tempfile::tempdir().expect("a directory");
        let link = format!("etc -> {}", hosts.path().display());
        rig.host.serve_archive(OTHER, &["/usr/bin/env", &link]);
        rig.create(OTHER).0.expect("made");
        let dir = rig.store.image_dir(image());
        assert!(dir.join("usr/bin/env").is_file() && dir.join("etc").is_symlink());
        let written = std::fs::read_dir(hosts.path()).expect("a directory").count();
        assert_eq!(written, 0, "the host's etc was not written through it");
    }
}

#[test]
fn tools_are_told_the_forms_and_no_two_the_same_file() {
    let rig = Rig::new(false);
    let work = rig.root.join("downloads/1a0000000001");
    let (file, root) = (work.join("archive"), work.join("root"));
    let tools = Scripted::new().expect(&format!("fetch -q -o {} {URL}", file.display())).refuses(
        &format!("tar -x -p -f {} -C {} --no-fflags", file.display(), root.display()),
        "tar: no\n",
    );
    let method = Method::Fetch(Url::parse(URL).expect("an address"));
    let quiet = |_: &str| {};
    let done = rig.store.create_image(&tools, image(), &method, given(), &quiet);
    assert!(chain(&done.expect_err("refused")).ends_with("status 1: tar: no"));
    rig.has_nothing();
    // While the same is being made.
    std::fs::create_dir(&work).expect("a directory");
    let (done, _) = rig.create(URL);
    let text = chain(&done.expect_err("at work"));
    assert!(text.starts_with("cannot make the directory "), "{text}");
    assert!(work.is_dir());
}

#[test]
fn datasets_are_copied_and_cloned_or_nothing_is_left() {
    let base = Dataset::parse("pool/base").expect("a dataset");
    for method in [Method::ZfsCopy(base.clone()), Method::ZfsClone(base)] {
        let mut failed = 0;
        for n in 1.. {
            let rig = Rig::new(true);
            let words = ["create", "pool/base"];
            assert_eq!(rig.host.somebody(&Call::new(Tool::Zfs, words)).status, 0);
            // As it is where a dataset is mounted.
            std::fs::create_dir_all(rig.store.image_dir(image()).join("etc")).expect("etc");
            rig.host.fail_at(n, Fault::Refused);
            let quiet = |_: &str| {};
            let done = rig.store.create_image(&rig.host, image(), &method, given(), &quiet);
            rig.host.fail_no_more();
            match done {
                Ok(()) => {
                    assert_eq!(rig.store.images(&rig.host).expect("listed"), [image()].into());
                    break;
                }
                Err(err) => {
                    assert!(chain(&err).contains("zfs: simulated failure"), "{}", chain(&err));
                    failed += 1;
                }
            }
            assert_eq!(rig.store.images(&rig.host).expect("listed"), [].into(), "{n}");
            // With the trash goes what the clone stood on.
            rig.store.empty_trash(&rig.host).expect("emptied");
            let words = ["list", "-H", "-t", "snapshot", "-o", "name"];
            assert_eq!(rig.host.somebody(&Call::new(Tool::Zfs, words)).stdout, "", "{n}");
        }
        assert!(failed >= 4, "{failed}");
    }
}

#[test]
fn what_a_copy_cannot_hold_is_found_and_links_are_not_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("a/b")).expect("directories");
    std::os::unix::fs::symlink("/dev", dir.path().join("a/dev")).expect("a link");
    std::fs::write(dir.path().join("a/file"), "").expect("a file");
    assert_eq!(special(dir.path()).expect("looked"), None);
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("a/b/s")).expect("bound");
    assert_eq!(special(dir.path()).expect("looked"), Some(PathBuf::from("a/b/s")));
}
