use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::freebsd::testing::Scripted;

/// A host's root with what an image needs.
fn host(dir: &Path) -> PathBuf {
    let host = dir.join("host");
    for path in ["etc/ssl/certs", "etc/ssl/private", "usr/local/etc", "var/db"] {
        std::fs::create_dir_all(host.join(path)).expect("a directory");
    }
    for (path, _) in BASE.iter().filter(|(_, required)| *required) {
        std::fs::create_dir_all(host.join(path)).expect("a directory");
    }
    let passwd = "# $FreeBSD$\nroot:*:0:0:Charlie &:/root:/bin/csh\n\
        toor:*:0:0:Bourne-again Superuser:/root:\nada:*:1001:1001:Ada:/home/ada:/bin/sh\n";
    for (path, content) in [
        ("etc/passwd", passwd),
        ("etc/group", "wheel:*:0:root,ada\noperator:*:5:root\nada:*:1001:\n"),
        ("etc/master.passwd", "root:$6$secret:0:0::0:0:Charlie &:/root:/bin/csh\n"),
        ("etc/ssl/private/key", "secret"),
        ("etc/resolv.conf", "nameserver 192.0.2.53\n"),
        ("var/db/zoneinfo", "Europe/Copenhagen\n"),
        ("etc/localtime", "TZif"),
    ] {
        std::fs::write(host.join(path), content).expect("a file");
    }
    host
}

/// Expects that the accounts of one skeleton are made.
fn tools(images: &Path) -> Scripted {
    let etc = images.join(".host-usr-staging/etc");
    let etc = etc.display();
    Scripted::new().expect(&format!("pwd_mkdb -i -p -d {etc} {etc}/master.passwd"))
}

#[test]
fn a_skeleton_is_made_once_and_anew_when_the_host_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = host(dir.path());
    let images = dir.path().join("images");
    let image = HostUsr::ensure_from(&tools(&images), &host, &images).expect("made");
    let at = |path: &str| image.lower().join(path);
    let read = |path: &str| std::fs::read_to_string(at(path)).expect("a file");
    assert_eq!(
        read("etc/master.passwd"),
        "root:*:0:0::0:0:Charlie &:/root:/bin/csh\n\
         toor:*:0:0::0:0:Bourne-again Superuser:/root:\n"
    );
    assert_eq!(read("etc/group"), "wheel:*:0:root\noperator:*:5:root\n");
    assert_eq!(read("etc/resolv.conf"), "nameserver 192.0.2.53\n");
    let zone = std::fs::read_link(at("etc/localtime")).expect("a link");
    assert_eq!(zone, Path::new("/usr/share/zoneinfo/Europe/Copenhagen"));
    let mode = |path: &str| at(path).symlink_metadata().expect(path).permissions().mode() & 0o7777;
    assert_eq!((mode("tmp"), mode("root"), mode("var/empty")), (0o1777, 0o700, 0o555));
    assert_eq!(mode("etc/master.passwd"), 0o600);
    assert!(!at("etc/ssl/private").exists() && at("etc/ssl/certs").is_dir());

    // It is there now: nobody makes it again.
    assert_eq!(HostUsr::ensure_from(&Scripted::new(), &host, &images).expect("there"), image);
    std::fs::write(host.join("etc/resolv.conf"), "nameserver 192.0.2.54\n").expect("a file");
    let other = HostUsr::ensure_from(&tools(&images), &host, &images).expect("made");
    assert_ne!(other.lower(), image.lower());
    let trash = dir.path().join("trash");
    std::fs::create_dir(images.join("not-ours")).expect("a directory");
    let removed = HostUsr::remove_older_from(&host, &images, &trash).expect("removed");
    assert_eq!((removed, image.lower().exists(), other.lower().exists()), (1, false, true));
    assert!(images.join("not-ours").exists());
}

#[test]
fn the_base_system_is_shown_read_only_and_no_more_of_the_host() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = host(dir.path());
    // Not where a link leads.
    symlink("bin", host.join("usr/include")).expect("a link");
    let mounts = base(&host).expect("a base system");
    let shown: Vec<String> = mounts.iter().map(|m| m.destination.display().to_string()).collect();
    assert_eq!(
        shown,
        [
            "/bin",
            "/sbin",
            "/lib",
            "/libexec",
            "/usr/bin",
            "/usr/lib",
            "/usr/libexec",
            "/usr/sbin",
            "/usr/share",
            "/etc/ssl/certs"
        ]
    );
    for mount in &mounts {
        let FileSystem::Nullfs { source, read_only: true } = &mount.what else {
            panic!("{mount:?}")
        };
        assert_eq!(
            Path::new("/").join(source.strip_prefix(&host).expect("below")),
            mount.destination
        );
    }
    std::fs::remove_dir(host.join("libexec")).expect("removed");
    let err = base(&host).expect_err("no base system").to_string();
    let path = host.join("libexec");
    assert_eq!(
        err,
        format!(
            "the image host-usr needs the host's base system, and {} is no directory",
            path.display()
        )
    );
}

#[test]
fn accounts_that_cannot_be_made_leave_no_skeleton() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = host(dir.path());
    let images = dir.path().join("images");
    let etc = images.join(".host-usr-staging/etc").display().to_string();
    let refused = Scripted::new().refuses(
        &format!("pwd_mkdb -i -p -d {etc} {etc}/master.passwd"),
        "pwd_mkdb: at line #1\npwd_mkdb: /etc/master.passwd: Inappropriate file type or format\n",
    );
    let err = HostUsr::ensure_from(&refused, &host, &images).expect_err("refused");
    assert_eq!(err.to_string(), "cannot make the accounts of the image host-usr");
    let names = || {
        let list = std::fs::read_dir(&images).expect("a list");
        list.map(|e| e.expect("an entry").file_name()).collect::<Vec<_>>()
    };
    assert_eq!(names(), [".host-usr-staging"]);
    let image = HostUsr::ensure_from(&tools(&images), &host, &images).expect("made");
    assert_eq!(names(), [image.lower().file_name().expect("a name")]);
}

#[test]
fn zones_are_plain_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = host(dir.path());
    for bad in ["", "/etc/passwd", "a b", "x\ny"] {
        std::fs::write(host.join("var/db/zoneinfo"), bad).expect("a file");
        assert_eq!(zone(&host).expect("a zone"), None, "{bad:?}");
    }
    std::fs::remove_file(host.join("etc/localtime")).expect("removed");
    symlink("/usr/share/zoneinfo/UTC", host.join("etc/localtime")).expect("a link");
    assert_eq!(zone(&host).expect("a zone"), Some(PathBuf::from("/usr/share/zoneinfo/UTC")));
}
