use std::os::unix::fs::symlink;

use super::*;
use crate::freebsd::testing::Scripted;

fn instance() -> InstanceName {
    InstanceName::parse("main").expect("a name")
}

fn image() -> ImageId {
    ImageId::parse("1a0000000001").expect("an id")
}

fn container() -> ContainerId {
    ContainerId::parse("c00000000001").expect("an id")
}

fn get(name: &str) -> String {
    format!("zfs get -H -o value,source kleene:owner {name}")
}

const OURS: &str = "main\tlocal\n";
const NONE: &str = "cannot open: dataset does not exist\n";

struct Rig {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a path");
        Self { _dir: dir, root }
    }

    /// A daemon whose root is a dataset, all parents of which are there.
    fn datasets(&self) -> Store {
        let list = format!("zfs list -H -o name,mountpoint {}", self.root.display());
        let tools = Scripted::new()
            .expect("kldstat -q -m zfs")
            .says(&list, &format!("pool/k\t{}\n", self.root.display()))
            .says(&get("pool/k/layers"), OURS)
            .says(&get("pool/k/roots"), OURS)
            .says(&get("pool/k/trash"), OURS);
        Store::open(&tools, &self.root, &instance()).expect("opened")
    }

    fn directories(&self) -> Store {
        let tools = Scripted::new().answer("kldstat -q -m zfs", 1, "", "");
        Store::open(&tools, &self.root, &instance()).expect("opened")
    }
}

fn method(method: &str) -> Method {
    Method::parse(method, "pool/base").expect("a method")
}

#[test]
fn what_is_missing_below_a_dataset_is_made_and_what_is_another_s_is_left() {
    let rig = Rig::new();
    let list = format!("zfs list -H -o name,mountpoint {}", rig.root.display());
    let found = || {
        Scripted::new()
            .expect("kldstat -q -m zfs")
            .says(&list, &format!("pool/k\t{}\n", rig.root.display()))
    };
    let tools = found()
        .refuses(&get("pool/k/layers"), NONE)
        .expect("zfs create -o kleene:owner=main pool/k/layers")
        .says(&get("pool/k/roots"), OURS)
        .refuses(&get("pool/k/trash"), NONE)
        .expect("zfs create -o kleene:owner=main -o mountpoint=none pool/k/trash");
    let store = Store::open(&tools, &rig.root, &instance()).expect("opened");
    assert_eq!(store.dataset().map(ToString::to_string).as_deref(), Some("pool/k"));
    let tools = found().says(&get("pool/k/layers"), "-\t-\n");
    let err = Store::open(&tools, &rig.root, &instance()).expect_err("another's").to_string();
    assert!(err.starts_with("pool/k/layers is not changed"), "{err}");
}

#[test]
fn images_are_cloned_or_copied_of_datasets() {
    let rig = Rig::new();
    let store = rig.datasets();
    // As it is when its dataset is mounted.
    std::fs::create_dir_all(store.image_dir(image()).join("etc")).expect("a directory");
    let given = Given { resolv_conf: true, localtime: false };
    let source = "pool/base@kleene-1a0000000001";
    let layer = "pool/k/layers/1a0000000001";
    let tools = Scripted::new()
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .expect(&format!("zfs clone -o kleene:owner=main {source} {layer}"))
        .expect(&format!("zfs snapshot -o kleene:owner=main {layer}@image"));
    store.create_image(&tools, image(), &method("zfs-clone"), given).expect("made");
    let written = std::fs::read_to_string(store.image_dir(image()).join("etc/resolv.conf"));
    assert_eq!(written.expect("a file"), image::resolv_conf().expect("the host's"));

    let tools = Scripted::new()
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .says(&format!("zfs send {source}"), "a stream")
        .expect(&format!("zfs receive -u -o kleene:owner=main {layer}"))
        .expect(&format!("zfs mount {layer}"))
        .expect(&format!("zfs snapshot -o kleene:owner=main {layer}@image"))
        .says(&get(source), OURS)
        .expect(&format!("zfs destroy {source}"));
    store.create_image(&tools, image(), &method("zfs-copy"), Given::default()).expect("made");
    assert_eq!(tools.inputs()[2], "a stream");
}

#[test]
fn an_image_that_could_not_be_made_leaves_nothing() {
    let rig = Rig::new();
    let store = rig.datasets();
    let source = "pool/base@kleene-1a0000000001";
    let layer = "pool/k/layers/1a0000000001";
    let words = format!("cannot create '{layer}': source and target pools differ\n");
    let tools = Scripted::new()
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .refuses(&format!("zfs clone -o kleene:owner=main {source} {layer}"), &words)
        .refuses(&get(layer), NONE)
        .says(&get(source), OURS)
        .expect(&format!("zfs destroy {source}"));
    let err = store.create_image(&tools, image(), &method("zfs-clone"), Given::default());
    assert_eq!(err.expect_err("refused").to_string(), format!("cannot clone {source}"));
    // It was there, but its files are not: into the trash.
    let given = Given { resolv_conf: true, localtime: false };
    let tools = Scripted::new()
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .expect(&format!("zfs clone -o kleene:owner=main {source} {layer}"))
        .says(&get(layer), OURS)
        .expect(&format!("zfs rename -u {layer} pool/k/trash/b-layer-1a0000000001"))
        .says(&get(source), OURS)
        .refuses(
            &format!("zfs destroy {source}"),
            "cannot destroy: snapshot has dependent clones\n",
        );
    let err = store.create_image(&tools, image(), &method("zfs-clone"), given);
    let text = err.expect_err("no root").to_string();
    assert!(text.starts_with("cannot open etc below"), "{text}");
}

#[test]
fn containers_are_cloned_and_go_through_the_trash() {
    let rig = Rig::new();
    let store = rig.datasets();
    let snapshot = "pool/k/layers/1a0000000001@image";
    let root = "pool/k/roots/c00000000001";
    let tools = Scripted::new()
        .says(&get(snapshot), OURS)
        .expect(&format!("zfs clone -o kleene:owner=main {snapshot} {root}"));
    store.create_container(&tools, image(), container()).expect("made");
    assert_eq!(store.container_root(container()), rig.root.join("roots/c00000000001"));
    let tools = Scripted::new().refuses(&get(snapshot), NONE);
    let err = store.create_container(&tools, image(), container()).expect_err("no image");
    assert_eq!(err.to_string(), "the image 1a0000000001 has no files");

    // An image in use stays; one whose containers are in the trash goes.
    let clones = format!("zfs get -H -o value clones {snapshot}");
    let tools = Scripted::new().says(&clones, &format!("{root}\n"));
    let err = store.remove_image(&tools, image()).expect_err("in use").to_string();
    assert_eq!(err, format!("the image 1a0000000001 is in use by {root}"));
    let tools = Scripted::new()
        .says(&get(root), OURS)
        .expect(&format!("zfs rename -u {root} pool/k/trash/a-root-c00000000001"))
        .says(&clones, "pool/k/trash/a-root-c00000000001\n")
        .says(&get("pool/k/layers/1a0000000001"), OURS)
        .expect("zfs rename -u pool/k/layers/1a0000000001 pool/k/trash/b-layer-1a0000000001");
    store.remove_container(&tools, container()).expect("removed");
    store.remove_image(&tools, image()).expect("removed");
}

#[test]
fn the_trash_is_emptied_with_the_snapshots_that_were_taken_for_it() {
    let rig = Rig::new();
    let store = rig.datasets();
    let list = "zfs list -H -r -d 1 -t filesystem -o name pool/k/trash";
    let [root, layer] =
        ["a-root-c00000000001", "b-layer-1a0000000001"].map(|name| format!("pool/k/trash/{name}"));
    let origin = |name: &str| format!("zfs get -H -o value origin {name}");
    let source = "pool/base@kleene-1a0000000001";
    let tools = Scripted::new()
        .says(list, &format!("pool/k/trash\n{layer}\n{root}\npool/k/trash/other\n"))
        .says(&origin(&root), "pool/k/trash/b-layer-1a0000000001@image\n")
        .says(&get(&root), OURS)
        .expect(&format!("zfs destroy -r -f {root}"))
        .says(&origin(&layer), &format!("{source}\n"))
        .says(&get(&layer), OURS)
        .expect(&format!("zfs destroy -r -f {layer}"))
        .says(&get(source), OURS)
        .expect(&format!("zfs destroy {source}"))
        .says(&origin("pool/k/trash/other"), "-\n")
        .says(&get("pool/k/trash/other"), "-\t-\n");
    let err = store.empty_trash(&tools).expect_err("another's").to_string();
    assert!(err.starts_with("pool/k/trash/other is not changed"), "{err}");
    // One that stays does not keep the others.
    let busy = "cannot destroy: dataset is busy\n";
    let tools = Scripted::new()
        .says(list, &format!("pool/k/trash\n{root}\n{layer}\n"))
        .says(&origin(&root), "-\n")
        .says(&get(&root), OURS)
        .refuses(&format!("zfs destroy -r -f {root}"), busy)
        .says(&origin(&layer), "-\n")
        .says(&get(&layer), OURS)
        .expect(&format!("zfs destroy -r -f {layer}"));
    let err = store.empty_trash(&tools).expect_err("busy").to_string();
    assert_eq!(err, format!("cannot destroy {root}"));
    let tools = Scripted::new().says(list, "pool/k/trash\n");
    assert_eq!(store.empty_trash(&tools).expect("empty"), 0);
}

#[test]
fn what_is_there_is_listed_by_id() {
    let rig = Rig::new();
    let tools = Scripted::new()
        .says(
            "zfs list -H -r -d 1 -t filesystem -o name pool/k/roots",
            "pool/k/roots\npool/k/roots/c00000000001\npool/k/roots/other\n",
        )
        .says("zfs list -H -r -d 1 -t filesystem -o name pool/k/layers", "pool/k/layers\n");
    let store = rig.datasets();
    assert_eq!(store.containers(&tools).expect("listed"), [container()]);
    assert_eq!(store.images(&tools).expect("listed"), []);
}

#[test]
fn without_zfs_all_of_it_is_directories() {
    let rig = Rig::new();
    let store = rig.directories();
    let none = Scripted::new();
    let err = store.create_image(&none, image(), &method("zfs-clone"), Given::default());
    assert!(matches!(err, Err(StoreError::NoZfs { .. })), "{err:?}");
    let err = store.create_container(&none, image(), container()).expect_err("no image");
    assert_eq!(err.to_string(), "the image 1a0000000001 has no files");
    std::fs::create_dir_all(store.image_dir(image()).join("bin")).expect("a directory");
    store.create_container(&none, image(), container()).expect("copied");
    assert!(store.container_root(container()).join("bin").is_dir());
    assert_eq!(store.containers(&none).expect("listed"), [container()]);
    assert_eq!(store.images(&none).expect("listed"), [image()]);
    store.remove_container(&none, container()).expect("removed");
    store.remove_container(&none, container()).expect("nothing to remove");
    store.remove_image(&none, image()).expect("removed");
    assert_eq!(store.containers(&none).expect("listed"), []);
    assert_eq!(store.empty_trash(&none).expect("emptied"), 2);
}

#[test]
fn files_of_the_host_replace_links_of_an_image() {
    let dir = tempfile::tempdir().expect("a directory");
    let outside = dir.path().join("outside");
    std::fs::write(&outside, "mine").expect("a file");
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("etc")).expect("a directory");
    symlink(&outside, root.join("etc/resolv.conf")).expect("a link");
    let given = Given { resolv_conf: true, localtime: true };
    give(&root, given).expect("given");
    assert!(root.join("etc/resolv.conf").symlink_metadata().expect("a file").is_file());
    assert_eq!(std::fs::read_to_string(&outside).expect("a file"), "mine");
    // A link in the place of etc itself: left alone.
    let other = dir.path().join("other");
    std::fs::create_dir(&other).expect("a directory");
    symlink(dir.path(), other.join("etc")).expect("a link");
    give(&other, given).expect("left alone");
    assert!(!dir.path().join("resolv.conf").exists());
}

#[test]
fn ways_to_make_an_image_are_known_by_name() {
    assert_eq!(method("zfs-copy").dataset().to_string(), "pool/base");
    for name in ["fetch", "fetch-auto", "other"] {
        let err = Method::parse(name, "").expect_err(name).to_string();
        assert!(err.starts_with(&format!("unsupported: images by '{name}'")), "{err}");
    }
    for bad in ["", "/pool/base", "pool@x"] {
        let err = Method::parse("zfs-clone", bad).expect_err(bad).to_string();
        assert_eq!(err, "invalid dataset");
    }
}
