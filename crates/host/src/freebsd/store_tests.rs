use super::*;
use crate::freebsd::image;
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
const BASE: &str = "zfs list -H -t filesystem -o mountpoint,mounted pool/base";
const LAYERS_BELOW: &str = "zfs list -H -r -d 1 -t filesystem -o name pool/k/layers";

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

fn base() -> Dataset {
    Dataset::parse("pool/base").expect("a dataset")
}

fn quiet(_: &str) {}

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
        .refuses(&get(layer), NONE)
        .says(BASE, "/pool/base\tyes\n")
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .expect(&format!("zfs clone -o kleene:owner=main {source} {layer}"))
        .expect(&format!("zfs snapshot -o kleene:owner=main {layer}@image"));
    let said = std::cell::RefCell::new(String::new());
    let say = |line: &str| said.borrow_mut().push_str(line);
    store.create_image(&tools, image(), &Method::ZfsClone(base()), given, &say).expect("made");
    assert_eq!(said.take(), "cloning dataset...");
    let written = std::fs::read_to_string(store.image_dir(image()).join("etc/resolv.conf"));
    assert_eq!(written.expect("a file"), image::resolv_conf().expect("the host's"));

    let tools = Scripted::new()
        .refuses(&get(layer), NONE)
        .says(BASE, "/pool/base\tyes\n")
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .says(&format!("zfs send {source}"), "a stream")
        .expect(&format!("zfs receive -u -o kleene:owner=main {layer}"))
        .expect(&format!("zfs mount {layer}"))
        .says(&get(source), OURS)
        .expect(&format!("zfs destroy {source}"))
        .expect(&format!("zfs snapshot -o kleene:owner=main {layer}@image"));
    store
        .create_image(&tools, image(), &Method::ZfsCopy(base()), Given::default(), &say)
        .expect("made");
    assert_eq!(said.take(), "copying dataset into the new image, this can take a while...");
    assert_eq!(tools.inputs()[4], "a stream");
    // One that is there already is left as it is.
    let tools = Scripted::new().says(&get(layer), OURS);
    let err = store
        .create_image(&tools, image(), &Method::ZfsCopy(base()), given, &quiet)
        .expect_err("there")
        .to_string();
    assert_eq!(err, "the image 1a0000000001 is there already");
    assert_eq!(store.dataset_of(image()), layer);
}

#[test]
fn a_volume_is_no_image() {
    let rig = Rig::new();
    let store = rig.datasets();
    let words = "cannot open 'pool/base': operation not applicable to datasets of this type\n";
    let tools =
        Scripted::new().refuses(&get("pool/k/layers/1a0000000001"), NONE).refuses(BASE, words);
    let err =
        store.create_image(&tools, image(), &Method::ZfsClone(base()), Given::default(), &quiet);
    let text = err.expect_err("a volume").to_string();
    assert_eq!(text, "pool/base is no file system: name one that is, not a volume");
}

#[test]
fn an_image_that_could_not_be_made_leaves_nothing() {
    let rig = Rig::new();
    let store = rig.datasets();
    let source = "pool/base@kleene-1a0000000001";
    let layer = "pool/k/layers/1a0000000001";
    let words = format!("cannot create '{layer}': source and target pools differ\n");
    let tools = Scripted::new()
        .refuses(&get(layer), NONE)
        .says(BASE, "/pool/base\tyes\n")
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .refuses(&format!("zfs clone -o kleene:owner=main {source} {layer}"), &words)
        .refuses(&get(layer), NONE)
        .says(&get(source), OURS)
        .expect(&format!("zfs destroy {source}"));
    let err =
        store.create_image(&tools, image(), &Method::ZfsClone(base()), Given::default(), &quiet);
    assert_eq!(err.expect_err("refused").to_string(), format!("cannot clone {source}"));
    // It was there, but its files are not: into the trash.
    let given = Given { resolv_conf: true, localtime: false };
    let tools = Scripted::new()
        .refuses(&get(layer), NONE)
        .says(BASE, "/pool/base\tyes\n")
        .expect(&format!("zfs snapshot -o kleene:owner=main {source}"))
        .expect(&format!("zfs clone -o kleene:owner=main {source} {layer}"))
        .says(&get(layer), OURS)
        .expect(&format!("zfs rename -u {layer} pool/k/trash/b-layer-1a0000000001"))
        .says(&get(source), OURS)
        .refuses(
            &format!("zfs destroy {source}"),
            "cannot destroy: snapshot has dependent clones\n",
        );
    let err = store.create_image(&tools, image(), &Method::ZfsClone(base()), given, &quiet);
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
        .refuses(&get(root), NONE)
        .says(&get(snapshot), OURS)
        .expect(&format!("zfs clone -o kleene:owner=main {snapshot} {root}"));
    store.create_container(&tools, image(), container()).expect("made");
    assert_eq!(store.container_root(container()), rig.root.join("roots/c00000000001"));
    let tools = Scripted::new().refuses(&get(root), NONE).refuses(&get(snapshot), NONE);
    let err = store.create_container(&tools, image(), container()).expect_err("no image");
    assert_eq!(err.to_string(), "the image 1a0000000001 has no files");

    // What is there stays as it is; what was not mounted is.
    let mounted = format!("zfs get -H -o value mounted {root}");
    let tools = Scripted::new().says(&get(root), OURS).says(&mounted, "yes\n");
    store.create_container(&tools, image(), container()).expect("there");
    let tools = Scripted::new()
        .says(&get(root), OURS)
        .says(&mounted, "no\n")
        .expect(&format!("zfs mount {root}"));
    store.create_container(&tools, image(), container()).expect("mounted");
    let tools = Scripted::new().says(&get(root), OURS).says(&mounted, "-\n");
    assert!(store.create_container(&tools, image(), container()).is_err());
    let tools = Scripted::new().says(&get(root), "other\tlocal\n");
    let err = store.create_container(&tools, image(), container()).expect_err("another's");
    assert!(err.to_string().contains("is not changed"), "{err}");

    // An image that somebody has cloned stays; one of whose containers there are only
    // roots that go, or are in the trash, goes.
    let clones = format!("zfs get -H -o value clones {snapshot}");
    let tools = Scripted::new().says(&clones, &format!("{root},pool/mine\n"));
    let err = store.remove_image(&tools, image()).expect_err("in use").to_string();
    assert_eq!(err, "the image 1a0000000001 is in use by pool/mine");
    let layer = "pool/k/layers/1a0000000001";
    let rename = format!("zfs rename -u {layer} pool/k/trash/b-layer-1a0000000001");
    let tools =
        Scripted::new().says(&clones, &format!("{root}\n")).says(&get(layer), OURS).expect(&rename);
    store.remove_image(&tools, image()).expect("removed");
    // A rename that is told to have failed, and has not.
    let late = "cannot rename: something after it\n";
    let tools = Scripted::new()
        .says(&clones, "-\n")
        .says(&get(layer), OURS)
        .refuses(&rename, late)
        .refuses(&get(layer), NONE);
    store.remove_image(&tools, image()).expect("removed");
    let tools = Scripted::new()
        .says(&clones, "-\n")
        .says(&get(layer), OURS)
        .refuses(&rename, late)
        .says(&get(layer), OURS);
    let err = store.remove_image(&tools, image()).expect_err("it is there").to_string();
    assert_eq!(err, format!("cannot rename {layer}"));
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
        .says(LAYERS_BELOW, "pool/k/layers\npool/k/layers/1a0000000001\npool/k/layers/x\n");
    let store = rig.datasets();
    assert_eq!(store.containers(&tools).expect("listed"), [container()]);
    assert_eq!(store.images(&tools).expect("listed"), [image()].into());
}

#[test]
fn what_a_daemon_that_died_left_half_is_found_and_goes() {
    let second = ImageId::parse("1a0000000002").expect("an id");
    let third = ImageId::parse("1a0000000003").expect("an id");
    let rig = Rig::new();
    let store = rig.datasets();
    for left in ["1a0000000001", "1a0000000003", "x"] {
        let dir = rig.root.join("downloads").join(left);
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("archive"), "").expect("a file");
    }
    let tools = Scripted::new()
        .says(
            LAYERS_BELOW,
            "pool/k/layers\npool/k/layers/1a0000000001\npool/k/layers/1a0000000002\n\
             pool/k/layers/x\n",
        )
        .answer("zfs get -H -o value clones pool/k/layers/1a0000000002@image", 1, "", NONE)
        .says(&get("pool/k/layers/1a0000000002"), OURS)
        .expect("zfs rename -u pool/k/layers/1a0000000002 pool/k/trash/b-layer-1a0000000002")
        .answer("zfs get -H -o value clones pool/k/layers/1a0000000003@image", 1, "", NONE)
        .answer(&get("pool/k/layers/1a0000000003"), 1, "", NONE);
    // Of each something is there; which are known is for others to say.
    assert_eq!(store.images(&tools).expect("found"), [image(), second, third].into());
    store.remove_image(&tools, second).expect("removed");
    store.remove_image(&tools, third).expect("removed");
    let left = |dir: &str| {
        let names = list(&rig.root.join(dir)).expect("a list");
        names.into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(left("downloads"), ["1a0000000001", "x"].map(str::to_owned).into());
}

#[test]
fn what_a_daemon_that_died_left_half_as_directories_goes() {
    let rig = Rig::new();
    assert!(!Store::is_made(&rig.root));
    let store = rig.directories();
    assert!(Store::is_made(&rig.root));
    let second = ImageId::parse("1a0000000002").expect("an id");
    for half in ["downloads/1a0000000002/root/bin", "roots/.copy-1-2/tree"] {
        std::fs::create_dir_all(rig.root.join(half)).expect("a directory");
    }
    for whole in ["roots/c00000000001", "roots/other", "layers/1a0000000001"] {
        std::fs::create_dir_all(rig.root.join(whole)).expect("a directory");
    }
    let none = Scripted::new();
    assert_eq!(store.images(&none).expect("found"), [image(), second].into());
    store.remove_image(&none, second).expect("removed");
    store.forget_copies().expect("removed");
    assert_eq!(store.containers(&none).expect("listed"), [container()]);
    assert_eq!(store.images(&none).expect("listed"), [image()].into());
    assert_eq!(std::fs::read_dir(rig.root.join("roots")).expect("a directory").count(), 2);
    assert_eq!(store.empty_trash(&none).expect("emptied"), 2);
}

#[test]
fn without_zfs_all_of_it_is_directories() {
    let rig = Rig::new();
    let store = rig.directories();
    let none = Scripted::new();
    let err =
        store.create_image(&none, image(), &Method::ZfsClone(base()), Given::default(), &quiet);
    assert!(matches!(err, Err(StoreError::NoZfs { .. })), "{err:?}");
    let err = store.create_container(&none, image(), container()).expect_err("no image");
    assert_eq!(err.to_string(), "the image 1a0000000001 has no files");
    std::fs::create_dir_all(store.image_dir(image()).join("bin")).expect("a directory");
    assert_eq!(store.dataset_of(image()), "");
    store.create_container(&none, image(), container()).expect("copied");
    assert!(store.container_root(container()).join("bin").is_dir());
    // What it wrote since stays, and the image may be gone.
    std::fs::write(store.container_root(container()).join("written"), "").expect("a file");
    store.create_container(&none, image(), container()).expect("there");
    assert!(store.container_root(container()).join("written").exists());
    assert_eq!(store.containers(&none).expect("listed"), [container()]);
    assert_eq!(store.images(&none).expect("listed"), [image()].into());
    store.remove_container(&none, container()).expect("removed");
    store.remove_container(&none, container()).expect("nothing to remove");
    store.remove_image(&none, image()).expect("removed");
    assert_eq!(store.containers(&none).expect("listed"), []);
    assert_eq!(store.empty_trash(&none).expect("emptied"), 2);
}
