use std::cell::RefCell;
use std::sync::Arc;

use kleene_engine::fake::Rig as Engine;
use kleene_host::freebsd::run::{Call, Tool};
use kleene_host::freebsd::simulated::{Fault, Simulated};
use kleene_model::Driver;
use kleene_model::api::ImageMethod;

use super::*;
use crate::system::freebsd::{clear, files};

const URL: &str = "file:///usr/freebsd-dist/base.txz";

fn image() -> ImageId {
    ImageId::parse("1a0000000001").expect("an id")
}

fn request(method: ImageMethod) -> ImageCreateConfig {
    ImageCreateConfig {
        method,
        tag: String::new(),
        dns: false,
        localtime: false,
        update: false,
        zfs_dataset: String::new(),
        url: URL.to_owned(),
        autotag: true,
    }
}

/// A host with a daemon's root, which is a dataset or not.
struct Rig {
    _dir: tempfile::TempDir,
    host: Simulated,
    config: Config,
    said: RefCell<Vec<String>>,
}

impl Rig {
    fn new(zfs: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a path");
        let host = Simulated::new();
        if zfs {
            host.mount_dataset("pool/k", &root);
        }
        let base = ["bin/", "bin/sh", "dev/", "etc/", "etc/rc", "proc/", "tmp/"];
        host.serve_archive(URL, &base);
        let config = crate::jobs::tests::config(&root);
        Self { _dir: dir, host, config, said: RefCell::default() }
    }

    fn create(&self, request: &ImageCreateConfig) -> Result<ImageMade, String> {
        let say = |line: &str| self.said.borrow_mut().push(line.to_owned());
        create_image(&self.host, &self.config, image(), request, &say)
    }
}

/// A container of an image, as the engine has it.
fn container(image: ImageId) -> Arc<Container> {
    let mut engine = Engine::new();
    let id = engine.container_of("web", Driver::Disabled);
    let state = engine.state();
    let mut container = Container::clone(state.container(id).expect("a container"));
    container.image = image;
    Arc::new(container)
}

#[test]
fn a_container_stands_on_its_image_from_its_first_start_to_its_end() {
    for zfs in [false, true] {
        let rig = Rig::new(zfs);
        let (host, config) = (&rig.host, &rig.config);
        let container = container(image());
        let missing = files::lay_out(host, config, &container, &[]).expect_err("no image");
        assert!(missing.contains("1a0000000001 has no files"), "{missing}");

        let made = rig.create(&request(ImageMethod::Fetch)).expect("made");
        let dataset = if zfs { "pool/k/layers/1a0000000001" } else { "" };
        assert_eq!(made, ImageMade { dataset: dataset.to_owned(), release: None });
        assert_eq!(rig.said.borrow()[0], format!("fetching {URL} ..."));
        assert_eq!(images(host, config), Ok([image()].into()));

        let setup = files::lay_out(host, config, &container, &[]).expect("laid out");
        let root = root(config, container.id);
        assert_eq!(setup.rootfs, kleene_supervise::proto::RootFs::Dir { path: root.clone() });
        assert!(root.join("bin/sh").is_file() && root.join("etc/hosts").is_file());
        let mounted = || host.run(&Call::new(Tool::Mount, ["-p"])).expect("mounts").stdout;
        let dev = root.join("dev").display().to_string();
        assert!(mounted().contains(&dev), "{}", mounted());
        clear::clear(host, config, container.id);
        assert!(!mounted().contains(&dev), "{}", mounted());
        // The next start finds what the container wrote.
        files::lay_out(host, config, &container, &[]).expect("laid out");

        if zfs {
            // Somebody's clone keeps it; the root of a container that goes does not.
            let zfs = |words: &str| {
                let call = Call::new(Tool::Zfs, words.split(' '));
                assert_eq!(host.somebody(&call).status, 0, "{words}");
            };
            zfs("clone pool/k/layers/1a0000000001@image pool/mine");
            let why = discard_image(host, config, image()).expect_err("a clone stands on it");
            assert!(why.ends_with("is in use by pool/mine"), "{why}");
            zfs("destroy pool/mine");
        }
        discard_root(host, config, container.id).expect("removed");
        assert!(!mounted().contains(&dev), "{}", mounted());
        discard_image(host, config, image()).expect("removed");
        assert_eq!(images(host, config), Ok(BTreeSet::new()));
        files::empty_trash(host, config).expect("emptied");
        let again = files::lay_out(host, config, &container, &[]);
        assert!(again.expect_err("no image").contains("has no files"));
    }
}

#[test]
fn roots_of_containers_that_are_no_more_go_and_others_stay() {
    for zfs in [false, true] {
        let rig = Rig::new(zfs);
        let (host, config) = (&rig.host, &rig.config);
        rig.create(&request(ImageMethod::Fetch)).expect("made");
        let (one, other) = (container(image()), container(image()));
        let other = Container {
            id: ContainerId::parse("c0000000000f").expect("an id"),
            ..Container::clone(&other)
        };
        for container in [&*one, &other] {
            files::lay_out(host, config, container, &[]).expect("laid out");
        }
        forget_roots(host, config, &BTreeSet::from([one.id])).expect("removed");
        let store = find(host, config).expect("opened").expect("a store");
        assert_eq!(store.containers(host).expect("listed"), [one.id]);
    }
}

#[test]
fn an_image_of_the_host_s_release_is_called_after_it() {
    let rig = Rig::new(false);
    let ask = |name: &str| {
        let answer = rig.host.run(&Call::new(Tool::Sysctl, ["-n", name])).expect("told");
        answer.stdout.trim().to_owned()
    };
    let version = ask("kern.osrelease");
    let version = version.split("-p").next().expect("a version").to_owned();
    let arch = ask("hw.machine");
    let url = format!("https://download.freebsd.org/releases/{arch}/{version}/base.txz");
    rig.host.serve_archive(&url, &["bin/", "bin/sh"]);
    let made = rig.create(&request(ImageMethod::FetchAuto)).expect("made");
    assert_eq!(made.release, Some(format!("FreeBSD-{version}")));
    let last = rig.said.borrow().last().cloned().expect("said");
    assert_eq!(
        last,
        format!("Created image from the automatically detected version: FreeBSD-{version} {arch}.")
    );
}

#[test]
fn a_host_without_images_has_no_store_and_none_is_made_for_looking() {
    let rig = Rig::new(false);
    let (host, config) = (&rig.host, &rig.config);
    let before = host.calls();
    assert_eq!(images(host, config), Ok(BTreeSet::new()));
    discard_image(host, config, image()).expect("nothing to do");
    forget_roots(host, config, &BTreeSet::new()).expect("nothing to do");
    empty_trash(host, config).expect("nothing to do");
    assert_eq!(host.calls(), before, "no tool is asked");
    assert!(!Store::is_made(&config.root));
    host.fail_matching(Tool::Fetch, ["-q"], Fault::Refused);
    let why = rig.create(&request(ImageMethod::Fetch)).expect_err("refused");
    assert!(why.starts_with("cannot fetch file:///usr/freebsd-dist/base.txz"), "{why}");
    assert_eq!(images(host, config), Ok(BTreeSet::new()));
    host.fail_no_more();
    rig.create(&request(ImageMethod::Fetch)).expect("made");
    // What needs no host is refused before anything is made.
    let mut update = request(ImageMethod::Fetch);
    update.update = true;
    assert!(rig.create(&update).expect_err("refused").starts_with("unsupported: 'update'"));
}
