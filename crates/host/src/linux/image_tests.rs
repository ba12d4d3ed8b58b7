use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A host's root with what an image needs.
fn host(dir: &Path) -> PathBuf {
    let host = dir.join("host");
    for path in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc/ssl/certs", "etc/ssl/private"]
    {
        std::fs::create_dir_all(host.join(path)).unwrap();
    }
    for name in ["bin", "sbin", "lib"] {
        symlink(format!("usr/{name}"), host.join(name)).unwrap();
    }
    symlink("/usr/lib64", host.join("lib64")).unwrap();
    std::fs::write(host.join("etc/passwd"), "root:x:0:0::/root:/bin/bash\nada:x:1000:0:::\n")
        .unwrap();
    std::fs::write(host.join("etc/ssl/private/key"), "secret").unwrap();
    std::fs::write(host.join("etc/nsswitch.conf"), "hosts: files dns\n").unwrap();
    std::fs::write(host.join("etc/resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
    host
}

#[test]
fn a_skeleton_is_made_once_and_anew_when_the_host_changes() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(dir.path());
    let images = dir.path().join("images");
    let first = HostUsr::ensure_from(&host, &images).unwrap();
    let at = |path: &str| first.lower().join(path);
    assert_eq!(std::fs::read_link(at("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(std::fs::read_link(at("lib64")).unwrap(), Path::new("/usr/lib64"));
    assert!(!at("lib32").exists());
    let passwd = std::fs::read_to_string(at("etc/passwd")).unwrap();
    assert_eq!(passwd, "root:*:0:0::/root:/bin/bash\n");
    assert_eq!(std::fs::read_to_string(at("etc/resolv.conf")).unwrap(), "nameserver 192.0.2.53\n");
    assert_eq!(std::fs::read_to_string(at("etc/host.conf")).unwrap(), "multi on\n");
    let mode = |path: &str| at(path).symlink_metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("tmp"), mode("root"), mode("etc"), mode("")), (0o1777, 0o700, 0o755, 0o755));
    assert_eq!(first.binds(), [Path::new("/etc/nsswitch.conf"), Path::new("/etc/ssl/certs")]);
    assert!(at("etc/ssl/certs").is_dir() && !at("etc/ssl/private").exists());
    assert!(at("etc/nsswitch.conf").is_file() && at("run/.kleene/holder").is_file());

    std::fs::create_dir(images.join(".host-usr-staging")).unwrap();
    assert_eq!(HostUsr::ensure_from(&host, &images).unwrap(), first);
    std::fs::write(host.join("etc/resolv.conf"), "nameserver 192.0.2.54\n").unwrap();
    let second = HostUsr::ensure_from(&host, &images).unwrap();
    assert_ne!(second.lower(), first.lower());
}

#[test]
fn older_skeletons_go_when_no_container_stands_on_them() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(dir.path());
    let [images, containers, trash] =
        ["images", "containers", "trash"].map(|name| dir.path().join(name));
    let remove =
        || HostUsr::remove_older_from(&host, &images, &containers, &trash).map_err(drop).unwrap();
    // Nothing is there yet.
    assert_eq!(remove(), 0);
    let [used, unused, now] = [1, 2, 3].map(|last| {
        let text = format!("nameserver 192.0.2.{last}\n");
        std::fs::write(host.join("etc/resolv.conf"), text).unwrap();
        HostUsr::ensure_from(&host, &images).unwrap()
    });
    std::fs::create_dir(images.join("not-ours")).unwrap();
    // A container that was never started has no bundle.
    std::fs::create_dir_all(containers.join("new")).unwrap();
    let bundle = containers.join("one/bundle");
    std::fs::create_dir_all(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), "{}").unwrap();
    let there = || [&used, &unused, &now].map(|image| image.lower().is_dir());
    // One that does not say what it stands on may stand on any.
    assert_eq!((remove(), there()), (0, [true; 3]));
    std::fs::write(bundle.join("lower"), "").unwrap();
    assert_eq!((remove(), there()), (0, [true; 3]));
    std::fs::write(bundle.join("lower"), used.lower().to_str().unwrap()).unwrap();
    assert_eq!((remove(), there()), (1, [true, false, true]));
    std::fs::remove_dir_all(containers.join("one")).unwrap();
    assert_eq!((remove(), there()), (1, [false, false, true]));
    assert!(images.join("not-ours").is_dir());
    assert_eq!(storage::empty_trash(&trash).unwrap(), 2);
}

#[test]
fn a_host_without_merged_usr_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(dir.path());
    let images = dir.path().join("images");
    let refusal = || HostUsr::ensure_from(&host, &images).unwrap_err().to_string();
    std::fs::remove_file(host.join("sbin")).unwrap();
    std::fs::create_dir(host.join("sbin")).unwrap();
    let text = "the image host-usr needs a host with merged /usr, and ";
    let sbin = host.join("sbin");
    assert_eq!(refusal(), format!("{text}{} is no link into /usr", sbin.display()));
    std::fs::remove_dir(&sbin).unwrap();
    symlink("etc", &sbin).unwrap();
    assert!(refusal().starts_with(text));
    std::fs::remove_file(&sbin).unwrap();
    // Programs of both kinds in one directory: merged still.
    symlink("usr/bin", &sbin).unwrap();
    assert!(HostUsr::ensure_from(&host, &images).is_ok());
}
