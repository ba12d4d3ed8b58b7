use super::*;

fn refusal(source: &str, destination: &str) -> String {
    Bind::new(source, destination, false).unwrap_err().to_string()
}

#[test]
fn sources_are_directories_or_files_in_known_words() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("file"), "").unwrap();
    std::os::unix::fs::symlink("file", at("link")).unwrap();
    assert_eq!(Bind::new(&at(""), "/data", true).unwrap().kind, SourceKind::Directory);
    assert_eq!(Bind::new(&at("link"), "/data", true).unwrap().kind, SourceKind::File);
    assert_eq!(
        refusal(&at("none"), "/data"),
        "error ocurred while determining source type: :enoent"
    );
    assert_eq!(
        refusal(&at("file/x"), "/data"),
        "error ocurred while determining source type: :enotdir"
    );
    assert_eq!(
        refusal("/dev/null", "/data"),
        "could not determine source type, must be either directory or regular file"
    );
    assert!(refusal("cache", "/data").contains("named volumes are not supported yet: 'cache'"));
}

#[test]
fn destinations_are_plain_and_not_the_engines_own() {
    let bind = Bind::new("/", "//data/./x/", false).unwrap();
    assert_eq!(bind.destination, Path::new("/data/x"));
    for bad in ["", "data", "/a/../b", "/..", "/a\0b"] {
        assert!(refusal("/", bad).contains("no absolute path without '..'"), "{bad:?}");
    }
    for reserved in ["/", "/.", "/proc", "/proc/1", "/sys/x", "/dev/shm", "/run", "/run/.kleene/x"]
    {
        assert!(refusal("/", reserved).starts_with("nothing can be mounted at"), "{reserved}");
    }
    for fine in ["/process", "/run/lock", "/etc", "/usr/local"] {
        assert!(Bind::new("/", fine, false).is_ok(), "{fine}");
    }
}
