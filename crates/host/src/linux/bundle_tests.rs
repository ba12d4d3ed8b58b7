use std::os::unix::fs::symlink;

use rustix::thread::UnshareFlags;

use super::*;
use crate::linux::sys::fs::in_own_namespaces;
use crate::linux::testing::is_root;

struct World {
    dir: tempfile::TempDir,
    image: HostUsr,
    cgroup: CgroupName,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = HostUsr::ensure(&dir.path().join("images")).unwrap();
        let cgroup = CgroupName::new("/kleene", "173a1a8d848d").unwrap();
        Self { dir, image, cgroup }
    }

    fn container(&self) -> PathBuf {
        self.dir.path().join("c")
    }

    fn write(&self, storage: Storage, binds: &[Bind]) -> Result<Bundle, BundleError> {
        write(&BundleRequest { storage, binds, dir: &self.container(), ..self.request() })
    }

    fn request(&self) -> BundleRequest<'_> {
        BundleRequest {
            id: "173a1a8d848d",
            name: Some("site"),
            hostname: None,
            addresses: &[],
            driver: Driver::Vnet,
            raw_sockets: true,
            netns: Path::new(NETNS_PLACEHOLDER),
            holder: Path::new("/lib/kleene-holder"),
            dir: Path::new("/k/c"),
            image: &self.image,
            cgroup: &self.cgroup,
            cgroup_mode: Mode::Hybrid,
            binds: &[],
            storage: Storage::Overlay,
        }
    }

    /// `config.json`, without what depends on the host.
    fn config(&self, request: &BundleRequest<'_>, binds: &[Bind]) -> serde_json::Value {
        let places = Places::of(request.dir, request.image.lower());
        let text = bundle_spec::config(request, &places, binds).unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        value["mounts"].as_array_mut().unwrap().retain(|mount| {
            !self.image.binds().iter().any(|bind| mount["source"] == bind.to_str().unwrap())
        });
        let masked = value["linux"]["maskedPaths"].as_array_mut().unwrap();
        masked.retain(|path| !path.as_str().unwrap().ends_with("thermal_throttle"));
        value
    }

    fn hosts(&self) -> String {
        std::fs::read_to_string(self.container().join("upper/etc/hosts")).unwrap()
    }
}

fn golden(name: &str, text: &str, value: &serde_json::Value) {
    let expected: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let is = serde_json::to_string_pretty(value).unwrap();
    assert!(*value == expected, "golden/{name} differs; it is now:\n{is}");
}

#[test]
fn the_runtime_is_told_this_for_vnet() {
    let world = World::new();
    let bind = |source: &str, read_only, kind| Bind {
        source: source.into(),
        destination: Path::new("/data").join(source.trim_start_matches('/')),
        read_only,
        kind,
    };
    let binds = [
        bind("/srv", false, mounts::SourceKind::Directory),
        bind("/opt", true, mounts::SourceKind::Directory),
        bind("/file", true, mounts::SourceKind::File),
    ];
    let value = world.config(&world.request(), &binds);
    golden("vnet.json", include_str!("golden/vnet.json"), &value);
}

#[test]
fn the_runtime_is_told_this_for_host() {
    let world = World::new();
    let request = BundleRequest {
        driver: Driver::Host,
        raw_sockets: false,
        hostname: Some("site"),
        storage: Storage::Copy,
        cgroup_mode: Mode::V2,
        ..world.request()
    };
    let value = world.config(&request, &[]);
    golden("host.json", include_str!("golden/host.json"), &value);
}

#[test]
fn the_container_knows_its_names_and_keeps_what_it_wrote() {
    let world = World::new();
    let bundle = world.write(Storage::Overlay, &[]).unwrap();
    assert_eq!(bundle.dir, world.container().join("bundle"));
    assert!(world.hosts().ends_with("127.0.1.1\t173a1a8d848d site\n"));
    let addresses = ["10.4.6.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    let dir = world.container();
    let request = BundleRequest { addresses: &addresses, dir: &dir, ..world.request() };
    write(&request).unwrap();
    let names = "10.4.6.2\t173a1a8d848d site\nfd00::2\t173a1a8d848d site\n";
    assert!(world.hosts().ends_with(names));
    std::fs::write(dir.join("upper/etc/hosts"), "mine").unwrap();
    std::fs::write(dir.join("upper/kept"), "").unwrap();
    let config = || std::fs::read(dir.join("bundle/config.json")).unwrap();
    let before = config();
    write(&request).unwrap();
    assert_eq!((world.hosts().as_str(), config()), ("mine", before));
    assert!(dir.join("upper/kept").exists());
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| dir.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("upper"), mode("usr-upper")), (0o700, 0o755, 0o755));
}

const GIVEN: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

type Put<'a> = &'a dyn Fn(&Path);

/// Whatever a container leaves in the place of a file of its `/etc`, it starts
/// again, what it left stays, and what it links to is not written to.
#[test]
fn nothing_in_the_place_of_a_given_file_is_in_the_way() {
    let world = World::new();
    world.write(Storage::Overlay, &[]).unwrap();
    let etc = world.container().join("upper/etc");
    let outside = world.dir.path().join("outside");
    std::fs::write(&outside, "outside").unwrap();
    let whiteout = |path: &Path| {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    };
    let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let obstacles: [(&str, Put<'_>); 6] = [
        ("link", &|path| symlink(&outside, path).unwrap()),
        ("dangling link", &|path| symlink(world.dir.path().join("none"), path).unwrap()),
        ("directory", &|path| std::fs::create_dir(path).unwrap()),
        ("full directory", &|path| std::fs::create_dir_all(path.join("full")).unwrap()),
        ("removed", &whiteout),
        ("socket", &socket),
    ];
    for name in GIVEN {
        for (what, put) in obstacles {
            let path = etc.join(name);
            storage::remove_tree(&path).unwrap();
            put(&path);
            let kind = || path.symlink_metadata().unwrap().file_type();
            let before = kind();
            let others = GIVEN.map(|other| etc.join(other)).into_iter().filter(|p| *p != path);
            for other in others.clone() {
                std::fs::remove_file(other).unwrap();
            }
            world.write(Storage::Overlay, &[]).unwrap_or_else(|e| panic!("{what} {name}: {e}"));
            assert_eq!(kind(), before, "{what} {name}");
            // The twins: the other files are given all the same.
            assert!(others.clone().all(|other| other.is_file()), "{what} {name}");
        }
        storage::remove_tree(&etc.join(name)).unwrap();
        world.write(Storage::Overlay, &[]).unwrap();
        assert!(etc.join(name).is_file(), "{name} is given again");
    }
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "outside");
    assert!(!world.dir.path().join("none").exists());
}

/// No name in the container's reach is one that a given file is made under.
#[test]
fn nothing_beside_a_given_file_is_in_the_way() {
    let world = World::new();
    let bundle = || world.write(Storage::Overlay, &[]);
    bundle().unwrap();
    let etc = world.container().join("upper/etc");
    for name in GIVEN {
        for beside in [format!(".{name}.kleene-new"), format!("{name}.new")] {
            std::fs::create_dir_all(etc.join(beside).join("full")).unwrap();
        }
        std::fs::write(etc.join(name), "").unwrap();
    }
    bundle().unwrap();
    for name in GIVEN {
        assert!(etc.join(name).is_file() && etc.join(format!("{name}.new/full")).is_dir());
    }
    assert!(world.hosts().contains("site"));
    // What a crash left where they are made.
    std::fs::write(world.container().join("given/hosts.new"), "half").unwrap();
    std::fs::write(etc.join("hosts"), "").unwrap();
    bundle().unwrap();
    assert!(world.hosts().contains("site"));
    // In that place, out of the container's reach, an obstacle is named.
    std::fs::create_dir(world.container().join("given/hosts.new")).unwrap();
    std::fs::write(etc.join("hosts"), "").unwrap();
    let error = bundle().unwrap_err().to_string();
    assert!(error.contains("given/hosts.new"), "{error}");
}

#[test]
fn a_bundle_says_what_skeleton_it_stands_on() {
    let world = World::new();
    let containers = world.dir.path().join("containers");
    let used = || skeletons_in_use(&containers).unwrap();
    assert_eq!(used(), Some(BTreeSet::new()));
    let dir = containers.join("one");
    write(&BundleRequest { dir: &dir, ..world.request() }).unwrap();
    assert_eq!(used(), Some(BTreeSet::from([world.image.lower().to_owned()])));
    std::fs::remove_file(dir.join("bundle/lower")).unwrap();
    assert_eq!(used(), None);
    storage::remove_tree(&dir).unwrap();
    assert_eq!(used(), Some(BTreeSet::new()));
}

/// Where the kernel makes no overlay, that is said as such, so that a copy can
/// be made instead; other refusals are not taken for it.
#[test]
fn mounts_are_possible_without_overlays() {
    if !is_root("mounts_are_possible_without_overlays") {
        return;
    }
    let world = World::new();
    let source = world.dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let bind = Bind::new(source.to_str().unwrap(), "/data", false).unwrap();
    let binds = std::slice::from_ref(&bind);
    let at = |name: &str| world.dir.path().join(name);
    for name in ["below", "above", "scratch", "shown"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let layers = Layers { lower: at("below"), upper: at("above"), work: at("scratch") };
    in_own_namespaces(UnshareFlags::NEWNS, || {
        // No overlay has its writable layer on an overlay.
        layers.mount(&at("shown"))?;
        let dir = at("shown").join("c");
        let request = BundleRequest { dir: &dir, binds, ..world.request() };
        let refused = write(&request).unwrap_err();
        assert!(matches!(refused, BundleError::NoOverlay { .. }), "{refused:?}");
        let bundle = write(&BundleRequest { storage: Storage::Copy, ..request }).unwrap();
        let RootFs::Dir { path } = bundle.rootfs else { panic!("no directory") };
        assert!(path.join("data").is_dir());
        Ok(())
    })
    .unwrap();
    // The twin: on a file system that can.
    world.write(Storage::Overlay, binds).unwrap();
    // A layer that cannot be mounted for another reason.
    storage::remove_tree(&world.container().join("usr-work")).unwrap();
    std::fs::write(world.container().join("usr-work"), "").unwrap();
    let refused = world.write(Storage::Overlay, binds).unwrap_err();
    assert!(!matches!(refused, BundleError::NoOverlay { .. }), "{refused:?}");
}

#[test]
fn paths_that_overlay_would_split_are_refused() {
    let world = World::new();
    for name in ["a:b", "a,b", "a\\b"] {
        let dir = world.dir.path().join(name);
        let refused = write(&BundleRequest { dir: &dir, ..world.request() });
        assert!(matches!(refused, Err(BundleError::Path { .. })), "{name}");
        assert!(!dir.exists());
    }
}

#[test]
fn a_copied_root_is_complete_and_is_copied_once() {
    if !is_root("a_copied_root_is_complete_and_is_copied_once") {
        return;
    }
    let world = World::new();
    let bundle = world.write(Storage::Copy, &[]).unwrap();
    let RootFs::Dir { path } = bundle.rootfs else { panic!("no directory") };
    let hosts = std::fs::read_to_string(path.join("etc/hosts")).unwrap();
    assert!(hosts.contains("site"));
    assert!(path.join("bin").is_symlink());
    std::fs::write(path.join("kept"), "").unwrap();
    world.write(Storage::Copy, &[]).unwrap();
    assert!(path.join("kept").exists());
}

/// Binds as a container's root really shows them, next to escapes.
#[test]
fn no_link_leads_a_mount_out_of_the_container() {
    if !is_root("no_link_leads_a_mount_out_of_the_container") {
        return;
    }
    let world = World::new();
    let source = world.dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "content").unwrap();
    world.write(Storage::Overlay, &[]).unwrap();
    let upper = world.container().join("upper");
    // What a hostile container may leave behind.
    symlink("/etc", upper.join("absolute")).unwrap();
    symlink("../../../../../../../../var/log", upper.join("relative")).unwrap();
    symlink("/", upper.join("top")).unwrap();
    symlink("/proc/1/root", upper.join("magic")).unwrap();
    symlink("/proc", upper.join("proc-link")).unwrap();
    symlink("nowhere", upper.join("dangling")).unwrap();
    symlink("loop", upper.join("loop")).unwrap();

    let source_text = source.to_str().unwrap().to_owned();
    let bind = |to: &str| Bind::new(&source_text, to, false).unwrap();
    let resolved = |to: &str| {
        let binds = [bind(to)];
        let places = Places::of(&world.container(), world.image.lower());
        mounts::prepare("id", &binds, &places, Storage::Overlay)
            .map(|binds| binds[0].destination.to_str().unwrap().to_owned())
            .map_err(|error| error.to_string())
    };
    assert_eq!(resolved("/data/new").unwrap(), "/data/new");
    assert_eq!(resolved("/usr/local/new").unwrap(), "/usr/local/new");
    assert_eq!(resolved("/bin/new").unwrap(), "/usr/bin/new");
    assert_eq!(resolved("/absolute/kleene-test").unwrap(), "/etc/kleene-test");
    assert_eq!(resolved("/relative/kleene-test").unwrap(), "/var/log/kleene-test");
    for refused in ["/top", "/proc-link", "/proc-link/new", "/magic", "/dangling/new", "/loop/new"]
    {
        assert!(resolved(refused).is_err(), "{refused}");
    }
    assert!(upper.join("etc/kleene-test").is_dir());
    assert!(world.container().join("usr-upper/local/new").is_dir());
    for host in ["/etc/kleene-test", "/var/log/kleene-test", "/usr/local/new", "/usr/bin/new"] {
        assert!(!Path::new(host).exists(), "{host}");
    }
}

#[test]
fn a_mount_may_lie_in_another_and_must_be_of_its_kind() {
    if !is_root("a_mount_may_lie_in_another_and_must_be_of_its_kind") {
        return;
    }
    let world = World::new();
    let source = world.dir.path().join("source");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    std::fs::write(source.join("file"), "content").unwrap();
    symlink("/proc", source.join("proc")).unwrap();
    let bind = |from: &Path, to: &str, read_only| {
        Bind::new(from.to_str().unwrap(), to, read_only).unwrap()
    };
    let file = source.join("file");
    for storage in [Storage::Overlay, Storage::Copy] {
        let nested = [bind(&source, "/data", true), bind(&file, "/data/file", false)];
        world.write(storage, &nested).unwrap();
        // The first mount's content decides where the second one goes.
        let error = world
            .write(storage, &[bind(&source, "/data", false), bind(&file, "/data/proc/x", false)])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "nothing can be mounted at '/proc/x' in a container");
    }
    let write = |binds: &[Bind]| world.write(Storage::Overlay, binds).unwrap_err().to_string();
    let text = "could not create destination file: ";
    assert_eq!(write(&[bind(&file, "/tmp", false)]), format!("{text}/tmp: is a directory"));
    let to_file = [bind(&source, "/etc/hosts", false)];
    assert_eq!(write(&to_file), format!("{text}/etc/hosts: is no directory"));
    assert!(write(&[bind(&file, "/etc/hosts/x", false)]).starts_with(text));
    let inside = [bind(&source, "/data", true), bind(&file, "/data/new/file", false)];
    assert!(write(&inside).starts_with(text));
    assert!(!source.join("new").exists());
    std::fs::remove_file(&file).unwrap();
    let gone = world.write(Storage::Overlay, &nested_gone(&file)).unwrap_err().to_string();
    assert_eq!(gone, "error ocurred while determining source type: :enoent");
}

fn nested_gone(file: &Path) -> [Bind; 1] {
    [Bind {
        source: file.to_owned(),
        destination: "/data".into(),
        read_only: false,
        kind: mounts::SourceKind::File,
    }]
}

#[test]
fn the_composed_root_shows_the_hosts_programs() {
    if !is_root("the_composed_root_shows_the_hosts_programs") {
        return;
    }
    let world = World::new();
    let bundle = world.write(Storage::Overlay, &[]).unwrap();
    let RootFs::Overlay { lower, upper, work, merged } = bundle.rootfs else {
        panic!("no overlay")
    };
    let usr = Places::of(&world.container(), world.image.lower()).usr;
    in_own_namespaces(UnshareFlags::NEWNS, || {
        Layers { lower: lower[0].clone(), upper, work }.mount(&merged)?;
        usr.mount(&merged.join("usr"))?;
        assert!(merged.join("bin/sh").exists());
        assert!(std::fs::read_to_string(merged.join("etc/hosts"))?.contains("site"));
        std::fs::write(merged.join("usr/local/written"), "")
    })
    .unwrap();
    assert!(world.container().join("usr-upper/local/written").exists());
    assert!(!Path::new("/usr/local/written").exists());
    assert!(!merged.join("etc").exists());
}
