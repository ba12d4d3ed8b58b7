use std::os::unix::fs::PermissionsExt;

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
    let trash = dir.path().join("trash");
    let in_use = [first.lower().to_owned()];
    assert_eq!(second.remove_older(&images, &in_use, &trash).unwrap(), 0);
    assert_eq!(second.remove_older(&images, &[], &trash).unwrap(), 1);
    assert!(!first.lower().exists() && second.lower().exists());
    assert_eq!(std::fs::read_dir(&images).unwrap().count(), 1);
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
